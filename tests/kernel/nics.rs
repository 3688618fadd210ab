//! Underlay NICs on the real kernel: what is observed of them, what returns with them, and what is repaired.

use std::collections::{BTreeMap, BTreeSet};

use perouter::kernel::model::{KernelState, Netns, NicFacts, StackedDevice};
use perouter::kernel::{Kernel, KernelOp, NetlinkKernel, diff};
use perouter::names::LINK_GROUP;
use perouter::types::{Family, IfName};

use crate::node::{Node, converge, error_chain, links_netns, reconcile, runtime};
use crate::three_vnis;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn wanted(nic: &str) -> KernelState {
    KernelState { nics: BTreeMap::from([(name(nic), Netns::Router)]), ..KernelState::default() }
}

async fn facts(kernel: &NetlinkKernel, asked: &str) -> NicFacts {
    kernel.observe_nics(&BTreeSet::from([name(asked)])).await.unwrap().remove(&name(asked)).unwrap()
}

/// A NIC with an alternative name and an address.
fn with_nic() -> Option<Node> {
    let node = Node::new()?;
    node.host("ip link add toswitch type veth peer name fabric; ip link set fabric up; ip link set toswitch up");
    node.host("ip link property add dev toswitch altname enp1s0f0np0; ip address add 192.168.11.3/24 dev toswitch");
    Some(node)
}

#[test]
fn an_alternative_name_is_observed_and_returns() {
    let Some(node) = with_nic() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let found = facts(&kernel, "enp1s0f0np0").await;
        assert_eq!((found.name, found.taken), (name("toswitch"), false));
        converge(&kernel, &wanted("toswitch")).await;
        let found = facts(&kernel, "enp1s0f0np0").await;
        assert_eq!((found.name, found.netns, found.taken), (name("toswitch"), Netns::Router, true));
        node.router("ip link property del dev toswitch altname enp1s0f0np0");
        reconcile(&kernel, &KernelState::default()).await;
    });
    node.host("ip link show dev enp1s0f0np0");
}

#[test]
fn addresses_of_a_nic_that_are_not_known_are_reported_once_more() {
    let Some(node) = with_nic() else { return };
    node.host("ip address add 192.168.13.3/24 dev toswitch; ip address add 2001:db8:11::3/64 dev toswitch");
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &wanted("toswitch")).await;
        // Of an address with a lifetime it would become a permanent one.
        node.router("ip address add 192.168.14.3/24 dev toswitch valid_lft 600 preferred_lft 600");
        let before = shown_addresses(&node);
        node.router("timeout 10 ip monitor address dev toswitch > /run/nic-monitor 2>&1 & sleep 0.5");
        let known = |addresses: &[&str]| {
            BTreeMap::from([(name("toswitch"), addresses.iter().map(|address| address.parse().unwrap()).collect())])
        };
        let all = known(&["192.168.11.3", "192.168.13.3", "2001:db8:11::3"]);
        assert_eq!(kernel.repeat_addresses(&all).await.unwrap(), 0);
        assert_eq!(kernel.repeat_addresses(&known(&["192.168.11.3"])).await.unwrap(), 2);
        assert_eq!(kernel.repeat_addresses(&BTreeMap::from([(name("absent"), BTreeSet::new())])).await.unwrap(), 0);
        let mut reported = String::new();
        for _ in 0..50 {
            reported = std::fs::read_to_string("/run/nic-monitor").unwrap();
            if ["192.168.13.3", "2001:db8:11::3"].iter().all(|address| reported.contains(address)) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        for (address, is_reported) in
            [("192.168.11.3", false), ("192.168.13.3", true), ("2001:db8:11::3", true), ("192.168.14.3", false)]
        {
            assert_eq!(reported.contains(address), is_reported, "{address}: {reported}");
        }
        assert!(!reported.contains("Deleted"), "{reported}");
        assert_eq!(shown_addresses(&node), before, "they stay as they are");
    });
}

/// The addresses of the NIC in the router namespace, without the link-local one and the seconds that are left.
fn shown_addresses(node: &Node) -> Vec<String> {
    let shown = node.router("ip -o address show dev toswitch");
    let words = |line: &str| {
        let words = line.split_whitespace().map(|word| if word.ends_with("sec") { "SECONDS" } else { word });
        words.collect::<Vec<_>>().join(" ")
    };
    let mut lines: Vec<String> = shown.lines().filter(|line| !line.contains("fe80")).map(words).collect();
    lines.sort();
    lines
}

