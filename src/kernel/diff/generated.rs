//! States of routers as a plan would contain them, and drift from them, for property tests of the diff and of the real kernel
//! (`tests/kernel_netns.rs` includes this file).

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use proptest::prelude::*;

use super::kernel::model::{
    BridgePort, IpUse, KernelState, Link, LinkKey, LinkKind, LinkSetting, ListenPort, Netns, RpFilter, SourceFilter,
    Sysctl,
};
use super::kernel::{KernelOp, op::AddressDevice};
use super::names::{OwnedName, Role, SourceTable};
use super::scope::Scope;
use super::types::{Family, MacAddr, TableId, Vni, VrfMode, VrfName};

/// One L3VNI.
#[derive(Debug, Clone)]
pub struct Spec {
    pub port: u16,
    pub mtu: u32,
    pub mac: u8,
    /// Strict `rp_filter` on the host end.
    pub strict: bool,
    pub session: Option<Session>,
}

/// One L2VNI.
#[derive(Debug, Clone)]
pub struct Segment {
    pub port: u16,
    pub mtu: u32,
    /// The VNI in whose VRF it is routed, if there is one.
    pub within: Option<u8>,
    /// Whether it has gateways there.
    pub gateways: bool,
    /// Whether it has a bridge on the host.
    pub bridge: bool,
}

/// Addresses of its host session.
#[derive(Debug, Clone)]
pub struct Session {
    pub ipv4: Option<u8>,
    pub ipv6: Option<u8>,
    /// A second BGP port.
    pub listen: Option<u16>,
}

/// One router.
#[derive(Debug, Clone)]
pub struct World {
    pub mode: VrfMode,
    pub vtep: IpNet,
    /// The VRF of a VNI: VNI + shift.
    pub shift: u8,
    pub specs: BTreeMap<u8, Spec>,
    pub segments: BTreeMap<u8, Segment>,
    /// The kernel has what filters IPv6 sources.
    pub filters: bool,
}

/// VNIs of generated worlds are below this.
const VNIS: u8 = 6;

impl World {
    /// The state that a plan would contain.
    pub fn state(&self) -> KernelState {
        let mut state = KernelState { loopback: BTreeSet::from([self.vtep]), ..KernelState::default() };
        if self.mode == VrfMode::Vrf {
            state.local_last.extend([Family::Ipv4, Family::Ipv6]);
        }
        let sysctls = [
            Sysctl::Ipv4Forwarding,
            Sysctl::Ipv6Forwarding,
            Sysctl::RpFilterAll,
            Sysctl::AcceptRedirectsAll,
            Sysctl::SendRedirectsAll,
            Sysctl::RouteLocalnetAll,
        ];
        let value = |sysctl: &Sysctl| u32::from(matches!(sysctl, Sysctl::Ipv4Forwarding | Sysctl::Ipv6Forwarding));
        state.sysctls.extend(sysctls.iter().map(|sysctl| ((Netns::Router, *sysctl), value(sysctl))));
        for (raw, spec) in &self.specs {
            let vni = Vni::try_from(100 + u32::from(*raw)).unwrap();
            let vrf: VrfName = format!("v{}", (raw + self.shift) % VNIS).parse().unwrap();
            let (netns, device) = match self.mode {
                VrfMode::Netns => {
                    let netns = Netns::Vrf(vrf.clone());
                    state.vrf_netns.insert(vrf.clone());
                    state.sysctls.extend(sysctls.iter().map(|sysctl| ((netns.clone(), *sysctl), value(sysctl))));
                    (netns, None)
                }
                VrfMode::Vrf => {
                    let table = TableId::of(vni);
                    state.unreachable.extend([(table, Family::Ipv4), (table, Family::Ipv6)]);
                    let name = OwnedName::Vrf(vrf.clone());
                    let key = LinkKey { netns: Netns::Router, name: name.clone() };
                    state.links.insert(key, link(&vrf, LinkKind::Vrf { table }, None));
                    (Netns::Router, Some(name))
                }
            };
            self.links(&mut state, (vni, &vrf), spec, &netns, device.as_ref());
        }
        for (raw, segment) in &self.segments {
            self.segment(&mut state, Vni::try_from(150 + u32::from(*raw)).unwrap(), segment);
        }
        state
    }

