//! Links that are not known as ours. In: a namespace that is to be removed. Out: those of others are in the host's, as the kernel
//! deletes most of them with the namespace; those of ours that lost their mark are deleted. In: a bridge that was recreated. Out:
//! those that were its ports are so again.

use std::collections::BTreeSet;
use std::os::fd::AsRawFd;

use nix::errno::Errno;

use super::error::OpError;
use super::host_ports::{self, HostPort};
use super::model::LinkKey;
use super::namespace::Namespace;
use super::netlink::contents::ObservedLink;
use super::netlink::error::NetlinkError;
use super::netlink::{accept, request};
use crate::names;

/// Moves all links of others to the host. One whose name is taken there gets a new one.
///
/// # Errors
/// Where one cannot be moved; then the namespace must not be removed.
pub async fn move_out(from: &Namespace, host: &Namespace) -> Result<(), OpError> {
    let netns = host.file();
    for (index, link) in from.links().await?.into_iter().filter(|(_, link)| is_foreign(link)) {
        let stays = || OpError::ForeignLink { name: link.name.clone(), netns: from.netns().clone() };
        if link.immovable {
            return Err(stays());
        }
        let moved = match from.change(request::move_link(&link.name, netns.as_raw_fd())).await {
            Err(NetlinkError::Rejected { errno: Errno::EEXIST, .. }) => {
                from.change(request::move_link_as(index, netns.as_raw_fd(), "foreign%d")).await
            }
            moved => moved,
        };
        match moved {
            // Kernels before 6.12 do not report that a link is immovable.
            Err(NetlinkError::Rejected { errno: Errno::EINVAL, .. }) => return Err(stays()),
            // It went with another one.
            Err(NetlinkError::Rejected { errno: Errno::ENODEV, .. }) => {}
            moved => moved?,
        }
    }
    Ok(())
}

/// Attaches links of others to a bridge that they were ports of. One that is gone, that another link has replaced or that has a master
/// is left alone.
pub async fn attach(host: &Namespace, bridge: &LinkKey, ports: &BTreeSet<HostPort>) -> Result<(), OpError> {
    let master = host.index_of(&bridge.name.to_string()).await?;
    let mut attached = Vec::new();
    for port in ports {
        let found = host.find_at(port.index).await?;
        if found.is_none_or(|link| link.name != port.name || link.master.is_some()) {
            continue;
        }
        match host.change(request::set_master_at(port.index, master)).await {
            Ok(()) => attached.push(port),
            Err(error @ NetlinkError::Rejected { .. }) => {
                tracing::warn!(port = port.name, bridge = %bridge.name, %error, "a port is not attached again");
            }
            Err(error) => return Err(error.into()),
        }
    }
    if !attached.is_empty() {
        let ports = host_ports::names(attached);
        tracing::info!(bridge = %bridge.name, ports, "the bridge was recreated: its ports are attached to it");
    }
    Ok(())
}

/// Deletes links of ours that lost their mark or name, which are known by their alias: those that `is_meant` selects. Returns
/// whether there were any.
pub async fn delete_lost(namespace: &Namespace, is_meant: impl Fn(&ObservedLink) -> bool) -> Result<bool, OpError> {
    let mut found = false;
    for (index, link) in namespace.links().await?.into_iter().filter(|(_, link)| is_lost(link) && is_meant(link)) {
        tracing::warn!(link = link.name, netns = %namespace.netns(), "a link of perouter lost its name or group: deleted");
        // It may have gone with another one.
        accept(Errno::ENODEV, namespace.change(request::delete_link(index)).await)?;
        found = true;
    }
    Ok(found)
}

fn is_lost(link: &ObservedLink) -> bool {
    link.owned.is_none() && link.alias.as_deref().is_some_and(names::is_alias)
}

/// The kernel has links of its own in every namespace; a link of ours may have lost its name or its mark.
fn is_foreign(link: &ObservedLink) -> bool {
    link.owned.is_none() && !is_lost(link) && names::check_unreserved(&link.name).is_ok()
}
