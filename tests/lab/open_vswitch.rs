//! Segments whose host end is a port of Open vSwitch: what is waited for, what carries traffic, what of others is left alone. The
//! datapath is that of the kernel where it has the module, as in the guest of `vrf` mode, else one in user space
//! (`datapath_type=netdev`), in the namespaces of the node.

use std::time::{Duration, Instant};

use perouter::status::model::ObjectState;
use perouter_lab::node::{Background, Node};

use super::fabric::ping;
use super::fixture::{Fixture, NODES, SETTLE, Setup, until, until_true};
use super::l2vni::{l2vni, routed, with_l2vni};
use super::pod::mtu;

const SOCKET: &str = "/run/openvswitch/db.sock";
/// What is not waited for by an event takes longer.
const BY_EVENT: Duration = Duration::from_secs(5);

/// Open vSwitch of a node.
struct OpenVswitch {
    node: Node,
    database: Option<Background>,
    switch: Option<Background>,
}

impl OpenVswitch {
    fn of(node: &Node) -> Self {
        Self { node: node.clone(), database: None, switch: None }
    }

    /// Starts ovsdb-server, on the database that it had.
    fn start_database(&mut self) {
        let directory = "/run/openvswitch";
        self.node.check(&["mkdir", "-p", directory]).unwrap();
        let file = format!("{directory}/conf.db");
        if !self.node.file(&file).exists() {
            self.node.check(&["ovsdb-tool", "create", &file, "/usr/share/openvswitch/vswitch.ovsschema"]).unwrap();
        }
        let (remote, control) = (format!("--remote=punix:{SOCKET}"), format!("--unixctl={directory}/db.ctl"));
        let words = ["ovsdb-server", &file, &remote, &control, "-vconsole:warn"];
        self.database = Some(self.node.spawn(&words, &self.node.log_folder().join("ovsdb.log")).unwrap());
        until_true("ovsdb-server", || self.node.file(SOCKET).exists() && self.run(&["--no-wait", "init"]).is_some());
    }

    fn start_switch(&mut self) {
        let socket = format!("unix:{SOCKET}");
        let mut words = vec!["ovs-vswitchd", &socket, "--unixctl=/run/openvswitch/vs.ctl", "-vconsole:warn"];
        if !has_kernel_datapath() {
            words.push("--disable-system");
        }
        self.switch = Some(self.node.spawn(&words, &self.node.log_folder().join("vswitchd.log")).unwrap());
    }

    fn stop_switch(&mut self) {
        self.switch.take().unwrap().terminate(SETTLE).unwrap();
    }

    fn stop_database(&mut self) {
        self.database.take().unwrap().terminate(SETTLE).unwrap();
    }

    fn run(&self, words: &[&str]) -> Option<String> {
        let socket = format!("--db=unix:{SOCKET}");
        let output = self.node.run(&[&["ovs-vsctl", "-t", "10", &socket][..], words].concat()).unwrap();
        output.success().then_some(output.stdout)
    }

    /// `ovs-vsctl`, which waits for ovs-vswitchd.
    #[track_caller]
    fn vsctl(&self, words: &[&str]) -> String {
        self.run(words).unwrap_or_else(|| panic!("ovs-vsctl {words:?}")).trim().to_owned()
    }

    /// A bridge of the host.
    fn add_bridge(&self, name: &str) {
        let datapath = format!("datapath_type={}", datapath());
        self.vsctl(&["add-br", name, "--", "set", "bridge", name, &datapath]);
    }

    /// All of a bridge but its ports.
    fn bridge(&self, name: &str) -> Vec<String> {
        let text = self.vsctl(&["list", "bridge", name]);
        text.lines().filter(|line| !line.starts_with("ports ")).map(str::to_owned).collect()
    }

