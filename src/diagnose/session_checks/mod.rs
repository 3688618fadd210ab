//! Checks of BGP sessions that are not established: why one is down. In: [`Facts`]. Out:
//! [`Finding`]s with the remedy at the right side. Pure.

use std::net::IpAddr;

use super::cause::{Cause, SessionCause, explain, explain_with_age};
use super::facts::{Facts, SILENT_HOST, Unresolved, link_without, resolution};
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use super::link_checks::{self, SessionLink};
use super::packet_filter_checks;
use crate::frr::show::interface::Interface;
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::session::{SessionPhase, SessionState};

/// Seconds in which a session is established where nothing is wrong.
const ESTABLISHES: u64 = 60;

/// Why FRR says that a session went down by itself.
const NOTIFICATION_SENT: &str = "BGP Notification send";

/// In place of an address that is not known.
const THIS_ROUTER: &str = "this router";

/// All of them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    facts.sessions.iter().filter_map(|session| down(session, facts)).chain(without_fabric(facts)).collect()
}

/// Where a session is.
pub(super) fn place(session: &SessionState) -> Place {
    Place::session(session.vrf.as_ref(), &session.peer)
}

/// Its part of the router.
pub(super) fn area(session: &SessionState) -> Area {
    if session.vrf.is_some() { Area::Host } else { Area::Fabric }
}

/// One of several sessions with the fabric may be down.
pub(super) fn severity(session: &SessionState, facts: &Facts) -> FindingSeverity {
    let has_other = session.vrf.is_none() && facts.fabric_sessions().any(|other| facts.carries_evpn(other));
    if has_other { FindingSeverity::Warning } else { FindingSeverity::Error }
}

/// Why a session is not established, with the age of its last reset, or what the kernel shows of one that is. In one sentence;
/// `None`: nothing is wrong.
pub fn cause(session: &SessionState, facts: &Facts) -> Option<String> {
    if session.phase == SessionPhase::Established {
        return tcp_cause(session, facts).map(|tcp| tcp.cause.clone());
    }
    let cause = explain_with_age(session, facts.neighbors.get(&session.key()))?;
    let cause = in_kernel(session, cause, facts);
    let tcp = tcp_cause(session, facts).filter(|_| cause.kind == FindingKind::WrongPassword);
    Some(tcp.map_or_else(|| cause.text.clone(), |tcp| format!("{}: {}", cause.text, tcp.cause)))
}

/// Why a session is not established, and what to do; `None` while it is.
pub fn cause_with_remedy(session: &SessionState, facts: &Facts) -> Option<String> {
    let cause = explain_with_age(session, facts.neighbors.get(&session.key()))?;
    let cause = in_kernel(session, cause, facts);
    let (remedy, _) = remedy(session, &cause, facts);
    Some(format!("{}: {remedy}", cause.text))
}

/// What TCP shows of it.
pub(super) fn tcp_cause<'a>(session: &SessionState, facts: &'a Facts) -> Option<&'a SessionCause> {
    facts.tcp_causes.iter().find(|found| found.vrf == session.vrf && found.peer == session.peer)
}

/// The cause that TCP or a link shows in place of the one that FRR has. What FRR knows of a connection is closer than counters of a
/// namespace that several sessions may share.
fn in_kernel(session: &SessionState, cause: Cause, facts: &Facts) -> Cause {
    use FindingKind::{ConnectionClosed, Establishing, HoldTimeExpired, NoAnswer, NoRouteToPeer, SessionDown};
    let silent = [NoAnswer, Establishing, HoldTimeExpired, SessionDown, ConnectionClosed, NoRouteToPeer];
    if silent.contains(&cause.kind) && tcp_cause(session, facts).is_some() {
        let text = "the TCP MD5 passwords differ, or one side has none".to_owned();
        return Cause { kind: FindingKind::WrongPassword, of_peer: false, text };
    }
    let link = without_link(session, &cause, facts);
    link.map_or(cause, |(kind, text)| Cause { kind, of_peer: false, text })
}

