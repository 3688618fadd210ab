//! Reachability of the hosts' services from the fabric.

use perouter::kind::ipam;
use perouter_lab::evpn::FabricRoute;

use super::fabric::{CURL_TIMED_OUT, fetch, type5_of};
use super::fixture::{BLUE, Fixture, NODES, RED, Setup, until, until_true};
use super::kernel_state::{host_next_hops, leaf_next_hops};

#[test]
fn services_are_reachable_from_both_leaves_over_two_next_hops_until_they_are_withdrawn() {
    let setup = Setup::example().with_leaf_b();
    let Some(fixture) = Fixture::start_with("service", &[0, 1], &setup) else { return };
    reachable_from_both_leaves(&fixture);
    fabric_routes_have_no_evpn_communities(&fixture);
    two_next_hops(&fixture);
    withdrawn_and_advertised_again(&fixture);
}

fn reachable_from_both_leaves(fixture: &Fixture) {
    for (address, vni, own, other) in [(RED, 100, "red", "blue"), (BLUE, 200, "blue", "red")] {
        let routes = type5_of(fixture.node("leafA"), &format!("{address}/32"));
        let mut seen: Vec<FabricRoute> = routes;
        for route in &mut seen {
            route.rd.clear();
        }
        let wanted = fixture.routers.iter().map(|router| FabricRoute {
            prefix: format!("{address}/32").parse().unwrap(),
            rd: String::new(),
            vni,
            route_targets: vec![format!("64514:{vni}")],
            router_mac: ipam::router_mac(router.vtep().parse().unwrap()).to_string(),
            communities: vec![],
            vtep: router.vtep(),
            as_path: "64612 64512 64514 64515".into(),
        });
        assert_eq!(seen, wanted.collect::<Vec<_>>());
        for leaf in ["A", "B"] {
            let page = until(&format!("the page of {own} at leaf{leaf}"), super::fixture::SETTLE, || {
                fetch(fixture.node(&format!("host{leaf}_{own}")), address, 3).ok()
            });
            assert!(page.starts_with(&format!("service {own} at {address}\nserved by pe-kind-")), "{page}");
            let result = fetch(fixture.node(&format!("host{leaf}_{other}")), address, 2);
            assert_eq!(result, Err(CURL_TIMED_OUT), "{other} of leaf{leaf} reaches {own}");
        }
    }
    for router in &fixture.routers {
        router.await_ready(&[100, 200]);
    }
}

fn withdrawn_and_advertised_again(fixture: &Fixture) {
    let leaf = fixture.node("leafA");
    let prefix = format!("{RED}/32");
    fixture.hosts.iter().for_each(|host| host.withdraw("red").unwrap());
    fixture.await_type5_from(&prefix, 100, &[]);
    until_true("no kernel route of a withdrawn service", || leaf_next_hops(leaf, "red", &prefix).is_empty());
    assert_eq!(fetch(fixture.node("hostA_red"), RED, 2), Err(CURL_TIMED_OUT));
    fixture.await_type5(&format!("{BLUE}/32"), 200);
    fixture.hosts.iter().for_each(|host| host.announce("red").unwrap());
    fixture.await_type5(&prefix, 100);
    until("the page of red", super::fixture::SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
}

fn two_next_hops(fixture: &Fixture) {
    let leaf = fixture.node("leafA");
    let prefix = format!("{RED}/32");
    let await_next_hops = |wanted: &[&str]| {
        until_true(&format!("next hops {wanted:?} of {RED} in the kernel of leafA"), || {
            leaf_next_hops(leaf, "red", &prefix).iter().eq(wanted.iter())
        });
    };
    await_next_hops(&["100.65.0.1", "100.65.0.2"]);
    fixture.hosts[0].withdraw("red").unwrap();
    await_next_hops(&["100.65.0.2"]);
    let page = until("the page of red", super::fixture::SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    assert!(page.contains(&format!("served by {}", NODES[1])), "{page}");
    fixture.hosts[0].announce("red").unwrap();
    await_next_hops(&["100.65.0.1", "100.65.0.2"]);
}

fn fabric_routes_have_no_evpn_communities(fixture: &Fixture) {
    let host = &fixture.hosts[0];
    for (prefix, next_hop) in [("192.168.20.0/24", "192.169.10.1"), ("192.168.21.0/24", "192.169.11.1")] {
        let route = until(&format!("{prefix} at the host"), super::fixture::SETTLE, || {
            let text = host.vtysh(&[&format!("show bgp ipv4 unicast {prefix} json")]).ok()?;
            let route: serde_json::Value = serde_json::from_str(&text).ok()?;
            (!route["paths"].as_array()?.is_empty()).then_some(route)
        });
        for path in route["paths"].as_array().unwrap() {
            assert_eq!(path["extendedCommunity"], serde_json::Value::Null, "{path:#}");
            assert_eq!(path["nexthops"][0]["ip"], next_hop, "{path:#}");
        }
        until_true(&format!("{prefix} in the kernel of the host"), || {
            host_next_hops(host.node(), prefix).iter().eq([next_hop])
        });
    }
}
