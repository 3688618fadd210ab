//! Properties of `vrf` mode: isolation by rules and unreachable defaults, tables, sysctls, the mode of a running
//! router. On the real kernel with real FRR. Needs root and a kernel with VRF devices: `make test-vrf` runs it in such
//! a guest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use perouter::frr::daemons::{self, Daemons, FRR_DIR};
use perouter::kernel::model::{KernelState, Netns, Sysctl};
use perouter::kernel::{Kernel, KernelOp, netns, vrf_device};
use perouter::names::{OwnedName, Role};
use perouter::runtime::Runtime;
use perouter::types::{Family, TableId, Vni, VrfMode};
use perouter::{kernel, names, scope, types};
use rstest::rstest;

use self::generated::{Session, Spec, World};
use self::node::{Node, converge, error_chain, reconcile, runtime};

#[allow(dead_code, reason = "the rest is used in tests/kernel_netns.rs")]
#[path = "../src/kernel/diff/generated.rs"]
mod generated;
#[allow(dead_code, reason = "the rest is used in tests/kernel_netns.rs")]
#[path = "kernel/node.rs"]
mod node;

/// False on a kernel without VRF devices: then the test is left out, which is an error with `CI=true`.
fn has_vrf_devices() -> bool {
    let supported = vrf_device::supported().unwrap();
    if !supported {
        eprintln!("left out: this kernel has no VRF devices; `make test-vrf` runs it in a guest that has");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test with `make test-vrf`");
    }
    supported
}

/// IP-VRFs v0 (VNI 100, "red") and v1 (VNI 101, "blue"), both with an IPv4 and IPv6 host session.
fn red_and_blue() -> KernelState {
    let both = Session { ipv4: Some(2), ipv6: Some(2), listen: None };
    let spec = Spec { port: 4789, mtu: 1450, mac: 1, strict: false, session: Some(both) };
    let specs = BTreeMap::from([(0, spec.clone()), (1, spec)]);
    let world = World {
        mode: VrfMode::Vrf,
        vtep: "100.65.0.1/32".parse().unwrap(),
        shift: 0,
        specs,
        segments: BTreeMap::new(),
        filters: false,
    };
    let mut state = world.state();
    state.sysctls.insert((Netns::Router, Sysctl::VrfStrictMode), 1);
    state.sysctls.insert((Netns::Router, Sysctl::TcpL3mdevAccept), 0);
    state
}

fn table(vni: u32) -> TableId {
    TableId::of(Vni::try_from(vni).unwrap())
}

/// A router with a fabric NIC. Its main table has a route to 203.0.113.0/24 and, after [`add_blue_routes`], blue one to
/// 198.51.100.0/24, with their like in IPv6; red has neither.
fn with_fabric() -> Option<Node> {
    let node = Node::new()?;
    node.host("ip link add fabric type veth peer name toswitch");
    node.host(&format!("ip link set toswitch netns {}", node.runtime.router_netns().display()));
    node.host("ip link set fabric up; sysctl -qw net.ipv4.conf.all.rp_filter=0");
    node.router("ip link set toswitch up; ip address add 10.0.0.1/24 dev toswitch");
    node.router("ip address add 2001:db8:a::1/64 dev toswitch nodad");
    // Permanent neighbor entries, so that packets are sent without neighbor resolution.
    node.router("ip neighbour add 10.0.0.2 lladdr 02:00:00:00:00:99 dev toswitch");
    node.router("ip -6 neighbour add 2001:db8:a::2 lladdr 02:00:00:00:00:99 dev toswitch");
    node.router("ip route add 203.0.113.0/24 via 10.0.0.2; ip -6 route add 2001:db8:f::/64 via 2001:db8:a::2");
    Some(node)
}

