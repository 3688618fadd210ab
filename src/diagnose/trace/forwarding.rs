//! What forwards the packets of a path: the host's routes, the route to a VTEP, links and their MTUs. In: [`TraceFacts`]. Out: steps.
//! What was not read gives none. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::step::{TracePoint, TraceStep};
use super::trace_facts::TraceFacts;
use crate::diagnose::evpn_checks::{DEAD_NEXT_HOP, no_router_mac, reset_router_mac};
use crate::diagnose::facts::{PacketFilters, SILENT_HOST};
use crate::diagnose::link_checks::{DownLink, down_links, repair};
use crate::diagnose::next_hops::LostHops;
use crate::diagnose::packet_filter_checks;
use crate::frr::show::interface::Interface;
use crate::frr::show::route::{InstalledHop, Match, Origin, Path, show_rib};
use crate::names::{OwnedName, Role};
use crate::types::{Family, Vni, VrfName};

/// What VXLAN adds to an IP packet over IPv4 and over IPv6: Ethernet, VXLAN, UDP and IP headers (RFC 7348 section 5).
const OVERHEAD: (u32, u32) = (50, 70);

/// How the host reaches the address: replies of the node have to enter the VRF.
pub(super) fn of_host(address: IpAddr, facts: &TraceFacts) -> Option<TraceStep> {
    let links = facts.host_links.as_ref()?;
    let wanted = OwnedName::Vni(Role::HostVeth, facts.vni).to_string();
    let shown = format!("ip route get {address}");
    let step = if links.contains(&wanted) {
        TraceStep::new(TracePoint::Host, true, format!("the node sends packets to {address} over {wanted}"))
    } else if links.is_empty() {
        let text = format!(
            "the node has no route to {address}, or one that discards packets: have the speaker of the host accept and install the \
             routes of this session (FRR-K8s: toReceive)"
        );
        TraceStep::new(TracePoint::Host, false, text)
    } else {
        let links = links.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let text = format!(
            "the node sends packets to {address} over {links}, not {wanted}, unless a rule by source leads there: another route of the \
             host is more specific (`ip route get {address}`), or the speaker has not installed the routes of this session (FRR-K8s: \
             toReceive)"
        );
        TraceStep::warning(TracePoint::Host, text)
    };
    Some(step.shown_by(shown))
}

/// The command that shows the route to an address of the underlay.
pub(super) fn in_underlay(address: IpAddr) -> String {
    let family = if address.is_ipv4() { "ip" } else { "ipv6" };
    format!("zebra: show {family} route {address}")
}

/// The next hops that the kernel uses.
pub(super) fn in_kernel(found: &Match, facts: &TraceFacts) -> TraceStep {
    let rib = show_rib(&facts.vrf, Family::of(&found.prefix), Some(found.prefix.addr()));
    if let Some(lost) = LostHops::of(&found.prefix.to_string(), &facts.kernel, &facts.unresolved_in_vrf) {
        let of_fabric = found.paths.iter().any(|path| path.best && path.origin == Origin::Fabric);
        let remedy = if of_fabric { DEAD_NEXT_HOP } else { SILENT_HOST };
        return lost_step(TracePoint::Kernel, &lost, remedy, &facts.kernel).shown_in("zebra", &rib);
    }
    match facts.kernel.as_slice() {
        [] => {
            let text = format!(
                "the kernel does not use {} in VRF {}: zebra has not installed it, or another route covers the address",
                found.prefix, facts.vrf
            );
            TraceStep::new(TracePoint::Kernel, false, text)
        }
        [hop] => TraceStep::new(TracePoint::Kernel, true, format!("{} via {hop}", found.prefix)),
        hops => TraceStep::new(TracePoint::Kernel, true, format!("{} over {} next hops", found.prefix, hops.len()))
            .with_branches(shown(hops)),
    }
    .shown_in("zebra", &rib)
}

/// A prefix of the router itself whose packets are discarded where no route is more specific, as those of an aggregate.
pub(super) fn discarded(found: &Match, facts: &TraceFacts) -> Option<TraceStep> {
    let are_all = !facts.kernel.is_empty() && facts.kernel.iter().all(InstalledHop::discards);
    let rib = show_rib(&facts.vrf, Family::of(&found.prefix), Some(found.prefix.addr()));
    are_all.then(|| {
        let text = format!(
            "packets are discarded, as no route is more specific than {}: have the host advertise the address",
            found.prefix
        );
        TraceStep::new(TracePoint::Kernel, false, text).shown_in("zebra", &rib)
    })
}

/// A VTEP of the best paths for which the kernel has no router MAC.
pub(super) fn without_router_mac(best: &[&Path], facts: &TraceFacts) -> Option<TraceStep> {
    let known = facts.forwarded.as_ref()?;
    let vtep = *best.iter().flat_map(|path| &path.next_hops).find(|vtep| !known.contains(&vtep.to_canonical()))?;
    let remedy = reset_router_mac(facts.fabric.iter().map(|session| session.peer.as_str()));
    let text = format!("{}: {remedy}", no_router_mac(&facts.vrf, vtep));
    let [bridge, vxlan] = [Role::Bridge, Role::Vxlan].map(|role| OwnedName::Vni(role, facts.vni).to_string());
    let step = TraceStep::new(TracePoint::Kernel, false, text);
    Some(step.shown_by(format!("ip neigh show dev {bridge}; bridge fdb show dev {vxlan}")))
}

