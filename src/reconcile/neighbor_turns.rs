//! Which L2 segments are compared with zebra after a pass. In: those that the pass changed, and which zebra it was. Out: segments.
//! Reads nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::turn::Turn;
use crate::types::Vni;

/// How long after a change zebra may take notice of it. The controller verifies a change half a second later.
const SETTLED: Duration = Duration::from_millis(400);
/// Between two turns, however many passes there are: zebra lists thousands of neighbors, and does nothing else meanwhile.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is kept of the comparisons with zebra.
#[derive(Debug, Default)]
pub(super) struct NeighborTurns {
    /// Of those that did not change.
    turn: Turn,
    /// When that was.
    last_turn: Option<Instant>,
    /// The number of the zebra of the last pass: another one knows nothing.
    generation: Option<u64>,
    /// Those that changed, and when. zebra may have taken notice of it only after the comparison.
    changed: BTreeMap<Vni, Instant>,
}

impl NeighborTurns {
    /// The segments of `all` that are compared after a pass: those that it changed, which are compared again until zebra has had time to
    /// take notice, and some whose turn it is. With another zebra all of them count as changed.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        all: &BTreeSet<Vni>,
        generation: u64,
        mut changed: BTreeSet<Vni>,
    ) -> BTreeSet<Vni> {
        if self.generation.replace(generation) != Some(generation) {
            changed.clone_from(all);
        }
        let mut compared = BTreeSet::new();
        if self.last_turn.is_none_or(|last| now.duration_since(last) >= INTERVAL) {
            compared.extend(self.turn.take(all.iter()).copied());
            self.last_turn = Some(now);
        }
        let settling = std::mem::take(&mut self.changed).into_iter().filter(|(vni, _)| all.contains(vni));
        for (vni, since) in settling {
            compared.insert(vni);
            if now.duration_since(since) < SETTLED {
                self.changed.insert(vni, since);
            }
        }
        for vni in changed.into_iter().filter(|vni| all.contains(vni)) {
            compared.insert(vni);
            self.changed.insert(vni, now);
        }
        compared
    }

    /// These were not compared although it was their turn: they are compared after the next pass.
    pub(super) fn missed(&mut self, now: Instant, segments: impl IntoIterator<Item = Vni>) {
        self.changed.extend(segments.into_iter().map(|vni| (vni, now)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vnis(raw: impl IntoIterator<Item = u32>) -> BTreeSet<Vni> {
        raw.into_iter().map(|raw| Vni::try_from(raw).unwrap()).collect()
    }

    /// Turns at the interval between them.
    #[derive(Default)]
    struct Regular(NeighborTurns, u32);

    impl Regular {
        fn turn(&mut self, all: &BTreeSet<Vni>, generation: u64, changed: BTreeSet<Vni>) -> BTreeSet<Vni> {
            self.1 += 1;
            self.0.turn(Instant::now() + INTERVAL * self.1, all, generation, changed)
        }
    }

    #[test]
    fn what_changed_is_compared_after_two_passes_and_all_with_another_zebra_and_in_turn() {
        let mut turns = Regular::default();
        let all = vnis(1..=20);
        assert_eq!(turns.turn(&all, 1, vnis([])), all, "the first pass");
        assert_eq!(turns.turn(&all, 1, vnis([])), all, "the pass that follows");
        assert_eq!(turns.turn(&all, 1, vnis([])), vnis((17..=20).chain(1..=4)));
        assert_eq!(turns.turn(&all, 1, vnis([20])), vnis((5..=12).chain([20])), "a change");
        assert_eq!(turns.turn(&all, 1, vnis([])), vnis(13..=20));
        assert_eq!(turns.turn(&all, 1, vnis([20, 99])), vnis((1..=8).chain([20])), "one that is gone");
        assert_eq!(turns.turn(&all, 1, vnis([])), vnis((9..=16).chain([20])), "the pass that follows");
        assert_eq!(turns.turn(&all, 2, vnis([])), all, "another zebra");
        assert_eq!(turns.turn(&vnis([7]), 2, vnis([])), vnis([7]));
        assert_eq!(turns.turn(&vnis([]), 2, vnis([7])), vnis([]));
    }

    #[test]
    fn one_that_does_not_change_has_its_turn_however_many_others_do() {
        let (mut turns, all) = (Regular::default(), vnis(1..=40));
        let changing = || vnis((1..=40).filter(|raw| raw % 2 == 0));
        turns.turn(&all, 1, changing());
        turns.turn(&all, 1, changing());
        let compared: BTreeSet<Vni> = (0..5).flat_map(|_| turns.turn(&all, 1, changing())).collect();
        assert_eq!(compared, all);
    }

    #[test]
    fn many_passes_are_one_turn() {
        let (mut turns, all, now) = (NeighborTurns::default(), vnis(1..=40), Instant::now());
        turns.turn(now, &all, 1, vnis([]));
        turns.turn(now + SETTLED, &all, 1, vnis([]));
        for pass in 0..100 {
            assert_eq!(turns.turn(now + SETTLED + INTERVAL / 200 * pass, &all, 1, vnis([])), vnis([]), "pass {pass}");
        }
        assert_eq!(turns.turn(now + INTERVAL, &all, 1, vnis([])), vnis(9..=16));
    }

    #[test]
    fn what_changed_is_compared_until_zebra_has_had_time_to_take_notice() {
        let (mut turns, all, now) = (NeighborTurns::default(), vnis([1]), Instant::now());
        turns.turn(now, &all, 1, vnis([]));
        turns.turn(now + SETTLED, &all, 1, vnis([]));
        let mut compared =
            |millis, changed| turns.turn(now + SETTLED + Duration::from_millis(millis), &all, 1, changed);
        assert_eq!(compared(10, vnis([1])), all);
        for millis in [30, 100, 409] {
            assert_eq!(compared(millis, vnis([])), all, "{millis} ms");
        }
        assert_eq!(compared(410, vnis([])), all, "zebra has settled");
        assert_eq!(compared(411, vnis([])), vnis([]));
    }

    #[test]
    fn one_that_was_missed_is_compared_after_the_next_pass() {
        let (mut turns, all) = (Regular::default(), vnis(1..=40));
        turns.turn(&all, 1, vnis([]));
        turns.turn(&all, 1, vnis([]));
        turns.turn(&all, 1, vnis([]));
        turns.0.missed(Instant::now() + INTERVAL * 3, vnis([4, 5]));
        assert_eq!(turns.turn(&all, 1, vnis([])), vnis([4, 5].into_iter().chain(25..=32)));
        assert_eq!(turns.turn(&all, 1, vnis([])), vnis(33..=40), "once");
    }
}
