//! The kernel port on the real kernel, in separate namespaces for each test, in the VRF mode `PEROUTER_VRF_MODE`. Needs
//! root, and for `vrf` a kernel with VRF devices (`make test-vrf`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use perouter::kernel::model::{HostMaster, KernelState, LinkKey, LinkKind, Netns};
use perouter::kernel::{Kernel, KernelOp, NetlinkKernel, Outcome, diff, evpn_entries, netns, nftables};
use perouter::names::{LINK_GROUP, OwnedName, Role, SEGMENT_GROUP};
use perouter::types::{Family, IfName, MacAddr, TableId, Vni, VrfMode};
use perouter::{kernel, names, scope, types};
use proptest::test_runner::{Config, TestRunner};

use self::generated::{Segment, Session, Spec, World, drift, drift_op, in_view_of, world};
use self::node::{
    Node, converge, converge_eventually, error_chain, has_nftables, has_source_filters, links_netns, mode,
    outcome_text, reconcile, runtime, second_port,
};

#[path = "../src/kernel/diff/generated.rs"]
mod generated;
#[path = "kernel/host_ports.rs"]
mod host_ports;
#[path = "kernel/neighbors.rs"]
mod neighbors;
#[path = "kernel/nics.rs"]
mod nics;
#[path = "kernel/node.rs"]
mod node;

fn three_vnis() -> World {
    let spec = |session| Spec { port: 4789, mtu: 1450, mac: 1, strict: false, session };
    let both = Session { ipv4: Some(2), ipv6: Some(2), listen: second_port() };
    let specs = BTreeMap::from([
        (0, spec(Some(Session { ipv6: None, ..both.clone() }))),
        (1, spec(Some(both))),
        (2, spec(None)),
    ]);
    let vtep = "100.65.0.1/32".parse().unwrap();
    World { mode: mode(), vtep, shift: 0, specs, segments: BTreeMap::new(), filters: has_source_filters() }
}

fn link_key(netns: Netns, role: Role, vni: u32) -> LinkKey {
    LinkKey { netns, name: OwnedName::Vni(role, Vni::try_from(vni).unwrap()) }
}

#[test]
fn three_vnis_are_configured_and_observed_as_wanted() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &three_vnis().state()).await;
        let shown = node.vrf("v0", "ip -d link show dev vni100");
        for word in [
            "vxlan id 100 local 100.65.0.1",
            "dstport 4789",
            "nolearning",
            "tos 0x2",
            "neigh_suppress on",
            "addrgenmode none",
        ] {
            assert!(shown.contains(word), "{word} in {shown}");
        }
        assert!(shown.contains("alias perouter VNI 100"), "{shown}");
        let bridge = node.vrf("v0", "ip -d link show dev br-pe-100");
        assert!(bridge.contains("stp_state 0") && bridge.contains("forward_delay 0 "), "{bridge}");
        assert!(node.vrf("v1", "ip -6 address show dev pe-101").contains("2001:db8:101::1/64 scope global nodad"));
        assert!(node.host("ip address show dev host-101").contains("state UP"));
        assert!(node.router("ip link show dev lo").contains("UP"));
        let settings =
            "for s in accept_redirects send_redirects route_localnet; do sysctl -n net.ipv4.conf.LINK.$s; done";
        for link in ["br-pe-100", "pe-101"] {
            let vrf = if link == "pe-101" { "v1" } else { "v0" };
            assert_eq!(node.vrf(vrf, &settings.replace("LINK", link)), "0\n0\n0\n", "{link}");
        }
        assert_eq!(node.host(&settings.replace("LINK", "host-101")), "0\n0\n0\n");
        // A kernel port that is opened later observes the same.
        let other = node.kernel().await;
        assert_eq!(diff(&three_vnis().state(), &other.observe(&BTreeSet::new()).await.unwrap()), []);
    });
}

#[test]
fn encapsulated_packets_leave_through_the_router_namespace() {
    let Some(node) = Node::new() else { return };
    node.host("ip link add fabric type veth peer name toswitch");
    node.host(&format!("ip link set toswitch netns {}", node.runtime.router_netns().display()));
    node.router("ip link set toswitch up; ip address add 10.0.0.1/24 dev toswitch");
    node.host("ip link set fabric up; ip address add 10.0.0.2/24 dev fabric; ip address add 100.65.0.2/32 dev lo");
    node.router("ip route add 100.65.0.2/32 via 10.0.0.2");
    node.host("ip route add 100.65.0.1/32 via 10.0.0.1");
    // The other VTEP: a VXLAN device of the host namespace.
    node.host("ip link add remote type vxlan id 100 local 100.65.0.2 remote 100.65.0.1 dstport 4789");
    node.host("ip link set remote up; ip address add 172.16.0.2/24 dev remote");
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &three_vnis().state()).await;
    });
    node.vrf("v0", "bridge fdb append 00:00:00:00:00:00 dev vni100 dst 100.65.0.2 self");
    node.vrf(
        "v0",
        "ip address add 172.16.0.1/24 dev br-pe-100; ip link set vni100 type bridge_slave neigh_suppress off",
    );
    let ping = node.vrf("v0", "ping -c 3 -i 0.2 -W 2 -I br-pe-100 172.16.0.2");
    assert!(ping.contains(" 0% packet loss"), "{ping}");
}

#[test]
fn the_fdb_of_a_vxlan_device_is_not_that_of_its_bridge() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &three_vnis().state()).await;
        let device = link_key(links_netns("v0"), Role::Vxlan, 100);
        assert_eq!(kernel.fdb(&device).await.unwrap(), BTreeSet::new());
        // As zebra installs the router MAC of a VTEP.
        let mac = "02:00:64:41:00:09";
        node.vrf("v0", &format!("bridge fdb add {mac} dev vni100 master dynamic extern_learn"));
        assert_eq!(kernel.fdb(&device).await.unwrap(), BTreeSet::new());
        node.vrf("v0", &format!("bridge fdb append {mac} dev vni100 dst 100.65.0.9 self dynamic extern_learn"));
        assert_eq!(kernel.fdb(&device).await.unwrap(), [mac.parse().unwrap()].into());
        node.vrf("v0", "bridge fdb flush dev vni100 self");
        assert_eq!(kernel.fdb(&device).await.unwrap(), BTreeSet::new());
        assert!(node.vrf("v0", "bridge fdb show dev vni100").contains(mac), "the bridge still has it");
    });
}