    fn segment(&self, state: &mut KernelState, vni: Vni, segment: &Segment) {
        let within = segment.within.filter(|raw| self.specs.contains_key(raw));
        let vrf = within.map(|raw| format!("v{}", (raw + self.shift) % VNIS).parse::<VrfName>().unwrap());
        let (netns, device) = match (&vrf, self.mode) {
            (Some(vrf), VrfMode::Netns) => (Netns::Vrf(vrf.clone()), None),
            (Some(vrf), VrfMode::Vrf) => (Netns::Router, Some(OwnedName::Vrf(vrf.clone()))),
            (None, _) => (Netns::Router, None),
        };
        let key = |netns: &Netns, role| LinkKey { netns: netns.clone(), name: OwnedName::Vni(role, vni) };
        let link = |kind| Link {
            scope: Scope::Segment(vni),
            kind,
            segment: true,
            master: None,
            host_master: None,
            mtu: Some(segment.mtu),
            mac: None,
            up: true,
            addrgen_none: true,
            ip: IpUse::Bridged,
            rp_filter: Some(RpFilter::Strict),
            wrong_settings: BTreeSet::new(),
            addresses: BTreeSet::new(),
            port: None,
        };
        let is_gateway = segment.gateways && vrf.is_some();
        let raw = vni.get();
        let gateways = [format!("10.{raw}.0.1/24"), format!("2001:db8:{raw}::1/64")];
        let bridge = Link {
            master: device,
            mac: Some(MacAddr([0x06, 0xf3, 0, 0, 0, raw.to_be_bytes()[3]])),
            addresses: gateways.iter().filter(|_| is_gateway).map(|text| text.parse().unwrap()).collect(),
            addrgen_none: !is_gateway,
            ip: if is_gateway { IpUse::Gateway } else { IpUse::Bridged },
            ..link(LinkKind::Bridge)
        };
        let vxlan = Link {
            master: Some(OwnedName::Vni(Role::Bridge, vni)),
            port: Some(BridgePort { neigh_suppress: true, learning: false }),
            ip: IpUse::Routed,
            rp_filter: None,
            ..link(LinkKind::Vxlan { vni, local: self.vtep.addr(), port: segment.port })
        };
        let (pe, host) = (key(&netns, Role::PeVeth), key(&Netns::Host, Role::HostVeth));
        let pe_end = Link {
            master: Some(OwnedName::Vni(Role::Bridge, vni)),
            port: Some(BridgePort { neigh_suppress: false, learning: true }),
            ..link(LinkKind::Veth { peer: Box::new(host.clone()) })
        };
        let master = segment.bridge.then_some(OwnedName::Vni(Role::HostBridge, vni));
        let host_end = Link { master, ..link(LinkKind::Veth { peer: Box::new(pe.clone()) }) };
        if segment.bridge {
            let mac = Some(MacAddr([0x0e, 0, 0, 0, 0, 1]));
            state.links.insert(key(&Netns::Host, Role::HostBridge), Link { mac, ..link(LinkKind::Bridge) });
        }
        state.links.extend([
            (key(&netns, Role::Bridge), bridge),
            (key(&netns, Role::Vxlan), vxlan),
            (pe, pe_end),
            (host, host_end),
        ]);
    }

