//! Segments over two nodes, with Pods on the bridges of the hosts: what reaches what.

use std::time::Duration;

use perouter_lab::node::Node;

use super::fabric::{ping, reachable, type5_of};
use super::fixture::{Fixture, NODES, RED, SETTLE, Setup, until, until_true};
use super::kernel_state::{host_next_hops, in_router, in_vrf};
use super::pod::{Pod, mtu};

/// The manifest of an L2VNI with a managed bridge and these further lines of its spec.
pub fn l2vni(name: &str, vni: u32, spec_lines: &str) -> String {
    format!(
        "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L2VNI\nmetadata:\n  name: {name}\n  \
         namespace: openperouter-system\nspec:\n  vni: {vni}\n  hostMaster: {{type: LinuxBridge, linuxBridge: {{lifecycle: \
         Managed}}}}\n{spec_lines}"
    )
}

/// The lines of a routing domain with gateways of both families, the third byte of the addresses being that of the VNI.
pub fn routed(l3vni: &str, vni: u32) -> String {
    format!(
        "  routingDomain: {{type: L3VNI, l3vni: {{name: {l3vni}}}}}\n  gatewayIPs: [10.{vni}.0.1/24, 2001:db8:{vni}::1/64]\n"
    )
}

/// Adds an L2VNI in a file of its name.
pub fn with_l2vni(mut setup: Setup, file: &'static str, manifest: String) -> Setup {
    setup.objects.insert(file, manifest);
    setup
}

/// A Pod of a segment with gateways.
pub fn pod(node: &Node, name: &str, vni: u32, number: u32) -> Pod {
    let addresses = [format!("10.{vni}.0.{number}/24"), format!("2001:db8:{vni}::{number}/64")];
    let gateways = [format!("10.{vni}.0.1"), format!("2001:db8:{vni}::1")];
    let [addresses, gateways] = [&addresses, &gateways].map(|texts| texts.each_ref().map(String::as_str));
    Pod::attach(node, name, &format!("br-hs-{vni}"), &addresses, &gateways)
}

/// Two segments of red, one of blue, and one without a VRF.
fn four_segments() -> Setup {
    let segments = [
        ("layer2.yaml", "layer2", 110, "red"),
        ("second.yaml", "second", 120, "red"),
        ("other.yaml", "other", 210, "blue"),
    ];
    let setup = segments.into_iter().fold(Setup::example(), |setup, (file, name, vni, vrf)| {
        with_l2vni(setup, file, l2vni(name, vni, &routed(vrf, vni)))
    });
    with_l2vni(setup, "alone.yaml", l2vni("alone", 130, ""))
}

#[test]
fn pods_of_a_vrf_reach_each_other_over_two_nodes_and_no_others() {
    let setup = four_segments();
    let Some(fixture) = Fixture::start_with("l2vni", &[0, 1], &setup) else { return };
    for router in &fixture.routers {
        router.await_ready(&[100, 110, 120, 130, 200, 210]);
    }
    let [one, two] = NODES.map(|name| fixture.node(name));
    let (a1, a2) = (pod(one, "a1", 110, 11), pod(two, "a2", 110, 12));
    let (b2, c1) = (pod(two, "b2", 120, 12), pod(one, "c1", 210, 11));
    let alone =
        |node: &Node, name: &str, address: &str| Pod::attach(node, name, "br-hs-130", &[address], &["10.130.0.1"]);
    let (d1, d2) = (alone(one, "d1", "10.130.0.11/24"), alone(two, "d2", "10.130.0.12/24"));

    // The gateway of each node answers, and all of them have one MAC address.
    let macs = [&a1, &a2].map(|pod| {
        for gateway in ["10.110.0.1", "2001:db8:110::1"] {
            pod.await_ping(gateway);
        }
        let neighbor = pod.check(&["ip", "-4", "neighbor", "show", "10.110.0.1"]);
        neighbor.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).map(str::to_owned)
    });
    assert_eq!(macs, [Some("06:f3:00:00:00:6e".to_owned()), Some("06:f3:00:00:00:6e".to_owned())]);
    for gateway in ["10.120.0.1", "2001:db8:120::1"] {
        b2.await_ping(gateway);
    }
    c1.await_ping("10.210.0.1");

    // On one segment, across two segments of one VRF, without a VRF.
    for (from, to) in [(&a1, "10.110.0.12"), (&a1, "2001:db8:110::12"), (&a1, "10.120.0.12"), (&a1, "2001:db8:120::12")]
    {
        from.await_ping(to);
    }
    for (from, to) in [
        (&a2, "10.110.0.11"),
        (&b2, "10.110.0.11"),
        (&b2, "2001:db8:110::11"),
        (&d1, "10.130.0.12"),
        (&d2, "10.130.0.11"),
    ] {
        from.await_ping(to);
    }
    // The most that the NICs carry, and no byte more.
    let nic = node_nic_mtu(one);
    assert_eq!(mtu(one, "br-hs-110"), nic - 50);
    for (size, expected) in [(nic - 50 - 28, 3), (nic - 50 - 27, 0)] {
        for to in ["10.110.0.12", "10.120.0.12"] {
            assert_eq!(a1.ping_with(&["-M", "do", "-s", &size.to_string()], to), expected, "{size} {to}");
        }
    }
    // A host behind a leaf that has the L3VNI alone.
    let host = fixture.node("hostA_red");
    for (pod, address) in [(&a1, "10.110.0.11"), (&a2, "10.110.0.12"), (&b2, "10.120.0.12")] {
        pod.await_ping("192.168.20.2");
        until(&format!("{address} at hostA_red"), SETTLE, || (ping(host, address) == 3).then_some(()));
    }

    services(&fixture, &[&a1, &a2]);
    never_sent(&fixture, &b2);
    attached(&fixture);
    bridges_keep_their_mac_address(&fixture);
    isolated(&fixture, &a1, &c1);
    not_routed(&d1);
}

