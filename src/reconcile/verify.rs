//! The end of a pass: waits until FRR has the VNIs in service that were touched. In: the plan and what was done. Out: the
//! IP-VRFs that are not up, or that a daemon was restarted. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::down_vnis::is_up;
use super::execute::Executed;
use super::reconciler::Reconciler;
use super::schedule::Schedule;
use crate::frr::client::port::{Routing, RoutingError};
use crate::frr::show::vni::{VniFault, VniState};
use crate::frr::show::vrf_binding::Unbound;
use crate::kernel::Kernel;
use crate::plan::Plan;
use crate::scope::Scope;
use crate::timing::{PassPhase, Stopwatch};
use crate::types::{Vni, VrfName};

/// bgpd needs 100 ms of its own to bring an L3VNI up.
pub(super) const UP_LIMIT: Duration = Duration::from_secs(3);
/// A VRF that is gone stays in bgpd: it processes one that was replaced within milliseconds.
const STALE_LIMIT: Duration = Duration::from_secs(1);
/// bgpd of FRR 8 connects to a new zebra after 10 s only, and until then zebra has no L3VNI up that bgpd still has.
const REJOIN_LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// What became of the IP-VRFs that were touched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verified {
    /// These are not up at the end of the time limit; none if all are. bgpd has a VRF that is gone for those with a reason.
    NotUp(BTreeMap<VrfName, Option<Unbound>>),
    /// A daemon was restarted meanwhile: it has lost its configuration.
    Restarted,
}

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// Waits for the IP-VRFs that were touched without a failure.
    pub(super) async fn verify(&mut self, plan: &Plan, schedule: &Schedule, done: &mut Executed) -> Verified {
        let mut watch = Stopwatch::start();
        let mut waiting: BTreeSet<VrfName> = schedule.vrfs();
        let expected = plan.l3vnis();
        waiting.retain(|vrf| expected.contains_key(vrf) && !done.failures.contains_key(&Scope::Vrf(vrf.clone())));
        let mut verified = self.wait(&expected, waiting).await;
        if verified != Verified::Restarted {
            let l2vnis = plan.l2vnis();
            let mut segments = schedule.segments();
            segments.retain(|vni| l2vnis.contains_key(vni) && !done.failures.contains_key(&Scope::Segment(*vni)));
            let generation = self.routing.generation();
            match self.wait_segments(&l2vnis, &mut segments).await {
                _ if self.routing.generation() != generation => verified = Verified::Restarted,
                Ok(faults) => done.fail_segments(faults),
                Err(error) => done.fail_unread(&segments, error),
            }
        }
        watch.mark(PassPhase::Verify);
        done.timing.extend(&watch.timing());
        verified
    }

    /// Waits for L2VNIs, with the IP-VRFs of their bridges. Returns what is wrong at the end of the time limit, or as soon as a daemon
    /// was restarted.
    ///
    /// # Errors
    /// Where those that are still `waiting` cannot be read.
    async fn wait_segments(
        &mut self,
        expected: &BTreeMap<Vni, Option<&VrfName>>,
        waiting: &mut BTreeSet<Vni>,
    ) -> Result<BTreeMap<Vni, VniFault>, RoutingError> {
        let (start, generation) = (Instant::now(), self.routing.generation());
        let mut faults = BTreeMap::new();
        while !waiting.is_empty() {
            let vnis = self.routing.vnis_of(waiting).await?;
            let fault = |vni: &Vni| {
                let vrf = expected.get(vni).copied().flatten();
                vnis.get(vni).map_or(Some(VniFault::SegmentNotListed), |state| state.fault_of_segment(vrf))
            };
            faults = waiting.iter().filter_map(|vni| Some((*vni, fault(vni)?))).collect();
            waiting.retain(|vni| faults.contains_key(vni));
            let is_restarted = self.routing.generation() != generation;
            if is_restarted || waiting.is_empty() || start.elapsed() >= UP_LIMIT {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(faults)
    }

    async fn wait(&mut self, expected: &BTreeMap<&VrfName, Vni>, mut waiting: BTreeSet<VrfName>) -> Verified {
        let (start, generation) = (Instant::now(), self.routing.generation());
        let mut not_up = BTreeMap::new();
        while !waiting.is_empty() {
            let wanted = waiting.iter().filter_map(|vrf| expected.get(vrf).copied()).collect();
            let vnis = match self.routing.vnis_of(&wanted).await {
                Ok(vnis) if self.routing.generation() == generation => vnis,
                // The next comparison says what is missing.
                Ok(_) | Err(_) => return Verified::Restarted,
            };
            let state = |vrf: &VrfName| expected.get(vrf).and_then(|vni| vnis.get(vni));
            waiting.retain(|vrf| !state(vrf).is_some_and(|state| is_up(state, vrf)));
            let stale = |vrf: &VrfName| state(vrf).and_then(VniState::stale_instance);
            not_up = waiting.iter().map(|vrf| (vrf.clone(), stale(vrf))).collect();
            let rejoins = waiting.iter().all(|vrf| state(vrf).is_some_and(VniState::is_only_in_bgp));
            let limit = match () {
                () if rejoins => REJOIN_LIMIT,
                () if not_up.values().all(Option::is_some) => STALE_LIMIT,
                () => UP_LIMIT,
            };
            if waiting.is_empty() || start.elapsed() >= limit {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        Verified::NotUp(not_up)
    }
}
