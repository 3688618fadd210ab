//! The links of ours in a namespace, deleted together where the whole router is removed: each deletion for itself waits for a
//! grace period of RCU, and there may be thousands. In: a namespace. Out: a link group is gone from it, or remains as it is.

use nix::errno::Errno;

use super::error::OpError;
use super::namespace::Namespace;
use super::netlink::{accept, request};
use crate::names::{LINK_GROUP, SEGMENT_GROUP};

/// Deletes the links of ours in these namespaces, and with them the other ends of their veth pairs in others. Those that remain are
/// to be deleted one by one.
pub async fn delete_together(namespaces: [&Namespace; 2]) {
    for namespace in namespaces {
        if let Err(error) = delete_ours(namespace).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "links are deleted one by one");
        }
    }
}

/// With one request for each link group. A group that others use as well remains: the request names no links.
async fn delete_ours(namespace: &Namespace) -> Result<(), OpError> {
    for group in [SEGMENT_GROUP, LINK_GROUP] {
        let links = namespace.links().await?;
        if links.values().filter(|link| link.group == group).all(|link| link.owned.is_some()) {
            delete_group(namespace, group).await?;
        }
    }
    Ok(())
}

/// Deletes all links with this mark of ours.
pub async fn delete_group(namespace: &Namespace, group: u32) -> Result<(), OpError> {
    Ok(accept(Errno::ENODEV, namespace.change(request::delete_our_links(group)).await)?)
}