    fn links(
        &self,
        state: &mut KernelState,
        (vni, vrf): (Vni, &VrfName),
        spec: &Spec,
        netns: &Netns,
        device: Option<&OwnedName>,
    ) {
        let link = |kind, mtu| link(vrf, kind, mtu);
        let key = |netns: &Netns, role| LinkKey { netns: netns.clone(), name: OwnedName::Vni(role, vni) };
        let kind = LinkKind::Vxlan { vni, local: self.vtep.addr(), port: spec.port };
        let vxlan = Link {
            master: Some(OwnedName::Vni(Role::Bridge, vni)),
            addrgen_none: true,
            port: Some(BridgePort { neigh_suppress: true, learning: false }),
            rp_filter: None,
            ..link(kind, Some(spec.mtu))
        };
        let mac = Some(MacAddr([0x02, 0, 0, 0, 0, spec.mac]));
        let bridge =
            Link { master: device.cloned(), mac, addrgen_none: true, ..link(LinkKind::Bridge, Some(spec.mtu)) };
        state.links.insert(key(netns, Role::Vxlan), vxlan);
        state.links.insert(key(netns, Role::Bridge), bridge);
        let Some(session) = &spec.session else { return };
        let (pe, host) = (key(netns, Role::PeVeth), key(&Netns::Host, Role::HostVeth));
        let raw = vni.get();
        let addresses = |end: u8| {
            let ipv4 = session.ipv4.map(|_| format!("192.169.{raw}.{end}/24").parse().unwrap());
            let ipv6 = session.ipv6.map(|_| format!("2001:db8:{raw}::{end}/64").parse().unwrap());
            ipv4.into_iter().chain(ipv6).collect::<BTreeSet<IpNet>>()
        };
        let end = session.ipv4.or(session.ipv6).unwrap_or(2);
        let pe_end = Link {
            master: device.cloned(),
            addresses: addresses(1),
            ..link(LinkKind::Veth { peer: Box::new(host.clone()) }, Some(spec.mtu))
        };
        let host_end = Link {
            addresses: addresses(end),
            rp_filter: Some(if spec.strict { RpFilter::Strict } else { RpFilter::Loose }),
            ..link(LinkKind::Veth { peer: Box::new(pe.clone()) }, Some(spec.mtu))
        };
        let opened = session.listen.map(|port| ListenPort { on: pe.clone(), port, whole: true });
        state.listen_ports.extend(opened);
        if session.ipv6.is_some() && self.filters {
            let device = device.map(OwnedName::if_name);
            let filter = |netns: &Netns, device| {
                let table = SourceTable { vni, device };
                SourceFilter { netns: netns.clone(), table, whole: true }
            };
            state.source_filters.insert(filter(netns, device));
            let strict = spec.strict.then(|| filter(&Netns::Host, Some(host.name.if_name())));
            state.source_filters.extend(strict);
        }
        state.links.insert(pe, pe_end);
        state.links.insert(host, host_end);
    }
}

fn link(vrf: &VrfName, kind: LinkKind, mtu: Option<u32>) -> Link {
    Link {
        scope: Scope::Vrf(vrf.clone()),
        kind,
        segment: false,
        master: None,
        host_master: None,
        mtu,
        mac: None,
        up: true,
        addrgen_none: false,
        ip: IpUse::Routed,
        rp_filter: Some(RpFilter::Loose),
        wrong_settings: BTreeSet::new(),
        addresses: BTreeSet::new(),
        port: None,
    }
}

/// A router in one of `modes`.
pub fn world(modes: &'static [VrfMode]) -> impl Strategy<Value = World> {
    let session = (proptest::option::of(2u8..5), proptest::option::of(2u8..5), proptest::option::of(180u16..182));
    let session = session.prop_map(|(ipv4, ipv6, listen)| Session { ipv4, ipv6, listen });
    let mtu = prop_oneof![Just(1450u32), Just(8950)];
    let spec = (4789u16..4791, mtu, 1u8..3, any::<bool>(), proptest::option::weighted(0.8, session))
        .prop_map(|(port, mtu, mac, strict, session)| Spec { port, mtu, mac, strict, session });
    let vtep = proptest::sample::select(vec!["100.65.0.1/32", "100.65.0.2/32", "2001:db8:65::1/128"]);
    let specs = proptest::collection::btree_map(0..VNIS, spec, 0..4);
    let segments = proptest::collection::btree_map(0..2u8, segment(), 0..3);
    (proptest::sample::select(modes), vtep, 0..VNIS, specs, segments).prop_map(
        |(mode, vtep, shift, specs, segments)| World {
            mode,
            vtep: vtep.parse().unwrap(),
            shift,
            specs,
            segments,
            filters: true,
        },
    )
}

