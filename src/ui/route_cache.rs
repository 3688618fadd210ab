//! The last answer for each VRF whose routes the page shows. In: answers, and how long FRR took for each. Out: an answer, while it is too
//! early to read the routes again: over all VRFs that are shown, they take no more than a tenth of FRR's time. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::types::VrfName;

/// VRFs whose answers are cached.
const MOST_VRFS: usize = 16;

#[derive(Debug)]
struct CachedAnswer<A> {
    answer: A,
    end: Instant,
    took: Duration,
}

/// The last answers.
#[derive(Debug)]
pub struct RouteCache<A> {
    answers: BTreeMap<VrfName, CachedAnswer<A>>,
    pause: fn(Duration) -> Duration,
}

impl<A: Clone> RouteCache<A> {
    /// Without answers; `pause` is the time after reads that took so long.
    pub fn new(pause: fn(Duration) -> Duration) -> Self {
        Self { answers: BTreeMap::new(), pause }
    }

    /// The last answer for a VRF, where its routes are not to be read again yet.
    pub fn get(&mut self, vrf: &VrfName, now: Instant) -> Option<A> {
        // The time of all counts: each VRF may be read again after this pause.
        let pause = (self.pause)(self.answers.values().map(|cached| cached.took).sum());
        self.answers.retain(|_, cached| now.saturating_duration_since(cached.end) < pause);
        self.answers.get(vrf).map(|cached| cached.answer.clone())
    }

    /// Caches an answer that was read between `begin` and `end`; the oldest one of too many is dropped.
    pub fn insert(&mut self, vrf: VrfName, answer: A, begin: Instant, end: Instant) {
        self.answers.insert(vrf, CachedAnswer { answer, end, took: end.saturating_duration_since(begin) });
        if self.answers.len() > MOST_VRFS {
            let oldest = self.answers.iter().min_by_key(|(_, cached)| cached.end).map(|(vrf, _)| vrf.clone());
            self.answers.retain(|vrf, _| Some(vrf) != oldest.as_ref());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn vrf(name: &str) -> VrfName {
        name.parse().unwrap()
    }

    #[test]
    fn routes_are_read_again_after_ten_times_what_the_reads_took() {
        let begin = Instant::now();
        let mut cache = RouteCache::new(|took| took * 10);
        cache.insert(vrf("red"), "r", begin, begin + SECOND);
        assert_eq!(cache.get(&vrf("red"), begin + 10 * SECOND), Some("r"));
        assert_eq!(cache.get(&vrf("blue"), begin + 10 * SECOND), None);
        // Two VRFs have the tenth together.
        cache.insert(vrf("blue"), "b", begin + 8 * SECOND, begin + 10 * SECOND);
        assert_eq!(cache.get(&vrf("red"), begin + 30 * SECOND), Some("r"));
        assert_eq!(cache.get(&vrf("red"), begin + 31 * SECOND), None);
        assert_eq!(cache.get(&vrf("blue"), begin + 29 * SECOND), Some("b"));
        assert_eq!(cache.get(&vrf("blue"), begin + 30 * SECOND), None);
    }

    #[test]
    fn the_oldest_answer_of_too_many_is_dropped() {
        let begin = Instant::now();
        let mut cache = RouteCache::new(|took| took * 10);
        for number in 0..=MOST_VRFS {
            let end = begin + Duration::from_millis(u64::try_from(number).unwrap());
            cache.insert(vrf(&format!("v{number}")), (), begin, end);
        }
        assert_eq!(cache.answers.len(), MOST_VRFS);
        assert!(cache.get(&vrf("v0"), begin).is_none() && cache.get(&vrf("v1"), begin).is_some());
    }
}