    /// A Pod as a port of a bridge, with an address of segment 110.
    fn attach(&self, name: &str, bridge: &str) {
        let node = &self.node;
        let mtu = mtu(node, "host-110").to_string();
        let within = |words: &[&str]| node.check(&[&["ip", "netns", "exec", name], words].concat()).unwrap();
        node.check(&["ip", "netns", "add", name]).unwrap();
        let veth = ["type", "veth", "peer", "name", "eth0", "mtu", &mtu, "netns", name];
        node.check(&[&["ip", "link", "add", name, "mtu", &mtu][..], &veth].concat()).unwrap();
        node.check(&["ip", "link", "set", name, "up"]).unwrap();
        within(&["ip", "address", "add", "10.110.0.11/24", "dev", "eth0"]);
        within(&["ip", "link", "set", "eth0", "up"]);
        within(&["ip", "route", "add", "default", "via", "10.110.0.1"]);
        self.vsctl(&["add-port", bridge, name]);
    }

    /// Waits until a Pod reaches an address.
    #[track_caller]
    fn await_ping(&self, pod: &str, options: &[&str], address: &str) {
        let words = ["ip", "netns", "exec", pod, "ping", "-c", "1", "-W", "1"];
        until_true(&format!("replies of {address} to {pod}"), || {
            self.node.run(&[&words[..], options, &[address]].concat()).unwrap().success()
        });
    }
}

impl Drop for OpenVswitch {
    fn drop(&mut self) {
        for process in [&mut self.switch, &mut self.database].into_iter().filter_map(Option::as_mut) {
            let _ = process.terminate(SETTLE);
        }
    }
}

/// Whether Open vSwitch is installed; without it the tests are left out.
fn is_installed() -> bool {
    let found =
        ["/usr/sbin/ovsdb-server", "/usr/sbin/ovs-vswitchd"].iter().all(|path| std::path::Path::new(path).exists());
    if !found {
        eprintln!("left out: no Open vSwitch (openvswitch-switch)");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test with Open vSwitch");
    }
    found
}

/// Whether the kernel has the module of the datapath, loaded by who started the machine.
fn has_kernel_datapath() -> bool {
    let found = std::path::Path::new("/sys/module/openvswitch").exists();
    let is_guest = std::env::var("PEROUTER_VRF_MODE").as_deref() == Ok("vrf");
    assert!(found || !is_guest, "the guest has no module openvswitch");
    found
}

fn datapath() -> &'static str {
    if has_kernel_datapath() { "system" } else { "netdev" }
}

const MANAGED: &str = "{type: OVSBridge, ovsBridge: {lifecycle: Managed}}";

fn segment(host_master: &str) -> String {
    let linux = "{type: LinuxBridge, linuxBridge: {lifecycle: Managed}}";
    l2vni("layer2", 110, &routed("red", 110)).replace(linux, host_master)
}

/// Waits until the segment is ready, which an event leads to.
#[track_caller]
fn ready_by_event(fixture: &mut Fixture, what: &str) {
    let start = Instant::now();
    fixture.router().await_l2vni("layer2", ObjectState::Ready);
    println!("{what}: ready after {:?}", start.elapsed());
    assert!(start.elapsed() < super::fixture::scaled(BY_EVENT), "{what}: {:?}", start.elapsed());
}

#[track_caller]
fn await_reason(fixture: &mut Fixture, reason: &str) {
    fixture.router().await_status(reason, |status| {
        status.resources.iter().find(|one| one.name == "layer2" && one.message.contains(reason)).map(drop)
    });
}

#[track_caller]
fn nothing_left(fixture: &mut Fixture) {
    let plan = fixture.router().plan();
    assert!(plan.stdout.contains("0 kernel operations, 0 FRR lines"), "{}{}", plan.stdout, plan.stderr);
}

