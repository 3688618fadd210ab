//! The path of an address through the router: host session → VRF → kernel → Type-5 → fabric session, or back; or
//! L2 segment → Type-2 → fabric session. In: what FRR shows of it. Out: steps, and where the path is incomplete. Pure.

mod forwarding;
mod router_address;
mod segment;
mod step;
mod to_fabric;
mod trace_facts;
mod traced;

use std::net::IpAddr;

use ipnet::IpNet;

use super::filtered::Filtered;
use crate::diagnose::fabric_route_checks::{forwards_with, is_of_another, is_other};
use crate::diagnose::link_checks::is_on_nic;
use crate::frr::show::mac::WorkloadPlace;
use crate::frr::show::route::{
    Match, Origin, Path, ReceivedRoute, Type5, has_asn, show_filtered, show_match, show_received, show_type5,
};
use crate::frr::show::type5::SHOW_ALL_TYPE5;
use crate::types::{Asn, Family, Vni};

use to_fabric::{not_up, route_words, to_fabric, without_evpn};

pub use step::{TracePoint, TraceStep};
pub use trace_facts::{TraceFacts, TraceSource, TracedSession, Workload};
pub use traced::{DirectedTrace, PathDirection, Trace, TraceQuery};

/// Follows `address` through a VRF, from where packets come to where they go.
pub fn follow_directed(address: IpAddr, facts: &TraceFacts) -> DirectedTrace {
    let trace = follow(address, facts);
    let place = facts.workload.as_ref().map(|workload| &workload.neighbor.place);
    let is_local = matches!(place, Some(WorkloadPlace::Local(_)));
    let direction = trace.origin.map(|origin| match (origin, facts.from) {
        (Origin::Fabric, TraceSource::Workload(_)) => PathDirection::WorkloadToFabric,
        (Origin::Fabric, _) => PathDirection::HostToFabric,
        (Origin::Host | Origin::Router, TraceSource::Workload(_)) => PathDirection::WithinNode,
        (Origin::Host | Origin::Router, _) => PathDirection::FabricToHost,
        (Origin::Segment, TraceSource::Workload(_) | TraceSource::Host) if is_local => PathDirection::WithinNode,
        (Origin::Segment, _) if is_local => PathDirection::FabricToWorkload,
        (Origin::Segment, _) => PathDirection::WithinSegment,
    });
    DirectedTrace { to: address, direction, example: false, complete: trace.is_complete(), trace }
}

/// Follows `address` through a VRF.
pub fn follow(address: IpAddr, facts: &TraceFacts) -> Trace {
    let mut trace = path_of(address, facts);
    // Without a route the reason is another one.
    if trace.prefix.is_some() {
        trace.steps.extend(forwarding::packet_filters(address, facts));
    }
    trace
}

fn path_of(address: IpAddr, facts: &TraceFacts) -> Trace {
    if let Some(workload) = &facts.workload
        && matches!(workload.neighbor.place, WorkloadPlace::Local(_))
    {
        let (prefix, origin) = (Some(address.into()), Some(Origin::Segment));
        return Trace { prefix, origin, steps: segment::from_segment(address, workload, facts), ..empty(facts) };
    }
    if let Some(trace) = of_segment(address, facts).or_else(|| bridged(address, facts)) {
        return trace;
    }
    let of_router = router_address::of_router(address, facts);
    if let Some((prefix, step)) = of_router.filter(|(prefix, _)| !has_better_reason(*prefix, facts)) {
        return Trace { prefix, steps: vec![step], ..empty(facts) };
    }
    let Some(found) = &facts.matched else {
        return Trace { steps: vec![nothing(address, facts)], ..empty(facts) };
    };
    let best: Vec<&Path> = found.paths.iter().filter(|path| path.best).collect();
    let origin = best.first().map(|path| path.origin);
    let mut steps = match origin {
        None => vec![no_best(found, facts)],
        Some(Origin::Fabric) => from_fabric((address, found), &best, facts),
        Some(Origin::Host | Origin::Router | Origin::Segment) => from_host(found, &best, facts),
    };
    if origin.is_some() && steps.iter().all(|step| step.ok) {
        // What stays on the node crosses no NIC.
        let is_local = matches!(facts.from, TraceSource::Workload(_)) && origin != Some(Origin::Fabric);
        steps.extend(if is_local { forwarding::link_down(facts.vni, facts) } else { forwarding::links(facts) });
    }
    // Also where another node advertises the same.
    let of_fabric = origin == Some(Origin::Fabric);
    let is_closer = |prefix: IpNet| {
        let (rejected, used) = (prefix.prefix_len(), found.prefix.prefix_len());
        rejected > used || rejected == used && of_fabric
    };
    let filtered = facts.filtered.iter().find(|(_, route)| is_closer(route.prefix));
    let looped = facts.looped.iter().find(|(_, route)| is_closer(route.prefix));
    let closer = filtered.map(|route| filtered_by_us(route, facts)).or(looped.map(|route| looped_at_us(route, facts)));
    if let Some(closer) = closer {
        steps.insert(0, TraceStep { ok: true, warning: true, ..closer });
    }
    Trace { prefix: Some(found.prefix), origin, steps, ..empty(facts) }
}

