//! What the kernel knows of sessions and FRR does not tell: wrong passwords, and second speakers that are turned away. In:
//! sessions, and what the kernel counted in their namespaces. Out: a sentence for each session that is concerned. Pure.
//!
//! The kernel counts by namespace. In `netns` mode that is the VRF. In `vrf` mode all VRFs share one: there a wrong password
//! is told of every session that is down and has one, and a second speaker is not told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::SessionCause;
use crate::frr::show::session::{SessionKey, SessionPhase, SessionState};
use crate::kernel::tcp::TcpCounts;
use crate::types::{VrfMode, VrfName};

/// VRFs looked into each time besides those with something wrong: there may be hundreds.
const EACH_TIME: usize = 32;
/// One connection may be the other half of the collision in which the session came up.
const MANY: u64 = 3;
/// Without another attempt for that long the second speaker is gone.
const FORGET: Duration = Duration::from_secs(300);

/// What was seen of a session.
#[derive(Debug, Clone)]
struct Seen {
    up: bool,
    established: u64,
    /// When this began.
    before: TcpCounts,
    last: TcpCounts,
    changed: Instant,
}

/// The sessions as they were last seen.
#[derive(Debug, Clone, Default)]
pub struct Witness {
    seen: BTreeMap<SessionKey, Seen>,
    /// The first of those that are looked into next.
    turn: usize,
}

impl Witness {
    /// The VRFs (`None`: the default one) whose counters are wanted now. `signed`: sessions with a password.
    pub fn wants(&mut self, sessions: &[SessionState], signed: &BTreeSet<SessionKey>) -> BTreeSet<Option<VrfName>> {
        let down = sessions.iter().filter(|session| !is_up(session) && signed.contains(&key(session)));
        let mut wanted: BTreeSet<_> = down.map(|session| session.vrf.clone()).collect();
        let all: BTreeSet<_> = sessions.iter().map(|session| session.vrf.clone()).collect();
        let from = self.turn.checked_rem(all.len()).unwrap_or_default();
        let next = all.iter().cycle().skip(from).take(EACH_TIME.min(all.len())).cloned();
        self.turn = from + EACH_TIME;
        wanted.extend(next);
        wanted
    }

    /// What is to be told, by session.
    pub fn look(
        &mut self,
        sessions: &[SessionState],
        signed: &BTreeSet<SessionKey>,
        counts: &BTreeMap<Option<VrfName>, TcpCounts>,
        mode: VrfMode,
        now: Instant,
    ) -> Vec<SessionCause> {
        let present: BTreeSet<SessionKey> = sessions.iter().map(key).collect();
        self.seen.retain(|known, _| present.contains(known));
        let mut told = Vec::new();
        for session in sessions {
            if let Some(counts) = counts.get(&session.vrf) {
                self.note(session, *counts, now);
            }
            let cause = self.seen.get(&key(session)).and_then(|seen| {
                if seen.up != is_up(session) {
                    None
                } else if seen.up {
                    second_speaker(session, seen, mode, now)
                } else {
                    wrong_password(session, seen, mode).filter(|_| signed.contains(&key(session)))
                }
            });
            told.extend(cause.map(|cause| SessionCause {
                vrf: session.vrf.clone(),
                peer: session.peer.clone(),
                cause,
            }));
        }
        told
    }

    fn note(&mut self, session: &SessionState, counts: TcpCounts, now: Instant) {
        let (up, established) = (is_up(session), session.established);
        let anew = Seen { up, established, before: counts, last: counts, changed: now };
        let seen = self.seen.entry(key(session)).or_insert_with(|| anew.clone());
        // Counters of a namespace that was made anew begin anew.
        if (seen.up, seen.established) != (up, established) || counts.md5_failures < seen.before.md5_failures {
            *seen = anew;
        } else if counts != seen.last {
            seen.last = counts;
            seen.changed = now;
        }
    }
}

fn key(session: &SessionState) -> SessionKey {
    (session.vrf.clone(), session.peer.clone())
}

fn is_up(session: &SessionState) -> bool {
    session.phase == SessionPhase::Established
}

fn wrong_password(session: &SessionState, seen: &Seen, mode: VrfMode) -> Option<String> {
    let count = seen.last.md5_failures.saturating_sub(seen.before.md5_failures);
    let place = match mode {
        VrfMode::Netns => format!("from {}", session.peer),
        VrfMode::Vrf => "to the router namespace, which all VRFs share".to_owned(),
    };
    (count > 0).then(|| {
        format!(
            "segments with another TCP MD5 password, or with none, come {place}: give {} and the passwordSecret of this \
             session the same password",
            session.peer
        )
    })
}

