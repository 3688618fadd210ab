use super::*;
use crate::diagnose::facts::{ControllerState, PacketFilters};
use crate::diagnose::finding::Finding;
use crate::frr::show::interface::Interface;
use crate::frr::show::mac::NeighborState;
use crate::frr::show::route::{InstalledHop, ReceivedRoute, Type5};
use crate::frr::show::session::SessionPhase;
use crate::frr::show::type2::Type2;
use crate::frr::show::vni::VniState;
use crate::kernel::nftables::others::DroppingTable;
use crate::kernel::segment_ports::SegmentPort;
use rstest::rstest;
use std::collections::{BTreeMap, BTreeSet};

fn session(peer: &str, up: bool) -> TracedSession {
    TracedSession {
        peer: peer.into(),
        hostname: (peer == "192.168.11.2").then(|| "leafkind".into()),
        families: vec![Family::Ipv4],
        remote_as: Some(if peer == "192.168.11.2" { 64512 } else { 64517 }.try_into().unwrap()),
        as_override: false,
        is_from_vtep: false,
        evpn: (peer == "192.168.11.2").then_some(up),
        state: if up { SessionPhase::Established } else { SessionPhase::Down("Active".into()) },
        cause: (!up).then(|| "no answer".into()),
    }
}

fn path(origin: Origin, best: bool) -> Path {
    let peer = match origin {
        Origin::Host => "192.169.10.3",
        Origin::Fabric => "192.168.11.2",
        Origin::Router | Origin::Segment => "",
    };
    let hop = if origin == Origin::Fabric { "100.64.0.1" } else { "192.169.10.3" };
    Path {
        origin,
        peer: peer.into(),
        next_hops: vec![hop.parse().unwrap()],
        as_path: "64515".into(),
        best,
        valid: true,
        communities: vec![],
    }
}

/// A service of the host that is in the fabric.
fn service() -> TraceFacts {
    let state = VniState {
        vrf: "red".into(),
        up: true,
        router_mac: "02:00:00:00:00:01".parse().ok(),
        in_bgp: true,
        ..VniState::default()
    };
    let route = Type5 {
        rd: "10.0.0.2:3".into(),
        route_targets: vec!["64514:100".into()],
        router_mac: Some("02:00:00:00:00:01".into()),
        next_hop: "100.65.0.2".parse().ok(),
        advertised_to: vec!["192.168.11.2".into()],
    };
    TraceFacts {
        vrf: "red".parse().unwrap(),
        vni: 100.try_into().unwrap(),
        state,
        controller: ControllerState::Running,
        matched: Some(Match {
            prefix: "172.30.0.10/32".parse().unwrap(),
            paths: vec![path(Origin::Host, true), path(Origin::Fabric, false)],
            advertised_to: vec![],
        }),
        kernel: hops(&["192.169.10.3 dev pe-100"]),
        type5: Some(route),
        hosts: vec![session("192.169.10.3", true)],
        fabric: vec![session("192.168.11.2", true)],
        filtered: vec![],
        looped: vec![],
        unused: vec![],
        workload: None,
        gateways: BTreeMap::new(),
        segment_ports: vec![],
        in_underlay: None,
        packet_filters: BTreeMap::new(),
        unresolved_in_vrf: BTreeSet::new(),
        forwarded: None,
        unresolved: BTreeSet::new(),
        from: TraceSource::Unknown,
        links: None,
        underlay: None,
        default_routed: BTreeSet::new(),
        sent_vnis: BTreeMap::new(),
        host_links: None,
    }
}

/// A finding about a route of the fabric.
fn unused() -> Finding {
    let kind = super::super::finding::FindingKind::VtepUnreachable;
    let (severity, area) = (super::super::finding::FindingSeverity::Error, super::super::finding::Area::Evpn);
    Finding::new(severity, area, kind, "no route leads to VTEP 100.64.0.1").remedied_by("advertise it")
}

/// A host of the fabric.
fn remote() -> TraceFacts {
    let found = Match {
        prefix: "192.168.20.0/24".parse().unwrap(),
        paths: vec![path(Origin::Fabric, true)],
        advertised_to: vec!["192.169.10.3".into()],
    };
    TraceFacts { matched: Some(found), kernel: hops(&["100.64.0.1 dev br-pe-100"]), type5: None, ..service() }
}

fn lines(facts: &TraceFacts) -> Vec<String> {
    let trace = follow("172.30.0.10".parse().unwrap(), facts);
    assert_eq!(trace.is_complete(), trace.prefix.is_some() && trace.steps.iter().all(|step| step.ok));
    assert!(trace.steps.iter().all(|step| !step.evidence.is_empty()), "{:#?}", trace.steps);
    // The path ends once.
    assert!(trace.steps.iter().rev().skip(1).all(|step| step.ok || step.at == TracePoint::Kernel), "{:?}", trace.steps);
    trace
        .steps
        .iter()
        .map(|step| format!("{} {}: {}", if step.ok { "ok" } else { "FAIL" }, step.at, step.text))
        .collect()
}

#[test]
fn a_service_is_followed_to_the_fabric() {
    assert_eq!(
        lines(&service()),
        [
            "ok host: 192.169.10.3 advertises 172.30.0.10/32, AS path 64515",
            "ok kernel: 172.30.0.10/32 via 192.169.10.3 dev pe-100",
            "ok Type-5: RD 10.0.0.2:3, RT 64514:100, VNI 100, router MAC 02:00:00:00:00:01, next hop 100.65.0.2",
            "ok fabric: advertised to 192.168.11.2 (leafkind)",
            "ok fabric: also behind VTEP 100.64.0.1 (AS path 64515): hosts of the fabric may use that path",
        ]
    );
}

#[test]
fn a_host_of_the_fabric_is_followed_to_the_host() {
    assert_eq!(
        lines(&remote()),
        [
            "ok fabric: 192.168.11.2 has 192.168.20.0/24 behind VTEP 100.64.0.1, AS path 64515",
            "ok kernel: 192.168.20.0/24 via 100.64.0.1 dev br-pe-100",
            "ok host: advertised to 192.169.10.3",
        ]
    );
}

