//! A host, or the fabric, that advertises what it must not: a next hop of somebody else, VTEPs, session subnets, prefixes of the
//! node. Nothing changes at other nodes.

use std::collections::BTreeSet;

use perouter_lab::HostSide;
use perouter_lab::evpn::type5_routes;

use super::fabric::{fetch, ping};
use super::fixture::{Fixture, NODES, RED, SETTLE, Setup, until, until_true};
use super::kernel_state::in_vrf;

const PROTECTED: &str = "  protectedPrefixes: [10.96.0.0/12, 100.64.0.0/24, \"fd00:96::/112\"]\n";

/// Lines in the configuration mode of a host's speaker.
fn configure(host: &HostSide, lines: &[&str]) {
    host.vtysh(&[&["configure terminal"], lines].concat()).unwrap();
}

/// RFC 4271 section 5.1.3: a speaker keeps the next hop of a peer in the same subnet. The veth pairs of two nodes share one, so
/// that the route of a peering between the hosts leads to the other node's host, which the router cannot reach over its veth.
#[test]
#[allow(clippy::too_many_lines, reason = "each step needs what the steps before it left")]
fn a_third_party_next_hop_is_filtered_and_named() {
    let Some(fixture) = Fixture::start("third-party", &[0, 1]) else { return };
    let (control_plane, worker) = (&fixture.hosts[0], &fixture.hosts[1]);
    control_plane.node().check(&["sysctl", "-qw", "net.ipv4.ip_forward=1"]).unwrap();
    worker.node().check(&["sysctl", "-qw", "net.ipv4.ip_forward=1"]).unwrap();
    let family = "address-family ipv4 unicast";
    configure(
        control_plane,
        &[
            "router bgp 64515",
            "neighbor 192.169.10.3 remote-as 64515",
            "neighbor 192.169.10.3 timers connect 1",
            family,
            "network 10.244.7.0/26",
            "neighbor 192.169.10.3 activate",
            "neighbor 192.169.10.3 next-hop-self",
        ],
    );
    configure(
        worker,
        &[
            "router bgp 64515",
            "neighbor 192.169.10.2 remote-as 64515",
            "neighbor 192.169.10.2 timers connect 1",
            family,
            "neighbor 192.169.10.2 activate",
        ],
    );
    configure(worker, &["ip prefix-list peerred-out seq 10 permit 10.244.7.0/26"]);
    configure(control_plane, &["ip prefix-list peerred-out seq 10 permit 10.244.7.0/26"]);
    control_plane.node().check(&["ip", "address", "add", "10.244.7.1/32", "dev", "lo"]).unwrap();
    let router = &fixture.routers[1];
    let session = |words: &[&str]| router.perouter(words).stdout;
    until_true("the filtered route in `perouter sessions`", || {
        session(&["sessions", "red"]).contains(
            "192.169.10.3 advertises 10.244.7.0/26 with the next hop 192.169.10.2, which is no address of the host",
        )
    });
    // The owner's route is there, and nobody else's.
    fixture.await_type5_from("10.244.7.0/26", 100, &[fixture.routers[0].vtep()]);
    until("the address of the other node", SETTLE, || {
        (ping(fixture.node("hostA_red"), "10.244.7.1") == 3).then_some(())
    });
    let routes = session(&["routes", "red"]);
    assert!(routes.contains("filtered: the next hop is not the host's"), "{routes}");
    until_true("the count in the status", || {
        let count = |status: &perouter::status::model::NodeStatus| {
            let of_reason = |found: &perouter::diagnose::filtered::FilteredCount| {
                found.routes.get(&perouter::diagnose::filtered::FilterReason::NextHop).copied()
            };
            status.filtered.iter().filter(|found| found.vrf.as_str() == "red").find_map(of_reason)
        };
        router.status().and_then(|status| count(&status)) == Some(1)
    });
    // Nor does the owner's node send it into its veth when the owner withdraws it.
    configure(control_plane, &["router bgp 64515", family, "no neighbor 192.169.10.1 activate"]);
    fixture.await_type5_from("10.244.7.0/26", 100, &[]);
    assert_eq!(ping(fixture.node("hostA_red"), "10.244.7.1"), 0);
    let trace = session(&["trace", "10.244.7.1", "--vrf", "red"]);
    assert!(
        trace.contains("FAIL  host    192.169.10.3 advertises 10.244.7.0/26 with the next hop 192.169.10.2"),
        "{trace}"
    );
}

/// What the other node, its host and the leaf have.
fn state_of_the_others(fixture: &Fixture) -> BTreeSet<String> {
    let other = &fixture.routers[0].node;
    let mut state = BTreeSet::new();
    let mut keep = |what: &str, text: &str| {
        state.extend(text.lines().map(|line| format!("{what}: {}", line.trim_end())));
    };
    for vrf in ["red", "blue"] {
        for family in ["-4", "-6"] {
            let words = ["ip", family, "route", "show", "table", "all", "proto", "bgp"];
            keep(&format!("{vrf} {family}"), &other.check(&in_vrf(other, vrf, &words)).unwrap());
        }
    }
    keep("router", &other.check(&["ip", "-n", "perouter", "route", "show", "proto", "bgp"]).unwrap());
    keep("host", &other.check(&["ip", "route"]).unwrap());
    for route in type5_routes(fixture.node("leafA")).unwrap() {
        keep("leafA", &format!("{} VNI {} {}", route.prefix, route.vni, route.vtep));
    }
    state
}