/// Two VTEPs, each of whose entries the bridge has for no VLAN and, with VLAN filtering in the kernel, for VLAN 1.
#[test]
fn the_entries_of_all_vteps_lose_the_mark_of_zebra() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &three_vnis().state()).await;
        let vteps = [("02:00:64:41:00:08", "100.65.0.8"), ("02:00:64:41:00:09", "100.65.0.9")];
        for (mac, vtep) in vteps {
            node.vrf(
                "v0",
                &format!(
                    "bridge fdb add {mac} dev vni100 master dynamic extern_learn
                     bridge fdb append {mac} dev vni100 dst {vtep} self dynamic extern_learn
                     ip neigh add {vtep} lladdr {mac} dev br-pe-100 nud noarp extern_learn"
                ),
            );
        }
        let entries = || node.vrf("v0", "bridge fdb show dev vni100; ip neigh show nud all dev br-pe-100");
        assert!(entries().contains("extern_learn"), "{}", entries());
        evpn_entries::keep(&node.runtime).await.unwrap();
        assert!(!entries().contains("extern_learn"), "{}", entries());
        for (mac, vtep) in vteps {
            for kept in [format!("{mac} dst {vtep} "), format!("{vtep} lladdr {mac} NOARP")] {
                assert!(entries().contains(&kept), "{kept}: {}", entries());
            }
        }
        assert_eq!(evpn_entries::keep(&node.runtime).await.unwrap(), 0);
    });
}

/// Of settings that the kernel reports and of those that are polled.
#[test]
fn drift_of_settings_that_isolation_rests_on_is_repaired_before_their_age() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = three_vnis().state();
        converge(&kernel, &wanted).await;
        // What was changed just now has been noticed.
        while tokio::time::timeout(Duration::from_millis(1500), kernel.changed()).await.is_ok() {}
        for (setting, drifted) in [
            ("ipv4.conf.all.accept_redirects", 1),
            ("ipv4.conf.all.send_redirects", 1),
            ("ipv4.conf.all.route_localnet", 1),
            ("ipv4.conf.all.rp_filter", 1),
            ("ipv4.conf.all.forwarding", 0),
            ("ipv6.conf.all.forwarding", 0),
            ("ipv4.conf.pe-100.forwarding", 0),
            ("ipv4.conf.br-pe-100.forwarding", 0),
            ("ipv6.conf.pe-101.forwarding", 0),
            ("ipv4.conf.pe-100.rp_filter", 0),
            ("ipv4.conf.br-pe-100.rp_filter", 1),
            ("ipv4.conf.pe-100.route_localnet", 1),
            ("ipv4.conf.br-pe-100.send_redirects", 1),
            ("ipv4.conf.host-100.route_localnet", 1),
        ] {
            let start = std::time::Instant::now();
            let line = format!("sysctl -qw net.{setting}={drifted}");
            match () {
                () if setting.contains(".host-") => node.host(&line),
                () if setting.contains("-101.") => node.vrf("v1", &line),
                () => node.vrf("v0", &line),
            };
            // By an event or a poll: settings are read for their age after 30 s. Something else may be reported before.
            let repair = format!("sysctl net.{setting}=");
            while !reconcile(&kernel, &wanted).await.iter().any(|op| op.to_string().contains(&repair)) {
                assert!(start.elapsed() < Duration::from_secs(5), "{setting}");
                let _unless_nothing_is_reported = tokio::time::timeout(Duration::from_secs(2), kernel.changed()).await;
            }
            eprintln!("{setting}: repaired after {:?}", start.elapsed());
            converge(&kernel, &wanted).await;
            while tokio::time::timeout(Duration::from_millis(900), kernel.changed()).await.is_ok() {}
        }
    });
}

/// A namespace may have another default: it is that of the host's when it is created.
#[test]
fn a_new_link_forwards_whatever_the_default_is() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let world = three_vnis();
        converge(&kernel, &world.state()).await;
        let line = "sysctl -qw net.ipv4.conf.default.forwarding=0";
        node.vrf("v0", line);
        node.host(line);
        node.vrf("v0", "ip link del pe-100; ip link del br-pe-100");
        converge(&kernel, &world.state()).await;
        for link in ["pe-100", "br-pe-100"] {
            let shown = node.vrf("v0", &format!("sysctl -n net.ipv4.conf.{link}.forwarding"));
            assert_eq!(shown, "1\n", "{link}");
        }
        assert_eq!(node.host("sysctl -n net.ipv4.conf.host-100.forwarding"), "0\n", "it is the host's own");
    });
}

#[test]
fn a_filter_of_ipv6_sources_is_recognised_and_repaired() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        assert_eq!(kernel.has_source_filters().await.unwrap(), has_source_filters());
        let wanted = three_vnis().state();
        converge(&kernel, &wanted).await;
        if !has_source_filters() {
            assert_eq!(wanted.source_filters.len(), 0);
            return;
        }
        let table = "perouter-101-source";
        let shown = node.vrf("v1", &format!("nft list table inet {table}"));
        let rule = "ip6 saddr != fe80::/10 ip6 saddr != :: fib saddr oif 0 counter packets 0 bytes 0 drop";
        assert!(shown.contains(rule), "{shown}");
        node.vrf("v1", &format!("nft flush chain inet {table} source"));
        let repaired: Vec<String> = reconcile(&kernel, &wanted).await.iter().map(ToString::to_string).collect();
        assert_eq!(repaired.len(), 2, "{repaired:?}");
        node.vrf("v1", &format!("nft delete table inet {table}"));
        converge(&kernel, &wanted).await;
    });
}

