//! The routers that the page shows: what FRR, the kernel and the controller have of each. In: what is broken. Out: facts, routes and
//! paths, of which the program makes what the page gets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use perouter::diagnose::facts::Facts;
use perouter::diagnose::filtered::{FilterReason, Filtered};
use perouter::diagnose::listed_route::{FilteredFrom, ListedRoute};
use perouter::diagnose::trace::{DirectedTrace, TraceFacts, TraceQuery, TraceSource, TracedSession, follow_directed};
use perouter::frr::show::interface::Interface;
use perouter::frr::show::neighbor::{Negotiation, SessionReset};
use perouter::frr::show::route::{InstalledHop, Match, Origin, Path, Type5};
use perouter::frr::show::session::{SessionKey, SessionPhase};
use perouter::frr::show::type5::{Type5Path, Type5Route};
use perouter::frr::show::vni::VniState;
use perouter::status::NodeStatus;
use perouter::types::{Family, VrfName};

pub const NOW: u64 = 1_795_876_674;

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The leaf offers no L2VPN EVPN, a host is shut down, and the MTU is small.
    Sessions,
    /// The same, and a peer has a name that looks like HTML.
    Hostile,
    /// Route target, VTEP and next hops of routes.
    Routes,
    /// bgpd does not answer.
    Silent,
}

const STATUS: &str = "
node: pe-kind-a
index: 0
vtep: 100.65.0.1
routerId: 100.65.0.1
vrfMode: vrf
frrVersion: 10.7.1
observedTime: 1795876674
ready: true
resources:
- {kind: Underlay, namespace: openperouter-system, name: underlay, state: Ready, reason: Applied, message: ''}
- {kind: L3VNI, namespace: openperouter-system, name: red, vrf: red, state: Ready, reason: Applied, message: ''}
- {kind: L3VNI, namespace: openperouter-system, name: blue, vrf: blue, state: Ready, reason: Applied, message: ''}
vnis:
  100: {vrf: red, up: true, vtep: 100.65.0.1, routerMac: '02:00:64:41:00:01', svi: br-pe-100, inBgp: true, rd: '100.65.0.1:2', import: ['64514:100'], export: ['64514:100']}
  200: {vrf: blue, up: true, vtep: 100.65.0.1, routerMac: '02:00:64:41:00:01', svi: br-pe-200, inBgp: true, rd: '100.65.0.1:3', import: ['64514:200'], export: ['64514:200']}
sessions:
- {vrf: null, peer: 192.168.11.2, remoteAs: 64512, state: Established, since: 1795869241, established: 1, prefixes: {ipv4Unicast: {received: 3, sent: 1}, l2VpnEvpn: {received: 5, sent: 4}}}
- {vrf: red, peer: 192.169.10.2, remoteAs: 64515, state: Established, since: 1795869245, established: 1, prefixes: {ipv4Unicast: {received: 2, sent: 5}}}
- {vrf: blue, peer: 192.169.11.2, remoteAs: 64515, state: Established, since: 1795869246, established: 1, prefixes: {ipv4Unicast: {received: 2, sent: 5}}}
foreignLines: []
lastChange: {kernelOps: 0, frrLines: 0, rebuilt: [], durationMs: 0}
";

/// A peer supplies this.
const HOSTILE: &str = "- {vrf: red, peer: '<img src=x onerror=alert(1)>', remoteAs: 64515, state: Active, since: null, established: 0, prefixes: {}}\n";

fn are_sessions_down(fault: Fault) -> bool {
    matches!(fault, Fault::Sessions | Fault::Hostile)
}

fn hop(address: &str, link: &str) -> InstalledHop {
    InstalledHop { address: address.parse().ok(), link: Some(link.to_owned()) }
}