/// Adds routes to blue, through its own veth.
fn add_blue_routes(node: &Node) {
    let blue = table(101);
    node.router("ip neighbour replace 192.169.101.9 lladdr 02:00:00:00:00:98 dev pe-101");
    node.router("ip -6 neighbour replace 2001:db8:101::9 lladdr 02:00:00:00:00:98 dev pe-101");
    node.router(&format!("ip route add 198.51.100.0/24 via 192.169.101.9 dev pe-101 table {blue}"));
    node.router(&format!("ip -6 route add 2001:db8:e::/64 via 2001:db8:101::9 dev pe-101 table {blue}"));
}

/// Pings `target` from red's host through red.
fn ping(node: &Node, target: &str, count: u32) -> String {
    let (family, via) = if target.contains(':') { ("-6", "2001:db8:100::1") } else { ("-4", "192.169.100.1") };
    node.host(&format!("ip {family} route replace {target} via {via} dev host-100"));
    node.host(&format!("ping {family} -c {count} -i 0.2 -W 1 {target} || true"))
}

/// Number of packets to `target` that leave through the NIC or to blue's host while red's host sends three.
fn leaked_packets(node: &Node, target: &str) -> usize {
    let capture = |interface: &str| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", node.host.display()));
        command.args(["timeout", "-s", "INT", "4", "tcpdump", "-nn", "-l", "-Q", "in", "-i", interface]);
        command
            .args(["icmp or icmp6", "and dst host", target])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let captures = ["fabric", "host-101"].map(capture);
    std::thread::sleep(Duration::from_secs(1));
    ping(node, target, 3);
    let outputs = captures.map(|capture| capture.wait_with_output().unwrap());
    for Output { stderr, .. } in &outputs {
        let messages = String::from_utf8_lossy(stderr);
        assert!(messages.contains("listening on"), "tcpdump did not capture: {messages}");
    }
    outputs.iter().map(|output| String::from_utf8_lossy(&output.stdout).matches("echo request").count()).sum()
}

#[rstest]
#[case::ipv4_of_main("203.0.113.5", Family::Ipv4)]
#[case::ipv6_of_main("2001:db8:f::5", Family::Ipv6)]
#[case::ipv4_of_blue("198.51.100.5", Family::Ipv4)]
#[case::ipv6_of_blue("2001:db8:e::5", Family::Ipv6)]
fn a_packet_of_red_without_a_route_in_red_is_dropped(#[case] target: &str, #[case] family: Family) {
    let (true, Some(node)) = (has_vrf_devices(), with_fabric()) else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = red_and_blue();
        converge(&kernel, &wanted).await;
        add_blue_routes(&node);
        assert_eq!(leaked_packets(&node, target), 0, "{}", node.router("ip rule; ip route show table all"));
        // Without the unreachable default the lookup continues in main, if main has a route.
        kernel.apply(&KernelOp::DelUnreachable(table(100), family)).await.unwrap();
        let in_main = target.starts_with("203.") || target.contains("db8:f:");
        assert_eq!(leaked_packets(&node, target) > 0, in_main, "the capture does not detect leaked packets");
        // A pass restores it.
        assert_eq!(reconcile(&kernel, &wanted).await, [KernelOp::AddUnreachable(table(100), family)]);
        assert_eq!(leaked_packets(&node, target), 0);
    });
}

/// Red's hosts: that of the node behind `host-100`, and one of the fabric behind a VXLAN device with red's VNI. Both send
/// everything to the router.
fn add_hosts_of_red(node: &Node) {
    node.host("ip address add 10.0.0.2/24 dev fabric; ip route replace 100.65.0.1 via 10.0.0.1");
    node.host("ip link add remote type vxlan id 100 local 10.0.0.2 remote 100.65.0.1 dstport 4789");
    node.host("ip link set remote up; ip address add 172.16.0.2/24 dev remote; ip address add 2001:db8:16::2/64 dev remote nodad");
    for (via, family) in [("172.16.0.1", "-4"), ("2001:db8:16::1", "-6")] {
        // The router MAC of red.
        node.host(&format!("ip {family} neighbour replace {via} lladdr 02:00:00:00:00:01 dev remote"));
    }
}

