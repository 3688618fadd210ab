//! perouter is stopped or killed, then restarted, also by a later version: FRR and forwarding are not interrupted.

use std::collections::BTreeMap;
use std::time::Duration;

use perouter_lab::evpn::type5_routes;
use perouter_lab::node::Node;

use super::fixture::{BLUE, Fixture, RED, echo, lab_release, scaled, until_true};
use super::kernel_state::in_vrf;
use super::traffic::Stream;

const ALL: [Option<&str>; 3] = [None, Some("red"), Some("blue")];

fn assert_hitless(fixture: &mut Fixture, stop: impl FnOnce(&mut super::router::Router)) {
    fixture.router().await_ready(&[100, 200]);
    let (established, pids) = (fixture.router().established(&ALL), fixture.router().daemon_pids());
    assert_eq!(established.len(), 3, "{established:?}");
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    stop(fixture.router());
    // FRR works without perouter: a withdrawal of a service still reaches the fabric.
    fixture.hosts[0].withdraw("blue").unwrap();
    fixture.await_type5_from("172.30.0.16/32", 200, &[]);
    let router = fixture.router();
    assert_eq!(router.daemon_pids(), pids);
    router.remove_status();
    router.start();
    until_true("a status of the new process", || router.status().is_some());
    router.await_ready(&[100, 200]);
    assert_eq!(router.daemon_pids(), pids);
    assert!(router.status().unwrap().last_change.is_quiet());
    assert_eq!(router.established(&ALL), established);
    let [red, blue] = streams.map(Stream::finish);
    red.assert_lossless("red");
    assert!(blue.lost > 0, "blue was withdrawn in the meantime: {blue}");
}

#[test]
fn sigterm_and_sigkill_keep_forwarding_and_sessions_and_a_restart_adopts_them() {
    let Some(mut fixture) = Fixture::start("restart", &[0]) else { return };
    assert_hitless(&mut fixture, super::router::Router::terminate);
    fixture.hosts[0].announce("blue").unwrap();
    fixture.await_services();
    assert_hitless(&mut fixture, super::router::Router::kill);
}

/// The router MAC of each Type-5 route of the node at a leaf.
fn router_macs(leaf: &Node) -> BTreeMap<String, String> {
    let of_node = type5_routes(leaf).unwrap().into_iter().filter(|route| route.vtep == "100.65.0.1");
    of_node.map(|route| (format!("{} {}", route.rd, route.prefix), route.router_mac)).collect()
}

/// Received updates of a leaf's session with the spine, and the Type-5 routes that they advertised and withdrew.
fn updates(leaf: &Node) -> [usize; 2] {
    let log = std::fs::read_to_string(leaf.log_folder().join("updates.log")).unwrap();
    let of_node = log.lines().filter(|line| line.contains(" RD 10.0.0.1:"));
    let withdrawn = of_node.clone().filter(|line| line.contains("withdraw")).count();
    [of_node.count() - withdrawn, withdrawn]
}

/// Outage that is allowed where the router MAC changes: zebra has the L3VNI down and up at once.
const MAC_CHANGE: Duration = Duration::from_millis(250);

/// Whether zebra keeps the order of bgpd only where the `zebra work-queue` setting lets it; then the reason is printed. It is
/// not enough for a withdrawal and an addition that arrive together, as on a change of the router MAC: in about one of ten runs
/// the next hop stays uninstalled (`docs/frr.md`). The matrix has another release, which keeps the order.
fn orders_zebra_by_settings() -> bool {
    let release = lab_release();
    let by_settings = !release.zebra_settings.is_empty();
    if by_settings {
        println!("left out: zebra of FRR {} may lose next hops here; with PEROUTER_LAB_FRR=10.7 it runs", release.name);
    }
    by_settings
}

/// Before, the router MAC was derived from VTEP and VNI.
#[test]
fn the_router_mac_of_an_earlier_version_is_replaced_with_one_update_per_route() {
    if orders_zebra_by_settings() {
        return;
    }
    let Some(mut fixture) = Fixture::start("router-mac", &[0]) else { return };
    fixture.router().await_ready(&[100, 200]);
    fixture.router().terminate();
    let node = fixture.router().node.clone();
    for (vrf, bridge, mac) in [("red", "br-pe-100", "02:64:64:41:00:01"), ("blue", "br-pe-200", "02:c8:64:41:00:01")] {
        node.check(&in_vrf(&node, vrf, &["ip", "link", "set", bridge, "address", mac])).unwrap();
    }
    let leaf = fixture.node("leafA");
    let mut before = BTreeMap::new();
    until_true("the router MACs of an earlier version at leafA", || {
        before = router_macs(leaf);
        before.values().all(|mac| mac != "02:00:64:41:00:01")
    });
    let log = ["configure terminal", "log file /var/log/frr/updates.log debugging", "debug bgp updates in"];
    let vtysh: Vec<&str> = ["vtysh"].into_iter().chain(log.iter().flat_map(|line| ["-c", *line])).collect();
    leaf.check(&vtysh).unwrap();
    let established = fixture.router().established(&ALL);
    let probe = |host, to| Stream::probe(fixture.node(host), echo(to), Duration::from_millis(1));
    let probes = [("red", probe("hostA_red", RED)), ("blue", probe("hostA_blue", BLUE))];
    fixture.router().remove_status();
    fixture.router().start();
    fixture.router().await_ready(&[100, 200]);
    let leaf = fixture.node("leafA");
    until_true("one router MAC at leafA", || {
        let now = router_macs(leaf);
        now.keys().eq(before.keys()) && now.values().all(|mac| mac == "02:00:64:41:00:01")
    });
    println!("routes: {}; advertised, withdrawn: {:?}", before.len(), updates(leaf));
    let [advertised, withdrawn] = updates(leaf);
    assert_eq!(advertised, before.len(), "updates for {} routes", before.len());
    assert_eq!(withdrawn, 0, "withdrawals");
    for (vrf, probe) in probes {
        probe.await_replies(100);
        let loss = probe.finish();
        println!("router-mac: {vrf}: {loss}");
        assert!(loss.longest_outage <= scaled(MAC_CHANGE), "{vrf}: {loss}");
    }
    let router = fixture.router();
    assert_eq!(router.established(&ALL), established);
    assert!(router.status().unwrap().last_change.rebuilt.is_empty());
}
