//! The controller: runs a reconcile pass whenever there is a reason for one, and publishes the status after it. In:
//! snapshots, drift and daemon signals, the reconciler. Out: passes, `status.json`, metrics. Decides nothing about what a
//! pass does.
//!
//! FRR does not notify of changes, so it is polled: every two seconds for the sessions that are down, at little cost. All of
//! its state is read when that answer changes, after a pass that did something, on request, and otherwise at intervals that
//! grow while nothing changes.

pub mod accepted_file;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::diagnose::SessionCause;
use crate::diagnose::filtered::FilteredCount;
use crate::diagnose::tcp_diagnosis::TcpDiagnosis;
use crate::frr::client::port::Routing;
use crate::frr::show::live::Live;
use crate::frr::show::session::{SessionCounters, SessionKey, SessionPhase, SessionState};
use crate::frr::show::vni::VniState;
use crate::kernel::Kernel;
use crate::kernel::model::Netns;
use crate::plan::Plan;
use crate::plan::last_accepted::LastAccepted;
use crate::reconcile::execute::Failure;
use crate::reconcile::{PassError, Reconciler, Report, remedy};
use crate::scope::Scope;
use crate::snapshot::{Rejection, Snapshot};
use crate::status::metrics::Metrics;
use crate::status::model::PassSummary;
use crate::status::refresh::Refresh;
use crate::status::{NodeStatus, fold, publish};
use crate::types::VrfMode;

/// A pass without a reason, in case that a signal was lost.
const IDLE: Duration = Duration::from_secs(30);
/// Whether a session is up is at most this old in the status.
const SESSION_POLL: Duration = Duration::from_secs(2);
/// Time between a change and the read of all state: bgpd processes a route in two rounds of 50 ms, and nothing else while
/// it answers.
const AFTER_CHANGE: Duration = Duration::from_millis(200);
/// Time between drift and the read of all state: FRR may have lost more than what the kernel shows.
const AFTER_DRIFT: Duration = Duration::from_secs(1);
/// All state is read after a change, again when as much time has passed as since the change, and so on; at least this often
/// while a session or a VNI is down.
const UNSETTLED: Duration = Duration::from_secs(5);
/// At least this often while all is up.
const STEADY: Duration = Duration::from_secs(30);
/// Time between a change and the pass that verifies that FRR has it.
const VERIFY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// Between passes that fail.
const RETRY: ExponentialBuilder = ExponentialBuilder::new()
    .with_min_delay(Duration::from_millis(200))
    .with_max_delay(LONGEST_RETRY)
    .with_factor(2.0)
    .without_max_times();
/// Signals within this time result in one pass.
const COALESCE: Duration = Duration::from_millis(20);

/// Where the controller's results go.
#[derive(Debug, Clone)]
pub struct Outputs {
    /// The status file.
    pub status: PathBuf,
    /// The file of the last accepted versions of objects.
    pub accepted: PathBuf,
    /// VRF mode, for the status.
    pub mode: VrfMode,
    /// The status for other publishers.
    pub statuses: watch::Sender<Option<NodeStatus>>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Requests for a fresh status.
    pub refresh: Arc<Refresh>,
}

/// The controller of one node.
#[derive(Debug)]
pub struct Controller<K, R> {
    reconciler: Reconciler<K, R>,
    outputs: Outputs,
    last: Option<Report>,
    /// As in its file.
    accepted: LastAccepted,
    last_change: PassSummary,
    /// The pauses of the failures to come.
    retries: ExponentialBackoff,
    /// The next pass verifies that FRR has what the last one sent. Once: a line that FRR never prints is no reason to send
    /// it time and again.
    verifies: bool,
    tcp_diagnosis: TcpDiagnosis,
    /// Since when there are objects that are not all in place.
    pending: Option<Instant>,
    /// The sessions that were down at the last poll; `None` where FRR did not answer.
    down: Option<Arc<BTreeMap<SessionKey, SessionCounters>>>,
    /// The last change that was seen.
    changed: Instant,
    /// When all state is read again.
    next_refresh: Instant,
}

impl<K: Kernel, R: Routing> Controller<K, R> {
    /// Of a reconciler.
    pub fn new(reconciler: Reconciler<K, R>, outputs: Outputs) -> Self {
        let accepted = reconciler.accepted().clone();
        Self {
            reconciler,
            outputs,
            last: None,
            accepted,
            last_change: PassSummary::default(),
            retries: RETRY.build(),
            verifies: false,
            tcp_diagnosis: TcpDiagnosis::default(),
            pending: None,
            down: None,
            changed: Instant::now(),
            next_refresh: Instant::now(),
        }
    }