fn down(session: &SessionState, facts: &Facts) -> Option<Finding> {
    let reset = facts.neighbors.get(&session.key());
    let cause = in_kernel(session, explain(session, reset)?, facts);
    let tcp = tcp_cause(session, facts).filter(|_| cause.kind == FindingKind::WrongPassword);
    let (remedy, field) = remedy(session, &cause, facts);
    let what = format!("session with {} is down: {}", session.peer, cause.text);
    let since = reset.filter(|_| session.established > 0).and_then(|reset| reset.reset_age);
    let severity = match cause.kind {
        // A session that has just gone down, or whose neighbor is new.
        FindingKind::Establishing if reset.and_then(|reset| reset.reset_age).is_some_and(|age| age < ESTABLISHES) => {
            FindingSeverity::Warning
        }
        _ => severity(session, facts),
    };
    let finding = Finding::new(severity, area(session), cause.kind, what)
        .at(place(session))
        .remedied_by(remedy)
        .shown_by(tcp.map_or_else(|| evidence(reset), |tcp| tcp.cause.clone()))
        .of(facts.object_of(session.vrf.as_ref()), &field);
    Some(Finding { since: since.map(|age| facts.now.saturating_sub(age)), ..finding })
}

/// In FRR's words.
fn evidence(reset: Option<&SessionReset>) -> String {
    let Some(reset) = reset else { return String::new() };
    let words = [("last reset", &reset.due_to), ("last NOTIFICATION", &reset.notification)];
    let words = words.into_iter().filter_map(|(what, text)| text.as_ref().map(|text| format!("{what}: {text}")));
    words.collect::<Vec<_>>().join(", ")
}

/// No link leads to a peer that does not answer.
fn without_link(session: &SessionState, cause: &Cause, facts: &Facts) -> Option<(FindingKind, String)> {
    use FindingKind::{BfdDown, Establishing, HoldTimeExpired, LinkDown, NicWithoutAddress, NoAnswer, NoRouteToPeer};
    let is_likely = [NoAnswer, NoRouteToPeer, Establishing, HoldTimeExpired, LinkDown, BfdDown].contains(&cause.kind);
    let peer: IpAddr = session.peer.parse().ok().filter(|_| is_likely)?;
    if let Some(vrf) = &session.vrf {
        return match link_checks::of_host_session(vrf, peer, facts) {
            Some(SessionLink::Down(text)) => Some((LinkDown, text)),
            Some(SessionLink::WithoutAddress(text)) => Some((NicWithoutAddress, text)),
            None => unanswered(peer, facts.unresolved_of(vrf)),
        };
    }
    if let Some(text) = link_checks::nic_down(peer, facts) {
        return Some((LinkDown, text));
    }
    if let Some(text) = without_address(session, peer, facts).filter(|_| cause.kind != LinkDown) {
        return Some((NicWithoutAddress, text));
    }
    unanswered(peer, &facts.unresolved)
}

fn unanswered(peer: IpAddr, unresolved: &Unresolved) -> Option<(FindingKind, String)> {
    let link = link_without(peer, unresolved)?;
    Some((FindingKind::NotResolved, format!("{peer} does not answer {} on {link}", resolution(peer))))
}

/// The NICs have no address in the subnet of a neighbor.
fn without_address(session: &SessionState, peer: IpAddr, facts: &Facts) -> Option<String> {
    // Between loopbacks a route is needed, and no subnet.
    let links = facts.links.as_ref().filter(|_| session.vrf.is_none() && !facts.is_from_vtep(session))?;
    let is_connected = links.values().flat_map(|link| &link.addresses).any(|net| net.contains(&peer))
        || facts.underlay.iter().flatten().any(|(prefix, _)| prefix.contains(&peer));
    let is_link_local = matches!(peer, IpAddr::V6(v6) if v6.is_unicast_link_local());
    if is_connected || is_link_local {
        return None;
    }
    let shown = |(name, link): (&String, &Interface)| {
        let addresses: Vec<String> = link.addresses.iter().map(ToString::to_string).collect();
        let addresses = if addresses.is_empty() { "no address".to_owned() } else { addresses.join(" ") };
        format!("{name} has {addresses}")
    };
    let nics: Vec<String> = links.iter().filter(|(name, link)| link.is_nic(name)).map(shown).collect();
    Some(format!("no NIC has an address in the subnet of {peer}: {}", nics.join(", ")))
}

/// The address of this router in the subnet of a peer.
fn address_towards(session: &SessionState, facts: &Facts) -> Option<String> {
    let peer: IpAddr = session.peer.parse().ok()?;
    let addresses = facts.links.iter().flatten().flat_map(|(_, link)| &link.addresses);
    addresses.clone().find(|net| net.contains(&peer)).map(|net| net.addr().to_string())
}

