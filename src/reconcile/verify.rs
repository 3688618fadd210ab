//! The end of a pass: waits until FRR has the L3VNIs in service that were touched. In: the plan and what was done. Out: the
//! IP-VRFs that are not up. Changes nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::execute::Executed;
use super::reconciler::{PassError, Reconciler};
use super::schedule::Schedule;
use crate::frr::client::port::Routing;
use crate::frr::show::vni::VniState;
use crate::kernel::Kernel;
use crate::plan::Plan;
use crate::scope::Scope;
use crate::timing::{PassPhase, Stopwatch};
use crate::types::VrfName;

/// bgpd needs 100 ms of its own to bring an L3VNI up.
pub(super) const UP_LIMIT: Duration = Duration::from_secs(3);
/// bgpd of FRR 8 connects to a new zebra after 10 s only, and until then zebra has no L3VNI up that bgpd still has.
const REJOIN_LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// IP-VRFs that were touched without a failure and are not up at the end of the time limit.
    pub(super) async fn verify(
        &mut self,
        plan: &Plan,
        schedule: &Schedule,
        done: &mut Executed,
    ) -> Result<BTreeSet<VrfName>, PassError> {
        let mut watch = Stopwatch::start();
        let mut waiting: BTreeSet<VrfName> = schedule.vrfs();
        let expected = plan.l3vnis();
        waiting.retain(|vrf| expected.contains_key(vrf) && !done.failures.contains_key(&Scope::Vrf(vrf.clone())));
        let start = Instant::now();
        while !waiting.is_empty() {
            let wanted = waiting.iter().filter_map(|vrf| expected.get(vrf).copied()).collect();
            let vnis = self.routing.vnis_of(&wanted).await?;
            let state = |vrf: &VrfName| expected.get(vrf).and_then(|vni| vnis.get(vni));
            waiting.retain(|vrf| !state(vrf).is_some_and(|state| state.is_ready() && state.is_l3_of(vrf)));
            let rejoins = waiting.iter().all(|vrf| state(vrf).is_some_and(VniState::is_only_in_bgp));
            let limit = if rejoins { REJOIN_LIMIT } else { UP_LIMIT };
            if waiting.is_empty() || start.elapsed() >= limit {
                break;
            }
            tokio::time::sleep(POLL).await;
        }
        watch.mark(PassPhase::Verify);
        done.timing.extend(&watch.timing());
        Ok(waiting)
    }
}
