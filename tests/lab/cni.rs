//! Pods that a CNI plugin attaches to the bridge of a segment, as Multus calls it for examples/layer2: the plugin `bridge` of Debian,
//! with the configuration of the example and the environment that Multus passes. `tests/kubernetes_lab/multus.rs` has Multus itself.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use super::fixture::{Fixture, NODES, Setup, until_true};
use super::l2vni::with_l2vni;
use super::sandbox::{PLUGINS, Plugin, Sandbox, has_plugins, is_advertised, ports};

/// The name that Multus gives to the first interface of a `NetworkAttachmentDefinition`.
const INTERFACE: &str = "net1";
/// Of the Pods in the example.
const ADDRESSES: [&str; 2] = ["192.170.1.3", "192.170.1.4"];

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

#[test]
fn pods_that_the_bridge_plugin_attaches_reach_each_other_and_leave() {
    if !has_plugins(&["bridge", "static"]) {
        return;
    }
    let l2vni = example("openpe.yaml").split("---\n").last().unwrap().to_owned();
    let setup = with_l2vni(Setup::example(), "layer2.yaml", l2vni);
    let Some(fixture) = Fixture::start_with("cni", &[0, 1], &setup) else { return };
    fixture.routers.iter().for_each(|router| router.await_ready(&[100, 110, 200]));
    let (program, config) = (Path::new(PLUGINS).join("bridge"), config());
    let plugin = Plugin { program: &program, search: PLUGINS, config: &config };
    let arguments = ADDRESSES.map(|address| format!("IP={address}/24"));
    let [one, two] = NODES.map(|name| fixture.node(name));
    let pods =
        [Sandbox::new(one, "first", INTERFACE, &arguments[0]), Sandbox::new(two, "second", INTERFACE, &arguments[1])];
    for (pod, address) in pods.iter().zip(ADDRESSES) {
        let result = pod.call(&plugin, "ADD");
        assert_eq!(result["ips"][0]["address"], format!("{address}/24"), "{result}");
        assert_eq!(ports(pod.node), 2);
        assert_eq!(pod.link(INTERFACE)["mtu"], 1450);
    }
    for (pod, other) in pods.iter().zip([ADDRESSES[1], ADDRESSES[0]]) {
        pod.await_ping("192.170.1.1");
        pod.await_ping(other);
        // Behind a leaf, by the route of the example.
        pod.await_ping("192.168.20.2");
    }
    let leaf = fixture.node("leafA");
    for address in ADDRESSES {
        until_true("the MAC/IP route of the Pod on leafA", || is_advertised(leaf, address));
    }
    // What the plugin sets is nothing that perouter would undo.
    let plan = fixture.routers[0].plan();
    assert!(plan.stdout.contains("0 kernel operations, 0 FRR lines"), "{}{}", plan.stdout, plan.stderr);

    let [first, second] = &pods;
    first.call(&plugin, "DEL");
    let start = Instant::now();
    assert_eq!(ports(one), 1);
    assert!(!first.check(&["ip", "link"]).contains(INTERFACE));
    until_true("the withdrawal of the MAC/IP route on leafA", || !is_advertised(leaf, ADDRESSES[0]));
    println!("the route of a Pod that is gone is withdrawn after {:?}", start.elapsed());
    assert!(is_advertised(leaf, ADDRESSES[1]));
    second.await_ping("192.170.1.1");
}
