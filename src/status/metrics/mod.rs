//! The metrics of one node's router. In: what reconcile passes did, statuses, and what was observed with them. Out: the text that
//! Prometheus scrapes, and whether the router is ready. Reads neither kernel nor FRR; contains no secret and no name of one.
//!
//! Only counters are kept. All else is rendered from the last status when it is scraped: what is gone leaves no series behind, and
//! nothing is in memory twice.

mod counts;
mod exposition;
mod observed;
mod process;
mod segments;
mod sessions;
mod table;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use self::counts::PassCounts;
pub use self::counts::PassResult;
use self::exposition::Exposition;
pub use self::exposition::{MetricInfo, MetricType};
pub use self::observed::Observed;
pub use self::table::METRICS;
use super::model::{NodeStatus, ObjectState, PassSummary};
use crate::frr::client::restarts::WatchedDaemons;
use crate::source::health::SourceHealth;
use crate::timing::Timing;

/// Why the router is not ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotReady {
    /// No reconcile pass has completed yet.
    NoPass,
    /// FRR does not answer.
    NoRouting,
    /// An accepted object is not in place.
    NotInPlace,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoPass => "no reconcile pass has completed yet",
            Self::NoRouting => "FRR does not answer",
            Self::NotInPlace => "an accepted object is not in place: see `perouter status`",
        })
    }
}

/// What else is observed all the time.
#[derive(Debug)]
pub struct Surroundings {
    /// FRR's daemons.
    pub daemons: Arc<WatchedDaemons>,
    /// The sources of objects, by name.
    pub sources: Vec<(&'static str, Arc<SourceHealth>)>,
}

/// All metrics of one router.
#[derive(Debug)]
pub struct Metrics {
    counts: Mutex<PassCounts>,
    ready: Mutex<Result<(), NotReady>>,
    statuses: watch::Receiver<Option<NodeStatus>>,
    observed: Mutex<Option<Observed>>,
    surroundings: OnceLock<Surroundings>,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(watch::channel(None).1)
    }
}

impl Metrics {
    /// Of a controller that sends these statuses.
    pub fn new(statuses: watch::Receiver<Option<NodeStatus>>) -> Self {
        Self {
            counts: Mutex::default(),
            ready: Mutex::new(Err(NotReady::NoPass)),
            statuses,
            observed: Mutex::default(),
            surroundings: OnceLock::new(),
        }
    }

    /// Adds what is known once the router is there. Later calls change nothing.
    pub fn surrounded_by(&self, surroundings: Surroundings) {
        let _ = self.surroundings.set(surroundings);
    }

    /// Counts a reconcile pass. `waited`: time since the change of the objects that it completed.
    pub fn pass(&self, summary: &PassSummary, failed: bool, timing: &Timing, took: Duration, waited: Option<Duration>) {
        let result = match (failed, summary.is_quiet()) {
            (true, _) => PassResult::Failed,
            (false, true) => PassResult::Quiet,
            (false, false) => PassResult::Changed,
        };
        let mut counts = locked(&self.counts);
        counts.result(result);
        counts.did(summary, timing, took, waited);
    }

    /// Counts a reconcile pass that could not start.
    pub fn blind_pass(&self) {
        locked(&self.counts).result(PassResult::Blind);
        *locked(&self.ready) = Err(NotReady::NoRouting);
    }

    /// Takes over what belongs to a status. `answers`: FRR answered for it.
    pub fn status(&self, status: &NodeStatus, answers: bool, observed: Observed) {
        *locked(&self.ready) = match (answers, status.ready) {
            (false, _) => Err(NotReady::NoRouting),
            (true, false) => Err(NotReady::NotInPlace),
            (true, true) => Ok(()),
        };
        *locked(&self.observed) = Some(observed);
    }

    /// Whether the last reconcile pass succeeded and FRR answers.
    pub fn ready(&self) -> Result<(), NotReady> {
        *locked(&self.ready)
    }

    /// The metrics in the text format of Prometheus.
    pub fn render(&self) -> String {
        let mut text = Exposition::default();
        locked(&self.counts).render(&mut text);
        let statuses = self.statuses.borrow();
        if let Some(surroundings) = self.surroundings.get() {
            sources(surroundings, SystemTime::now(), &mut text);
            daemons(surroundings, statuses.as_ref(), &mut text);
        }
        if let Some(status) = statuses.as_ref() {
            let observed = locked(&self.observed);
            node(status, &mut text);
            sessions::render(status, observed.as_ref(), &mut text);
            segments::render(status, &mut text);
            nics(observed.as_ref(), &mut text);
        }
        process::render(&mut text);
        text.into_text()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sources(surroundings: &Surroundings, now: SystemTime, text: &mut Exposition) {
    let states: Vec<_> = surroundings.sources.iter().map(|(name, health)| (*name, health.last_success(now))).collect();
    let mut up = text.metric(table::SOURCE_UP);
    for (name, last) in &states {
        up.add([name], u8::from(*last == Some(now)));
    }
    let mut success = text.metric(table::SOURCE_SUCCESS);
    for (name, last) in &states {
        let seconds = last.and_then(|last| last.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs());
        success.add([name], seconds);
    }
}

/// A daemon that hangs keeps its connection: it is up if it answers, too.
fn daemons(surroundings: &Surroundings, status: Option<&NodeStatus>, text: &mut Exposition) {
    let is_silent = |name: &str| status.is_some_and(|status| status.silent_daemons.iter().any(|silent| silent == name));
    let mut up = text.metric(table::FRR_UP);
    for (daemon, watched) in surroundings.daemons.all() {
        up.add([daemon.name()], u8::from(watched.is_connected() && !is_silent(daemon.name())));
    }
    let mut restarts = text.metric(table::FRR_RESTARTS);
    for (daemon, watched) in surroundings.daemons.all() {
        restarts.add([daemon.name()], watched.restarts());
    }
}

fn node(status: &NodeStatus, text: &mut Exposition) {
    let version = env!("CARGO_PKG_VERSION");
    text.metric(table::INFO).add([version, &status.frr_version, &status.vrf_mode.to_string()], 1);
    text.value(table::STATUS_TIME, status.observed_time);
    let mut objects = BTreeMap::new();
    for resource in &status.resources {
        let labels = [resource.kind.as_str(), state_label(resource.state), resource.reason.as_str()];
        *objects.entry(labels).or_insert(0) += 1;
    }
    let mut metric = text.metric(table::OBJECTS);
    for (labels, count) in objects {
        metric.add(labels, count);
    }
    let mut findings = BTreeMap::new();
    for finding in &status.findings {
        *findings.entry([finding.severity.as_str(), finding.kind.as_str()]).or_insert(0) += 1;
    }
    let mut metric = text.metric(table::FINDINGS);
    for (labels, count) in findings {
        metric.add(labels, count);
    }
}

fn nics(observed: Option<&Observed>, text: &mut Exposition) {
    let nics = || observed.into_iter().flat_map(|observed| &observed.nics);
    let mut carrier = text.metric(table::NIC_CARRIER);
    for (name, nic) in nics() {
        carrier.add([name], u8::from(nic.is_up()));
    }
    let mut mtu = text.metric(table::NIC_MTU);
    for (name, nic) in nics() {
        if let Some(bytes) = nic.mtu {
            mtu.add([name], bytes);
        }
    }
}

/// As in the label `state`.
fn state_label(state: ObjectState) -> &'static str {
    match state {
        ObjectState::Ready => "ready",
        ObjectState::Failed => "failed",
        ObjectState::Rejected => "rejected",
    }
}

#[cfg(test)]
mod tests;
