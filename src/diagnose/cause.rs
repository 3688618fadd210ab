//! Why a session is not established, in words that lead to the remedy. In: what FRR has of it. Out: a sentence. Pure.

use crate::frr::show::route::Reset;
use crate::frr::show::session::{SessionPhase, SessionState};

const COLLISION: &str = "two connections met; if that goes on, the peer refuses one of them: its log has the reason";

/// NOTIFICATIONs (RFC 4271 section 4.5, RFC 4486) that a configuration mends, in FRR's words: what it means when the peer
/// sent it, and when we did.
const NOTIFICATIONS: [(&str, &str, &str); 8] = [
    ("Bad Peer AS", "the peer expects another AS number than {local}", "the peer has another AS number than {remote}"),
    (
        "Bad BGP Identifier",
        "the peer has our router id: give it another, or change routeridcidr of the Underlay",
        "the peer has our router id, or none: give it another, or change routeridcidr of the Underlay",
    ),
    ("Administrative Shutdown", "the peer is shut down by its administrator", "shut down here"),
    ("Peer Unconfigured", "the peer has no neighbor for this router any more", "the neighbor was removed here"),
    (
        "Maximum Number of Prefixes Reached",
        "the peer takes fewer prefixes than it gets",
        "the peer sends more than maxPrefixes, and is tried again each minute",
    ),
    ("Connection Collision Resolution", COLLISION, COLLISION),
    (
        "Hold Timer Expired",
        "the peer heard nothing from here for the hold time",
        "nothing was heard from the peer for the hold time",
    ),
    ("Unsupported Capability", "the peer lacks an address family of ours", "the peer has no address family of ours"),
];

/// Why it is not established; `None` while it is.
pub fn cause(session: &SessionState, reset: Option<&Reset>) -> Option<String> {
    let SessionPhase::Down(state) = &session.phase else { return None };
    let peer = &session.peer;
    let Some(reset) = reset else { return Some(format!("FRR tells nothing of {peer}")) };
    let due_to = reset.due_to.as_deref().unwrap_or_default();
    let end = match &reset.notification {
        Some(notification) if due_to.contains("Notification") => notified(session, reset, notification, due_to),
        _ => match due_to {
            "Waiting for NHT" | "No path to specified Neighbor" => format!("there is no route to {peer}"),
            "Interface down" => "the link is down".to_owned(),
            "BFD down received" => format!("BFD: {peer} is silent"),
            // What FRR says before anything has happened.
            "No AFI/SAFI activated for peer" | "Waiting for peer OPEN" => String::new(),
            words => words.to_owned(),
        },
    };
    let silent = matches!(state.as_str(), "Active" | "Connect");
    Some(match (silent, session.established > 0, end.is_empty()) {
        (true, _, true) => {
            format!(
                "no BGP speaker at {peer} answers: is it configured there? A password must be the same at both ends"
            )
        }
        (true, true, false) => format!("{peer} does not answer; the last session ended: {end}"),
        (_, _, false) => end,
        (false, _, true) => format!("it is about to be set up with {peer}"),
    })
}

fn notified(session: &SessionState, reset: &Reset, notification: &str, due_to: &str) -> String {
    let received = due_to.contains("received");
    let direction = if received { "received from" } else { "sent to" };
    let told = format!("{notification} ({direction} {})", session.peer);
    let Some((_, theirs, ours)) = NOTIFICATIONS.iter().find(|(words, ..)| notification.contains(words)) else {
        return told;
    };
    let or_unknown = |asn: Option<String>| asn.unwrap_or_else(|| "the one configured".to_owned());
    let words = if received { theirs } else { ours }
        .replace("{local}", &or_unknown(reset.local_as.map(|asn| asn.to_string())))
        .replace("{remote}", &or_unknown(session.remote_as.map(|asn| asn.to_string())));
    format!("{words}: {told}")
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
        "no BGP speaker at 192.0.2.1 answers: is it configured there? A password must be the same at both ends"
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
        "192.0.2.1 does not answer; the last session ended: the peer is shut down by its administrator: \
         Cease/Administrative Shutdown (received from 192.0.2.1)"
    )]
    #[case(
        "Active",
        "Peer closed the session",
        Some("Cease/Administrative Shutdown"),
        2,
        "192.0.2.1 does not answer; the last session ended: Peer closed the session"
    )]
    #[case("Idle", "Interface down", None, 1, "the link is down")]
    #[case("OpenSent", "", None, 0, "it is about to be set up with 192.0.2.1")]
    fn the_cause_leads_to_the_remedy(
        #[case] state: &str,
        #[case] due_to: &str,
        #[case] notification: Option<&str>,
        #[case] established: u64,
        #[case] words: &str,
    ) {
        let reset = Reset {
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
