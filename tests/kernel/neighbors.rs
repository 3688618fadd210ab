//! Neighbor entries of an L2 segment on the real kernel: those of silent workloads stay, those of workloads that are gone go, and
//! a workload that moves here is known at once.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use perouter::kernel::model::LinkKey;
use perouter::kernel::{Kernel, NetlinkKernel};
use perouter::names::Role;
use perouter::types::MacAddr;

use crate::node::{Node, converge, links_netns, runtime};
use crate::{link_key, three_vnis};

const MAC: &str = "0a:58:00:00:00:11";
const ADDRESSES: [&str; 2] = ["10.110.0.11", "fd00:110::11"];
/// The kernel asks a silent neighbor within seconds, not within the usual minute.
const FAST: &str = "for f in ipv4 ipv6; do cd /proc/sys/net/$f/neigh/br-pe-110; echo 500 > base_reachable_time_ms; \
                    echo 1 > delay_first_probe_time; echo 100 > retrans_time_ms; echo 200 > interval_probe_time_ms; done";

fn bridge() -> LinkKey {
    link_key(links_netns("v0"), Role::Bridge, 110)
}

/// The bridge of a segment as a gateway is: while its link-local address is tentative, the kernel sends no Neighbor Solicitation to
/// confirm an entry (Linux `net/ipv6/ndisc.c`: `ndisc_send_ns`).
fn add_bridge(node: &Node) {
    node.vrf("v0", "ip link add br-pe-110 group 0x5046 type bridge");
    node.vrf("v0", "for f in accept_dad dad_transmits; do echo 0 > /proc/sys/net/ipv6/conf/br-pe-110/$f; done");
    node.vrf("v0", "ip link set br-pe-110 up");
}

/// A segment with a workload in the host's namespace, which is silent.
async fn segment(node: &Node, kernel: &NetlinkKernel) {
    converge(kernel, &three_vnis().state()).await;
    add_bridge(node);
    node.vrf("v0", "ip address add 10.110.0.1/24 dev br-pe-110; ip address add fd00:110::1/64 dev br-pe-110 nodad");
    node.vrf("v0", "ip link add port type veth peer name eth0; ip link set port addrgenmode none master br-pe-110 up");
    let host = node.host.display();
    node.vrf("v0", &format!("ip link set eth0 netns {host}"));
    node.host(&format!("ip link set eth0 address {MAC} addrgenmode none up; ip address add 10.110.0.11/24 dev eth0"));
    node.host("ip address add fd00:110::11/64 dev eth0 nodad");
    node.vrf("v0", FAST);
}

fn speak(node: &Node) {
    node.host("ping -c 1 -W 2 10.110.0.1; ping -c 1 -W 2 fd00:110::1");
}

/// Without those of IPv6 link-local addresses.
fn entries(node: &Node) -> Vec<String> {
    let shown = node.vrf("v0", "ip neigh show dev br-pe-110");
    shown.lines().filter(|line| !line.starts_with("fe80")).map(str::to_owned).collect()
}

fn all_managed(entries: &[String]) -> bool {
    entries.len() == 2 && entries.iter().all(|entry| entry.contains(" managed") && entry.contains(MAC))
}

