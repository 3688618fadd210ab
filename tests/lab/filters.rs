//! What the host may tell the fabric.

use perouter_lab::evpn::type5_routes;

use super::fabric::{fetch, type5_of};
use super::fixture::{Fixture, RED, SETTLE, Setup, until};

#[test]
fn the_host_cannot_inject_a_default_route_or_what_the_router_stands_on() {
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
    until("all of them on their way to the router", SETTLE, || {
        let text = host.vtysh(&["show bgp ipv4 unicast neighbors 192.169.10.1 advertised-routes json"]).ok()?;
        // FRR writes a slash in JSON as `\/`.
        let told: serde_json::Value = serde_json::from_str(&text).ok()?;
        forbidden.iter().all(|prefix| told["advertisedRoutes"].get(*prefix).is_some()).then_some(())
    });
    // Told after them, so they have been judged when it arrives.
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

fn stays_on_the_node(name: &str, community: &str) {
    let setup = Setup::example().with("red.yaml", "  toFabric:\n    aggregates:\n    - prefix: 172.30.0.0/24\n");
    let Some(fixture) = Fixture::start_with(name, &[0], &setup) else { return };
    let host = &fixture.hosts[0];
    fixture.await_type5("172.30.0.0/24", 100);
    let lines = ["configure terminal", "route-map peerred-out permit 10", &format!("set community {community}")];
    host.vtysh(&lines).unwrap();
    fixture.await_type5_from(&format!("{RED}/32"), 100, &[]);
    fixture.await_type5("172.30.0.0/24", 100);
    assert_eq!(type5_of(fixture.node("leafA"), "172.30.0.0/24").len(), 1);
    until("the page of red by way of the aggregate", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    // With its last part the aggregate goes.
    host.withdraw("red").unwrap();
    fixture.await_type5_from("172.30.0.0/24", 100, &[]);
}

#[test]
fn a_no_advertise_route_stays_on_the_node_and_its_aggregate_goes_out() {
    stays_on_the_node("no-advertise", "no-advertise");
}

#[test]
fn a_no_export_route_stays_on_the_node_and_its_aggregate_goes_out() {
    stays_on_the_node("no-export", "no-export");
}
