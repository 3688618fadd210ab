//! Addresses that nobody answers for, by ARP or Neighbor Discovery. In: a namespace of the router. Out: each with its link. Judges nothing
//! and changes nothing.

use std::collections::BTreeSet;
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
/// Where the namespace cannot be read; the error names that of the router, whichever it is.
pub async fn read(netns: File) -> Result<BTreeSet<(IpAddr, String)>, KernelError> {
    let filter = EventFilter::Host(Arc::default());
    let opened = Namespace::open(Netns::Router, netns, filter, ChangeSignal::default(), Arc::default());
    let namespace = opened.map_err(|source| KernelError::Open { netns: Netns::Router, source })?;
    let failed = |source| KernelError::Read { what: "neighbors", netns: Netns::Router, source };
    let unresolved = namespace.unresolved().await.map_err(failed)?;
    let links = namespace.links().await.map_err(failed)?;
    namespace.close().await;
    let with_link = |(address, index): (IpAddr, u32)| Some((address, links.get(&index)?.name.clone()));
    Ok(unresolved.into_iter().filter_map(with_link).collect())
}
