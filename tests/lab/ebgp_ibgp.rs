//! eBGP and iBGP on host and fabric sessions: red's host is in another AS, blue's in the AS of its VRF; the fabric is
//! in another AS than the nodes, or in the same with leafkind as route reflector.

use perouter_lab::frr::{Instance, vtysh};

use super::fabric::{fetch, ping};
use super::fixture::{BLUE, Fixture, NODES, RED, SETTLE, Setup, until, until_true};
use super::kernel_state::host_next_hops;

/// Advertised only by the first node's host, in both VRFs.
const OF_ONE_HOST: &str = "198.51.100.7";

fn setup() -> Setup {
    let mut setup = Setup::example().replacing("blue.yaml", "asn: 64514", "asn: 64515");
    setup = setup.replacing("blue.yaml", "  hostasn: 64515\n", "");
    setup.announcer.sessions.get_mut(&"192.169.11.1".parse().unwrap()).unwrap().asn = 64515;
    setup
}

/// Moves leafkind into the AS of the nodes, as their route reflector.
pub fn make_route_reflector(fixture: &Fixture) {
    let leaf = fixture.node("leafkind");
    let neighbors = [
        "bgp router-id 100.64.0.3",
        "no bgp ebgp-requires-policy",
        "no bgp default ipv4-unicast",
        "timers bgp 3 9",
        "neighbor 192.168.1.4 remote-as 64612",
        "neighbor 192.168.1.4 timers connect 1",
        "neighbor 192.168.1.4 advertisement-interval 0",
        "neighbor nodes peer-group",
        "neighbor nodes remote-as 64514",
        "neighbor nodes timers connect 1",
        "neighbor nodes advertisement-interval 0",
        "neighbor 192.168.11.3 peer-group nodes",
        "neighbor 192.168.11.4 peer-group nodes",
    ];
    let families = [
        "address-family ipv4 unicast",
        "network 100.64.0.3/32",
        "neighbor 192.168.1.4 activate",
        "neighbor nodes activate",
        "neighbor nodes route-reflector-client",
        "neighbor nodes next-hop-self",
        "exit-address-family",
        "address-family l2vpn evpn",
        "neighbor 192.168.1.4 activate",
        "neighbor 192.168.1.4 attribute-unchanged next-hop",
        "neighbor nodes activate",
        "neighbor nodes route-reflector-client",
        "exit-address-family",
    ];
    let lines = [&["configure terminal", "no router bgp 64512", "router bgp 64514"][..], &neighbors, &families];
    vtysh(leaf, Instance::Main, &lines.concat()).unwrap();
    let spine = ["configure terminal", "router bgp 64612", "neighbor 192.168.1.5 remote-as 64514"];
    vtysh(fixture.node("spine"), Instance::Main, &spine).unwrap();
}

/// Both services reply, the hosts have the fabric's routes, and blue's hosts reach each other if FRR does not put the
/// AS of their VRF into the path.
fn assert_routes_are_exchanged(fixture: &Fixture) {
    for (colour, address) in [("red", RED), ("blue", BLUE)] {
        let host = format!("hostA_{colour}");
        let page =
            until(&format!("the page of {colour} at {host}"), SETTLE, || fetch(fixture.node(&host), address, 3).ok());
        assert!(page.starts_with(&format!("service {colour}")), "{page}");
    }
    for host in &fixture.hosts {
        for (prefix, next_hop) in [("192.168.20.0/24", "192.169.10.1"), ("192.168.21.0/24", "192.169.11.1")] {
            until_true(&format!("{prefix} at {}", host.node().name()), || {
                host_next_hops(host.node(), prefix).iter().eq([next_hop])
            });
        }
    }
    let [first, second] = [0, 1].map(|index: usize| &fixture.hosts[index]);
    first.node().check(&["ip", "address", "add", &format!("{OF_ONE_HOST}/32"), "dev", "lo"]).unwrap();
    let network = format!("network {OF_ONE_HOST}/32");
    let lines = [
        "configure terminal",
        "route-map peerred-out permit 10",
        "no match ip address prefix-list peerred-out",
        "route-map peerblue-out permit 10",
        "no match ip address prefix-list peerblue-out",
        "router bgp 64515",
        "address-family ipv4 unicast",
        &network,
    ];
    first.vtysh(&lines).unwrap();
    if fixture.routers[1].version().major < 10 {
        until_true("the route of the first host at the second through blue", || {
            host_next_hops(second.node(), &format!("{OF_ONE_HOST}/32")).iter().any(|hop| hop == "192.169.11.1")
        });
        until_true("replies of the first host to the second", || ping(second.node(), OF_ONE_HOST) > 0);
    } else {
        let words = "which rejects it as an AS-path loop, as AS 64515 is its own";
        let trace = || fixture.routers[1].perouter(&["trace", OF_ONE_HOST, "--vrf", "blue"]);
        until_true("the AS-path loop in `perouter trace`", || trace().stdout.contains(words));
    }
}