/// An address in the subnet of a segment of this node to which no route is more specific.
fn of_segment(address: IpAddr, facts: &TraceFacts) -> Option<Trace> {
    let subnet @ (_, gateway) = segment::of_subnet(address, facts)?;
    let (prefix, steps) = match &facts.workload {
        Some(workload) => (address.into(), segment::within_segment(address, workload, facts)),
        None if address != gateway.addr() && has_better_reason(Some(gateway), facts) => return None,
        None => (gateway.trunc(), vec![segment::without_workload(address, subnet, facts)]),
    };
    Some(Trace { prefix: Some(prefix), origin: Some(Origin::Segment), steps, ..empty(facts) })
}

/// A workload of another node in the segment of the workload from which the packets come: they are bridged, whatever routes there are.
fn bridged(address: IpAddr, facts: &TraceFacts) -> Option<Trace> {
    let workload = facts.workload.as_ref().filter(|workload| facts.from == TraceSource::Workload(workload.vni))?;
    let mut gateways = facts.gateways.get(&workload.vni)?.iter();
    gateways.find(|gateway| gateway.contains(&address))?;
    let steps = segment::within_segment(address, workload, facts);
    Some(Trace { prefix: Some(address.into()), origin: Some(Origin::Segment), steps, ..empty(facts) })
}

/// Whether a more specific route is filtered, rejected or not imported.
fn has_better_reason(subnet: Option<IpNet>, facts: &TraceFacts) -> bool {
    let longer = |prefix: &IpNet| subnet.is_none_or(|subnet| prefix.prefix_len() > subnet.prefix_len());
    !facts.unused.is_empty()
        || facts.filtered.iter().any(|(_, route)| longer(&route.prefix))
        || facts.looped.iter().any(|(_, route)| longer(&route.prefix))
}

fn empty(facts: &TraceFacts) -> Trace {
    Trace { vrf: facts.vrf.clone(), vni: facts.vni, prefix: None, origin: None, steps: vec![] }
}

fn step(at: TracePoint, ok: bool, text: impl Into<String>) -> TraceStep {
    TraceStep::new(at, ok, text)
}

fn filtered_by_us((peer, route): &(String, Filtered), facts: &TraceFacts) -> TraceStep {
    let shown = show_filtered(Some(&facts.vrf), Family::of(&route.prefix), peer);
    step(TracePoint::Host, false, format!("{peer} {route}")).shown_in("bgpd", &shown)
}

/// bgpd rejects what has passed this AS (RFC 4271 section 9.1.2).
fn looped_at_us(
    (peer, ReceivedRoute { prefix, as_path, .. }): &(String, ReceivedRoute),
    facts: &TraceFacts,
) -> TraceStep {
    let text = format!(
        "{peer} advertises {prefix} with AS path {as_path}, which has the AS number of this router: bgpd rejects it as an AS-path loop: have \
         the host advertise its own routes alone, and prepend no AS number but its own"
    );
    let shown = show_received(&facts.vrf, Family::of(prefix), peer);
    step(TracePoint::Host, false, text).shown_in("bgpd", &shown)
}