#[rstest]
#[case::gateway("172.30.1.1/24", "172.30.0.10/24", &["ok segment: 172.30.0.10 is the gateway of L2VNI 110, on each node that has the segment"])]
#[case::unknown("172.30.1.1/24", "172.30.0.1/24",
    &["ok segment: no node knows a workload with 172.30.0.10 in L2VNI 110 (172.30.0.0/24): with the first packet to it the node sends a \
       request for it to all nodes of the segment; see `perouter macs 110`"])]
fn an_address_of_a_segment_without_a_workload(#[case] other: &str, #[case] gateway: &str, #[case] expected: &[&str]) {
    let gateways =
        [(110, gateway), (120, other)].map(|(vni, net)| (vni.try_into().unwrap(), vec![net.parse().unwrap()]));
    let facts = TraceFacts { matched: None, gateways: gateways.into(), hosts: vec![], ..service() };
    assert_eq!(lines(&facts), expected);
}

/// The route of a host is more specific than the subnet of the segment.
#[test]
fn a_route_to_a_host_within_the_subnet_of_a_segment_is_followed() {
    let gateways = [(110.try_into().unwrap(), vec!["172.30.0.1/24".parse().unwrap()])].into();
    assert_eq!(lines(&TraceFacts { gateways, ..service() }), lines(&service()));
}

/// A filtered route of 192.169.10.3.
fn filtered(prefix: &str, next_hop: &str) -> Filtered {
    let route = ReceivedRoute {
        prefix: prefix.parse().unwrap(),
        next_hop: Some(next_hop.parse().unwrap()),
        as_path: String::new(),
    };
    Filtered::new(&route, &["192.169.10.3".parse().unwrap()].into())
}

#[test]
fn a_filtered_prefix_longer_than_the_one_in_use_is_shown() {
    let closer = ("192.169.10.3".to_owned(), filtered("192.168.20.0/28", "192.169.10.3"));
    let wider = ("192.169.10.3".to_owned(), filtered("192.168.0.0/16", "192.169.10.3"));
    assert_eq!(lines(&TraceFacts { filtered: vec![wider.clone()], ..remote() }), lines(&remote()));
    let shown = lines(&TraceFacts { filtered: vec![wider, closer], ..remote() });
    let words = "ok host: 192.169.10.3 advertises 192.168.20.0/28, which spec.fromHost filters: see its allowedPrefixes, and \
                 protectedPrefixes of the Underlay";
    assert_eq!((shown.len(), shown[0].as_str()), (4, words));
}

fn filters() -> PacketFilters {
    let tables = [DroppingTable { family: "inet", name: "mine".into() }].into();
    PacketFilters { netns: "/run/netns/perouter".into(), tables }
}

fn looped() -> ReceivedRoute {
    ReceivedRoute { prefix: "172.30.0.10/32".parse().unwrap(), next_hop: None, as_path: "64515 64514".into() }
}

type Change = fn(&mut TraceFacts);

#[rstest]
#[case::nobody_advertises(service(), |facts: &mut TraceFacts| facts.matched = None,
    "FAIL VRF: no route covers 172.30.0.10: neither 192.169.10.3 nor the fabric advertises one that this router \
     accepts")]
#[case::rejected_as_a_loop(service(), |facts: &mut TraceFacts| { facts.matched = None; facts.looped = vec![("192.169.10.3".into(), looped())]; },
    "FAIL host: 192.169.10.3 advertises 172.30.0.10/32 with AS path 64515 64514, which has the AS number of this router: bgpd rejects it as \
     an AS-path loop: have the host advertise its own routes alone, and prepend no AS number but its own")]
#[case::filtered(service(), |facts: &mut TraceFacts| { facts.matched = None; facts.filtered = vec![("192.169.10.3".into(), filtered("172.30.0.0/16", "192.169.10.3"))]; },
    "FAIL host: 192.169.10.3 advertises 172.30.0.0/16, which spec.fromHost filters: see its allowedPrefixes, and protectedPrefixes of the Underlay")]
#[case::third_party(service(), |facts: &mut TraceFacts| { facts.matched = None; facts.filtered = vec![("192.169.10.3".into(), filtered("172.30.0.0/16", "192.169.10.2"))]; },
    "FAIL host: 192.169.10.3 advertises 172.30.0.0/16 with the next hop 192.169.10.2, which is no address of the host, so that it is filtered: set next-hop-self on the host")]
#[case::unreachable_vtep(remote(), |facts: &mut TraceFacts| { facts.matched = None; facts.unused = vec![unused()]; },
    "FAIL fabric: no route leads to VTEP 100.64.0.1: advertise it")]
#[case::without_evpn(service(), |facts: &mut TraceFacts| { facts.type5.as_mut().unwrap().advertised_to.clear(); facts.fabric[0].evpn = Some(false); },
    "FAIL fabric: L2VPN EVPN is not negotiated with 192.168.11.2: activate this router in that address family at 192.168.11.2")]
#[case::nothing_without_evpn(remote(), |facts: &mut TraceFacts| { facts.matched = None; facts.fabric[0].evpn = Some(false); },
    "FAIL VRF: no route covers 172.30.0.10: no route of the fabric is received: L2VPN EVPN is not negotiated with 192.168.11.2: \
     activate this router in that address family at 192.168.11.2")]
#[case::service_of_another_node(remote(), |facts: &mut TraceFacts| facts.matched.as_mut().unwrap().paths[0].as_path = "64512 64517".into(),
    "ok host: advertised to 192.169.10.3, which rejects it as an AS-path loop, as AS 64517 is its own: normal for a service of another \
     node; if hosts need each other's routes, set spec.toHost.asOverride (eBGP), or allowas-in on the host")]
