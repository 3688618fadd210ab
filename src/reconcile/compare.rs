//! The first half of a pass: observes kernel and FRR, plans, and compares. In: a snapshot. Out: a [`Comparison`], which
//! holds all that is to be done. Changes nothing but policies that nothing refers to yet.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::cache::{Compared, PlanInput, Settled, Wanted};
use super::early_policies::EarlyPolicies;
use super::reconciler::{PassError, Reconciler};
use super::schedule::{Schedule, State, early_policies, schedule};
use super::silent::Silent;
use crate::frr::client::port::Routing;
use crate::frr::config::render::without_replaced_aggregates;
use crate::frr::release::Release;
use crate::frr::show::running_config::RunningConfig;
use crate::kernel::model::KernelState;
use crate::kernel::{Kernel, KernelError};
use crate::memo::Memo;
use crate::plan::last_accepted::LastAccepted;
use crate::plan::{NodeFacts, Plan};
use crate::snapshot::Snapshot;
use crate::timing::{PassPhase, Stopwatch, Timing};
use crate::types::{IfName, VrfName};

/// What a pass compares, and what came of it.
pub(super) struct Comparison {
    pub(super) plan: Arc<Plan>,
    /// What is accepted with that plan.
    pub(super) accepted: LastAccepted,
    pub(super) running: Arc<RunningConfig>,
    /// The kernel as it was observed.
    pub(super) observed: Arc<KernelState>,
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
    /// Policies that need nothing else are sent while the kernel is read.
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
        let mut settled = std::mem::take(&mut self.settled);
        if !not_up.is_empty() {
            settled = Memo::default();
        }
        // A new snapshot is the reason of this pass: what was found in place is what FRR runs. It prints for tens of
        // milliseconds, and is read in the pass after this one.
        let is_new = || self.wanted.last().is_some_and(|(input, _)| input.snapshot != *snapshot);
        let current = settled.last().filter(|(_, settled)| settled.is_current && is_new());
        let current = current.map(|(compared, _)| Arc::clone(&compared.running));
        let facts = NodeFacts::unknown(self.mode, release);
        let input = PlanInput { snapshot: Arc::clone(snapshot), facts, accepted };
        let Self { kernel, routing, wanted, known_ports, .. } = self;
        let mut policies = EarlyPolicies::default();
        let (accepted, wanted, observed, running) = if let Some(running) = current {
            let (accepted, wanted) = plan(kernel, wanted, input, &mut watch).await?;
            if early == Early::Policies {
                for batch in early_policies(&running.config, &wanted.frr) {
                    policies.begin(routing, batch);
                }
            }
            let observed = policies.during(observe(kernel, wanted)).await?;
            (accepted, wanted, observed, running)
        } else {
            // FRR takes long to print what it runs: it is queried first, and read when all else is known.
            let of_kernel = async {
                let (accepted, wanted) = plan(kernel, wanted, input, &mut watch).await?;
                let observed = observe(kernel, wanted).await?;
                Ok::<_, PassError>((accepted, wanted, observed))
            };
            let (running, of_kernel) = tokio::join!(routing.running(), of_kernel);
            let (accepted, wanted, observed) = of_kernel?;
            (accepted, wanted, observed, running?)
        };
        watch.mark(PassPhase::Observe);
        let mut silent = Silent::new(routing.silent(), release, wanted);
        let running = silent.assume_wanted(running, wanted);
        wanted.frr.share(&running.config);
        let compared = Compared { wanted: wanted.version, kernel: observed, running: Arc::clone(&running) };
        let to_have = known_ports.wanted(&wanted.plan.kernel, &compared.kernel);
        let schedule = if let Some(settled) = settled.get(&compared) {
            Schedule { unknown: settled.unknown.clone(), ..Schedule::default() }
        } else {
            let observed = State { kernel: &compared.kernel, frr: &running.config };
            schedule_in_turn(wanted, &to_have, observed, not_up, release)?
        };
        let observed = Arc::clone(&compared.kernel);
        silent.block(&schedule, wanted, &observed);
        if schedule.is_empty() && silent.is_empty() {
            self.settled.set(compared, Settled { is_current: true, unknown: schedule.unknown.clone() });
        }
        watch.mark(PassPhase::Diff);
        let (plan, accepted, timing) = (Arc::clone(&wanted.plan), accepted.clone(), watch.timing());
        Ok(Comparison { plan, accepted, running, observed, schedule, silent, policies, timing })
    }
}

/// The schedule, to what the `kernel` shall have; aggregates that are replaced are removed before their successors are added, where the release needs it.
fn schedule_in_turn(
    wanted: &Wanted,
    kernel: &KernelState,
    observed: State<'_>,
    not_up: &BTreeSet<VrfName>,
    release: Release,
) -> Result<Schedule, PassError> {
    let frr = &wanted.frr;
    let Some(first) = without_replaced_aggregates(&wanted.plan.frr, frr, observed.frr, &release)? else {
        return Ok(schedule(State { kernel, frr }, observed, not_up, release));
    };
    let mut steps = schedule(State { kernel, frr: &first }, observed, not_up, release);
    steps.then(&first, frr);
    Ok(steps)
}

/// Reads what a plan must know of the NICs, adds it to `input`, and plans where the last plan is not of the same. Returns with
/// what is accepted now.
async fn plan<'a>(
    kernel: &impl Kernel,
    last: &'a mut Memo<PlanInput, Wanted>,
    mut input: PlanInput,
    watch: &mut Stopwatch,
) -> Result<(&'a LastAccepted, &'a mut Wanted), PassError> {
    let nics: BTreeSet<IfName> = input.snapshot.nics().filter_map(|nic| nic.parse().ok()).collect();
    input.facts.nics = Some(kernel.observe_nics(&nics).await?);
    input.facts.host_networks = kernel.host_networks().await?;
    input.facts.source_filters = kernel.has_source_filters().await?;
    watch.mark(PassPhase::Observe);
    let (input, wanted) = match last.take() {
        Some((last, wanted)) if last == input => (input, wanted),
        former => Wanted::new(input, former)?,
    };
    watch.mark(PassPhase::Plan);
    let (input, wanted) = last.set(input, wanted);
    Ok((&input.accepted, wanted))
}

async fn observe(kernel: &impl Kernel, wanted: &Wanted) -> Result<Arc<KernelState>, KernelError> {
    let nics = wanted.plan.kernel.nics.keys().cloned().collect();
    kernel.observe(&nics).await
}
