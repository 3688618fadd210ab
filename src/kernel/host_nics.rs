//! The NICs of the host as a plan needs to know them. In: names, and addresses that the node must reach. Out: facts, with what
//! the routes over a NIC are needed for. Judges nothing and changes nothing.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::IpAddr;
use std::sync::Arc;

use super::error::KernelError;
use super::model::{Netns, ObservedNics};
use super::namespace::Namespace;
use super::netlink::events::{ChangeSignal, EventFilter};
use super::nic_record::Record;
use super::observe::{self, NodeContents};
use crate::types::IfName;

/// Adds what the routes of NICs are needed for that we have not moved.
pub async fn add_route_use(
    host: &Namespace,
    nics: &mut ObservedNics,
    api_servers: &BTreeSet<IpAddr>,
) -> Result<(), KernelError> {
    let failed = |source| KernelError::Read { what: "routes", netns: Netns::Host, source };
    for nic in nics.values_mut().filter(|nic| !nic.taken) {
        if let Some((index, _)) = host.find(nic.name.as_str()).await.map_err(failed)? {
            nic.routes = host.route_use(index, api_servers).await.map_err(failed)?;
        }
    }
    Ok(())
}

/// The NICs among `asked` that are on the host, where there is no router. Needs the tokio runtime.
///
/// # Errors
/// Where the host cannot be read.
pub async fn observe(
    host: File,
    asked: &BTreeSet<IfName>,
    api_servers: &BTreeSet<IpAddr>,
) -> Result<ObservedNics, KernelError> {
    let filter = EventFilter::Host(Arc::default());
    let opened = Namespace::open(Netns::Host, host, filter, ChangeSignal::default(), Arc::default());
    let host = opened.map_err(|source| KernelError::Open { netns: Netns::Host, source })?;
    let contents = NodeContents::from([(Netns::Host, host.read(false, true).await?)]);
    let mut found = observe::observed_nics(&contents, asked, &Record::default());
    add_route_use(&host, &mut found, api_servers).await?;
    host.close().await;
    Ok(found)
}
