//! The kernel state of an L2VNI. In: a valid L2VNI and the connection to the fabric. Out: additions to [`KernelState`]. It must not
//! add a link of another scope than its segment. Pure.

use std::collections::BTreeSet;

use super::spec::HostMasterType;
use super::validate::{HostBridge, ValidL2vni};
use crate::kernel::model::{
    BridgePort, HostMaster, IpUse, KernelState, Link, LinkKey, LinkKind, Netns, RpFilter, SourceFilter,
};
use crate::kernel::ovs_state::{OvsBridge, OvsPort, OvsState, bridge_name};
use crate::kind::definition::Fabric;
use crate::kind::ipam;
use crate::names::{OwnedName, Role, SourceTable};
use crate::scope::Scope;
use crate::types::{Family, IfName, VrfMode};

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
    let mut host = veth(&pe_key);
    match &l2vni.host_bridge {
        Some(HostBridge { type_: HostMasterType::LinuxBridge, external: None }) => {
            host.master = Some(OwnedName::Vni(Role::HostBridge, vni));
            let mac = Some(ipam::host_bridge_mac(l2vni.vtep.address));
            state.links.insert(key(&Netns::Host, Role::HostBridge), Link { mac, ..link(LinkKind::Bridge) });
        }
        Some(HostBridge { type_: HostMasterType::LinuxBridge, external: Some(name) }) => {
            host.host_master = Some(HostMaster::Bridge(name.clone()));
        }
        Some(HostBridge { type_: HostMasterType::OVSBridge, external }) => {
            ovs_port(l2vni, external.as_ref(), &mut state.ovs);
        }
        None => {}
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

/// Adds the port of Open vSwitch that the host end is, and its bridge unless that is `external`.
fn ovs_port(l2vni: &ValidL2vni, external: Option<&IfName>, state: &mut OvsState) {
    let bridge = external.cloned().unwrap_or_else(|| {
        state.bridges.insert(l2vni.vni, OvsBridge { mtu: Some(l2vni.mtu) });
        bridge_name(l2vni.vni)
    });
    state.ports.insert(l2vni.vni, OvsPort { bridge, attached: true });
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
        wrong_settings: BTreeSet::new(),
        addresses: BTreeSet::new(),
        port: None,
    }
}