    /// Runs until `stop`, which changes nothing on the node.
    pub async fn run(mut self, mut snapshots: watch::Receiver<Snapshot>, drift: Arc<Notify>, stop: CancellationToken) {
        let mut snapshot = Arc::new(snapshots.borrow_and_update().clone());
        let mut next_pass = Instant::now();
        self.pending = Some(next_pass);
        let mut next_poll = next_pass + SESSION_POLL;
        let refresh = Arc::clone(&self.outputs.refresh);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    snapshot = Arc::new(snapshots.borrow_and_update().clone());
                    self.verifies = false;
                    next_pass = Instant::now();
                    self.pending.get_or_insert(next_pass);
                }
                () = drift.notified() => {
                    self.reconciler.invalidate_running();
                    self.changed = Instant::now();
                    self.next_refresh = self.next_refresh.min(self.changed + AFTER_DRIFT);
                    next_pass = next_pass.min(self.changed + COALESCE);
                }
                () = sleep_until(next_pass) => {
                    let pause = self.pass(&snapshot).await;
                    next_pass = Instant::now() + pause;
                }
                () = sleep_until(next_poll) => {
                    self.poll_sessions().await;
                    next_poll = Instant::now() + SESSION_POLL;
                }
                () = sleep_until(self.next_refresh) => {
                    self.publish(&snapshot).await;
                    next_pass = self.reconciler.next_rebuild().map_or(next_pass, |rebuild| next_pass.min(rebuild));
                }
                () = refresh.requested() => self.publish(&snapshot).await,
            }
        }
    }

    /// Reads which sessions are down.
    async fn poll_sessions(&mut self) {
        let down = self.reconciler.down_sessions().await.ok();
        if down != self.down {
            self.down = down;
            self.changed = Instant::now();
            self.next_refresh = self.changed;
        }
    }

    /// One pass. Returns when the next one is due without any other reason.
    async fn pass(&mut self, snapshot: &Arc<Snapshot>) -> Duration {
        let (failed, has_news) = match self.reconciler.pass(snapshot).await {
            Ok(report) => (!report.failures.is_empty(), self.note(report)),
            Err(error) => {
                log_pass_error(&error);
                self.outputs.metrics.blind_pass();
                (true, true)
            }
        };
        self.save_accepted();
        if has_news {
            self.changed = Instant::now();
            let is_first = self.outputs.statuses.borrow().is_none();
            let delay = if is_first { Duration::ZERO } else { AFTER_CHANGE };
            self.next_refresh = self.next_refresh.min(self.changed + delay);
        }
        if failed {
            return self.retries.next().unwrap_or(LONGEST_RETRY);
        }
        self.retries = RETRY.build();
        if self.verifies { VERIFY } else { IDLE }
    }

    fn save_accepted(&mut self) {
        if self.accepted == *self.reconciler.accepted() {
            return;
        }
        match accepted_file::write(&self.outputs.accepted, self.reconciler.accepted()) {
            Ok(()) => self.accepted.clone_from(self.reconciler.accepted()),
            Err(error) => tracing::error!(error = &error as &dyn std::error::Error, "accepted objects not written"),
        }
    }

    /// Takes note of a pass. Returns whether it did or found something else than the last one.
    fn note(&mut self, report: Report) -> bool {
        for (scope, failures) in &report.failures {
            for failure in failures {
                tracing::error!(%scope, error = remedy::text(failure), "not in place, will be tried again");
            }
        }
        let last_plan = self.last.as_ref().map(|last| Arc::clone(&last.plan));
        let known: BTreeSet<&Rejection> = last_plan.iter().flat_map(|plan| &plan.rejected).collect();
        for rejection in report.plan.rejected.iter().filter(|rejection| !known.contains(rejection)) {
            tracing::warn!(object = %rejection.object, reason = %rejection.reason, "rejected: {rejection}");
        }
        let summary = PassSummary {
            kernel_ops: report.kernel_ops,
            frr_lines: report.frr_lines,
            rebuilt: report.rebuilt.iter().cloned().collect(),
            duration_ms: u64::try_from(report.duration.as_millis()).unwrap_or(u64::MAX),
        };
        let failed = !report.failures.is_empty();
        let waited = if failed { None } else { self.pending.take().map(|since| since.elapsed()) };
        self.outputs.metrics.pass(&summary, failed, &report.timing, report.duration, waited);
        let quiet = summary.is_quiet();
        self.verifies = !quiet && !self.verifies;
        if !quiet {
            let PassSummary { kernel_ops, frr_lines, duration_ms, .. } = summary;
            let (timing, vrfs) = (report.timing, report.plan.frr.vrfs.len());
            tracing::info!(kernel_ops, frr_lines, duration_ms, vrfs, %timing, "reconcile pass");
            self.last_change = summary;
        }
        let same = self.last.as_ref().is_some_and(|last| {
            last.plan == report.plan && last.failures.is_empty() && last.foreign_lines == report.foreign_lines
        });
        self.last = Some(report);
        failed || !quiet || !same
    }

    /// What only the TCP counters of the kernel show of sessions.
    async fn tcp_causes(
        &mut self,
        sessions: &[SessionState],
        md5_sessions: &BTreeSet<SessionKey>,
    ) -> Vec<SessionCause> {
        let mut counts = BTreeMap::new();
        for vrf in self.tcp_diagnosis.vrfs_to_read(sessions, md5_sessions) {
            let netns = match (&vrf, self.outputs.mode) {
                (Some(vrf), VrfMode::Netns) => Netns::Vrf(vrf.clone()),
                _ => Netns::Router,
            };
            match self.reconciler.tcp_counts(&netns).await {
                Ok(found) => drop(counts.insert(vrf, found)),
                // Removed since FRR was read.
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "no TCP counters"),
            }
        }
        self.tcp_diagnosis.causes(sessions, md5_sessions, &counts, self.outputs.mode, std::time::Instant::now())
    }

    /// Logs once that perouter was not measured with this FRR.
    fn warn_of_release(&self, live: &Live) {
        let is_known = self.outputs.statuses.borrow().as_ref().is_some_and(|last| last.frr_warning == live.frr_warning);
        if let (Some(warning), false) = (&live.frr_warning, is_known) {
            tracing::warn!("{warning}");
        }
    }

    /// How many routes the host sessions of the plan filter.
    async fn filtered(&mut self, plan: &Plan, sessions: &[SessionState]) -> Vec<FilteredCount> {
        let mut counts = Vec::new();
        for session in sessions {
            let Some(vrf) = &session.vrf else { continue };
            let mut hosts = plan.frr.vrfs.get(vrf).into_iter().flat_map(|ip_vrf| ip_vrf.sessions.values());
            let Some(host) = hosts.find(|host| host.address.to_string() == session.peer) else { continue };
            match self.reconciler.filtered(session).await {
                Ok(routes) if routes.is_empty() => {}
                Ok(routes) => counts.push(FilteredCount::new(vrf, &session.peer, &routes, &host.next_hops)),
                // Removed since the sessions were read.
                Err(error) => tracing::debug!(error = &error as &dyn std::error::Error, "filtered routes not read"),
            }
        }
        counts
    }

    /// Reads all state and publishes the status.
    async fn publish(&mut self, snapshot: &Snapshot) {
        let Some(report) = &self.last else {
            self.next_refresh = Instant::now() + UNSETTLED;
            return;
        };
        let live = match self.reconciler.live().await {
            Ok(live) => {
                if let Err(error) = self.reconciler.clear_stale_open_sent(&live.sessions).await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "FRR does not answer");
                }
                Some(live)
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "FRR does not answer");
                None
            }
        };
        let (answers, live) = (live.is_some(), live.unwrap_or_default());
        self.warn_of_release(&live);
        let failures = texts(&report.failures);
        let status = fold(snapshot, &report.plan, self.outputs.mode, &failures, live, self.last_change.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let foreign_lines = report.foreign_lines.clone();
        let md5_sessions = md5_sessions(&report.plan);
        let plan = Arc::clone(&report.plan);
        let session_causes = self.tcp_causes(&status.sessions, &md5_sessions).await;
        let filtered = self.filtered(&plan, &status.sessions).await;
        let status = NodeStatus { observed_time: now, foreign_lines, session_causes, filtered, ..status };
        let is_down = |session: &SessionState| session.phase != SessionPhase::Established;
        let settled = !status.sessions.iter().any(is_down) && status.vnis.values().all(VniState::is_ready);
        let longest = if settled && answers { STEADY } else { UNSETTLED };
        self.next_refresh = Instant::now() + self.changed.elapsed().clamp(SESSION_POLL, longest);
        self.outputs.metrics.status(&status, answers);
        if let Err(error) = publish::write(&self.outputs.status, &status) {
            tracing::error!(error = &error as &dyn std::error::Error, "status not written");
        }
        self.outputs.statuses.send_replace(Some(status));
        self.outputs.refresh.done();
    }
}

/// The sessions with a password.
fn md5_sessions(plan: &Plan) -> BTreeSet<SessionKey> {
    let underlay = plan.frr.underlay.iter().flat_map(|underlay| &underlay.neighbors);
    let fabric = underlay.filter(|(_, neighbor)| neighbor.password.is_some()).map(|(peer, _)| (None, peer.to_string()));
    let hosts = plan.frr.vrfs.iter().flat_map(|(vrf, ip_vrf)| {
        let with_password = ip_vrf.sessions.values().filter(|session| session.neighbor.password.is_some());
        with_password.map(|session| (Some(vrf.clone()), session.address.to_string()))
    });
    fabric.chain(hosts).collect()
}

fn log_pass_error(error: &PassError) {
    tracing::error!(error = error as &dyn std::error::Error, "reconcile pass not started, will be tried again");
}

/// Each failure as users see it.
fn texts(failures: &BTreeMap<Scope, Vec<Failure>>) -> BTreeMap<Scope, Vec<String>> {
    let text = |failure: &Failure| remedy::text(failure);
    failures.iter().map(|(scope, list)| (scope.clone(), list.iter().map(text).collect())).collect()
}

#[cfg(test)]
mod tests;
