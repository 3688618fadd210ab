//! Real FRR, real sessions: a leaf, a router and a host. What the rendered configuration does, not how it reads.
#![allow(clippy::unwrap_used, clippy::panic)] // clippy's exception for tests covers `#[test]` functions alone

#[path = "frr/apply.rs"]
mod apply;
#[allow(dead_code)]
#[path = "frr/router.rs"]
mod router;

use std::sync::Arc;
use std::time::{Duration, Instant};

use perouter::frr::model::{
    HostSession, IpVrf, Neighbor, Peer, PrefixListEntry, RemoteAs, RouterConfig, SessionSubnet, UnderlayInstance,
};

use perouter::frr::client::port::{Presence, Routing};
use perouter::frr::client::vty::Vty;
use perouter::frr::client::vty_routing::VtyRouting;
use perouter::frr::config::render::{render, without_replaced_aggregates};
use perouter::frr::config::tree::Config;
use perouter::frr::release::FRR_10_7;
use perouter::frr::show::type5::type5_routes;
use perouter::runtime::Daemon;
use perouter::types::{Asn, Family, VrfName};
use router::Router;
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(20);

const LEAF: &str = "
router bgp 64512
bgp router-id 10.0.0.2
no bgp default ipv4-unicast
no bgp ebgp-requires-policy
no bgp network import-check
neighbor 192.168.11.3 remote-as 64514
neighbor 192.168.11.3 timers connect 1
address-family ipv4 unicast
network 100.64.0.1/32
neighbor 192.168.11.3 activate
exit-address-family
address-family l2vpn evpn
neighbor 192.168.11.3 activate
advertise-all-vni
exit-address-family
exit";

const LEAF_RED: &str = "
router bgp 64512 vrf red
bgp router-id 10.0.0.2
no bgp network import-check
address-family ipv4 unicast
network 10.99.1.1/32
exit-address-family
address-family l2vpn evpn
advertise ipv4 unicast
exit-address-family
exit";

/// 172.30.0.10 is advertised with the route target of another VRF, .11 with no-advertise, .12 with no-export.
const HOST: &str = "
ip prefix-list stay seq 5 permit 172.30.0.11/32
ip prefix-list near seq 5 permit 172.30.0.12/32
route-map tag permit 10
match ip address prefix-list stay
set community no-advertise
exit
route-map tag permit 20
match ip address prefix-list near
set community no-export
exit
route-map tag permit 30
set community 65000:1
set large-community 1:2:3
set extcommunity rt 64514:200
exit
router bgp ASN
bgp router-id 9.9.9.9
no bgp default ipv4-unicast
no bgp ebgp-requires-policy
no bgp network import-check
neighbor 192.169.10.1 remote-as 64514
neighbor 192.169.10.1 timers connect 1
address-family ipv4 unicast
network 172.30.0.10/32
network 172.30.0.11/32
network 172.30.0.12/32
neighbor 192.169.10.1 activate
neighbor 192.169.10.1 send-community both
neighbor 192.169.10.1 route-map tag out
exit-address-family
exit";

/// The route targets with which a leaf has a Type-5 route. FRR 10.7 removes them where it imports the route into a VRF.
async fn targets(leaf: &Router, prefix: &str) -> Vec<String> {
    let table = json(leaf, "show bgp l2vpn evpn route detail type prefix json").await;
    let routes = type5_routes(&table).into_iter().filter(|route| route.prefix.to_string() == prefix);
    routes.flat_map(|route| route.paths).flat_map(|path| path.route_targets).collect()
}

fn asn(raw: u32) -> Asn {
    Asn::try_from(raw).unwrap()
}

fn neighbor(remote: u32) -> Neighbor {
    Neighbor {
        remote_as: RemoteAs::Asn(asn(remote)),
        external: remote != 64514,
        port: None,
        timers: None,
        connect: Some(1),
        password: None,
        multihop: None,
        bfd: None,
        passive: false,
        update_source: None,
    }
}

fn permit(prefix: &str, le: Option<u8>) -> PrefixListEntry {
    PrefixListEntry { permit: true, prefix: prefix.parse().unwrap(), ge: None, le }
}

