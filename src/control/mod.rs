//! The controller: runs a reconcile pass whenever there is a reason for one, and publishes the status after it. In:
//! snapshots, drift and daemon signals, the reconciler. Out: passes, `status.json`, metrics. Decides nothing about what a
//! pass does.
//!
//! FRR does not notify of changes, so it is polled: every two seconds for the sessions that are down, at little cost. All of
//! its state is read when that answer changes, after a pass that did something, on request, and otherwise at intervals that
//! grow while nothing changes.

pub mod accepted_file;
mod graceful_file;
mod observed;
mod segment_reads;
mod session_reads;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use self::segment_reads::SegmentReads;
use self::session_reads::SessionReads;
use crate::diagnose::{Finding, finding};
use crate::frr::client::port::Routing;
use crate::frr::show::live::Live;
use crate::frr::show::session::{SessionCounters, SessionKey, SessionPhase, SessionState};
use crate::frr::show::vni::VniState;
use crate::kernel::Kernel;
use crate::plan::last_accepted::LastAccepted;
use crate::reconcile::execute::Failure;
use crate::reconcile::{PassError, Reconciler, Report, remedy};
use crate::scope::Scope;
use crate::snapshot::{Rejection, Snapshot};
use crate::status::metrics::{Metrics, Observed};
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
    /// The file that exists while graceful restart is configured.
    pub graceful_restart: PathBuf,
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
    /// What the checks of routes have found, which others run.
    checks: watch::Receiver<Vec<Finding>>,
    last: Option<Report>,
    /// Why the last pass was not started.
    pass_error: Option<String>,
    /// As in its file.
    accepted: LastAccepted,
    last_change: PassSummary,
    /// What the last controller found, until this one has a status: what is still wrong is so since then.
    former: Vec<Finding>,
    /// The pauses of the failures to come.
    retries: ExponentialBackoff,
    /// When a pass verifies that FRR and zebra have what was sent to them. What that pass sends is not verified: a line that FRR never
    /// prints is no reason to send it time and again.
    verify_at: Option<Instant>,
    segment_reads: SegmentReads,
    session_reads: SessionReads,
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
    /// Of a reconciler, with the findings of checks that it does not run itself.
    pub fn new(reconciler: Reconciler<K, R>, outputs: Outputs, checks: watch::Receiver<Vec<Finding>>) -> Self {
        let accepted = reconciler.accepted().clone();
        // A status of another version is none.
        let former = publish::read(&outputs.status).ok().flatten().map(|status| status.findings).unwrap_or_default();
        Self {
            reconciler,
            outputs,
            checks,
            last: None,
            pass_error: None,
            accepted,
            last_change: PassSummary::default(),
            former,
            retries: RETRY.build(),
            verify_at: None,
            segment_reads: SegmentReads::default(),
            session_reads: SessionReads::default(),
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
        let mut checks = self.checks.clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = snapshots.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    snapshot = Arc::new(snapshots.borrow_and_update().clone());
                    next_pass = Instant::now();
                    self.verify_at = self.verify_at.map(|_| next_pass + VERIFY);
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
                Ok(()) = checks.changed() => self.next_refresh = Instant::now(),
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
        let start = Instant::now();
        let (failed, has_news) = match self.reconciler.pass(snapshot).await {
            Ok(report) => {
                self.pass_error = None;
                (!report.failures.is_empty(), self.note(report, start))
            }
            Err(error) => {
                self.log_pass_error(&error);
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
        self.verify_at.map_or(IDLE, |at| at.saturating_duration_since(Instant::now()))
    }

    /// Once as long as it stays the same.
    fn log_pass_error(&mut self, error: &PassError) {
        let text = remedy::text(error);
        if self.pass_error.as_ref() == Some(&text) {
            tracing::debug!(error = text, "reconcile pass still not started");
        } else {
            tracing::error!(error = text, "reconcile pass not started, will be tried again");
            self.pass_error = Some(text);
        }
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

    /// Takes note of a pass that began at `start`. Returns whether it did or found something else than the last one.
    fn note(&mut self, report: Report, start: Instant) -> bool {
        log_failures(&report.failures, self.last.as_ref().map(|last| &last.failures));
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
        if !report.failures.contains_key(&Scope::Underlay)
            && let Err(error) = graceful_file::record(&self.outputs.graceful_restart, &report.plan)
        {
            tracing::error!(%error, "a restart of bgpd may not be graceful");
        }
        let failed = !report.failures.is_empty();
        let waited = if failed { None } else { self.pending.take().map(|since| since.elapsed()) };
        self.outputs.metrics.pass(&summary, failed, &report.timing, report.duration, waited);
        let quiet = summary.is_quiet();
        let verified = self.verify_at.take_if(|at| *at <= start).is_some();
        if !quiet {
            self.verify_at = (!verified).then(|| Instant::now() + VERIFY);
            let PassSummary { kernel_ops, frr_lines, duration_ms, .. } = summary;
            let (timing, vrfs) = (report.timing, report.plan.frr.vrfs.len());
            let changed = few(&report.changed);
            tracing::info!(kernel_ops, frr_lines, duration_ms, vrfs, changed, %timing, "reconcile pass");
            self.last_change = summary;
        }
        if let Some(last) = last_plan.filter(|last| *last != report.plan) {
            self.session_reads.planned(&last, &report.plan);
        }
        let same = self.last.as_ref().is_some_and(|last| {
            let same_findings = last.left_alone == report.left_alone;
            last.plan == report.plan && last.failures.is_empty() && same_findings
        });
        self.last = Some(report);
        failed || !quiet || !same
    }

    /// Logs once that perouter was not measured with this FRR.
    fn warn_of_release(&self, live: &Live) {
        let is_known = self.outputs.statuses.borrow().as_ref().is_some_and(|last| last.frr_warning == live.frr_warning);
        if let (Some(warning), false) = (&live.frr_warning, is_known) {
            tracing::warn!("{warning}");
        }
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
                Ok(live)
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "FRR does not answer");
                Err(Live { silent: error.silent_daemon().into_iter().collect(), ..Live::default() })
            }
        };
        let answers = live.is_ok();
        let live = live.unwrap_or_else(|nothing| nothing);
        self.warn_of_release(&live);
        let failures = texts(&report.failures);
        let mut status = fold(snapshot, &report.plan, self.outputs.mode, &failures, live, self.last_change.clone());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (foreign_lines, kept_ports) =
            (report.left_alone.foreign_lines.clone(), report.left_alone.kept_ports.names());
        let (reconciler, reads) = (&mut self.reconciler, &mut self.session_reads);
        let session_causes = reads.tcp_causes(reconciler, self.outputs.mode, &report.plan, &status.sessions).await;
        let filtered = reads.filtered(reconciler, &report.plan, &status.sessions).await;
        self.segment_reads.add(&mut self.reconciler, &mut status.vnis).await;
        let mut status =
            NodeStatus { observed_time: now, foreign_lines, kept_ports, session_causes, filtered, ..status };
        let observed = if answers {
            let observed = observed::read(&mut self.reconciler, &status, &report.plan).await;
            self.reconciler.repeat_addresses(&report.plan, &observed.nics).await;
            observed
        } else {
            Observed { plan: Arc::clone(&report.plan), ..Observed::default() }
        };
        status.findings = observed::findings(&mut status, &observed, answers.then(|| self.checks.borrow().clone()));
        let last = self.outputs.statuses.borrow().as_ref().map(|last| last.findings.clone());
        let before = last.unwrap_or_else(|| std::mem::take(&mut self.former));
        finding::with_times(&mut status.findings, &before, now);
        let is_down = |session: &SessionState| session.phase != SessionPhase::Established;
        let settled =
            status.ready && !status.sessions.iter().any(is_down) && status.vnis.values().all(VniState::is_ready);
        let longest = if settled && answers { STEADY } else { UNSETTLED };
        self.next_refresh = Instant::now() + self.changed.elapsed().clamp(SESSION_POLL, longest);
        self.outputs.metrics.status(&status, answers, observed);
        if let Err(error) = publish::write(&self.outputs.status, &status) {
            tracing::error!(error = &error as &dyn std::error::Error, "status not written");
        }
        self.outputs.statuses.send_replace(Some(status));
        self.outputs.refresh.done();
    }
}

