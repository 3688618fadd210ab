//! Checks of sessions that are established: the peer is silent or does not answer ARP, another speaker connects, BFD is not up, or
//! one side alone offers an address family. In: [`Facts`]. Out: [`Finding`]s. Pure.

use std::net::IpAddr;

use super::facts::{Facts, SILENT_HOST, link_without, resolution};
use super::finding::{Area, Finding, FindingKind, FindingSeverity};
use super::session_checks::{area, field_of_neighbor, place, severity, tcp_cause};
use crate::frr::show::bfd::BfdPeer;
use crate::frr::show::family::{self, EVPN};
use crate::frr::show::neighbor::{Negotiation, SessionReset};
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::types::VrfName;

/// Seconds by which bgpd may be late.
const LATE: u64 = 5;

/// All of them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let is_up = |session: &&SessionState| session.phase == SessionPhase::Established;
    facts.sessions.iter().filter(is_up).flat_map(|session| of_session(session, facts)).collect()
}

fn of_session(session: &SessionState, facts: &Facts) -> Vec<Finding> {
    let one = [
        half_open(session, facts).or_else(|| unanswered(session, facts)),
        second_speaker(session, facts),
        without_bfd(session, facts),
    ];
    one.into_iter().flatten().chain(families(session, facts)).collect()
}

/// A session that is established at this end alone: its hold time has expired, and bgpd has not noticed (FRR 8.4).
fn half_open(session: &SessionState, facts: &Facts) -> Option<Finding> {
    let reset = facts.neighbors.get(&session.key())?;
    let hold_time = reset.hold_time.filter(|hold_time| *hold_time > 0)?;
    let silent_for = reset.silent_for.filter(|silent_for| *silent_for > hold_time + LATE)?;
    let peer = &session.peer;
    let what = format!("session with {peer} is established at this end alone: nothing was received for {silent_for} s");
    let finding = Finding::new(FindingSeverity::Error, area(session), FindingKind::HoldTimeExpired, what)
        .at(place(session))
        .shown_by(format!("the hold time is {hold_time} s"))
        .remedied_by(format!(
            "check what drops packets on the way to {peer}, a filter or TTL security there, and reset the session, by `clear bgp{} {peer}` in \
             vtysh",
            session.vrf.as_ref().map(|vrf| format!(" vrf {vrf}")).unwrap_or_default()
        ))
        .of(facts.object_of(session.vrf.as_ref()), "");
    Some(finding)
}

/// A host that does not answer ARP or Neighbor Discovery any more: its session stays established until the hold time expires. It may
/// answer again before the router asks again.
fn unanswered(session: &SessionState, facts: &Facts) -> Option<Finding> {
    let (vrf, peer) = (session.vrf.as_ref()?, &session.peer);
    let address: IpAddr = peer.parse().ok()?;
    let link = link_without(address, facts.unresolved_of(vrf))?;
    let protocol = resolution(address);
    let what = format!("{peer} did not answer {protocol} on {link}: packets to the host are lost");
    let finding = Finding::new(FindingSeverity::Warning, Area::Host, FindingKind::NotResolved, what)
        .at(place(session))
        .shown_by("bgpd has the session as established")
        .remedied_by(SILENT_HOST)
        .of(facts.object_of(Some(vrf)), "spec.hostSession");
    Some(finding)
}

fn second_speaker(session: &SessionState, facts: &Facts) -> Option<Finding> {
    let tcp = tcp_cause(session, facts)?;
    let object = facts.object_of(session.vrf.as_ref());
    let finding = Finding::new(FindingSeverity::Warning, Area::Host, FindingKind::SecondSpeaker, tcp.cause.clone())
        .at(place(session))
        .remedied_by("run one speaker for both, or give the other one an L3VNI of its own")
        .of(object, "spec.hostSession");
    Some(finding)
}

/// A session that is established without the BFD session that belongs to it (RFC 5882 section 4.2): BFD has never been up since.
fn without_bfd(session: &SessionState, facts: &Facts) -> Option<Finding> {
    let of_session = |peer: &&BfdPeer| peer.vrf == session.vrf_name() && peer.peer == session.peer;
    let mut peers = facts.bfd.iter().filter(of_session).peekable();
    peers.peek()?;
    if !facts.has_settled(session) || peers.any(|peer| peer.is_up) {
        return None;
    }
    let peer = &session.peer;
    let what = format!("BFD with {peer} is not up, while the session is: only the hold timer detects a failure");
    let finding = Finding::new(FindingSeverity::Warning, area(session), FindingKind::BfdDown, what)
        .at(place(session))
        .shown_by("bfdd: show bfd peers")
        .remedied_by(format!(
            "enable BFD for this router at {peer}, with the same number of hops, and let UDP 3784 and 4784 pass"
        ))
        .of(facts.object_of(session.vrf.as_ref()), &field_of_neighbor(session, "bfd"));
    Some(finding)
}

