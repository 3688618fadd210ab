//! Addresses of the router itself, and those of a session subnet that no host has. In: facts. Out: a step. Pure.

use std::net::IpAddr;

use ipnet::IpNet;

use super::step::{TracePoint, TraceStep};
use super::trace_facts::TraceFacts;

/// The VTEP, and what is in a session subnet without a route of its own: with that subnet.
pub(super) fn of_router(address: IpAddr, facts: &TraceFacts) -> Option<(Option<IpNet>, TraceStep)> {
    if facts.state.vtep == Some(address) {
        let text = format!("{address} is the VTEP of this node, an address of the underlay: no VRF has a route to it");
        return Some((None, TraceStep::new(TracePoint::Vrf, false, text)));
    }
    let name = format!("pe-{}", facts.vni);
    let link = facts.links.as_ref()?.get(&name)?;
    let router = link.addresses.iter().find(|own| own.contains(&address) && !is_link_local(own.addr()))?;
    let subnet = router.trunc();
    let is_longer = |prefix: IpNet| prefix.prefix_len() > subnet.prefix_len();
    if facts.matched.as_ref().is_some_and(|found| is_longer(found.prefix)) {
        return None;
    }
    let step = if router.addr() == address {
        let text = format!(
            "{address} is the router's own address on {name}, the same on all nodes: only the host of this node reaches it"
        );
        TraceStep::new(TracePoint::Host, true, text)
    } else if is_reserved(address, subnet) {
        TraceStep::new(TracePoint::Vrf, false, reserved(address, subnet))
    } else {
        let text = format!(
            "no host of a node has {address}, which is in spec.localcidr ({subnet}): a host has the address of its node index"
        );
        TraceStep::new(TracePoint::Vrf, false, text)
    };
    Some((Some(subnet), step.shown_by(format!("zebra: show interface {name}"))))
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
}

/// Whether it is the address of an IPv4 network itself, or its broadcast address.
pub(super) fn is_reserved(address: IpAddr, subnet: IpNet) -> bool {
    let has_both = subnet.addr().is_ipv4() && subnet.prefix_len() < 31;
    has_both && (address == subnet.network() || address == subnet.broadcast())
}

/// Why no path leads to such an address.
pub(super) fn reserved(address: IpAddr, subnet: IpNet) -> String {
    let what = if address == subnet.network() { "the address of network" } else { "the broadcast address of" };
    format!("{address} is {what} {subnet}: no host has it")
}
