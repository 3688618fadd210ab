//! Waiting with a time limit.
//!
//! In: a probe, the time limit and the interval. Out: the value of the probe, or what was waited for. It must not sleep
//! past its deadline.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The time limit has passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("timed out after {waited:.1?} waiting for {what}")]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub waited: Duration,
}

/// Probes until there is a value; the last probe is at the deadline.
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

/// Waits until a file is readable: there is data, a client to accept, or the process of a pidfd has exited
/// (`pidfd_open(2)`). False if that does not happen in time. The wait uses no CPU.
pub fn readable(file: &impl AsFd, at_most: Duration) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        // Rounded up, so that it never returns early.
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
    fn a_closed_pipe_is_readable_and_an_open_one_is_not() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!readable(&reader, Duration::from_millis(2)).unwrap());
        drop(writer);
        assert!(readable(&reader, Duration::from_secs(9)).unwrap());
    }

    #[test]
    fn the_last_probe_is_at_the_deadline() {
        let mut probes = 0;
        let result = until("rain", Duration::from_millis(5), Duration::from_secs(9), || {
            probes += 1;
            None::<()>
        });
        assert_eq!((result.unwrap_err().what.as_str(), probes), ("rain", 2));
    }
}
