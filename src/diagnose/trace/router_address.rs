//! Addresses of the router itself and of the underlay, and those of a session subnet that no host has. In: facts. Out: a step. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::forwarding::{in_underlay, link_down};
use super::step::{TracePoint, TraceStep};
use super::to_fabric::without_evpn;
use super::trace_facts::TraceFacts;
use crate::kind::ipam::is_reserved;
use crate::names::{OwnedName, Role};

/// What is in a session subnet without a route of its own, with that subnet; or an address of the underlay that no route covers.
pub(super) fn of_router(address: IpAddr, facts: &TraceFacts) -> Option<(Option<IpNet>, TraceStep)> {
    if let Some(found) = of_session(address, facts) {
        return Some(found);
    }
    if facts.matched.is_some() {
        return None;
    }
    let what = if facts.state.vtep == Some(address) {
        "the VTEP of this node, an address of the underlay".to_owned()
    } else {
        format!("in {} of the underlay", facts.in_underlay?)
    };
    let text = format!("{address} is {what}: no VRF has a route to it");
    Some((None, TraceStep::new(TracePoint::Vrf, false, text).shown_by(in_underlay(address))))
}

fn of_session(address: IpAddr, facts: &TraceFacts) -> Option<(Option<IpNet>, TraceStep)> {
    let name = OwnedName::Vni(Role::PeVeth, facts.vni).to_string();
    let link = facts.links.as_ref()?.get(&name)?;
    let router = link.addresses.iter().find(|own| own.contains(&address) && !is_link_local(own.addr()))?;
    let subnet = router.trunc();
    let is_longer = |prefix: IpNet| prefix.prefix_len() > subnet.prefix_len();
    if facts.matched.as_ref().is_some_and(|found| is_longer(found.prefix)) {
        return None;
    }
    let is_router = router.addr() == address;
    let fabric = without_evpn(&facts.fabric);
    let step = if let Some(down) = link_down(facts.vni, facts) {
        down
    } else if is_router {
        let text = format!(
            "{address} is the router's own address on {name}, the same on all nodes: this node alone reaches it"
        );
        TraceStep::new(TracePoint::Host, true, text)
    } else if facts.hosts.iter().any(|session| session.peer == address.to_string()) {
        let text = format!("{address} is the address of the host of this node in its session");
        TraceStep::new(TracePoint::Host, true, text)
    } else if is_reserved(address, &subnet) {
        TraceStep::new(TracePoint::Vrf, false, reserved(address, subnet))
    } else if fabric.is_empty() {
        let text = format!("no node advertises a host with {address}, which is in spec.localcidr ({subnet})");
        TraceStep::new(TracePoint::Vrf, false, text)
    } else {
        let text =
            format!("{address} is in spec.localcidr ({subnet}), and no route of the fabric is received: {fabric}");
        TraceStep::new(TracePoint::Vrf, false, text)
    };
    Some((Some(subnet), step.shown_by(format!("zebra: show interface {name}"))))
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Why no path leads to such an address.
pub(super) fn reserved(address: IpAddr, subnet: IpNet) -> String {
    let what = if address == subnet.network() { "the address of network" } else { "the broadcast address of" };
    format!("{address} is {what} {subnet}: no host has it")
}
