//! The network of a Pod by CNI plugins, called as a container runtime does. In: a node, a Pod, a plugin and its configuration.
//! Out: results of the plugin, and what the Pod reaches. Knows nothing of the router and of Kubernetes.

use std::path::Path;

use perouter_lab::node::Node;
use serde_json::Value;

use super::fixture::until_true;

/// The plugins of Debian.
pub const PLUGINS: &str = "/usr/lib/cni";
/// The bridge of the segment of examples/layer2.
const BRIDGE: &str = "br-hs-110";

/// Whether these plugins are installed; without them the test is left out.
pub fn has_plugins(names: &[&str]) -> bool {
    let found = names.iter().all(|plugin| Path::new(PLUGINS).join(plugin).exists());
    if !found {
        eprintln!("left out: {names:?} are not all in {PLUGINS} (containernetworking-plugins)");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test with CNI plugins");
    }
    found
}

/// A plugin, the folders where it finds others, and its configuration.
pub struct Plugin<'a> {
    pub program: &'a Path,
    /// `CNI_PATH`.
    pub search: &'a str,
    pub config: &'a Value,
}

/// The network namespace of a Pod.
pub struct Sandbox<'a> {
    pub node: &'a Node,
    pod: &'a str,
    /// `CNI_IFNAME`.
    interface: &'a str,
    /// What `CNI_ARGS` has beside the Pod's name.
    arguments: &'a str,
}

impl<'a> Sandbox<'a> {
    /// Makes it on a node. `interface` is what the plugin is to call its link, `arguments` what `CNI_ARGS` has beside the Pod's name.
    pub fn new(node: &'a Node, pod: &'a str, interface: &'a str, arguments: &'a str) -> Self {
        node.check(&["ip", "netns", "add", pod]).unwrap();
        Self { node, pod, interface, arguments }
    }

    /// Calls the plugin, which must succeed. Returns its result.
    #[track_caller]
    pub fn call(&self, plugin: &Plugin<'_>, command: &str) -> Value {
        let arguments = format!(
            "CNI_ARGS=IgnoreUnknown=true;K8S_POD_NAMESPACE=default;K8S_POD_NAME={};{}",
            self.pod, self.arguments
        );
        let environment = [
            format!("CNI_COMMAND={command}"),
            format!("CNI_CONTAINERID={}-0123456789", self.pod),
            format!("CNI_NETNS=/run/netns/{}", self.pod),
            format!("CNI_IFNAME={}", self.interface),
            format!("CNI_PATH={}", plugin.search),
            arguments,
        ];
        let script = format!("printf %s '{}' | {}", plugin.config, plugin.program.display());
        let words = ["env"].into_iter().chain(environment.iter().map(String::as_str)).chain(["sh", "-c", &script]);
        let output = self.node.run(&words.collect::<Vec<_>>()).unwrap();
        assert!(output.success(), "{command}: {}{}", output.stdout, output.stderr);
        if output.stdout.is_empty() { Value::Null } else { serde_json::from_str(&output.stdout).unwrap() }
    }

    /// Runs a command in it, whose exit code has to be 0.
    pub fn check(&self, words: &[&str]) -> String {
        self.node.check(&[&["ip", "netns", "exec", self.pod], words].concat()).unwrap()
    }

    /// A link in it, with its addresses.
    pub fn link(&self, name: &str) -> Value {
        let links: Value = serde_json::from_str(&self.check(&["ip", "-j", "address", "show", name])).unwrap();
        links[0].clone()
    }

    #[track_caller]
    pub fn await_ping(&self, address: &str) {
        let words = ["ip", "netns", "exec", self.pod, "ping", "-c", "1", "-W", "1", address];
        until_true(&format!("replies of {address} to {}", self.pod), || self.node.run(&words).unwrap().success());
    }
}

/// The number of ports of the bridge of the segment.
pub fn ports(node: &Node) -> usize {
    let text = node.check(&["ip", "-j", "link", "show", "master", BRIDGE]).unwrap();
    serde_json::from_str::<Vec<Value>>(&text).unwrap().len()
}

/// Whether a leaf has a MAC/IP route of this address.
pub fn is_advertised(leaf: &Node, address: &str) -> bool {
    let routes = leaf.check(&["vtysh", "-c", "show bgp l2vpn evpn route type macip"]).unwrap();
    routes.contains(&format!("[{address}]"))
}
