//! Pods that a CNI plugin attaches to the bridge of a segment, as Multus calls it for examples/layer2: the plugin `bridge` of Debian,
//! with the configuration of the example and the environment that Multus passes.

use std::path::Path;
use std::time::Instant;

use perouter_lab::node::Node;
use serde_json::{Value, json};

use super::fixture::{Fixture, NODES, Setup, until_true};
use super::l2vni::with_l2vni;

const PLUGINS: &str = "/usr/lib/cni";
/// The name that Multus gives to the first interface of a `NetworkAttachmentDefinition`.
const INTERFACE: &str = "net1";

fn example(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/layer2").join(file)).unwrap()
}

/// The configuration in the example, with the name that Multus adds.
fn config() -> Value {
    let text = example("workload.yaml");
    let lines = text.lines().skip_while(|line| line.trim() != "config: |").skip(1);
    let block: String = lines.take_while(|line| line.starts_with("    ")).collect();
    let mut config: Value = serde_json::from_str(&block).unwrap();
    config["name"] = json!("layer2");
    config
}

/// Whether the plugins are installed; without them the test is left out.
fn has_plugins() -> bool {
    let found = ["bridge", "static"].iter().all(|plugin| Path::new(PLUGINS).join(plugin).exists());
    if !found {
        eprintln!("left out: no CNI plugins in {PLUGINS} (containernetworking-plugins)");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test with CNI plugins");
    }
    found
}

/// The sandbox of a Pod, and what Multus calls the plugin with.
struct Sandbox<'a> {
    node: &'a Node,
    pod: &'static str,
    address: &'static str,
}

impl<'a> Sandbox<'a> {
    fn new(node: &'a Node, pod: &'static str, address: &'static str) -> Self {
        node.check(&["ip", "netns", "add", pod]).unwrap();
        Self { node, pod, address }
    }

    /// Calls the plugin. Returns its result.
    fn call(&self, command: &str) -> Value {
        let arguments = format!(
            "CNI_ARGS=IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME={};IP={}/24",
            self.pod, self.address
        );
        let environment = [
            format!("CNI_COMMAND={command}"),
            format!("CNI_CONTAINERID={}-0123456789", self.pod),
            format!("CNI_NETNS=/run/netns/{}", self.pod),
            format!("CNI_IFNAME={INTERFACE}"),
            format!("CNI_PATH={PLUGINS}"),
            arguments,
        ];
        let script = format!("printf %s '{}' | {PLUGINS}/bridge", config());
        let words: Vec<&str> = ["env"]
            .into_iter()
            .chain(environment.iter().map(String::as_str))
            .chain(["sh", "-c", script.as_str()])
            .collect();
        let output = self.node.run(&words).unwrap();
        assert!(output.success(), "{command}: {}{}", output.stdout, output.stderr);
        if output.stdout.is_empty() { Value::Null } else { serde_json::from_str(&output.stdout).unwrap() }
    }

    fn check(&self, words: &[&str]) -> String {
        self.node.check(&[&["ip", "netns", "exec", self.pod], words].concat()).unwrap()
    }

    #[track_caller]
    fn await_ping(&self, address: &str) {
        let words = ["ip", "netns", "exec", self.pod, "ping", "-c", "1", "-W", "1", address];
        until_true(&format!("replies of {address} to {}", self.pod), || self.node.run(&words).unwrap().success());
    }
}

/// The ports of the bridge of the segment.
fn ports(node: &Node) -> usize {
    let text = node.check(&["ip", "-j", "link", "show", "master", "br-hs-110"]).unwrap();
    serde_json::from_str::<Vec<Value>>(&text).unwrap().len()
}

#[test]
fn pods_that_the_bridge_plugin_attaches_reach_each_other_and_leave() {
    if !has_plugins() {
        return;
    }
    let l2vni = example("openpe.yaml").split("---\n").last().unwrap().to_owned();
    let setup = with_l2vni(Setup::example(), "layer2.yaml", l2vni);
    let Some(fixture) = Fixture::start_with("cni", &[0, 1], &setup) else { return };
    fixture.routers.iter().for_each(|router| router.await_ready(&[100, 110, 200]));
    let [one, two] = NODES.map(|name| fixture.node(name));
    let first = Sandbox::new(one, "first", "192.170.1.3");
    let second = Sandbox::new(two, "second", "192.170.1.4");
    for sandbox in [&first, &second] {
        let result = sandbox.call("ADD");
        assert_eq!(result["ips"][0]["address"], format!("{}/24", sandbox.address), "{result}");
        assert_eq!(ports(sandbox.node), 2);
        let link: Value = serde_json::from_str(&sandbox.check(&["ip", "-j", "link", "show", INTERFACE])).unwrap();
        assert_eq!(link[0]["mtu"], 1450);
    }
    for (from, to) in [(&first, &second), (&second, &first)] {
        from.await_ping("192.170.1.1");
        from.await_ping(to.address);
        // Behind a leaf, by the route of the example.
        from.await_ping("192.168.20.2");
    }
    let leaf = fixture.node("leafA");
    let is_advertised =
        |address: &str| leaf.check(&["vtysh", "-c", "show bgp l2vpn evpn route type macip"]).unwrap().contains(address);
    for sandbox in [&first, &second] {
        until_true("the MAC/IP route of the Pod on leafA", || is_advertised(&format!("[{}]", sandbox.address)));
    }
    // What the plugin sets is nothing that perouter would undo.
    let plan = fixture.routers[0].plan();
    assert!(plan.stdout.contains("0 kernel operations, 0 FRR lines"), "{}{}", plan.stdout, plan.stderr);

    first.call("DEL");
    let start = Instant::now();
    assert_eq!(ports(one), 1);
    assert!(!first.check(&["ip", "link"]).contains(INTERFACE));
    until_true("the withdrawal of the MAC/IP route on leafA", || !is_advertised("[192.170.1.3]"));
    println!("the route of a Pod that is gone is withdrawn after {:?}", start.elapsed());
    assert!(is_advertised("[192.170.1.4]"));
    second.await_ping("192.170.1.1");
}
