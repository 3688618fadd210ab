//! Why a session is not established, with the remedy. In: what FRR shows of it. Out: a word of the closed list, and a
//! sentence. Pure.

use serde::{Deserialize, Serialize};

use super::finding::FindingKind;
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::types::VrfName;

/// Why a session is not established or not served, and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionCause {
    /// The VRF; `None` is the default instance.
    pub vrf: Option<VrfName>,
    /// The peer.
    pub peer: String,
    /// The cause and the remedy, as one sentence.
    pub cause: String,
}

const COLLISION: &str =
    "connection collision; if it recurs, the peer rejects one of the two connections: its log has the reason";

const TOO_MANY_PREFIXES: &str = "the peer sends more prefixes than maxPrefixes; the session is tried again each minute";

/// A NOTIFICATION is sent again at each attempt, of which there is one every two minutes at least (RFC 4271 section 8,
/// ConnectRetryTime): what was last received long ago is not why the session is down now.
const STALE: u64 = 300;

/// NOTIFICATIONs (RFC 4271 section 4.5, RFC 4486) with a remedy in the configuration, in FRR's words: what it means when
/// the peer sent it, and when we did.
const NOTIFICATIONS: [(&str, FindingKind, &str, &str); 10] = [
    (
        "Bad Peer AS",
        FindingKind::WrongAsn,
        "the peer expects another AS number than {local}",
        "the peer has another AS number than {remote}",
    ),
    (
        "Bad BGP Identifier",
        FindingKind::SameRouterId,
        "the peer has the router id of this router: change its router id, or routeridcidr of the Underlay",
        "the peer has the router id of this router, or none: change its router id, or routeridcidr of the Underlay",
    ),
    (
        "Administrative Shutdown",
        FindingKind::ShutDown,
        "the peer is shut down by its administrator",
        "the session is shut down on this router",
    ),
    (
        "Peer Unconfigured",
        FindingKind::NeighborRemoved,
        "the peer has no neighbor for this router any more",
        "the neighbor was removed from this router",
    ),
    // FRR before 10.
    (
        "Peer De-configured",
        FindingKind::NeighborRemoved,
        "the peer has no neighbor for this router any more",
        "the neighbor was removed from this router",
    ),
    (
        "Connection Rejected",
        FindingKind::ConnectionClosed,
        "the peer rejects the connection: it has no neighbor with the address of this router, or is shut down",
        "the connection of the peer is rejected",
    ),
    (
        "Maximum Number of Prefixes Reached",
        FindingKind::TooManyPrefixes,
        "the peer accepts fewer prefixes than it receives",
        TOO_MANY_PREFIXES,
    ),
    ("Connection Collision Resolution", FindingKind::Collision, COLLISION, COLLISION),
    (
        "Hold Timer Expired",
        FindingKind::HoldTimeExpired,
        "the peer received nothing from this router for the hold time",
        "nothing was received from the peer for the hold time",
    ),
    (
        "Unsupported Capability",
        FindingKind::FamilyNotNegotiated,
        "the peer lacks an address family of this router",
        "the peer and this router have no address family in common",
    ),
];

/// Why a session is down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// As a word of the closed list.
    pub kind: FindingKind,
    /// Which side says so: the peer by a NOTIFICATION, or this router.
    pub of_peer: bool,
    /// As a sentence.
    pub text: String,
}

/// Why it is not established, with the age of the last reset; `None` while it is.
pub fn explain_with_age(session: &SessionState, reset: Option<&SessionReset>) -> Option<Cause> {
    let age = reset.and_then(|reset| reset.reset_age);
    let ago = age.map(|age| format!(" {} ago", short_age(age))).unwrap_or_default();
    explain_at(session, reset, &ago)
}

/// Why it is not established; `None` while it is. The text is the same as long as the cause is.
pub fn explain(session: &SessionState, reset: Option<&SessionReset>) -> Option<Cause> {
    explain_at(session, reset, "")
}

fn explain_at(session: &SessionState, reset: Option<&SessionReset>, ago: &str) -> Option<Cause> {
    let SessionPhase::Down(state) = &session.phase else { return None };
    let peer = &session.peer;
    let Some(reset) = reset else {
        return Some(Cause::new(FindingKind::SessionDown, format!("FRR does not know the neighbor {peer}")));
    };
    let end = last_reset(session, reset);
    if state == "Idle (Admin)" {
        return Some(Cause::new(FindingKind::ShutDown, "the session is shut down on this router"));
    }
    let is_waiting = matches!(state.as_str(), "Active" | "Connect");
    let is_stale = reset.notification.is_some() && reset.reset_age.is_some_and(|age| age > STALE);
    let no_answer = |text: String| Cause::new(FindingKind::NoAnswer, text);
    Some(match (is_waiting, session.established > 0, end) {
        (true, _, None) => no_answer(format!(
            "no BGP speaker answers at {peer}: check that it is configured there, and that both ends have the same password"
        )),
        (true, true, Some(end)) => {
            // What a peer says of itself is still so where it does not answer.
            let kind = if end.kind == FindingKind::ShutDown && end.of_peer { end.kind } else { FindingKind::NoAnswer };
            let text = format!("{peer} does not answer; the last session went down{ago}: {}", end.text);
            Cause { kind, text, ..end }
        }
        (true, false, Some(end)) if is_stale => {
            no_answer(format!("no BGP speaker answers at {peer}; the last attempt ended{ago}: {}", end.text))
        }
        (_, _, Some(end)) => end,
        (false, _, None) => {
            Cause::new(FindingKind::Establishing, format!("the session with {peer} is being established"))
        }
    })
}

