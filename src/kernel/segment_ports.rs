//! The bridges of the host that have the host ends of L2 segments as ports. In: links. Out: one [`SegmentPort`] for each.
//! Judges nothing and changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;

use super::error::KernelError;
use super::model::Netns;
use super::namespace::Namespace;
use super::netlink::contents::ObservedLink;
use super::netlink::events::{ChangeSignal, EventFilter};
use crate::names::{self, OwnedName, Role, SEGMENT_GROUP};
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
    /// The host end is a port of it, as perouter has configured.
    pub is_attached: bool,
    /// Other ports of the bridge with a larger MTU, in bytes.
    pub larger: BTreeMap<String, u32>,
    /// Other ports of the bridge that are set down.
    pub down: BTreeSet<String>,
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
        // The alias has the bridge that the port was put into.
        let wanted = link.alias.as_deref().and_then(names::host_master_of);
        let of_alias =
            || links.iter().find(|(_, bridge)| wanted.as_ref().is_some_and(|name| bridge.name == name.as_str()));
        let master = link.master.map_or_else(|| of_alias().map(|(index, _)| *index), Some)?;
        let bridge = links.get(&master).filter(|master| master.info_kind == "bridge")?;
        let others = || {
            links
                .iter()
                .filter(|(other, found)| *other != index && found.master == Some(master))
                .map(|(_, other)| other)
        };
        let larger =
            others().filter(|other| other.mtu > link.mtu).map(|other| (other.name.clone(), other.mtu)).collect();
        let down = others().filter(|other| !other.up).map(|other| other.name.clone()).collect();
        let is_wanted = wanted.as_ref().is_none_or(|name| bridge.name == name.as_str());
        let (is_attached, is_bridge_up) = (link.master.is_some() && is_wanted, bridge.up);
        Some(SegmentPort {
            vni: *vni,
            mtu: link.mtu,
            bridge: bridge.name.clone(),
            is_bridge_up,
            is_attached,
            larger,
            down,
        })
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
        let out = ObservedLink { alias: Some("perouter VNI 140, put into br0".to_owned()), ..host(140, None) };
        let links = [
            (10, out),
            (1, bridge("br0", "bridge", false)),
            (2, host(110, Some(1))),
            (3, link("veth1", Some(1), 9000)),
            (4, ObservedLink { up: true, ..link("veth2", Some(1), 1450) }),
            (5, link("veth3", Some(6), 9000)),
            (6, bridge("ovs-system", "openvswitch", true)),
            (7, host(120, Some(6))),
            (8, host(130, None)),
            (9, ObservedLink { group: LINK_GROUP, up: true, ..host(100, Some(1)) }),
        ];
        let links = links.into_iter().map(|(index, link)| (index, Arc::new(link))).collect();
        let expected = SegmentPort {
            vni,
            mtu: 1450,
            bridge: "br0".to_owned(),
            is_bridge_up: false,
            is_attached: true,
            larger: [("veth1".to_owned(), 9000)].into(),
            down: ["veth1".to_owned()].into(),
        };
        let found = of_links(&links);
        assert_eq!(found[0], expected);
        let attached: Vec<_> =
            found.iter().map(|port| (port.vni.get(), port.bridge.as_str(), port.is_attached)).collect();
        assert_eq!(attached, [(110, "br0", true), (140, "br0", false)]);
    }
}