/// Polls until it is so.
async fn until(node: &Node, limit: Duration, what: &str, reached: impl Fn(&[String]) -> bool) -> Duration {
    let begin = Instant::now();
    loop {
        let found = entries(node);
        if reached(&found) {
            return begin.elapsed();
        }
        assert!(begin.elapsed() < limit, "{what}: {found:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn known() -> BTreeSet<(std::net::IpAddr, MacAddr)> {
    ADDRESSES.map(|address| (address.parse().unwrap(), MAC.parse().unwrap())).into()
}

/// The kernel of a node whose workload has spoken, with its entries kept.
async fn kept_segment(node: &Node) -> NetlinkKernel {
    let kernel = node.kernel().await;
    segment(node, &kernel).await;
    kernel.keep_neighbors(&[bridge()].into()).await.unwrap();
    speak(node);
    until(node, Duration::from_secs(2), "kept", all_managed).await;
    kernel
}

#[test]
fn the_entries_of_a_silent_workload_stay_and_those_of_one_that_is_gone_go() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        segment(&node, &kernel).await;
        // One that is known before, as after a restart of perouter, and one that appears.
        node.host("ping -c 1 -W 2 10.110.0.1");
        kernel.keep_neighbors(&[bridge()].into()).await.unwrap();
        speak(&node);
        until(&node, Duration::from_secs(2), "kept", all_managed).await;
        // It sends nothing by itself. The kernel goes on asking it: its entries become reachable again and again.
        let mut reachable = BTreeSet::new();
        for _ in 0..60 {
            let found = entries(&node);
            assert!(all_managed(&found), "{found:?}");
            reachable.extend(
                found.into_iter().filter(|entry| entry.ends_with("REACHABLE ") || entry.ends_with("REACHABLE")),
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(reachable.len(), 2, "{reachable:?}");
        node.host("ip link set eth0 down");
        until(&node, Duration::from_secs(10), "gone", <[String]>::is_empty).await;
        // Nothing asks for it any more.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(entries(&node), [""; 0]);
    });
}

#[test]
fn no_entries_are_kept_of_other_bridges() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = kept_segment(&node).await;
        kernel.keep_neighbors(&BTreeSet::new()).await.unwrap();
        node.vrf("v0", "ip neigh flush dev br-pe-110");
        speak(&node);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let found = entries(&node);
        assert!(found.len() == 2 && !found.iter().any(|entry| entry.contains("managed")), "{found:?}");
        // A bridge that does not exist has no entries; one that is made later is found by the next pass.
        node.vrf("v0", "ip link del br-pe-110");
        kernel.keep_neighbors(&[bridge()].into()).await.unwrap();
        assert_eq!(kernel.repeat_neighbors(&bridge(), &BTreeSet::new()).await.unwrap(), 0);
    });
}

/// Reads what is known until it is so.
async fn until_known(node: &Node, kernel: &NetlinkKernel, expected: &BTreeSet<(std::net::IpAddr, MacAddr)>) {
    let begin = Instant::now();
    loop {
        let found = kernel.local_neighbors(&bridge()).await.unwrap();
        if found == *expected {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(2), "{found:?}, and the kernel has {:?}", entries(node));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the bridge has learned the MAC address of the workload from its reply; returns how long that took.
async fn until_learned(node: &Node) -> Duration {
    let begin = Instant::now();
    while !node.vrf("v0", "bridge fdb show br br-pe-110 dynamic").contains(MAC) {
        assert!(begin.elapsed() < Duration::from_secs(2));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    begin.elapsed()
}

#[test]
fn the_workloads_of_a_bridge_that_others_delete_or_set_down_are_known_and_probed_on_the_next() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = kept_segment(&node).await;
        until_known(&node, &kernel, &known()).await;
        for _ in 0..2 {
            node.vrf("v0", "ip link del br-pe-110");
            // Also by a pass that finds no bridge.
            assert_eq!(kernel.local_neighbors(&bridge()).await.unwrap(), known());
            kernel.keep_neighbors(&[bridge()].into()).await.unwrap();
            assert_eq!(kernel.local_neighbors(&bridge()).await.unwrap(), known());
            add_bridge(&node);
            node.vrf(
                "v0",
                "ip address add 10.110.0.1/24 dev br-pe-110; ip address add fd00:110::1/64 dev br-pe-110 nodad",
            );
            // The kernel takes up to a second to find that a bridge has carrier, and finds it at once where somebody reads it.
            node.vrf("v0", "ip link set port master br-pe-110; ip link show br-pe-110");
            node.vrf("v0", FAST);
            kernel.keep_neighbors(&[bridge()].into()).await.unwrap();
            assert_eq!(kernel.restore_neighbors(&bridge(), &known()).await.unwrap(), Some(2));
            let took = until_learned(&node).await;
            until(&node, Duration::from_secs(2), "kept again", all_managed).await;
            println!("replied after {} ms", took.as_millis());
            assert_eq!(kernel.local_neighbors(&bridge()).await.unwrap(), known());
        }
        node.vrf("v0", "ip link set br-pe-110 down");
        until(&node, Duration::from_secs(2), "removed by the kernel", <[String]>::is_empty).await;
        assert_eq!(kernel.local_neighbors(&bridge()).await.unwrap(), known());
        node.vrf(
            "v0",
            "ip link set br-pe-110 up; ip address replace fd00:110::1/64 dev br-pe-110 nodad; ip link show br-pe-110",
        );
        assert_eq!(kernel.restore_neighbors(&bridge(), &known()).await.unwrap(), Some(2));
        until(&node, Duration::from_secs(2), "kept again", all_managed).await;
        // The bridge has lost what it learned on its port, and learns it again.
        node.vrf("v0", "ip link set port nomaster; ip link set port master br-pe-110");
        assert_eq!(kernel.restore_neighbors(&bridge(), &known()).await.unwrap(), Some(2));
        until_learned(&node).await;
        until(&node, Duration::from_secs(2), "kept", all_managed).await;
        // Of a bridge of which nothing is kept there is nothing to know.
        assert_eq!(kernel.local_neighbors(&bridge()).await.unwrap(), known());
        kernel.keep_neighbors(&BTreeSet::new()).await.unwrap();
        node.vrf("v0", "ip link del br-pe-110");
        assert_eq!(kernel.local_neighbors(&bridge()).await.unwrap(), BTreeSet::new());
    });
}