#[case::next_hop_of_the_leaf(remote(), |facts: &mut TraceFacts| { let path = &mut facts.matched.as_mut().unwrap().paths[0];
    (path.as_path, path.next_hops) = ("64512 64520".into(), vec!["192.168.11.2".parse().unwrap()]);
    let nic = Interface { addresses: vec!["192.168.11.3/24".parse().unwrap()], ..links(9000, 1500).remove("eth1").unwrap() };
    facts.links = Some([("eth1".to_owned(), nic)].into()); },
    "FAIL fabric: 192.168.11.2 sets its own address as the next hop of a route of another router: have it keep the next hop in L2VPN \
     EVPN (FRR: `attribute-unchanged next-hop`)")]
#[case::other_vni(remote(), |facts: &mut TraceFacts| facts.sent_vnis = [("100.64.0.1".parse().unwrap(), [200].into())].into(),
    "FAIL fabric: it has VNI 200, and FRR sends with VNI 100 of the VRF (frr#14259), so that no packet arrives: have the leaf export the \
     route target of its own VNI, or do not import this one")]
#[case::as_loop(remote(), |facts: &mut TraceFacts| facts.matched.as_mut().unwrap().paths[0].as_path = "64512 64517 64520".into(),
    "FAIL host: advertised to 192.169.10.3, which rejects it as an AS-path loop, as AS 64517 is its own: set spec.toHost.asOverride (eBGP), or allowas-in on the host")]
#[case::as_override(remote(), |facts: &mut TraceFacts| { facts.matched.as_mut().unwrap().paths[0].as_path = "64512 64517".into(); facts.hosts[0].as_override = true; },
    "ok host: advertised to 192.169.10.3")]
#[case::vtep_of_the_other_family(remote(), |facts: &mut TraceFacts| facts.state.vtep = "2001:db8:65::1".parse().ok(),
    "FAIL fabric: VTEP 100.64.0.1 and that of this node for VNI 100, 2001:db8:65::1, have different address families, so that no packet is forwarded between them: set spec.underlayAddressFamily to the family that all VTEPs of the VNI have")]
#[case::vtep_of_our_family(remote(), |facts: &mut TraceFacts| facts.state.vtep = "100.65.0.1".parse().ok(),
    "ok host: advertised to 192.169.10.3")]
#[case::host_is_down(service(), |facts: &mut TraceFacts| { facts.matched = None; facts.hosts = vec![session("192.169.10.3", false)]; },
    "FAIL VRF: no route covers 172.30.0.10: session with 192.169.10.3 is Active: no answer")]
#[case::no_host(service(), |facts: &mut TraceFacts| { facts.matched = None; facts.hosts.clear(); },
    "FAIL VRF: no route covers 172.30.0.10: the VRF has no host session, and no Type-5 route of the fabric matches")]
#[case::unreachable(service(), |facts: &mut TraceFacts| facts.matched.as_mut().unwrap().paths = vec![path(Origin::Host, false)],
    "FAIL VRF: no path for 172.30.0.10/32 can be used: the next hop received from 192.169.10.3 is unreachable")]
#[case::vni_down(service(), |facts: &mut TraceFacts| facts.state.up = false,
    "FAIL Type-5: VNI 100 is not up in FRR: see `perouter check`")]
#[case::community(service(), |facts: &mut TraceFacts| facts.matched.as_mut().unwrap().paths[0].communities = vec!["1:2".into(), "no-export".into()],
    "FAIL Type-5: none: the host advertises 172.30.0.10/32 with the community no-export")]
#[case::kept(service(), |facts: &mut TraceFacts| facts.type5 = None,
    "FAIL Type-5: none for 172.30.0.10/32: spec.toFabric or a summary-only aggregate filters it")]
#[case::fabric_is_down(service(), |facts: &mut TraceFacts| { facts.type5.as_mut().unwrap().advertised_to.clear(); facts.fabric = vec![session("192.168.11.2", false)]; },
    "FAIL fabric: session with 192.168.11.2 is Active: no answer")]
#[case::loop_at_the_leaf(service(), |facts: &mut TraceFacts| {
        facts.hosts[0].remote_as = facts.fabric[0].remote_as;
        facts.matched.as_mut().unwrap().paths[0].as_path = "64512".into(); },
    "FAIL fabric: advertised to 192.168.11.2; 192.168.11.2 rejects it as an AS-path loop, as AS 64512 is its own: use another AS number \
     on the host and in spec.hostasn, or allowas-in at 192.168.11.2")]
#[case::loop_at_a_host_in_the_as_of_the_leaf(remote(), |facts: &mut TraceFacts| {
        facts.hosts[0].remote_as = facts.fabric[0].remote_as;
        facts.matched.as_mut().unwrap().paths[0].as_path = "64512 64520".into(); },
    "FAIL host: advertised to 192.169.10.3, which rejects it as an AS-path loop, as AS 64512 is its own: use another AS number on the host \
     and in spec.hostasn")]
#[case::advertised_to_nobody(service(), |facts: &mut TraceFacts| facts.type5.as_mut().unwrap().advertised_to.clear(),
    "FAIL fabric: advertised to no peer although the sessions are established: bgpd is about to, or a line in FRR that is not from perouter filters it \
     (`perouter check --all` lists them)")]
#[case::a_loop_by_what_the_host_prepends(service(), |facts: &mut TraceFacts| facts.matched.as_mut().unwrap().paths[0].as_path = "64515 64512".into(),
    "FAIL fabric: advertised to 192.168.11.2; 192.168.11.2 rejects it as an AS-path loop, as AS 64512 is its own: have the host not prepend AS \
     64512, or allowas-in at 192.168.11.2")]
#[case::not_in_the_kernel(remote(), |facts: &mut TraceFacts| { facts.kernel.clear(); facts.hosts.clear(); },
    "FAIL kernel: the kernel does not use 192.168.20.0/24 in VRF red: zebra has not installed it, or another route covers the address")]
#[case::filtered_to_the_host(remote(), |facts: &mut TraceFacts| facts.matched.as_mut().unwrap().advertised_to.clear(),
    "FAIL host: advertised to no host session: spec.toHost filters it")]
