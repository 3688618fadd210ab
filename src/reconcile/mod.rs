//! One reconcile pass: observe, plan, schedule, execute, verify. In: a snapshot and the two ports. Out: [`Report`]. Generic
//! over the ports, so that its tests need no root. Keeps what was accepted before, and since when sessions stay in
//! `OpenSent`. The only place that decides what is torn down and rebuilt.

mod cache;
mod compare;
mod early_policies;
pub mod execute;
pub mod remedy;
pub mod schedule;
mod stale_open_sent;
mod verify;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use crate::frr::client::port::{Routing, RoutingError};
use crate::frr::config::tree::{Config, Tree};
use crate::frr::release::{FrrVersion, Release};
use crate::frr::show::live::Live;
use crate::frr::show::running_config::RunningConfig;
use crate::frr::show::session::{SessionCounters, SessionKey, SessionState};
use crate::frr::stanza::text::RenderError;
use crate::kernel::model::{KernelState, Netns};
use crate::kernel::tcp::TcpCounts;
use crate::kernel::{Kernel, KernelError};
use crate::plan::last_accepted::LastAccepted;
use crate::plan::{NodeFacts, Plan};
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::snapshot::Snapshot;
use crate::timing::Timing;
use crate::types::{VrfMode, VrfName};
use cache::{Settled, Wanted};
use compare::{Comparison, Early};
use execute::{Executed, Executor, Failure};
use schedule::{Schedule, State, schedule};
use stale_open_sent::StaleOpenSent;

/// How often an IP-VRF that FRR did not bring up is rebuilt within one pass.
const REBUILDS: usize = 3;

/// A pass that could not start: nothing was changed, but policies that nothing refers to yet may be there.
#[derive(Debug, Error)]
pub enum PassError {
    /// The kernel could not be read.
    #[error("observe the kernel")]
    Kernel(#[from] KernelError),
    /// FRR could not be read.
    #[error("observe FRR")]
    Routing(#[from] RoutingError),
    /// The configuration could not be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
}

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
    /// IP-VRFs that were rebuilt because FRR did not bring them up.
    pub rebuilt: BTreeSet<VrfName>,
    /// Lines in FRR that are not ours.
    pub foreign_lines: Vec<String>,
    /// Time that it took.
    pub duration: Duration,
    /// Where that went.
    pub timing: Timing,
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
    /// What the first pass on a node without a router would do, with a release of FRR.
    ///
    /// # Errors
    /// Where the configuration cannot be rendered.
    pub fn without_router(snapshot: &Arc<Snapshot>, mode: VrfMode, release: Release) -> Result<Self, RenderError> {
        let facts = NodeFacts { mode, release, nic_mtu: BTreeMap::new() };
        let wanted = Wanted::new(snapshot, facts, release, LastAccepted::default(), None)?;
        let nothing = State { kernel: &KernelState::default(), frr: &Config::default() };
        let after = State { kernel: &wanted.plan.kernel, frr: &wanted.frr };
        let schedule = schedule(after, nothing, &BTreeSet::new(), release);
        Ok(Self { plan: wanted.plan, schedule })
    }
}

/// The reconciler of one node.
#[derive(Debug)]
pub struct Reconciler<K, R> {
    kernel: K,
    routing: R,
    mode: VrfMode,
    accepted: LastAccepted,
    stale_open_sent: StaleOpenSent,
    wanted: Option<Wanted>,
    settled: Option<Settled>,
}

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// Over the two ports.
    pub fn new(kernel: K, routing: R, mode: VrfMode, accepted: LastAccepted) -> Self {
        let stale_open_sent = StaleOpenSent::default();
        Self { kernel, routing, mode, accepted, stale_open_sent, wanted: None, settled: None }
    }

    /// What was accepted so far, to be handed to [`Reconciler::new`] after a restart.
    pub fn accepted(&self) -> &LastAccepted {
        &self.accepted
    }

