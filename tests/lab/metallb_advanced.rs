//! How `MetalLB` controls which routes reach the fabric: `examples/metallb-advanced` as it is.

use std::collections::BTreeSet;

use super::fabric::{CURL_TIMED_OUT, fetch, served_by, type5_of};
use super::fixture::{Fixture, NODES, SETTLE, Setup, until, until_true};
use super::kernel_state::{leaf_next_hops, vrf_next_hops};

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

/// The distinct community lists of a prefix's Type-5 routes on leafA.
fn communities(fixture: &Fixture, prefix: &str) -> BTreeSet<Vec<String>> {
    type5_of(fixture.node("leafA"), prefix).into_iter().map(|route| route.communities).collect()
}

#[track_caller]
fn await_page(fixture: &Fixture, host: &str, address: &str) -> String {
    until(&format!("http://{address}/ at {host}"), SETTLE, || fetch(fixture.node(host), address, 3).ok())
}

/// The leaf has the aggregate from both nodes but not the host route, which is used only on the nodes.
fn assert_stays_on_the_node(fixture: &Fixture, address: &str, aggregate: &str, wanted: &[&str]) {
    let own = format!("{address}/32");
    await_next_hops(fixture, "red", aggregate, &BOTH);
    let wanted = BTreeSet::from([wanted.iter().map(ToString::to_string).collect::<Vec<_>>()]);
    until_true(&format!("communities {wanted:?} of {aggregate}"), || communities(fixture, aggregate) == wanted);
    for (router, host) in fixture.routers.iter().zip(["192.169.10.2", "192.169.10.3"]) {
        until_true(&format!("{own} via {host} in the router of {}", router.node.name()), || {
            vrf_next_hops(&router.node, "red", &own).iter().eq([host])
        });
    }
    // The aggregate was sent after it on the same session, and has arrived.
    assert_eq!(type5_of(fixture.node("leafA"), &own), [], "{own} was advertised to the fabric");
    assert!(leaf_next_hops(fixture.node("leafA"), "red", &own).is_empty(), "{own} is in the kernel of leafA");
    for host in ["hostA_red", "hostB_red"] {
        await_page(fixture, host, address);
    }
    assert_eq!(fetch(fixture.node("hostA_blue"), address, 2), Err(CURL_TIMED_OUT), "blue reaches {address}");
}

/// The flows of one host are spread over exactly these nodes.
#[track_caller]
fn assert_spread(fixture: &Fixture, host: &str, address: &str, over: &[&str]) {
    let counts = served_by(fixture.node(host), address, FLOWS);
    println!("{FLOWS} flows of {host} to {address}: {counts:?}");
    assert!(counts.keys().eq(over), "{FLOWS} flows of {host} to {address}: {counts:?}");
}

#[test]
fn metallb_decides_which_node_advertises_which_route() {
    let setup =
        Setup::of_example("metallb-advanced").with_leaf_b().labeled(0, ZONE, "rack-1").labeled(1, ZONE, "rack-2");
    let Some(mut fixture) = Fixture::deploy("advanced", &[0, 1], &setup) else { return };
    for router in &mut fixture.routers {
        router.start();
    }
    fixture.start_hosts();

    // Aggregates are advertised, with their communities; host routes with no-advertise or no-export are not.
    assert_stays_on_the_node(&fixture, "172.30.0.10", "172.30.0.0/24", &[]);
    assert_stays_on_the_node(&fixture, "172.30.1.10", "172.30.1.0/24", &["64514:1234", "64514:5678", "64514:1:2"]);
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

    // A pool that only one rack advertises, though both have the session.
    await_next_hops(&fixture, "red", "172.30.2.10/32", &BOTH[1..]);
    await_page(&fixture, "hostA_red", "172.30.2.10");
    // A session that only the other rack has.
    await_next_hops(&fixture, "blue", "172.30.3.10/32", &BOTH[..1]);
    await_page(&fixture, "hostA_blue", "172.30.3.10");
    let routes = type5_of(fixture.node("leafA"), "172.30.3.10/32");
    assert!(
        routes.iter().all(|route| route.vni == 200),
        "a pool was advertised to another peer than its own: {routes:?}"
    );
    assert_eq!(fetch(fixture.node("hostA_red"), "172.30.3.10", 2), Err(CURL_TIMED_OUT));

    assert_spread(&fixture, "hostA_red", "172.30.0.10", &NODES);
    assert_spread(&fixture, "hostB_red", "172.30.0.10", &NODES);
    assert_spread(&fixture, "hostA_red", "172.30.2.10", &NODES[1..]);
    assert_spread(&fixture, "hostA_blue", "172.30.3.10", &NODES[..1]);

    // If one node withdraws the service, its aggregate is withdrawn and traffic moves to the other node.
    fixture.hosts[0].withdraw("web").unwrap();
    await_next_hops(&fixture, "red", "172.30.0.0/24", &BOTH[1..]);
    assert_spread(&fixture, "hostA_red", "172.30.0.10", &NODES[1..]);
    fixture.hosts[0].announce("web").unwrap();
    await_next_hops(&fixture, "red", "172.30.0.0/24", &BOTH);
}