#[test]
#[allow(clippy::too_many_lines, reason = "each step needs what the steps before it left")]
fn prefixes_of_the_fabric_the_node_and_other_vrfs_are_filtered_from_the_host() {
    let both = |net: u8, net6: &str| format!("    ipv4: 192.169.{net}.0/24\n    ipv6: {net6}::/64\n");
    let setup = Setup::example()
        .with("underlay.yaml", PROTECTED)
        .replacing("red.yaml", "    ipv4: 192.169.10.0/24\n", &both(10, "2001:db8:10"))
        .replacing("blue.yaml", "    ipv4: 192.169.11.0/24\n", &both(11, "2001:db8:11"));
    let Some(fixture) = Fixture::start_with("injection", &[0, 1], &setup) else { return };
    let worker = &fixture.hosts[1];
    until("the page of red", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    // The session of the other family.
    configure(
        worker,
        &[
            "router bgp 64515",
            "no bgp ebgp-requires-policy",
            "neighbor 2001:db8:10::1 remote-as 64514",
            "neighbor 2001:db8:10::1 timers connect 1",
            "address-family ipv6 unicast",
            "neighbor 2001:db8:10::1 activate",
        ],
    );
    fixture.routers[1].await_session("red", "2001:db8:10::3");
    let before = until("a state that stays", SETTLE, || {
        let first = state_of_the_others(&fixture);
        std::thread::sleep(std::time::Duration::from_secs(2));
        (first == state_of_the_others(&fixture)).then_some(first)
    });
    // VTEPs of nodes and leaves, the links to the fabric, session subnets and parts of them, protected prefixes.
    let v4 = [
        "100.65.0.1/32",
        "100.64.0.1/32",
        "100.64.0.0/24",
        "192.168.11.0/24",
        "192.168.11.2/32",
        "192.168.11.128/25",
        "192.169.10.0/24",
        "192.169.10.2/32",
        "192.169.11.0/24",
        "192.169.11.1/32",
        "192.169.11.2/32",
        "192.169.11.128/25",
        "10.96.0.0/12",
        "10.96.0.1/32",
        "0.0.0.0/0",
    ];
    let v6 =
        ["2001:db8:10::2/128", "2001:db8:11::/64", "2001:db8:11::1/128", "fd00:96::/112", "fd00:96::1/128", "::/0"];
    let lines = |verb: &str| -> Vec<String> {
        let networks = |prefixes: &[&str]| prefixes.iter().map(|p| format!("{verb} {p}")).collect::<Vec<_>>();
        let head = |family: &str| vec!["router bgp 64515".to_owned(), format!("address-family {family} unicast")];
        let exits = vec!["exit-address-family".to_owned(), "exit".to_owned()];
        [head("ipv4"), networks(&v4), exits.clone(), head("ipv6"), networks(&v6), exits].concat()
    };
    let unfiltered = ["route-map peerred-out permit 10", "no match ip address prefix-list peerred-out", "exit"];
    let all = [unfiltered.map(str::to_owned).to_vec(), lines("network")].concat();
    configure(worker, &all.iter().map(String::as_str).collect::<Vec<_>>());
    // Advertised after them.
    configure(worker, &["router bgp 64515", "address-family ipv4 unicast", "network 198.51.100.0/24"]);
    configure(worker, &["router bgp 64515", "address-family ipv6 unicast", "network 2001:db8:51::/48"]);
    for prefix in ["198.51.100.0/24", "2001:db8:51::/48"] {
        fixture.await_type5_from(prefix, 100, &[fixture.routers[1].vtep()]);
    }
    // Without its filter the host may advertise its service of blue to red too.
    let is_service = |line: &str| {
        line.contains("172.30.0.16")
            && (line.starts_with("red") || line.starts_with("leafA") && line.contains("VNI 100"))
    };
    let added =
        |line: &&String| !line.contains("198.51.100.0/24") && !line.contains("2001:db8:51::/48") && !is_service(line);
    // In `vrf` mode what is listed for red has the routes of blue.
    let [before, after] = [&before, &state_of_the_others(&fixture)]
        .map(|state| state.iter().filter(added).cloned().collect::<BTreeSet<String>>());
    assert_eq!(after, before, "the others have something else");
    let shown = fixture.routers[1].perouter(&["routes", "red", "--from", "host"]).stdout;
    for prefix in v4.iter().chain(&v6).filter(|prefix| !prefix.ends_with("/0")) {
        let named = |line: &str| line.starts_with(&format!("{prefix} ")) && line.contains("filtered by");
        assert!(shown.lines().any(named), "{prefix} in\n{shown}");
    }
    assert!(fetch(fixture.node("hostA_red"), RED, 3).is_ok());
    for router in &fixture.routers {
        assert!(router.is_established(
            "blue",
            &format!("192.169.11.{}", if router.node.name().as_str() == NODES[0] { 2 } else { 3 })
        ));
    }
}

/// The subnet of a VRF that is added later is taken from the routes of the others at once.
#[test]
fn a_new_session_subnet_is_filtered_from_hosts_that_advertise_it_already() {
    let mut setup = Setup::example();
    let blue = setup.objects.remove("blue.yaml").unwrap();
    let Some(mut fixture) = Fixture::deploy("subnet", &[0], &setup) else { return };
    fixture.router().start();
    fixture.start_hosts();
    fixture.await_type5(&format!("{RED}/32"), 100);
    let host = fixture.hosts[0].clone();
    configure(&host, &["ip prefix-list peerred-out seq 10 permit 192.169.11.0/24 le 32"]);
    configure(&host, &["router bgp 64515", "address-family ipv4 unicast", "network 192.169.11.0/25"]);
    fixture.await_type5("192.169.11.0/25", 100);
    let before = fixture.router().await_session("red", "192.169.10.2").established;
    fixture.write("blue.yaml", &blue);
    fixture.router().await_ready(&[100, 200]);
    fixture.await_type5_from("192.169.11.0/25", 100, &[]);
    fixture.remove("blue.yaml");
    fixture.await_type5("192.169.11.0/25", 100);
    assert_eq!(fixture.router().await_session("red", "192.169.10.2").established, before, "the session was reset");
    until("the page of red", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
}

/// A leaf that advertises what belongs to the node or to the session of a host in another VRF.
#[test]
fn the_fabric_does_not_take_over_sessions_and_prefixes_of_the_node() {
    let setup = Setup::example().with("underlay.yaml", PROTECTED);
    let Some(mut fixture) = Fixture::start_with("fabric-in", &[0], &setup) else { return };
    let sessions = fixture.router().established(&[None, Some("red"), Some("blue")]);
    let filters_type5 = fixture.router().version().major >= 10;
    let advertise = |leaf: &str, instance: &str, prefixes: &[&str]| {
        let networks: Vec<String> = prefixes.iter().map(|prefix| format!("network {prefix}")).collect();
        let mut lines =
            vec!["configure terminal", instance, "no bgp network import-check", "address-family ipv4 unicast"];
        lines.extend(networks.iter().map(String::as_str));
        let words = ["vtysh"].into_iter().chain(lines.iter().flat_map(|line| ["-c", line])).collect::<Vec<_>>();
        fixture.node(leaf).check(&words).unwrap();
    };
    // In the default instance: our VTEP, and parts of the link. What is allowed is advertised last.
    advertise(
        "leafkind",
        "router bgp 64512",
        &["100.65.0.1/32", "192.168.11.128/25", "192.168.11.3/32", "198.51.100.0/24"],
    );
    let in_vrf_red = [
        "192.169.10.0/25",
        "192.169.10.1/32",
        "192.169.11.0/24",
        "192.169.11.1/32",
        "192.169.11.0/30",
        "10.96.0.1/32",
        "100.65.0.1/32",
        "192.168.11.128/25",
        "192.169.10.77/32",
        "198.51.100.0/24",
    ];
    let allowed = &in_vrf_red[8..];
    // FRR before 10 cannot filter Type-5 routes by their prefixes.
    advertise("leafA", "router bgp 64520 vrf red", if filters_type5 { &in_vrf_red[..] } else { allowed });
    let node = fixture.routers[0].node.clone();
    let routes = |vrf: Option<&str>| {
        let words = ["ip", "-4", "route", "show", "table", "all", "proto", "bgp"];
        let all = match vrf {
            Some(vrf) => node.check(&in_vrf(&node, vrf, &words)).unwrap(),
            None => node.check(&["ip", "-n", "perouter", "route", "show", "proto", "bgp"]).unwrap(),
        };
        all.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect::<BTreeSet<_>>()
    };
    until_true("the routes that are allowed", || {
        let (red, router) = (routes(Some("red")), routes(None));
        red.contains("198.51.100.0/24") && red.contains("192.169.10.77") && router.contains("198.51.100.0/24")
    });
    let forbidden = ["100.65.0.1", "192.168.11.128/25", "192.168.11.3"].map(str::to_owned);
    assert_eq!(routes(None).intersection(&forbidden.into()).collect::<Vec<_>>(), Vec::<&String>::new());
    let forbidden: BTreeSet<String> =
        in_vrf_red[..8].iter().map(|prefix| prefix.trim_end_matches("/32").to_owned()).collect();
    assert_eq!(routes(Some("red")).intersection(&forbidden).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(fixture.routers[0].established(&[None, Some("red"), Some("blue")]), sessions, "a session was reset");
    // A leaf that claims our VTEP drops the packets to it itself.
    let claim = ["vtysh", "-c", "configure terminal", "-c", "router bgp 64512", "-c", "address-family ipv4 unicast"];
    fixture.node("leafkind").check(&[&claim[..], &["-c", "no network 100.65.0.1/32"]].concat()).unwrap();
    until("the page of red", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
}