#[test]
fn tables_of_others_that_drop_packets_are_found() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &three_vnis().state()).await;
        let found = async || {
            let netns = netns::open(node.runtime.router_netns()).unwrap();
            let tables = nftables::read_others(&netns).await.unwrap();
            tables.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(found().await, [""; 0]);
        if !has_nftables() {
            return;
        }
        let table = |table: &str, chain: &str, rule: &str| {
            node.router(&format!(
                "nft 'add table {table}; add chain {table} in {{ {chain} }}; add rule {table} in {rule}'"
            ));
        };
        let hook = "type filter hook input priority 0;";
        table("inet counts", hook, "tcp dport 179 counter accept");
        table("inet unused", "", "drop");
        assert_eq!(found().await, [""; 0]);
        table("ip closed", &format!("{hook} policy drop;"), "accept");
        table("ip6 rejects", hook, "tcp dport 179 reject");
        table("inet drops", hook, "udp dport 4789 drop");
        assert_eq!(found().await, ["inet drops", "ip closed", "ip6 rejects"]);
        for table in ["inet counts", "inet unused", "ip closed", "ip6 rejects", "inet drops"] {
            node.router(&format!("nft delete table {table}"));
        }
        assert_eq!(found().await, [""; 0]);
    });
}

type Edit = (&'static str, fn(&mut World));

#[test]
fn edits_converge() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let mut world = three_vnis();
        converge(&kernel, &world.state()).await;
        let edits: Vec<Edit> = vec![
            ("mtu", |world| world.specs.get_mut(&0).unwrap().mtu = 8950),
            ("mtu back", |world| world.specs.get_mut(&0).unwrap().mtu = 1450),
            ("mac", |world| world.specs.get_mut(&0).unwrap().mac = 9),
            ("port", |world| world.specs.get_mut(&1).unwrap().port = 4790),
            ("addresses", |world| {
                world.specs.get_mut(&1).unwrap().session = Some(Session { ipv4: Some(7), ipv6: None, listen: None });
            }),
            ("vtep", |world| world.vtep = "100.65.0.9/32".parse().unwrap()),
            ("vtep ipv6", |world| world.vtep = "2001:db8:65::1/128".parse().unwrap()),
            ("vni", |world| {
                let spec = world.specs.remove(&0).unwrap();
                world.specs.insert(3, spec);
            }),
            ("vrf", |world| world.shift = 2),
            ("session removed", |world| world.specs.get_mut(&1).unwrap().session = None),
            ("one VNI removed", |world| {
                world.specs.remove(&2);
            }),
        ];
        for (what, edit) in edits {
            edit(&mut world);
            eprintln!("{what}");
            converge(&kernel, &world.state()).await;
        }
    });
}

#[test]
fn a_configured_bridge_mtu_is_independent_of_the_ports() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let mut wanted = three_vnis().state();
        wanted.links.get_mut(&link_key(links_netns("v0"), Role::Bridge, 100)).unwrap().mtu = Some(1400);
        converge(&kernel, &wanted).await;
        wanted.links.get_mut(&link_key(links_netns("v0"), Role::Vxlan, 100)).unwrap().mtu = Some(1500);
        converge(&kernel, &wanted).await;
    });
}

#[test]
fn generated_states_converge() {
    let Some(node) = Node::new() else { return };
    let runtime = runtime();
    let kernel = runtime.block_on(node.kernel());
    let modes: &[VrfMode] = if mode() == VrfMode::Vrf { &[VrfMode::Vrf] } else { &[VrfMode::Netns] };
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let cases = (world(modes), drift());
    runner
        .run(&cases, |(world, drifts)| {
            runtime.block_on(async {
                let mut wanted = world.state();
                if !has_source_filters() {
                    wanted.source_filters.clear();
                }
                if !has_nftables() {
                    wanted.listen_ports.clear();
                }
                converge(&kernel, &wanted).await;
                let mut state = wanted.clone();
                for drift in drifts {
                    // Each drift is observed before the next one, which it may make impossible.
                    if let Some(op) = drift_op(&state, drift) {
                        kernel.apply(&op).await.unwrap_or_else(|error| panic!("{op}: {}", error_chain(&error)));
                        state =
                            in_view_of(&wanted, Arc::unwrap_or_clone(kernel.observe(&BTreeSet::new()).await.unwrap()));
                    }
                }
                converge(&kernel, &wanted).await;
            });
            Ok(())
        })
        .unwrap();
}

#[test]
fn an_empty_wanted_state_removes_everything() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let (host, router) = (node.host("ip -o link"), node.router("ip -o link"));
        converge(&kernel, &three_vnis().state()).await;
        reconcile(&kernel, &KernelState::default()).await;
        assert_eq!((node.host("ip -o link"), node.router("ip -o link")), (host, router));
        assert!(!node.router("ip address show dev lo").contains("100.65"));
        assert!(netns::list_vrfs(&node.runtime).unwrap().is_empty());
        assert!(!node.runtime.zebra_netns(&"v0".parse().unwrap()).exists());
        // Immediately afterwards the kernel may still be cleaning up the old namespaces.
        converge(&kernel, &three_vnis().state()).await;
    });
}

/// Without links of others, then beside some that have the link groups of ours.
#[test]
fn links_that_go_together_with_the_router_are_ours_alone() {
    let Some(node) = Node::new() else { return };
    let segment =
        |within: Option<u8>| Segment { port: 4789, mtu: 1450, within, gateways: within.is_some(), bridge: true };
    let segments = BTreeMap::from([(0, segment(Some(0))), (1, segment(None))]);
    let wanted = World { segments, ..three_vnis() }.state();
    let shown = || [node.host("ip -o link"), node.router("ip -o link")];
    node.router("ip link set lo up");
    let before = shown();
    for groups in [&[][..], &[SEGMENT_GROUP, LINK_GROUP]] {
        runtime().block_on(async {
            converge(&node.kernel().await, &wanted).await;
            for group in groups {
                let pair = |name: &str| format!("ip link add {name}{group} group {group} type veth peer");
                node.host(&pair("host"));
                node.router(&pair("router"));
                node.vrf("v0", &pair("vrf"));
            }
            let kernel = node.kernel().await;
            kernel.delete_router_links().await;
            reconcile(&kernel, &KernelState::default()).await;
        });
        netns::unshare_dir(&node.runtime.vrf_netns_dir()).unwrap();
        let [host, router] = shown();
        if groups.is_empty() {
            assert_eq!([&host, &router], before.each_ref());
        }
        assert!(!host.contains("alias perouter") && !router.contains("alias perouter"), "{host}{router}");
        let in_vrf = if mode() == VrfMode::Netns { &host } else { &router };
        for group in groups {
            for (links, name) in [(&host, "host"), (&router, "router"), (in_vrf, "vrf")] {
                assert!(links.contains(&format!("{name}{group}@")), "{name}{group} in {links}");
            }
        }
    }
}

