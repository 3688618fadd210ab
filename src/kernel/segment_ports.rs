//! The bridges of the host that have the host ends of L2 segments as ports. In: links. Out: one [`SegmentPort`] for each.
//! Judges nothing and changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use super::error::KernelError;
use super::model::Netns;
use super::namespace::Namespace;
use super::netlink::contents::ObservedLink;
use super::netlink::events::{ChangeSignal, EventFilter};
use crate::names::{OwnedName, Role, SEGMENT_GROUP};
use crate::types::Vni;

/// The host end of an L2 segment, as a port of a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentPort {
    /// The L2VNI.
    pub vni: Vni,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// The bridge.
    pub bridge: String,
    /// The bridge is set up.
    pub is_bridge_up: bool,
    /// Other ports of the bridge with a larger MTU, in bytes.
    pub larger: BTreeMap<String, u32>,
}

/// Reads them. Needs the tokio runtime.
///
/// # Errors
/// Where the host cannot be read.
pub async fn read(host: File) -> Result<Vec<SegmentPort>, KernelError> {
    let filter = EventFilter::Host(Arc::default());
    let opened = Namespace::open(Netns::Host, host, filter, ChangeSignal::default(), Arc::default());
    let host = opened.map_err(|source| KernelError::Open { netns: Netns::Host, source })?;
    let failed = |source| KernelError::Read { what: "links", netns: Netns::Host, source };
    let links = host.links().await.map_err(failed)?;
    host.close().await;
    Ok(of_links(&links))
}

/// Those of a bridge of Open vSwitch have no place here: the kernel does not show its ports.
fn of_links(links: &BTreeMap<u32, Arc<ObservedLink>>) -> Vec<SegmentPort> {
    let port = |(index, link): (&u32, &Arc<ObservedLink>)| {
        let Some(OwnedName::Vni(Role::HostVeth, vni)) = &link.owned.as_ref().filter(|_| link.group == SEGMENT_GROUP)
        else {
            return None;
        };
        let bridge = links.get(&link.master?).filter(|master| master.info_kind == "bridge")?;
        let others = links.iter().filter(|(other, _)| *other != index).map(|(_, other)| other);
        let larger = others.filter(|other| other.master == link.master && other.mtu > link.mtu);
        let larger = larger.map(|other| (other.name.clone(), other.mtu)).collect();
        Some(SegmentPort { vni: *vni, mtu: link.mtu, bridge: bridge.name.clone(), is_bridge_up: bridge.up, larger })
    };
    links.iter().filter_map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::LINK_GROUP;

    #[test]
    fn the_bridge_of_a_segment_has_its_state_and_its_larger_ports() {
        let vni = Vni::try_from(110).unwrap();
        let link =
            |name: &str, master, mtu| ObservedLink { name: name.to_owned(), master, mtu, ..ObservedLink::default() };
        let host = |vni, master| ObservedLink {
            owned: Some(OwnedName::Vni(Role::HostVeth, Vni::try_from(vni).unwrap())),
            group: SEGMENT_GROUP,
            ..link(&format!("host-{vni}"), master, 1450)
        };
        let bridge =
            |name: &str, kind: &str, up| ObservedLink { info_kind: kind.to_owned(), up, ..link(name, None, 1500) };
        let links = [
            (1, bridge("br0", "bridge", false)),
            (2, host(110, Some(1))),
            (3, link("veth1", Some(1), 9000)),
            (4, link("veth2", Some(1), 1450)),
            (5, link("veth3", Some(6), 9000)),
            (6, bridge("ovs-system", "openvswitch", true)),
            (7, host(120, Some(6))),
            (8, host(130, None)),
            (9, ObservedLink { group: LINK_GROUP, ..host(100, Some(1)) }),
        ];
        let links = links.into_iter().map(|(index, link)| (index, Arc::new(link))).collect();
        let larger = [("veth1".to_owned(), 9000)].into();
        let expected = SegmentPort { vni, mtu: 1450, bridge: "br0".to_owned(), is_bridge_up: false, larger };
        assert_eq!(of_links(&links), [expected]);
    }
}
