//! The host side of a cluster node against a plain router with one neighbor per color.

use super::{can_run, crate_file, deploy, topology};
use perouter_lab::metallb::read_manifests;
use perouter_lab::{HostSide, Node, wait};
use std::time::Duration;

const ROUTER: &str = r#"
name: host-side
topology:
  nodes:
    router:
      kind: linux
      image: quay.io/frrouting/frr:9.1.0
      binds:
        - host-side/frr.conf:/etc/frr/frr.conf:ro
        - ../../../daemons:/etc/frr/daemons:ro
    node:
      kind: ext-container
      exec:
        - ip address add 192.169.10.2/24 dev host-100
        - ip address add 192.169.11.2/24 dev host-200
  links:
    - endpoints: ["router:pe-100", "node:host-100"]
    - endpoints: ["router:pe-200", "node:host-200"]
"#;

/// Prefixes that the router receives from this neighbor.
fn received(router: &Node, neighbor: &str) -> Vec<String> {
    let command = format!("show bgp ipv4 unicast neighbors {neighbor} routes json");
    let json = router.check(&["vtysh", "-c", &command]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap_or_default();
    json["routes"].as_object().map(|routes| routes.keys().cloned().collect()).unwrap_or_default()
}

fn wait_for(what: &str, probe: impl Fn() -> bool) {
    wait::until(what, Duration::from_secs(20), Duration::from_millis(50), || probe().then_some(())).unwrap();
}

#[test]
fn each_peer_receives_its_own_service_and_advertises_its_routes() {
    if !can_run() {
        return;
    }
    let lab = deploy(&topology(ROUTER));
    let (router, node) = (lab.node("router").unwrap(), lab.node("node").unwrap());
    let host = HostSide::new(node, &read_manifests(&crate_file("../../examples/metallb/metallb.yaml")).unwrap());
    host.start().unwrap();
    let servers = host.serve().unwrap();
    assert_eq!(servers.len(), 2);
    wait_for("both sessions", || host.sessions().unwrap().iter().all(|(_, _, state)| state == "Established"));
    let red = || received(router, "192.169.10.2");
    let blue = || received(router, "192.169.11.2");
    wait_for("red's service", || red() == ["172.30.0.10/32"]);
    wait_for("blue's service", || blue() == ["172.30.0.16/32"]);
    // The node's kernel has the routes of both neighbors.
    let kernel = || node.check(&["ip", "route", "show", "proto", "bgp"]).unwrap();
    wait_for("the return routes", || {
        let routes = kernel();
        routes.contains("192.168.20.0/24")
            && routes.contains("via 192.169.10.1 dev host-100")
            && routes.contains("192.168.21.0/24")
            && routes.contains("via 192.169.11.1 dev host-200")
    });
    let page = || router.run(&["curl", "-s", "--max-time", "2", "http://172.30.0.10/"]).unwrap().stdout;
    wait_for("the page", || page() == "service red at 172.30.0.10\nserved by node\nclient 192.169.10.1\n");

    host.withdraw("red").unwrap();
    wait_for("red's service to be withdrawn", || red().is_empty());
    assert_eq!(blue(), ["172.30.0.16/32"]);
    host.announce("red").unwrap();
    wait_for("red's service back", || red() == ["172.30.0.10/32"]);
    let unknown = host.announce("green").unwrap_err().to_string();
    assert_eq!(unknown, "there is no service `green`; known are blue, red");

    host.stop().unwrap();
    wait_for("no routes", || red().is_empty() && blue().is_empty());
    assert_eq!(
        node.check(&["ip", "-br", "-4", "address", "show", "lo"]).unwrap().trim(),
        "lo               UNKNOWN        127.0.0.1/8"
    );
    assert!(!node.run(&["pgrep", "bgpd"]).unwrap().success());
}
