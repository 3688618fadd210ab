//! Workloads of a segment that are silent, that move, and whose router restarts: the fabric reaches them without that they send
//! anything, and where they are.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use perouter::runtime::Daemon;
use perouter_lab::node::Node;
use perouter_lab::workload::WorkloadSpec;
use serde_json::Value;

use super::fabric::ping;
use super::fixture::{Fixture, NODES, SETTLE, Setup, scaled, until, until_true};
use super::kernel_state::{blackhole_at_leaf, in_vrf};
use super::l2vni::{l2vni, pod, routed, with_l2vni};
use super::pod::Pod;
use super::router::Router;
use super::traffic::{LossStats, Stream};

pub const ADDRESSES: [&str; 2] = ["10.110.0.11", "2001:db8:110::11"];
const MAC: &str = "0a:58:00:00:00:11";
const GATEWAY_MAC: &str = "06:f3:00:00:00:6e";
/// From the first packet of a workload that moved to the first reply of a host of the fabric.
const MOVE: Duration = Duration::from_secs(1);
/// What is lost of a workload that has moved, once it has been reached. While each of both nodes routed to the other, it was 100 ms.
const AGAIN: Duration = Duration::from_millis(30);
/// Outage of a silent workload while the IP-VRF of its segment is rebuilt: 0.4 s were measured.
const REBUILT: Duration = Duration::from_secs(3);
/// By how much the outage outlasts that of the NIC: the sessions with the fabric are closed with it, and connect again. 2 s were measured.
const FLAPPED: Duration = Duration::from_secs(4);
/// Outage of a silent workload from when the link that somebody has deleted is there again.
const REPAIRED: Duration = Duration::from_secs(1);
pub const VNIS: [u32; 3] = [100, 110, 200];

fn layer2() -> Setup {
    with_l2vni(Setup::example(), "layer2.yaml", l2vni("layer2", 110, &routed("red", 110)))
}

