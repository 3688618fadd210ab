//! A node with two NICs, connected to two leaves.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use perouter::diagnose::finding::FindingKind;
use perouter::runtime::Daemon;
use perouter_lab::node::Node;

use super::fixture::{Fixture, RED, Setup, bfd_settings, echo, scaled, until_true};
use super::kernel_state::{router_devices, router_packets};
use super::router::{BFD_PEERS, bfd_up};

const UNNUMBERED: &str =
    "  neighbors:\n    - {interface: eth1, type: external}\n    - {interface: eth2, type: external}\n";
/// The VTEP of leafA.
const REMOTE: &str = "100.64.0.1";
const FLOWS: usize = 64;
const ROUNDS: usize = 4;

/// Sends requests from many ports; returns the number of replies.
fn request_from_many_ports(from: &Node) -> usize {
    let request = || {
        let sockets: Vec<_> = (0..FLOWS).map(|_| UdpSocket::bind("0.0.0.0:0").unwrap()).collect();
        let mut replies = 0;
        for socket in sockets.iter().cycle().take(FLOWS * ROUNDS) {
            socket.set_read_timeout(Some(scaled(Duration::from_secs(1)))).unwrap();
            socket.send_to(&[1; 8], echo(RED)).unwrap();
            replies += usize::from(socket.recv(&mut [0; 16]).is_ok());
        }
        replies
    };
    from.within_netns(request).unwrap()
}

#[track_caller]
fn await_devices(node: &Node, prefix: &str, wanted: &[&str]) {
    until_true(&format!("{prefix} through {wanted:?} on the router"), || {
        router_devices(node, prefix).iter().eq(wanted)
    });
}

fn set(node: &Node, key: &str, value: u32) {
    node.check(&["sh", "-c", &format!("echo {value} >/proc/sys/net/{key}")]).unwrap();
}

/// Sends a signal to daemons of a node's own FRR.
fn signal(node: &Node, signal: &str, daemons: &[&str]) {
    let files: Vec<String> = daemons.iter().map(|daemon| format!("/run/frr/{daemon}.pid")).collect();
    node.check(&["sh", "-c", &format!("kill {signal} $(cat {})", files.join(" "))]).unwrap();
}

#[test]
fn traffic_is_spread_over_two_nics_and_one_is_sufficient() {
    let setup = Setup::dual_homed(UNNUMBERED);
    let Some(mut fixture) = Fixture::start_with("two-leaves", &[0], &setup) else { return };
    let node = fixture.router().node.clone();
    let [leaf_a, leaf1, leaf2] = ["leafA", "leaf1", "leaf2"].map(|name| fixture.node(name).clone());
    await_devices(&node, REMOTE, &["eth1", "eth2"]);
    until_true("both paths on leafA", || underlay_paths(&leaf_a, "100.65.0.1") == 2);
    fixture.stream("red").finish();
    // Each leaf returns the route of this node.
    for nic in ["eth1", "eth2"] {
        let command = format!("show bgp ipv4 unicast neighbors {nic} filtered-routes json");
        until_true(&format!("its own VTEP on {nic}"), || {
            let shown = fixture.routers[0].try_show(Daemon::Bgpd, &command).unwrap_or_default();
            shown.contains("\"100.65.0.1\\/32\"") || shown.contains("\"100.65.0.1/32\"")
        });
    }
    let (output, findings) = fixture.routers[0].checked();
    assert!(matches!(output.code, Some(0 | 1)), "{output:?}");
    assert!(findings.iter().all(|finding| finding.kind != FindingKind::DuplicateVtep), "{findings:#?}");

    let before = ["eth1", "eth2"].map(|nic| router_packets(&node, nic));
    let replies = request_from_many_ports(fixture.node("hostA_red"));
    let after = ["eth1", "eth2"].map(|nic| router_packets(&node, nic));
    let packets = [0, 1].map(|nic| [0, 1].map(|direction| after[nic][direction] - before[nic][direction]));
    println!(
        "ECMP: {replies} replies to {FLOWS} flows; packets [sent, received] on eth1 {:?}, on eth2 {:?}",
        packets[0], packets[1]
    );
    assert_eq!(replies, FLOWS * ROUNDS);
    let least = (FLOWS * ROUNDS / 10) as u64;
    assert!(packets.iter().flatten().all(|count| *count >= least), "[sent, received] by NIC: {packets:?}");

    unplug_one_nic(&mut fixture, &leaf1);
    detect_silent_leaf_with_bfd(&mut fixture, [&leaf_a, &leaf1, &leaf2]);
}

