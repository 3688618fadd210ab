//! One pass: observe, plan, schedule, execute, verify. In: a snapshot and the two ports. Out: [`Report`]. Generic over the
//! ports, so that its tests need no root. Keeps what was accepted before, and since when sessions are stuck.

mod cache;
pub mod execute;
pub mod remedy;
pub mod schedule;
pub mod stale_open_sent;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

use crate::frr::client::port::{Routing, RoutingError, Running};
use crate::frr::config::diff::policies_of_new;
use crate::frr::config::tree::Tree;
use crate::frr::release::Dialect;
use crate::frr::show::live::Live;
use crate::frr::show::vni::{Lives, SessionKey, SessionState, VniState};
use crate::frr::stanza::render::RenderError;
use crate::kernel::model::Netns;
use crate::kernel::tcp::TcpCounts;
use crate::kernel::{Kernel, KernelError};
use crate::plan::last_accepted::Accepted;
use crate::plan::{NodeFacts, Plan};
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::snapshot::Snapshot;
use crate::timing::{Phase, Stopwatch, Timing};
use crate::types::{IfName, VrfMode, VrfName};
use cache::{Asked, Settled, Wanted};
use execute::{Ahead, Executed, Failure, execute};
use schedule::{Schedule, State, schedule};
use stale_open_sent::Stuck;

/// How often an IP-VRF that FRR did not take up is built anew within one pass.
const REBUILDS: usize = 3;
/// bgpd needs 100 ms of its own to take an L3VNI up.
const VNI_UP_LIMIT: Duration = Duration::from_secs(3);
/// bgpd of FRR 8 comes to a new zebra after 10 s only, and until then zebra has no L3VNI up that bgpd still has.
const VNI_REJOIN_LIMIT: Duration = Duration::from_secs(15);
const VNI_POLL: Duration = Duration::from_millis(20);

/// A pass that could not start: nothing was changed, but policies that nothing names yet may stand.
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
    /// Kernel ops done.
    pub kernel_ops: usize,
    /// FRR lines taken.
    pub frr_lines: usize,
    /// IP-VRFs that were built anew because FRR did not take them up.
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