#[test]
fn in_netns_mode_a_deleted_namespace_is_released() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &World { mode: VrfMode::Netns, ..three_vnis() }.state()).await;
        let namespace = File::open(node.runtime.vrf_netns(&"v2".parse().unwrap())).unwrap();
        kernel.observe(&BTreeSet::new()).await.unwrap();
        kernel.apply(&KernelOp::DeleteNetns("v2".parse().unwrap())).await.unwrap();
        // The kernel removes the veth pair with one end inside when it destroys the namespace. Made after the deletion, which moves
        // links of others to the host.
        let path = format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd());
        node.host(&format!("ip link add canary type veth peer name inside netns {path}"));
        drop(namespace);
        for _ in 0..100 {
            if !node.host("ip -o link").contains("canary") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("something still references the namespace");
    });
}

#[test]
fn a_namespace_that_was_unbound_is_bound_again_and_one_that_was_replaced_is_rebuilt() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = World { mode: VrfMode::Netns, ..three_vnis() }.state();
        converge(&kernel, &wanted).await;
        let path = |vrf: &str| node.runtime.vrf_netns(&vrf.parse().unwrap()).display().to_string();
        let (unbound, replaced) = (path("v0"), path("v1"));
        let inode = || node.host(&format!("stat -L -c %i {unbound}"));
        let before = (inode(), kernel.observe(&BTreeSet::new()).await.unwrap());
        for fault in ["umount -l", "umount -l {} && rm"] {
            node.host(&format!("{} {unbound}", fault.replace("{}", &unbound)));
            let observed = kernel.observe(&BTreeSet::new()).await.unwrap();
            assert_eq!((inode(), observed), before);
        }
        node.host(&format!("umount -l {replaced} && unshare --net mount --bind /proc/self/ns/net {replaced}"));
        let observed = kernel.observe(&BTreeSet::new()).await.unwrap();
        assert!(observed.vrf_netns.contains(&"v1".parse().unwrap()));
        assert!(
            !observed.links.keys().any(|key| key.netns == Netns::Vrf("v1".parse().unwrap())),
            "{:?}",
            observed.links
        );
        converge_eventually(&kernel, &wanted).await;
    });
}

#[test]
fn foreign_links_are_left_alone() {
    let Some(node) = Node::new() else { return };
    // One with the group of owned links but another name, one with an owned name but another group, one with neither.
    node.host(&format!("ip link add other group {LINK_GROUP} type veth peer name host-200"));
    node.host("ip address add 198.51.100.1/24 dev host-200; ip link set host-200 up");
    node.router("ip link add br-pe-200 type bridge");
    node.router("ip link set lo up");
    // The kernel updates the operational state of a link asynchronously.
    let is_settled = |_| {
        std::thread::sleep(Duration::from_millis(10));
        node.host("ip -o link show dev host-200").contains("LOWERLAYERDOWN")
    };
    assert!((0..500).any(is_settled));
    let before = (node.host("ip -o address; ip -o link"), node.router("ip -o link"));
    runtime().block_on(async {
        let kernel = node.kernel().await;
        assert_eq!(kernel.observe(&BTreeSet::new()).await.unwrap().links, BTreeMap::new());
        converge(&kernel, &three_vnis().state()).await;
        reconcile(&kernel, &KernelState::default()).await;
    });
    assert_eq!((node.host("ip -o address; ip -o link"), node.router("ip -o link")), before);
}

#[test]
fn the_host_end_joins_a_vrf_of_the_host_or_its_absence_is_an_error() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let mut wanted = three_vnis().state();
        converge(&kernel, &wanted).await;
        let key = link_key(Netns::Host, Role::HostVeth, 101);
        wanted.links.get_mut(&key).unwrap().host_master = Some(HostMaster::Vrf("hostvrf".parse().unwrap()));
        let assert_rejected = async |words: &str| {
            let outcomes = kernel.apply_all(&diff(&wanted, &kernel.observe(&BTreeSet::new()).await.unwrap())).await;
            let errors: Vec<String> = outcomes.iter().filter(|outcome| !outcome.is_done()).map(outcome_text).collect();
            assert!(errors[0].starts_with(&format!("host: link set host-101 master hostvrf: {words}")), "{errors:?}");
        };
        assert_rejected("the host has no VRF device hostvrf: create it").await;
        node.host("ip link add hostvrf type bridge");
        assert_rejected("hostvrf is no VRF device").await;
        node.host("ip link del hostvrf");
        if mode() == VrfMode::Netns {
            println!("no VRF device on this kernel: the rest is tested in vrf mode");
            return;
        }
        node.host("ip link add hostvrf type vrf table 1100; ip link set hostvrf up");
        converge(&kernel, &wanted).await;
        let shown = || node.host("ip -d link show dev host-101; ip -6 address show dev host-101");
        assert!(shown().contains("master hostvrf") && shown().contains("2001:db8:101::2/64"), "{}", shown());
        // Once the field is removed the link leaves the device; a master that was set by somebody else is kept.
        let without = three_vnis().state();
        converge(&kernel, &without).await;
        assert!(!shown().contains("master") && shown().contains("2001:db8:101::2/64"), "{}", shown());
        node.host("ip link set host-101 master hostvrf");
        converge(&kernel, &without).await;
        assert!(shown().contains("master hostvrf") && shown().contains("2001:db8:101::2/64"), "{}", shown());
    });
}

