//! The end of a pass: waits until FRR has the L3VNIs in service that were touched. In: the plan and what was done. Out: the
//! IP-VRFs that are not up, or that a daemon was restarted. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use super::down_vnis::is_up;
use super::execute::Executed;
use super::reconciler::Reconciler;
use super::schedule::Schedule;
use crate::frr::client::port::Routing;
use crate::frr::show::vni::VniState;
use crate::kernel::Kernel;
use crate::plan::Plan;
use crate::scope::Scope;
use crate::timing::{PassPhase, Stopwatch};
use crate::types::{Vni, VrfName};

/// bgpd needs 100 ms of its own to bring an L3VNI up.
pub(super) const UP_LIMIT: Duration = Duration::from_secs(3);
/// bgpd of FRR 8 connects to a new zebra after 10 s only, and until then zebra has no L3VNI up that bgpd still has.
const REJOIN_LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// What became of the IP-VRFs that were touched.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verified {
    /// These are not up at the end of the time limit; none if all are.
    NotUp(BTreeSet<VrfName>),
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
        let verified = self.wait(&expected, waiting).await;
        watch.mark(PassPhase::Verify);
        done.timing.extend(&watch.timing());
        verified
    }

    async fn wait(&mut self, expected: &BTreeMap<&VrfName, Vni>, mut waiting: BTreeSet<VrfName>) -> Verified {
        let (start, generation) = (Instant::now(), self.routing.generation());
        while !waiting.is_empty() {
            let wanted = waiting.iter().filter_map(|vrf| expected.get(vrf).copied()).collect();
            let vnis = match self.routing.vnis_of(&wanted).await {
                Ok(vnis) if self.routing.generation() == generation => vnis,
                // The next comparison says what is missing.
                Ok(_) | Err(_) => return Verified::Restarted,
            };
            let state = |vrf: &VrfName| expected.get(vrf).and_then(|vni| vnis.get(vni));
            waiting.retain(|vrf| !state(vrf).is_some_and(|state| is_up(state, vrf)));
            let rejoins = waiting.iter().all(|vrf| state(vrf).is_some_and(VniState::is_only_in_bgp));
            let limit = if rejoins { REJOIN_LIMIT } else { UP_LIMIT };
            if waiting.is_empty() || start.elapsed() >= limit {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        Verified::NotUp(waiting)
    }
}
