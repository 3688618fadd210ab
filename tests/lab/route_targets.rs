//! Configured route targets: a VRF imports the routes of a shared-services VRF and no others.

use perouter_lab::HostSide;
use perouter_lab::node::Node;

use super::fabric::{CURL_TIMED_OUT, fetch, ping, type5_of};
use super::fixture::{Fixture, RED, SETTLE, Setup, until, until_true};
use super::kernel_state::{host_next_hops, vrf_route, vtep_mac};

/// The export route target of leafB's VRF red, the shared services.
const SERVICES: &str = "64999:1";
const OF_SERVICES: &str = "192.169.20.0/24";
const LEAF_B: &str = "100.64.0.2";
const RED_OF_LEAF_B: &str = "02:40:00:02:00:64";
const BLUE_OF_LEAF_B: &str = "02:40:00:02:00:c8";

/// Makes leafB's VRF red the shared services: it exports with a route target of its own and imports the routes of the
/// nodes' red.
fn configure_services(leaf: &Node) {
    let lines = [
        "configure terminal",
        "router bgp 64521 vrf red",
        "address-family l2vpn evpn",
        &format!("route-target export {SERVICES}"),
        "route-target import 64514:100",
    ];
    let words: Vec<&str> = std::iter::once("vtysh").chain(lines.iter().flat_map(|line| ["-c", line])).collect();
    leaf.check(&words).unwrap();
}

/// The routes of red that the host has accepted. The router advertises the host's own address to it too, which FRR accepts
/// before 10.4 only (frr#17976).
fn learned(host: &HostSide) -> Vec<String> {
    let table: serde_json::Value = serde_json::from_str(&host.vtysh(&["show bgp ipv4 unicast json"]).unwrap()).unwrap();
    let learned = |(prefix, paths): (&String, &serde_json::Value)| {
        paths.as_array()?.iter().any(|path| path["peerId"] == "192.169.10.1").then(|| prefix.clone())
    };
    let learned = table["routes"].as_object().unwrap().iter().filter_map(learned);
    learned.filter(|prefix| prefix != "192.169.10.2/32").collect()
}

#[test]
fn a_vrf_imports_the_shared_services_and_nothing_else() {
    let targets = format!("  routeTargets:\n    import: [\"{SERVICES}\"]\n");
    let mut setup = Setup::example().with_leaf_b().with("red.yaml", &targets);
    let blue = setup.objects.remove("blue.yaml").unwrap();
    let Some(mut fixture) = Fixture::deploy("services", &[0], &setup) else { return };
    configure_services(fixture.node("leafB"));
    fixture.router().start();
    fixture.start_hosts();
    fixture.await_type5(&format!("{RED}/32"), 100);
    let node = fixture.router().node.clone();
    let host = fixture.hosts[0].clone();

    until_true("the shared services at the host", || host_next_hops(&node, OF_SERVICES).iter().eq(["192.169.10.1"]));
    let has_services_target = |prefix: &str| {
        let routes = type5_of(fixture.node("leafA"), prefix);
        !routes.is_empty() && routes.iter().all(|route| route.route_targets == [SERVICES])
    };
    until_true("leafB's routes at leafA", || has_services_target(OF_SERVICES));
    assert_eq!(learned(&host), [OF_SERVICES]);
    until("the page of red at the shared services", SETTLE, || fetch(fixture.node("hostB_red"), RED, 3).ok());
    assert_eq!(ping(&node, "192.169.20.2"), 3, "replies from the shared services");
    assert_eq!(fetch(fixture.node("hostA_red"), RED, 2), Err(CURL_TIMED_OUT), "red of leafA has another target");
    assert_eq!(learned(&host), [OF_SERVICES], "another route has come meanwhile");

    advertised_in_both(&mut fixture, &blue);
    fixture.remove("blue.yaml");
    fixture.router().await_ready(&[100]);
    target_of_another_vni(&mut fixture, &node);
}

/// A service for several VRFs is advertised in each of them.
fn advertised_in_both(fixture: &mut Fixture, blue: &str) {
    fixture.write("blue.yaml", blue);
    fixture.router().await_session("blue", "192.169.11.2");
    let share = ["configure terminal", &format!("ip prefix-list peerblue-out seq 50 permit {RED}/32")];
    fixture.hosts[0].vtysh(&share).unwrap();
    for host in ["hostB_red", "hostA_blue", "hostB_blue"] {
        until(&format!("the page of red at {host}"), SETTLE, || fetch(fixture.node(host), RED, 3).ok());
    }
    assert_eq!(fetch(fixture.node("hostA_red"), RED, 2), Err(CURL_TIMED_OUT), "red of leafA has another target");
    fixture.router().await_ready(&[100, 200]);
}

/// The target of leafB's VRF blue, VNI 200, imported into red, VNI 100 (frr#14259). FRR 8.4 encapsulates with the VNI
/// of the importing VRF, so that packets arrive in leafB's VRF red; FRR 10.3 does not install the route. Both use the
/// router MAC of leafB's blue for all packets to leafB, so that there are no replies at all any more.
fn target_of_another_vni(fixture: &mut Fixture, node: &Node) {
    let mac = |fixture: &Fixture| {
        let known = || vtep_mac(fixture.hosts[0].node(), "red", "br-pe-100", LEAF_B);
        until("the router MAC of leafB", SETTLE, known)
    };
    assert_eq!(mac(fixture), RED_OF_LEAF_B);
    let targets = |list: &str| format!("import: [\"{SERVICES}\"{list}]");
    fixture.edit("red.yaml", &targets(""), &targets(", \"64521:200\""));
    until_true("leafB's VRF blue at the host", || host_next_hops(node, "192.169.21.0/24").iter().eq(["192.169.10.1"]));
    assert!(host_next_hops(node, "192.168.21.0/24").is_empty(), "leafA's VRF blue has another target");
    assert!(host_next_hops(node, "192.168.20.0/24").is_empty(), "leafA's VRF red has another target");
    let route = vrf_route(node, "red", "192.169.21.0/24");
    let [other, own] = ["192.169.21.2", "192.169.20.2"].map(|address| ping(node, address));
    let version = fixture.router().version();
    println!("FRR {version}: route of VNI 200 in the VRF of VNI 100: {route:?}, replies: {other}, from own VNI: {own}");
    assert_eq!(mac(fixture), BLUE_OF_LEAF_B);
    let wrong_vni = Some(("br-pe-100".to_owned(), vec![LEAF_B.to_owned()]));
    assert!(route.is_none() || route == wrong_vni, "{route:?}");
    assert_eq!(other, 0, "FRR forwards packets of a route imported from another VNI: the README says that it does not");
}