#[test]
fn a_segment_is_in_its_vrf_with_a_bridge_on_the_host() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let segment = |within, gateways| Segment { port: 4789, mtu: 1450, within, gateways, bridge: true };
        let world = |within, gateways| World {
            segments: BTreeMap::from([(0, segment(within, gateways)), (1, segment(None, false))]),
            ..three_vnis()
        };
        converge(&kernel, &world(Some(0), true).state()).await;
        let settings = |link: &str| {
            let ipv4 = ["arp_accept", "arp_ignore"].map(|name| format!("net.ipv4.conf.{link}.{name}"));
            let ipv6 = ["dad_transmits", "disable_ipv6"].map(|name| format!("net.ipv6.conf.{link}.{name}"));
            format!("sysctl -n {} {}", ipv4.join(" "), ipv6.join(" "))
        };
        let gateway = || node.vrf("v0", "ip -6 address show dev br-pe-150");
        let is_usable = |shown: &str, address: &str| {
            shown
                .lines()
                .any(|line| line.contains(address) && !line.contains("tentative") && !line.contains("dadfailed"))
        };
        assert_eq!(node.vrf("v0", &settings("br-pe-150")), "2\n0\n0\n0\n");
        let await_usable = async || {
            for _ in 0..30 {
                if ["2001:db8:150::1/64", "fe80::"].iter().all(|address| is_usable(&gateway(), address)) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            panic!("{}", gateway());
        };
        await_usable().await;
        assert_eq!(node.router(&settings("br-pe-151")), "0\n8\n1\n1\n", "carries frames only");
        assert_eq!(node.host(&settings("br-hs-150")), "0\n8\n1\n1\n");
        let shown = node.host("ip -d link show dev host-150; ip -d link show dev br-hs-150");
        for word in ["master br-hs-150", "group 20550", "mcast_snooping 0", "mtu 1450"] {
            assert!(shown.contains(word), "{word} in {shown}");
        }
        ipv6_settings_are_repaired(&node, &kernel, &world(Some(0), true).state()).await;
        assert_eq!(node.vrf("v0", &settings("br-pe-150")), "2\n0\n0\n0\n");
        await_usable().await;
        // The gateways go and come while the bridge stays: the router asks for neighbors in a link-local address.
        converge(&kernel, &world(Some(0), false).state()).await;
        assert_eq!(gateway(), "");
        converge(&kernel, &world(Some(0), true).state()).await;
        await_usable().await;
        // To another VRF and out of all.
        for (within, gateways) in [(Some(1), true), (None, false), (Some(0), true)] {
            converge(&kernel, &world(within, gateways).state()).await;
        }
        converge(&kernel, &three_vnis().state()).await;
        assert_eq!(node.host("ip -o link | grep -c -e -15[01] || true"), "0\n");
    });
}

/// What others set otherwise is set again.
async fn ipv6_settings_are_repaired(node: &Node, kernel: &NetlinkKernel, wanted: &KernelState) {
    let untracked = "sysctl -n net.ipv6.conf.br-pe-150.accept_untracked_na";
    let accepted = node.vrf("v0", untracked);
    let drift = [
        (true, "br-pe-150", "accept_untracked_na", 0),
        (true, "br-pe-150", "accept_dad", 1),
        (true, "br-pe-150", "dad_transmits", 1),
        (true, "pe-150", "disable_ipv6", 0),
        (false, "host-150", "disable_ipv6", 0),
        (false, "br-hs-150", "disable_ipv6", 0),
    ];
    for (number, (in_vrf, link, setting, value)) in drift.into_iter().enumerate() {
        let name = format!("net.ipv6.conf.{link}.{setting}");
        // A change that the kernel reports has the links read again.
        let length = 70 + number;
        let change = format!("sysctl -q -w {name}={value}; ip link set {link} txqueuelen {length}; sysctl -n {name}");
        let shown = if in_vrf { node.vrf("v0", &change) } else { node.host(&change) };
        assert_eq!(shown, format!("{value}\n"), "{name}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        let steps = diff(wanted, &kernel.observe(&BTreeSet::new()).await.unwrap());
        let steps: Vec<String> = steps.iter().map(ToString::to_string).collect();
        assert!(steps.len() == 1 && steps[0].contains(&format!("{link}.arp_accept")), "{name}: {steps:?}");
        converge(kernel, wanted).await;
    }
    assert_eq!((node.vrf("v0", untracked), accepted.trim()), (accepted.clone(), "2"));
}

/// A bridge of the host is not changed but for its ports.
#[test]
fn the_host_end_joins_a_bridge_of_the_host_or_its_absence_is_an_error() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let segment = Segment { port: 4789, mtu: 1450, within: Some(0), gateways: true, bridge: false };
        let left = World { segments: BTreeMap::from([(0, segment)]), ..three_vnis() }.state();
        let mut wanted = left.clone();
        let key = link_key(Netns::Host, Role::HostVeth, 150);
        wanted.links.get_mut(&key).unwrap().host_master = Some(HostMaster::Bridge("pods".parse().unwrap()));
        let outcomes = kernel.apply_all(&diff(&wanted, &kernel.observe(&BTreeSet::new()).await.unwrap())).await;
        let failed: Vec<String> = outcomes.iter().filter(|outcome| !outcome.is_done()).map(outcome_text).collect();
        assert_eq!(failed.len(), 1, "all else is in place: {failed:?}");
        assert!(
            failed[0].starts_with("host: link set host-150 master pods: the host has no bridge pods"),
            "{failed:?}"
        );
        node.host("ip link add pods type veth peer name other");
        let outcomes = kernel.apply_all(&diff(&wanted, &kernel.observe(&BTreeSet::new()).await.unwrap())).await;
        let failed: Vec<String> = outcomes.iter().filter(|outcome| !outcome.is_done()).map(outcome_text).collect();
        assert!(failed[0].contains("pods is no Linux bridge"), "{failed:?}");
        node.host("ip link del pods");
        // Its appearance is a change.
        while tokio::time::timeout(Duration::from_millis(300), kernel.changed()).await.is_ok() {}
        node.host("ip link add pods type bridge mcast_snooping 0 ageing_time 12300; ip link set pods mtu 9000");
        tokio::time::timeout(Duration::from_secs(5), kernel.changed()).await.expect("no change is reported");
        let settings = || {
            node.host(
                "ip -d -o link show dev pods | grep -o -e 'mtu [0-9]*' -e 'ageing_time [0-9]*' -e 'group [a-z0-9]*'",
            )
        };
        let before = settings();
        converge(&kernel, &wanted).await;
        let shown = || node.host("ip -d link show dev host-150");
        assert!(shown().contains("master pods"), "{}", shown());
        converge(&kernel, &left).await;
        assert!(!shown().contains("master"), "{}", shown());
        // What others have attached stays where it is.
        node.host("ip link set host-150 master pods");
        converge(&kernel, &left).await;
        assert!(shown().contains("master pods"), "{}", shown());
        converge(&kernel, &wanted).await;
        converge(&kernel, &three_vnis().state()).await;
        assert_eq!(settings(), before);
    });
}

