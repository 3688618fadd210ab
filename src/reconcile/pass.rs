//! One reconcile pass from beginning to end, and the preview of one. In: a snapshot. Out: [`Report`] or [`Preview`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::cache::{PlanInput, Wanted};
use super::compare::{Comparison, Early};
use super::down_vnis::is_up;
use super::execute::{Executed, Executor, Failure};
use super::known_ports;
use super::reconciler::{PassError, Reconciler};
use super::schedule::{Schedule, State, schedule};
use super::silent::Silent;
use super::verify::Verified;
use crate::frr::client::port::Routing;
use crate::frr::config::tree::{Config, Tree};
use crate::frr::release::Release;
use crate::frr::show::running_config::RunningConfig;
use crate::frr::stanza::text::RenderError;
use crate::kernel::Kernel;
use crate::kernel::model::{HostPorts, KernelState, ObservedNics};
use crate::plan::last_accepted::LastAccepted;
use crate::plan::{NodeFacts, Plan};
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::snapshot::Snapshot;
use crate::timing::Timing;
use crate::types::{VrfMode, VrfName};
/// How often an IP-VRF that FRR did not bring up is rebuilt within one pass.
const REBUILDS: usize = 3;
/// How often a pass begins again because a daemon was restarted.
const RESTARTS: usize = 5;

/// What a pass did and found.
#[derive(Debug)]
pub struct Report {
    /// The plan that was applied.
    pub plan: Arc<Plan>,
    /// What failed, by scope.
    pub failures: BTreeMap<Scope, Vec<Failure>>,
    /// Kernel operations done.
    pub kernel_ops: usize,
    /// FRR lines accepted.
    pub frr_lines: usize,
    /// The scopes that were changed.
    pub changed: BTreeSet<Scope>,
    /// IP-VRFs that were rebuilt because FRR did not bring them up.
    pub rebuilt: BTreeSet<VrfName>,
    /// What is left as it is.
    pub left_alone: LeftAlone,
    /// Time that it took.
    pub duration: Duration,
    /// Where that went.
    pub timing: Timing,
}

/// What is of others, and left as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct LeftAlone {
    /// Lines in FRR that are not ours.
    pub foreign_lines: Vec<String>,
    /// The ports of others of the managed bridges that are not wanted and stay for that reason.
    pub kept_ports: HostPorts,
}

impl LeftAlone {
    fn of(Comparison { plan, running, observed, schedule, .. }: &Comparison) -> Self {
        let kept_ports = known_ports::kept(observed, &plan.kernel);
        Self { foreign_lines: foreign_lines(running, schedule), kept_ports }
    }
}

/// What a pass would do.
#[derive(Debug)]
pub struct Preview {
    /// The plan.
    pub plan: Arc<Plan>,
    /// The schedule.
    pub schedule: Schedule,
}

