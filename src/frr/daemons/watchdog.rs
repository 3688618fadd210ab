//! Which daemon hangs: it does not reply on its vty socket, and is not busy either. In: whether it replied, and what `/proc`
//! shows of it. Out: a verdict. Kills nothing. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use super::process::{Activity, Incarnation};
use crate::runtime::Daemon;

/// A daemon that is idle and does not reply for so long hangs.
const SILENT: Duration = Duration::from_secs(10);
/// A daemon that works and does not reply for so long is in a loop: bgpd replies at least every second while it receives a
/// full table.
const BUSY: Duration = Duration::from_secs(120);
/// Clock ticks per second in `/proc`, on all architectures on which FRR is packaged.
const TICKS: u64 = 100;
/// A daemon that uses this share of a core works.
const WORKS: u64 = 10;

/// What is to be done about a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing.
    Fine,
    /// Nothing yet: it is busy, or somebody debugs it. Once for each silence.
    Patience(&'static str),
    /// It is to be killed.
    Hangs(&'static str),
}

/// Since when a daemon does not reply.
#[derive(Debug)]
struct Silence {
    incarnation: Incarnation,
    since: Instant,
    ticks: u64,
    reported: bool,
}

/// The daemons that do not reply.
#[derive(Debug, Default)]
pub(crate) struct Watchdog(BTreeMap<Daemon, Silence>);

impl Watchdog {
    /// Judges a daemon that replied or not. `activity` is `None` once it has exited, which others handle.
    pub fn judge(
        &mut self,
        now: Instant,
        daemon: Daemon,
        incarnation: Incarnation,
        replied: bool,
        activity: Option<Activity>,
    ) -> Verdict {
        let Some(Activity { state, ticks }) = activity.filter(|_| !replied) else {
            self.0.remove(&daemon);
            return Verdict::Fine;
        };
        let new = || Silence { incarnation, since: now, ticks, reported: false };
        let silence = self.0.entry(daemon).or_insert_with(new);
        if silence.incarnation != incarnation {
            *silence = new();
        }
        let silent = now.saturating_duration_since(silence.since);
        if silent < SILENT {
            return Verdict::Fine;
        }
        let used = Duration::from_millis(ticks.saturating_sub(silence.ticks) * 1000 / TICKS);
        let works = state == 'R' || used.as_millis() * 100 >= silent.as_millis() * u128::from(WORKS);
        let reason = match state {
            't' => return patience(silence, "a debugger has stopped it"),
            'T' => "it was stopped by a signal",
            _ if works && silent < BUSY => return patience(silence, "it is busy"),
            _ if works => "it has been busy for too long",
            _ => "it is idle",
        };
        Verdict::Hangs(reason)
    }
}

fn patience(silence: &mut Silence, reason: &'static str) -> Verdict {
    let reported = std::mem::replace(&mut silence.reported, true);
    if reported { Verdict::Fine } else { Verdict::Patience(reason) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    const FIRST: Incarnation = Incarnation { pid: 1, start_time: 1 };

    /// The verdicts on a daemon that does not reply, every two seconds, with its state and the ticks that it uses in them.
    fn verdicts(state: char, ticks: u64, seconds: u64) -> Vec<(u64, Verdict)> {
        let (mut watchdog, begin) = (Watchdog::default(), Instant::now());
        let at = |second: u64| {
            let activity = Activity { state, ticks: 1000 + second / 2 * ticks };
            let now = begin + Duration::from_secs(second);
            (second, watchdog.judge(now, Daemon::Bgpd, FIRST, false, Some(activity)))
        };
        (0..=seconds / 2).map(|step| step * 2).map(at).filter(|(_, verdict)| *verdict != Verdict::Fine).collect()
    }

    #[rstest]
    #[case::stopped('T', 0, 10, &[(10, Verdict::Hangs("it was stopped by a signal"))])]
    #[case::deadlocked('S', 0, 10, &[(10, Verdict::Hangs("it is idle"))])]
    #[case::little_work('S', 19, 10, &[(10, Verdict::Hangs("it is idle"))])]
    #[case::waits_for_a_disk('D', 0, 10, &[(10, Verdict::Hangs("it is idle"))])]
    #[case::busy('S', 20, 118, &[(10, Verdict::Patience("it is busy"))])]
    #[case::gets_no_time('R', 0, 118, &[(10, Verdict::Patience("it is busy"))])]
    #[case::endless_loop('R', 200, 120, &[
        (10, Verdict::Patience("it is busy")), (120, Verdict::Hangs("it has been busy for too long"))
    ])]
    #[case::debugged('t', 0, 600, &[(10, Verdict::Patience("a debugger has stopped it"))])]
    fn a_silent_daemon_hangs_if_it_is_idle(
        #[case] state: char,
        #[case] ticks: u64,
        #[case] seconds: u64,
        #[case] wanted: &[(u64, Verdict)],
    ) {
        assert_eq!(verdicts(state, ticks, seconds), wanted);
    }

    #[test]
    fn a_reply_or_a_restart_ends_the_silence() {
        let (mut watchdog, begin) = (Watchdog::default(), Instant::now());
        let mut at = |second, pid, replied| {
            let activity = Some(Activity { state: 'S', ticks: 0 });
            let incarnation = Incarnation { pid, start_time: 1 };
            watchdog.judge(begin + Duration::from_secs(second), Daemon::Zebra, incarnation, replied, activity)
        };
        assert_eq!(at(0, 1, false), Verdict::Fine);
        assert_eq!(at(8, 1, true), Verdict::Fine);
        assert_eq!(at(12, 1, false), Verdict::Fine);
        assert_eq!(at(20, 2, false), Verdict::Fine);
        assert_eq!(at(29, 2, false), Verdict::Fine);
        assert_eq!(at(30, 2, false), Verdict::Hangs("it is idle"));
    }
}
