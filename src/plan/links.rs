//! The kernel state of an accepted router. In: valid objects, VRF mode, MTU. Out: [`KernelState`]. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::ipam;
use super::validate::{ValidL3vni, ValidUnderlay};
use crate::kernel::model::{BridgePort, KernelState, Link, LinkKey, LinkKind, ListenPort, Netns, Sysctl};
use crate::names::{OwnedName, Role};
use crate::scope::Scope;
use crate::types::{Family, TableId, VrfMode};

/// Bytes of VXLAN, UDP, IP and Ethernet around a packet (RFC 7348 section 5).
fn overhead(vtep: IpAddr) -> u32 {
    if vtep.is_ipv4() { 50 } else { 70 }
}

/// MTU of the overlay over NICs of `nic_mtu` bytes.
pub fn overlay_mtu(nic_mtu: u32, vtep: IpAddr) -> u32 {
    nic_mtu.saturating_sub(overhead(vtep))
}

const FORWARDING: [(Sysctl, u32); 6] = [
    (Sysctl::Ipv4Forwarding, 1),
    (Sysctl::Ipv6Forwarding, 1),
    (Sysctl::RpFilterAll, 0),
    (Sysctl::RpFilterDefault, 0),
    (Sysctl::Ipv4MultipathHash, 1),
    (Sysctl::Ipv6MultipathHash, 1),
];

/// A connection to a second BGP port is known by its mark.
const MARKED: [Sysctl; 3] = [Sysctl::TcpFwmarkAccept, Sysctl::Ipv4FwmarkReflect, Sysctl::Ipv6FwmarkReflect];

/// State of the router namespace itself.
pub fn underlay(underlay: &ValidUnderlay, mode: VrfMode) -> KernelState {
    let mut state = KernelState::default();
    state.sysctls.extend(FORWARDING.map(|(key, value)| ((Netns::Router, key), value)));
    if mode == VrfMode::Vrf {
        state.sysctls.insert((Netns::Router, Sysctl::VrfStrictMode), 1);
        state.sysctls.insert((Netns::Router, Sysctl::TcpL3mdevAccept), 0);
        state.local_last.extend([Family::Ipv4, Family::Ipv6]);
    }
    state.loopback.insert(IpNet::from(underlay.vtep));
    state.nics.extend(underlay.nics.iter().map(|nic| (nic.clone(), Netns::Router)));
    state
}

/// Adds the links of one L3VNI.
pub fn add_l3vni(state: &mut KernelState, l3vni: &ValidL3vni, vtep: IpAddr, mode: VrfMode, mtu: u32) {
    let vni = l3vni.vni;
    let device = OwnedName::Vrf(l3vni.vrf.clone());
    let link = |kind| link(Scope::Vrf(l3vni.vrf.clone()), kind, mtu);
    let (netns, master) = match mode {
        VrfMode::Netns => {
            state.vrf_netns.insert(l3vni.vrf.clone());
            (Netns::Vrf(l3vni.vrf.clone()), None)
        }
        VrfMode::Vrf => (Netns::Router, Some(device.clone())),
    };
    let key = |role| LinkKey { netns: netns.clone(), name: OwnedName::Vni(role, vni) };
    if mode == VrfMode::Netns {
        state.sysctls.extend(FORWARDING.map(|(sysctl, value)| ((netns.clone(), sysctl), value)));
    } else {
        let table = TableId::of(vni);
        state.links.insert(
            LinkKey { netns: netns.clone(), name: device },
            Link { mtu: None, ..link(LinkKind::Vrf { table }) },
        );
        state.unreachable.extend([(table, Family::Ipv4), (table, Family::Ipv6)]);
    }
    let bridge = Link {
        master: master.clone(),
        mac: Some(ipam::router_mac(vtep, vni)),
        addrgen_none: true,
        ..link(LinkKind::Bridge)
    };
    let vxlan = Link {
        master: Some(OwnedName::Vni(Role::Bridge, vni)),
        addrgen_none: true,
        port: Some(BridgePort { neigh_suppress: true, learning: false }),
        ..link(LinkKind::Vxlan { vni, local: vtep, port: l3vni.port })
    };
    state.links.insert(key(Role::Bridge), bridge);
    state.links.insert(key(Role::Vxlan), vxlan);
    if l3vni.veth.is_empty() {
        return;
    }
    let pe_key = key(Role::PeVeth);
    let host_key = LinkKey { netns: Netns::Host, name: OwnedName::Vni(Role::HostVeth, vni) };
    if let Some(port) = l3vni.listen_port {
        state.sysctls.extend(MARKED.map(|sysctl| ((pe_key.netns.clone(), sysctl), 1)));
        state.listen_ports.insert(ListenPort { on: pe_key.clone(), port, whole: true });
    }
    let veth = |peer: &LinkKey| link(LinkKind::Veth { peer: Box::new(peer.clone()) });
    let pe =
        Link { master, addresses: l3vni.veth.values().map(|(_, addresses)| addresses.pe).collect(), ..veth(&host_key) };
    let host = Link {
        addresses: l3vni.veth.values().map(|(_, addresses)| addresses.host).collect(),
        host_vrf: l3vni.host_vrf.clone(),
        ..veth(&pe_key)
    };
    state.links.insert(pe_key, pe);
    state.links.insert(host_key, host);
}

fn link(scope: Scope, kind: LinkKind, mtu: u32) -> Link {
    Link {
        scope,
        kind,
        master: None,
        host_vrf: None,
        mtu: Some(mtu),
        mac: None,
        up: true,
        addrgen_none: false,
        addresses: BTreeSet::new(),
        port: None,
    }
}