fn nothing(address: IpAddr, facts: &TraceFacts) -> TraceStep {
    let down = not_up(&facts.hosts);
    if let Some(filtered) = facts.filtered.first() {
        return filtered_by_us(filtered, facts);
    }
    if let Some(looped) = facts.looped.first() {
        return looped_at_us(looped, facts);
    }
    if let Some(unused) = unused(facts) {
        return unused;
    }
    let fabric = without_evpn(&facts.fabric);
    let text = match (facts.hosts.is_empty(), down.is_empty()) {
        _ if !fabric.is_empty() => {
            let of_hosts = if down.is_empty() { String::new() } else { format!("; {down}") };
            format!("no route covers {address}: no route of the fabric is received: {fabric}{of_hosts}")
        }
        (true, _) => {
            format!("no route covers {address}: the VRF has no host session, and no Type-5 route of the fabric matches")
        }
        (_, true) => format!(
            "no route covers {address}: neither {} nor the fabric advertises one that this router accepts",
            list(facts.hosts.iter().map(|session| session.peer.as_str()))
        ),
        (_, false) => format!("no route covers {address}: {down}"),
    };
    step(TracePoint::Vrf, false, text).shown_in("bgpd", &show_match(&facts.vrf, &address.to_string()))
}

/// Why a Type-5 route that covers the address is not in use.
fn unused(facts: &TraceFacts) -> Option<TraceStep> {
    let found = facts.unused.first()?;
    Some(step(TracePoint::Fabric, false, format!("{}: {}", found.what, found.remedy)).shown_in("bgpd", SHOW_ALL_TYPE5))
}

fn list(words: impl Iterator<Item = impl AsRef<str>>) -> String {
    words.map(|word| word.as_ref().to_owned()).collect::<Vec<_>>().join(", ")
}

fn as_path(path: &Path) -> String {
    if path.as_path.is_empty() { "empty AS path".to_owned() } else { format!("AS path {}", path.as_path) }
}

fn no_best(found: &Match, facts: &TraceFacts) -> TraceStep {
    if let Some(unused) = unused(facts) {
        return unused;
    }
    if let Some(looped) = facts.looped.first() {
        return looped_at_us(looped, facts);
    }
    let peers = list(found.paths.iter().map(|path| path.peer.as_str()));
    let text = format!("no path for {} can be used: the next hop received from {peers} is unreachable", found.prefix);
    in_bgpd(step(TracePoint::Vrf, false, text), found, facts)
}

fn from_host(found: &Match, best: &[&Path], facts: &TraceFacts) -> Vec<TraceStep> {
    let prefix = found.prefix;
    let mut steps = Vec::new();
    let of_router = best.iter().all(|path| path.origin == Origin::Router);
    if of_router {
        steps.push(in_bgpd(step(TracePoint::Vrf, true, own_prefix(prefix, facts)), found, facts));
        steps.extend(forwarding::discarded(found, facts));
    } else {
        for path in best.iter().filter(|path| path.origin == Origin::Host) {
            let text = format!("{} advertises {prefix}, {}", path.peer, as_path(path));
            steps.push(in_bgpd(step(TracePoint::Host, true, text), found, facts));
        }
        steps.push(forwarding::in_kernel(found, facts));
    }
    // From a workload of this node: the fabric has no part in it.
    if matches!(facts.from, TraceSource::Workload(_)) {
        return steps;
    }
    if !facts.state.is_ready() {
        let text = format!("VNI {} is not up in FRR: see `perouter check`", facts.vni);
        let not_up = || step(TracePoint::Type5, false, text).shown_in("zebra", &format!("show evpn vni {}", facts.vni));
        steps.push(forwarding::link_down(facts.vni, facts).unwrap_or_else(not_up));
        return steps;
    }
    let blocking = ["no-advertise", "no-export", "local-AS"];
    let blocked =
        best.iter().flat_map(|path| &path.communities).find(|community| blocking.contains(&community.as_str()));
    match (&facts.type5, blocked) {
        (_, Some(community)) => {
            let text = format!("none: the host advertises {prefix} with the community {community}");
            steps.push(in_bgpd(step(TracePoint::Type5, false, text), found, facts));
        }
        (None, None) => {
            let text = format!("none for {prefix}: spec.toFabric or a summary-only aggregate filters it");
            steps.push(step(TracePoint::Type5, false, text).shown_in("bgpd", SHOW_ALL_TYPE5));
        }
        (Some(route), None) => {
            let Type5 { rd, route_targets, router_mac, next_hop, .. } = route;
            let words = route_words(rd, route_targets, facts.vni, router_mac.as_deref(), *next_hop);
            steps.push(step(TracePoint::Type5, true, words).shown_in("bgpd", &show_type5(&route.rd)));
            let as_path = best.first().map(|path| path.as_path.as_str()).unwrap_or_default();
            let to_fabric = to_fabric(&route.rd, &route.advertised_to, as_path, facts);
            let also = also_in_fabric(found, facts).filter(|_| to_fabric.ok);
            steps.extend([to_fabric].into_iter().chain(also));
        }
    }
    steps
}