/// Logs what is not in place: once as long as it stays the same.
fn log_failures(failures: &BTreeMap<Scope, Vec<Failure>>, last: Option<&BTreeMap<Scope, Vec<Failure>>>) {
    let (found, known) = (texts(failures), last.map(texts).unwrap_or_default());
    for (scope, error) in new_texts(&found, &known) {
        tracing::error!(%scope, error, "not in place, will be tried again");
    }
}

/// What was not known before.
fn new_texts<'a>(
    found: &'a BTreeMap<Scope, Vec<String>>,
    known: &BTreeMap<Scope, Vec<String>>,
) -> Vec<(&'a Scope, &'a String)> {
    let of_scope = |(scope, texts): (&'a Scope, &'a Vec<String>)| texts.iter().map(move |text| (scope, text));
    let is_new = |(scope, text): &(&Scope, &String)| !known.get(*scope).is_some_and(|known| known.contains(text));
    found.iter().flat_map(of_scope).filter(is_new).collect()
}

/// Each failure as users see it.
fn texts(failures: &BTreeMap<Scope, Vec<Failure>>) -> BTreeMap<Scope, Vec<String>> {
    failures.iter().map(|(scope, list)| (scope.clone(), remedy::texts(list))).collect()
}

/// The first scopes, and how many there are besides.
fn few(scopes: &BTreeSet<Scope>) -> String {
    const NAMED: usize = 8;
    let mut names: Vec<String> = scopes.iter().take(NAMED).map(ToString::to_string).collect();
    if scopes.len() > NAMED {
        names.push(format!("{} more", scopes.len() - NAMED));
    }
    names.join(", ")
}

#[cfg(test)]
mod tests;