impl Cause {
    fn new(kind: FindingKind, text: impl Into<String>) -> Self {
        Self { kind, of_peer: false, text: text.into() }
    }
}

/// How the last session or attempt ended, also of a session that is established now; `None` before the first connection.
pub fn last_error(session: &SessionState, reset: &SessionReset) -> Option<Cause> {
    last_reset(session, reset)
}

/// How the last session or attempt ended; `None` before the first connection.
fn last_reset(session: &SessionState, reset: &SessionReset) -> Option<Cause> {
    let peer = &session.peer;
    let due_to = reset.due_to.as_deref().unwrap_or_default();
    Some(match &reset.notification {
        Some(notification) if due_to.contains("Notification") => notified(session, reset, notification, due_to),
        _ => match due_to {
            "Waiting for NHT" | "No path to specified Neighbor" => {
                Cause::new(FindingKind::NoRouteToPeer, format!("there is no route to {peer}"))
            }
            "Interface down" => Cause::new(FindingKind::LinkDown, "the link is down"),
            // FRR 10.7 shows this in place of the NOTIFICATION that it sends.
            "Reached received prefix count" => Cause::new(FindingKind::TooManyPrefixes, TOO_MANY_PREFIXES),
            "BFD down received" => Cause::new(FindingKind::BfdDown, format!("BFD is down: {peer} does not answer")),
            "Peer closed the session" if session.established == 0 => Cause::new(
                FindingKind::ConnectionClosed,
                format!("{peer} closes the connection: it has no neighbor with the address of this router"),
            ),
            // What FRR reports before the first connection.
            "" | "No AFI/SAFI activated for peer" | "Waiting for peer OPEN" | "Address family activated" => {
                return None;
            }
            words => Cause::new(FindingKind::SessionDown, words),
        },
    })
}

fn notified(session: &SessionState, reset: &SessionReset, notification: &str, due_to: &str) -> Cause {
    let received = due_to.contains("received");
    let direction = if received { "received from" } else { "sent to" };
    let received_or_sent = format!("{notification} ({direction} {})", session.peer);
    let Some((_, kind, theirs, ours)) = NOTIFICATIONS.iter().find(|(words, ..)| notification.contains(words)) else {
        return Cause { of_peer: received, ..Cause::new(FindingKind::SessionDown, received_or_sent) };
    };
    let or_unknown = |asn: Option<String>| asn.unwrap_or_else(|| "the one configured".to_owned());
    let words = if received { theirs } else { ours }
        .replace("{local}", &or_unknown(reset.local_as.map(|asn| asn.to_string())))
        .replace("{remote}", &or_unknown(session.remote_as.map(|asn| asn.to_string())));
    Cause { kind: *kind, of_peer: received, text: format!("{words}: {received_or_sent}") }
}