/// Families of an established session that one side alone offers.
fn families(session: &SessionState, facts: &Facts) -> Vec<Finding> {
    let Some(reset) = facts.neighbors.get(&session.key()) else { return vec![] };
    let one_sided = reset.families.iter().filter(|(_, sides)| !sides.is_done());
    one_sided.filter_map(|(family, sides)| one_sided_family(session, reset, (family.as_str(), *sides), facts)).collect()
}

fn one_sided_family(
    session: &SessionState,
    reset: &SessionReset,
    (family, sides): (&str, Negotiation),
    facts: &Facts,
) -> Option<Finding> {
    let (name, peer) = (family::name(family), &session.peer);
    let local = reset.local_address.as_deref().unwrap_or("this router");
    let object = facts.object_of(session.vrf.as_ref());
    if let Some(vrf) = session.vrf.as_ref() {
        return of_host((vrf, session), (family, sides), facts);
    }
    // A family that the fabric offers and we have no use for, or IPv4 over a session that another one carries.
    let is_needed = family == EVPN || !other_carries(session, family, facts);
    (sides.advertised && is_needed).then(|| {
        let severity = match family {
            EVPN if by_loopbacks(facts) && !facts.is_from_vtep(session) => FindingSeverity::Info,
            EVPN => severity(session, facts),
            _ => FindingSeverity::Error,
        };
        let what = format!("{name} is not negotiated with {peer}: the peer does not offer it");
        Finding::new(severity, Area::Fabric, FindingKind::FamilyNotNegotiated, what)
            .at(place(session))
            .shown_by(format!("capability {name}: advertised to {peer}, not received"))
            .remedied_by(format!("activate the neighbor {local} in the address family {name} at {peer}"))
            .of(object, &format!("spec.neighbors[{peer}]"))
    })
}

/// EVPN is between loopbacks, also while such a session is down: the sessions with the leaves need not carry it.
fn by_loopbacks(facts: &Facts) -> bool {
    facts.fabric_sessions().any(|session| facts.is_from_vtep(session))
}

fn other_carries(session: &SessionState, family: &str, facts: &Facts) -> bool {
    let carries = |other: &SessionState| {
        let reset = facts.neighbors.get(&other.key());
        other.peer != session.peer
            && other.phase == SessionPhase::Established
            && reset.and_then(|reset| reset.families.get(family)).is_some_and(|sides| sides.is_done())
    };
    facts.fabric_sessions().any(carries)
}

fn of_host(
    (vrf, session): (&VrfName, &SessionState),
    (family, sides): (&str, Negotiation),
    facts: &Facts,
) -> Option<Finding> {
    let name = family::name(family);
    let (peer, object) = (&session.peer, facts.object_of(Some(vrf)));
    if sides.advertised {
        let what = format!("{name} is not negotiated with {peer}: the host does not offer it");
        let finding = Finding::new(FindingSeverity::Error, Area::Host, FindingKind::FamilyNotNegotiated, what)
            .at(place(session))
            .shown_by(format!("capability {name}: advertised to {peer}, not received"))
            .remedied_by(format!("activate {name} for the neighbor in the speaker of the host"))
            .of(object, "spec.hostSession");
        return Some(finding);
    }
    let is_v6 = match family {
        family::IPV4 => false,
        family::IPV6 => true,
        _ => return None,
    };
    let is_other = |other: &&SessionState| other.vrf.as_ref() == Some(vrf) && other.peer.contains(':') == is_v6;
    let other = facts.sessions.iter().find(is_other).map(|other| other.peer.clone());
    let (remedy, field) = if let Some(other) = other {
        (format!("advertise its routes on the session with {other}"), "spec.hostSession")
    } else {
        let field = if is_v6 { "spec.localcidr.ipv6" } else { "spec.localcidr.ipv4" };
        (format!("set {field}, and add the session to the host"), field)
    };
    let what =
        format!("{peer} offers {name}, which this session does not carry: its routes of that family are not accepted");
    let finding = Finding::new(FindingSeverity::Warning, Area::Host, FindingKind::FamilyNotCarried, what)
        .at(place(session))
        .shown_by(format!("capability {name}: received from {peer}, not advertised"))
        .remedied_by(remedy)
        .of(object, field);
    Some(finding)
}