#[test]
fn a_foreign_link_with_a_wanted_name_is_an_error_and_left_alone() {
    let Some(node) = Node::new() else { return };
    node.host("ip link add host-100 type bridge");
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let ops = diff(&three_vnis().state(), &kernel.observe(&BTreeSet::new()).await.unwrap());
        let outcomes = kernel.apply_all(&ops).await;
        let failed: Vec<String> =
            outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Failed(_))).map(outcome_text).collect();
        assert_eq!(
            failed,
            [format!(
                "{}: link add pe-100 mtu 1450 rp_filter 2 type veth peer name host-100 netns host: a link of somebody \
                 else has this name or VNI: rename or delete it: EEXIST: File exists",
                links_netns("v0")
            )]
        );
        for (step, outcome) in ops.iter().zip(&outcomes) {
            assert!(outcome.is_done() || step.op.vni().map(Vni::get) == Some(100), "{step}: {}", outcome_text(outcome));
        }
        // Deleting a link that is no longer owned since it was observed has no effect.
        kernel
            .apply(&KernelOp::DeleteLink { key: link_key(Netns::Host, Role::HostVeth, 100), with: None })
            .await
            .unwrap();
        assert!(node.host("ip -d link show dev host-100").contains("bridge"));
    });
}

/// Whoever renames a link of ours or removes its group leaves its kind and alias.
#[test]
fn a_link_that_lost_its_name_or_group_is_replaced() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = three_vnis().state();
        converge(&kernel, &wanted).await;
        let netns = match links_netns("v0") {
            Netns::Vrf(vrf) => node.runtime.vrf_netns(&vrf),
            Netns::Host | Netns::Router => node.runtime.router_netns().to_owned(),
        };
        let path = format!("nsenter --net={}", netns.display());
        for fault in [
            format!("{path} ip link set vni100 group default"),
            format!("{path} ip link set vni100 down; {path} ip link set vni100 name other"),
            format!("{path} ip link set br-pe-100 group default"),
            format!("{path} ip link set pe-100 group default"),
            format!("{path} ip link set pe-100 down; {path} ip link set pe-100 name other"),
            "ip link set host-100 group default".to_owned(),
            "ip link set host-100 down; ip link set host-100 name other".to_owned(),
        ] {
            node.host(&fault);
            converge_eventually(&kernel, &wanted).await;
            let left = node.host(&format!("{path} ip -o link; ip -o link"));
            assert!(!left.contains("other"), "{fault}: {left}");
        }
    });
}

#[test]
fn an_owned_link_of_another_kind_is_replaced() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = three_vnis().state();
        converge(&kernel, &wanted).await;
        node.vrf("v0", "ip link set vni100 type vxlan learning");
        node.vrf("v2", "ip link set vni102 type vxlan id 102 tos 0");
        node.vrf("v1", "ip link set br-pe-101 type bridge stp_state 1");
        node.host("ip link set host-100 down; ip link set host-100 name elsewhere; ip link set elsewhere up");
        let observed = kernel.observe(&BTreeSet::new()).await.unwrap();
        let vxlan = |vrf, vni| link_key(links_netns(vrf), Role::Vxlan, vni);
        for key in [vxlan("v0", 100), vxlan("v2", 102), link_key(links_netns("v1"), Role::Bridge, 101)] {
            assert_eq!(observed.links[&key].kind, LinkKind::Other, "{key}");
        }
        converge(&kernel, &wanted).await;
        assert!(!node.host("ip -o link").contains("elsewhere"), "the pair was recreated");
    });
}

#[test]
fn errors_of_the_kernel_are_readable() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = three_vnis().state();
        converge(&kernel, &wanted).await;
        let master = KernelOp::SetMaster {
            key: link_key(links_netns("v2"), Role::Vxlan, 102),
            master: Some(OwnedName::Vni(Role::Bridge, Vni::try_from(999).unwrap())),
        };
        let cases = [
            (
                KernelOp::MoveNic { nic: nic(), named: None },
                "host: link set toswitch netns router: NIC toswitch is in neither the host's nor the router's network \
                 namespace",
            ),
            (
                KernelOp::ReturnNic("toswitch".parse().unwrap()),
                "router: link set toswitch netns host: NIC toswitch was not moved here by perouter and is left alone",
            ),
            (master, "V2: link set vni102 master br-pe-999: there is no link br-pe-999 in the V2 network namespace"),
            (
                KernelOp::SetMtu { key: link_key(links_netns("v0"), Role::PeVeth, 100), mtu: 10 },
                "V0: link set pe-100 mtu 10: EINVAL: Invalid argument: mtu less than device minimum",
            ),
            (
                KernelOp::SetUp(link_key(links_netns("v0"), Role::PeVeth, 777)),
                "V0: link set pe-777 up: ENODEV: No such device",
            ),
        ];
        for (op, expected) in cases {
            let expected =
                expected.replace("V0", &links_netns("v0").to_string()).replace("V2", &links_netns("v2").to_string());
            assert_eq!(error_chain(&kernel.apply(&op).await.unwrap_err()), expected);
        }
        // The VXLAN devices of all VRFs share the sockets of the router namespace.
        let mut twice = wanted.clone();
        let link = twice.links[&link_key(links_netns("v0"), Role::Vxlan, 100)].clone();
        twice.links.insert(link_key(links_netns("v1"), Role::Vxlan, 999), link);
        let ops = diff(&twice, &kernel.observe(&BTreeSet::new()).await.unwrap());
        let error = kernel.apply(&ops[0].op).await.unwrap_err();
        assert!(
            error_chain(&error).ends_with("EEXIST: File exists: A VXLAN device with the specified VNI already exists"),
            "{}",
            error_chain(&error)
        );
    });
}

