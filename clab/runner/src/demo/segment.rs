//! The Pods of the demo on a segment, and what is shown of them: pings and tables.
//!
//! In: the lab with its routers. Out: Pods, and lines to show. It must not know the order of the steps.

use serde_json::Value;

use super::context::{DemoContext, NODES, await_state};
use super::error::StepError;
use super::settings::Demo;
use crate::inspect::align;
use crate::node::{Node, NodeError};
use crate::ping;
use crate::workload::{Workload, WorkloadSpec};

/// A Pod of `examples/layer2/workload.yaml`.
#[derive(Clone, Copy)]
pub(super) struct DemoPod {
    pub(super) name: &'static str,
    pub(super) address: &'static str,
    /// As the CNI plugin `bridge` makes it of the address.
    pub(super) mac: &'static str,
}

/// The Pods, each on the node with its index.
pub(super) const PODS: [DemoPod; 2] = [
    DemoPod { name: "first", address: "192.170.1.3", mac: "0a:58:c0:aa:01:03" },
    DemoPod { name: "second", address: "192.170.1.4", mac: "0a:58:c0:aa:01:04" },
];
/// Gateway of the segment.
pub(super) const GATEWAY: &str = "192.170.1.1";
/// The segment.
pub(super) const VNI: &str = "110";
const BRIDGE: &str = "br-hs-110";
/// What the Pods reach by their gateway: hosts of the fabric, the hosts of the nodes, services.
const ROUTES: [(&str, &str); 3] =
    [("192.168.0.0/16", GATEWAY), ("192.169.0.0/16", GATEWAY), ("172.30.0.0/24", GATEWAY)];

/// Attaches a Pod to the segment on a node.
pub(super) fn attach(node: &Node, pod: &DemoPod) -> Result<Workload, NodeError> {
    let address = format!("{}/24", pod.address);
    let spec = WorkloadSpec {
        name: pod.name,
        bridge: BRIDGE,
        mac: Some(pod.mac),
        addresses: &[&address],
        routes: &ROUTES,
        // As the CNI plugin does it.
        announces: true,
    };
    Workload::attach(node, &spec)
}

/// Three pings, and whether replies are expected.
pub(super) struct DemoPing {
    pub(super) from: &'static str,
    pub(super) to: &'static str,
    /// What has the address.
    pub(super) at: &'static str,
    pub(super) replies: bool,
}

/// Pings, and waits until each that should be answered is; returns a table of them.
pub(super) fn pings(context: &mut DemoContext, pings: &[DemoPing]) -> Result<String, StepError> {
    let mut rows = vec![["PING", "REPLIES", "THE LAST ONE", "TO"].map(ToOwned::to_owned)];
    for DemoPing { from, to, at, replies } in pings {
        let mut answered = Vec::new();
        if *replies {
            await_state(context, &format!("replies of {to} to {from}"), |context| {
                answered = ping_from(context, from, to).map_err(|error| error.to_string())?;
                if answered.len() == 3 { Ok(()) } else { Err(format!("{} of 3 replies", answered.len())) }
            })?;
        } else {
            answered = ping_from(context, from, to)?;
            if !answered.is_empty() {
                return Err(StepError::Reached { from, address: to, replies: answered.len() });
            }
        }
        // `64 bytes from ADDRESS: icmp_seq=3 ttl=64 time=0.1 ms`
        let last = answered.last().and_then(|line| line.find("ttl=").map(|at| line[at..].to_owned()));
        let last = last.unwrap_or_else(|| "(expected)".to_owned());
        let place = place_of(context, to).map_or_else(String::new, |node| format!(" on {node}"));
        let command = format!("{from}$ ping -c 3 {to}");
        rows.push([command, format!("{} of 3", answered.len()), last, format!("{at}{place}")]);
    }
    Ok(align(&rows))
}

fn ping_from(context: &DemoContext, from: &str, to: &str) -> Result<Vec<String>, StepError> {
    match context.pods.iter().find(|pod| pod.name() == from) {
        Some(pod) => Ok(pod.ping(&[], to)?),
        None => Ok(ping::replies(context.lab.node(from)?, &[], &[], 3, to)?),
    }
}

/// The node on which the Pod with an address is.
fn place_of(context: &DemoContext, address: &str) -> Option<String> {
    let pod = PODS.iter().find(|pod| pod.address == address)?;
    context.pods.iter().find(|other| other.name() == pod.name).map(|found| found.node().name().to_string())
}

/// Runs perouter in a node.
pub(super) fn perouter(demo: &Demo, context: &DemoContext, node: &str, words: &[&str]) -> Result<String, StepError> {
    let program = demo.perouter.to_string_lossy();
    Ok(context.lab.node(node)?.check(&[&[&*program], words].concat())?)
}