/// The fabric has the same prefix: other leaves may prefer that path.
fn also_in_fabric(found: &Match, facts: &TraceFacts) -> Option<TraceStep> {
    let others: Vec<String> = found
        .paths
        .iter()
        .filter(|path| path.origin == Origin::Fabric && path.valid)
        .map(|path| format!("VTEP {} ({})", list(path.next_hops.iter().map(ToString::to_string)), as_path(path)))
        .collect();
    let text = format!("also behind {}: hosts of the fabric may use that path", others.join(", "));
    (!others.is_empty()).then(|| in_bgpd(step(TracePoint::Fabric, true, text), found, facts))
}

/// What a prefix is that the router itself advertises.
fn own_prefix(prefix: IpNet, facts: &TraceFacts) -> String {
    let of_segment = |(_, gateways): &(&Vni, &Vec<IpNet>)| gateways.iter().any(|gateway| gateway.trunc() == prefix);
    let what = match facts.gateways.iter().find(of_segment) {
        Some((vni, _)) => format!("the subnet of L2VNI {vni}"),
        None if prefix.prefix_len() == prefix.max_prefix_len() => "the host of this node in its session".to_owned(),
        None => "an aggregate".to_owned(),
    };
    format!("{prefix} is the router's own: {what}")
}

/// With the command that shows the paths of a prefix.
fn in_bgpd(step: TraceStep, found: &Match, facts: &TraceFacts) -> TraceStep {
    step.shown_in("bgpd", &show_match(&facts.vrf, &found.prefix.to_string()))
}

fn from_fabric((address, found): (IpAddr, &Match), best: &[&Path], facts: &TraceFacts) -> Vec<TraceStep> {
    let mut steps: Vec<TraceStep> = best
        .iter()
        .map(|path| {
            let vteps = path.next_hops.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let text = format!("{} has {} behind VTEP {vteps}, {}", path.peer, found.prefix, as_path(path));
            in_bgpd(step(TracePoint::Fabric, true, text), found, facts)
        })
        .collect();
    steps.extend(facts.workload.iter().map(|workload| segment::to_remote(address, workload)));
    let unusable = [other_family(best, facts), changed_next_hop(best, facts), other_vni(best, facts)];
    if let Some(unusable) = unusable.into_iter().flatten().next() {
        steps.push(in_bgpd(unusable, found, facts));
        return steps;
    }
    steps.push(forwarding::in_kernel(found, facts));
    steps.extend(forwarding::without_router_mac(best, facts));
    steps.extend(forwarding::underlay(best, facts));
    let down = not_up(&facts.hosts);
    // Workloads reach each other and the fabric without a host session.
    if facts.hosts.is_empty()
        || matches!(facts.from, TraceSource::Workload(_))
        || facts.workload.is_some() && !down.is_empty()
    {
        return steps;
    }
    let family = Family::of(&found.prefix);
    let failed = |text: String| step(TracePoint::Host, false, text);
    let to_host = match (found.advertised_to.is_empty(), down.is_empty()) {
        (false, _) => advertised(found, best, facts),
        (true, _) if !facts.hosts.iter().any(|session| session.families.contains(&family)) => {
            failed(format!("no host session carries {family}: spec.localcidr.{family} is not set"))
        }
        (true, false) => failed(down),
        (true, true) => failed("advertised to no host session: spec.toHost filters it".to_owned()),
    };
    let is_accepted = to_host.ok && !to_host.warning;
    steps.push(in_bgpd(to_host, found, facts));
    steps.extend(forwarding::of_host(address, facts).filter(|_| is_accepted));
    steps
}