#[test]
fn a_managed_bridge_of_open_vswitch_carries_the_segment_and_survives_restarts() {
    if !is_installed() {
        return;
    }
    let setup = with_l2vni(Setup::example(), "layer2.yaml", segment(MANAGED));
    let Some(mut fixture) = Fixture::deploy("ovs-managed", &[0], &setup) else { return };
    let node = fixture.node(NODES[0]).clone();
    let host = fixture.node("hostA_red").clone();
    let mut ovs = OpenVswitch::of(&node);
    fixture.router().start();
    let waiting = fixture.router().await_l2vni("layer2", ObjectState::Failed);
    for part in ["the database of Open vSwitch is not reachable at /run/openvswitch/db.sock", "start Open vSwitch"] {
        assert!(waiting.message.contains(part), "{waiting:?}");
    }
    ovs.start_database();
    await_reason(&mut fixture, "ovs-vswitchd does not apply the change: start ovs-vswitchd");
    ovs.start_switch();
    ready_by_event(&mut fixture, "ovs-vswitchd starts");
    assert_eq!(ovs.vsctl(&["get", "bridge", "br-hs-110", "datapath_type"]), datapath());
    ovs.attach("a1", "br-hs-110");
    ovs.await_ping("a1", &[], "10.110.0.1");
    ovs.await_ping("a1", &[], "192.168.20.2");
    until("replies of the Pod to hostA_red", SETTLE, || (ping(&host, "10.110.0.11") == 3).then_some(()));
    let segment_mtu = mtu(&node, "host-110");
    assert_eq!(mtu(&node, "br-hs-110"), segment_mtu);
    ovs.await_ping("a1", &["-M", "do", "-s", &(segment_mtu - 28).to_string()], "10.110.0.1");
    restarts(&mut fixture, &mut ovs);
    ovs.vsctl(&["del-port", "host-110"]);
    until_true("the port again", || ovs.vsctl(&["list-ports", "br-hs-110"]).contains("host-110"));
    ovs.await_ping("a1", &[], "10.110.0.1");
    edits(&mut fixture, &ovs);
    fixture.remove("layer2.yaml");
    until_true("no bridge", || ovs.vsctl(&["list-br"]).is_empty());
    until_true("no port", || !node.run(&["ip", "link", "show", "host-110"]).unwrap().success());
}

/// Neither a restart of perouter nor one of Open vSwitch changes anything in the database.
fn restarts(fixture: &mut Fixture, ovs: &mut OpenVswitch) {
    let node = ovs.node.clone();
    let rows = || ovs_rows(&node);
    let before = rows();
    fixture.router().terminate();
    fixture.router().remove_status();
    fixture.router().start();
    fixture.router().await_l2vni("layer2", ObjectState::Ready);
    nothing_left(fixture);
    assert_eq!(rows(), before, "a restart of perouter");
    ovs.stop_switch();
    ovs.start_switch();
    ovs.await_ping("a1", &[], "192.168.20.2");
    ovs.stop_database();
    ovs.start_database();
    ovs.await_ping("a1", &[], "192.168.20.2");
    ready_by_event(fixture, "a restart of ovsdb-server");
    nothing_left(fixture);
    assert_eq!(rows(), before, "restarts of Open vSwitch");
}

/// Another MTU, a bridge of Linux instead, and back.
fn edits(fixture: &mut Fixture, ovs: &OpenVswitch) {
    let node = ovs.node.clone();
    fixture.write("layer2.yaml", &format!("{}  mtu: 1400\n", segment(MANAGED)));
    until_true("the other MTU", || mtu(&node, "br-hs-110") == 1400 && mtu(&node, "host-110") == 1400);
    fixture.write("layer2.yaml", &l2vni("layer2", 110, &routed("red", 110)));
    until_true("a bridge of Linux", || {
        let is_bridge = node.run(&["ip", "link", "show", "type", "bridge", "dev", "br-hs-110"]).unwrap();
        is_bridge.success() && ovs.vsctl(&["list-br"]).is_empty()
    });
    fixture.router().await_l2vni("layer2", ObjectState::Ready);
    fixture.write("layer2.yaml", &segment(MANAGED));
    until_true("the bridge again", || ovs.vsctl(&["list-br"]) == "br-hs-110");
    ready_by_event(fixture, "OVSBridge again");
    ovs.vsctl(&["add-port", "br-hs-110", "a1"]);
    ovs.await_ping("a1", &[], "10.110.0.1");
}