/// Link, addresses, routes and settings of the NIC on the host.
fn nic_state(node: &Node) -> String {
    // Duplicate address detection of a link-local address takes a moment.
    node.host("for i in $(seq 50); do ip -6 address show dev toswitch | grep -q tentative || break; sleep 0.1; done");
    let link = node.host("ip -o -d link show dev toswitch | sed 's/^[0-9]*: //; s/@if[0-9]*//; s/qdisc.*qlen/qlen/'");
    // The kernel generates link-local addresses when the NIC comes up: their order is not that of before.
    let addresses = node.host(
        "ip -o -4 address show dev toswitch | sed 's/^[0-9]*: //'; ip -o -6 address show dev toswitch scope global | sed 's/^[0-9]*: //'; \
         ip -o -6 address show dev toswitch scope link | sed 's/^[0-9]*: //' | sort",
    );
    let routes = node.host("for f in -4 -6; do ip $f route show table all | grep toswitch | sort; done");
    let settings = node.host("sysctl -a 2>/dev/null | grep '[.]toswitch[.]'");
    link + &addresses + &routes + &settings
}

fn with_nic() -> Option<Node> {
    let node = Node::new()?;
    node.host("ip link add toswitch type veth peer name fabric; ip link set fabric up");
    node.host("ip link set toswitch mtu 9000 address 02:00:00:00:00:77");
    node.host(
        "sysctl -qw net.ipv6.conf.toswitch.accept_ra=0 net.ipv4.conf.toswitch.rp_filter=2; ip link set toswitch up",
    );
    node.host("ip address add 192.168.11.3/24 brd + dev toswitch label toswitch:x");
    node.host("ip address add 192.168.11.4/24 dev toswitch; ip address add 10.9.9.9/32 dev toswitch scope link");
    node.host("ip address add 2001:db8:11::3/64 dev toswitch nodad; ip address add fe80::3/64 dev toswitch nodad");
    node.host("ip address add 2001:db8:11::4/64 dev toswitch nodad noprefixroute");
    node.host("ip route add 203.0.113.0/24 via 192.168.11.2 proto static metric 50");
    node.host("ip route add 198.18.0.0/15 via 172.31.0.1 dev toswitch onlink table 77 src 192.168.11.3 mtu 1400");
    node.host("ip route add 198.51.100.0/24 dev toswitch scope link; ip -6 route add default via 2001:db8:11::2");
    Some(node)
}

fn nic_wanted(netns: Netns) -> KernelState {
    KernelState { nics: BTreeMap::from([(nic(), netns)]), ..KernelState::default() }
}

fn nic() -> IfName {
    "toswitch".parse().unwrap()
}

async fn return_all(kernel: &NetlinkKernel) {
    let errors: Vec<String> = kernel.return_all_nics().await.iter().map(|error| error_chain(error)).collect();
    assert_eq!(errors, [] as [String; 0]);
}

#[test]
fn a_nic_is_moved_and_returned_with_addresses_and_routes() {
    let Some(node) = with_nic() else { return };
    let before = nic_state(&node);
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let facts = kernel.observe_nics(&BTreeSet::from([nic()])).await.unwrap();
        assert_eq!((facts[&nic()].mtu, &facts[&nic()].netns), (9000, &Netns::Host));
        converge(&kernel, &nic_wanted(Netns::Router)).await;
        let facts = kernel.observe_nics(&BTreeSet::from([nic()])).await.unwrap();
        assert_eq!((facts[&nic()].mtu, &facts[&nic()].netns), (9000, &Netns::Router));
        assert!(facts[&nic()].addresses.contains(&"192.168.11.3/24".parse().unwrap()));
        let inside = node.router("ip route show table all; ip -6 route; ip address");
        for word in
            ["203.0.113.0/24 via 192.168.11.2", "table 77", "default via 2001:db8:11::2", "toswitch:x", "mtu 9000"]
        {
            assert!(inside.contains(word), "{word} in {inside}");
        }
        assert!(node.runtime.nics().exists());
        reconcile(&kernel, &KernelState::default()).await;
    });
    assert_eq!(nic_state(&node), before);
    assert!(!node.runtime.nics().exists());
}

#[test]
fn an_interrupted_move_is_completed() {
    let Some(node) = with_nic() else { return };
    let before = nic_state(&node);
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &nic_wanted(Netns::Router)).await;
        let record = std::fs::read_to_string(node.runtime.nics()).unwrap();
        // A crash after the NIC was moved out of the host, before its addresses were added.
        node.router("ip address flush dev toswitch; ip link set toswitch down");
        std::fs::write(node.runtime.nics(), record.replace("\"taken\"", "\"taking\"")).unwrap();
        let kernel = node.kernel().await;
        converge(&kernel, &nic_wanted(Netns::Router)).await;
        assert!(node.router("ip address show dev toswitch").contains("192.168.11.3/24"));
        // A crash after the NIC was moved out of the router, before its addresses were restored on the host.
        std::fs::write(node.runtime.nics(), record.replace("\"taken\"", "\"returning\"")).unwrap();
        node.router(&format!("ip link set toswitch netns {}", node.host.display()));
        let kernel = node.kernel().await;
        reconcile(&kernel, &KernelState::default()).await;
        assert_eq!(nic_state(&node), before);
        // The same, but the NIC is wanted in the router again.
        converge(&kernel, &nic_wanted(Netns::Router)).await;
        std::fs::write(node.runtime.nics(), record.replace("\"taken\"", "\"returning\"")).unwrap();
        node.router(&format!("ip link set toswitch netns {}", node.host.display()));
        converge(&node.kernel().await, &nic_wanted(Netns::Router)).await;
        return_all(&node.kernel().await).await;
    });
    assert_eq!(nic_state(&node), before);
}

#[test]
fn a_crash_before_the_move_changes_nothing() {
    let Some(node) = with_nic() else { return };
    let before = nic_state(&node);
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &nic_wanted(Netns::Router)).await;
        let record = std::fs::read_to_string(node.runtime.nics()).unwrap();
        return_all(&kernel).await;
        std::fs::write(node.runtime.nics(), record.replace("\"taken\"", "\"taking\"")).unwrap();
        node.host("ip address add 192.168.11.99/24 dev toswitch");
        return_all(&node.kernel().await).await;
        node.host("ip address delete 192.168.11.99/24 dev toswitch");
    });
    assert_eq!(nic_state(&node), before);
    assert!(!node.runtime.nics().exists());
}

