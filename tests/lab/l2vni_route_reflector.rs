//! Segments of nodes that are in the AS of their leaf, which reflects their routes and has no L2VNI.

use std::time::Instant;

use perouter::runtime::Daemon;
use perouter_lab::node::Node;

use super::ebgp_ibgp::make_route_reflector;
use super::fabric::ping;
use super::fixture::{Fixture, NODES, SETTLE, Setup, until, until_true};
use super::l2vni::{l2vni, pod, routed, with_l2vni};
use super::l2vni_neighbors::{ADDRESSES, VNIS, assert_moved, at_leaf, attach, await_in_zebra, moved, speak};
use super::pod::Pod;
use super::router::Router;

/// The two nodes, with leafkind in their AS.
fn start() -> Option<Fixture> {
    let setup = Setup::example().replacing("underlay.yaml", "asn: 64512", "asn: 64514");
    let setup = with_l2vni(setup, "layer2.yaml", l2vni("layer2", 110, &routed("red", 110)));
    let mut fixture = Fixture::deploy("l2vni-reflector", &[0, 1], &setup)?;
    make_route_reflector(&fixture);
    for router in &mut fixture.routers {
        router.start();
    }
    fixture.start_hosts();
    fixture.await_services();
    fixture.routers.iter().for_each(|router| router.await_ready(&VNIS));
    Some(fixture)
}

#[test]
fn pods_reach_each_other_and_the_fabric_behind_a_route_reflector() {
    let Some(fixture) = start() else { return };
    let nodes = NODES.map(|name| fixture.node(name).clone());
    let (silent, other) = (attach(&nodes[0]), pod(&nodes[1], "a2", 110, 12));
    speak(&silent);
    speak(&other);
    for (from, to) in [(&silent, ["10.110.0.12", "2001:db8:110::12"]), (&other, ADDRESSES)] {
        for address in to {
            from.await_ping(address);
        }
    }
    // A host behind a leaf that has the L3VNI alone.
    for (pod, address) in [(&silent, ADDRESSES[0]), (&other, "10.110.0.12")] {
        pod.await_ping("192.168.20.2");
        await_host(&fixture, address);
    }
    assert_reflected(&fixture, &nodes[1]);
    restart_bgpd(&fixture, &other);
    assert_moves(&fixture, &nodes, silent);
    for router in &fixture.routers {
        let (output, findings) = router.checked();
        assert_eq!(output.code, Some(0), "{findings:#?}");
        let plan = router.plan();
        assert_eq!((plan.code, plan.stdout.as_str()), (Some(0), "0 kernel operations, 0 FRR lines\n"), "{plan:?}");
    }
}

/// Waits until a host of the fabric reaches an address.
#[track_caller]
fn await_host(fixture: &Fixture, address: &str) {
    let host = fixture.node("hostA_red");
    until(&format!("{address} at hostA_red"), SETTLE, || (ping(host, address) == 3).then_some(()));
}

/// A node has the MAC/IP route of the other one from the reflector, which left the VTEP as it was.
fn assert_reflected(fixture: &Fixture, node: &Node) {
    let routers = &fixture.routers;
    let show = "show bgp l2vpn evpn route detail type macip";
    let detail = routers[1].try_show(Daemon::Bgpd, show).unwrap();
    let of_pod = |route: &&str| route.contains(&format!("[{}]", ADDRESSES[0]));
    let route = detail.split("BGP routing table entry").find(of_pod).unwrap_or(&detail);
    for part in ["100.65.0.1", "Originator: 10.0.0.1", "Cluster list: 100.64.0.3", "RT:64514:110", "RT:64514:100"] {
        assert!(route.contains(part), "no {part} on {}:\n{route}", node.name());
    }
    let macs = routers[1].perouter(&["macs", "110"]).stdout;
    assert!(macs.lines().any(|line| line.contains("remote") && line.contains(ADDRESSES[0])), "{macs}");
    let trace = routers[1].perouter(&["trace", ADDRESSES[0], "--vrf", "red"]);
    assert!(trace.success(), "{trace:?}");
}

/// Whether bgpd of a node has the MAC/IP routes of the Pod of the other one.
fn has_mac_ip_routes(router: &Router) -> bool {
    let shown = router.try_show(Daemon::Bgpd, "show bgp l2vpn evpn route type macip");
    shown.is_some_and(|shown| ADDRESSES.iter().all(|address| shown.contains(&format!("[{address}]"))))
}

/// The routes of a Pod that sends nothing are there again after a restart of bgpd on its node, then on that of another Pod.
fn restart_bgpd(fixture: &Fixture, other: &Pod) {
    for router in &fixture.routers {
        let pid = router.daemon_pids().get(&Daemon::Bgpd).copied();
        let killed = Instant::now();
        router.kill_daemon(Daemon::Bgpd);
        until_true("a new bgpd", || router.daemon_pids().get(&Daemon::Bgpd).is_some_and(|new| Some(*new) != pid));
        router.await_ready(&VNIS);
        await_in_zebra(fixture, 0, "local", 0);
        await_in_zebra(fixture, 1, "remote", 0);
        until_true("its routes on leafA", || at_leaf(fixture, &fixture.routers[0].vtep()) == 2);
        // What zebra has is of the former bgpd until then: a route that is withdrawn meanwhile stays for a minute.
        until_true("its routes in bgpd of the other node", || has_mac_ip_routes(&fixture.routers[1]));
        println!("bgpd of {} killed: all have the silent Pod after {:?}", router.node.name(), killed.elapsed());
        await_host(fixture, ADDRESSES[0]);
        other.await_ping(ADDRESSES[0]);
    }
}

/// A Pod that moves is on its new node alone, for the other node and for the fabric.
fn assert_moves(fixture: &Fixture, nodes: &[Node; 2], mut pod: Pod) {
    for (sequence, old, new) in [(1, 0, 1), (2, 1, 0)] {
        pod.remove();
        pod = moved(&nodes[new], false);
        pod.await_ping("192.168.20.2");
        assert_moved(fixture, nodes, (old, new), sequence);
    }
}