    /// Makes the node what the snapshot asks for.
    ///
    /// # Errors
    /// Only where kernel or FRR cannot be read; what fails later is in the report.
    pub async fn pass(&mut self, snapshot: &Arc<Snapshot>) -> Result<Report, PassError> {
        let start = Instant::now();
        let mut total = Executed::default();
        let mut rebuilt = BTreeSet::new();
        let mut not_up = BTreeSet::new();
        let mut accepted = self.accepted.clone();
        let mut round = 0;
        let (plan, foreign_lines) = loop {
            let comparison = self.compare(snapshot, accepted, &not_up, Early::Policies).await?;
            let Comparison { plan, running, schedule, policies, timing, .. } = comparison;
            accepted = comparison.accepted;
            total.timing.extend(&timing);
            let foreign_lines = foreign_lines(&running, &schedule);
            if schedule.is_empty() {
                if let Err(error) = self.routing.idle(plan.frr.vrfs.len()).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "not ready for the next change");
                }
                break (plan, foreign_lines);
            }
            total.add(Executor::new(&self.kernel, &mut self.routing, &schedule).run(policies).await);
            not_up = self.verify(&plan, &schedule, &mut total).await?;
            if not_up.is_empty() {
                break (plan, foreign_lines);
            }
            if round == REBUILDS {
                total.fail_not_up(not_up);
                break (plan, foreign_lines);
            }
            tracing::warn!(vrfs = ?not_up, "FRR did not bring the L3VNI up: rebuilding");
            rebuilt.extend(not_up.iter().cloned());
            round += 1;
        };
        self.accepted = accepted;
        let Executed { failures, kernel_ops, frr_lines, timing, .. } = total;
        let duration = start.elapsed();
        Ok(Report { plan, failures, kernel_ops, frr_lines, rebuilt, foreign_lines, duration, timing })
    }

    /// FRR may run something else than it did: the next pass reads it.
    pub fn invalidate_running(&mut self) {
        if let Some(settled) = &mut self.settled {
            settled.is_current = false;
        }
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

    /// Closes the connections of sessions that stay in `OpenSent`.
    ///
    /// # Errors
    /// Where FRR does not answer.
    pub async fn clear_stale_open_sent(&mut self, sessions: &[SessionState]) -> Result<(), PassError> {
        for batch in self.stale_open_sent.observe(Instant::now(), sessions) {
            for refusal in self.routing.apply(&batch).await? {
                tracing::warn!(%refusal, "a session that stays in OpenSent is not cleared");
            }
            for command in &batch.commands {
                tracing::info!(scope = %command.scope, line = %command.line, "a session stays in OpenSent");
            }
        }
        Ok(())
    }

    /// The sessions that are not established, at little cost.
    ///
    /// # Errors
    /// Where FRR does not answer.
    pub async fn down_sessions(&mut self) -> Result<Arc<BTreeMap<SessionKey, SessionCounters>>, PassError> {
        Ok(self.routing.down_sessions().await?)
    }

    /// The release of the running FRR.
    ///
    /// # Errors
    /// Where FRR does not answer.
    pub async fn frr_version(&mut self) -> Result<FrrVersion, PassError> {
        Ok(self.routing.version().await?)
    }

    /// L3VNIs and sessions as FRR has them.
    ///
    /// # Errors
    /// Where FRR cannot be read.
    pub async fn live(&mut self) -> Result<Live, PassError> {
        Ok(Live {
            frr_version: self.routing.version().await?.to_string(),
            vnis: self.routing.vnis().await?,
            sessions: self.routing.sessions().await?,
        })
    }

    /// The TCP counters of the kernel in a namespace.
    ///
    /// # Errors
    /// Where the kernel cannot be read.
    pub async fn tcp_counts(&mut self, netns: &Netns) -> Result<TcpCounts, KernelError> {
        self.kernel.tcp_counts(netns).await
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

#[cfg(test)]
mod tests;
