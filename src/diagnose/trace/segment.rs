//! The path of a workload of an L2 segment, and addresses of its subnets without one. In: facts. Out: steps. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::forwarding::{self, link_down};
use super::router_address::reserved;
use super::step::{TracePoint, TraceStep};
use super::to_fabric::{route_words, to_fabric, without_evpn};
use super::trace_facts::{TraceFacts, TraceSource, TracedSession, Workload};
use crate::diagnose::link_checks::repair;
use crate::diagnose::node_checks::few;
use crate::frr::show::mac::{NeighborState, WorkloadPlace};
use crate::frr::show::route::{show_match, show_type5};
use crate::frr::show::session::SessionPhase;
use crate::frr::show::type2::Type2;
use crate::kind::ipam::is_reserved;
use crate::names::{OwnedName, Role};
use crate::types::{Family, Vni};

/// The first link of a segment that is down: of the router, or the bridge of the host. What is known of its workloads is stale then.
pub(super) fn segment_down(vni: Vni, facts: &TraceFacts) -> Option<TraceStep> {
    let of_host = || {
        let port = facts.segment_ports.iter().find(|port| port.vni == vni)?;
        let bridge = &port.bridge;
        if !port.is_attached {
            let host = OwnedName::Vni(Role::HostVeth, vni);
            let text = format!("{host} is no port of bridge {bridge}: {}", repair(facts.controller));
            return Some(TraceStep::new(TracePoint::Segment, false, text).shown_by(format!("ip link show {host}")));
        }
        if port.is_bridge_up {
            return None;
        }
        let text = format!(
            "bridge {bridge} of L2VNI {vni} is down, so that its workloads reach nothing: set it up on the host, `ip link set {bridge} \
             up`"
        );
        Some(TraceStep::new(TracePoint::Segment, false, text).shown_by(format!("ip link show {bridge}")))
    };
    link_down(vni, facts).or_else(of_host)
}

/// The command that shows the workload with an address.
fn in_zebra(vni: Vni, address: IpAddr) -> String {
    format!("zebra: show evpn arp-cache vni {vni} ip {address}")
}

/// Of a workload behind this node.
pub(super) fn from_segment(address: IpAddr, workload: &Workload, facts: &TraceFacts) -> Vec<TraceStep> {
    let (vni, NeighborState { mac, active, duplicate, .. }) = (workload.vni, &workload.neighbor);
    if let Some(down) = segment_down(vni, facts) {
        return vec![down];
    }
    if *duplicate {
        let remedy = "find the second workload with it";
        let text = format!("several MAC addresses claim {address} in L2VNI {vni}, the last of them {mac}: {remedy}");
        return vec![TraceStep::new(TracePoint::Segment, false, text).shown_by(in_zebra(vni, address))];
    }
    if !active {
        let text = format!(
            "{mac} has {address} in L2VNI {vni}, but no port of this node has that MAC address: the workload is gone, or has \
             moved and sent nothing since"
        );
        return vec![TraceStep::new(TracePoint::Segment, false, text).shown_by(in_zebra(vni, address))];
    }
    let here = format!("{mac} has {address}, behind this node in L2VNI {vni}");
    let here = TraceStep::new(TracePoint::Segment, true, here).shown_by(in_zebra(vni, address));
    let here = with_ports_down(here, vni, facts);
    match facts.from {
        TraceSource::Workload(_) => return vec![here],
        TraceSource::Host => return [here].into_iter().chain(of_host(address, facts)).collect(),
        TraceSource::Unknown => {}
    }
    let Some(route) = &workload.type2 else {
        let text = format!("none for {address} with {mac}: see `perouter macs {vni}`");
        return vec![here, TraceStep::new(TracePoint::Type2, false, text).shown_by(in_zebra(vni, address))];
    };
    let type2 = if facts.state.is_ready() { advertised(vni, route) } else { without_ip_vrf(vni, facts) };
    let type2 = type2.shown_in("bgpd", &show_type5(&route.rd));
    let to_fabric = to_fabric(&route.rd, &route.advertised_to, "", facts);
    [here, type2, to_fabric].into_iter().chain(of_host(address, facts)).collect()
}

/// Whether the host of this node has a route to the segment, without which what comes from the fabric arrives all the same.
fn of_host(address: IpAddr, facts: &TraceFacts) -> Option<TraceStep> {
    let found = facts.matched.as_ref()?;
    let family = Family::of(&found.prefix);
    let is_up = |host: &&TracedSession| host.state == SessionPhase::Established && host.families.contains(&family);
    facts.hosts.iter().find(is_up)?;
    if found.advertised_to.is_empty() {
        let text = format!(
            "the host of this node has no route to {}: spec.toHost filters it; allow it there if the host needs one",
            found.prefix
        );
        let shown = show_match(&facts.vrf, &found.prefix.to_string());
        return Some(for_source(TraceStep::new(TracePoint::Host, false, text).shown_in("bgpd", &shown), facts));
    }
    forwarding::of_host(address, facts).map(|step| for_source(step, facts))
}