/// The router with the host in AS `host`, from which `inbound` is accepted.
fn node(host: u32, inbound: Option<Vec<PrefixListEntry>>) -> RouterConfig {
    let session = HostSession {
        as_override: false,
        address: "192.169.10.2".parse().unwrap(),
        neighbor: neighbor(host),
        inbound,
        subnet: SessionSubnet { subnet: "192.169.10.0/24".parse().unwrap(), router: "192.169.10.1".parse().unwrap() },
        next_hops: ["192.169.10.2".parse().unwrap()].into(),
        outbound: None,
        max_prefixes: None,
        local_pref: None,
    };
    let red = IpVrf {
        routes: [].into(),
        vni: 100.try_into().unwrap(),
        asn: asn(64514),
        router_id: "10.0.0.1".parse().unwrap(),
        import: [].into(),
        export: [].into(),
        sessions: [(Family::Ipv4, Arc::new(session))].into(),
        graceful_restart: None,
        networks: ["192.169.10.2/32".parse().unwrap()].into(),
        aggregates: [("172.30.0.0/24".parse().unwrap(), false)].into(),
        communities: ["64514:9".parse().unwrap()].into(),
    };
    let underlay = UnderlayInstance {
        asn: asn(64514),
        router_id: "10.0.0.1".parse().unwrap(),
        neighbors: [(Peer::Address("192.168.11.2".parse().unwrap()), neighbor(64512))].into(),
        networks: ["100.65.0.1/32".parse().unwrap()].into(),
        own_prefixes: [].into(),
        protected_prefixes: [].into(),
        l2vnis: [].into(),
        graceful_restart: None,
    };
    RouterConfig { underlay: Some(underlay), vrfs: [("red".parse().unwrap(), red)].into() }
}

async fn configure(router: &mut Router, daemon: Daemon, lines: &str) {
    let daemon = router.release().configured_by(daemon);
    let mut vty = Vty::connect(&router.socket(daemon.name()), LIMIT).await.unwrap();
    for line in ["configure terminal"].into_iter().chain(lines.lines().filter(|line| !line.is_empty())) {
        let reply = vty.run(line, LIMIT).await.unwrap();
        assert!(reply.status.is_ok(), "{line}: {}", reply.text);
    }
}

async fn json(router: &Router, command: &str) -> Value {
    let mut vty = Vty::connect(&router.socket("bgpd"), LIMIT).await.unwrap();
    serde_json::from_str(&vty.run(command, LIMIT).await.unwrap().text).unwrap_or(Value::Null)
}

/// The best path of a prefix; `Null` if there is none.
async fn path(router: &Router, table: &str, prefix: &str) -> Value {
    json(router, &format!("show bgp {table} {prefix} json")).await["paths"][0].clone()
}

