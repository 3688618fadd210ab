//! Whether this kernel has VRF devices. In: nothing. Out: yes or no, found by creating one in a namespace that exists only for
//! that. Leaves nothing behind.

use std::fs::File;
use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use thiserror::Error;

use super::model::{LinkKey, LinkKind, Netns};
use super::netlink::error::NetlinkError;
use super::netlink::request;
use super::netlink::socket::{Route, Socket};
use super::netns::{NetnsError, on_thread};
use super::op::NewLink;
use crate::names::OwnedName;
use crate::types::{TableId, VrfName};

/// Why it could not be found out.
#[derive(Debug, Error)]
pub enum VrfDeviceError {
    /// The namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The runtime or the namespace's file.
    #[error("prepare the creation of a VRF device")]
    Prepare(#[source] io::Error),
    /// An answer that is neither yes nor no.
    #[error("create a VRF device")]
    Netlink(#[from] NetlinkError),
}

/// Creates a VRF device in a namespace of its own; the kernel loads the module for it if it has one. Blocks for some
/// milliseconds.
pub fn supported() -> Result<bool, VrfDeviceError> {
    let Some(request) = probe().and_then(|new| request::new_link(&new, None, None)) else { return Ok(false) };
    on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(NetnsError::Unshare)?;
        let netns = File::open("/proc/thread-self/ns/net").map_err(VrfDeviceError::Prepare)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(VrfDeviceError::Prepare)?;
        match runtime.block_on(async { Socket::<Route>::open(&netns)?.change(request.message, request.flags).await }) {
            Ok(()) => Ok(true),
            Err(NetlinkError::Rejected { errno: Errno::EOPNOTSUPP, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    })?
}

fn probe() -> Option<NewLink> {
    let name: VrfName = "probe".parse().ok()?;
    let key = LinkKey { netns: Netns::Router, name: OwnedName::Vrf(name) };
    Some(NewLink {
        key,
        kind: LinkKind::Vrf { table: TableId(1) },
        segment: false,
        mtu: None,
        mac: None,
        addrgen_none: false,
        rp_filter: None,
    })
}
