//! Kernel state of nodes. In: a node and a VRF. Out: links, routes, neighbors, whatever the VRF mode. No other module
//! of these tests depends on the VRF mode.

use std::collections::{BTreeMap, BTreeSet};

use perouter_lab::node::Node;
use serde_json::Value;

const ROUTER_NETNS: &str = "/run/netns/perouter";
const VRF_NETNS: &str = "/run/perouter/ns";

fn json(node: &Node, words: &[&str]) -> Vec<Value> {
    // `ip` prints nothing instead of an empty list, and fails if the link does not exist.
    let output = node.run(words).unwrap();
    serde_json::from_str(&output.stdout).unwrap_or_default()
}

fn exists(node: &Node, path: &str) -> bool {
    node.run(&["test", "-e", path]).unwrap().success()
}

/// The prefix of a command that runs in the router's namespace.
pub fn in_router() -> [&'static str; 2] {
    ["nsenter", "--net=/run/netns/perouter"]
}

/// A command in the namespace of the IP-VRF: its own, or the router's.
pub fn in_vrf(node: &Node, vrf: &str, words: &[&str]) -> Vec<String> {
    let own = format!("{VRF_NETNS}/{vrf}");
    let path = if exists(node, &own) { own } else { ROUTER_NETNS.to_owned() };
    let enter = ["nsenter".to_owned(), format!("--net={path}")];
    enter.into_iter().chain(words.iter().map(|word| (*word).to_owned())).collect()
}

/// Names of the links by namespace: the node's own, the router's, and those of its VRFs. Without empty namespaces,
/// which remain with FRR 10.
pub fn links(node: &Node) -> BTreeMap<String, BTreeSet<String>> {
    let listed = node.run(&["ls", VRF_NETNS]).unwrap().stdout;
    let vrfs = listed.lines().map(|vrf| format!("{VRF_NETNS}/{vrf}"));
    let router = exists(node, ROUTER_NETNS).then(|| ROUTER_NETNS.to_owned());
    let mut found = BTreeMap::from([("host".to_owned(), names(&json(node, &["ip", "-j", "link"])))]);
    for path in router.into_iter().chain(vrfs) {
        let net = format!("--net={path}");
        let names = names(&json(node, &["nsenter", &net, "ip", "-j", "link"]));
        if !names.iter().eq(["lo"]) {
            found.insert(path, names);
        }
    }
    found
}

fn names(links: &[Value]) -> BTreeSet<String> {
    links.iter().filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect()
}

/// Whether the router of a node has a VRF: a namespace with links, or a VRF device.
pub fn vrf_exists(node: &Node, vrf: &str) -> bool {
    let links = links(node);
    links.contains_key(&format!("{VRF_NETNS}/{vrf}"))
        || links.get(ROUTER_NETNS).is_some_and(|links| links.contains(vrf))
}

/// Has a leaf drop what it has for a prefix in a VRF, except where a longer one matches.
pub fn blackhole_at_leaf(leaf: &Node, vrf: &str, prefix: &str) {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let route = ["ip", family, "route", "add", "blackhole", prefix, "metric", "1"];
    if exists(leaf, &format!("/run/netns/{vrf}")) {
        let netns = format!("--net=/run/leaf-vrf/{vrf}");
        leaf.check(&[&["nsenter", &netns][..], &route].concat()).unwrap();
    } else {
        leaf.check(&[&route[..], &["vrf", vrf]].concat()).unwrap();
    }
}

/// Next hops of a route in the kernel table of a leaf's VRF.
pub fn leaf_next_hops(leaf: &Node, vrf: &str, prefix: &str) -> BTreeSet<String> {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let netns = format!("/run/leaf-vrf/{vrf}");
    let routes = if exists(leaf, &format!("/run/netns/{vrf}")) {
        json(leaf, &["nsenter", &format!("--net={netns}"), "ip", family, "-j", "route", "show", "exact", prefix])
    } else {
        json(leaf, &["ip", family, "-j", "route", "show", "vrf", vrf, "exact", prefix])
    };
    routes.iter().flat_map(next_hops).collect()
}

/// Next hops of a route in the kernel table of an IP-VRF of a node's router.
pub fn vrf_next_hops(node: &Node, vrf: &str, prefix: &str) -> BTreeSet<String> {
    let netns = format!("{VRF_NETNS}/{vrf}");
    let routes = if exists(node, &netns) {
        json(node, &["nsenter", &format!("--net={netns}"), "ip", "-j", "route", "show", "exact", prefix])
    } else {
        let router = format!("--net={ROUTER_NETNS}");
        json(node, &["nsenter", &router, "ip", "-j", "route", "show", "vrf", vrf, "exact", prefix])
    };
    routes.iter().flat_map(next_hops).collect()
}

/// Next hops of a route in the main kernel table of a node.
pub fn host_next_hops(node: &Node, prefix: &str) -> BTreeSet<String> {
    json(node, &["ip", "-j", "route", "show", "exact", prefix]).iter().flat_map(next_hops).collect()
}

fn next_hops(route: &Value) -> Vec<String> {
    let via = |hop: &Value| {
        let address = hop["gateway"].as_str().or_else(|| hop["via"]["host"].as_str());
        address.map(str::to_owned)
    };
    let multipath = route["nexthops"].as_array().into_iter().flatten();
    multipath.chain([route]).filter_map(via).collect()
}

/// Devices through which a node's router reaches an address of the underlay.
pub fn router_devices(node: &Node, prefix: &str) -> BTreeSet<String> {
    let family = if prefix.contains(':') { "-6" } else { "-4" };
    let routes = json(node, &[&in_router()[..], &["ip", family, "-j", "route", "show", "exact", prefix]].concat());
    let devices = |route: &Value| {
        let multipath = route["nexthops"].as_array().into_iter().flatten();
        multipath.chain([route]).filter_map(|hop| hop["dev"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    routes.iter().flat_map(devices).collect()
}

/// Packets that a NIC of a node's router has sent and received, in this order.
pub fn router_packets(node: &Node, nic: &str) -> [u64; 2] {
    let link = json(node, &[&in_router()[..], &["ip", "-s", "-j", "link", "show", "dev", nic]].concat()).remove(0);
    ["tx", "rx"].map(|direction| link["stats64"][direction]["packets"].as_u64().unwrap())
}

/// Device and next hops of a route in the kernel table of an IP-VRF of a node's router.
pub fn vrf_route(node: &Node, vrf: &str, prefix: &str) -> Option<(String, Vec<String>)> {
    let mut words = vec!["ip", "-j", "route", "show"];
    if !exists(node, &format!("{VRF_NETNS}/{vrf}")) {
        words.extend(["vrf", vrf]);
    }
    words.extend(["exact", prefix]);
    let words = in_vrf(node, vrf, &words);
    let routes = json(node, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let route = routes.first()?;
    Some((route["dev"].as_str()?.to_owned(), next_hops(route)))
}

/// The router MAC that an IP-VRF of a node's router uses for a VTEP.
pub fn vtep_mac(node: &Node, vrf: &str, bridge: &str, vtep: &str) -> Option<String> {
    let words = in_vrf(node, vrf, &["ip", "-4", "-j", "neigh", "show", vtep, "dev", bridge]);
    let neighbors = json(node, &words.iter().map(String::as_str).collect::<Vec<_>>());
    Some(neighbors.first()?["lladdr"].as_str()?.to_owned())
}

/// The kernel of the guest with VRF devices has no nftables.
pub fn kernel_has_nftables() -> bool {
    let words = ["--net", "nft", "add", "table", "inet", "probe"];
    std::process::Command::new("unshare").args(words).output().unwrap().status.success()
}