/// `5s`, `3m12s`, `4h7m`, `12d3h`, as kubectl prints it.
pub fn short_age(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn session(phase: &str, established: u64) -> SessionState {
        SessionState {
            vrf: None,
            peer: "192.0.2.1".into(),
            remote_as: Some(64515.try_into().unwrap()),
            phase: phase.to_owned().into(),
            since: None,
            established,
            messages: 0,
            prefixes: [].into(),
        }
    }

    #[rstest]
    #[case(
        "Active",
        "Waiting for peer OPEN",
        None,
        0,
        "no BGP speaker answers at 192.0.2.1: check that it is configured there, and that both ends have the same password"
    )]
    #[case(
        "Idle",
        "BGP Notification received",
        Some("OPEN Message Error/Bad Peer AS"),
        0,
        "the peer expects another AS number than 64514: OPEN Message Error/Bad Peer AS (received from 192.0.2.1)"
    )]
    #[case(
        "Idle",
        "BGP Notification send",
        Some("OPEN Message Error/Bad Peer AS"),
        0,
        "the peer has another AS number than 64515: OPEN Message Error/Bad Peer AS (sent to 192.0.2.1)"
    )]
    #[case(
        "Idle",
        "BGP Notification received",
        Some("Cease/Something New"),
        1,
        "Cease/Something New (received from 192.0.2.1)"
    )]
    #[case(
        "Active",
        "BGP Notification received",
        Some("Cease/Administrative Shutdown"),
        2,
        "192.0.2.1 does not answer; the last session went down: the peer is shut down by its administrator: \
         Cease/Administrative Shutdown (received from 192.0.2.1)"
    )]
    #[case(
        "Active",
        "Peer closed the session",
        Some("Cease/Administrative Shutdown"),
        2,
        "192.0.2.1 does not answer; the last session went down: Peer closed the session"
    )]
    #[case(
        "Idle (PfxCt)",
        "BGP Notification send",
        Some("Cease/Maximum Number of Prefixes Reached"),
        1,
        "the peer sends more prefixes than maxPrefixes; the session is tried again each minute: \
         Cease/Maximum Number of Prefixes Reached (sent to 192.0.2.1)"
    )]
    #[case("Idle (PfxCt)", "Reached received prefix count", None, 1, TOO_MANY_PREFIXES)]
    #[case(
        "Idle",
        "BGP Notification received",
        Some("Cease/Peer De-configured"),
        1,
        "the peer has no neighbor for this router any more: Cease/Peer De-configured (received from 192.0.2.1)"
    )]
    #[case("Idle (Admin)", "Admin. shutdown", None, 1, "the session is shut down on this router")]
    #[case("Idle", "Interface down", None, 1, "the link is down")]
    #[case("OpenSent", "", None, 0, "the session with 192.0.2.1 is being established")]
    fn the_cause_has_the_remedy(
        #[case] state: &str,
        #[case] due_to: &str,
        #[case] notification: Option<&str>,
        #[case] established: u64,
        #[case] words: &str,
    ) {
        let reset = reset(due_to, notification, None);
        let text = |state: &str| explain_with_age(&session(state, established), Some(&reset)).map(|cause| cause.text);
        assert_eq!(text(state).as_deref(), Some(words));
        assert_eq!(text("Established"), None);
    }

    fn reset(due_to: &str, notification: Option<&str>, reset_age: Option<u64>) -> SessionReset {
        SessionReset {
            local_as: Some(64514),
            due_to: Some(due_to.to_owned()),
            notification: notification.map(str::to_owned),
            reset_age,
            ..SessionReset::default()
        }
    }

    #[rstest]
    #[case::wrong_asn_of_now(
        "Active",
        "BGP Notification received",
        Some("OPEN Message Error/Bad Peer AS"),
        0,
        20,
        FindingKind::WrongAsn,
        true
    )]
    #[case::of_an_hour_ago(
        "Active",
        "BGP Notification received",
        Some("OPEN Message Error/Bad Peer AS"),
        0,
        3600,
        FindingKind::NoAnswer,
        false
    )]
    #[case::idle(
        "Idle",
        "BGP Notification send",
        Some("OPEN Message Error/Bad Peer AS"),
        3,
        3600,
        FindingKind::WrongAsn,
        false
    )]
    #[case::silent_since_a_session(
        "Active",
        "BGP Notification received",
        Some("Cease/Peer Unconfigured"),
        2,
        20,
        FindingKind::NoAnswer,
        true
    )]
    #[case::shut_down(
        "Active",
        "BGP Notification received",
        Some("Cease/Administrative Shutdown"),
        2,
        3600,
        FindingKind::ShutDown,
        true
    )]
    #[case::unknown_source("Active", "Peer closed the session", None, 0, 2, FindingKind::ConnectionClosed, false)]
    #[case::closed_later("Active", "Peer closed the session", None, 1, 2, FindingKind::NoAnswer, false)]
    #[case::rejected(
        "Active",
        "BGP Notification received",
        Some("Cease/Connection Rejected"),
        0,
        2,
        FindingKind::ConnectionClosed,
        true
    )]
    #[case::first("Active", "Waiting for peer OPEN", None, 0, 2, FindingKind::NoAnswer, false)]
    #[case::no_path("Idle", "No path to specified Neighbor", None, 0, 2, FindingKind::NoRouteToPeer, false)]
    fn a_cause_is_one_of_now(
        #[case] state: &str,
        #[case] due_to: &str,
        #[case] notification: Option<&str>,
        #[case] established: u64,
        #[case] age: u64,
        #[case] kind: FindingKind,
        #[case] of_peer: bool,
    ) {
        let found = explain(&session(state, established), Some(&reset(due_to, notification, Some(age)))).unwrap();
        assert_eq!((found.kind, found.of_peer), (kind, of_peer), "{}", found.text);
    }

    #[rstest]
    #[case(5, "5s")]
    #[case(192, "3m12s")]
    #[case(14_820, "4h7m")]
    #[case(1_047_600, "12d3h")]
    fn an_age_has_two_parts(#[case] seconds: u64, #[case] expected: &str) {
        assert_eq!(short_age(seconds), expected);
    }
}
