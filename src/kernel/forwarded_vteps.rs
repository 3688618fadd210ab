//! The VTEPs to which the kernel can send packets of an IP-VRF: zebra installs a neighbor with the router MAC on the bridge, and that MAC
//! address in the FDB of the VXLAN device (RFC 9135 section 5). In: a namespace and its VNIs. Out: VTEPs. Judges nothing and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::sync::Arc;

use super::error::KernelError;
use super::model::Netns;
use super::namespace::Namespace;
use super::netlink::events::{ChangeSignal, EventFilter};
use crate::names::{OwnedName, Role};
use crate::types::Vni;

/// Reads those of each of these L3VNIs, whose VRFs are in this namespace, IPv4-mapped addresses as IPv4. Needs the tokio runtime.
///
/// # Errors
/// Where the namespace cannot be read.
pub async fn read(netns: File, vnis: &BTreeSet<Vni>) -> Result<BTreeMap<Vni, BTreeSet<IpAddr>>, KernelError> {
    let filter = EventFilter::Host(Arc::default());
    let opened = Namespace::open(Netns::Router, netns, filter, ChangeSignal::default(), Arc::default());
    let namespace = opened.map_err(|source| KernelError::Open { netns: Netns::Router, source })?;
    let links = |vni: &Vni| (*vni, [Role::Bridge, Role::Vxlan].map(|role| OwnedName::Vni(role, *vni).to_string()));
    let found = namespace.forwarded_vteps(vnis.iter().map(links).collect()).await;
    namespace.close().await;
    found.map_err(|source| KernelError::Read { what: "neighbors and FDB", netns: Netns::Router, source })
}
