//! The end that all paths to the fabric have: the sessions with it. In: facts. Out: a step, or why there is none. Pure.

use std::net::IpAddr;

use super::step::{TracePoint, TraceStep};
use super::trace_facts::{TraceFacts, TracedSession};
use crate::frr::show::route::{has_asn, show_type5};
use crate::frr::show::session::SessionPhase;
use crate::types::Vni;

/// Why no session with the fabric carries L2VPN EVPN; empty where one does, or where that is not known.
pub(super) fn without_evpn(sessions: &[TracedSession]) -> String {
    if sessions.is_empty() || sessions.iter().any(|session| session.evpn != Some(false)) {
        return String::new();
    }
    // Where EVPN is between loopbacks, the leaves need not carry it.
    let by_loopbacks = sessions.iter().any(|session| session.is_from_vtep);
    let is_up = |session: &&TracedSession| {
        session.state == SessionPhase::Established && (session.is_from_vtep || !by_loopbacks)
    };
    let one_sided = sessions.iter().filter(is_up).map(|session| {
        let peer = &session.peer;
        format!("L2VPN EVPN is not negotiated with {peer}: activate this router in that address family at {peer}")
    });
    one_sided.chain(Some(not_up(sessions)).filter(|down| !down.is_empty())).collect::<Vec<_>>().join("; ")
}

/// Sessions that are not established, with the cause of each.
pub(super) fn not_up(sessions: &[TracedSession]) -> String {
    let down = sessions.iter().filter(|session| session.state != SessionPhase::Established);
    let texts = down.map(|session| {
        format!("session with {} is {}: {}", session.peer, session.state, session.cause.as_deref().unwrap_or("unknown"))
    });
    texts.collect::<Vec<_>>().join("; ")
}

/// What an EVPN route of this node has.
pub(super) fn route_words(
    rd: &str,
    targets: &[String],
    vni: Vni,
    router_mac: Option<&str>,
    next_hop: Option<IpAddr>,
) -> String {
    let all = [format!("RD {rd}"), format!("RT {}", targets.join(" ")), format!("VNI {vni}")];
    let router_mac = router_mac.map(|mac| format!("router MAC {mac}"));
    let next_hop = next_hop.map(|vtep| format!("next hop {vtep}"));
    all.into_iter().chain(router_mac).chain(next_hop).collect::<Vec<_>>().join(", ")
}

/// Peers that reject a route with this AS path as their own AS number is in it (RFC 4271 section 9.1.2).
fn rejected_as_loop(peers: &[String], as_path: &str, facts: &TraceFacts) -> Option<TraceStep> {
    let in_path = |session: &&TracedSession| {
        peers.contains(&session.peer) && session.remote_as.is_some_and(|asn| has_asn(as_path, asn))
    };
    let rejecting: Vec<&TracedSession> = facts.fabric.iter().filter(in_path).collect();
    let asn = rejecting.first()?.remote_as?;
    let names = rejecting.iter().map(|session| session.peer.as_str()).collect::<Vec<_>>().join(", ");
    let is_of_host = facts.hosts.iter().any(|session| session.remote_as == Some(asn));
    let remedy = if is_of_host {
        "use another AS number on the host and in spec.hostasn".to_owned()
    } else {
        format!("have the host not prepend AS {asn}")
    };
    let text = format!(
        "advertised to {}; {names} rejects it as an AS-path loop, as AS {asn} is its own: {remedy}, or allowas-in at {names}",
        peers.join(", ")
    );
    let is_complete = rejecting.len() < peers.len();
    Some(TraceStep { warning: is_complete, ..TraceStep::new(TracePoint::Fabric, is_complete, text) })
}

/// To which peers a route with this AS path and this route distinguisher is advertised, or why to none.
pub(super) fn to_fabric(rd: &str, peers: &[String], as_path: &str, facts: &TraceFacts) -> TraceStep {
    if !peers.is_empty() {
        if let Some(looping) = rejected_as_loop(peers, as_path, facts) {
            return looping.shown_in("bgpd", &show_type5(rd));
        }
        let name = |peer: &String| {
            let known =
                facts.fabric.iter().find(|session| session.peer == *peer).and_then(|session| session.hostname.clone());
            known.map_or_else(|| peer.clone(), |name| format!("{peer} ({name})"))
        };
        return TraceStep::new(
            TracePoint::Fabric,
            true,
            format!("advertised to {}", peers.iter().map(name).collect::<Vec<_>>().join(", ")),
        )
        .shown_in("bgpd", &show_type5(rd));
    }
    let down = not_up(&facts.fabric);
    let without_evpn = without_evpn(&facts.fabric);
    let text = match (facts.fabric.is_empty(), down.is_empty()) {
        (true, _) => "the Underlay has no neighbors".to_owned(),
        _ if !without_evpn.is_empty() => without_evpn,
        (_, true) => "advertised to no peer although the sessions are established: bgpd is about to, or a line in FRR that is not from perouter filters it (`perouter check \
                      --all` lists them)"
            .to_owned(),
        (_, false) => down,
    };
    TraceStep::new(TracePoint::Fabric, false, text).shown_in("bgpd", "show bgp l2vpn evpn summary")
}
