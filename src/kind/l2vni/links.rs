//! The kernel state of an L2VNI. In: a valid L2VNI and the connection to the fabric. Out: additions to [`KernelState`]. It must not
//! add a link of another scope than its segment. Pure.

use std::collections::BTreeSet;

use super::validate::{HostBridge, ValidL2vni};
use crate::kernel::model::{
    BridgePort, HostMaster, IpUse, KernelState, Link, LinkKey, LinkKind, Netns, RpFilter, SourceFilter,
};
use crate::kind::definition::Fabric;
use crate::kind::ipam;
use crate::names::{OwnedName, Role, SourceTable};
use crate::scope::Scope;
use crate::types::{Family, VrfMode};

/// Adds the links of one L2VNI.
pub(super) fn links(l2vni: &ValidL2vni, fabric: &Fabric, state: &mut KernelState) {
    let vni = l2vni.vni;
    let (netns, device) = match (&l2vni.vrf, fabric.mode) {
        (Some(vrf), VrfMode::Netns) => (Netns::Vrf(vrf.clone()), None),
        (Some(vrf), VrfMode::Vrf) => (Netns::Router, Some(OwnedName::Vrf(vrf.clone()))),
        (None, _) => (Netns::Router, None),
    };
    let key = |netns: &Netns, role| LinkKey { netns: netns.clone(), name: OwnedName::Vni(role, vni) };
    let link = |kind| link(l2vni, kind);
    let filtered = device.as_ref().map(OwnedName::if_name);
    let gateway = !l2vni.gateways.is_empty();
    let bridge = Link {
        master: device,
        mac: Some(ipam::gateway_mac(vni)),
        addresses: l2vni.gateways.values().copied().collect(),
        // The router solicits neighbors from a link-local address (RFC 4861 section 7.2.2).
        addrgen_none: !gateway,
        ip: if gateway { IpUse::Gateway } else { IpUse::Bridged },
        rp_filter: Some(if gateway { RpFilter::Loose } else { RpFilter::Strict }),
        ..link(LinkKind::Bridge)
    };
    let vxlan = Link {
        master: Some(OwnedName::Vni(Role::Bridge, vni)),
        port: Some(BridgePort { neigh_suppress: true, learning: false }),
        ip: IpUse::Routed,
        rp_filter: None,
        ..link(LinkKind::Vxlan { vni, local: l2vni.vtep.address, port: l2vni.port })
    };
    let (pe_key, host_key) = (key(&netns, Role::PeVeth), key(&Netns::Host, Role::HostVeth));
    let veth = |peer: &LinkKey| link(LinkKind::Veth { peer: Box::new(peer.clone()) });
    let pe = Link {
        master: Some(OwnedName::Vni(Role::Bridge, vni)),
        port: Some(BridgePort { neigh_suppress: false, learning: true }),
        ..veth(&host_key)
    };
    let (master, host_master) = match &l2vni.host_bridge {
        Some(HostBridge::Managed) => (Some(OwnedName::Vni(Role::HostBridge, vni)), None),
        Some(HostBridge::External(name)) => (None, Some(HostMaster::Bridge(name.clone()))),
        None => (None, None),
    };
    let host = Link { master, host_master, ..veth(&pe_key) };
    if l2vni.host_bridge == Some(HostBridge::Managed) {
        let mac = Some(ipam::host_bridge_mac(l2vni.vtep.address));
        state.links.insert(key(&Netns::Host, Role::HostBridge), Link { mac, ..link(LinkKind::Bridge) });
    }
    if fabric.source_filters && l2vni.gateways.contains_key(&Family::Ipv6) {
        let table = SourceTable { vni, device: filtered };
        state.source_filters.insert(SourceFilter { netns: netns.clone(), table, whole: true });
    }
    state.links.extend([
        (key(&netns, Role::Bridge), bridge),
        (key(&netns, Role::Vxlan), vxlan),
        (pe_key, pe),
        (host_key, host),
    ]);
}

/// A link that carries frames only.
fn link(l2vni: &ValidL2vni, kind: LinkKind) -> Link {
    Link {
        scope: Scope::Segment(l2vni.vni),
        kind,
        segment: true,
        master: None,
        host_master: None,
        mtu: Some(l2vni.mtu),
        mac: None,
        up: true,
        addrgen_none: true,
        ip: IpUse::Bridged,
        // No route leads to it: packets to the MAC address of the bridge itself are dropped.
        rp_filter: Some(RpFilter::Strict),
        unsafe_settings: BTreeSet::new(),
        addresses: BTreeSet::new(),
        port: None,
    }
}