/// One ping of each host of red to each of these, as far as it still has a link.
fn ping_from_red(node: &Node, targets: [&str; 2]) -> usize {
    let links = node.host("ip -o link show");
    let mut sent = 0;
    for (link, gateways) in
        [("host-100", ["192.169.100.1", "2001:db8:100::1"]), ("remote", ["172.16.0.1", "2001:db8:16::1"])]
    {
        if !links.contains(&format!(" {link}")) {
            continue;
        }
        for (target, gateway) in targets.iter().zip(gateways) {
            let family = if target.contains(':') { "-6" } else { "-4" };
            node.host(&format!(
                "ip {family} route replace {target} via {gateway} dev {link}; ping -c 2 -i 0.1 -w 1 {target} || true"
            ));
            sent += 2;
        }
    }
    sent
}

/// perouter may be killed after any step of a teardown.
#[test]
fn no_packet_leaves_its_vrf_after_any_step_of_a_teardown() {
    let (true, Some(node)) = (has_vrf_devices(), with_fabric()) else { return };
    let mut capture = Command::new("nsenter")
        .arg(format!("--net={}", node.host.display()))
        .args(["tcpdump", "-nn", "-l", "--immediate-mode", "-Q", "in", "-i", "fabric"])
        .arg("icmp or (icmp6 and ip6[40] == 128)")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(Duration::from_secs(2));
    add_hosts_of_red(&node);
    let targets = ["203.0.113.5", "2001:db8:f::5"];
    let (mut sent, mut removals) = (0, vec![]);
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = red_and_blue();
        let nothing = KernelState::default();
        let mut done = 0;
        loop {
            converge(&kernel, &wanted).await;
            let mut steps = kernel::diff(&nothing, &kernel.observe(&BTreeSet::new()).await.unwrap());
            steps.sort_by_cached_key(|step| (step.op.wave(), step.op.lane()));
            for step in &steps[..done] {
                kernel.apply(&step.op).await.unwrap();
            }
            sent += ping_from_red(&node, targets);
            if done == steps.len() {
                removals.extend(steps.iter().map(ToString::to_string));
                break;
            }
            done += 1;
        }
    });
    // The capture detects packets, of table `main` too.
    let control = "203.0.113.77";
    node.router(&format!("ping -c 2 -i 0.2 -W 1 {control} || true"));
    std::thread::sleep(Duration::from_secs(1));
    capture.kill().unwrap();
    let captured = String::from_utf8_lossy(&capture.wait_with_output().unwrap().stdout).into_owned();
    let to = |target: &str| captured.lines().filter(|line| line.contains(&format!("> {target}: "))).count();
    println!(
        "{sent} packets of red in {} states, outside of red: {}",
        removals.len() + 1,
        to(targets[0]) + to(targets[1])
    );
    assert!(sent > 40, "{sent} packets in {removals:#?}");
    assert_eq!((to(targets[0]), to(targets[1])), (0, 0), "{removals:#?}\n{captured}");
    assert_eq!(to(control), 2, "{captured}");
}

/// Whether an address replies to red's host.
fn replies(node: &Node, target: &str) -> bool {
    ping(node, target, 2).contains(" bytes from ")
}

#[rstest]
#[case::ipv4_vtep("100.65.0.1", Family::Ipv4)]
#[case::ipv6_of_the_nic("2001:db8:a::1", Family::Ipv6)]
fn addresses_of_the_router_do_not_reply_in_a_vrf(#[case] target: &str, #[case] family: Family) {
    let (true, Some(node)) = (has_vrf_devices(), with_fabric()) else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = red_and_blue();
        converge(&kernel, &wanted).await;
        assert!(!replies(&node, target), "{}", node.router("ip rule; ip -6 rule"));
        // The kernel's default: table `local` before the tables of the VRFs.
        let option = if family == Family::Ipv4 { "-4" } else { "-6" };
        node.router(&format!("ip {option} rule add preference 0 lookup local"));
        // In IPv6 there is no reply even then.
        assert_eq!(replies(&node, target), family == Family::Ipv4, "the ping does not detect replies");
        // A pass reverts it.
        assert_eq!(reconcile(&kernel, &wanted).await, [KernelOp::MoveLocalRule(family)]);
        assert!(!replies(&node, target));
        assert_eq!(node.router(&format!("ip {option} rule | grep -c local")).trim(), "1");
    });
}

