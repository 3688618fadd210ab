//! Sessions that stay in `OpenSent`: the other end has lost the connection, and as its router id is the higher one bgpd
//! prefers it to each new connection of the peer (RFC 4271 section 6.8) until a hold time of four minutes (section 8.2.2)
//! has expired. In: the sessions, time after time. Out: those to clear. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::frr::config::batch::{BatchStage, CommandBatch, CommandMode};
use crate::frr::config::command::{Intent, VtyCommand};
use crate::frr::config::line::Line;
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::types::VrfName;

/// The answer to OPEN takes a round trip and what a busy speaker needs.
const LIMIT: Duration = Duration::from_secs(10);

/// Since when sessions are in `OpenSent`.
#[derive(Debug, Default)]
pub struct StaleOpenSent {
    since: BTreeMap<(Option<VrfName>, String), Instant>,
}

impl StaleOpenSent {
    /// Takes the sessions as they are now; returns what clears those that have been in `OpenSent` for too long.
    pub fn observe(&mut self, now: Instant, sessions: &[SessionState]) -> Vec<CommandBatch> {
        let opening = |session: &&SessionState| session.phase == SessionPhase::Down("OpenSent".to_owned());
        let key = |session: &SessionState| (session.vrf.clone(), session.peer.clone());
        let since: BTreeMap<_, _> = sessions
            .iter()
            .filter(opening)
            .map(|session| (key(session), self.since.get(&key(session)).copied().unwrap_or(now)))
            .collect();
        let (stale, waiting): (BTreeMap<_, _>, BTreeMap<_, _>) =
            since.into_iter().partition(|(_, since)| now.duration_since(*since) >= LIMIT);
        self.since = waiting;
        stale.into_keys().map(|(vrf, peer)| clear(vrf, &peer)).collect()
    }
}

fn clear(vrf: Option<VrfName>, peer: &str) -> CommandBatch {
    let line = match &vrf {
        Some(vrf) => format!("clear bgp vrf {vrf} {peer}"),
        None => format!("clear bgp {peer}"),
    };
    let scope = vrf.map_or(Scope::Underlay, Scope::Vrf);
    let commands = vec![VtyCommand { scope, context: vec![], line: Line::new(&line), intent: Intent::Set }];
    CommandBatch { stage: BatchStage::Clear, daemon: Daemon::Bgpd, mode: CommandMode::Exec, retry: false, commands }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(vrf: Option<&str>, state: &str) -> SessionState {
        SessionState {
            vrf: vrf.map(|vrf| vrf.parse().unwrap()),
            peer: "192.0.2.1".into(),
            remote_as: None,
            phase: state.to_owned().into(),
            since: None,
            established: 0,
            messages: 0,
            prefixes: [].into(),
        }
    }

    #[test]
    fn a_session_is_cleared_after_ten_seconds_in_open_sent_and_not_before() {
        let start = Instant::now();
        let mut stale = StaleOpenSent::default();
        let mut cleared = |seconds: u64, sessions: &[SessionState]| -> Vec<String> {
            let batches = stale.observe(start + Duration::from_secs(seconds), sessions);
            batches.iter().map(|batch| batch.commands[0].line.to_string()).collect()
        };
        let red = session(Some("red"), "OpenSent");
        let both = [session(None, "OpenSent"), red.clone()];
        assert_eq!(cleared(0, &both), Vec::<String>::new());
        assert_eq!(cleared(8, &both), Vec::<String>::new());
        // A session that left the state meanwhile starts again.
        assert_eq!(cleared(9, &[session(None, "Active"), red]), Vec::<String>::new());
        assert_eq!(cleared(11, &both), ["clear bgp vrf red 192.0.2.1"]);
        assert_eq!(cleared(20, &both), Vec::<String>::new());
        assert_eq!(cleared(21, &both), ["clear bgp 192.0.2.1"]);
        assert_eq!(cleared(30, &both), ["clear bgp vrf red 192.0.2.1"]);
    }
}