/// The reconciler of one node.
#[derive(Debug)]
pub struct Reconciler<K, R> {
    kernel: K,
    routing: R,
    mode: VrfMode,
    accepted: Accepted,
    stuck: Stuck,
    wanted: Option<Wanted>,
    settled: Option<Settled>,
}

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// Of the two ports.
    pub fn new(kernel: K, routing: R, mode: VrfMode, accepted: Accepted) -> Self {
        Self { kernel, routing, mode, accepted, stuck: Stuck::default(), wanted: None, settled: None }
    }

    /// What was accepted so far, to be handed to [`Reconciler::new`] after a restart.
    pub fn accepted(&self) -> &Accepted {
        &self.accepted
    }

    /// Brings the node to the snapshot.
    ///
    /// # Errors
    /// Only where kernel or FRR cannot be read; what fails later is in the report.
    pub async fn pass(&mut self, snapshot: &Arc<Snapshot>) -> Result<Report, PassError> {
        let start = Instant::now();
        let mut timing = Timing::default();
        let mut total = Executed::default();
        let mut rebuilt = BTreeSet::new();
        let mut distrusted = BTreeSet::new();
        let mut accepted = self.accepted.clone();
        let mut round = 0;
        let (plan, seen) = loop {
            let mut ahead = Ahead::default();
            let (Preview { plan, schedule }, seen) =
                self.look(snapshot, &mut accepted, &distrusted, Some(&mut ahead), &mut timing).await?;
            let seen = Seen { running: seen, unknown: schedule.frr.unknown.clone() };
            if schedule.is_empty() {
                if let Err(error) = self.routing.rest(plan.vrfs.len()).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "not ready for the next change");
                }
                break (plan, seen);
            }
            let done = execute(&schedule, ahead, &self.kernel, &mut self.routing).await;
            timing.extend(&done.timing);
            total.kernel_ops += done.kernel_ops;
            total.frr_lines += done.frr_lines;
            total.failures = done.failures;
            let mut watch = Stopwatch::start();
            let lost = self.not_up(&plan, &schedule, &total).await?;
            watch.mark(Phase::Verify);
            timing.extend(&watch.timing());
            if lost.is_empty() {
                break (plan, seen);
            }
            if round == REBUILDS {
                for vrf in lost {
                    total.failures.entry(Scope::Vrf(vrf.clone())).or_default().push(Failure::NotUp(vrf));
                }
                break (plan, seen);
            }
            tracing::warn!(vrfs = ?lost, "FRR did not take up the L3VNI: building anew");
            rebuilt.extend(lost.iter().cloned());
            distrusted = lost;
            round += 1;
        };
        self.accepted = accepted;
        Ok(Report {
            plan,
            failures: total.failures,
            kernel_ops: total.kernel_ops,
            frr_lines: total.frr_lines,
            rebuilt,
            foreign_lines: seen.foreign_lines(),
            duration: start.elapsed(),
            timing,
        })
    }

    /// FRR may run something else than it did: the next pass asks it.
    pub fn distrust(&mut self) {
        if let Some(settled) = &mut self.settled {
            settled.is_trusted = false;
        }
    }

    /// What a pass would do, without doing it.
    ///
    /// # Errors
    /// Where kernel or FRR cannot be read.
    pub async fn preview(&mut self, snapshot: &Arc<Snapshot>) -> Result<Preview, PassError> {
        let (preview, _) =
            self.look(snapshot, &mut self.accepted.clone(), &BTreeSet::new(), None, &mut Timing::default()).await?;
        Ok(preview)
    }

    /// Ends the connections of sessions that stay in `OpenSent`.
    ///
    /// # Errors
    /// Where FRR does not answer.
    pub async fn unstick(&mut self, sessions: &[SessionState]) -> Result<(), PassError> {
        for batch in self.stuck.look(Instant::now(), sessions) {
            for refusal in self.routing.apply(&batch).await? {
                tracing::warn!(%refusal, "a session that stays in OpenSent");
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
    pub async fn down(&mut self) -> Result<Arc<BTreeMap<SessionKey, Lives>>, PassError> {
        Ok(self.routing.down().await?)
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

    /// What the kernel counted of TCP in a namespace.
    ///
    /// # Errors
    /// Where the kernel cannot be read.
    pub async fn tcp_counts(&mut self, netns: &Netns) -> Result<TcpCounts, KernelError> {
        self.kernel.tcp_counts(netns).await
    }

    /// Compares. With `ahead`, what can be told already before all is compared is begun there.
    async fn look(
        &mut self,
        snapshot: &Arc<Snapshot>,
        accepted: &mut Accepted,
        distrusted: &BTreeSet<VrfName>,
        ahead: Option<&mut Ahead>,
        timing: &mut Timing,
    ) -> Result<(Preview, Arc<Running>), PassError> {
        let mut watch = Stopwatch::start();
        let named = snapshot.underlays.iter().flat_map(|underlay| &underlay.spec.nics);
        let nics: BTreeSet<IfName> = named.filter_map(|nic| nic.parse().ok()).collect();
        let dialect = Dialect::of(&self.routing.version().await?);
        let settled = self.settled.take().filter(|_| distrusted.is_empty());
        // A snapshot is the reason of this pass: what was found in place is what FRR runs. It prints for tens of
        // milliseconds, and is looked at again in the pass after this one.
        let is_new = self.wanted.as_ref().is_some_and(|known| !known.is_from(snapshot));
        let trusted = settled.as_ref().filter(|settled| is_new && settled.is_trusted);
        let trusted = trusted.map(|settled| Arc::clone(&settled.running));
        let (kernel, mode, kept, routing) = (&self.kernel, self.mode, &mut self.wanted, &mut self.routing);
        let (told, asked) = match trusted {
            Some(running) => (ahead.map(|ahead| (ahead, routing, Arc::clone(&running))), Asked::Known(running)),
            None => (None, Asked::Frr(routing)),
        };
        let ours = async {
            let observed = kernel.observe_nics(&nics).await?;
            watch.mark(Phase::Observe);
            let nic_mtu = observed.into_iter().map(|(nic, facts)| (nic, facts.mtu)).collect();
            let facts = NodeFacts { mode, nic_mtu };
            let known = match kept.take() {
                Some(known) if !is_new && known.is_of(&facts, dialect, accepted) => known,
                last => Wanted::new(snapshot, facts, dialect, accepted, last.as_ref())?,
            };
            let plan = Arc::clone(&known.plan);
            watch.mark(Phase::Plan);
            let nics = plan.kernel.nics.keys().cloned().collect();
            let (known, observation) = (kept.insert(known), kernel.observe(&nics));
            let observed = match told {
                Some((ahead, routing, running)) => {
                    ahead.begin(routing, policies_of_new(&running.config, &known.frr));
                    ahead.during(observation).await?
                }
                None => observation.await?,
            };
            Ok::<_, PassError>((plan, known, observed))
        };
        // FRR takes its time to print what it runs: it is asked first, and read when all else is known.
        let (running, ours) = tokio::join!(asked.running(), ours);
        let ((plan, wanted, kernel), running) = (ours?, running?);
        watch.mark(Phase::Observe);
        wanted.frr.share(&running.config);
        let schedule = if let Some(settled) = settled.filter(|last| last.is_of(&plan, &kernel, &running)) {
            settled.schedule
        } else {
            let wanted = State { kernel: &plan.kernel, frr: &wanted.frr };
            schedule(wanted, State { kernel: &kernel, frr: &running.config }, distrusted, dialect)
        };
        if schedule.is_empty() {
            let (plan, running, schedule) = (Arc::clone(&plan), Arc::clone(&running), schedule.clone());
            self.settled = Some(Settled { plan, kernel, running, is_trusted: true, schedule });
        }
        watch.mark(Phase::Diff);
        timing.extend(&watch.timing());
        Ok((Preview { plan, schedule }, running))
    }

    /// IP-VRFs that were touched without a failure and are not up at the end of the time limit.
    async fn not_up(
        &mut self,
        plan: &Plan,
        schedule: &Schedule,
        done: &Executed,
    ) -> Result<BTreeSet<VrfName>, PassError> {
        let mut waiting: BTreeSet<VrfName> = schedule.touched();
        waiting.retain(|vrf| plan.vrfs.contains_key(vrf) && !done.failures.contains_key(&Scope::Vrf(vrf.clone())));
        let start = Instant::now();
        while !waiting.is_empty() {
            let wanted = waiting.iter().filter_map(|vrf| Some(plan.vrfs.get(vrf)?.vni)).collect();
            let vnis = self.routing.vnis_of(&wanted).await?;
            let state = |vrf: &VrfName| plan.vrfs.get(vrf).and_then(|planned| vnis.get(&planned.vni));
            waiting.retain(|vrf| !state(vrf).is_some_and(|state| state.is_ready() && state.vrf == vrf.as_str()));
            let rejoins = waiting.iter().all(|vrf| state(vrf).is_some_and(VniState::is_only_in_bgp));
            let limit = if rejoins { VNI_REJOIN_LIMIT } else { VNI_UP_LIMIT };
            if waiting.is_empty() || start.elapsed() >= limit {
                break;
            }
            tokio::time::sleep(VNI_POLL).await;
        }
        Ok(waiting)
    }
}

/// Lines in FRR that are not ours.
#[derive(Debug, Default)]
struct Seen {
    /// Among it the stanzas of others.
    running: Arc<Running>,
    /// Lines of others in our stanzas.
    unknown: BTreeSet<(Scope, Daemon, String)>,
}

impl Seen {
    fn foreign_lines(&self) -> Vec<String> {
        let of_others =
            self.running.foreign.iter().flat_map(|(daemon, tree): (&Daemon, &Tree)| {
                tree.0.keys().map(move |line| format!("{daemon}: {line}"))
            });
        let in_ours = self.unknown.iter().map(|(scope, daemon, line)| format!("{daemon}: {scope}: {line}"));
        of_others.chain(in_ours).collect()
    }
}

#[cfg(test)]
mod tests;
