//! Whether a source of objects can be read. In: what each of its parts reports. Out: since when it cannot. It must not affect what
//! the source delivers.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// A part that has not failed for so long works: a watch that was resumed delivers nothing until something changes. A connection without
/// data fails after 100 s, and is opened again after a pause: failures of one outage are that far apart.
const QUIET: Duration = Duration::from_secs(180);

/// The health of one source.
#[derive(Debug, Default)]
pub struct SourceHealth(Mutex<Parts>);

#[derive(Debug, Default)]
struct Parts {
    has_delivered: bool,
    outages: BTreeMap<String, PartOutage>,
}

#[derive(Debug, Clone, Copy)]
struct PartOutage {
    begin: SystemTime,
    last_failure: SystemTime,
}

impl SourceHealth {
    /// A part of the source could not be read.
    pub fn failed(&self, part: &str) {
        self.failed_at(part, SystemTime::now());
    }

    fn failed_at(&self, part: &str, now: SystemTime) {
        let mut parts = self.parts();
        let known = parts.outages.get(part).filter(|outage| is_current(outage, now));
        let begin = known.map_or(now, |outage| outage.begin);
        parts.outages.insert(part.to_owned(), PartOutage { begin, last_failure: now });
    }

    /// A part of the source was read.
    pub fn delivered(&self, part: &str) {
        let mut parts = self.parts();
        parts.has_delivered = true;
        parts.outages.remove(part);
    }

    /// When the whole source could last be read: `now` while it can, `None` if it never could.
    pub fn last_success(&self, now: SystemTime) -> Option<SystemTime> {
        let mut parts = self.parts();
        parts.outages.retain(|_, outage| is_current(outage, now));
        parts.has_delivered.then(|| parts.outages.values().map(|outage| outage.begin).min().unwrap_or(now))
    }

    fn parts(&self) -> MutexGuard<'_, Parts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_current(outage: &PartOutage, now: SystemTime) -> bool {
    now.duration_since(outage.last_failure).is_ok_and(|quiet| quiet < QUIET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_ends_with_what_is_read_or_without_another_failure() {
        let health = SourceHealth::default();
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        assert_eq!(health.last_success(at(1)), None);
        health.failed_at("a", at(2));
        assert_eq!(health.last_success(at(3)), None, "it was never read");
        health.delivered("a");
        assert_eq!(health.last_success(at(4)), Some(at(4)));
        health.failed_at("a", at(10));
        health.failed_at("b", at(15));
        health.failed_at("a", at(30));
        assert_eq!(health.last_success(at(40)), Some(at(10)), "the first failure of the part that still fails");
        health.delivered("a");
        assert_eq!(health.last_success(at(41)), Some(at(15)));
        assert_eq!(health.last_success(at(195)), Some(at(195)), "b was quiet for three minutes");
        health.failed_at("b", at(200));
        assert_eq!(health.last_success(at(201)), Some(at(200)));
    }

    #[test]
    fn connections_that_time_out_one_after_the_other_are_one_outage() {
        let health = SourceHealth::default();
        let at = |second| SystemTime::UNIX_EPOCH + Duration::from_secs(second);
        health.delivered("a");
        for failure in 0..5 {
            health.failed_at("a", at(10 + failure * 102));
            assert_eq!(health.last_success(at(10 + failure * 102 + 101)), Some(at(10)));
        }
    }
}
