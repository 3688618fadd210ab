//! Filters on routes that the host advertises.

use std::time::Duration;

use perouter_lab::evpn::type5_routes;

use super::fabric::{fetch, type5_of};
use super::fixture::{Fixture, RED, SETTLE, Setup, scaled, until, until_true};
use super::kernel_state::vrf_next_hops;

#[test]
fn default_route_and_prefixes_of_the_router_are_filtered_from_the_host() {
    let Some(fixture) = Fixture::start("filters", &[0]) else { return };
    let host = &fixture.hosts[0];
    let forbidden =
        ["0.0.0.0/0", "192.169.10.0/24", "192.169.10.77/32", "100.65.0.0/24", "100.65.0.9/32", "192.168.11.2/32"];
    let networks: Vec<String> = forbidden.iter().map(|prefix| format!("network {prefix}")).collect();
    let mut lines = vec![
        "configure terminal",
        "route-map peerred-out permit 10",
        "no match ip address prefix-list peerred-out",
        "router bgp 64515",
        "address-family ipv4 unicast",
    ];
    lines.extend(networks.iter().map(String::as_str));
    host.vtysh(&lines).unwrap();
    until("all of them advertised to the router", SETTLE, || {
        let text = host.vtysh(&["show bgp ipv4 unicast neighbors 192.169.10.1 advertised-routes json"]).ok()?;
        // FRR writes a slash in JSON as `\/`.
        let advertised: serde_json::Value = serde_json::from_str(&text).ok()?;
        forbidden.iter().all(|prefix| advertised["advertisedRoutes"].get(*prefix).is_some()).then_some(())
    });
    // Advertised after them: they have been filtered when it arrives.
    let allowed = ["configure terminal", "router bgp 64515", "address-family ipv4 unicast", "network 198.51.100.0/24"];
    host.vtysh(&allowed).unwrap();
    fixture.await_type5("198.51.100.0/24", 100);
    let routes = type5_routes(fixture.node("leafA")).unwrap();
    for prefix in forbidden {
        let ours = |route: &&_| {
            let route: &perouter_lab::evpn::FabricRoute = route;
            route.prefix.to_string() == prefix && route.vtep == "100.65.0.1"
        };
        assert_eq!(routes.iter().find(ours), None, "{prefix}");
    }
}

fn assert_stays_on_the_node(name: &str, community: &str) {
    let setup = Setup::example().with("red.yaml", "  toFabric:\n    aggregates:\n    - prefix: 172.30.0.0/24\n");
    let Some(fixture) = Fixture::start_with(name, &[0], &setup) else { return };
    let host = &fixture.hosts[0];
    fixture.await_type5("172.30.0.0/24", 100);
    let lines = ["configure terminal", "route-map peerred-out permit 10", &format!("set community {community}")];
    host.vtysh(&lines).unwrap();
    fixture.await_type5_from(&format!("{RED}/32"), 100, &[]);
    fixture.await_type5("172.30.0.0/24", 100);
    assert_eq!(type5_of(fixture.node("leafA"), "172.30.0.0/24").len(), 1);
    until("the page of red through the aggregate", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    // The aggregate is withdrawn with its last component, with FRR 10.6 and later unless that was changed before (frr#19492).
    host.withdraw("red").unwrap();
    let router = &fixture.routers[0];
    until_true("the router without the service", || vrf_next_hops(&router.node, "red", RED).is_empty());
    if router.release().keeps_replaced_type5 {
        std::thread::sleep(scaled(Duration::from_secs(1)));
        fixture.await_type5("172.30.0.0/24", 100);
    } else {
        fixture.await_type5_from("172.30.0.0/24", 100, &[]);
    }
}

#[test]
fn a_no_advertise_route_stays_on_the_node_and_its_aggregate_is_advertised() {
    assert_stays_on_the_node("no-advertise", "no-advertise");
}

#[test]
fn a_no_export_route_stays_on_the_node_and_its_aggregate_is_advertised() {
    assert_stays_on_the_node("no-export", "no-export");
}
