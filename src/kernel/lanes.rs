//! The order in which the steps of a diff run: wave by wave, the lanes of a wave at the same time. In: steps, and the port that
//! applies one. Out: outcomes. Decides on no step but whether it is skipped.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::{self, StreamExt};

use super::op::{Lane, Wave};
use super::port::{Kernel, Outcome};
use super::step::Step;
use crate::scope::Scope;
use crate::types::{Vni, VrfName};

/// Applies all steps, as [`Kernel::apply_all`] says.
pub async fn apply_all<K: Kernel + ?Sized>(kernel: &K, steps: &[Step]) -> Vec<Outcome> {
    Run::new(steps).waves(kernel).await
}

/// Lanes in progress at the same time. The kernel handles a netlink request within the `sendto` that delivers it, under the
/// one RTNL lock: more would only wait for it, on the threads of the runtime.
const LANES: usize = 4;

/// The steps of a diff, and their outcomes so far.
struct Run<'a> {
    steps: &'a [Step],
    outcomes: Vec<Outcome>,
    failed_vnis: BTreeSet<Vni>,
    failed_vrfs: BTreeSet<VrfName>,
}

impl<'a> Run<'a> {
    fn new(steps: &'a [Step]) -> Self {
        let outcomes = steps.iter().map(|_| Outcome::Skipped).collect();
        Self { steps, outcomes, failed_vnis: BTreeSet::new(), failed_vrfs: BTreeSet::new() }
    }

    async fn waves<K: Kernel + ?Sized>(mut self, kernel: &K) -> Vec<Outcome> {
        let mut waves: BTreeMap<Wave, BTreeMap<Lane, Vec<usize>>> = BTreeMap::new();
        for (index, Step { op, .. }) in self.steps.iter().enumerate() {
            waves.entry(op.wave()).or_default().entry(op.lane()).or_default().push(index);
        }
        for lanes in waves.into_values() {
            self.run_lanes(kernel, lanes.into_values().collect()).await;
        }
        self.outcomes
    }

    async fn run_lanes<K: Kernel + ?Sized>(&mut self, kernel: &K, lanes: Vec<Vec<usize>>) {
        let this = &*self;
        let work = lanes.into_iter().map(|lane| this.run_lane(kernel, lane));
        let done: Vec<Vec<(usize, Outcome)>> = stream::iter(work).buffer_unordered(LANES).collect().await;
        for (index, outcome) in done.into_iter().flatten() {
            let Step { scope, op } = &self.steps[index];
            if !outcome.is_done() && !op.is_separate() {
                self.failed_vnis.extend(op.vni());
                // A segment depends on its IP-VRF, not the other way round.
                let vrf = op.vrf().filter(|_| !matches!(scope, Scope::Segment(_)));
                self.failed_vrfs.extend(vrf.cloned());
            }
            self.outcomes[index] = outcome;
        }
    }

    async fn run_lane<K: Kernel + ?Sized>(&self, kernel: &K, lane: Vec<usize>) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(lane.len());
        let mut is_broken = false;
        for index in lane {
            let op = &self.steps[index].op;
            let depends_on_failed = op.vni().is_some_and(|vni| self.failed_vnis.contains(&vni))
                || op.vrf().is_some_and(|vrf| self.failed_vrfs.contains(vrf));
            let outcome = if is_broken || depends_on_failed {
                Outcome::Skipped
            } else {
                match kernel.apply(op).await {
                    Ok(()) => Outcome::Done,
                    Err(error) => Outcome::Failed(error),
                }
            };
            // The ops of the node are independent of each other.
            is_broken |= !outcome.is_done() && !is_global(&op.lane()) && !op.is_separate();
            outcomes.push((index, outcome));
        }
        outcomes
    }
}

fn is_global(lane: &Lane) -> bool {
    matches!(lane, Lane::Global)
}
