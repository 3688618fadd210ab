//! The demo of a segment: Pods of two nodes on it, what reaches them, and one that moves.
//!
//! In: the demo's settings and the lab. Out: its steps. It must not contain what a Pod is: that is in [`super::segment`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use super::context::{DemoContext, DemoStep, NODES, await_state};
use super::error::StepError;
use super::routers;
use super::segment::{DemoPing, GATEWAY, PODS, Place, VNI, attach, perouter, pings, shown, tables};
use super::segment_move::move_first;
use super::settings::Demo;
use crate::inspect::align;

/// Steps after the deployment of the fabric.
pub(super) const STEPS: [DemoStep; 9] = [
    DemoStep {
        title: "perouter on both nodes, with the objects of examples/layer2",
        inspect: "pe-kind-worker -- ip netns exec perouter vtysh -c 'show evpn vni'",
        run: start_routers,
    },
    DemoStep {
        title: "a Pod on each node, attached to the bridge br-hs-110 of the host",
        inspect: "pe-kind-worker -- ip link show master br-hs-110",
        run: attach_pods,
    },
    DemoStep {
        title: "east-west: the Pods are on one link, no router between (ttl=64)",
        inspect: "pe-kind-worker -- ip netns exec second ip neighbor",
        run: show_east_west,
    },
    DemoStep {
        title: "the gateway answers on each node, with the same MAC address",
        inspect: "pe-kind-worker -- ip netns exec second ip neighbor",
        run: show_gateway,
    },
    DemoStep {
        title: "north-south: hostA_red, behind a leaf without VNI 110 (ttl=62)",
        inspect: "leafA -- vtysh -c 'show ip route vrf red'",
        run: show_north_south,
    },
    DemoStep {
        title: "what the routers know of the Pods and advertise, before the move",
        inspect: "leafA -- vtysh -c 'show bgp l2vpn evpn route type macip'",
        run: show_before,
    },
    DemoStep {
        title: "first moves to the other node while hostA_red sends requests to it",
        inspect: "leafA -- vtysh -c 'show bgp l2vpn evpn route type macip'",
        run: move_first,
    },
    DemoStep {
        title: "the same after it: first is on pe-kind-worker, with sequence 1",
        inspect: "leafA -- vtysh -c 'show bgp l2vpn evpn route type macip'",
        run: show_after,
    },
    DemoStep {
        title: "VRF isolation: a blue host and the Pods do not reach each other",
        inspect: "leafA -- vtysh -c 'show ip route vrf blue'",
        run: show_isolation,
    },
];

fn start_routers(demo: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let mut lines = routers::start(demo, context, "layer2")?;
    await_state(context, "both routers to be ready", |context| {
        NODES.iter().try_for_each(|node| {
            let text = perouter(demo, context, node, &["status", "-o", "json"]).map_err(|error| error.to_string())?;
            let status: Value = serde_json::from_str(&text).unwrap_or_default();
            let mut sessions = status["sessions"].as_array().into_iter().flatten();
            let fabric = sessions.find(|session| session["vrf"].is_null()).unwrap_or(&Value::Null);
            if fabric["state"] != "Established" {
                return Err(format!("session of {node} with the fabric: {}", fabric["state"]));
            }
            let received = fabric["prefixes"]["l2VpnEvpn"]["received"].as_u64() > Some(0);
            let lines = status["foreignLines"].as_array().is_none_or(Vec::is_empty);
            if received && lines { Ok(()) } else { Err(format!("{node} has not converged")) }
        })
    })?;
    lines += &shown(demo, context, NODES[1], &["status"])?;
    lines += "The session of VRF red is for the BGP of MetalLB, which is not here: a segment does not need it.\n";
    Ok(lines)
}

fn attach_pods(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let mut rows = vec![["POD", "NODE", "ADDRESS", "MAC"].map(ToOwned::to_owned)];
    for (pod, node) in PODS.iter().zip(NODES) {
        let attached = attach(context.lab.node(node)?, pod)?;
        rows.push([pod.name, node, pod.address, pod.mac].map(ToOwned::to_owned));
        context.pods.push(attached);
    }
    Ok(align(&rows)
        + "A Pod is a network namespace with a veth end in the bridge, as the CNI plugin `bridge` makes it.\n")
}

const fn answered(from: &'static str, to: &'static str, at: &'static str) -> DemoPing {
    DemoPing { from, to, at, replies: true }
}

const fn unanswered(from: &'static str, to: &'static str, at: &'static str) -> DemoPing {
    DemoPing { from, to, at, replies: false }
}

fn show_east_west(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let [first, second] = &PODS;
    let wanted = [answered(first.name, second.address, second.name), answered(second.name, first.address, first.name)];
    pings(context, &wanted)
}

fn show_gateway(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let wanted = PODS.each_ref().map(|pod| answered(pod.name, GATEWAY, "the gateway on its own node"));
    let mut lines = pings(context, &wanted)?;
    for pod in &context.pods {
        let neighbor = pod.check(&["ip", "neighbor", "show", GATEWAY])?;
        let _ = writeln!(lines, "{}$ ip neighbor show {GATEWAY}\n    {}", pod.name(), neighbor.trim_end());
    }
    Ok(lines)
}

const HOST_A_RED: &str = "192.168.20.2";
const HOST_A_BLUE: &str = "192.168.21.2";
const HOST_B_BLUE: &str = "192.169.21.2";

fn show_north_south(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let [first, second] = &PODS;
    let wanted = [
        answered("hostA_red", first.address, first.name),
        answered("hostA_red", second.address, second.name),
        answered(first.name, HOST_A_RED, "hostA_red"),
    ];
    let mut lines = pings(context, &wanted)?;
    let text = context.lab.node("leafA")?.check(&["vtysh", "-c", "show evpn vni json"])?;
    let vnis: BTreeMap<String, Value> = serde_json::from_str(&text).unwrap_or_default();
    let vni = |(vni, state): (&String, &Value)| format!("{vni} of VRF {}", state["tenantVrf"].as_str().unwrap_or("?"));
    let _ = writeln!(lines, "VNIs of leafA: {}", vnis.iter().map(vni).collect::<Vec<_>>().join(", "));
    Ok(lines)
}

fn show_before(demo: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    tables(demo, context, Place { node: 0, sequence: 0 })
}

fn show_after(demo: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    tables(demo, context, Place { node: 1, sequence: 1 })
}

fn show_isolation(_: &Demo, context: &mut DemoContext) -> Result<String, StepError> {
    let [first, second] = &PODS;
    let wanted = [
        answered("hostA_blue", HOST_B_BLUE, "hostB_blue: VRF blue works"),
        unanswered("hostA_blue", first.address, first.name),
        unanswered("hostA_blue", second.address, second.name),
        unanswered(first.name, HOST_A_BLUE, "hostA_blue"),
    ];
    pings(context, &wanted)
}

/// Commands to try in a lab that is kept.
pub(super) fn suggestions(demo: &Demo, context: &DemoContext) -> String {
    let (name, program) = (context.lab.name(), demo.own_command());
    let router = demo.perouter_command();
    format!(
        "{program} exec --name {name} pe-kind-worker -- ip netns exec second ping {first}\n\
         {program} exec --name {name} pe-kind-worker -- {router} macs {VNI}\n\
         {program} exec --name {name} pe-kind-worker -- {router} routes red --from segment\n\
         {program} exec --name {name} hostA_red -- ping {first}",
        first = PODS[0].address,
    )
}
