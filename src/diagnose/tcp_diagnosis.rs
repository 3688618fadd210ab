//! Causes that the kernel shows and FRR does not: wrong TCP MD5 passwords, and a second speaker whose connections are
//! rejected. In: sessions, and the TCP counters of their namespaces. Out: a sentence for each session concerned. Pure.
//!
//! The kernel counts per namespace. In `netns` mode that is the VRF. In `vrf` mode all VRFs share one: a wrong password is
//! then reported for every session that is down and has one, a missing one for every session that is down and has none, and a second
//! speaker is not reported.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::cause::SessionCause;
use crate::frr::show::session::{SessionKey, SessionPhase, SessionState};
use crate::kernel::tcp::TcpCounts;
use crate::types::{VrfMode, VrfName};

/// VRFs whose counters are read each time besides those of sessions that are down: there may be hundreds.
const EACH_TIME: usize = 32;
/// One connection may be the other half of the collision in which the session was established.
const MANY: u64 = 3;
/// Without another attempt for that long the second speaker is gone.
const FORGET: Duration = Duration::from_secs(300);

/// A session and the counters since it is in its present state.
#[derive(Debug, Clone)]
struct SessionCounts {
    up: bool,
    established: u64,
    /// At the first observation in this state.
    first: TcpCounts,
    last: TcpCounts,
    changed: Instant,
}

/// The sessions at the last observation.
#[derive(Debug, Clone, Default)]
pub struct TcpDiagnosis {
    sessions: BTreeMap<SessionKey, SessionCounts>,
    /// The first of the VRFs that are read next.
    turn: usize,
}

impl TcpDiagnosis {
    /// The VRFs (`None`: the default one) whose counters are to be read now. `md5_sessions`: those with a password.
    pub fn vrfs_to_read(
        &mut self,
        sessions: &[SessionState],
        md5_sessions: &BTreeSet<SessionKey>,
    ) -> BTreeSet<Option<VrfName>> {
        let down = sessions.iter().filter(|session| !is_up(session) && md5_sessions.contains(&key(session)));
        let mut wanted: BTreeSet<_> = down.map(|session| session.vrf.clone()).collect();
        let all: BTreeSet<_> = sessions.iter().map(|session| session.vrf.clone()).collect();
        let from = self.turn.checked_rem(all.len()).unwrap_or_default();
        let next = all.iter().cycle().skip(from).take(EACH_TIME.min(all.len())).cloned();
        self.turn = from + EACH_TIME;
        wanted.extend(next);
        wanted
    }

    /// The causes by session.
    pub fn causes(
        &mut self,
        sessions: &[SessionState],
        md5_sessions: &BTreeSet<SessionKey>,
        counts: &BTreeMap<Option<VrfName>, TcpCounts>,
        mode: VrfMode,
        now: Instant,
    ) -> Vec<SessionCause> {
        let present: BTreeSet<SessionKey> = sessions.iter().map(key).collect();
        self.sessions.retain(|known, _| present.contains(known));
        let mut causes = Vec::new();
        for session in sessions {
            if let Some(counts) = counts.get(&session.vrf) {
                self.note(session, *counts, now);
            }
            let cause = self.sessions.get(&key(session)).and_then(|known| {
                if known.up != is_up(session) {
                    None
                } else if known.up {
                    second_speaker(session, known, mode, now)
                } else if md5_sessions.contains(&key(session)) {
                    wrong_password(session, known, mode)
                } else {
                    no_password(session, known, mode)
                }
            });
            causes.extend(cause.map(|cause| SessionCause {
                vrf: session.vrf.clone(),
                peer: session.peer.clone(),
                cause,
            }));
        }
        causes
    }

    fn note(&mut self, session: &SessionState, counts: TcpCounts, now: Instant) {
        let (up, established) = (is_up(session), session.established);
        let fresh = SessionCounts { up, established, first: counts, last: counts, changed: now };
        let known = self.sessions.entry(key(session)).or_insert_with(|| fresh.clone());
        // Counters of a namespace that was created again start at zero.
        if (known.up, known.established) != (up, established) || counts.md5_failures < known.first.md5_failures {
            *known = fresh;
        } else if counts != known.last {
            known.last = counts;
            known.changed = now;
        }
    }
}

fn key(session: &SessionState) -> SessionKey {
    (session.vrf.clone(), session.peer.clone())
}

fn is_up(session: &SessionState) -> bool {
    session.phase == SessionPhase::Established
}

fn wrong_password(session: &SessionState, known: &SessionCounts, mode: VrfMode) -> Option<String> {
    let count = known.last.md5_failures.saturating_sub(known.first.md5_failures);
    let place = match mode {
        VrfMode::Netns => format!("are received from {}", session.peer),
        VrfMode::Vrf => "are received in the router namespace, which all VRFs share".to_owned(),
    };
    (count > 0).then(|| {
        format!(
            "segments with another TCP MD5 password, or with none, {place}: set the same password on {} and in the \
             passwordSecret of this session",
            session.peer
        )
    })
}

