//! Addresses in the subnets of the NICs that nobody answers for, by ARP or Neighbor Discovery. In: the router's namespace. Out: each with its
//! link. Judges nothing and changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::IpAddr;
use std::sync::Arc;

use super::error::KernelError;
use super::model::Netns;
use super::namespace::Namespace;
use super::netlink::events::{ChangeSignal, EventFilter};

/// Reads them. Needs the tokio runtime.
///
/// # Errors
/// Where the namespace cannot be read.
pub async fn read(router: File) -> Result<BTreeMap<IpAddr, String>, KernelError> {
    let filter = EventFilter::Host(Arc::default());
    let opened = Namespace::open(Netns::Router, router, filter, ChangeSignal::default(), Arc::default());
    let router = opened.map_err(|source| KernelError::Open { netns: Netns::Router, source })?;
    let failed = |source| KernelError::Read { what: "neighbors", netns: Netns::Router, source };
    let unresolved = router.unresolved().await.map_err(failed)?;
    let links = router.links().await.map_err(failed)?;
    router.close().await;
    let with_link = |(address, index): (IpAddr, u32)| Some((address, links.get(&index)?.name.clone()));
    Ok(unresolved.into_iter().filter_map(with_link).collect())
}
