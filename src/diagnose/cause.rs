//! Why a session is not established, with the remedy. In: what FRR shows of it. Out: a sentence. Pure.

use serde::{Deserialize, Serialize};

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

/// NOTIFICATIONs (RFC 4271 section 4.5, RFC 4486) with a remedy in the configuration, in FRR's words: what it means when
/// the peer sent it, and when we did.
const NOTIFICATIONS: [(&str, &str, &str); 8] = [
    ("Bad Peer AS", "the peer expects another AS number than {local}", "the peer has another AS number than {remote}"),
    (
        "Bad BGP Identifier",
        "the peer has the router id of this router: change its router id, or routeridcidr of the Underlay",
        "the peer has the router id of this router, or none: change its router id, or routeridcidr of the Underlay",
    ),
    (
        "Administrative Shutdown",
        "the peer is shut down by its administrator",
        "the session is shut down on this router",
    ),
    (
        "Peer Unconfigured",
        "the peer has no neighbor for this router any more",
        "the neighbor was removed from this router",
    ),
    (
        "Maximum Number of Prefixes Reached",
        "the peer accepts fewer prefixes than it receives",
        "the peer sends more prefixes than maxPrefixes; the session is tried again each minute",
    ),
    ("Connection Collision Resolution", COLLISION, COLLISION),
    (
        "Hold Timer Expired",
        "the peer received nothing from this router for the hold time",
        "nothing was received from the peer for the hold time",
    ),
    (
        "Unsupported Capability",
        "the peer lacks an address family of this router",
        "the peer and this router have no address family in common",
    ),
];

/// Why it is not established; `None` while it is.
pub fn cause(session: &SessionState, reset: Option<&SessionReset>) -> Option<String> {
    let SessionPhase::Down(state) = &session.phase else { return None };
    let peer = &session.peer;
    let Some(reset) = reset else { return Some(format!("FRR does not know the neighbor {peer}")) };
    let due_to = reset.due_to.as_deref().unwrap_or_default();
    let end = match &reset.notification {
        Some(notification) if due_to.contains("Notification") => notified(session, reset, notification, due_to),
        _ => match due_to {
            "Waiting for NHT" | "No path to specified Neighbor" => format!("there is no route to {peer}"),
            "Interface down" => "the link is down".to_owned(),
            "BFD down received" => format!("BFD is down: {peer} does not answer"),
            // What FRR reports before the first connection.
            "No AFI/SAFI activated for peer" | "Waiting for peer OPEN" => String::new(),
            words => words.to_owned(),
        },
    };
    let is_waiting = matches!(state.as_str(), "Active" | "Connect");
    Some(match (is_waiting, session.established > 0, end.is_empty()) {
        (true, _, true) => {
            format!(
                "no BGP speaker answers at {peer}: check that it is configured there, and that both ends have the same password"
            )
        }
        (true, true, false) => format!("{peer} does not answer; the last session went down: {end}"),
        (_, _, false) => end,
        (false, _, true) => format!("the session with {peer} is being established"),
    })
}

fn notified(session: &SessionState, reset: &SessionReset, notification: &str, due_to: &str) -> String {
    let received = due_to.contains("received");
    let direction = if received { "received from" } else { "sent to" };
    let received_or_sent = format!("{notification} ({direction} {})", session.peer);
    let Some((_, theirs, ours)) = NOTIFICATIONS.iter().find(|(words, ..)| notification.contains(words)) else {
        return received_or_sent;
    };
    let or_unknown = |asn: Option<String>| asn.unwrap_or_else(|| "the one configured".to_owned());
    let words = if received { theirs } else { ours }
        .replace("{local}", &or_unknown(reset.local_as.map(|asn| asn.to_string())))
        .replace("{remote}", &or_unknown(session.remote_as.map(|asn| asn.to_string())));
    format!("{words}: {received_or_sent}")
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
    #[case("Idle", "Interface down", None, 1, "the link is down")]
    #[case("OpenSent", "", None, 0, "the session with 192.0.2.1 is being established")]
    fn the_cause_has_the_remedy(
        #[case] state: &str,
        #[case] due_to: &str,
        #[case] notification: Option<&str>,
        #[case] established: u64,
        #[case] words: &str,
    ) {
        let reset = SessionReset {
            hostname: None,
            local_as: Some(64514),
            as_override: false,
            due_to: Some(due_to.to_owned()),
            notification: notification.map(str::to_owned),
        };
        assert_eq!(cause(&session(state, established), Some(&reset)).as_deref(), Some(words));
        assert_eq!(cause(&session("Established", established), Some(&reset)), None);
    }
}