/// The route to each VTEP of the best paths.
pub(super) fn underlay(best: &[&Path], facts: &TraceFacts) -> Vec<TraceStep> {
    let Some(routes) = &facts.underlay else { return vec![] };
    let vteps: BTreeSet<IpAddr> = best.iter().flat_map(|path| &path.next_hops).copied().collect();
    let step = |vtep: IpAddr| {
        let by_default = if facts.default_routed.contains(&vtep) { ", by the default route" } else { "" };
        let hops = routes.get(&vtep).map(Vec::as_slice);
        if let Some(lost) = hops.and_then(|hops| LostHops::of(&format!("VTEP {vtep}"), hops, &facts.unresolved)) {
            let step = lost_step(TracePoint::Underlay, &lost, DEAD_NEXT_HOP, hops.unwrap_or_default());
            return step.shown_by(in_underlay(vtep));
        }
        let step = match hops {
            None | Some([]) => {
                let text = format!("no route leads to VTEP {vtep}: have the leaf advertise it to this node");
                TraceStep::new(TracePoint::Underlay, false, text)
            }
            Some([hop]) => TraceStep::new(TracePoint::Underlay, true, format!("VTEP {vtep} via {hop}{by_default}")),
            Some(hops) => {
                let text = format!("VTEP {vtep} over {} next hops{by_default}", hops.len());
                TraceStep::new(TracePoint::Underlay, true, text).with_branches(shown(hops))
            }
        };
        step.shown_by(in_underlay(vtep))
    };
    vteps.into_iter().map(step).collect()
}

pub(super) fn shown(hops: &[InstalledHop]) -> Vec<String> {
    hops.iter().map(ToString::to_string).collect()
}

/// Next hops of which one at least loses packets.
pub(super) fn lost_step(at: TracePoint, lost: &LostHops, unanswered: &'static str, hops: &[InstalledHop]) -> TraceStep {
    let text = format!("{}: {}", lost.what, lost.remedy(unanswered));
    if lost.are_all { TraceStep::new(at, false, text) } else { TraceStep::warning(at, text).with_branches(shown(hops)) }
}

/// The first link of a VNI that is down.
pub(super) fn link_down(vni: Vni, facts: &TraceFacts) -> Option<TraceStep> {
    let down = down_links(vni, facts.vrf.as_str(), facts.links.as_ref()?);
    let DownLink { what, evidence, .. } = down.into_iter().next()?;
    let text = format!("{what}: {}", repair(facts.controller));
    Some(TraceStep::new(TracePoint::Links, false, text).shown_by(evidence))
}

/// The packet filters of others in the namespaces of the router and of the VRF, one step for each. Which packets they drop is not known.
/// Of the VRF those of the family of the address count; the fabric may have the other one.
pub(super) fn packet_filters(address: IpAddr, facts: &TraceFacts) -> Vec<TraceStep> {
    let step = |(vrf, filters): (&Option<VrfName>, &PacketFilters)| {
        let filters = if vrf.is_some() { filters.of_family(address.is_ipv4())? } else { filters.clone() };
        let text = packet_filter_checks::what(vrf.as_ref(), &filters);
        Some(TraceStep::warning(TracePoint::Links, text).shown_by(packet_filter_checks::evidence(&filters)))
    };
    facts.packet_filters.iter().filter_map(step).collect()
}

/// The links between NIC and host, and the size of packets that they forward.
pub(super) fn links(facts: &TraceFacts) -> Option<TraceStep> {
    let links = facts.links.as_ref()?;
    let vni = facts.vni;
    if let Some(down) = link_down(vni, facts) {
        return Some(down);
    }
    let own = [Role::Vxlan, Role::Bridge, Role::PeVeth].map(|role| OwnedName::Vni(role, vni).to_string());
    let of_vrf: Vec<(&String, &Interface)> = own.iter().filter_map(|name| links.get_key_value(name)).collect();
    let hops = facts.underlay.iter().flat_map(|routes| routes.values()).flatten();
    let used: BTreeSet<&str> = hops.filter_map(|hop| hop.link.as_deref()).collect();
    let is_used = |name: &str| used.is_empty() || used.contains(name);
    let nics: Vec<_> = links.iter().filter(|(name, link)| link.is_nic(name) && is_used(name)).collect();
    let overhead = if facts.state.vtep.is_some_and(|vtep| vtep.is_ipv6()) { OVERHEAD.1 } else { OVERHEAD.0 };
    let inner = nics.iter().filter_map(|(_, nic)| nic.mtu).map(|mtu| mtu.saturating_sub(overhead));
    let smallest = inner.chain(of_vrf.iter().filter_map(|(_, link)| link.mtu)).min()?;
    let shown = nics.iter().map(|(name, nic)| (*name, *nic, format!(" less {overhead} for VXLAN")));
    let shown = shown.chain(of_vrf.iter().map(|(name, link)| (*name, *link, String::new())));
    let shown: Vec<String> =
        shown.filter_map(|(name, link, less)| Some(format!("{name} {}{less}", link.mtu?))).collect();
    let of_host = of_vrf.last().and_then(|(_, link)| link.mtu).unwrap_or(smallest);
    let text = format!("packets of {smallest} bytes fit: {}", shown.join(", "));
    let step = if smallest < of_host {
        let text = format!("{text}; the host sends up to {of_host}: raise the MTU of the NIC and of the switches");
        TraceStep::warning(TracePoint::Links, text)
    } else {
        TraceStep::new(TracePoint::Links, true, text)
    };
    Some(step.shown_by("zebra: show interface vrf all brief"))
}
