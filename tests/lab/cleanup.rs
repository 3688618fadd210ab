//! `perouter cleanup` restores the node to its state before perouter.

use std::collections::BTreeSet;

use perouter::names::LINK_GROUP;
use perouter_lab::node::Node;
use serde_json::Value;

use super::fixture::{Fixture, Setup, until_true};
use super::kernel_state::links;

/// Addresses, MAC, MTU, state and routes of the NIC.
fn nic(node: &Node) -> BTreeSet<String> {
    let read = |words: &[&str]| -> Vec<Value> { serde_json::from_str(&node.check(words).unwrap()).unwrap_or_default() };
    let mut found = BTreeSet::new();
    for link in read(&["ip", "-j", "address", "show", "toswitch"]) {
        found.insert(format!("mtu {} mac {} {}", link["mtu"], link["address"], link["operstate"]));
        for address in link["addr_info"].as_array().into_iter().flatten() {
            found.insert(format!("address {}/{} {}", address["local"], address["prefixlen"], address["scope"]));
        }
    }
    for family in ["-4", "-6"] {
        for route in read(&["ip", family, "-j", "route", "show", "dev", "toswitch", "table", "all"]) {
            found.insert(format!("route {} via {} metric {}", route["dst"], route["gateway"], route["metric"]));
        }
    }
    found
}

/// Processes, mounts and files of the router on a node.
fn remaining(node: &Node) -> Vec<String> {
    let script = "for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null | grep /run/perouter; done; \
                  grep -E '/run/(netns/)?perouter' /proc/mounts; ls -d /run/perouter /run/netns/perouter 2>/dev/null; true";
    let output = node.check(&["bash", "-c", script]).unwrap();
    // The command line of the script itself contains the patterns.
    output.lines().filter(|line| !line.starts_with("bash -c")).map(str::to_owned).collect()
}

#[test]
fn cleanup_returns_the_nic_and_leaves_nothing_behind() {
    let Some(mut fixture) = Fixture::deploy("cleanup", &[0], &Setup::example()) else { return };
    let node = fixture.router().node.clone();
    for words in [
        "link set toswitch mtu 1450",
        "address add 192.168.11.103/24 dev toswitch",
        "address add 2001:db8:11::3/64 dev toswitch nodad",
        "route add 203.0.113.0/24 via 192.168.11.2 dev toswitch metric 77",
        "-6 route add 2001:db8:ffff::/48 via 2001:db8:11::2 dev toswitch",
    ] {
        node.check(&std::iter::once("ip").chain(words.split(' ')).collect::<Vec<_>>()).unwrap();
    }
    until_true("the link-local address of the NIC", || nic(&node).iter().any(|line| line.contains("fe80::/64")));
    let nic_before = nic(&node);
    for run in 1..=2 {
        if run == 2 {
            // A link of others in the link group of ours.
            node.check(&["ip", "link", "add", "other", "group", &LINK_GROUP.to_string(), "type", "veth", "peer"])
                .unwrap();
        }
        let links_before = links(&node);
        fixture.router().start();
        if run == 1 {
            fixture.start_hosts();
        }
        fixture.await_services();
        fixture.router().await_ready(&[100, 200]);
        let mtu = node.check(&["cat", "/sys/class/net/host-100/mtu"]).unwrap();
        assert_eq!(mtu.trim(), "1400", "the MTU of the NIC minus 50 bytes of VXLAN overhead");
        fixture.router().terminate();
        let cleanup = fixture.router().perouter(&["cleanup"]);
        assert!(cleanup.success(), "{cleanup:?}");
        let printed = |words: &str| cleanup.stdout.contains(words);
        let vrf_deleted = printed("netns delete red") || printed("link delete red");
        assert!(printed("toswitch") && vrf_deleted, "{}", cleanup.stdout);
        assert_eq!(remaining(&node), Vec::<String>::new());
        assert_eq!(links(&node), links_before);
        until_true("the NIC restored", || nic(&node) == nic_before);
        let again = fixture.router().perouter(&["cleanup"]);
        assert!(again.success(), "{again:?}");
        assert_eq!((remaining(&node), nic(&node)), (vec![], nic_before.clone()));
    }
}
