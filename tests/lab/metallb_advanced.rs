//! What `MetalLB` can tell the fabric and what it keeps from it: `examples/metallb-advanced`, as users write it.

use std::collections::BTreeSet;

use super::fabric::{CURL_TIMED_OUT, fetch, served_by, type5_of};
use super::fixture::{Fixture, NODES, SETTLE, Setup, until, until_true};
use super::place::{leaf_next_hops, vrf_next_hops};

const ZONE: &str = "topology.kubernetes.io/zone";
const BOTH: [&str; 2] = ["100.65.0.1", "100.65.0.2"];
const FLOWS: usize = 48;

/// Waits until the kernel of leafA has exactly these next hops.
#[track_caller]
fn await_next_hops(fixture: &Fixture, vrf: &str, prefix: &str, wanted: &[&str]) {
    until_true(&format!("next hops {wanted:?} of {prefix} in {vrf} of leafA"), || {
        leaf_next_hops(fixture.node("leafA"), vrf, prefix).iter().eq(wanted)
    });
}

/// Communities of a prefix's Type-5 routes at leafA, each set once.
fn communities(fixture: &Fixture, prefix: &str) -> BTreeSet<Vec<String>> {
    type5_of(fixture.node("leafA"), prefix).into_iter().map(|route| route.communities).collect()
}

#[track_caller]
fn await_page(fixture: &Fixture, host: &str, address: &str) -> String {
    until(&format!("http://{address}/ at {host}"), SETTLE, || fetch(fixture.node(host), address, 3).ok())
}

/// The leaf has the aggregate of both nodes and not the address, which the nodes use themselves.
fn assert_kept_on_the_node(fixture: &Fixture, address: &str, aggregate: &str, wanted: &[&str]) {
    let own = format!("{address}/32");
    await_next_hops(fixture, "red", aggregate, &BOTH);
    let wanted = BTreeSet::from([wanted.iter().map(ToString::to_string).collect::<Vec<_>>()]);
    until_true(&format!("communities {wanted:?} of {aggregate}"), || communities(fixture, aggregate) == wanted);
    for (router, host) in fixture.routers.iter().zip(["192.169.10.2", "192.169.10.3"]) {
        until_true(&format!("{own} via {host} in the router of {}", router.node.name()), || {
            vrf_next_hops(&router.node, "red", &own).iter().eq([host])
        });
    }
    // The aggregate came after it on the same session, and has arrived.
    assert_eq!(type5_of(fixture.node("leafA"), &own), [], "{own} left the node");
    assert!(leaf_next_hops(fixture.node("leafA"), "red", &own).is_empty(), "{own} is in the kernel of leafA");
    for host in ["hostA_red", "hostB_red"] {
        await_page(fixture, host, address);
    }
    assert_eq!(fetch(fixture.node("hostA_blue"), address, 2), Err(CURL_TIMED_OUT), "blue reaches {address}");
}

/// Many flows of one host reach all of these nodes and no other.
#[track_caller]
fn assert_spread(fixture: &Fixture, host: &str, address: &str, over: &[&str]) {
    let counts = served_by(fixture.node(host), address, FLOWS);
    println!("{FLOWS} flows of {host} to {address}: {counts:?}");
    assert!(counts.keys().eq(over), "{FLOWS} flows of {host} to {address}: {counts:?}");
}

#[test]
fn metallb_decides_what_leaves_which_node() {
    let setup = Setup::of_example("metallb-advanced").labeled(0, ZONE, "rack-1").labeled(1, ZONE, "rack-2");
    let Some(mut fixture) = Fixture::deploy("advanced", &[0, 1], &setup) else { return };
    for router in &mut fixture.routers {
        router.start();
    }
    fixture.start_hosts();

    // Aggregates go out, addresses with no-advertise or no-export stay, communities travel.
    assert_kept_on_the_node(&fixture, "172.30.0.10", "172.30.0.0/24", &[]);
    assert_kept_on_the_node(&fixture, "172.30.1.10", "172.30.1.0/24", &["64514:1234", "64514:5678", "64514:1:2"]);
    for router in &fixture.routers {
        let text = router
            .node
            .check(&[
                "vtysh",
                "--vty_socket",
                "/run/perouter/frr",
                "-c",
                "show bgp vrf red ipv4 unicast 172.30.0.10/32 json",
            ])
            .unwrap();
        let route: serde_json::Value = serde_json::from_str(&text).unwrap();
        let path = &route["paths"][0];
        assert_eq!(
            (path["locPrf"].as_u64(), path["community"]["string"].as_str()),
            (Some(150), Some("no-advertise")),
            "{path:#}"
        );
    }

    // A pool that one rack announces, though both have the session.
    await_next_hops(&fixture, "red", "172.30.2.10/32", &BOTH[1..]);
    await_page(&fixture, "hostA_red", "172.30.2.10");
    // A session that the other rack alone has.
    await_next_hops(&fixture, "blue", "172.30.3.10/32", &BOTH[..1]);
    await_page(&fixture, "hostA_blue", "172.30.3.10");
    let strangers = type5_of(fixture.node("leafA"), "172.30.3.10/32");
    assert!(strangers.iter().all(|route| route.vni == 200), "a pool went to another peer than its own: {strangers:?}");
    assert_eq!(fetch(fixture.node("hostA_red"), "172.30.3.10", 2), Err(CURL_TIMED_OUT));

    assert_spread(&fixture, "hostA_red", "172.30.0.10", &NODES);
    assert_spread(&fixture, "hostB_red", "172.30.0.10", &NODES);
    assert_spread(&fixture, "hostA_red", "172.30.2.10", &NODES[1..]);
    assert_spread(&fixture, "hostA_blue", "172.30.3.10", &NODES[..1]);

    // With the service of one node its aggregate goes, and traffic to the other.
    fixture.hosts[0].withdraw("web").unwrap();
    await_next_hops(&fixture, "red", "172.30.0.0/24", &BOTH[1..]);
    assert_spread(&fixture, "hostA_red", "172.30.0.10", &NODES[1..]);
    fixture.hosts[0].announce("web").unwrap();
    await_next_hops(&fixture, "red", "172.30.0.0/24", &BOTH);
}
