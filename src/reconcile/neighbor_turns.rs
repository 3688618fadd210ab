//! Which L2 segments are compared with zebra after a pass. In: those that the pass changed, and which zebra it was. Out: segments.
//! Reads nothing.

use std::collections::BTreeSet;

use super::turn::Turn;
use crate::types::Vni;

/// What is kept of the comparisons with zebra.
#[derive(Debug, Default)]
pub(super) struct NeighborTurns {
    /// Of those that did not change.
    turn: Turn,
    /// The number of the zebra of the last pass: another one knows nothing.
    generation: Option<u64>,
    /// Those that the last pass changed. zebra may have taken notice of it only after the comparison.
    changed: BTreeSet<Vni>,
}

impl NeighborTurns {
    /// The segments of `all` that are compared after a pass: those that it changed, which are compared after the pass that follows
    /// too, and some whose turn it is. With another zebra all of them count as changed.
    pub(super) fn turn(&mut self, all: &BTreeSet<Vni>, generation: u64, mut changed: BTreeSet<Vni>) -> BTreeSet<Vni> {
        if self.generation != Some(generation) {
            changed.clone_from(all);
        }
        let mut compared: BTreeSet<Vni> = self.turn.take(all.iter()).copied().collect();
        compared.extend(all.iter().filter(|vni| changed.contains(vni) || self.changed.contains(vni)));
        (self.generation, self.changed) = (Some(generation), changed);
        compared
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vnis(raw: impl IntoIterator<Item = u32>) -> BTreeSet<Vni> {
        raw.into_iter().map(|raw| Vni::try_from(raw).unwrap()).collect()
    }

    #[test]
    fn what_changed_is_compared_after_two_passes_and_all_with_another_zebra_and_in_turn() {
        let mut turns = NeighborTurns::default();
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
}