fn second_speaker(session: &SessionState, seen: &Seen, mode: VrfMode, now: Instant) -> Option<String> {
    let count = seen.last.passive_opens.saturating_sub(seen.before.passive_opens);
    // The fabric's sessions are not with a host.
    let exact = mode == VrfMode::Netns && session.vrf.is_some();
    (exact && count >= MANY && now.duration_since(seen.changed) < FORGET).then(|| {
        format!(
            "another speaker goes on to dial the router besides the one whose session with {} stands, and is turned away: \
             run one of them and have it announce for both, or give the other an L3VNI of its own",
            session.peer
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn session(phase: &str, established: u64) -> SessionState {
        SessionState {
            vrf: Some("red".parse().unwrap()),
            peer: "192.0.2.2".into(),
            remote_as: None,
            phase: phase.to_owned().into(),
            since: None,
            established,
            prefixes: BTreeMap::new(),
        }
    }

    /// What is told at the end of these looks at one session.
    fn told(looks: &[(&str, u64, u64, u64)], signed: bool, mode: VrfMode) -> Option<String> {
        let mut witness = Witness::default();
        let start = Instant::now();
        let mut told = None;
        for (n, (phase, established, md5_failures, passive_opens)) in (0..).zip(looks) {
            let sessions = [session(phase, *established)];
            let signed = if signed { [key(&sessions[0])].into() } else { BTreeSet::new() };
            let wanted = witness.wants(&sessions, &signed);
            let counts = TcpCounts { md5_failures: *md5_failures, passive_opens: *passive_opens };
            let counts = wanted.into_iter().map(|vrf| (vrf, counts)).collect();
            let now = start + Duration::from_secs(100 * n);
            told = witness.look(&sessions, &signed, &counts, mode, now).pop().map(|told| told.cause);
        }
        told
    }

    #[rstest]
    #[case::other_password(&[("Active", 0, 0, 0), ("Active", 0, 2, 0)], true, VrfMode::Netns, Some("come from 192.0.2.2"))]
    #[case::shared(&[("Active", 0, 0, 0), ("Active", 0, 2, 0)], true, VrfMode::Vrf, Some("which all VRFs share"))]
    #[case::no_password(&[("Active", 0, 0, 0), ("Active", 0, 2, 0)], false, VrfMode::Netns, None)]
    #[case::former_ones(&[("Active", 0, 5, 0), ("Active", 0, 5, 0)], true, VrfMode::Netns, None)]
    #[case::up_again(&[("Active", 0, 0, 0), ("Active", 0, 2, 0), ("Established", 1, 2, 1)], true, VrfMode::Netns, None)]
    #[case::another(&[("Established", 1, 0, 1), ("Established", 1, 0, 4)], false, VrfMode::Netns, Some("another speaker"))]
    #[case::collision(&[("Established", 1, 0, 1), ("Established", 1, 0, 2)], false, VrfMode::Netns, None)]
    #[case::flap(&[("Established", 1, 0, 1), ("Established", 4, 0, 4)], false, VrfMode::Netns, None)]
    #[case::of_whom(&[("Established", 1, 0, 1), ("Established", 1, 0, 4)], false, VrfMode::Vrf, None)]
    #[case::gone(
        &[("Established", 1, 0, 1), ("Established", 1, 0, 9), ("Established", 1, 0, 9), ("Established", 1, 0, 9), ("Established", 1, 0, 9)],
        false, VrfMode::Netns, None
    )]
    fn only_what_goes_on_is_told(
        #[case] looks: &[(&str, u64, u64, u64)],
        #[case] signed: bool,
        #[case] mode: VrfMode,
        #[case] words: Option<&str>,
    ) {
        let told = told(looks, signed, mode);
        assert_eq!(told.is_some(), words.is_some(), "{told:?}");
        assert!(words.is_none_or(|words| told.unwrap().contains(words)));
    }

    #[test]
    fn all_vrfs_have_their_turn() {
        let sessions: Vec<_> = (0..80)
            .map(|n| SessionState { vrf: Some(format!("v{n:02}").parse().unwrap()), ..session("Established", 1) })
            .collect();
        let mut witness = Witness::default();
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let wanted = witness.wants(&sessions, &BTreeSet::new());
            assert_eq!(wanted.len(), EACH_TIME);
            seen.extend(wanted);
        }
        assert_eq!(seen.len(), 80);
    }
}