/// What is known of the router.
pub fn facts(fault: Fault) -> Facts {
    let is_down = are_sessions_down(fault);
    let text = if is_down {
        let shown = if fault == Fault::Hostile { HOSTILE } else { "" };
        STATUS
            .replace(
                "blue, peer: 192.169.11.2, remoteAs: 64515, state: Established, since: 1795869246",
                "blue, peer: 192.169.11.2, remoteAs: 64515, state: Active, since: null",
            )
            .replace(", l2VpnEvpn: {received: 5, sent: 4}", "")
            .replace("foreignLines", &format!("{shown}foreignLines"))
    } else {
        STATUS.to_owned()
    };
    let mut status: NodeStatus = serde_saphyr::from_str(&text).unwrap();
    let blue: VrfName = "blue".parse().unwrap();
    let type5 = if is_down { own_type5(false) } else { [own_type5(true), received_type5(fault)].concat() };
    let third_party = Filtered {
        prefix: "172.30.0.17/32".parse().unwrap(),
        next_hop: "192.169.11.3".parse().ok(),
        reason: FilterReason::NextHop,
    };
    let filtered =
        if fault == Fault::Routes { vec![((Some(blue), "192.169.11.2".to_owned()), third_party)] } else { vec![] };
    let underlay = ["100.64.0.1/32", "100.65.0.2/32", "192.168.11.0/24"]
        .map(|prefix| (prefix.parse().unwrap(), vec![hop("192.168.11.2", "toswitch")]));
    if fault == Fault::Silent {
        (status.sessions, status.vnis) = (vec![], BTreeMap::new());
        let silent = [("bgpd".to_owned(), "no socket".to_owned())].into();
        return Facts { now: NOW, silent, links: Some(links(9000)), ..status.with_facts(std::mem::take) };
    }
    Facts {
        now: NOW,
        neighbors: neighbors(is_down),
        links: Some(links(if is_down { 1500 } else { 9000 })),
        underlay: Some(underlay.into()),
        imported: imported(fault),
        type5: Some(type5),
        filtered,
        ..status.with_facts(std::mem::take)
    }
}

fn neighbors(is_down: bool) -> BTreeMap<SessionKey, SessionReset> {
    let sides = |received| Negotiation { advertised: true, received };
    let fabric = SessionReset {
        families: [("ipv4Unicast".to_owned(), sides(true)), ("l2VpnEvpn".to_owned(), sides(!is_down))].into(),
        local_address: Some("192.168.11.3".into()),
        hostname: Some("leafkind".into()),
        ..SessionReset::default()
    };
    let host = SessionReset {
        reset_age: Some(4000),
        due_to: Some("BGP Notification received".into()),
        notification: Some("Cease/Administrative Shutdown".into()),
        ..SessionReset::default()
    };
    let mut neighbors = BTreeMap::from([((None, "192.168.11.2".to_owned()), fabric)]);
    if is_down {
        neighbors.insert(("blue".parse().ok(), "192.169.11.2".to_owned()), host);
    }
    neighbors
}

fn links(mtu: u32) -> BTreeMap<String, Interface> {
    let link = |vrf: &str, mtu, addresses: &[&str], zebra_type: &str| Interface {
        vrf: vrf.into(),
        is_admin_up: true,
        has_carrier: true,
        mtu: Some(mtu),
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        zebra_type: zebra_type.into(),
    };
    let lane = |vrf: &'static str, vni: u32, address: &'static str| {
        [
            (vrf.to_owned(), link(vrf, 65535, &[], "VRF")),
            (format!("vni{vni}"), link(vrf, mtu - 50, &[], "VXLAN")),
            (format!("br-pe-{vni}"), link(vrf, mtu - 50, &[], "Other")),
            (format!("pe-{vni}"), link(vrf, mtu - 50, &[address], "Other")),
        ]
    };
    let shared = [
        ("lo".to_owned(), link("default", 65535, &["100.65.0.1/32"], "Other")),
        ("toswitch".to_owned(), link("default", mtu, &["192.168.11.3/24"], "Other")),
    ];
    let lanes = lane("red", 100, "192.169.10.1/24").into_iter().chain(lane("blue", 200, "192.169.11.1/24"));
    shared.into_iter().chain(lanes).collect()
}

fn type5(prefix: &str, rd: &str, vtep: &str, (vni, target): (u32, &str), sent_to: &[&str]) -> Type5Route {
    let path = Type5Path {
        vni: Some(vni),
        route_targets: vec![target.into()],
        next_hop: vtep.parse().ok(),
        as_path: if vtep == "100.65.0.1" { "64515".into() } else { "64512 64612 64520".into() },
        ..Type5Path::default()
    };
    let advertised_to = sent_to.iter().map(ToString::to_string).collect();
    Type5Route { prefix: prefix.parse().unwrap(), rd: rd.into(), advertised_to, paths: vec![path] }
}