async fn until_there(router: &Router, table: &str, prefix: &str, wanted: bool) -> Value {
    let end = Instant::now() + LIMIT;
    loop {
        let path = path(router, table, prefix).await;
        if path.is_null() != wanted {
            return path;
        }
        if Instant::now() >= end {
            let mut routing = router.routing();
            let (vnis, sessions) = (routing.vnis().await, routing.sessions().await);
            panic!("{table} {prefix}: there is {path}; {vnis:#?} {sessions:#?}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn ip(arguments: &str) {
    let status = std::process::Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

fn wire(pe: &mut Router, leaf: &mut Router, host: &mut Router) {
    let (p, l, h) = (pe.pid(), leaf.pid(), host.pid());
    ip(&format!("link add fabric netns {p} type veth peer name fabric netns {l}"));
    ip(&format!("link add pe-100 netns {p} type veth peer name host-100 netns {h}"));
    pe.run("ip addr add 192.168.11.3/24 dev fabric && ip link set fabric up && ip addr add 100.65.0.1/32 dev lo");
    leaf.run("ip addr add 192.168.11.2/24 dev fabric && ip link set fabric up && ip addr add 100.64.0.1/32 dev lo");
    host.run("ip addr add 192.169.10.2/24 dev host-100 && ip link set host-100 up");
}

async fn add_red(router: &mut Router, routing: &mut VtyRouting, local: &str) {
    let red: VrfName = "red".parse().unwrap();
    router.add_vrf("red");
    routing.wait_vrf(&red, Presence::Active, LIMIT).await.unwrap();
    router.add_vni("red", 100, local);
}

async fn established(routing: &mut VtyRouting) -> Vec<(String, u64)> {
    let sessions = routing.sessions().await.unwrap();
    sessions.into_iter().map(|session| (session.peer, session.established)).collect()
}

/// Configures all three; the host is in AS 64515.
async fn begin(pe: &mut Router, leaf: &mut Router, host: &mut Router, want: &Config) -> VtyRouting {
    let mut routing = pe.routing();
    let underlay = want.without(&[perouter::scope::Scope::Vrf("red".parse().unwrap())].into());
    assert_eq!(apply::converge(&mut routing, &underlay).await.unwrap(), vec![]);
    configure(leaf, Daemon::Bgpd, LEAF).await;
    add_red(pe, &mut routing, "100.65.0.1").await;
    pe.run(
        "ip link set pe-100 netns red && ip -n red addr add 192.169.10.1/24 dev pe-100 && ip -n red link set pe-100 up",
    );
    let mut leaf_routing = leaf.routing();
    add_red(leaf, &mut leaf_routing, "100.64.0.1").await;
    assert_eq!(apply::converge(&mut routing, want).await.unwrap(), vec![]);
    configure(leaf, Daemon::Zebra, "vrf red\nvni 100\nexit-vrf").await;
    configure(leaf, Daemon::Bgpd, LEAF_RED).await;
    configure(host, Daemon::Bgpd, &HOST.replace("ASN", "64515")).await;
    routing
}

#[allow(clippy::too_many_lines, reason = "each step needs what the steps before it left")]
async fn scenario(pe: &mut Router, leaf: &mut Router, host: &mut Router) {
    let everything = Some(vec![permit("0.0.0.0/0", Some(32))]);
    let want = render(&node(64515, everything.clone()), &pe.release()).unwrap();
    let mut routing = begin(pe, leaf, host, &want).await;

    // The host's routes are in the fabric with the configured community, and so is the aggregate; those tagged no-advertise or
    // no-export are not.
    let service = until_there(leaf, "vrf red ipv4 unicast", "172.30.0.10/32", true).await;
    assert_eq!(service["community"]["string"], "64514:9 65000:1");
    assert_eq!(service["largeCommunity"]["string"], "1:2:3");
    assert_eq!(targets(leaf, "172.30.0.10/32").await, ["64514:100"]);
    until_there(leaf, "vrf red ipv4 unicast", "172.30.0.0/24", true).await;
    for tagged in ["172.30.0.11/32", "172.30.0.12/32"] {
        until_there(pe, "vrf red ipv4 unicast", tagged, true).await;
        assert_eq!(path(leaf, "vrf red ipv4 unicast", tagged).await, Value::Null, "{tagged}");
    }
    // Fabric routes reach the host without EVPN's extended communities, with this router as next hop.
    let inside = until_there(pe, "vrf red ipv4 unicast", "10.99.1.1/32", true).await;
    assert_eq!(inside["extendedCommunity"].is_object(), pe.release().name != FRR_10_7.name, "{inside}");
    let outside = until_there(host, "ipv4 unicast", "10.99.1.1/32", true).await;
    assert_eq!(outside["extendedCommunity"], Value::Null);
    assert_eq!(outside["nexthops"][0]["ip"], "192.169.10.1");
    // Only the VTEP is advertised to the fabric underlay: a node is no transit.
    until_there(leaf, "ipv4 unicast", "100.65.0.1/32", true).await;

    // Another filter takes effect at once and resets nothing.
    let before = established(&mut routing).await;
    let want = render(&node(64515, Some(vec![permit("172.30.0.11/32", None)])), &pe.release()).unwrap();
    assert_eq!(apply::converge(&mut routing, &want).await.unwrap(), vec![]);
    let changed = Instant::now();
    until_there(leaf, "vrf red ipv4 unicast", "172.30.0.10/32", false).await;
    assert!(changed.elapsed() < Duration::from_secs(3), "{:?}", changed.elapsed());
    assert_eq!(established(&mut routing).await, before);

    // The same with a host in the AS of the node.
    let want = render(&node(64514, everything.clone()), &pe.release()).unwrap();
    assert_eq!(apply::converge(&mut routing, &want).await.unwrap(), vec![]);
    configure(host, Daemon::Bgpd, &format!("no router bgp 64515{}", HOST.replace("ASN", "64514"))).await;
    let outside = until_there(host, "ipv4 unicast", "10.99.1.1/32", true).await;
    assert_eq!(outside["extendedCommunity"], Value::Null);
    assert_eq!(outside["nexthops"][0]["ip"], "192.169.10.1");
    until_there(leaf, "vrf red ipv4 unicast", "172.30.0.10/32", true).await;
    assert_eq!(targets(leaf, "172.30.0.10/32").await, ["64514:100"]);

    // Host sessions with other policies cannot choose either where their routes are imported.
    let red: VrfName = "red".parse().unwrap();
    for local_pref in [None, Some(300)] {
        let mut config = node(64514, None);
        config.underlay.as_mut().unwrap().protected_prefixes = ["100.65.0.0/24".parse().unwrap()].into();
        let session = config.vrfs.get_mut(&red).unwrap().sessions.get_mut(&Family::Ipv4).unwrap();
        Arc::make_mut(session).local_pref = local_pref;
        assert_eq!(apply::converge(&mut routing, &render(&config, &pe.release()).unwrap()).await.unwrap(), vec![]);
        let preferred = local_pref.unwrap_or(100);
        let end = Instant::now() + LIMIT;
        while path(pe, "vrf red ipv4 unicast", "172.30.0.10/32").await["locPrf"] != preferred {
            assert!(Instant::now() < end, "local preference {preferred}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let inside = until_there(pe, "vrf red ipv4 unicast", "172.30.0.10/32", true).await;
        assert_eq!(inside["extendedCommunity"], Value::Null, "{inside}");
        assert_eq!(targets(leaf, "172.30.0.10/32").await, ["64514:100"]);
    }
}

/// Runs a scenario with a router, a leaf and a host.
fn run(scenario: impl AsyncFnOnce(&mut Router, &mut Router, &mut Router)) {
    if !router::can_run() {
        return;
    }
    let (mut pe, mut leaf, mut host) = (Router::start(), Router::start(), Router::start());
    wire(&mut pe, &mut leaf, &mut host);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(scenario(&mut pe, &mut leaf, &mut host));
}

#[test]
fn routes_and_communities_are_advertised_as_configured() {
    run(scenario);
}

/// The router with an aggregate.
fn aggregating(summary_only: bool) -> RouterConfig {
    let mut config = node(64515, Some(vec![permit("0.0.0.0/0", Some(32))]));
    let red = config.vrfs.get_mut(&"red".parse().unwrap()).unwrap();
    red.aggregates = [("172.30.0.0/24".parse().unwrap(), summary_only)].into();
    config
}

/// A part of the aggregate that no community keeps on the node, with another origin.
const PART: &str = "
route-map incomplete permit 10
set origin incomplete
exit
router bgp 64515
address-family ipv4 unicast
network 172.30.0.13/32 route-map incomplete
exit-address-family
exit";

/// Replaces a line of the host's BGP instance.
async fn at_host(host: &mut Router, lines: &str) {
    configure(host, Daemon::Bgpd, &format!("router bgp 64515\naddress-family ipv4 unicast\n{lines}")).await;
}

async fn aggregates(pe: &mut Router, leaf: &mut Router, host: &mut Router) {
    const TABLE: &str = "vrf red ipv4 unicast";
    let (release, aggregate) = (pe.release(), "172.30.0.0/24");
    let mut routing = begin(pe, leaf, host, &render(&aggregating(false), &release).unwrap()).await;
    until_there(leaf, TABLE, aggregate, true).await;

    // A part with another origin comes and is withdrawn, the options of the aggregate change, and the last part is withdrawn.
    configure(host, Daemon::Bgpd, PART).await;
    until_there(leaf, TABLE, "172.30.0.13/32", true).await;
    at_host(host, "no network 172.30.0.13/32").await;
    until_there(leaf, TABLE, "172.30.0.13/32", false).await;
    let wanted = aggregating(true);
    let tree = render(&wanted, &release).unwrap();
    let running = routing.running().await.unwrap();
    if let Some(first) = without_replaced_aggregates(&wanted, &tree, &running.config, &release).unwrap() {
        assert_eq!(apply::converge(&mut routing, &first).await.unwrap(), vec![]);
        routing.wait_router_macs(&[].into(), LIMIT).await.unwrap();
    }
    assert_eq!(apply::converge(&mut routing, &tree).await.unwrap(), vec![]);
    until_there(leaf, TABLE, "172.30.0.10/32", false).await;
    until_there(leaf, TABLE, aggregate, true).await;
    at_host(host, "no network 172.30.0.10/32\nno network 172.30.0.11/32\nno network 172.30.0.12/32").await;
    until_there(leaf, TABLE, aggregate, false).await;

    // Replaced at once, it stays with some releases.
    at_host(host, "network 172.30.0.10/32").await;
    until_there(leaf, TABLE, aggregate, true).await;
    assert_eq!(apply::converge(&mut routing, &render(&aggregating(false), &release).unwrap()).await.unwrap(), vec![]);
    until_there(leaf, TABLE, "172.30.0.10/32", true).await;
    at_host(host, "no network 172.30.0.10/32").await;
    until_there(leaf, TABLE, "172.30.0.10/32", false).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(!path(leaf, TABLE, aggregate).await.is_null(), release.keeps_replaced_type5);
}

#[test]
fn an_aggregate_is_withdrawn_with_its_last_part_whatever_was_changed_before() {
    run(aggregates);
}