#[test]
fn a_learned_mac_that_is_not_known_is_learned_again() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = kept_segment(&node).await;
        // One of another node.
        node.vrf("v0", "bridge fdb add 0a:58:00:00:00:12 dev port master dynamic extern_learn");
        let monitored = "/run/pkrn-monitor-fdb";
        node.vrf("v0", &format!("timeout 1 bridge monitor fdb > {monitored} 2>&1 & sleep 0.3"));
        let known = |macs: &[&str]| macs.iter().map(|mac| mac.parse().unwrap()).collect();
        let macs: BTreeSet<MacAddr> = known(&[MAC, "0a:58:00:00:00:12", "0a:58:00:00:00:13"]);
        assert_eq!(kernel.learn_again(&bridge(), &known(&[])).await.unwrap(), 0);
        assert_eq!(kernel.learn_again(&bridge(), &macs).await.unwrap(), 2, "its neighbors are probed");
        until_learned(&node).await;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let reported = std::fs::read_to_string(monitored).unwrap();
        let of_mac: Vec<bool> =
            reported.lines().filter(|line| line.contains(MAC)).map(|line| line.starts_with("Deleted")).collect();
        assert_eq!(of_mac, [true, false], "{reported}");
        assert!(!reported.contains("0a:58:00:00:00:12"), "{reported}");
        assert!(all_managed(&entries(&node)), "{:?}", entries(&node));
        node.vrf("v0", "ip link del br-pe-110");
        assert_eq!(kernel.learn_again(&bridge(), &macs).await.unwrap(), 0, "no bridge");
    });
}

#[test]
fn entries_that_are_not_known_are_reported_once_more() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = kept_segment(&node).await;
        // Of another node: zebra installed it.
        node.vrf("v0", "ip neigh add 10.110.0.12 lladdr 0a:58:00:00:00:12 dev br-pe-110 nud noarp extern_learn");
        let monitored = || {
            node.vrf("v0", "timeout 1 ip monitor neigh dev br-pe-110 > /run/pkrn-monitor 2>&1 & sleep 0.3");
        };
        monitored();
        assert_eq!(kernel.repeat_neighbors(&bridge(), &known()).await.unwrap(), 0);
        assert_eq!(kernel.repeat_neighbors(&bridge(), &BTreeSet::new()).await.unwrap(), 2);
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let reported = std::fs::read_to_string("/run/pkrn-monitor").unwrap();
        for address in ADDRESSES {
            let lines = reported.lines().filter(|line| line.starts_with(address) && line.contains(MAC));
            assert!(lines.clone().count() >= 1, "{address}: {reported}");
            assert!(lines.clone().all(|line| !line.contains("FAILED")), "{reported}");
        }
        assert!(!reported.contains("10.110.0.12"), "{reported}");
        let found = entries(&node);
        assert_eq!(found.iter().filter(|entry| entry.contains(" managed")).count(), 2, "{found:?}");
    });
}