#[case::other_family(remote(), |facts: &mut TraceFacts| { let found = facts.matched.as_mut().unwrap(); found.advertised_to.clear(); found.prefix = "2001:db8::/64".parse().unwrap(); },
    "FAIL host: no host session carries ipv6: spec.localcidr.ipv6 is not set")]
fn the_first_incomplete_step_has_the_remedy(#[case] facts: TraceFacts, #[case] change: Change, #[case] last: &str) {
    let mut facts = facts;
    change(&mut facts);
    let lines = lines(&facts);
    assert_eq!(lines.last().map(String::as_str), Some(last), "{lines:?}");
}

fn links(nic: u32, vni: u32) -> BTreeMap<String, Interface> {
    let link = |mtu, vrf: &str| Interface {
        vrf: vrf.into(),
        is_admin_up: true,
        has_carrier: true,
        mtu: Some(mtu),
        ..Interface::default()
    };
    let links = [
        ("eth1", link(nic, "default")),
        ("eth2", link(1300, "default")),
        ("vni100", link(vni, "red")),
        ("pe-100", link(1500, "red")),
    ];
    links.map(|(name, link)| (name.to_owned(), link)).into()
}

fn hops(texts: &[&str]) -> Vec<InstalledHop> {
    let hop = |text: &&str| {
        let (address, link) = text.split_once(" dev ").unwrap_or_default();
        InstalledHop { address: address.parse().ok(), link: (!link.is_empty()).then(|| link.to_owned()) }
    };
    texts.iter().map(hop).collect()
}

fn routes(texts: &[&str]) -> BTreeMap<IpAddr, Vec<InstalledHop>> {
    [("100.64.0.1".parse().unwrap(), hops(texts))].into()
}

#[rstest]
#[case::underlay(|facts: &mut TraceFacts| facts.underlay = Some(routes(&["192.168.11.2 dev eth1"])),
    "ok route: VTEP 100.64.0.1 via 192.168.11.2 dev eth1")]
#[case::default_route(|facts: &mut TraceFacts| { facts.underlay = Some(routes(&["192.168.11.2 dev eth1"])); facts.default_routed = ["100.64.0.1".parse().unwrap()].into(); },
    "ok route: VTEP 100.64.0.1 via 192.168.11.2 dev eth1, by the default route")]
#[case::two_leaves(|facts: &mut TraceFacts| facts.underlay = Some(routes(&["192.168.11.2 dev eth1", "192.168.12.2 dev eth2"])),
    "ok route: VTEP 100.64.0.1 over 2 next hops [192.168.11.2 dev eth1 | 192.168.12.2 dev eth2]")]
#[case::router_mac(|facts: &mut TraceFacts| facts.forwarded = Some(["100.64.0.9".parse().unwrap()].into()),
    "FAIL kernel: VRF red cannot send to VTEP 100.64.0.1: the kernel has no router MAC of it: reset the sessions with the fabric, by \
     `clear bgp 192.168.11.2` in vtysh of this router: zebra installs the router MAC with the routes")]
#[case::dead_next_hop(|facts: &mut TraceFacts| { facts.underlay = Some(routes(&["192.168.11.77 dev eth1"]));
        facts.unresolved = [("192.168.11.77".parse().unwrap(), "eth1".to_owned())].into(); },
    "FAIL route: packets to VTEP 100.64.0.1 are lost: the next hop 192.168.11.77 does not answer ARP on eth1: have the leaf of this node \
     set its own address as the next hop of the route to the VTEP, and check that it answers")]
#[case::packet_filter(|facts: &mut TraceFacts| facts.packet_filters = [(None, filters())].into(),
    "WARN links: tables of nftables that are not from perouter may drop packets in the namespace of the router: inet mine")]
#[case::discarded(|facts: &mut TraceFacts| facts.underlay = Some(routes(&[""])),
    "FAIL route: packets to VTEP 100.64.0.1 are lost: the route that is used discards them (blackhole, unreachable or prohibit): remove that \
     route; `show ip route` or `show ipv6 route` of its VRF, in vtysh of this router, has its origin")]
#[case::discarded_in_the_vrf(|facts: &mut TraceFacts| facts.kernel = hops(&[""]),
    "FAIL kernel: packets to 192.168.20.0/24 are lost: the route that is used discards them (blackhole, unreachable or prohibit): remove that \
     route; `show ip route` or `show ipv6 route` of its VRF, in vtysh of this router, has its origin")]
#[case::one_dead_next_hop(|facts: &mut TraceFacts| { facts.underlay = Some(routes(&["192.168.11.2 dev eth1", "fe80::1 dev eth2"]));
        facts.unresolved = [("fe80::1".parse().unwrap(), "eth2".to_owned())].into(); },
    "WARN route: some packets to VTEP 100.64.0.1 are lost: the next hop fe80::1 does not answer Neighbor Discovery on eth2: have the leaf of \
     this node set its own address as the next hop of the route to the VTEP, and check that it answers \
     [192.168.11.2 dev eth1 | fe80::1 dev eth2]")]
#[case::no_underlay(|facts: &mut TraceFacts| facts.underlay = Some(routes(&[])),
    "FAIL route: no route leads to VTEP 100.64.0.1: have the leaf advertise it to this node")]
#[case::branches(|facts: &mut TraceFacts| facts.kernel = hops(&["100.64.0.1 dev br-pe-100", "100.64.0.2 dev br-pe-100"]),
    "ok kernel: 192.168.20.0/24 over 2 next hops [100.64.0.1 dev br-pe-100 | 100.64.0.2 dev br-pe-100]")]
#[case::host(|facts: &mut TraceFacts| facts.host_links = Some(["host-100".to_owned()].into()),
    "ok host: the node sends packets to 192.168.20.2 over host-100")]
#[case::host_by_another_link(|facts: &mut TraceFacts| facts.host_links = Some(["eth0".to_owned()].into()),
    "WARN host: the node sends packets to 192.168.20.2 over eth0, not host-100, unless a rule by source leads there: another route of \
     the host is more specific (`ip route get 192.168.20.2`), or the speaker has not installed the routes of this session (FRR-K8s: toReceive)")]
