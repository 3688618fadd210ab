//! The path of a workload of an L2 segment, and addresses of its subnets without one. In: facts. Out: steps. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::step::{TracePoint, TraceStep};
use super::to_fabric::to_fabric;
use super::trace_facts::{TraceFacts, Workload};
use crate::frr::show::mac::{NeighborState, WorkloadPlace};
use crate::types::Vni;

/// Of a workload behind this node.
pub(super) fn from_segment(address: IpAddr, workload: &Workload, facts: &TraceFacts) -> Vec<TraceStep> {
    let (vni, NeighborState { mac, active, duplicate, .. }) = (workload.vni, &workload.neighbor);
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
pub(super) fn without_workload(address: IpAddr, (vni, gateway): (Vni, IpNet)) -> TraceStep {
    if address == gateway.addr() {
        let text = format!("{address} is the gateway of L2VNI {vni}: each node answers its own workloads");
        return TraceStep::new(TracePoint::Segment, true, text);
    }
    let text = format!(
        "no node knows a workload with {address} in L2VNI {vni} ({}): a workload is known from its first packet to the gateway on; see \
         `perouter macs {vni}`",
        gateway.trunc()
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
