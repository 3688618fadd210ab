//! How many MAC addresses and neighbors of each L2VNI are of workloads of this node: zebra counts all of them, and lists them where
//! those of this node are to be counted. Of hundreds of L2VNIs only some are read each time. In: VNIs as zebra counts them. Out: the
//! same with the counts of this node. Changes nothing.

use std::collections::BTreeMap;

use crate::frr::client::port::Routing;
use crate::frr::show::vni::{LocalCounts, VniState, VniType};
use crate::kernel::Kernel;
use crate::reconcile::Reconciler;
use crate::types::Vni;

/// L2VNIs that are read each time, at most.
const AT_ONCE: usize = 16;
/// MAC addresses and neighbors that zebra lists each time, at most, unless a single L2VNI has more.
const ENTRIES: u64 = 20_000;
/// One whose counts changed is read as if so many others had been read since: it is read early, and others do not wait forever.
const PRECEDENCE: u64 = 32;

/// The counts of all L2VNIs, each as it was last read.
#[derive(Debug, Default)]
pub(super) struct SegmentReads {
    segments: BTreeMap<Vni, SegmentRead>,
    /// The number of the next read.
    next: u64,
}

/// An L2VNI as it was read.
#[derive(Debug)]
struct SegmentRead {
    /// Higher for later reads.
    number: u64,
    /// What zebra counted.
    all: [u64; 2],
    /// `None` where it could not be read.
    local: Option<LocalCounts>,
}

impl SegmentReads {
    /// Adds the counts of this node to `vnis`.
    pub(super) async fn add<K: Kernel, R: Routing>(
        &mut self,
        reconciler: &mut Reconciler<K, R>,
        vnis: &mut BTreeMap<Vni, VniState>,
    ) {
        for (vni, all) in self.due(vnis) {
            let read = reconciler.local_counts(vni).await;
            self.note(vni, all, read.as_ref().ok().copied());
            if let Err(error) = read {
                // Each of the others would wait for the same zebra.
                tracing::debug!(%vni, error = &error as &dyn std::error::Error, "MAC addresses not counted");
                break;
            }
        }
        for (vni, state) in vnis {
            state.local = self.segments.get(vni).and_then(|read| read.local);
        }
    }

    /// The L2VNIs to read now: those that were never read, then those that were read first, as a workload that moves changes no count
    /// of all. Those of which zebra counts others than when they were read have precedence.
    fn due(&mut self, vnis: &BTreeMap<Vni, VniState>) -> Vec<(Vni, [u64; 2])> {
        let counted: BTreeMap<Vni, [u64; 2]> =
            vnis.iter().filter_map(|(vni, state)| Some((*vni, all(state)?))).collect();
        self.segments.retain(|vni, _| counted.contains_key(vni));
        let mut due: Vec<(Vni, [u64; 2])> = counted.into_iter().collect();
        due.sort_by_key(|(vni, all)| {
            let last = self.segments.get(vni)?;
            Some(if last.all == *all { last.number + PRECEDENCE } else { last.number })
        });
        let mut entries = 0;
        let fits = |(at, (_, all)): &(usize, (Vni, [u64; 2]))| {
            entries += all.iter().sum::<u64>();
            *at == 0 || entries <= ENTRIES
        };
        due.into_iter().take(AT_ONCE).enumerate().take_while(fits).map(|(_, segment)| segment).collect()
    }

    /// One that could not be read has its turn again after the others.
    fn note(&mut self, vni: Vni, all: [u64; 2], local: Option<LocalCounts>) {
        self.segments.insert(vni, SegmentRead { number: self.next, all, local });
        self.next += 1;
    }
}

/// What zebra counts of an L2VNI.
fn all(state: &VniState) -> Option<[u64; 2]> {
    (state.vni_type == VniType::L2).then_some([state.macs?, state.neighbors?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vni(raw: u32) -> Vni {
        raw.try_into().unwrap()
    }

    fn segments(counts: impl IntoIterator<Item = (u32, u64)>) -> BTreeMap<Vni, VniState> {
        let state =
            |macs| VniState { vni_type: VniType::L2, macs: Some(macs), neighbors: Some(macs), ..VniState::default() };
        counts.into_iter().map(|(raw, macs)| (vni(raw), state(macs))).collect()
    }

    /// The L2VNIs to read; each is read.
    fn read(reads: &mut SegmentReads, vnis: &BTreeMap<Vni, VniState>) -> Vec<u32> {
        let due = reads.due(vnis);
        for (vni, all) in &due {
            reads.note(*vni, *all, Some(LocalCounts::default()));
        }
        due.into_iter().map(|(vni, _)| vni.get()).collect()
    }

    #[test]
    fn those_that_changed_are_read_first_and_all_others_in_turn() {
        let mut reads = SegmentReads::default();
        let all = |changed: &[(u32, u64)]| segments((1..=20).map(|raw| (raw, 1)).chain(changed.iter().copied()));
        assert_eq!(read(&mut reads, &all(&[])), (1..=16).collect::<Vec<_>>());
        // Those that were never read, then the oldest.
        assert_eq!(read(&mut reads, &all(&[])), (17..=20).chain(1..=12).collect::<Vec<_>>());
        assert_eq!(
            read(&mut reads, &all(&[(12, 9)])),
            [12].into_iter().chain(13..=20).chain(1..=7).collect::<Vec<_>>()
        );
        let l3vni = BTreeMap::from([(vni(100), VniState::default())]);
        assert_eq!(read(&mut reads, &l3vni), [0; 0]);
        assert!(reads.segments.is_empty(), "what is gone is forgotten");
    }

    #[test]
    fn one_that_does_not_change_is_read_however_many_others_do() {
        for (changing, macs) in [(16, 1), (48, 1), (2, ENTRIES)] {
            let mut reads = SegmentReads::default();
            let (quiet, mut last) = (1000, 0);
            for round in 0..200 {
                let changed = (1..=changing).map(|raw| (raw, macs + round % 2));
                if read(&mut reads, &segments(changed.chain([(quiet, 1)]))).contains(&quiet) {
                    last = round;
                }
                assert!(round - last <= PRECEDENCE + 2, "{changing} that change: not read since {last}");
            }
        }
    }

    #[test]
    fn what_zebra_lists_is_bounded_but_for_one_l2vni() {
        let mut reads = SegmentReads::default();
        let all = segments([(1, ENTRIES / 4), (2, ENTRIES / 4), (3, 1), (4, ENTRIES), (5, 1)]);
        assert_eq!(read(&mut reads, &all), [1, 2]);
        assert_eq!(read(&mut reads, &all), [3]);
        assert_eq!(read(&mut reads, &all), [4]);
        assert_eq!(read(&mut reads, &all), [5, 1]);
    }
}