/// A command of perouter with its output.
pub(super) fn shown(demo: &Demo, context: &DemoContext, node: &str, words: &[&str]) -> Result<String, StepError> {
    let output = perouter(demo, context, node, words)?;
    Ok(format!("{node}$ perouter {}\n{}", words.join(" "), indented(&output)))
}

/// Where the first Pod is, and the sequence number of its MAC address (RFC 7432 section 15).
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Index of the node.
    pub(super) node: usize,
    pub(super) sequence: u64,
}

/// What zebra of both nodes and leafA have of the Pods while the first one is there, as soon as it is so.
pub(super) fn tables(demo: &Demo, context: &mut DemoContext, place: Place) -> Result<String, StepError> {
    await_state(context, "both Pods in the tables of both nodes and of leafA", |context| {
        NODES.iter().enumerate().try_for_each(|(index, node)| in_zebra(demo, context, index, node, place))?;
        let vteps = at_leaf(context).map_err(|error| error.to_string())?;
        let wanted = [VTEPS[place.node], VTEPS[1]];
        if vteps == wanted { Ok(()) } else { Err(format!("next hops at leafA are {vteps:?} instead of {wanted:?}")) }
    })?;
    let mut lines = String::new();
    for node in NODES {
        lines += &shown(demo, context, node, &["macs", VNI])?;
    }
    lines += &shown(demo, context, NODES[place.node], &["routes", "red", "--from", "segment"])?;
    lines += "leafA, routes of VRF red:\n";
    let at_leaf = at_leaf(context)?;
    let via = |(pod, vtep): (&DemoPod, String)| format!("    {}/32 via VTEP {vtep} ({})\n", pod.address, pod.name);
    lines.extend(PODS.iter().zip(at_leaf).map(via));
    Ok(lines)
}

/// VTEPs of the nodes.
const VTEPS: [&str; 2] = ["100.65.0.1", "100.65.0.2"];

/// Whether a node has the MAC addresses of both Pods where they are.
fn in_zebra(demo: &Demo, context: &DemoContext, index: usize, node: &str, place: Place) -> Result<(), String> {
    let text = perouter(demo, context, node, &["macs", VNI, "-o", "json"]).map_err(|error| error.to_string())?;
    let list: Value = serde_json::from_str(&text).unwrap_or_default();
    for (pod, (at, sequence)) in PODS.iter().zip([(place.node, place.sequence), (1, 0)]) {
        let mut items = list["items"].as_array().into_iter().flatten();
        let entry = items.find(|item| item["mac"] == pod.mac).cloned().unwrap_or_default();
        let kind = if at == index { "local" } else { "remote" };
        let known = entry["addresses"].get(pod.address).is_some();
        if entry["place"].get(kind).is_none() || entry["sequence"] != sequence || !known {
            return Err(format!("{} at {node}: {entry} is not {kind} with sequence {sequence}", pod.name));
        }
    }
    Ok(())
}

/// Next hops of the Pods in VRF red of leafA; empty without a route.
fn at_leaf(context: &DemoContext) -> Result<[String; 2], StepError> {
    let text = context.lab.node("leafA")?.check(&["vtysh", "-c", "show ip route vrf red bgp json"])?;
    let routes: Value = serde_json::from_str(&text).unwrap_or_default();
    let next_hop = |pod: &DemoPod| routes[format!("{}/32", pod.address)][0]["nexthops"][0]["ip"].as_str();
    Ok(PODS.each_ref().map(|pod| next_hop(pod).unwrap_or_default().to_owned()))
}

/// Lines with four spaces before them.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("    {line}").trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pods_are_those_of_the_example() {
        let text = |file: &str| std::fs::read_to_string(format!("../../examples/layer2/{file}")).unwrap();
        let (workload, objects) = (text("workload.yaml"), text("openpe.yaml"));
        for (pod, node) in PODS.iter().zip(NODES) {
            let lines = format!(
                "name: {}\n  namespace: default\n  annotations:\n    k8s.v1.cni.cncf.io/networks: \
                 '[{{\"name\": \"layer2\", \"ips\": [\"{}/24\"]}}]'\nspec:\n  nodeName: {node}\n",
                pod.name, pod.address
            );
            assert!(workload.contains(&lines), "{lines}");
            let bytes = pod.address.split('.').map(|byte| format!(":{:02x}", byte.parse::<u8>().unwrap()));
            assert_eq!(pod.mac, format!("0a:58{}", bytes.collect::<String>()));
        }
        let routes = ROUTES.map(|(to, gateway)| format!("{{\"dst\": \"{to}\", \"gw\": \"{gateway}\"}}"));
        for part in routes.iter().chain([&format!("\"bridge\": \"{BRIDGE}\"")]) {
            assert!(workload.contains(part), "{part}");
        }
        for part in [format!("vni: {VNI}\n"), format!("- {GATEWAY}/24\n"), "vtepcidr: 100.65.0.0/24\n".to_owned()] {
            assert!(objects.contains(&part), "{part}");
        }
    }
}