/// A leaf that sets its own address as the next hop of a route of another router.
fn changed_next_hop(best: &[&Path], facts: &TraceFacts) -> Option<TraceStep> {
    let links = facts.links.as_ref()?;
    let is_peer = |vtep: &&IpAddr| {
        is_on_nic(**vtep, links) && facts.fabric.iter().any(|session| session.peer == vtep.to_string())
    };
    let of_another = best.iter().filter(|path| is_of_another(&path.as_path));
    let peer = of_another.flat_map(|path| &path.next_hops).find(is_peer)?;
    let text = format!(
        "{peer} sets its own address as the next hop of a route of another router: have it keep the next hop in L2VPN EVPN (FRR: \
         `attribute-unchanged next-hop`)"
    );
    Some(step(TracePoint::Fabric, false, text))
}

/// A route of another VNI, which the VRF imports.
fn other_vni(best: &[&Path], facts: &TraceFacts) -> Option<TraceStep> {
    let mut sent = best.iter().flat_map(|path| &path.next_hops).filter_map(|vtep| facts.sent_vnis.get(vtep));
    let sent = sent.find(|sent| is_other(sent, facts.vni))?;
    let remedy = "have the leaf export the route target of its own VNI, or do not import this one";
    Some(step(TracePoint::Fabric, false, format!("{}: {remedy}", forwards_with(facts.vni, sent))))
}

/// A VTEP of another address family than ours: the VXLAN device of the VNI sends with its own family only.
fn other_family(best: &[&Path], facts: &TraceFacts) -> Option<TraceStep> {
    let own = facts.state.vtep?;
    let other = best.iter().flat_map(|path| &path.next_hops).find(|vtep| vtep.is_ipv4() != own.is_ipv4())?;
    let text = format!(
        "VTEP {other} and that of this node for VNI {}, {own}, have different address families, so that no packet is \
         forwarded between them: set spec.underlayAddressFamily to the family that all VTEPs of the VNI have",
        facts.vni
    );
    Some(step(TracePoint::Fabric, false, text))
}

/// To which hosts it is advertised, and whether one rejects it as an AS-path loop (RFC 4271 section 9.1.2). That is normal for what the
/// host of another node advertises, and means that a client in the fabric gets no reply where another router has put the AS number
/// into the path.
fn advertised(found: &Match, best: &[&Path], facts: &TraceFacts) -> TraceStep {
    let to = list(found.advertised_to.iter().map(String::as_str));
    let in_path = |asn: Asn| best.iter().all(|path| has_asn(&path.as_path, asn));
    let is_origin = |path: &Path, asn: Asn| {
        path.as_path.rsplit(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty()) == Some(&asn.to_string())
    };
    let looping = facts.hosts.iter().filter(|host| found.advertised_to.contains(&host.peer) && !host.as_override);
    let Some(asn) = looping.filter_map(|host| host.remote_as).find(|asn| in_path(*asn)) else {
        return step(TracePoint::Host, true, format!("advertised to {to}"));
    };
    let text = format!("advertised to {to}, which rejects it as an AS-path loop, as AS {asn} is its own");
    // It would not accept the routes of the host either.
    let is_of_leaf = facts.fabric.iter().any(|session| session.remote_as == Some(asn));
    let remedy = if is_of_leaf {
        "use another AS number on the host and in spec.hostasn"
    } else {
        "set spec.toHost.asOverride (eBGP), or allowas-in on the host"
    };
    if best.iter().all(|path| is_origin(path, asn)) {
        let text = format!("{text}: normal for a service of another node; if hosts need each other's routes, {remedy}");
        return TraceStep::warning(TracePoint::Host, text);
    }
    step(TracePoint::Host, false, format!("{text}: {remedy}"))
}

#[cfg(test)]
mod tests;