#[test]
fn a_nic_that_cannot_be_moved_is_an_error_and_left_alone() {
    let Some(node) = Node::new() else { return };
    node.host("ip link add toswitch type bridge; ip address add 192.0.2.1/24 dev toswitch");
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let error = kernel.apply(&KernelOp::MoveNic { nic: nic(), named: None }).await.unwrap_err();
        assert!(
            error_chain(&error).contains("NIC toswitch is bound to its network namespace"),
            "{}",
            error_chain(&error)
        );
    });
    assert!(node.host("ip address show dev toswitch").contains("192.0.2.1/24"));
    assert!(!node.runtime.nics().exists());
}

#[test]
fn drift_is_signalled_and_passes_without_changes_are_not() {
    let Some(node) = with_nic() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = KernelState { nics: nic_wanted(Netns::Router).nics, ..three_vnis().state() };
        converge(&kernel, &wanted).await;
        let signal = || tokio::time::timeout(Duration::from_millis(1500), kernel.changed());
        // perouter's own changes may be signalled, but the passes that follow must not cause further signals.
        let mut passes = 0;
        while signal().await.is_ok() {
            assert_eq!(reconcile(&kernel, &wanted).await, []);
            passes += 1;
            assert!(passes < 10, "passes cause further passes");
        }
        for drift in
            ["ip link set host-100 down", "ip address add 198.51.100.1/31 dev host-101", "ip link delete host-100"]
        {
            node.host(drift);
            signal().await.unwrap_or_else(|_| panic!("no signal after {drift}"));
            while tokio::time::timeout(Duration::from_millis(200), kernel.changed()).await.is_ok() {}
            assert_ne!(reconcile(&kernel, &wanted).await, [], "{drift}");
            converge(&kernel, &wanted).await;
            while signal().await.is_ok() {
                reconcile(&kernel, &wanted).await;
            }
        }
        node.vrf("v0", "ip link set vni100 nomaster");
        signal().await.expect("a signal from a VRF namespace");
        converge(&kernel, &wanted).await;
        while signal().await.is_ok() {
            reconcile(&kernel, &wanted).await;
        }
        // Changes of foreign links on the host are not signalled.
        node.host(
            "ip link add pod type veth peer name podpeer; ip link set pod up; ip address add 192.0.2.9/24 dev pod",
        );
        node.host("ip link delete pod");
        assert!(tokio::time::timeout(Duration::from_millis(500), kernel.changed()).await.is_err());
    });
}

#[test]
fn unreachable_defaults_are_owned_only_in_owned_tables() {
    let Some(node) = Node::new() else { return };
    node.router("ip link set lo up; ip route add unreachable default table 77 metric 4278198272");
    let table = TableId::of(Vni::try_from(100).unwrap());
    node.router(&format!("ip route add unreachable 192.0.2.0/24 table {table} metric 4278198272"));
    let foreign = || node.router("ip route show table all type unreachable");
    let before = foreign();
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let unreachable = BTreeSet::from([(table, Family::Ipv4), (table, Family::Ipv6)]);
        converge(&kernel, &KernelState { unreachable, ..KernelState::default() }).await;
        let shown = node.router(&format!("ip -4 route show table {table}; ip -6 route show table {table}"));
        assert_eq!(shown.matches("unreachable default").count(), 2, "{shown}");
        assert_eq!(shown.matches("metric 4278198272").count(), 3, "{shown}");
        converge(&kernel, &KernelState::default()).await;
    });
    assert_eq!(foreign(), before);
}

/// A process that has read the record writes it again; one that starts takes what the NIC has.
#[test]
fn a_broken_record_of_moved_nics_is_written_again() {
    for restarts in [false, true] {
        let Some(node) = with_nic() else { return };
        runtime().block_on(async {
            let before = nic_state(&node);
            let wanted = nic_wanted(Netns::Router);
            let mut kernel = node.kernel().await;
            reconcile(&kernel, &wanted).await;
            kernel.observe(&[nic()].into()).await.unwrap();
            if restarts {
                drop(kernel);
                kernel = node.kernel().await;
            }
            std::fs::write(node.runtime.nics(), "{").unwrap();
            assert_eq!(diff(&wanted, &kernel.observe(&[nic()].into()).await.unwrap()), []);
            assert!(node.runtime.dir().join("nics.json.broken").exists());
            return_all(&kernel).await;
            let after = nic_state(&node);
            let addresses = |state: &str| {
                let lines = state.lines().filter(|line| line.contains("inet"));
                // Where the kernel detected a duplicate address or not is not recorded of those that it generates.
                lines.map(|line| line.replace(" nodad", "")).collect::<BTreeSet<_>>()
            };
            assert_eq!(addresses(&after), addresses(&before), "{restarts}");
            assert!(restarts || after == before, "{before}\n{after}");
        });
    }
}

#[test]
fn router_macs_are_set_and_changed_in_place() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &three_vnis().state()).await;
        let mut world = three_vnis();
        world.specs.get_mut(&0).unwrap().mac = 5;
        let ops = reconcile(&kernel, &world.state()).await;
        let mac = MacAddr([2, 0, 0, 0, 0, 5]);
        let former = three_vnis().state().links[&link_key(links_netns("v0"), Role::Bridge, 100)].mac;
        let key = link_key(links_netns("v0"), Role::Bridge, 100);
        assert_eq!(ops, [KernelOp::SetMac { key, mac, former }]);
        // The bridge accepts both.
        let shown = node.vrf("v0", "ip -br link show dev vni100; bridge fdb show br br-pe-100");
        assert!(former.is_some_and(|former| shown.matches(&former.to_string()).count() >= 2), "{shown}");
    });
}

#[test]
fn table_local_is_looked_up_after_the_tables_of_vrfs_where_wanted() {
    let Some(node) = Node::new() else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let local_last = BTreeSet::from([Family::Ipv4, Family::Ipv6]);
        converge(&kernel, &KernelState { local_last, ..KernelState::default() }).await;
    });
    for family in ["-4", "-6"] {
        let rules = node.router(&format!("ip {family} rule show"));
        let of_local: Vec<&str> = rules.lines().filter(|line| line.ends_with("lookup local")).collect();
        assert_eq!(of_local, ["32765:\tfrom all lookup local"], "{rules}");
    }
}
