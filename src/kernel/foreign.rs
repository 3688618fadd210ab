//! Links of others in a namespace that is to be removed: the kernel deletes most of them with it. In: the namespace. Out: they
//! are in the host's. Touches no link of ours.

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

/// The kernel has links of its own in every namespace; a link of ours may have lost its name or its mark.
fn is_foreign(link: &ObservedLink) -> bool {
    !link.marked && names::check_unreserved(&link.name).is_ok()
}
