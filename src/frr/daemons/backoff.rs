//! When a daemon that exited or did not start is started again. In: how long it ran. Out: the pause before the next start. Each
//! daemon has its own. Pure.

use std::time::Duration;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(10);
/// A daemon that ran for so long has not failed at its start: the next exit is the first again.
const STABLE: Duration = Duration::from_secs(5);

/// The pauses of one daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Backoff {
    /// The pause after it ran for `ran`; zero if it did not start. The first start is without delay.
    pub fn pause(&mut self, ran: Duration) -> Duration {
        if ran >= STABLE {
            self.next = Duration::ZERO;
        }
        let pause = self.next;
        self.next = (pause * 2).clamp(FIRST_PAUSE, LAST_PAUSE);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pauses(backoff: &mut Backoff, ran: Duration, count: usize) -> Vec<u128> {
        (0..count).map(|_| backoff.pause(ran).as_millis()).collect()
    }

    #[test]
    fn the_pause_grows_to_ten_seconds_and_a_stable_run_resets_it() {
        let mut backoff = Backoff::default();
        let moment = Duration::from_millis(300);
        assert_eq!(pauses(&mut backoff, moment, 10), [0, 100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000]);
        assert_eq!(pauses(&mut backoff, STABLE, 3), [0, 0, 0]);
        assert_eq!(pauses(&mut backoff, Duration::ZERO, 3), [100, 200, 400]);
    }
}