#[test]
fn what_uses_a_nic_is_observed() {
    let Some(node) = with_nic() else { return };
    node.host("ip link add flannel.1 type vxlan id 1 dev toswitch dstport 8472; ip link add br0 type bridge");
    node.host("ip link set toswitch master br0");
    node.host("ip address add 192.168.12.3/24 dev toswitch valid_lft 600 preferred_lft 600");
    node.host("ip route add default via 192.168.11.2 proto dhcp; ip -6 route add default via fe80::1 dev toswitch");
    node.host("ip link add other type veth peer name peer; ip link set other up; ip link set peer up");
    node.host("ip link add fab0 link other type macvlan mode bridge");
    runtime().block_on(async {
        let servers = ["203.0.113.9", "192.168.11.77", "2001:db8::1"].map(|address| address.parse().unwrap());
        let kernel = node.kernel().await.observing_routes_to(servers.into());
        let found = facts(&kernel, "toswitch").await;
        let device = |name: &str, kind: &str| StackedDevice { name: name.into(), kind: kind.into() };
        assert_eq!(found.stacked, [device("flannel.1", "vxlan")].into());
        assert_eq!(facts(&kernel, "other").await.stacked, [device("fab0", "macvlan")].into());
        assert_eq!((found.master.as_deref(), found.kind.as_str()), (Some("br0"), "veth"));
        assert_eq!(found.leased, ["192.168.12.3/24".parse().unwrap()].into());
        assert_eq!(found.routes.only_default, [Family::Ipv4, Family::Ipv6].into());
        assert_eq!((found.routes.api_servers, found.routes.dhcp), (servers.into(), true));
        // A second default route, and a way to one of the addresses.
        node.host("ip address add 10.0.0.1/24 dev other; ip route add default via 10.0.0.2 metric 500");
        node.host("ip route add 203.0.113.0/24 via 10.0.0.2");
        let found = facts(&kernel, "toswitch").await;
        assert_eq!(found.routes.only_default, [Family::Ipv6].into());
        assert!(!found.routes.api_servers.contains(&servers[0]), "{:?}", found.routes);
        assert_eq!(facts(&kernel, "fab0").await.kind, "macvlan");
    });
}

/// What an administrator sees of a device.
fn shown(node: &Node, device: &str) -> String {
    let link =
        node.host(&format!("ip -d -o link show dev {device} | sed 's/^[0-9]*: //; s/@[^:]*//; s/qdisc.*qlen/qlen/; s/forward_delay_timer *[0-9.]*//'"));
    let addresses = node.host(&format!("ip -o -4 address show dev {device} | sed 's/^[0-9]*: //'"));
    let routes = node.host(&format!(
        "for f in -4 -6; do ip $f route show table all | grep ' {device} ' | grep -v 'local fe80' | sort; done"
    ));
    link + &addresses + &routes
}

#[test]
fn a_master_returns() {
    let Some(node) = with_nic() else { return };
    node.host("ip link add br0 type bridge; ip link set br0 up; ip link set toswitch master br0");
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &wanted("toswitch")).await;
        reconcile(&kernel, &KernelState::default()).await;
        assert!(node.host("ip link show dev toswitch").contains("master br0"));
        // One that is gone does not keep the NIC in the router.
        converge(&kernel, &wanted("toswitch")).await;
        node.host("ip link delete br0");
        reconcile(&kernel, &KernelState::default()).await;
    });
    assert!(node.host("ip address show dev toswitch").contains("192.168.11.3/24"));
}

#[test]
fn devices_on_top_of_a_nic_return_with_their_addresses_and_routes() {
    let Some(node) = with_nic() else { return };
    node.host("ip link add flannel.1 type vxlan id 1 dev toswitch local 192.168.11.3 dstport 8472 nolearning ttl 9");
    node.host("ip link set flannel.1 mtu 1400 address 02:00:00:00:00:99; ip link set flannel.1 up");
    node.host("ip address add 10.244.0.0/32 dev flannel.1; ip link add br0 type bridge; ip link set br0 up");
    node.host("ip route add 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink");
    node.host(
        "ip link add fab0 link toswitch type macvlan mode bridge; ip link set fab0 master br0; ip link set fab0 up",
    );
    node.host("ip address add 10.7.7.7/24 dev fab0; ip route add 10.8.0.0/16 via 10.7.7.1");
    let devices = ["flannel.1", "fab0"];
    let before = devices.map(|device| shown(&node, device));
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &wanted("toswitch")).await;
        assert!(!node.host("ip -o link").contains("flannel.1"), "the kernel deletes it with its device");
        assert_eq!(facts(&kernel, "toswitch").await.stacked, BTreeSet::new());
        // As after a crash in between.
        let record = std::fs::read_to_string(node.runtime.nics()).unwrap();
        std::fs::write(node.runtime.nics(), record.replace("\"taken\"", "\"returning\"")).unwrap();
        node.router(&format!("ip link set toswitch netns {}", node.host.display()));
        reconcile(&node.kernel().await, &KernelState::default()).await;
    });
    assert_eq!(devices.map(|device| shown(&node, device)), before);
    assert!(!node.runtime.nics().exists());
}