#[test]
fn an_external_fabric_serves_external_and_internal_hosts() {
    let Some(mut fixture) = Fixture::start_with("matrix-external", &[0, 1], &setup()) else { return };
    assert_routes_are_exchanged(&fixture);
    let second = fixture.hosts[1].clone();
    // Blue's AS path is shorter, so red's path is in the BGP table of the speaker only.
    let of_red =
        || second.vtysh(&[&format!("show bgp ipv4 unicast {OF_ONE_HOST}/32")]).unwrap().contains("192.169.10.1");

    // The AS-path loop is reported by trace and validate. It is normal between hosts.
    let words = "which rejects it as an AS-path loop, as AS 64515 is its own: normal for a service of another node; if hosts need each \
                 other's routes, set spec.toHost.asOverride";
    let mut last = String::new();
    until_true("the AS-path loop in red", || {
        let trace = fixture.routers[1].perouter(&["trace", OF_ONE_HOST, "--vrf", "red"]);
        if trace.stdout != last {
            println!("{}", trace.stdout);
            last.clone_from(&trace.stdout);
        }
        trace.code == Some(0) && trace.stdout.contains(words)
    });
    let folder = fixture.path(".").display().to_string();
    let validated = fixture.routers[1].perouter(&["validate", &folder]);
    let words = "note: L3VNI openperouter-system/red: spec.toHost.asOverride: hosts of other nodes are in AS 64515 too";
    assert!(validated.success() && validated.stderr.contains(words), "{validated:?}");
    assert!(!of_red(), "{}", NODES[1]);

    fixture.edit("red.yaml", "hostasn: 64515", "hostasn: 64515\n  toHost:\n    asOverride: true");
    until_true("the route of the first host at the second through red", of_red);
    // zebra of the host installs it a moment later.
    until_true("a complete path", || fixture.routers[1].perouter(&["trace", OF_ONE_HOST, "--vrf", "red"]).success());
    until_true("replies of the first host to the second", || ping(second.node(), OF_ONE_HOST) > 0);

    // A host in the AS of the leaf.
    fixture.edit("red.yaml", "hostasn: 64515", "hostasn: 64512");
    let words =
        "note: L3VNI openperouter-system/red: spec.hostasn: the host is in AS 64512, as is a neighbor of Underlay";
    until_true("the note in the status", || fixture.routers[1].perouter(&["status"]).stdout.contains(words));
    fixture.routers[1].terminate();
}

#[test]
fn an_internal_fabric_with_a_route_reflector_serves_external_and_internal_hosts() {
    let setup = setup().replacing("underlay.yaml", "asn: 64512", "asn: 64514");
    let Some(mut fixture) = Fixture::deploy("matrix-internal", &[0, 1], &setup) else { return };
    make_route_reflector(&fixture);
    for router in &mut fixture.routers {
        router.start();
    }
    fixture.start_hosts();
    fixture.await_services();
    assert_routes_are_exchanged(&fixture);
}