#[case::host_without_route(|facts: &mut TraceFacts| facts.host_links = Some([].into()),
    "FAIL host: the node has no route to 192.168.20.2, or one that discards packets: have the speaker of the host accept and install the routes of this session \
     (FRR-K8s: toReceive)")]
#[case::large(|facts: &mut TraceFacts| { facts.links = Some(links(9000, 1500)); facts.underlay = Some(routes(&["192.168.11.2 dev eth1"])); },
    "ok links: packets of 1500 bytes fit: eth1 9000 less 50 for VXLAN, vni100 1500, pe-100 1500")]
#[case::small(|facts: &mut TraceFacts| { facts.links = Some(links(1500, 1450)); facts.underlay = Some(routes(&["192.168.11.2 dev eth1"])); },
    "WARN links: packets of 1450 bytes fit: eth1 1500 less 50 for VXLAN, vni100 1450, pe-100 1500; the host sends up to 1500: raise the \
     MTU of the NIC and of the switches")]
#[case::every_nic(|facts: &mut TraceFacts| facts.links = Some(links(1500, 1500)),
    "WARN links: packets of 1250 bytes fit: eth1 1500 less 50 for VXLAN, eth2 1300 less 50 for VXLAN, vni100 1500, pe-100 1500; the host \
     sends up to 1500: raise the MTU of the NIC and of the switches")]
#[case::link_down(|facts: &mut TraceFacts| { facts.links = Some(links(9000, 1500)); facts.links.as_mut().unwrap().get_mut("pe-100").unwrap().is_admin_up = false; },
    "FAIL links: pe-100 is set down: perouter repairs it in its next reconcile pass")]
#[case::link_down_without_a_controller(|facts: &mut TraceFacts| { facts.controller = ControllerState::Stopped; facts.links = Some(links(9000, 1500)); facts.links.as_mut().unwrap().get_mut("vni100").unwrap().is_admin_up = false; },
    "FAIL links: vni100 is set down: start `perouter run` or `perouter controller`, which repairs it")]
#[case::host_end_down(|facts: &mut TraceFacts| { facts.links = Some(links(9000, 1500)); facts.links.as_mut().unwrap().get_mut("pe-100").unwrap().has_carrier = false; },
    "FAIL links: host-100 is set down: perouter repairs it in its next reconcile pass")]
fn what_forwards_the_packets_is_shown(#[case] change: Change, #[case] expected: &str) {
    let mut facts = remote();
    change(&mut facts);
    let trace = follow("192.168.20.2".parse().unwrap(), &facts);
    let line = |step: &TraceStep| {
        let mark = match (step.ok, step.warning) {
            (true, false) => "ok",
            (true, true) => "WARN",
            (false, _) => "FAIL",
        };
        let branches =
            if step.branches.is_empty() { String::new() } else { format!(" [{}]", step.branches.join(" | ")) };
        format!("{mark} {}: {}{branches}", step.at, step.text)
    };
    let lines: Vec<String> = trace.steps.iter().map(line).collect();
    assert!(lines.iter().any(|line| line == expected), "{lines:#?}");
    assert_eq!(trace.is_complete(), !expected.starts_with("FAIL"), "{lines:#?}");
    assert!(trace.steps.iter().all(|step| !step.evidence.is_empty()), "{trace:#?}");
}

/// A workload of an L2 segment behind this node.
fn workload() -> Workload {
    let mac = "0a:58:00:00:00:11".parse().unwrap();
    let neighbor =
        NeighborState { mac, place: WorkloadPlace::Local(None), active: true, sequence: 1, duplicate: false };
    let type2 = Type2 {
        mac,
        sequence: 1,
        rd: "10.0.0.2:4".into(),
        route_targets: vec!["64514:110".into(), "64514:100".into()],
        router_mac: Some("02:00:00:00:00:01".into()),
        next_hop: "100.65.0.2".parse().ok(),
        advertised_to: vec!["192.168.11.2".into()],
    };
    Workload { vni: 110.try_into().unwrap(), neighbor, type2: Some(type2) }
}

fn steps_of(workload: Workload) -> (bool, Option<Origin>, Vec<String>) {
    let facts = TraceFacts { matched: None, workload: Some(workload), ..service() };
    let trace = follow("10.110.0.11".parse().unwrap(), &facts);
    let text = |step: &TraceStep| format!("{} {} {}", step.at, step.ok, step.text);
    (trace.is_complete(), trace.origin, trace.steps.iter().map(text).collect())
}

#[test]
fn a_workload_of_a_segment_is_followed_to_the_fabric() {
    let wanted = [
        "segment true 0a:58:00:00:00:11 has 10.110.0.11, behind this node in L2VNI 110",
        "Type-2 true RD 10.0.0.2:4, RT 64514:110 64514:100, VNI 110, router MAC 02:00:00:00:00:01, next hop 100.65.0.2",
        "fabric true advertised to 192.168.11.2 (leafkind)",
    ];
    assert_eq!(steps_of(workload()), (true, Some(Origin::Segment), wanted.map(String::from).to_vec()));
}

#[test]
fn the_path_of_a_workload_ends_where_it_is_not_advertised() {
    let with = |change: fn(&mut Workload)| {
        let mut workload = workload();
        change(&mut workload);
        workload
    };
    for (workload, point, words) in [
        (with(|w| w.neighbor.active = false), "segment false", "the workload is gone"),
        (with(|w| w.neighbor.duplicate = true), "segment false", "several MAC addresses claim 10.110.0.11"),
        (with(|w| w.type2 = None), "Type-2 false", "see `perouter macs 110`"),
        (
            with(|w| w.type2.as_mut().unwrap().advertised_to.clear()),
            "fabric false",
            "a line in FRR that is not from perouter",
        ),
    ] {
        let (complete, _, steps) = steps_of(workload);
        let last = steps.last().unwrap();
        assert!(!complete && last.starts_with(point) && last.contains(words), "{steps:?}");
    }
}