/// What to do, and the field that it may concern.
fn remedy(session: &SessionState, cause: &Cause, facts: &Facts) -> (String, String) {
    use FindingKind::{BfdDown, ConnectionClosed, Establishing, HoldTimeExpired, NoAnswer, NotResolved, SessionDown};
    let (remedy, field) = remedy_of_cause(session, cause, facts);
    let may_be_filtered =
        [BfdDown, ConnectionClosed, Establishing, HoldTimeExpired, NoAnswer, NotResolved, SessionDown]
            .contains(&cause.kind);
    // What is nearest first.
    match facts.filters_of(session).filter(|_| may_be_filtered) {
        Some((vrf, filters)) => {
            (format!("check first {}; {remedy}", packet_filter_checks::named(vrf, &filters)), field)
        }
        None => (remedy, field),
    }
}

fn remedy_of_cause(session: &SessionState, cause: &Cause, facts: &Facts) -> (String, String) {
    use FindingKind as K;
    let (peer, is_host) = (&session.peer, session.vrf.is_some());
    let reset = facts.neighbors.get(&session.key());
    let source = reset.and_then(|reset| reset.update_source.clone()).filter(|_| !is_host);
    let local = reset.and_then(|reset| reset.local_address.clone()).or_else(|| source.clone());
    let local = local.or_else(|| address_towards(session, facts)).unwrap_or_else(|| THIS_ROUTER.to_owned());
    let local_as = reset.and_then(|reset| reset.local_as).map(|asn| format!(", AS {asn}")).unwrap_or_default();
    let of_neighbor = |field: &str| field_of_neighbor(session, field);
    let asn_of_peer = if is_host { "spec.hostasn".to_owned() } else { of_neighbor("asn") };
    let text = |remedy: &str, field: String| (remedy.to_owned(), field);
    match cause.kind {
        K::WrongAsn if cause.of_peer => (
            format!("set the AS number of the neighbor {local} at {peer} to that of this router, or change spec.asn"),
            "spec.asn".to_owned(),
        ),
        K::WrongAsn => (format!("set {asn_of_peer} to the AS number of {peer}"), asn_of_peer),
        K::WrongPassword => text("set the same password at both ends, or none at both", of_neighbor("passwordSecret")),
        K::SameRouterId => text(
            "give one of them another router id; two nodes with one index have the same",
            if is_host { String::new() } else { "spec.routeridcidr".to_owned() },
        ),
        K::NoRouteToPeer if source.is_some() => (
            format!("have the leaf of this node advertise {peer}, or a default route, in its unicast family"),
            of_neighbor("address"),
        ),
        K::LinkDown | K::NicWithoutAddress | K::NoRouteToPeer => remedy_of_link(session, cause, facts),
        K::NotResolved if is_host => text(SILENT_HOST, "spec.hostSession".to_owned()),
        K::NotResolved => text(
            "check the address of the neighbor and that the peer has it, the VLAN of the switch port, and the cable",
            of_neighbor("address"),
        ),
        K::NoAnswer | K::ConnectionClosed | K::NeighborRemoved => {
            without_neighbor(session, (&local, &local_as), reset, cause.kind)
        }
        K::ShutDown if cause.of_peer => (format!("enable the neighbor {local} at {peer}"), String::new()),
        K::ShutDown => {
            (format!("remove the line `neighbor {peer} shutdown` from bgpd: it is not from perouter"), String::new())
        }
        K::TooManyPrefixes if cause.of_peer => text(
            "raise the limit at the peer, or send fewer",
            if is_host { "spec.toHost.allowedPrefixes".to_owned() } else { String::new() },
        ),
        K::TooManyPrefixes => {
            text("raise maxPrefixes, or have the host advertise fewer", "spec.fromHost.maxPrefixes".to_owned())
        }
        K::BfdDown => text("enable BFD at the peer, or remove it here", of_neighbor("bfd")),
        K::FamilyNotNegotiated => text("activate the address families of this router at the peer", String::new()),
        K::Establishing => (format!("wait; if it stays, see the log of {peer}"), String::new()),
        _ if reset.is_some_and(|reset| reset.due_to.as_deref() == Some(NOTIFICATION_SENT)) => (
            format!("see the log of bgpd on this node, which has why it closed the session, then that of {peer}"),
            String::new(),
        ),
        _ => (format!("see the log of {peer}"), String::new()),
    }
}