const RED: (u32, &str) = (100, "64514:100");
const BLUE: (u32, &str) = (200, "64514:200");

fn own_type5(is_sent: bool) -> Vec<Type5Route> {
    let own = [
        ("172.30.0.10/32", "100.65.0.1:2", RED),
        ("192.169.10.2/32", "100.65.0.1:2", RED),
        ("172.30.0.16/32", "100.65.0.1:3", BLUE),
        ("192.169.11.2/32", "100.65.0.1:3", BLUE),
    ];
    let sent_to: &[&str] = if is_sent { &["192.168.11.2"] } else { &[] };
    own.map(|(prefix, rd, vni)| type5(prefix, rd, "100.65.0.1", vni, sent_to)).into()
}

/// Prefix, VTEP, VNI and route target, and whether it is imported.
fn received(fault: Fault) -> Vec<(&'static str, &'static str, (u32, &'static str), bool)> {
    let is_good = fault == Fault::None;
    let target = if is_good { BLUE } else { (200, "64520:299") };
    let mut routes = vec![
        ("192.168.20.0/24", "100.64.0.1", RED, true),
        ("172.30.0.11/32", "100.65.0.2", RED, true),
        ("192.168.21.0/24", "100.64.0.1", target, is_good),
        ("192.169.21.0/24", "100.64.0.1", target, is_good),
    ];
    if !is_good {
        // Nobody advertises this VTEP in the underlay.
        routes.push(("10.90.0.0/16", "100.64.0.9", RED, false));
    }
    routes
}

fn received_type5(fault: Fault) -> Vec<Type5Route> {
    let route = |(prefix, vtep, vni, _): (&str, &str, _, bool)| {
        type5(prefix, &format!("{vtep}:{}", vni_of(vni)), vtep, vni, &[])
    };
    received(fault).into_iter().map(route).collect()
}

fn vni_of((vni, _): (u32, &str)) -> u32 {
    vni / 100
}

fn imported(fault: Fault) -> BTreeMap<VrfName, BTreeSet<(IpNet, IpAddr)>> {
    let mut found = BTreeMap::from(["red", "blue"].map(|vrf| (vrf.parse().unwrap(), [].into())));
    if !are_sessions_down(fault) {
        for (prefix, vtep, (vni, _), _) in received(fault).into_iter().filter(|(.., is_imported)| *is_imported) {
            let vrf: VrfName = if vni == 100 { "red" } else { "blue" }.parse().unwrap();
            let paths: &mut BTreeSet<_> = found.get_mut(&vrf).unwrap();
            paths.insert((prefix.parse().unwrap(), vtep.parse().unwrap()));
        }
    }
    found
}

fn path(origin: Origin, peer: &str, hop: &str, as_path: &str) -> Path {
    Path {
        origin,
        peer: peer.into(),
        next_hops: vec![hop.parse().unwrap()],
        as_path: as_path.into(),
        best: true,
        valid: true,
        communities: vec![],
    }
}

fn own_route(rd: &str, target: &str) -> Type5 {
    Type5 {
        rd: rd.into(),
        route_targets: vec![target.into()],
        router_mac: Some("02:00:64:41:00:01".into()),
        next_hop: "100.65.0.1".parse().ok(),
        advertised_to: vec!["192.168.11.2".into()],
    }
}

/// The routes of a VRF.
pub fn routes(fault: Fault, vrf: &VrfName) -> Vec<ListedRoute> {
    let (vni, host, service, rd, target) = match vrf.as_str() {
        "red" => (100, "192.169.10.2", "172.30.0.10/32", "100.65.0.1:2", RED.1),
        _ => (200, "192.169.11.2", "172.30.0.16/32", "100.65.0.1:3", BLUE.1),
    };
    let mut found = vec![
        ListedRoute {
            prefix: service.parse().unwrap(),
            paths: vec![path(Origin::Host, host, host, "64515")],
            kernel: vec![format!("{host} dev pe-{vni}")],
            type5: Some(own_route(rd, target)),
            ..ListedRoute::default()
        },
        ListedRoute {
            prefix: format!("{host}/32").parse().unwrap(),
            paths: vec![path(Origin::Router, "", host, "")],
            kernel: vec![format!("dev pe-{vni}")],
            type5: Some(own_route(rd, target)),
            ..ListedRoute::default()
        },
    ];
    for (prefix, vtep, (of, _), is_imported) in received(fault) {
        // What has another route target is not in the VRF at all.
        let is_there = of == vni && (is_imported || vtep == "100.64.0.9");
        let fabric = Path {
            best: is_imported,
            valid: is_imported,
            ..path(Origin::Fabric, "192.168.11.2", vtep, "64512 64612 64520")
        };
        let kernel = if is_imported { vec![format!("{vtep} dev br-pe-{vni}")] } else { vec![] };
        let route =
            ListedRoute { prefix: prefix.parse().unwrap(), paths: vec![fabric], kernel, ..ListedRoute::default() };
        found.extend(is_there.then_some(route));
    }
    if fault == Fault::Routes && vni == 200 {
        let filtered =
            FilteredFrom { peer: host.into(), next_hop: "192.169.11.3".parse().ok(), reason: FilterReason::NextHop };
        found.push(ListedRoute {
            prefix: "172.30.0.17/32".parse().unwrap(),
            filtered: vec![filtered],
            ..ListedRoute::default()
        });
    }
    found
}

/// The path to an address in the VRF red, and that of the replies.
pub fn trace(fault: Fault, query: &TraceQuery) -> Vec<DirectedTrace> {
    let back = query.from.unwrap_or_else(|| "192.168.20.2".parse().unwrap());
    let there = follow_directed(query.to, &trace_facts(fault, true));
    let back = DirectedTrace { example: query.from.is_none(), ..follow_directed(back, &trace_facts(fault, false)) };
    vec![there, back]
}

fn trace_facts(fault: Fault, to_service: bool) -> TraceFacts {
    let facts = facts(fault);
    let is_good = fault == Fault::None;
    let session = |peer: &str, evpn: Option<bool>| TracedSession {
        peer: peer.into(),
        hostname: evpn.map(|_| "leafkind".into()),
        families: vec![Family::Ipv4],
        remote_as: Some(if evpn.is_some() { 64512 } else { 64515 }.try_into().unwrap()),
        as_override: false,
        is_from_vtep: false,
        evpn,
        state: SessionPhase::Established,
        cause: None,
    };
    let (prefix, found, kernel) = if to_service {
        ("172.30.0.10/32", path(Origin::Host, "192.169.10.2", "192.169.10.2", "64515"), hop("192.169.10.2", "pe-100"))
    } else {
        (
            "192.168.20.0/24",
            path(Origin::Fabric, "192.168.11.2", "100.64.0.1", "64512 64612 64520"),
            hop("100.64.0.1", "br-pe-100"),
        )
    };
    let vni = 100.try_into().unwrap();
    let state: VniState = facts.vnis[&vni].clone();
    let matched =
        Match { prefix: prefix.parse().unwrap(), paths: vec![found], advertised_to: vec!["192.169.10.2".into()] };
    // The leaf has no L2VPN EVPN any more: what it sent is gone, and nothing is sent to it.
    let matched = (to_service || is_good).then_some(matched);
    let mut own = own_route("100.65.0.1:2", RED.1);
    if !is_good {
        own.advertised_to.clear();
    }
    TraceFacts {
        vrf: "red".parse().unwrap(),
        vni,
        state,
        controller: facts.controller,
        matched,
        kernel: vec![kernel],
        type5: to_service.then_some(own),
        hosts: vec![session("192.169.10.2", None)],
        fabric: vec![session("192.168.11.2", Some(is_good))],
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
        links: facts.links,
        underlay: Some([("100.64.0.1".parse().unwrap(), vec![hop("192.168.11.2", "toswitch")])].into()),
        default_routed: BTreeSet::new(),
        sent_vnis: BTreeMap::new(),
        host_links: Some(["host-100".to_owned()].into()),
    }
}
