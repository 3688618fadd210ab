//! The kernel state of an L3VNI. In: a valid L3VNI and the connection to the fabric. Out: additions to [`KernelState`]. It must
//! not add a link without the scope of its VRF. Pure.

use std::collections::BTreeSet;

use super::validate::ValidL3vni;
use crate::kernel::model::{
    BridgePort, HostMaster, IpUse, KernelState, Link, LinkKey, LinkKind, ListenPort, Netns, RpFilter, SourceFilter,
    Sysctl,
};
use crate::kind::definition::Fabric;
use crate::kind::forwarding::FORWARDING;
use crate::kind::ipam;
use crate::kind::vtep::Vtep;
use crate::names::{OwnedName, Role, SourceTable};
use crate::scope::Scope;
use crate::types::{Family, TableId, VrfMode};

/// Replies of a connection to a second BGP port carry its mark.
const MARKED: [Sysctl; 3] = [Sysctl::TcpFwmarkAccept, Sysctl::Ipv4FwmarkReflect, Sysctl::Ipv6FwmarkReflect];

/// Adds the links of one L3VNI.
pub(super) fn links(l3vni: &ValidL3vni, fabric: &Fabric, state: &mut KernelState) {
    let Vtep { address: vtep, mtu } = l3vni.vtep;
    let (mode, vni) = (fabric.mode, l3vni.vni);
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
        mac: Some(ipam::router_mac(vtep)),
        addrgen_none: true,
        ..link(LinkKind::Bridge)
    };
    let vxlan = Link {
        master: Some(OwnedName::Vni(Role::Bridge, vni)),
        addrgen_none: true,
        port: Some(BridgePort { neigh_suppress: true, learning: false }),
        rp_filter: None,
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
        rp_filter: Some(l3vni.host_rp_filter),
        host_master: l3vni.host_vrf.clone().map(HostMaster::Vrf),
        ..veth(&pe_key)
    };
    if fabric.source_filters && l3vni.veth.contains_key(&Family::Ipv6) {
        state.source_filters.extend(source_filters(l3vni, &pe_key.netns, &host_key));
    }
    state.links.insert(pe_key, pe);
    state.links.insert(host_key, host);
}

/// The filters of IPv6 sources: loose in the VRF, and strict at the host end where that is asked for.
fn source_filters(l3vni: &ValidL3vni, netns: &Netns, host: &LinkKey) -> impl Iterator<Item = SourceFilter> {
    let vni = l3vni.vni;
    let filter =
        |netns: &Netns, device| SourceFilter { netns: netns.clone(), table: SourceTable { vni, device }, whole: true };
    let device = (*netns == Netns::Router).then(|| OwnedName::Vrf(l3vni.vrf.clone()).if_name());
    let strict = (l3vni.host_rp_filter == RpFilter::Strict).then(|| filter(&host.netns, Some(host.name.if_name())));
    [filter(netns, device)].into_iter().chain(strict)
}

fn link(scope: Scope, kind: LinkKind, mtu: u32) -> Link {
    Link {
        scope,
        kind,
        segment: false,
        master: None,
        host_master: None,
        mtu: Some(mtu),
        mac: None,
        up: true,
        addrgen_none: false,
        ip: IpUse::Routed,
        // A packet with a source of another VRF would be answered into that one by the host.
        rp_filter: Some(RpFilter::Loose),
        wrong_settings: BTreeSet::new(),
        addresses: BTreeSet::new(),
        port: None,
    }
}