#[test]
fn a_workload_that_moves_here_is_known_with_its_first_frame() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        segment(&node, &kernel).await;
        kernel.keep_neighbors(&[bridge()].into()).await.unwrap();
        // It was on another node until now, behind another port, as zebra has installed it.
        node.vrf("v0", "ip link add far type veth peer name beyond; ip link set far master br-pe-110 up");
        for address in ADDRESSES {
            let entry = format!("{address} lladdr {MAC} dev br-pe-110 nud noarp extern_learn");
            node.vrf("v0", &format!("ip neigh replace {entry}"));
        }
        node.vrf("v0", "ip neigh add 10.110.0.12 lladdr 0a:58:00:00:00:12 dev br-pe-110 nud noarp extern_learn");
        // At last: any frame of the kernel's own, such as a report of its groups, is the first one from then on.
        node.vrf("v0", &format!("bridge fdb replace {MAC} dev far master dynamic extern_learn"));
        // A frame to another workload, no ARP: live migration without an announcement.
        node.host("ip neigh add 10.110.0.77 lladdr 0a:58:00:00:00:77 dev eth0; ping -c 1 -W 0.1 10.110.0.77 || true");
        let is_here = |entries: &[String]| {
            let of = |address: &str| entries.iter().find(|entry| entry.starts_with(&format!("{address} "))).cloned();
            ADDRESSES.iter().all(|address| {
                of(address).is_some_and(|entry| entry.contains(" managed") && !entry.contains("extern_learn"))
            }) && of("10.110.0.12").is_some_and(|entry| entry.contains("extern_learn"))
        };
        let took = until(&node, Duration::from_secs(1), "here", is_here).await;
        println!("known here after {} ms", took.as_millis());
        // zebra has a host route to the other node until that one withdraws it.
        let is_selected = |lines: &[String], address: &str| {
            lines.iter().filter(|line| line.contains(address) && line.contains("dev br-pe-110")).count() == 2
        };
        let both = format!("{OUR_ROUTES}; ip route get {}; ip route get {}", ADDRESSES[0], ADDRESSES[1]);
        until_routes(&node, &both, "those of both addresses", |lines| {
            ADDRESSES.iter().all(|address| is_selected(lines, address))
        })
        .await;
        until_routes(&node, OUR_ROUTES, "none after a while", <[String]>::is_empty).await;
        // One that a keeper has left behind.
        kernel.keep_neighbors(&BTreeSet::new()).await.unwrap();
        node.vrf("v0", "ip route add 10.110.0.11/32 dev br-pe-110 proto 243 metric 1");
        kernel.keep_neighbors(&[bridge()].into()).await.unwrap();
        until_routes(&node, OUR_ROUTES, "none of a former keeper", <[String]>::is_empty).await;
    });
}

/// Shows the routes to workloads that have moved here.
const OUR_ROUTES: &str = "ip -4 route show table all proto 243; ip -6 route show table all proto 243";

/// Waits until the routes that `command` shows are so.
async fn until_routes(node: &Node, command: &str, what: &str, reached: impl Fn(&[String]) -> bool) {
    let begin = Instant::now();
    loop {
        let shown = node.vrf("v0", command);
        let routes: Vec<_> = shown.lines().map(str::to_owned).collect();
        if reached(&routes) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{what}: {routes:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