#[test]
fn what_a_nic_lost_in_the_router_is_repaired() {
    let Some(node) = with_nic() else { return };
    node.host("ip route add 203.0.113.0/24 via 192.168.11.2; ip address add 2001:db8:11::3/64 dev toswitch nodad");
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &wanted("toswitch")).await;
        for damage in [
            "ip link set toswitch down",
            "ip address delete 192.168.11.3/24 dev toswitch",
            "ip -6 address flush dev toswitch scope global",
            "ip link set toswitch down; ip link set toswitch name renamed",
            "ip link set toswitch down; ip link set toswitch name renamed; ip link set renamed up",
        ] {
            node.router(damage);
            let ops = reconcile(&kernel, &wanted("toswitch")).await;
            assert_eq!(ops, [KernelOp::RepairNic(name("toswitch"))], "{damage}");
            let inside = node.router("ip address show dev toswitch; ip route");
            for word in ["192.168.11.3/24", "2001:db8:11::3/64", ",UP", "203.0.113.0/24 via 192.168.11.2"] {
                assert!(inside.contains(word), "{damage}: no {word} in {inside}");
            }
            assert_eq!(reconcile(&kernel, &wanted("toswitch")).await, [], "{damage}");
        }
        // Known under its old name even so, and returned under it.
        node.router("ip link set toswitch down; ip link set toswitch name renamed");
        assert_eq!(facts(&kernel, "toswitch").await.netns, Netns::Router);
        reconcile(&kernel, &KernelState::default()).await;
    });
    assert!(node.host("ip address show dev toswitch").contains("192.168.11.3/24"));
}

#[test]
fn a_name_that_somebody_else_took_is_an_error_of_the_repair() {
    let Some(node) = with_nic() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &wanted("toswitch")).await;
        node.router("ip link set toswitch down; ip link set toswitch name renamed; ip link add toswitch type bridge");
        let error = kernel.apply(&KernelOp::RepairNic(name("toswitch"))).await.unwrap_err();
        assert!(error_chain(&error).contains("EEXIST"), "{}", error_chain(&error));
        node.router("ip link delete toswitch");
        reconcile(&kernel, &wanted("toswitch")).await;
        assert!(node.router("ip address show dev toswitch").contains("192.168.11.3/24"));
    });
}

#[test]
fn a_replaced_nic_does_not_collect_link_local_addresses() {
    let Some(node) = with_nic() else { return };
    let link_local = |text: &str| text.matches("inet6 fe80").count();
    let shown = "for i in $(seq 50); do ip -6 address show dev toswitch | grep -q fe80 && break; sleep 0.1; done; \
                 ip address show dev toswitch";
    runtime().block_on(async {
        let kernel = node.kernel().await;
        for _ in 0..3 {
            converge(&kernel, &wanted("toswitch")).await;
            // Another device under the same name.
            node.router("ip link delete toswitch");
            node.host(
                "ip link add toswitch type veth peer name fabric; ip link set fabric up; ip link set toswitch up",
            );
            converge(&kernel, &wanted("toswitch")).await;
            let inside = node.router(shown);
            assert!(inside.contains("192.168.11.3/24") && link_local(&inside) == 1, "{inside}");
            reconcile(&kernel, &KernelState::default()).await;
            let outside = node.host(shown);
            assert_eq!(link_local(&outside), 1, "{outside}");
        }
    });
}

#[test]
fn links_of_others_are_moved_out_of_a_namespace_before_it_is_removed() {
    let Some(node) = with_nic() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = three_vnis().state();
        converge(&kernel, &wanted).await;
        let pair = |name: &str| format!("ip link add {name} type veth peer name {name}p");
        node.vrf("v0", &pair("mon"));
        node.vrf("v0", &format!("ip link add grouped group {LINK_GROUP} type veth peer name groupedp"));
        node.host(&pair("taken"));
        node.vrf("v0", &pair("taken"));
        if matches!(links_netns("v0"), Netns::Vrf(_)) {
            node.vrf("v0", "ip link set vni100 down; ip link set vni100 name elsewhere");
            reconcile(&kernel, &KernelState::default()).await;
        } else {
            kernel.move_out_foreign_links().await.unwrap();
        }
        let host = node.host("ip -o link | cut -d: -f2");
        for (name, count) in [("mon", 2), ("taken", 2), ("foreign", 2), ("grouped", 2), ("elsewhere", 0)] {
            assert_eq!(host.matches(&format!(" {name}")).count(), count, "{name} in {host}");
        }
        node.router("ip link add spare type veth peer name sparep; ip link add fixed type bridge");
        let error = kernel.move_out_foreign_links().await.unwrap_err();
        let expected = "link fixed in the router network namespace is not from perouter and cannot be moved to the host: \
                        delete it (ip link delete fixed in that namespace)";
        assert_eq!(error_chain(&error), expected);
        node.router("ip link delete fixed");
        kernel.move_out_foreign_links().await.unwrap();
        node.host("ip link show dev spare");
    });
}

#[test]
fn ipv6_is_enabled_on_links_of_ours_where_the_host_disables_it() {
    let Some(node) = Node::new() else { return };
    node.host("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = three_vnis().state();
        converge(&kernel, &wanted).await;
        assert!(node.host("ip -6 address show dev host-101").contains("scope global"));
        // Only where an address of ours needs it.
        assert_eq!(node.host("sysctl -n net.ipv6.conf.host-100.disable_ipv6"), "1\n");
        node.host("sysctl -qw net.ipv6.conf.host-101.disable_ipv6=1; sleep 0.1");
        let ops = diff(&wanted, &kernel.observe(&BTreeSet::new()).await.unwrap());
        assert_eq!(ops.len(), 1, "{ops:?}");
        converge(&kernel, &wanted).await;
    });
}
