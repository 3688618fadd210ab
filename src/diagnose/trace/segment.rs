//! The path of a workload of an L2 segment, and addresses of its subnets without one. In: facts. Out: steps. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::forwarding::set_down;
use super::router_address::{is_reserved, reserved};
use super::step::{TracePoint, TraceStep};
use super::to_fabric::{route_words, to_fabric, without_evpn};
use super::trace_facts::{TraceFacts, Workload};
use crate::frr::show::mac::{NeighborState, WorkloadPlace};
use crate::frr::show::type2::Type2;
use crate::names::{OwnedName, Role};
use crate::types::Vni;

/// The first link of a segment that is down: of the router, or the bridge of the host. What is known of its workloads is stale then.
pub(super) fn link_down(vni: Vni, facts: &TraceFacts) -> Option<TraceStep> {
    let link = |role| {
        let name = OwnedName::Vni(role, vni).to_string();
        let link = facts.links.as_ref()?.get(&name)?;
        Some((name, link))
    };
    let of_router = [Role::Vxlan, Role::Bridge, Role::PeVeth].into_iter().filter_map(link);
    let down = of_router.filter(|(_, link)| !link.is_admin_up).map(|(name, _)| set_down(&name)).next();
    let without_carrier = link(Role::PeVeth).filter(|(_, link)| !link.has_carrier).map(|(name, _)| {
        let text = format!("host-{vni} is set down: perouter sets it up again in its next reconcile pass");
        TraceStep::new(TracePoint::Links, false, text).shown_by(format!("zebra: show interface {name}"))
    });
    let of_host = facts.segment_ports.iter().find(|port| port.vni == vni && !port.is_bridge_up).map(|port| {
        let bridge = &port.bridge;
        let text = format!(
            "bridge {bridge} of L2VNI {vni} is down, so that its workloads reach nothing: set it up on the host, `ip link set {bridge} \
             up`"
        );
        TraceStep::new(TracePoint::Segment, false, text).shown_by(format!("ip link show {bridge}"))
    });
    down.or(without_carrier).or(of_host)
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
    let Type2 { rd, route_targets, router_mac, next_hop, advertised_to, .. } = route;
    let words = route_words(rd, route_targets, vni, router_mac.as_deref(), *next_hop);
    vec![here, TraceStep::new(TracePoint::Type2, true, words), to_fabric(advertised_to, facts)]
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

/// Of the gateway, or of an address of which no workload is known.
pub(super) fn without_workload(address: IpAddr, (vni, gateway): (Vni, IpNet), facts: &TraceFacts) -> TraceStep {
    if let Some(down) = link_down(vni, facts) {
        return down;
    }
    if address == gateway.addr() {
        let text = format!("{address} is the gateway of L2VNI {vni}, on each node that has the segment");
        return TraceStep::new(TracePoint::Segment, true, text);
    }
    let subnet = gateway.trunc();
    if is_reserved(address, subnet) {
        return TraceStep::new(TracePoint::Segment, false, reserved(address, subnet));
    }
    let fabric = without_evpn(&facts.fabric);
    if !fabric.is_empty() {
        let text = format!(
            "this node has no workload with {address} in L2VNI {vni} ({subnet}), and no route of the fabric is received: {fabric}"
        );
        return TraceStep::new(TracePoint::Segment, false, text);
    }
    let text = format!(
        "no node knows a workload with {address} in L2VNI {vni} ({subnet}): with the first packet to it the node sends a request for it \
         to all nodes of the segment; see `perouter macs {vni}`"
    );
    TraceStep::warning(TracePoint::Segment, text)
}

/// Of a workload of another node to which no route of the fabric leads but that of the segment itself.
pub(super) fn within_segment(address: IpAddr, workload: &Workload, facts: &TraceFacts) -> Vec<TraceStep> {
    let Workload { vni, neighbor: NeighborState { mac, place, .. }, .. } = workload;
    let place = match place {
        WorkloadPlace::Remote(Some(vtep)) => format!("behind VTEP {vtep}"),
        _ => "on another node".to_owned(),
    };
    let text = format!("{mac} has {address}, {place} in L2VNI {vni}");
    vec![link_down(*vni, facts).unwrap_or_else(|| TraceStep::new(TracePoint::Segment, true, text))]
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