#[test]
fn vrf_devices_have_their_tables_and_unreachable_defaults() {
    let (true, Some(node)) = (has_vrf_devices(), Node::new()) else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        converge(&kernel, &red_and_blue()).await;
        for (device, vni) in [("v0", 100), ("v1", 101)] {
            let shown = node.router(&format!("ip -d link show dev {device}"));
            assert!(shown.contains(&format!("vrf table {} ", table(vni))), "{shown}");
            for (family, words) in [("-4", "unreachable default "), ("-6", "unreachable default dev lo ")] {
                let routes = node.router(&format!("ip {family} route show table {}", table(vni)));
                assert!(routes.contains(words) && routes.contains("metric 4278198272"), "{routes}");
            }
            assert!(node.router(&format!("ip -o link show master {device}")).contains(&format!("br-pe-{vni}")));
            assert!(node.router(&format!("ip -o link show master {device}")).contains(&format!("pe-{vni}@")));
        }
        // A router with two IP-VRFs adds nothing to the main tables.
        assert_eq!(node.router("ip route show table main; ip -6 route show table main | grep -v fe80 || true"), "");
        assert_eq!(node.router("ip -o link show type vrf | wc -l").trim(), "2");
        reconcile(&kernel, &KernelState::default()).await;
        assert_eq!(node.router("ip -o link show type vrf"), "");
        assert!(!node.router("ip route show table all; ip -6 route show table all").contains("unreachable"));
    });
}

#[test]
fn strict_mode_prevents_two_devices_with_the_same_table() {
    let (true, Some(node)) = (has_vrf_devices(), Node::new()) else { return };
    runtime().block_on(async {
        converge(&node.kernel().await, &red_and_blue()).await;
        let add = format!("ip link add other type vrf table {} 2>&1 || true", table(100));
        assert!(node.router(&add).contains("EINVAL") || !node.router("ip -o link").contains("other"), "accepted");
        assert_eq!(node.router("sysctl -n net.vrf.strict_mode net.ipv4.tcp_l3mdev_accept"), "1\n0\n");
        // The host's own settings are left alone.
        assert_eq!(node.host("sysctl -n net.vrf.strict_mode"), "0\n");
    });
}

#[test]
fn session_addresses_reply_in_their_vrf_up_to_the_mtu() {
    let (true, Some(node)) = (has_vrf_devices(), Node::new()) else { return };
    runtime().block_on(async {
        converge(&node.kernel().await, &red_and_blue()).await;
        for (address, header) in [("192.169.100.1", 28), ("2001:db8:101::1", 48)] {
            let ping = |bytes: u32| node.host(&format!("ping -c 1 -W 2 -M do -s {} {address} || true", bytes - header));
            assert!(ping(1450).contains(" 0% packet loss"), "{}", ping(1450));
            let too_long = node.host(&format!("ping -c 1 -W 1 -M do -s {} {address} 2>&1 || true", 1451 - header));
            assert!(too_long.contains("too long") || too_long.contains("100% packet loss"), "{too_long}");
        }
        // An address of red is not reachable from main or blue.
        for source in ["", "-I v1"] {
            let ping = node.router(&format!("ping -c 1 -W 1 {source} 192.169.100.2 2>&1 || true"));
            assert!(!ping.contains(" 0% packet loss"), "{ping}");
        }
    });
}

