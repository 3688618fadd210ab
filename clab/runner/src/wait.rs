//! Waiting for something with an end to it.
//!
//! In: a probe, how long it may take, how often to look. Out: what the probe found, or who waited for what. It must not
//! sleep past its deadline.

use std::time::{Duration, Instant};

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

#[cfg(test)]
mod tests {
    use super::*;

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