fn for_source(step: TraceStep, facts: &TraceFacts) -> TraceStep {
    if facts.from == TraceSource::Host {
        return step;
    }
    TraceStep { warning: step.warning || !step.ok, ok: true, ..step }
}

/// It may be behind a port that is down: zebra keeps what it knows of a workload until the kernel has asked for it in vain.
fn with_ports_down(step: TraceStep, vni: Vni, facts: &TraceFacts) -> TraceStep {
    let Some(port) = facts.segment_ports.iter().find(|port| port.vni == vni && !port.down.is_empty()) else {
        return step;
    };
    let text = format!(
        "{}, unless it is behind a port of {} that is set down: {}",
        step.text,
        port.bridge,
        few(port.down.iter().cloned())
    );
    TraceStep { text, warning: true, ..step }
}

fn advertised(vni: Vni, route: &Type2) -> TraceStep {
    let Type2 { rd, route_targets, router_mac, next_hop, .. } = route;
    let words = route_words(rd, route_targets, vni, router_mac.as_deref(), *next_hop);
    TraceStep::new(TracePoint::Type2, true, words)
}

/// Without the VNI of the IP-VRF a MAC/IP route has neither its route target nor a router MAC (RFC 9135 section 4.2).
fn without_ip_vrf(vni: Vni, facts: &TraceFacts) -> TraceStep {
    let text = format!(
        "without the route target and the router MAC of VNI {}, which is not up: only workloads in L2VNI {vni} reach the address; see \
         `perouter check`",
        facts.vni
    );
    TraceStep::new(TracePoint::Type2, false, text)
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
    if let Some(down) = segment_down(vni, facts) {
        return down;
    }
    if address == gateway.addr() {
        let text = format!("{address} is the gateway of L2VNI {vni}, on each node that has the segment");
        let bridge = OwnedName::Vni(Role::Bridge, vni);
        return TraceStep::new(TracePoint::Segment, true, text).shown_by(format!("zebra: show interface {bridge}"));
    }
    let (subnet, shown) = (gateway.trunc(), in_zebra(vni, address));
    if is_reserved(address, &subnet) {
        return TraceStep::new(TracePoint::Segment, false, reserved(address, subnet)).shown_by(shown);
    }
    let fabric = without_evpn(&facts.fabric);
    if !fabric.is_empty() {
        let text = format!(
            "this node knows no workload with {address} in L2VNI {vni} ({subnet}), and no route of the fabric is received: {fabric}"
        );
        return TraceStep::new(TracePoint::Segment, false, text).shown_by(shown);
    }
    let text = format!(
        "no node knows a workload with {address} in L2VNI {vni} ({subnet}): with the first packet to it the node sends a request for it \
         to all nodes of the segment; see `perouter macs {vni}`"
    );
    TraceStep::warning(TracePoint::Segment, text).shown_by(shown)
}

/// Of a workload of another node to which no route of the fabric leads but that of the segment itself.
pub(super) fn within_segment(address: IpAddr, workload: &Workload, facts: &TraceFacts) -> Vec<TraceStep> {
    let Workload { vni, neighbor: NeighborState { mac, place, .. }, .. } = workload;
    let place = match place {
        WorkloadPlace::Remote(Some(vtep)) => format!("behind VTEP {vtep}"),
        _ => "on another node".to_owned(),
    };
    let text = format!("{mac} has {address}, {place} in L2VNI {vni}");
    let there = || TraceStep::new(TracePoint::Segment, true, text).shown_by(in_zebra(*vni, address));
    vec![segment_down(*vni, facts).unwrap_or_else(there)]
}

/// Of a workload of another node, in a segment that this node has too.
pub(super) fn to_remote(address: IpAddr, workload: &Workload) -> TraceStep {
    let Workload { vni, neighbor: NeighborState { mac, place, sequence, .. }, .. } = workload;
    let more = match (place, sequence) {
        (WorkloadPlace::Remote(None), _) => "; zebra has not received its VTEP yet".to_owned(),
        (_, 0) => String::new(),
        (_, 1) => ", moved once".to_owned(),
        (_, many) => format!(", moved {many} times"),
    };
    TraceStep::new(TracePoint::Segment, true, format!("{mac} in L2VNI {vni}{more}")).shown_by(in_zebra(*vni, address))
}