/// The session has no password, and the peer has one. What this router sends to it is dropped there without a trace; what it sends
/// itself is dropped and counted here.
fn no_password(session: &SessionState, known: &SessionCounts, mode: VrfMode) -> Option<String> {
    let count = known.last.md5_unexpected.saturating_sub(known.first.md5_unexpected);
    let place = match mode {
        VrfMode::Netns => format!("are received from {}", session.peer),
        VrfMode::Vrf => "are received in the router namespace, which all VRFs share".to_owned(),
    };
    (count > 0).then(|| {
        format!(
            "segments with a TCP MD5 password {place}, and this session has none: set a passwordSecret for it, or remove the \
             password at {}",
            session.peer
        )
    })
}

fn second_speaker(session: &SessionState, known: &SessionCounts, mode: VrfMode, now: Instant) -> Option<String> {
    let count = known.last.passive_opens.saturating_sub(known.first.passive_opens);
    // The sessions with the fabric are not with a host.
    let exact = mode == VrfMode::Netns && session.vrf.is_some();
    (exact && count >= MANY && now.duration_since(known.changed) < FORGET).then(|| {
        format!(
            "another speaker besides the one whose session with {} is established opens TCP connections to the router, \
             and is rejected: run one of them and have it advertise for both, or give the other an L3VNI of its own",
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
            messages: 0,
            prefixes: BTreeMap::new(),
        }
    }

    /// The cause after these observations of one session.
    fn cause(observed: &[(&str, u64, u64, u64)], has_md5: bool, mode: VrfMode) -> Option<String> {
        let mut diagnosis = TcpDiagnosis::default();
        let start = Instant::now();
        let mut cause = None;
        for (n, (phase, established, md5_failures, passive_opens)) in (0..).zip(observed) {
            let sessions = [session(phase, *established)];
            let md5_sessions = if has_md5 { [key(&sessions[0])].into() } else { BTreeSet::new() };
            let wanted = diagnosis.vrfs_to_read(&sessions, &md5_sessions);
            // Those of a side without a password are all unexpected.
            let md5_unexpected = if has_md5 { 0 } else { *md5_failures };
            let counts = TcpCounts { md5_failures: *md5_failures, md5_unexpected, passive_opens: *passive_opens };
            let counts = wanted.into_iter().map(|vrf| (vrf, counts)).collect();
            let now = start + Duration::from_secs(100 * n);
            cause = diagnosis.causes(&sessions, &md5_sessions, &counts, mode, now).pop().map(|found| found.cause);
        }
        cause
    }

    #[rstest]
    #[case::other_password(&[("Active", 0, 0, 0), ("Active", 0, 2, 0)], true, VrfMode::Netns, Some("are received from 192.0.2.2"))]
    #[case::shared(&[("Active", 0, 0, 0), ("Active", 0, 2, 0)], true, VrfMode::Vrf, Some("which all VRFs share"))]
    #[case::no_password(&[("Active", 0, 0, 0), ("Active", 0, 2, 0)], false, VrfMode::Netns, Some("and this session has none"))]
    #[case::no_password_shared(&[("Active", 0, 0, 0), ("Active", 0, 2, 0)], false, VrfMode::Vrf, Some("which all VRFs share"))]
    #[case::no_answer(&[("Active", 0, 2, 0), ("Active", 0, 2, 0)], false, VrfMode::Netns, None)]
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
    fn only_present_causes_are_reported(
        #[case] observed: &[(&str, u64, u64, u64)],
        #[case] has_md5: bool,
        #[case] mode: VrfMode,
        #[case] words: Option<&str>,
    ) {
        let cause = cause(observed, has_md5, mode);
        assert_eq!(cause.is_some(), words.is_some(), "{cause:?}");
        assert!(words.is_none_or(|words| cause.unwrap().contains(words)));
    }

    #[test]
    fn the_counters_of_all_vrfs_are_read_in_turn() {
        let sessions: Vec<_> = (0..80)
            .map(|n| SessionState { vrf: Some(format!("v{n:02}").parse().unwrap()), ..session("Established", 1) })
            .collect();
        let mut diagnosis = TcpDiagnosis::default();
        let mut seen = BTreeSet::new();
        for _ in 0..3 {
            let wanted = diagnosis.vrfs_to_read(&sessions, &BTreeSet::new());
            assert_eq!(wanted.len(), EACH_TIME);
            seen.extend(wanted);
        }
        assert_eq!(seen.len(), 80);
    }
}
