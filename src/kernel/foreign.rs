//! Links that are not known as ours in a namespace that is to be removed. In: the namespace. Out: those of others are in the
//! host's, as the kernel deletes most of them with the namespace; those of ours that lost their mark are deleted.

use std::os::fd::AsRawFd;

use nix::errno::Errno;

use super::error::OpError;
use super::namespace::Namespace;
use super::netlink::contents::ObservedLink;
use super::netlink::error::NetlinkError;
use super::netlink::request;
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

/// Deletes links of ours that lost their mark or name: they are known by their alias.
pub async fn delete_lost(namespace: &Namespace) -> Result<(), OpError> {
    for (index, _) in namespace.links().await?.into_iter().filter(|(_, link)| is_lost(link)) {
        match namespace.change(request::delete_link(index)).await {
            // It went with another one.
            Err(NetlinkError::Rejected { errno: Errno::ENODEV, .. }) => {}
            deleted => deleted?,
        }
    }
    Ok(())
}

fn is_lost(link: &ObservedLink) -> bool {
    link.owned.is_none() && link.alias.as_deref().is_some_and(names::is_alias)
}

/// The kernel has links of its own in every namespace; a link of ours may have lost its name or its mark.
fn is_foreign(link: &ObservedLink) -> bool {
    !link.marked && !is_lost(link) && names::check_unreserved(&link.name).is_ok()
}