/// A Pod reaches the services of its VRF, also where the host of its own node serves them, and that host reaches the Pod.
fn services(fixture: &Fixture, pods: &[&Pod]) {
    for pod in pods {
        let node = pod.node.name();
        let curl = ["curl", "--silent", "--noproxy", "*", "--max-time", "3", &format!("http://{RED}/")];
        let page = until(&format!("the page of red at {}", pod.name), SETTLE, || pod.run(&curl));
        assert!(page.contains(&format!("served by {node}\n")), "{page}");
    }
    for (host, pod) in [(0, "10.110.0.11"), (0, "10.110.0.12"), (1, "10.110.0.12")] {
        let host = fixture.hosts[host].node();
        until_true("the subnet at the host", || host_next_hops(host, "10.110.0.0/24").iter().eq(["192.169.10.1"]));
        until(&format!("{pod} at {}", host.name()), SETTLE, || (ping(host, pod) > 0).then_some(()));
    }
}

/// A Pod that has never sent a packet with its address is reached from behind a leaf without the L2VNI, and from another segment of
/// another node.
fn never_sent(fixture: &Fixture, b2: &Pod) {
    let silent = pod(fixture.node(NODES[0]), "silent", 110, 77);
    let leaf = fixture.node("leafA");
    let routes = || leaf.check(&["vtysh", "-c", "show bgp l2vpn evpn route type macip json"]).unwrap();
    // What it sends when its link comes up has no such address.
    std::thread::sleep(Duration::from_secs(2));
    for known in
        fixture.routers.iter().map(|router| router.perouter(&["macs", "110", "-o", "json"]).stdout).chain([routes()])
    {
        assert!(known.contains("10.110.0.11"), "{known}");
        assert!(!known.contains("10.110.0.77") && !known.contains("2001:db8:110::77"), "{known}");
    }
    let host = fixture.node("hostA_red");
    until("the silent Pod at hostA_red", SETTLE, || (ping(host, "10.110.0.77") > 0).then_some(()));
    until_true("its MAC/IP route on leafA", || routes().contains("10.110.0.77"));
    b2.await_ping("2001:db8:110::77");
    silent.remove();
}

/// A bridge of the host has another MAC address on each node, and keeps it whatever port it gets.
fn bridges_keep_their_mac_address(fixture: &Fixture) {
    let address = |node: &Node| node.check(&["cat", "/sys/class/net/br-hs-110/address"]).unwrap().trim().to_owned();
    let expected = ["0e:00:64:41:00:01", "0e:00:64:41:00:02"];
    for (name, expected) in NODES.into_iter().zip(expected) {
        let node = fixture.node(name);
        assert_eq!(address(node), expected, "{name}");
        let least = "02:00:00:00:00:00";
        node.check(&["ip", "link", "add", "least", "address", least, "type", "veth", "peer", "name", "least0"])
            .unwrap();
        node.check(&["ip", "link", "set", "least", "master", "br-hs-110", "up"]).unwrap();
        assert_eq!(address(node), expected, "{name} with a port that has {least}");
        node.check(&["ip", "link", "delete", "least"]).unwrap();
    }
}

