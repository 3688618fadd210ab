//! The path of a workload of an L2 segment, and addresses of its subnets without one. In: facts. Out: steps. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::router_address::{is_reserved, reserved};
use super::step::{TracePoint, TraceStep};
use super::to_fabric::to_fabric;
use super::trace_facts::{TraceFacts, Workload};
use crate::frr::show::mac::{NeighborState, WorkloadPlace};
use crate::types::Vni;

/// The first link of a segment that is down: of the router, or the bridge of the host. What is known of its workloads is old, or will
/// be gone.
pub(super) fn link_down(vni: Vni, facts: &TraceFacts) -> Option<TraceStep> {
    let links = facts.links.iter().flatten();
    let of_router = links.filter(|(name, link)| !link.is_admin_up && is_of_segment(name, vni)).map(|(name, _)| {
        let text = format!("{name} of L2VNI {vni} is set down: perouter sets it up again in its next reconcile pass");
        TraceStep::new(TracePoint::Segment, false, text).shown_by(format!("zebra: show interface {name}"))
    });
    let of_host = facts.segment_ports.iter().filter(|port| port.vni == vni && !port.is_bridge_up).map(|port| {
        let bridge = &port.bridge;
        let text = format!(
            "bridge {bridge} of L2VNI {vni} is down: set it up on the host, `ip link set {bridge} up`; its workloads reach nothing"
        );
        TraceStep::new(TracePoint::Segment, false, text).shown_by(format!("ip link show {bridge}"))
    });
    of_router.chain(of_host).next()
}

fn is_of_segment(name: &str, vni: Vni) -> bool {
    [format!("vni{vni}"), format!("br-pe-{vni}"), format!("pe-{vni}")].iter().any(|own| own == name)
}

/// Of a workload behind this node.
pub(super) fn from_segment(address: IpAddr, workload: &Workload, facts: &TraceFacts) -> Vec<TraceStep> {
    let (vni, NeighborState { mac, active, duplicate, .. }) = (workload.vni, &workload.neighbor);
    if let Some(down) = link_down(vni, facts) {
        return vec![down];
    }
    if *duplicate {
        let remedy = "find the second workload with it";
        let text = format!("several MAC addresses claim {address} in L2VNI {vni}, the last of them {mac}: {remedy}");
        return vec![TraceStep::new(TracePoint::Segment, false, text)];
    }
    if !active {
        let text = format!(
            "{mac} has {address} in L2VNI {vni}, but no port of this node has that MAC address: the workload is gone, or has \
             moved and sent nothing since"
        );
        return vec![TraceStep::new(TracePoint::Segment, false, text)];
    }
    let here =
        TraceStep::new(TracePoint::Segment, true, format!("{mac} has {address}, behind this node in L2VNI {vni}"));
    let Some(route) = &workload.type2 else {
        let text = format!("none for {address} with {mac}: see `perouter macs {vni}`");
        return vec![here, TraceStep::new(TracePoint::Type2, false, text)];
    };
    let words = [
        format!("RD {}", route.rd),
        format!("RT {}", route.route_targets.join(" ")),
        format!("VNI {vni}"),
        route.router_mac.as_ref().map(|mac| format!("router MAC {mac}")).unwrap_or_default(),
        route.next_hop.map(|vtep| format!("next hop {vtep}")).unwrap_or_default(),
    ];
    let words: Vec<String> = words.into_iter().filter(|word| !word.is_empty()).collect();
    vec![here, TraceStep::new(TracePoint::Type2, true, words.join(", ")), to_fabric(&route.advertised_to, facts)]
}

/// The segment in whose subnet an address is, with that subnet, where no route of the fabric is more specific: the kernel resolves
/// the address in the segment.
pub(super) fn of_subnet(address: IpAddr, facts: &TraceFacts) -> Option<(Vni, IpNet)> {
    let all = facts.gateways.iter().flat_map(|(vni, gateways)| gateways.iter().map(move |gateway| (*vni, *gateway)));
    let (vni, gateway) =
        all.filter(|(_, gateway)| gateway.contains(&address)).max_by_key(|(_, net)| net.prefix_len())?;
    let is_longer = |prefix: IpNet| prefix.prefix_len() > gateway.prefix_len();
    let routed = facts.matched.as_ref().is_some_and(|found| is_longer(found.prefix) && address != gateway.addr());
    (!routed).then_some((vni, gateway))
}

/// Of the gateway, or of an address that no workload has.
pub(super) fn without_workload(address: IpAddr, (vni, gateway): (Vni, IpNet), facts: &TraceFacts) -> TraceStep {
    if let Some(down) = link_down(vni, facts) {
        return down;
    }
    if address == gateway.addr() {
        let text = format!("{address} is the gateway of L2VNI {vni}: each node answers its own workloads");
        return TraceStep::new(TracePoint::Segment, true, text);
    }
    let subnet = gateway.trunc();
    if is_reserved(address, subnet) {
        return TraceStep::new(TracePoint::Segment, false, reserved(address, subnet));
    }
    let text = format!(
        "no node knows a workload with {address} in L2VNI {vni} ({subnet}): a workload is known from the first packet that it sends to \
         the gateway or answers; see `perouter macs {vni}`"
    );
    TraceStep::new(TracePoint::Segment, false, text)
}

/// Of a workload of another node, in a segment that this node has too.
pub(super) fn to_remote(workload: &Workload) -> TraceStep {
    let Workload { vni, neighbor: NeighborState { mac, place, sequence, .. }, .. } = workload;
    match place {
        WorkloadPlace::Remote(None) => TraceStep::new(
            TracePoint::Segment,
            true,
            format!("{mac} in L2VNI {vni}; zebra has not received its VTEP yet"),
        ),
        _ => TraceStep::new(TracePoint::Segment, true, format!("{mac} in L2VNI {vni}, moved {sequence} times")),
    }
}