impl Preview {
    /// What the first pass on a node without a router would do, with a release of FRR and the NICs of the host.
    ///
    /// # Errors
    /// Where the configuration cannot be rendered.
    pub fn without_router(
        snapshot: &Arc<Snapshot>,
        mode: VrfMode,
        release: Release,
        nics: Option<ObservedNics>,
    ) -> Result<Self, RenderError> {
        let facts = NodeFacts { nics, ..NodeFacts::unknown(mode, release) };
        let input = PlanInput { snapshot: Arc::clone(snapshot), facts, accepted: LastAccepted::default() };
        let (_, wanted) = Wanted::new(input, None)?;
        let nothing = State { kernel: &KernelState::default(), frr: &Config::default() };
        let after = State { kernel: &wanted.plan.kernel, frr: &wanted.frr };
        let schedule = schedule(after, nothing, &BTreeSet::new(), release);
        Ok(Self { plan: wanted.plan, schedule })
    }
}

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// Makes the node what the snapshot defines.
    ///
    /// # Errors
    /// Only where kernel or FRR cannot be read; what fails later is in the report.
    pub async fn pass(&mut self, snapshot: &Arc<Snapshot>) -> Result<Report, PassError> {
        let start = Instant::now();
        let mut total = Executed::default();
        let (mut rebuilt, mut changed) = (BTreeSet::new(), BTreeSet::new());
        let mut not_up = self.due_rebuilds().await;
        rebuilt.extend(not_up.iter().cloned());
        let mut accepted = self.accepted.clone();
        let (mut rebuilds, mut restarts) = (0, 0);
        let (plan, left_alone) = loop {
            let comparison = self.compare(snapshot, accepted, &not_up, Early::Policies).await?;
            let left_alone = LeftAlone::of(&comparison);
            let Comparison { plan, observed, schedule, silent, policies, timing, .. } = comparison;
            accepted = comparison.accepted;
            total.timing.extend(&timing);
            if schedule.is_empty() {
                self.start_sessions(&silent).await;
                self.idle(&plan).await;
                silent.report(&mut total);
                total.fail_not_up(self.down_vnis.rebuilt_in_vain());
                break (plan, left_alone);
            }
            changed.extend(schedule.scopes().into_iter().cloned());
            self.note_neighbors(&schedule, &observed, &plan.kernel).await;
            let executor = Executor::new(&self.kernel, &mut self.routing, &schedule, silent.blocking());
            total.add(executor.run(policies).await);
            self.start_sessions(&silent).await;
            let verified = if silent.is_empty() {
                self.verify(&plan, &schedule, &mut total).await
            } else {
                silent.report(&mut total);
                Verified::NotUp(BTreeMap::new())
            };
            not_up = match verified {
                Verified::NotUp(vrfs) => total.fail_unbound(vrfs),
                Verified::Restarted if restarts < RESTARTS => {
                    restarts += 1;
                    not_up = BTreeSet::new();
                    continue;
                }
                Verified::Restarted => schedule.vrfs(),
            };
            if not_up.is_empty() {
                break (plan, left_alone);
            }
            if rebuilds == REBUILDS {
                self.down_vnis.rebuilt(Instant::now(), &not_up, true);
                total.fail_not_up(not_up);
                break (plan, left_alone);
            }
            tracing::warn!(vrfs = ?not_up, "FRR did not bring the L3VNI up: rebuilding");
            rebuilt.extend(not_up.iter().cloned());
            rebuilds += 1;
        };
        self.keep_neighbors(&plan.kernel, &changed).await;
        self.accepted = accepted;
        let Executed { failures, kernel_ops, frr_lines, timing, .. } = total;
        let duration = start.elapsed();
        Ok(Report { plan, failures, kernel_ops, frr_lines, changed, rebuilt, left_alone, duration, timing })
    }

    async fn idle(&mut self, plan: &Plan) {
        if let Err(error) = self.routing.idle(plan.frr.vrfs.len()).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "not ready for the next change");
        }
    }

    /// Without sessions nothing else of bgpd works, so that a line that was rejected does not delay them.
    async fn start_sessions(&mut self, silent: &Silent) {
        if silent.is_empty()
            && let Err(error) = self.routing.start_sessions().await
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "sessions are not started yet");
        }
    }

    /// The IP-VRFs that no pass has touched and whose L3VNI is down, for long enough and still.
    async fn due_rebuilds(&mut self) -> BTreeSet<VrfName> {
        let mut due = self.down_vnis.due(Instant::now());
        let plan = self.wanted.last().map(|(_, wanted)| Arc::clone(&wanted.plan));
        let Some(plan) = plan.filter(|_| !due.is_empty()) else { return BTreeSet::new() };
        let expected = plan.l3vnis();
        let vnis = due.iter().filter_map(|vrf| expected.get(vrf).copied()).collect();
        let Ok(found) = self.routing.vnis_of(&vnis).await else { return BTreeSet::new() };
        for vrf in due.clone() {
            let state = expected.get(&vrf).and_then(|vni| found.get(vni));
            if state.is_some_and(|state| is_up(state, &vrf)) && !self.is_fdb_incomplete(&plan, &vrf).await {
                due.remove(&vrf);
            }
        }
        if !due.is_empty() {
            tracing::warn!(vrfs = ?due, "the L3VNI is down or its FDB incomplete: rebuilding");
            self.down_vnis.rebuilt(Instant::now(), &due, false);
        }
        due
    }

    /// What a pass would do, without doing it.
    ///
    /// # Errors
    /// Where kernel or FRR cannot be read.
    pub async fn preview(&mut self, snapshot: &Arc<Snapshot>) -> Result<Preview, PassError> {
        let accepted = self.accepted.clone();
        let Comparison { plan, schedule, .. } =
            self.compare(snapshot, accepted, &BTreeSet::new(), Early::Nothing).await?;
        Ok(Preview { plan, schedule })
    }
}

/// Lines in FRR that are not ours: the stanzas of others, and lines of others in our stanzas.
fn foreign_lines(running: &RunningConfig, schedule: &Schedule) -> Vec<String> {
    let of_others = running
        .foreign
        .iter()
        .flat_map(|(daemon, tree): (&Daemon, &Tree)| tree.0.keys().map(move |line| format!("{daemon}: {line}")));
    let in_ours = schedule.unknown.iter().map(|(scope, daemon, line)| format!("{daemon}: {scope}: {line}"));
    of_others.chain(in_ours).collect()
}