#[test]
fn a_workload_behind_an_ip_vrf_that_is_not_up_is_reached_in_its_segment_only() {
    let mut facts = TraceFacts { matched: None, workload: Some(workload()), ..service() };
    facts.state.up = false;
    let trace = follow("10.110.0.11".parse().unwrap(), &facts);
    let type2 = trace.steps.iter().find(|step| step.at == TracePoint::Type2).unwrap();
    let words = "without the route target and the router MAC of VNI 100, which is not up: only workloads in L2VNI 110 reach the \
                 address; see `perouter check`";
    assert_eq!((type2.ok, type2.text.as_str()), (false, words));
    assert!(!trace.is_complete() && trace.steps.iter().all(|step| !step.evidence.is_empty()), "{trace:?}");
}

/// What comes from the fabric needs no route of the host.
#[rstest]
#[case::filtered(|facts: &mut TraceFacts| facts.matched.as_mut().unwrap().advertised_to.clear(),
    "WARN the host of this node has no route to 10.110.0.0/24: spec.toHost filters it; allow it there if the host needs one")]
#[case::not_installed(|facts: &mut TraceFacts| facts.host_links = Some([].into()),
    "WARN the node has no route to 10.110.0.11, or one that discards packets: have the speaker of the host accept and install the \
     routes of this session (FRR-K8s: toReceive)")]
#[case::installed(|facts: &mut TraceFacts| facts.host_links = Some(["host-100".to_owned()].into()),
    "ok the node sends packets to 10.110.0.11 over host-100")]
#[case::not_read(|_: &mut TraceFacts| (), "none")]
#[case::session_down(|facts: &mut TraceFacts| { facts.hosts = vec![session("192.169.10.3", false)]; facts.matched.as_mut().unwrap().advertised_to.clear(); }, "none")]
fn the_route_of_the_host_to_a_workload_is_a_step(#[case] change: Change, #[case] expected: &str) {
    let subnet = Match {
        prefix: "10.110.0.0/24".parse().unwrap(),
        paths: vec![path(Origin::Router, true)],
        advertised_to: vec!["192.169.10.3".into()],
    };
    let mut facts = TraceFacts { matched: Some(subnet), workload: Some(workload()), ..service() };
    change(&mut facts);
    let trace = follow("10.110.0.11".parse().unwrap(), &facts);
    assert!(trace.is_complete(), "{trace:?}");
    let of_host = trace.steps.iter().find(|step| step.at == TracePoint::Host);
    let text = |step: &TraceStep| format!("{} {}", if step.warning { "WARN" } else { "ok" }, step.text);
    assert_eq!(of_host.map_or("none".to_owned(), text), expected);
}

#[rstest]
#[case::service(service(), PathDirection::FabricToHost)]
#[case::fabric(remote(), PathDirection::HostToFabric)]
#[case::from_a_workload(TraceFacts { from: TraceSource::Workload(110.try_into().unwrap()), ..remote() }, PathDirection::WorkloadToFabric)]
#[case::between_workloads(TraceFacts { from: TraceSource::Workload(110.try_into().unwrap()), workload: Some(workload()), ..service() }, PathDirection::WithinNode)]
#[case::from_the_host_to_a_workload(TraceFacts { from: TraceSource::Host, workload: Some(workload()), ..service() }, PathDirection::WithinNode)]
#[case::from_a_workload_to_a_service(TraceFacts { from: TraceSource::Workload(110.try_into().unwrap()), ..service() }, PathDirection::WithinNode)]
#[case::workload(TraceFacts { workload: Some(workload()), ..service() }, PathDirection::FabricToWorkload)]
fn a_path_has_a_direction(#[case] facts: TraceFacts, #[case] expected: PathDirection) {
    assert_eq!(follow_directed("172.30.0.10".parse().unwrap(), &facts).direction, Some(expected));
}

#[test]
fn a_workload_of_another_node_has_its_mac_and_how_often_it_moved() {
    let mut workload = workload();
    workload.neighbor.place = WorkloadPlace::Remote("100.64.0.1".parse().ok());
    let trace = follow("192.168.20.2".parse().unwrap(), &TraceFacts { workload: Some(workload), ..remote() });
    let segment: Vec<_> = trace.steps.iter().filter(|step| step.at == TracePoint::Segment).collect();
    assert!(matches!(segment[..], [step] if step.text == "0a:58:00:00:00:11 in L2VNI 110, moved once"), "{segment:?}");
}

#[rstest]
#[case::from_a_workload(None, true)]
#[case::to_a_workload(Some(workload()), false)]
fn a_workload_needs_no_host_session(#[case] workload: Option<Workload>, #[case] from_workload: bool) {
    let facts = |workload, from_workload: bool| {
        let from = if from_workload { TraceSource::Workload(110.try_into().unwrap()) } else { TraceSource::Unknown };
        let mut facts = TraceFacts { workload, from, hosts: vec![session("192.169.10.3", false)], ..remote() };
        facts.matched.as_mut().unwrap().advertised_to.clear();
        facts
    };
    let address = "192.168.20.2".parse().unwrap();
    let trace = follow(address, &facts(workload, from_workload));
    assert!(trace.is_complete() && trace.steps.iter().all(|step| step.at != TracePoint::Host), "{trace:?}");
    assert!(!follow(address, &facts(None, false)).is_complete(), "a host needs its session");
}

/// A link of the router.
fn link(addresses: &[&str], is_admin_up: bool) -> Interface {
    let addresses = addresses.iter().map(|net| net.parse().unwrap()).collect();
    let (vrf, zebra_type) = ("red".to_owned(), "Other".to_owned());
    Interface { vrf, is_admin_up, has_carrier: is_admin_up, mtu: Some(1450), addresses, zebra_type }
}

