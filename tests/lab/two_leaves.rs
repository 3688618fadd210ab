//! A node with two NICs to two leaves.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use perouter_lab::node::Node;

use super::fixture::{Fixture, RED, Setup, bfd_settings, echo, paced, until_true};
use super::place::{router_devices, router_packets};
use super::router::{BFD_PEERS, bfd_up};

const UNNUMBERED: &str =
    "  neighbors:\n    - {interface: eth1, type: external}\n    - {interface: eth2, type: external}\n";
/// The VTEP of leafA.
const REMOTE: &str = "100.64.0.1";
const FLOWS: usize = 64;
const ROUNDS: usize = 4;

/// Asks from many ports at once; gives how many answers came.
fn ask_from_many_ports(from: &Node) -> usize {
    let ask = || {
        let sockets: Vec<_> = (0..FLOWS).map(|_| UdpSocket::bind("0.0.0.0:0").unwrap()).collect();
        let mut answers = 0;
        for socket in sockets.iter().cycle().take(FLOWS * ROUNDS) {
            socket.set_read_timeout(Some(paced(Duration::from_secs(1)))).unwrap();
            socket.send_to(&[1; 8], echo(RED)).unwrap();
            answers += usize::from(socket.recv(&mut [0; 16]).is_ok());
        }
        answers
    };
    from.within_netns(ask).unwrap()
}

#[track_caller]
fn await_devices(node: &Node, prefix: &str, wanted: &[&str]) {
    until_true(&format!("{prefix} by {wanted:?} at the router"), || router_devices(node, prefix).iter().eq(wanted));
}

fn set(node: &Node, key: &str, value: u32) {
    node.check(&["sh", "-c", &format!("echo {value} >/proc/sys/net/{key}")]).unwrap();
}

/// Signals daemons of a node's own FRR.
fn signal(node: &Node, signal: &str, daemons: &[&str]) {
    let files: Vec<String> = daemons.iter().map(|daemon| format!("/run/frr/{daemon}.pid")).collect();
    node.check(&["sh", "-c", &format!("kill {signal} $(cat {})", files.join(" "))]).unwrap();
}

#[test]
fn two_nics_share_the_traffic_and_one_is_enough() {
    let setup = Setup::dual_homed(UNNUMBERED);
    let Some(mut fixture) = Fixture::start_with("two-leaves", &[0], &setup) else { return };
    let node = fixture.router().node.clone();
    let [leaf_a, leaf1, leaf2] = ["leafA", "leaf1", "leaf2"].map(|name| fixture.node(name).clone());
    await_devices(&node, REMOTE, &["eth1", "eth2"]);
    until_true("both ways at leafA", || leaf_next_hops_of_main(&leaf_a, "100.65.0.1") == 2);
    fixture.stream("red").end();

    let before = ["eth1", "eth2"].map(|nic| router_packets(&node, nic));
    let answers = ask_from_many_ports(fixture.node("hostA_red"));
    let after = ["eth1", "eth2"].map(|nic| router_packets(&node, nic));
    let moved = [0, 1].map(|nic| [0, 1].map(|direction| after[nic][direction] - before[nic][direction]));
    println!(
        "ECMP: {answers} answers of {FLOWS} flows; [sent, received] by eth1 {:?}, by eth2 {:?}",
        moved[0], moved[1]
    );
    assert_eq!(answers, FLOWS * ROUNDS);
    let least = (FLOWS * ROUNDS / 10) as u64;
    assert!(moved.iter().flatten().all(|packets| *packets >= least), "[sent, received] by NIC: {moved:?}");

    unplug(&mut fixture, &leaf1);
    bfd(&mut fixture, [&leaf_a, &leaf1, &leaf2]);
}

/// Ways that a leaf has to an address of the underlay.
fn leaf_next_hops_of_main(leaf: &Node, prefix: &str) -> usize {
    let text = leaf.check(&["ip", "route", "show", "exact", prefix]).unwrap();
    text.matches("via ").count()
}

fn unplug(fixture: &mut Fixture, leaf1: &Node) {
    let node = fixture.router().node.clone();
    let established = fixture.router().established(&[Some("red"), Some("blue")]);
    let stream = [fixture.stream("red"), fixture.stream("blue")];
    leaf1.check(&["ip", "link", "set", "node", "down"]).unwrap();
    await_devices(&node, REMOTE, &["eth2"]);
    until_true("one way at leafA", || leaf_next_hops_of_main(fixture.node("leafA"), "100.65.0.1") == 1);
    fixture.stream("red").end();
    for (stream, colour) in stream.into_iter().zip(["red", "blue"]) {
        println!("gap: one of two NICs unplugged, {colour}: {}", stream.end());
    }
    let stream = fixture.stream("red");
    leaf1.check(&["ip", "link", "set", "node", "up"]).unwrap();
    await_devices(&node, REMOTE, &["eth1", "eth2"]);
    until_true("both ways at leafA", || leaf_next_hops_of_main(fixture.node("leafA"), "100.65.0.1") == 2);
    println!("gap: the NIC plugged in again: {}", stream.end());
    assert_eq!(fixture.router().established(&[Some("red"), Some("blue")]), established, "host sessions flapped");
}

/// A leaf that goes silent: nothing is forwarded and nobody says goodbye.
fn bfd(fixture: &mut Fixture, [leaf_a, leaf1, leaf2]: [&Node; 3]) {
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
    let silent = Instant::now();
    set(leaf1, "ipv4/ip_forward", 0);
    signal(leaf1, "-STOP", &["bfdd", "bgpd"]);
    until_true("the end of the ways by the silent leaf", || router_devices(&node, REMOTE).iter().eq(["eth2"]));
    let withdrawn = silent.elapsed();
    println!("gap: BFD took {withdrawn:.0?} to find that a leaf is silent");
    assert_eq!(fixture.router().bfd_up(), 1, "BFD sessions of the node that are up");
    until_true("one way at leafA", || leaf_next_hops_of_main(leaf_a, "100.65.0.1") == 1);
    println!("gap: a leaf with BFD goes silent: {}", stream.end());
    // The hold time is 9 s.
    assert!(withdrawn < paced(Duration::from_secs(3)), "{withdrawn:?}");
    signal(leaf1, "-CONT", &["bfdd", "bgpd"]);
    set(leaf1, "ipv4/ip_forward", 1);
    await_devices(&node, REMOTE, &["eth1", "eth2"]);
    fixture.stream("red").end();
    fixture.router().await_ready(&[100, 200]);
}
