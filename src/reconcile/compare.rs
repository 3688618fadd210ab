//! The first half of a pass: observes kernel and FRR, plans, and compares. In: a snapshot. Out: a [`Comparison`], which
//! holds all that is to be done. Changes nothing but policies that nothing refers to yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cache::{Settled, Wanted};
use super::early_policies::EarlyPolicies;
use super::reconciler::{PassError, Reconciler};
use super::schedule::{Schedule, State, policies_of_new_scopes, schedule};
use super::silent::Silent;
use crate::frr::client::port::Routing;
use crate::frr::release::Release;
use crate::frr::show::running_config::RunningConfig;
use crate::kernel::model::KernelState;
use crate::kernel::{Kernel, KernelError};
use crate::plan::last_accepted::LastAccepted;
use crate::plan::{NodeFacts, Plan};
use crate::snapshot::Snapshot;
use crate::timing::{PassPhase, Stopwatch, Timing};
use crate::types::{IfName, VrfMode, VrfName};

/// What a pass compares, and what came of it.
pub(super) struct Comparison {
    pub(super) plan: Arc<Plan>,
    /// What is accepted with that plan.
    pub(super) accepted: LastAccepted,
    pub(super) running: Arc<RunningConfig>,
    pub(super) schedule: Schedule,
    /// The daemons that do not answer: they are taken for configured as wanted.
    pub(super) silent: Silent,
    /// Begun already.
    pub(super) policies: EarlyPolicies,
    pub(super) timing: Timing,
}

/// Whether a comparison may begin with what it knows to be necessary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    /// Policies of new IP-VRFs are sent while the kernel is read.
    Policies,
    /// Nothing is changed.
    Nothing,
}

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// Compares. `not_up` are IP-VRFs that are rebuilt although they are as wanted.
    pub(super) async fn compare(
        &mut self,
        snapshot: &Arc<Snapshot>,
        accepted: LastAccepted,
        not_up: &BTreeSet<VrfName>,
        early: Early,
    ) -> Result<Comparison, PassError> {
        let mut watch = Stopwatch::start();
        let release = self.routing.release().await?;
        let settled = self.settled.take().filter(|_| not_up.is_empty());
        // A new snapshot is the reason of this pass: what was found in place is what FRR runs. It prints for tens of
        // milliseconds, and is read in the pass after this one.
        let is_new = self.wanted.as_ref().is_some_and(|wanted| !wanted.is_from(snapshot));
        let current = settled.as_ref().filter(|settled| is_new && settled.is_current);
        let current = current.map(|settled| Arc::clone(&settled.running));
        let inputs = Inputs { snapshot, mode: self.mode, release, accepted, is_new };
        let Self { kernel, routing, wanted, .. } = self;
        let mut policies = EarlyPolicies::default();
        let (wanted, observed, running) = if let Some(running) = current {
            let wanted = plan(kernel, wanted, inputs, &mut watch).await?;
            if early == Early::Policies {
                for batch in policies_of_new_scopes(&running.config, &wanted.frr) {
                    policies.begin(routing, batch);
                }
            }
            let observed = policies.during(observe(kernel, wanted)).await?;
            (wanted, observed, running)
        } else {
            // FRR takes long to print what it runs: it is queried first, and read when all else is known.
            let of_kernel = async {
                let wanted = plan(kernel, wanted, inputs, &mut watch).await?;
                let observed = observe(kernel, wanted).await?;
                Ok::<_, PassError>((wanted, observed))
            };
            let (running, of_kernel) = tokio::join!(routing.running(), of_kernel);
            let (wanted, observed) = of_kernel?;
            (wanted, observed, running?)
        };
        watch.mark(PassPhase::Observe);
        let mut silent = Silent::new(routing.silent(), release, wanted);
        let running = silent.assume_wanted(running, wanted);
        wanted.frr.share(&running.config);
        let schedule = if let Some(settled) = settled.filter(|last| last.is_of(wanted, &observed, &running)) {
            Schedule { unknown: settled.unknown, ..Schedule::default() }
        } else {
            let wanted = State { kernel: &wanted.plan.kernel, frr: &wanted.frr };
            schedule(wanted, State { kernel: &observed, frr: &running.config }, not_up, release)
        };
        silent.block(&schedule, wanted, &observed);
        if schedule.is_empty() && silent.is_empty() {
            let (running, unknown) = (Arc::clone(&running), schedule.unknown.clone());
            let version = wanted.version;
            self.settled = Some(Settled { wanted: version, kernel: observed, running, is_current: true, unknown });
        }
        watch.mark(PassPhase::Diff);
        let (plan, accepted, timing) = (Arc::clone(&wanted.plan), wanted.accepted.clone(), watch.timing());
        Ok(Comparison { plan, accepted, running, schedule, silent, policies, timing })
    }
}

/// What a plan is made of, besides the NICs.
struct Inputs<'a> {
    snapshot: &'a Arc<Snapshot>,
    mode: VrfMode,
    release: Release,
    accepted: LastAccepted,
    /// The snapshot is not that of the last plan.
    is_new: bool,
}

/// Reads what a plan must know of the NICs, and plans; `last` is replaced where it is not of the same inputs.
async fn plan<'a>(
    kernel: &impl Kernel,
    last: &'a mut Option<Wanted>,
    inputs: Inputs<'_>,
    watch: &mut Stopwatch,
) -> Result<&'a mut Wanted, PassError> {
    let Inputs { snapshot, mode, release, accepted, is_new } = inputs;
    let nics: BTreeSet<IfName> = snapshot.nics().filter_map(|nic| nic.parse().ok()).collect();
    let observed = kernel.observe_nics(&nics).await?;
    watch.mark(PassPhase::Observe);
    let nic_mtu = observed.into_iter().map(|(nic, facts)| (nic, facts.mtu)).collect();
    let facts = NodeFacts { mode, release, nic_mtu };
    let wanted = match last.take() {
        Some(wanted) if !is_new && wanted.is_of(&facts, &accepted) => wanted,
        former => Wanted::new(snapshot, facts, accepted, former.as_ref())?,
    };
    watch.mark(PassPhase::Plan);
    Ok(last.insert(wanted))
}

async fn observe(kernel: &impl Kernel, wanted: &Wanted) -> Result<Arc<KernelState>, KernelError> {
    let nics = wanted.plan.kernel.nics.keys().cloned().collect();
    kernel.observe(&nics).await
}