/// The only step towards an address.
fn only_step(address: &str, facts: &TraceFacts) -> (bool, String) {
    let trace = follow(address.parse().unwrap(), facts);
    let [step] = trace.steps.as_slice() else { panic!("{:#?}", trace.steps) };
    assert_eq!(trace.is_complete(), step.ok);
    (step.ok, step.text.clone())
}

#[rstest]
#[case(
    "192.169.10.1",
    true,
    "192.169.10.1 is the router's own address on pe-100, the same on all nodes: this node alone reaches it"
)]
#[case(
    "2001:db8:10::1",
    true,
    "2001:db8:10::1 is the router's own address on pe-100, the same on all nodes: this node alone reaches it"
)]
#[case("192.169.10.3", true, "192.169.10.3 is the address of the host of this node in its session")]
#[case("192.169.10.0", false, "192.169.10.0 is the address of network 192.169.10.0/24: no host has it")]
#[case("192.169.10.255", false, "192.169.10.255 is the broadcast address of 192.169.10.0/24: no host has it")]
#[case(
    "192.169.10.77",
    false,
    "no node advertises a host with 192.169.10.77, which is in spec.localcidr (192.169.10.0/24)"
)]
#[case("10.110.0.255", false, "10.110.0.255 is the broadcast address of 10.110.0.0/24: no host has it")]
fn addresses_of_the_router_and_of_networks(#[case] address: &str, #[case] ok: bool, #[case] text: &str) {
    // A default route of the fabric covers them all, and one that is filtered is no better reason.
    let found = Match { prefix: "0.0.0.0/0".parse().unwrap(), ..remote().matched.unwrap() };
    let other = ("192.169.10.3".to_owned(), filtered("0.0.0.0/0", "192.169.10.3"));
    let facts = TraceFacts { matched: Some(found), filtered: vec![other], ..with_links() };
    assert_eq!(only_step(address, &facts), (ok, text.to_owned()));
}

/// Red with its link to the host, and a segment.
fn with_links() -> TraceFacts {
    let pe = link(&["fe80::1/64", "192.169.10.1/24", "2001:db8:10::1/64"], true);
    TraceFacts {
        state: VniState { vtep: "100.65.0.2".parse().ok(), ..service().state },
        matched: None,
        links: Some([("pe-100".to_owned(), pe)].into()),
        gateways: [(110.try_into().unwrap(), vec!["10.110.0.1/24".parse().unwrap()])].into(),
        ..service()
    }
}

#[rstest]
#[case("100.65.0.2", "100.65.0.2 is the VTEP of this node, an address of the underlay: no VRF has a route to it")]
#[case("100.64.0.1", "100.64.0.1 is in 100.64.0.1/32 of the underlay: no VRF has a route to it")]
fn addresses_of_the_underlay(#[case] address: &str, #[case] text: &str) {
    let facts = TraceFacts { in_underlay: "100.64.0.1/32".parse().ok(), ..with_links() };
    assert_eq!(only_step(address, &facts), (false, text.to_owned()));
    let routed = TraceFacts { matched: remote().matched, ..facts };
    assert!(follow(address.parse().unwrap(), &routed).steps[0].ok, "a route of the VRF covers it");
}

/// The host of another node, and a workload of another node.
#[rstest]
#[case("192.169.10.2", "192.169.10.2 is in spec.localcidr (192.169.10.0/24), and no route of the fabric is received: ")]
#[case(
    "10.110.0.12",
    "this node knows no workload with 10.110.0.12 in L2VNI 110 (10.110.0.0/24), and no route of the fabric is received: "
)]
fn without_the_fabric_its_session_is_the_reason(#[case] address: &str, #[case] text: &str) {
    let facts = TraceFacts { fabric: vec![session("192.168.11.2", false)], ..with_links() };
    let expected = format!("{text}session with 192.168.11.2 is Active: no answer");
    assert_eq!(only_step(address, &facts), (false, expected));
}

#[test]
fn a_workload_of_another_node_without_an_imported_route_is_reached_in_the_segment() {
    let mut workload = workload();
    workload.neighbor.place = WorkloadPlace::Remote("100.65.0.9".parse().ok());
    let subnet = Match {
        prefix: "10.110.0.0/24".parse().unwrap(),
        paths: vec![path(Origin::Router, true)],
        advertised_to: vec![],
    };
    let facts = TraceFacts { workload: Some(workload), matched: Some(subnet), ..with_links() };
    let text = "0a:58:00:00:00:11 has 10.110.0.11, behind VTEP 100.65.0.9 in L2VNI 110";
    assert_eq!(only_step("10.110.0.11", &facts), (true, text.to_owned()));
}

#[test]
fn the_host_of_another_node_is_followed_by_its_own_route() {
    let pe = link(&["192.168.20.1/24"], true);
    let found = Match { prefix: "192.168.20.2/32".parse().unwrap(), ..remote().matched.unwrap() };
    let facts = TraceFacts { matched: Some(found), links: Some([("pe-100".to_owned(), pe)].into()), ..remote() };
    assert!(follow("192.168.20.2".parse().unwrap(), &facts).steps.len() > 1);
}

