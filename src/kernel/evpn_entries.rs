//! Router MACs and next-hop neighbors of EVPN beyond the life of a zebra. In: the paths of a router without zebra. Out: the same
//! entries, no longer marked as zebra's.
//!
//! A new zebra of FRR 10.6 and later (`-K`) takes those that are marked for its own and removes them when bgpd has the
//! End-of-RIB of the fabric, before bgpd has sent it the routes of the IP-VRFs. One that is not marked stays until zebra installs
//! its own over it. Where zebra never does, it is the entry of a VTEP that is gone, and no route leads to it. Entries of L2 segments
//! are not replaced: the connected route of a segment leads to one of an address that was withdrawn.

use std::fs::File;

use super::netlink::error::NetlinkError;
use super::netlink::neighbor::{unmarked, without_segments};
use super::netlink::socket::{Route, Socket};
use super::netns::{self, NetnsError};
use crate::runtime::Runtime;

/// Why entries could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    /// A namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// Keeps all entries of the router and its IP-VRFs but those of L2 segments. Returns how many.
///
/// # Errors
/// Where a namespace cannot be read or an entry not be replaced; those before it are kept.
pub async fn keep(runtime: &Runtime) -> Result<usize, KeepError> {
    let mut kept = keep_in(netns::open(runtime.router_netns())?).await?;
    for vrf in netns::list_vrfs(runtime)?.into_keys() {
        kept += keep_in(netns::open(&runtime.vrf_netns(&vrf))?).await?;
    }
    Ok(kept)
}

async fn keep_in(netns: File) -> Result<usize, NetlinkError> {
    let mut socket = Socket::<Route>::open(&netns)?;
    let entries = socket.entries_of_zebra().await?;
    if entries.is_empty() {
        return Ok(0);
    }
    let links = socket.links().await?;
    let entries = without_segments(entries, &links);
    let kept = entries.len();
    for entry in entries {
        let request = unmarked(entry);
        match socket.change(request.message, request.flags).await {
            // A kernel with VLAN filtering lists an entry of a bridge for each VLAN, and removes all of them at once.
            Err(error) if error.is_absent() => {}
            result => result?,
        }
    }
    Ok(kept)
}
