//! How the host reaches addresses. In: addresses. Out: the links of the routes that the kernel selects. Judges nothing and changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::sync::Arc;

use super::error::KernelError;
use super::model::Netns;
use super::namespace::Namespace;
use super::netlink::events::{ChangeSignal, EventFilter};

/// What the host has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostRoutes {
    /// Links to each address; none where no route covers it. Policies by source are not considered.
    pub links: BTreeMap<IpAddr, BTreeSet<String>>,
    /// Links that are in a VRF of the host: routes of the main table say nothing of them.
    pub in_vrf: BTreeSet<String>,
}

/// Reads the routes to these addresses. Needs the tokio runtime.
///
/// # Errors
/// Where the host cannot be read.
pub async fn read(host: File, addresses: &BTreeSet<IpAddr>) -> Result<HostRoutes, KernelError> {
    let filter = EventFilter::Host(Arc::default());
    let opened = Namespace::open(Netns::Host, host, filter, ChangeSignal::default(), Arc::default());
    let host = opened.map_err(|source| KernelError::Open { netns: Netns::Host, source })?;
    let failed = |source| KernelError::Read { what: "routes", netns: Netns::Host, source };
    let links = host.links().await.map_err(failed)?;
    let name = |index: &u32| links.get(index).map(|link| link.name.clone());
    let mut found = HostRoutes::default();
    for address in addresses {
        let to = host.links_to(*address).await.map_err(failed)?;
        found.links.insert(*address, to.iter().filter_map(name).collect());
    }
    found.in_vrf = links.values().filter(|link| link.master.is_some()).map(|link| link.name.clone()).collect();
    host.close().await;
    Ok(found)
}