/// Of a workload, of the gateway, and of an address that nobody is known to have.
#[test]
fn the_path_ends_at_a_link_of_the_segment_that_is_down() {
    let port = SegmentPort {
        vni: 110.try_into().unwrap(),
        mtu: 1450,
        bridge: "pods".into(),
        is_bridge_up: false,
        is_attached: true,
        larger: BTreeMap::new(),
        down: BTreeSet::new(),
    };
    let out = TraceFacts {
        segment_ports: vec![SegmentPort { is_attached: false, is_bridge_up: true, ..port.clone() }],
        gateways: [(110.try_into().unwrap(), vec!["10.110.0.1/24".parse().unwrap()])].into(),
        ..TraceFacts { matched: None, ..service() }
    };
    let segment = TraceFacts {
        matched: None,
        gateways: [(110.try_into().unwrap(), vec!["10.110.0.1/24".parse().unwrap()])].into(),
        ..service()
    };
    let host = TraceFacts { segment_ports: vec![port], ..segment.clone() };
    let router = TraceFacts { links: Some([("br-pe-110".to_owned(), link(&[], false))].into()), ..segment };
    let no_carrier = Interface { has_carrier: false, ..link(&[], true) };
    let veth = TraceFacts { links: Some([("pe-110".to_owned(), no_carrier)].into()), ..router.clone() };
    let of_host = "bridge pods of L2VNI 110 is down, so that its workloads reach nothing: set it up on the host, `ip link set pods up`";
    let of_router = "br-pe-110 is set down: perouter repairs it in its next reconcile pass";
    let of_veth = "host-110 is set down: perouter repairs it in its next reconcile pass";
    let of_port = "host-110 is no port of bridge pods: perouter repairs it in its next reconcile pass";
    for (facts, text) in [(host, of_host), (router, of_router), (veth, of_veth), (out, of_port)] {
        for address in ["10.110.0.1", "10.110.0.99"] {
            assert_eq!(only_step(address, &facts), (false, text.to_owned()));
        }
        let with_workload = TraceFacts { workload: Some(workload()), ..facts };
        assert_eq!(only_step("10.110.0.11", &with_workload), (false, text.to_owned()));
    }
}

/// Its MAC/IP route is there until the kernel has asked for it in vain.
#[test]
fn a_workload_may_be_behind_a_port_that_is_down() {
    let port = SegmentPort {
        vni: 110.try_into().unwrap(),
        mtu: 1450,
        bridge: "pods".into(),
        is_bridge_up: true,
        is_attached: true,
        larger: BTreeMap::new(),
        down: ["veth1".to_owned()].into(),
    };
    let facts = TraceFacts { matched: None, workload: Some(workload()), segment_ports: vec![port], ..service() };
    let trace = follow("10.110.0.11".parse().unwrap(), &facts);
    let TraceStep { warning, text, .. } = &trace.steps[0];
    assert!(*warning && text.ends_with(", unless it is behind a port of pods that is set down: veth1"), "{text}");
    assert!(trace.is_complete());
}

/// The host reaches a workload of its node without the fabric, and not without a route.
#[test]
fn a_path_from_the_host_to_a_workload_needs_the_route_of_the_host() {
    let facts = |links: &[&str]| {
        let subnet = Match {
            prefix: "10.110.0.0/24".parse().unwrap(),
            paths: vec![path(Origin::Router, true)],
            advertised_to: vec!["192.169.10.3".into()],
        };
        let mut facts =
            TraceFacts { matched: Some(subnet), workload: Some(workload()), from: TraceSource::Host, ..service() };
        facts.host_links = Some(links.iter().map(|link| (*link).to_owned()).collect());
        facts.fabric = vec![session("192.168.11.2", false)];
        facts
    };
    let is_complete = |links: &[&str]| follow("10.110.0.11".parse().unwrap(), &facts(links)).is_complete();
    assert!(is_complete(&["host-100"]) && !is_complete(&[]));
}

/// The MTU of the NICs does not count.
#[test]
fn a_path_within_the_node_crosses_no_nic() {
    let mut facts = TraceFacts { links: Some(links(1500, 1450)), ..service() };
    let points = |facts: &TraceFacts| -> Vec<(TracePoint, bool)> {
        let trace = follow("172.30.0.10".parse().unwrap(), facts);
        trace.steps.iter().filter(|step| step.at == TracePoint::Links).map(|step| (step.at, step.ok)).collect()
    };
    assert_eq!(points(&facts), [(TracePoint::Links, true)]);
    facts.from = TraceSource::Workload(110.try_into().unwrap());
    assert_eq!(points(&facts), []);
    facts.links.as_mut().unwrap().get_mut("pe-100").unwrap().is_admin_up = false;
    assert_eq!(points(&facts), [(TracePoint::Links, false)]);
}

/// Whatever routes there are.
#[test]
fn workloads_of_one_segment_are_bridged() {
    let mut workload = workload();
    workload.neighbor.place = WorkloadPlace::Remote("100.64.0.1".parse().ok());
    let vni = 110.try_into().unwrap();
    let mut facts = TraceFacts {
        workload: Some(workload),
        gateways: [(vni, vec!["10.110.0.1/24".parse().unwrap()])].into(),
        from: TraceSource::Workload(vni),
        kernel: vec![],
        ..remote()
    };
    facts.matched.as_mut().unwrap().prefix = "10.110.0.12/32".parse().unwrap();
    let trace = follow_directed("10.110.0.12".parse().unwrap(), &facts);
    assert!(trace.complete && trace.direction == Some(PathDirection::WithinSegment), "{trace:?}");
    let others = TraceFacts { from: TraceSource::Workload(120.try_into().unwrap()), ..facts };
    assert!(!follow("10.110.0.12".parse().unwrap(), &others).is_complete(), "it is routed");
}

#[test]
fn a_host_that_does_not_answer_is_named_at_its_route() {
    let unresolved_in_vrf = [("192.169.10.3".parse().unwrap(), "pe-100".to_owned())].into();
    let shown = lines(&TraceFacts { unresolved_in_vrf, ..service() });
    let expected = "FAIL kernel: packets to 172.30.0.10/32 are lost: the next hop 192.169.10.3 does not answer ARP on pe-100: check the host \
                    end of the veth pair on the node: that it is up and has its address, and what filters ARP and Neighbor Discovery there";
    assert_eq!(shown[1], expected);
}

#[test]
fn an_address_that_an_aggregate_alone_covers_is_discarded() {
    let aggregate = path(Origin::Router, true);
    let matched = Match { prefix: "172.30.0.0/16".parse().unwrap(), paths: vec![aggregate], advertised_to: vec![] };
    let shown = lines(&TraceFacts { matched: Some(matched), kernel: hops(&[""]), ..service() });
    assert_eq!(shown[0], "ok VRF: 172.30.0.0/16 is the router's own: an aggregate");
    let expected = "FAIL kernel: packets are discarded, as no route is more specific than 172.30.0.0/16: have the host advertise the address";
    assert_eq!(shown[1], expected);
}