#[test]
fn a_recreated_vrf_device_gets_its_members_back() {
    let (true, Some(node)) = (has_vrf_devices(), Node::new()) else { return };
    runtime().block_on(async {
        let kernel = node.kernel().await;
        let wanted = red_and_blue();
        converge(&kernel, &wanted).await;
        node.router("ip link delete v0");
        converge(&kernel, &wanted).await;
        node.router(&format!(
            "ip link delete v1; ip link add v1 type vrf table 77; ip link set v1 group {}",
            names::LINK_GROUP
        ));
        converge(&kernel, &wanted).await;
        let key = kernel::model::LinkKey {
            netns: Netns::Router,
            name: OwnedName::Vni(Role::PeVeth, Vni::try_from(101).unwrap()),
        };
        node.router("ip link set pe-101 nomaster");
        assert!(
            reconcile(&kernel, &wanted)
                .await
                .contains(&KernelOp::SetMaster { key, master: Some(OwnedName::Vrf("v1".parse().unwrap())) })
        );
        converge(&kernel, &wanted).await;
    });
}

/// The run directory, namespaces and FRR of one test, removed at the end.
struct ScratchRouter(Runtime);

impl ScratchRouter {
    fn new(test: &str) -> Self {
        let name = format!("pvm-{test}-{}", std::process::id());
        Self(Runtime::new(PathBuf::from("/run").join(&name), PathBuf::from("/run/netns").join(&name)))
    }

    async fn daemons(&self, mode: VrfMode) -> Daemons {
        Daemons::new(self.0.clone(), mode, FRR_DIR).await.unwrap()
    }
}

impl Drop for ScratchRouter {
    fn drop(&mut self) {
        let runtime = self.0.clone();
        let stop = || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(daemons::stop_all(&runtime)).unwrap();
            netns::remove_all(&runtime).unwrap();
            std::fs::remove_dir_all(runtime.dir()).unwrap();
        };
        std::thread::scope(|scope| scope.spawn(stop).join().unwrap());
    }
}

#[rstest]
#[case(VrfMode::Netns, VrfMode::Vrf)]
#[case(VrfMode::Vrf, VrfMode::Netns)]
fn the_mode_of_a_running_router_is_not_changed(#[case] running: VrfMode, #[case] other: VrfMode) {
    if !has_vrf_devices() {
        return;
    }
    let router = ScratchRouter::new(&format!("{running}-{other}"));
    runtime().block_on(async {
        router.daemons(running).await.ensure().await.unwrap();
        let pid = std::fs::read_to_string(router.0.pid_file(perouter::runtime::Daemon::Zebra)).unwrap();
        let error = router.daemons(other).await.ensure().await.unwrap_err();
        assert_eq!(
            error_chain(&error),
            format!(
                "zebra (process {}) runs in {running} mode, but {other} mode is requested: run `perouter cleanup` first",
                pid.trim()
            )
        );
        // It was not changed, and a request for its mode adopts it.
        router.daemons(running).await.ensure().await.unwrap();
        assert_eq!(std::fs::read_to_string(router.0.pid_file(perouter::runtime::Daemon::Zebra)).unwrap(), pid);
    });
    let run = |command: &str, mode: VrfMode| {
        let directory = router.0.dir().join("config");
        std::fs::create_dir_all(&directory).unwrap();
        let paths = [("--run-dir", router.0.dir()), ("--netns", router.0.router_netns()), ("--config-dir", &directory)];
        let mut process = Command::new("timeout");
        process.args([
            "20",
            env!("CARGO_BIN_EXE_perouter"),
            command,
            "--node-index",
            "0",
            "--vrf-mode",
            &mode.to_string(),
        ]);
        for (flag, path) in paths {
            process.arg(flag).arg(path);
        }
        process.env_remove("PEROUTER_VRF_MODE").output().unwrap()
    };
    for (command, words) in [
        ("run", format!("runs in {running} mode, but {other} mode is requested: run `perouter cleanup` first")),
        ("controller", format!("the router runs in {running} mode: use the same --vrf-mode for router and controller")),
    ] {
        let output = run(command, other);
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some_and(|code| code != 0 && code != 124), "{:?} {message}", output.status);
        assert!(message.contains(&words), "{message}");
    }
}