/// Each node counts the Pod of its own apart from that of the other, also where the segment has no gateways.
fn attached(fixture: &Fixture) {
    for router in &fixture.routers {
        router.await_status("what is attached to L2VNIs 110 and 130", |status| {
            let state = |vni: u32| status.vnis.get(&vni.try_into().unwrap());
            let counts = [state(110)?.mac_counts()?, state(110)?.neighbor_counts()?, state(130)?.mac_counts()?];
            counts.iter().all(|counts| counts.local >= 1 && counts.remote >= 1).then_some(())
        });
        let shown = router.perouter(&["status"]).stdout;
        let row: Vec<&str> = shown
            .lines()
            .skip_while(|line| !line.starts_with("L2VNI  MACS"))
            .nth(1)
            .unwrap()
            .split_whitespace()
            .collect();
        assert!(row[0] == "110" && row[1..5].iter().all(|count| *count != "0") && row[5] == "1", "{shown}");
    }
}

/// A Pod of red and one of blue reach nothing of each other, nor of the underlay.
fn isolated(fixture: &Fixture, a1: &Pod, c1: &Pod) {
    let none = Vec::<&str>::new();
    let of_red = ["10.110.0.1", "10.110.0.11", "10.110.0.12", "10.120.0.12"];
    assert_eq!(reachable(fixture.node("hostA_blue"), &of_red), none, "from a host of blue");
    let not_of = |pod: &Pod, others: &[&str]| {
        for other in others {
            assert_eq!(pod.ping(other), 0, "{} reaches {other}", pod.name);
        }
    };
    not_of(c1, &["10.110.0.11", "10.110.0.1", "192.168.20.2", "100.65.0.1", "192.168.11.2"]);
    not_of(a1, &["10.210.0.11", "2001:db8:210::11", "192.168.21.2", "10.130.0.11", "100.65.0.2", "192.168.11.3"]);
}

/// MTU of the NIC in the router of a node.
pub fn node_nic_mtu(node: &Node) -> u64 {
    let text = node.check(&[&in_router()[..], &["ip", "-j", "link", "show", "toswitch"]].concat()).unwrap();
    serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap()[0]["mtu"].as_u64().unwrap()
}

/// A Pod of a segment without routing domain knows the MAC address of the bridge, and nothing that it sends there is forwarded.
fn not_routed(pod: &Pod) {
    let node = &pod.node;
    let log = node.log_folder().join("segment.log");
    let capture = ["tcpdump", "-n", "-l", "--immediate-mode", "-Z", "root", "-i", "toswitch", "icmp"];
    let mut process = node.spawn(&[&in_router()[..], &capture].concat(), &log).unwrap();
    until_true("tcpdump", || std::fs::read_to_string(&log).unwrap().contains("listening on"));
    pod.check(&["ip", "neighbor", "replace", "10.130.0.1", "lladdr", "06:f3:00:00:00:82", "dev", "eth0"]);
    for address in ["192.168.11.2", "192.168.11.3", "100.65.0.2"] {
        assert_eq!(pod.ping(address), 0, "{address}");
    }
    // That it would be seen.
    node.check(&[&in_router()[..], &["ping", "-c", "1", "-w", "5", "192.168.11.2"]].concat()).unwrap();
    until_true("a packet of the router itself", || std::fs::read_to_string(&log).unwrap().contains("192.168.11.2"));
    process.terminate(SETTLE).unwrap();
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("10.130.0."), "a packet of a segment without routing domain is in the underlay:\n{text}");
}