/// Number of next hops of a leaf to an address of the underlay.
fn underlay_paths(leaf: &Node, prefix: &str) -> usize {
    let text = leaf.check(&["ip", "route", "show", "exact", prefix]).unwrap();
    text.matches("via ").count()
}

fn unplug_one_nic(fixture: &mut Fixture, leaf1: &Node) {
    let node = fixture.router().node.clone();
    let established = fixture.router().established(&[Some("red"), Some("blue")]);
    let stream = [fixture.stream("red"), fixture.stream("blue")];
    leaf1.check(&["ip", "link", "set", "node", "down"]).unwrap();
    await_devices(&node, REMOTE, &["eth2"]);
    until_true("one path on leafA", || underlay_paths(fixture.node("leafA"), "100.65.0.1") == 1);
    fixture.stream("red").finish();
    for (stream, colour) in stream.into_iter().zip(["red", "blue"]) {
        println!("gap: one of two NICs unplugged, {colour}: {}", stream.finish());
    }
    let stream = fixture.stream("red");
    leaf1.check(&["ip", "link", "set", "node", "up"]).unwrap();
    await_devices(&node, REMOTE, &["eth1", "eth2"]);
    until_true("both paths on leafA", || underlay_paths(fixture.node("leafA"), "100.65.0.1") == 2);
    println!("gap: the NIC connected again: {}", stream.finish());
    assert_eq!(fixture.router().established(&[Some("red"), Some("blue")]), established, "host sessions flapped");
}

/// A silent failure of a leaf: it forwards nothing, and closes no session.
fn detect_silent_leaf_with_bfd(fixture: &mut Fixture, [leaf_a, leaf1, leaf2]: [&Node; 3]) {
    let node = fixture.router().node.clone();
    let with_bfd = |node: &Node, asn: u32, peers: &[&str]| {
        let mut words = vec!["vtysh".to_owned(), "-c".into(), "configure terminal".into()];
        words.extend(["-c".to_owned(), format!("router bgp {asn}")]);
        words.extend(peers.iter().flat_map(|peer| ["-c".to_owned(), format!("neighbor {peer} bfd")]));
        node.check(&words).unwrap();
    };
    with_bfd(leaf_a, 64520, &["leaves"]);
    with_bfd(leaf1, 64512, &["192.168.1.1", "nodes"]);
    with_bfd(leaf2, 64513, &["192.168.1.3", "nodes"]);
    let established = fixture.router().established(&[None, Some("red"), Some("blue")]);
    fixture.edit("underlay.yaml", "type: external}", &format!("type: external, {}}}", bfd_settings()));
    let up = |leaf: &Node| bfd_up(&leaf.check(&["vtysh", "-c", BFD_PEERS]).unwrap());
    until_true("BFD of leaf1 and leaf2 with the node and leafA", || up(leaf1) == 2 && up(leaf2) == 2);
    assert_eq!(fixture.router().established(&[None, Some("red"), Some("blue")]), established, "BFD reset a session");

    let stream = fixture.stream("red");
    let failed = Instant::now();
    set(leaf1, "ipv4/ip_forward", 0);
    signal(leaf1, "-STOP", &["bfdd", "bgpd"]);
    until_true("removal of the paths through the failed leaf", || router_devices(&node, REMOTE).iter().eq(["eth2"]));
    let detected = failed.elapsed();
    println!("gap: BFD detected the failure of a leaf after {detected:.0?}");
    assert_eq!(fixture.router().bfd_up(), 1, "BFD sessions of the node that are up");
    until_true("one path on leafA", || underlay_paths(leaf_a, "100.65.0.1") == 1);
    println!("gap: silent failure of a leaf with BFD: {}", stream.finish());
    // The hold time is 9 s.
    assert!(detected < scaled(Duration::from_secs(3)), "{detected:?}");
    signal(leaf1, "-CONT", &["bfdd", "bgpd"]);
    set(leaf1, "ipv4/ip_forward", 1);
    await_devices(&node, REMOTE, &["eth1", "eth2"]);
    fixture.stream("red").finish();
    fixture.router().await_ready(&[100, 200]);
}
