//! Waiting for something with an end to it.
//!
//! In: a probe, how long it may take, how often to look. Out: what the probe found, or who waited for what. It must not
//! sleep past its deadline.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The time was up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("waited {waited:.1?} for {what}, in vain")]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub waited: Duration,
}

/// Probes until it yields a value; the last probe comes at the deadline.
pub fn until<T>(
    what: &str,
    at_most: Duration,
    every: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> Result<T, TimedOut> {
    let start = Instant::now();
    loop {
        if let Some(found) = probe() {
            return Ok(found);
        }
        let left = at_most.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Err(TimedOut { what: what.to_owned(), waited: start.elapsed() });
        }
        std::thread::sleep(every.min(left));
    }
}

/// Waits until there is something to read, a client to accept, or the end of a process (`pidfd_open(2)`); false when the
/// time was up. Costs nothing meanwhile.
pub fn readable(file: &impl AsFd, at_most: Duration) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        // Never early: what is left of a millisecond counts as a whole one.
        let left = at_most.saturating_sub(start.elapsed()).as_micros().div_ceil(1000);
        let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLIN)], left) {
            Err(Errno::EINTR) => {}
            ready => return Ok(ready? > 0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_is_readable_and_what_does_not_come_is_not() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!readable(&reader, Duration::from_millis(2)).unwrap());
        drop(writer);
        assert!(readable(&reader, Duration::from_secs(9)).unwrap());
    }

    #[test]
    fn the_last_probe_comes_at_the_deadline() {
        let mut probes = 0;
        let result = until("rain", Duration::from_millis(5), Duration::from_secs(9), || {
            probes += 1;
            None::<()>
        });
        assert_eq!((result.unwrap_err().what.as_str(), probes), ("rain", 2));
    }
}