/// What the fabric gets: MAC/IP routes with the targets of both VNIs and the router MAC, and a multicast route.
#[test]
fn the_fabric_gets_mac_and_multicast_routes() {
    let setup = with_l2vni(Setup::example(), "layer2.yaml", l2vni("layer2", 110, &routed("red", 110)));
    let Some(mut fixture) = Fixture::start_with("l2vni-routes", &[0], &setup) else { return };
    fixture.router().await_ready(&[100, 110, 200]);
    let node = fixture.node(NODES[0]).clone();
    let a1 = pod(&node, "a1", 110, 11);
    a1.await_ping("10.110.0.1");
    let leaf = fixture.node("leafA");
    let routes =
        |kind: &str| leaf.check(&["vtysh", "-c", &format!("show bgp l2vpn evpn route type {kind} json")]).unwrap();
    until_true("the MAC/IP route of the Pod on leafA", || routes("macip").contains("10.110.0.11"));
    let detail = leaf.check(&["vtysh", "-c", "show bgp l2vpn evpn route detail type macip"]).unwrap();
    let route = detail.split("BGP routing table entry").find(|route| route.contains("10.110.0.11")).unwrap_or(&detail);
    for part in ["RT:64514:110", "RT:64514:100", "Rmac:02:00:64:41:00:01", "110/100"] {
        assert!(route.contains(part), "no {part}:\n{route}");
    }
    assert!(!routes("macip").contains("10.110.0.1\""), "the gateway is on every node: {}", routes("macip"));
    until_true("the multicast route of VNI 110", || routes("multicast").contains("100.65.0.1"));
    let words = in_vrf(&node, "red", &["sysctl", "-n", "net.ipv4.conf.br-pe-110.arp_accept"]);
    assert_eq!(node.check(&words).unwrap().trim(), "2");
    fixture.router().await_status("the counts of VNI 110", |status| {
        let state = status.vnis.get(&110.try_into().unwrap())?;
        let counts = [state.mac_counts()?, state.neighbor_counts()?];
        counts.iter().all(|counts| counts.local >= 1 && counts.remote == 0).then_some(())
    });

    // The subnet is a route of the IP-VRF.
    fixture.await_type5("10.110.0.0/24", 100);
    let subnet = &type5_of(fixture.node("leafA"), "10.110.0.0/24")[0];
    assert_eq!(
        (&subnet.route_targets[..], subnet.router_mac.as_str()),
        (&["64514:100".to_owned()][..], "02:00:64:41:00:01")
    );

    // Other route targets, edited in place: the segment keeps its links.
    let before = node.check(&["ip", "-j", "link", "show", "br-hs-110"]).unwrap();
    let targets = "  routeTargets: {import: ['64514:110', '65000:1'], export: ['65000:1']}\n";
    fixture.write("layer2.yaml", &l2vni("layer2", 110, &format!("{}{targets}", routed("red", 110))));
    until_true("the other target on leafA", || {
        let detail = leaf_detail(&fixture);
        let route = detail.split("BGP routing table entry").find(|route| route.contains("10.110.0.11")).unwrap_or("");
        route.contains("RT:65000:1") && !route.contains("RT:64514:110")
    });
    fixture.routers[0].await_ready(&[100, 110, 200]);
    assert_eq!(node.check(&["ip", "-j", "link", "show", "br-hs-110"]).unwrap(), before);
    fixture.write("layer2.yaml", &l2vni("layer2", 110, &routed("red", 110)));
    until_true("the derived target on leafA", || {
        let detail = leaf_detail(&fixture);
        let route = detail.split("BGP routing table entry").find(|route| route.contains("10.110.0.11")).unwrap_or("");
        route.contains("RT:64514:110") && !route.contains("RT:65000:1")
    });
    // Nothing is left to do.
    fixture.routers[0].await_ready(&[100, 110, 200]);
    let plan = fixture.routers[0].plan();
    assert!(plan.stdout.contains("0 kernel operations, 0 FRR lines"), "{}{}", plan.stdout, plan.stderr);
    // The subnet is withdrawn with the segment, from the fabric and from the host.
    let host = fixture.hosts[0].node();
    until_true("the subnet at the host", || !host_next_hops(host, "10.110.0.0/24").is_empty());
    fixture.remove("layer2.yaml");
    fixture.await_type5_from("10.110.0.0/24", 100, &[]);
    until_true("no subnet at the host", || host_next_hops(host, "10.110.0.0/24").is_empty());
}

fn leaf_detail(fixture: &Fixture) -> String {
    fixture.node("leafA").check(&["vtysh", "-c", "show bgp l2vpn evpn route detail type macip"]).unwrap()
}