fn segment() -> impl Strategy<Value = Segment> {
    let mtu = prop_oneof![Just(1450u32), Just(1400)];
    let within = proptest::option::of(0..VNIS);
    (4789u16..4791, mtu, within, any::<bool>(), any::<bool>())
        .prop_map(|(port, mtu, within, gateways, bridge)| Segment { port, mtu, within, gateways, bridge })
}

/// Changes that others made to the links: numbers that select link and op.
pub fn drift() -> impl Strategy<Value = Vec<(usize, u8)>> {
    proptest::collection::vec((any::<usize>(), 0u8..15), 0..5)
}

/// The op of one change; `None` where the state does not allow it.
pub fn drift_op(state: &KernelState, (choice, what): (usize, u8)) -> Option<KernelOp> {
    let count = state.links.len();
    let (key, link) = state.links.iter().nth(choice.checked_rem(count)?)?;
    let key = key.clone();
    let is_vrf = matches!(link.kind, LinkKind::Vrf { .. });
    let veth = matches!(link.kind, LinkKind::Veth { .. });
    let address = "198.51.100.1/31".parse().ok()?;
    Some(match what {
        0 => KernelOp::DeleteLink { key, with: None },
        1 if !is_vrf => KernelOp::SetMtu { key, mtu: 1400 },
        2 if link.mac.is_some() => KernelOp::SetMac { key, mac: MacAddr([2, 0, 0, 0, 9, 9]), former: None },
        3 if link.master.is_some() => KernelOp::SetMaster { key, master: None },
        4 if link.up => KernelOp::SetDown(key),
        5 if veth && !link.addresses.contains(&address) => {
            KernelOp::AddAddress { on: AddressDevice::Link(key), address }
        }
        6 => KernelOp::DelAddress { address: *link.addresses.first()?, on: AddressDevice::Link(key) },
        7 if !is_vrf => KernelOp::SetAddrGen { none: !link.addrgen_none, key },
        8 => {
            let port = link.port?;
            KernelOp::SetPort { key, port: BridgePort { learning: !port.learning, ..port } }
        }
        12 if link.segment => KernelOp::SetIpUse { key, ip: IpUse::Routed },
        10 if link.rp_filter.is_some() => KernelOp::SetRpFilter { key, filter: RpFilter::Off },
        11 if link.rp_filter.is_some() => {
            KernelOp::SetLinkSetting { key, setting: LinkSetting::RouteLocalnet, on: true }
        }
        // On the host it is the host's own.
        13 | 14 if link.rp_filter.is_some() && key.netns != Netns::Host => {
            let setting = if what == 13 { LinkSetting::Ipv4Forwarding } else { LinkSetting::Ipv6Forwarding };
            KernelOp::SetLinkSetting { key, setting, on: false }
        }
        9 => KernelOp::ClosePort(state.listen_ports.first()?.clone()),
        _ => return None,
    })
}

/// `observed` without the settings that `wanted` does not name: an observation reads all, a plan names some, and none of them
/// is reset.
pub fn in_view_of(wanted: &KernelState, mut observed: KernelState) -> KernelState {
    observed.sysctls.retain(|key, _| wanted.sysctls.contains_key(key));
    observed.local_last.retain(|family| wanted.local_last.contains(family));
    observed
}