/// The ids of the bridge and the port of the segment.
fn ovs_rows(node: &Node) -> String {
    let rows = |table: &str, name: &str| {
        let socket = format!("--db=unix:{SOCKET}");
        node.check(&["ovs-vsctl", "-t", "10", &socket, "get", table, name, "_uuid", "external_ids"]).unwrap()
    };
    rows("bridge", "br-hs-110") + &rows("port", "host-110")
}

#[test]
fn an_external_bridge_of_open_vswitch_is_waited_for_and_only_gets_and_loses_a_port() {
    if !is_installed() {
        return;
    }
    let setup = with_l2vni(
        Setup::example(),
        "layer2.yaml",
        segment("{type: OVSBridge, ovsBridge: {lifecycle: External, name: pods}}"),
    );
    let Some(mut fixture) = Fixture::deploy("ovs-external", &[0], &setup) else { return };
    let node = fixture.node(NODES[0]).clone();
    let mut ovs = OpenVswitch::of(&node);
    ovs.start_database();
    ovs.start_switch();
    fixture.router().start();
    await_reason(&mut fixture, "Open vSwitch has no bridge pods: create it (ovs-vsctl add-br pods)");
    // Somebody has made the port in another bridge.
    ovs.add_bridge("others");
    ovs.vsctl(&["add-port", "others", "host-110"]);
    ovs.add_bridge("pods");
    await_reason(
        &mut fixture,
        "Open vSwitch has a port host-110 in bridge others that is not from perouter: remove it",
    );
    assert_eq!(ovs.vsctl(&["port-to-br", "host-110"]), "others");
    let before = ovs.bridge("pods");
    ovs.vsctl(&["del-port", "host-110"]);
    ready_by_event(&mut fixture, "the port of somebody else is removed");
    assert_eq!(ovs.vsctl(&["port-to-br", "host-110"]), "pods");
    assert_eq!(ovs.bridge("pods"), before);
    ovs.attach("a1", "pods");
    ovs.await_ping("a1", &[], "10.110.0.1");
    // Somebody deletes the bridge, and makes it again.
    ovs.vsctl(&["del-br", "pods"]);
    fixture.router().await_l2vni("layer2", ObjectState::Failed);
    ovs.add_bridge("pods");
    ready_by_event(&mut fixture, "the bridge again");
    ovs.vsctl(&["add-port", "pods", "a1"]);
    ovs.await_ping("a1", &[], "10.110.0.1");
    let again = ovs.bridge("pods");
    fixture.router().terminate();
    cleanup_without_database(&mut fixture, &mut ovs);
    fixture.router().perouter(&["cleanup"]);
    assert_eq!(ovs.vsctl(&["list-ports", "pods"]), "a1");
    assert_eq!(ovs.bridge("pods"), again);
}

/// `perouter cleanup` cannot remove the port, and fails.
fn cleanup_without_database(fixture: &mut Fixture, ovs: &mut OpenVswitch) {
    // Its socket remains.
    ovs.database.take().unwrap().kill().unwrap();
    let words = fixture.router().command("cleanup", false);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = ovs.node.run(&words).unwrap();
    for part in
        ["what the router has in Open vSwitch is not removed", "run `perouter cleanup` again when Open vSwitch runs"]
    {
        assert!(!output.success() && output.stderr.contains(part), "{}{}", output.stdout, output.stderr);
    }
    ovs.start_database();
    assert_eq!(ovs.vsctl(&["port-to-br", "host-110"]), "pods");
}