fn in_red(node: &Node, line: &str) -> String {
    let words = in_vrf(node, "red", &["sh", "-c", line]);
    node.check(&words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
}

/// A Pod with the MAC address that moves with it, on a node.
pub fn attach(node: &Node) -> Pod {
    let pod = pod(node, "a1", 110, 11);
    pod.check(&["ip", "link", "set", "eth0", "address", MAC]);
    pod
}

/// It is known with both addresses from now on, and is silent.
pub fn speak(pod: &Pod) {
    for gateway in ["10.110.0.1", "2001:db8:110::1"] {
        pod.await_ping(gateway);
    }
}

/// The MAC/IP routes of the Pod that leafA has from a VTEP, of two.
pub fn at_leaf(fixture: &Fixture, vtep: &str) -> usize {
    let words = ["vtysh", "-c", "show bgp l2vpn evpn route type macip json"];
    let text = fixture.node("leafA").check(&words).unwrap();
    let table: Value = serde_json::from_str(&text).unwrap_or_default();
    let of_rd = table.as_object().into_iter().flatten().filter_map(|(_, routes)| routes.as_object());
    let prefixes = of_rd.flatten().filter(|(_, route)| route["paths"].to_string().contains(&format!("\"{vtep}\"")));
    prefixes.filter(|(prefix, _)| ADDRESSES.iter().any(|address| prefix.contains(&format!("[{address}]")))).count()
}

/// Waits until zebra of a node has both addresses of the Pod as `place`; returns how long that took.
#[track_caller]
pub fn await_in_zebra(fixture: &Fixture, node: usize, place: &str, sequence: u64) -> Duration {
    let start = Instant::now();
    until(&format!("{MAC} {place} on node {node} with sequence {sequence}"), SETTLE, || {
        let shown = fixture.routers[node].perouter(&["macs", "110", "-o", "json"]);
        let table: Value = serde_json::from_str(&shown.stdout).ok()?;
        // A list of MAC addresses, or an object with them as its keys.
        let listed = table["items"].as_array().and_then(|items| items.iter().find(|item| item["mac"] == MAC));
        let entry = listed.unwrap_or(&table[MAC]);
        let of = |value: &Value| value["place"].get(place).is_some() && value["sequence"] == sequence;
        let is_there = |address: &str| {
            let state = &entry["addresses"][address];
            of(state) && state["active"] == true
        };
        (of(entry) && ADDRESSES.into_iter().all(is_there)).then_some(())
    });
    start.elapsed()
}

/// A Pod of a node that has spoken once, with its routes on leafA.
fn advertised(fixture: &Fixture, node: &Node, vtep: &str) -> Pod {
    let silent = attach(node);
    speak(&silent);
    until_true("its routes on leafA", || at_leaf(fixture, vtep) == 2);
    silent
}

/// A lab whose leafA finds workloads by their MAC/IP routes alone: by the subnet of the gateway, a packet finds a workload without one.
fn start(name: &str, nodes: &[usize]) -> Option<Fixture> {
    let fixture = Fixture::start_with(name, nodes, &layer2())?;
    fixture.routers.iter().for_each(|router| router.await_ready(&VNIS));
    for subnet in ["10.110.0.0/24", "2001:db8:110::/64"] {
        blackhole_at_leaf(fixture.node("leafA"), "red", subnet);
    }
    Some(fixture)
}

#[test]
fn a_silent_pod_stays_in_the_fabric_and_one_that_is_gone_leaves_it() {
    let Some(fixture) = start("l2vni-silent", &[0]) else { return };
    let node = fixture.node(NODES[0]).clone();
    let vtep = fixture.routers[0].vtep();
    advertised(&fixture, &node, &vtep);
    let listed = fixture.routers[0].perouter(&["macs", "110"]);
    let line = listed.stdout.lines().find(|line| line.starts_with(MAC)).unwrap_or_default();
    let words: Vec<_> = line.split_whitespace().collect();
    // A link-local address may be among them.
    assert!(
        matches!(words[..], [MAC, "local", "pe-110", addresses, "0"] if addresses.starts_with(&ADDRESSES.join(","))),
        "{line}"
    );
    // What takes a minute, and five for MAC addresses, takes seconds.
    in_red(
        &node,
        "for f in ipv4 ipv6; do cd /proc/sys/net/$f/neigh/br-pe-110; echo 2000 > base_reachable_time_ms; echo 1 > \
         delay_first_probe_time; echo 200 > retrans_time_ms; echo 500 > interval_probe_time_ms; done; \
         ip link set br-pe-110 type bridge ageing_time 600",
    );
    let quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(15) {
        assert_eq!(at_leaf(&fixture, &vtep), 2, "after {:?} of silence", quiet.elapsed());
        sleep(Duration::from_millis(200));
    }
    assert_eq!(ping(fixture.node("hostA_red"), ADDRESSES[0]), 3, "a host of the fabric reaches it");
    let trace = fixture.routers[0].perouter(&["trace", ADDRESSES[0], "--vrf", "red"]);
    let words =
        [&format!("segment {MAC} has 10.110.0.11, behind this node in L2VNI 110"), "RT 64514:110", "advertised to"];
    for word in words {
        assert!(trace.stdout.contains(word), "no `{word}` in {}{}", trace.stdout, trace.stderr);
    }
    let routes = fixture.routers[0].perouter(&["routes", "red", "--from", "segment"]);
    assert!(routes.stdout.contains(MAC) && routes.stdout.contains("Type-2 advertised to 1 peer"), "{}", routes.stdout);
    let gone = Instant::now();
    node.check(&["ip", "link", "delete", "a1"]).unwrap();
    until_true("no routes on leafA", || at_leaf(&fixture, &vtep) == 0);
    println!("gone: withdrawn after {:?} with these timers", gone.elapsed());
}

#[test]
fn a_silent_pod_is_advertised_again_after_restarts_and_a_rebuild() {
    let Some(mut fixture) = start("l2vni-restarts", &[0, 1]) else { return };
    let node = fixture.node(NODES[0]).clone();
    let vtep = fixture.routers[0].vtep();
    let silent = advertised(&fixture, &node, &vtep);
    await_in_zebra(&fixture, 1, "remote", 0);
    for daemon in [Daemon::Zebra, Daemon::Bgpd] {
        let pids = fixture.routers[0].daemon_pids();
        let killed = Instant::now();
        fixture.routers[0].kill_daemon(daemon);
        until_true("a new daemon", || {
            fixture.routers[0].daemon_pids().get(&daemon).is_some_and(|pid| pids.get(&daemon) != Some(pid))
        });
        await_in_zebra(&fixture, 0, "local", 0);
        println!("{daemon} killed: zebra has the silent Pod after {:?}", killed.elapsed());
        fixture.routers[0].await_ready(&VNIS);
        until_true("its routes on leafA", || at_leaf(&fixture, &vtep) == 2);
        println!("{daemon} killed: leafA has it after {:?}", killed.elapsed());
        assert_eq!(ping(fixture.node("hostA_red"), ADDRESSES[0]), 3, "{daemon}");
    }
    // The other node: what it knows of the Pod is of bgpd.
    let zebra = fixture.routers[1].daemon_pids().get(&Daemon::Zebra).copied();
    fixture.routers[1].kill_daemon(Daemon::Zebra);
    until_true("a new zebra", || {
        fixture.routers[1].daemon_pids().get(&Daemon::Zebra).is_some_and(|pid| Some(*pid) != zebra)
    });
    let took = await_in_zebra(&fixture, 1, "remote", 0);
    println!("zebra of the other node killed: it has the Pod again {took:?} later");

    // perouter does not run while the Pod is attached.
    fixture.routers[0].kill();
    in_red(&node, "ip neigh flush dev br-pe-110 nud reachable nud stale nud delay nud probe");
    speak(&silent);
    fixture.routers[0].remove_status();
    fixture.routers[0].start();
    fixture.routers[0].await_ready(&VNIS);
    let entries = in_red(&node, "ip neigh show dev br-pe-110");
    let kept = entries.lines().filter(|line| ADDRESSES.iter().any(|address| line.starts_with(address)));
    assert!(kept.clone().count() == 2 && kept.clone().all(|line| line.contains("managed")), "{entries}");

    // The VXLAN device is replaced.
    let changed = Instant::now();
    for router in 0..2 {
        fixture.routers[router].remove_status();
    }
    fixture.write("layer2.yaml", &l2vni("layer2", 110, &format!("{}  vxlanport: 4790\n", routed("red", 110))));
    fixture.routers.iter().for_each(|router| router.await_ready(&VNIS));
    until_true("another VXLAN device", || in_red(&node, "ip -d link show vni110").contains("dstport 4790"));
    until_true("its routes on leafA", || at_leaf(&fixture, &vtep) == 2);
    println!("VXLAN device replaced: leafA has the silent Pod {:?} after the change", changed.elapsed());
    await_in_zebra(&fixture, 0, "local", 0);
    assert_eq!(ping(fixture.node("hostA_red"), ADDRESSES[0]), 3, "after the rebuild");
    let _echo = silent.echo(7);
    edit_its_l3vni(&mut fixture);
    flap_the_nic(&mut fixture, &vtep);
    print_what_was_repeated(&fixture);
}

/// Runs a change under a probe from a host of the fabric to the Pod, which sends nothing but replies; prints and returns what is lost.
fn probed(fixture: &mut Fixture, what: &str, change: impl FnOnce(&mut Fixture)) -> LossStats {
    let pod = SocketAddr::new(ADDRESSES[0].parse().unwrap(), 7);
    let stream = Stream::probe(fixture.node("hostA_red"), pod, Duration::from_millis(1));
    stream.await_replies(200);
    change(fixture);
    // bgpd withdraws within a second what it withdraws.
    sleep(Duration::from_secs(1));
    stream.await_replies(200);
    let losses = stream.finish();
    println!("{what}: from a host of the fabric to the silent Pod: {losses}");
    losses
}

/// Edits in place, and one with which the IP-VRF and its segments are rebuilt: each leaves nothing broken.
fn edit_its_l3vni(fixture: &mut Fixture) {
    let asn = "  asn: 64514\n";
    let limit = format!("{asn}  fromHost: {{maxPrefixes: 1000}}\n");
    // What leafA exports has its AS number.
    let targets = "  routeTargets: {import: ['64514:100', '64520:100'], export: ['64514:100', '65000:7']}\n";
    let targets = format!("{limit}{targets}");
    let edit = |fixture: &mut Fixture, what: &str, from: &str, to: &str, running: &str| {
        probed(fixture, what, |fixture| {
            fixture.edit("red.yaml", from, to);
            until_true(running, || {
                let show = |router: &Router| router.try_show(Daemon::Bgpd, "show running-config");
                fixture.routers.iter().all(|router| show(router).is_some_and(|shown| shown.contains(running)))
            });
            fixture.routers.iter().for_each(|router| router.await_ready(&VNIS));
        })
    };
    let what = "a limit of prefixes in its L3VNI";
    edit(fixture, what, asn, &limit, "maximum-prefix 1000").assert_lossless(what);
    edit(fixture, "route targets of its L3VNI", &limit, &targets, "65000:7");
    let losses = edit(fixture, "its L3VNI rebuilt", &targets, "  asn: 64513\n", "router bgp 64513 vrf red");
    assert!(losses.longest_outage <= scaled(REBUILT), "the Pod had to speak: {losses}");
    await_in_zebra(fixture, 0, "local", 0);
    await_in_zebra(fixture, 1, "remote", 0);
}

/// The leaf unplugs the NIC of the node for a second.
fn flap_the_nic(fixture: &mut Fixture, vtep: &str) {
    let leaf = fixture.node("leafkind").clone();
    let down = Duration::from_secs(1);
    let losses = probed(fixture, "the NIC without carrier for a second", |fixture| {
        leaf.check(&["ip", "link", "set", "node0", "down"]).unwrap();
        sleep(down);
        leaf.check(&["ip", "link", "set", "node0", "up"]).unwrap();
        until_true("its routes on leafA", || at_leaf(fixture, vtep) == 2);
    });
    assert!(losses.longest_outage >= down, "the NIC was not unplugged: {losses}");
    assert!(losses.longest_outage <= down + scaled(FLAPPED), "{losses}");
    fixture.routers.iter().for_each(|router| router.await_ready(&VNIS));
    await_in_zebra(fixture, 0, "local", 0);
    await_in_zebra(fixture, 1, "remote", 0);
    assert_eq!(ping(fixture.node("hostA_red"), ADDRESSES[0]), 3, "after the flap");
}

/// What somebody does to a link of the segment, and whether the link is on the host.
const DELETIONS: [(&str, bool, &str); 7] = [
    ("br-pe-110", false, "ip link delete br-pe-110"),
    ("vni110", false, "ip link delete vni110"),
    ("pe-110", false, "ip link delete pe-110"),
    ("host-110", true, "ip link delete host-110"),
    ("br-hs-110", true, "ip link delete br-hs-110"),
    ("br-pe-110", false, "ip link set br-pe-110 down"),
    ("pe-110", false, "ip link set pe-110 nomaster"),
];

/// What zebra and the kernel of the first node have of the segment.
fn entries(fixture: &Fixture, node: &Node) -> String {
    let in_kernel = in_red(node, "ip neigh show dev br-pe-110; bridge fdb show br br-pe-110; ip -br link");
    let of_zebra = ["mac", "arp-cache"].map(|table| {
        fixture.routers[0].try_show(Daemon::Zebra, &format!("show evpn {table} vni 110 json")).unwrap_or_default()
    });
    format!("{}\n{in_kernel}", of_zebra.concat())
}

/// Does it, and waits until the link is there again; returns how long that took.
fn repaired(node: &Node, (link, on_host, how): (&str, bool, &str)) -> Duration {
    let run = |line: &str| if on_host { node.check(&["sh", "-c", line]).unwrap() } else { in_red(node, line) };
    let ifindex = || run(&format!("ip -o link show dev {link} 2>/dev/null | cut -d: -f1"));
    let before = ifindex();
    let start = Instant::now();
    run(how);
    until_true("the link again", || !how.contains("delete") || !["", &before].contains(&ifindex().as_str()));
    start.elapsed()
}

#[test]
fn a_silent_pod_is_reached_within_a_second_of_the_repair_of_its_segment() {
    let Some(fixture) = start("l2vni-deletions", &[0, 1]) else { return };
    let node = fixture.node(NODES[0]).clone();
    let vtep = fixture.routers[0].vtep();
    let silent = advertised(&fixture, &node, &vtep);
    let _echo = silent.echo(7);
    for deletion in DELETIONS {
        // Nobody sends to it. bgpd withdraws what it withdraws, and a host of the fabric reaches it a second later.
        let again = repaired(&node, deletion);
        sleep(scaled(REPAIRED));
        let found = at_leaf(&fixture, &vtep);
        println!(
            "{}: the link is there again after {again:?}, and a second later leafA has {found} routes",
            deletion.2
        );
        assert_eq!(found, 2, "{}\n{}", deletion.2, entries(&fixture, &node));
        for address in ADDRESSES {
            assert_eq!(ping(fixture.node("hostA_red"), address), 3, "{}: {address}", deletion.2);
        }
        fixture.routers[0].await_ready(&VNIS);
        await_in_zebra(&fixture, 0, "local", 0);
        await_in_zebra(&fixture, 1, "remote", 0);

        // The same under a probe.
        let pod = SocketAddr::new(ADDRESSES[0].parse().unwrap(), 7);
        let stream = Stream::probe(fixture.node("hostA_red"), pod, Duration::from_millis(1));
        stream.await_replies(200);
        let again = repaired(&node, deletion);
        sleep(Duration::from_secs(1));
        stream.await_replies(500);
        let losses = stream.finish();
        println!("{}: from a host of the fabric: {losses}", deletion.2);
        assert!(losses.longest_outage <= again + scaled(REPAIRED), "{}: {losses}", deletion.2);
        await_in_zebra(&fixture, 0, "local", 0);
        until_true("its routes on leafA", || at_leaf(&fixture, &vtep) == 2);
    }
    print_what_was_repeated(&fixture);
}

/// zebra of some releases ignores a part of what happens while a link comes up.
fn print_what_was_repeated(fixture: &Fixture) {
    let log = std::fs::read_to_string(fixture.routers[0].log()).unwrap();
    let is_repeat = |line: &&str| {
        ["reported to zebra once more", "learned again for zebra"].iter().any(|words| line.contains(words))
    };
    log.lines().filter(is_repeat).for_each(|line| println!("{line}"));
}

#[test]
fn a_pod_that_moves_while_perouter_is_down_on_a_node_is_on_its_new_node_alone() {
    let Some(mut fixture) = start("l2vni-move-down", &[0, 1]) else { return };
    let nodes = NODES.map(|name| fixture.node(name).clone());
    let mut pod = attach(&nodes[0]);
    speak(&pod);
    until_true("its routes on leafA", || at_leaf(&fixture, &fixture.routers[0].vtep()) == 2);
    await_in_zebra(&fixture, 1, "remote", 0);
    // The router that is down: that of the node which the Pod leaves, then that of the one to which it comes.
    for (sequence, down, old, new) in [(1, 0, 0, 1), (2, 0, 1, 0)] {
        fixture.routers[down].kill();
        pod.remove();
        pod = moved(&nodes[new], false);
        let attached = Instant::now();
        if down == old {
            let took = first_reply(&pod, "192.168.20.2", attached);
            println!("move {sequence}: reached {took:?} after it was attached");
            assert!(took <= scaled(MOVE), "{took:?}");
            sleep(Duration::from_secs(2));
        } else {
            // Its MAC address moves with its first packet.
            pod.ping_with(&["-W", "0.1"], "192.168.20.2");
        }
        fixture.routers[down].remove_status();
        fixture.routers[down].start();
        fixture.routers[down].await_ready(&VNIS);
        if down == new {
            // It has no MAC/IP route any more, until it sends a request for its gateway.
            for gateway in ["10.110.0.1", "2001:db8:110::1"] {
                pod.check(&["ip", "neighbor", "delete", gateway, "dev", "eth0"]);
            }
            speak(&pod);
        }
        let ready = Instant::now();
        let took = first_reply(&pod, "192.168.20.2", ready);
        println!("move {sequence}: reached {took:?} after perouter runs again");
        assert!(took <= scaled(MOVE), "{took:?}");
        assert_moved(&fixture, &nodes, (old, new), sequence);
    }
}

/// The Pod is on its new node alone, and stays there.
#[track_caller]
pub fn assert_moved(fixture: &Fixture, nodes: &[Node; 2], (old, new): (usize, usize), sequence: u64) {
    let (here, there) =
        (await_in_zebra(fixture, new, "local", sequence), await_in_zebra(fixture, old, "remote", sequence));
    println!("  the new node has both addresses after {here:?} more, the old one after {there:?} more");
    until_true("its routes on leafA", || {
        at_leaf(fixture, &fixture.routers[new].vtep()) == 2 && at_leaf(fixture, &fixture.routers[old].vtep()) == 0
    });
    // The old node has forgotten it, and it does not flap.
    sleep(Duration::from_secs(2));
    let entries = in_red(&nodes[old], "ip neigh show dev br-pe-110; bridge fdb show br br-pe-110");
    // Link-local addresses are not advertised.
    let of_pod = entries.lines().filter(|line| line.contains(MAC) && !line.starts_with("fe80"));
    assert!(of_pod.clone().count() >= 4 && of_pod.clone().all(|line| line.contains("extern_learn")), "{entries}");
    await_in_zebra(fixture, new, "local", sequence);
    await_in_zebra(fixture, old, "remote", sequence);
    assert_eq!(ping(fixture.node("hostA_red"), ADDRESSES[0]), 3, "move {sequence}");
}

/// Waits until the host of the fabric replies to a packet of the Pod.
#[track_caller]
fn first_reply(pod: &Pod, host: &str, since: Instant) -> Duration {
    let words = ["ip", "netns", "exec", &pod.name, "ping", "-n", "-c", "1", "-W", "0.1", host];
    loop {
        if pod.node.run(&words).unwrap().success() {
            return since.elapsed();
        }
        assert!(since.elapsed() < SETTLE, "no reply of {host}");
    }
}

#[test]
fn a_pod_that_moves_is_reached_on_its_new_node_within_a_second() {
    let Some(fixture) = start("l2vni-move", &[0, 1]) else { return };
    let nodes = NODES.map(|name| fixture.node(name).clone());
    let mut pod = attach(&nodes[0]);
    speak(&pod);
    until_true("its routes on leafA", || at_leaf(&fixture, &fixture.routers[0].vtep()) == 2);
    await_in_zebra(&fixture, 1, "remote", 0);
    assert_eq!(ping(fixture.node("hostA_red"), ADDRESSES[0]), 3);
    for (sequence, announces) in [(1, false), (2, true), (3, false)] {
        let (old, new) = (usize::from(sequence % 2 == 0), usize::from(sequence % 2 == 1));
        let echo = pod.echo(7);
        let probed = SocketAddr::new(ADDRESSES[0].parse().unwrap(), 7);
        let stream = Stream::probe(fixture.node("hostA_red"), probed, Duration::from_millis(1));
        stream.await_replies(200);
        drop(echo);
        pod.remove();
        let start = Instant::now();
        pod = moved(&nodes[new], announces);
        let _echo = pod.echo(7);
        let took = first_reply(&pod, "192.168.20.2", start);
        println!("move {sequence}, announced: {announces}: reached {took:?} after it was attached");
        assert!(took <= scaled(MOVE), "{took:?}");
        stream.await_replies(1000);
        let losses = stream.finish();
        println!("  from a host of the fabric: {losses}; {:?}", losses.outages);
        let again = losses.outages.iter().skip(1).map(|outage| outage.lasts);
        assert!(again.clone().sum::<Duration>() <= scaled(AGAIN), "lost once more: {:?}", losses.outages);
        assert_moved(&fixture, &nodes, (old, new), sequence);
    }
}

/// The Pod as live migration makes it appear: it has its neighbors, and asks for none.
pub fn moved(node: &Node, announces: bool) -> Pod {
    let addresses = ["10.110.0.11/24", "2001:db8:110::11/64"];
    let spec = WorkloadSpec {
        name: "a1",
        bridge: "br-hs-110",
        mac: Some(MAC),
        addresses: &addresses,
        announces,
        ..WorkloadSpec::default()
    };
    let pod = Pod::of(node, &spec);
    for (family, gateway) in [("-4", "10.110.0.1"), ("-6", "2001:db8:110::1")] {
        pod.check(&["ip", "neighbor", "replace", gateway, "lladdr", GATEWAY_MAC, "dev", "eth0", "nud", "permanent"]);
        pod.check(&["ip", family, "route", "add", "default", "via", gateway]);
    }
    pod
}