/// Of a session without a link, an address or a route to its peer.
fn remedy_of_link(session: &SessionState, cause: &Cause, facts: &Facts) -> (String, String) {
    use FindingKind as K;
    let (is_host, nics) = (session.vrf.is_some(), "spec.nics".to_owned());
    let (remedy, field) = match cause.kind {
        K::LinkDown | K::NicWithoutAddress if is_host => (link_checks::repair(facts.controller), String::new()),
        K::NicWithoutAddress => (
            "give the NIC an address in the subnet of the neighbor before perouter takes it, or correct the address of the neighbor",
            format!("spec.neighbors[{}].address", session.peer),
        ),
        K::LinkDown if cause.text.ends_with(link_checks::NIC_SET_DOWN) => (link_checks::repair(facts.controller), nics),
        K::LinkDown => ("check cable and switch port", nics),
        _ => ("check the link and its address", if is_host { String::new() } else { nics }),
    };
    (remedy.to_owned(), field)
}

/// Of a peer that has no neighbor with the address of this router, `local`, and its AS number, if that is known.
fn without_neighbor(
    session: &SessionState,
    (local, local_as): (&str, &str),
    reset: Option<&SessionReset>,
    kind: FindingKind,
) -> (String, String) {
    let (peer, is_host) = (&session.peer, session.vrf.is_some());
    // Between loopbacks.
    let has_source = !is_host && reset.is_some_and(|reset| reset.update_source.is_some());
    let is_remote = kind == FindingKind::NoAnswer && has_source;
    let has_password = reset.is_some_and(|reset| reset.has_password);
    let password = if has_password { "with the same password" } else { "without a password" };
    let neighbor = if local == THIS_ROUTER { local.to_owned() } else { format!("the neighbor {local}") };
    let configure = format!("configure {neighbor}{local_as}, {password}, at {peer}");
    let configure = if session.established > 0 && kind == FindingKind::NoAnswer {
        format!(
            "check that a BGP speaker runs at {peer}, and that no filter drops TCP port 179 and nobody else has one of the addresses; or {configure}"
        )
    } else {
        configure
    };
    if is_remote {
        let remedy = format!(
            "{configure}, with multihop and a route to {local}; if {peer} has another address of this router, set updateSource"
        );
        return (remedy, format!("spec.neighbors[{peer}].updateSource"));
    }
    let field = match (has_password, is_host) {
        (true, true) => "spec.hostSession.passwordSecret".to_owned(),
        (true, false) => format!("spec.neighbors[{peer}].passwordSecret"),
        (false, true) if peer.contains(':') => "spec.localcidr.ipv6".to_owned(),
        (false, true) => "spec.localcidr.ipv4".to_owned(),
        (false, false) => format!("spec.neighbors[{peer}].address"),
    };
    (configure, field)
}

/// A field of the neighbor in its object.
pub(super) fn field_of_neighbor(session: &SessionState, field: &str) -> String {
    match session.vrf {
        Some(_) => format!("spec.hostSession.{field}"),
        None => format!("spec.neighbors[{}].{field}", session.peer),
    }
}

/// No session with the fabric is of use.
fn without_fabric(facts: &Facts) -> Option<Finding> {
    let sessions: Vec<&SessionState> = facts.fabric_sessions().collect();
    if facts.vteps.is_empty() || facts.is_routing_silent() || sessions.iter().any(|s| facts.carries_evpn(s)) {
        return None;
    }
    let is_up = |session: &&SessionState| session.phase == SessionPhase::Established;
    let object = facts.object_of(None);
    let (kind, what) = match (sessions.is_empty(), sessions.iter().any(is_up)) {
        (true, _) => (FindingKind::NoFabricSession, "this node has no session with the fabric"),
        (_, false) => (FindingKind::NoFabricSession, "no session with the fabric is established"),
        (_, true) => (FindingKind::NoEvpnSession, "no session with the fabric carries L2VPN EVPN"),
    };
    // Where the details were not read, nothing is known of families.
    if kind == FindingKind::NoEvpnSession
        && sessions.iter().all(|session| !facts.neighbors.contains_key(&session.key()))
    {
        return None;
    }
    let remedy = if sessions.is_empty() { "add its leaf to the neighbors" } else { "see the findings of each session" };
    let finding =
        Finding::new(FindingSeverity::Error, Area::Fabric, kind, what).remedied_by(remedy).of(object, "spec.neighbors");
    Some(finding)
}

#[cfg(test)]
mod tests;
