//! The metrics of one node's router. In: what reconcile passes did, and statuses. Out: `OpenMetrics` text, and whether the
//! router is ready. Reads neither kernel nor FRR; contains no secret and no name of one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::model::{NodeStatus, ObjectState, PassSummary};
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::timing::{PassPhase, Timing};

/// Milliseconds to minutes: FRR takes 100 ms for an L3VNI.
const SECONDS: [f64; 11] = [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

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

/// The result of a reconcile pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PassResult {
    /// There was nothing to do.
    Quiet,
    /// All steps were applied.
    Changed,
    /// Something is not in place.
    Failed,
    /// Kernel or FRR could not be read.
    Blind,
}

impl PassResult {
    /// As in the label `result`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Changed => "changed",
            Self::Failed => "failed",
            Self::Blind => "blind",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ObjectLabels {
    kind: &'static str,
    state: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SessionLabels {
    vrf: String,
    peer: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PrefixLabels {
    vrf: String,
    vni: String,
    peer: String,
    family: String,
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FilteredLabels {
    vrf: String,
    peer: String,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VniLabels {
    vni: u32,
    vrf: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouterLabels {
    version: &'static str,
    frr: String,
    vrf_mode: String,
}

/// All metrics of one router.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    passes: Family<PassLabels, Counter>,
    kernel_ops: Counter,
    frr_lines: Counter,
    rebuilt: Counter,
    pass: Histogram,
    phases: Family<PhaseLabels, Counter<f64, AtomicU64>>,
    convergence: Histogram,
    now: Now,
    ready: Mutex<Result<(), NotReady>>,
}

/// Gauges: replaced as a whole, so that what is gone leaves no series behind.
#[derive(Debug, Default)]
struct Now {
    router: Family<RouterLabels, Gauge>,
    objects: Family<ObjectLabels, Gauge>,
    session_up: Family<SessionLabels, Gauge>,
    established: Family<SessionLabels, Gauge>,
    prefixes: Family<PrefixLabels, Gauge>,
    filtered: Family<FilteredLabels, Gauge>,
    vni_up: Family<VniLabels, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("perouter"),
            passes: Family::default(),
            kernel_ops: Counter::default(),
            frr_lines: Counter::default(),
            rebuilt: Counter::default(),
            pass: Histogram::new(SECONDS),
            phases: Family::default(),
            convergence: Histogram::new(SECONDS),
            now: Now::default(),
            ready: Mutex::new(Err(NotReady::NoPass)),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    /// Counts a reconcile pass. `waited`: time since the change of the objects that it completed.
    pub fn pass(&self, summary: &PassSummary, failed: bool, timing: &Timing, took: Duration, waited: Option<Duration>) {
        let result = match (failed, summary.is_quiet()) {
            (true, _) => PassResult::Failed,
            (false, true) => PassResult::Quiet,
            (false, false) => PassResult::Changed,
        };
        self.passes.get_or_create(&PassLabels { result: result.as_str() }).inc();
        self.kernel_ops.inc_by(summary.kernel_ops as u64);
        self.frr_lines.inc_by(summary.frr_lines as u64);
        self.rebuilt.inc_by(summary.rebuilt.len() as u64);
        self.pass.observe(took.as_secs_f64());
        for phase in PassPhase::ALL {
            let labels = PhaseLabels { phase: phase.as_str() };
            self.phases.get_or_create(&labels).inc_by(timing.of(phase).as_secs_f64());
        }
        if let Some(waited) = waited {
            self.convergence.observe(waited.as_secs_f64());
        }
    }

    /// Counts a reconcile pass that could not start.
    pub fn blind_pass(&self) {
        self.passes.get_or_create(&PassLabels { result: PassResult::Blind.as_str() }).inc();
        *self.readiness() = Err(NotReady::NoRouting);
    }

    /// Takes over a status. `answers`: FRR answered for it.
    pub fn status(&self, status: &NodeStatus, answers: bool) {
        *self.readiness() = match (answers, status.ready) {
            (false, _) => Err(NotReady::NoRouting),
            (true, false) => Err(NotReady::NotInPlace),
            (true, true) => Ok(()),
        };
        self.now.replace(status);
    }

    /// Whether the last reconcile pass succeeded and FRR answers.
    pub fn ready(&self) -> Result<(), NotReady> {
        *self.readiness()
    }

    /// The metrics as `OpenMetrics` text.
    ///
    /// # Errors
    /// Never in practice: writing to a string does not fail.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut buffer = String::new();
        text::encode(&mut buffer, &self.registry)?;
        Ok(buffer)
    }

    fn readiness(&self) -> MutexGuard<'_, Result<(), NotReady>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn register(&mut self) {
        let Self { registry, now, .. } = self;
        registry.register("passes", "Reconcile passes by result", self.passes.clone());
        registry.register("kernel_ops", "Kernel operations applied", self.kernel_ops.clone());
        registry.register("frr_lines", "FRR lines accepted", self.frr_lines.clone());
        registry.register("vrfs_rebuilt", "IP-VRFs rebuilt because FRR did not bring them up", self.rebuilt.clone());
        registry.register_with_unit("pass_duration", "Duration of reconcile passes", Unit::Seconds, self.pass.clone());
        let help = "Time of reconcile passes by phase";
        registry.register_with_unit("pass_phase", help, Unit::Seconds, self.phases.clone());
        let help = "Time from a change of the objects until all of it was in place";
        registry.register_with_unit("convergence", help, Unit::Seconds, self.convergence.clone());
        registry.register("router", "The router; always 1", now.router.clone());
        registry.register("objects", "Objects of this node by state and reason", now.objects.clone());
        registry.register("session_up", "1 for an established session; no vrf: the underlay", now.session_up.clone());
        registry.register("session_established", "How often the session was established", now.established.clone());
        registry.register("prefixes", "Prefixes on sessions by address family", now.prefixes.clone());
        let help =
            "Routes of host sessions that are filtered, by reason: the prefix, or a next hop that is not the host's";
        registry.register("filtered_prefixes", help, now.filtered.clone());
        registry.register("vni_up", "1 for an L3VNI that is up in zebra and bgpd", now.vni_up.clone());
    }
}

impl Now {
    fn replace(&self, status: &NodeStatus) {
        self.router.clear();
        let mode = status.vrf_mode.to_string();
        let router =
            RouterLabels { version: env!("CARGO_PKG_VERSION"), frr: status.frr_version.clone(), vrf_mode: mode };
        self.router.get_or_create(&router).set(1);
        self.objects.clear();
        for resource in &status.resources {
            let (kind, state) = (resource.kind.as_str(), state_label(resource.state));
            self.objects.get_or_create(&ObjectLabels { kind, state, reason: resource.reason.clone() }).inc();
        }
        self.vni_up.clear();
        for (vni, state) in status.l3vnis() {
            let labels = VniLabels { vni: vni.get(), vrf: state.vrf.clone() };
            self.vni_up.get_or_create(&labels).set(state.is_ready().into());
        }
        let vnis: BTreeMap<&str, String> =
            status.l3vnis().map(|(vni, state)| (state.vrf.as_str(), vni.to_string())).collect();
        self.session_up.clear();
        self.established.clear();
        self.prefixes.clear();
        for session in &status.sessions {
            self.session(session, &vnis);
        }
        self.filtered.clear();
        for found in &status.filtered {
            for (reason, count) in &found.routes {
                let (vrf, peer) = (found.vrf.to_string(), found.peer.clone());
                let labels = FilteredLabels { vrf, peer, reason: reason.as_str() };
                self.filtered.get_or_create(&labels).set((*count).try_into().unwrap_or(i64::MAX));
            }
        }
    }

    fn session(&self, session: &SessionState, vnis: &BTreeMap<&str, String>) {
        let vrf = session.vrf.as_ref().map(ToString::to_string).unwrap_or_default();
        let labels = SessionLabels { vrf: vrf.clone(), peer: session.peer.clone() };
        self.session_up.get_or_create(&labels).set((session.phase == SessionPhase::Established).into());
        self.established.get_or_create(&labels).set(session.established.try_into().unwrap_or(i64::MAX));
        let vni = vnis.get(vrf.as_str()).cloned().unwrap_or_default();
        for (family, prefixes) in &session.prefixes {
            for (direction, count) in [("received", prefixes.received), ("sent", prefixes.sent)] {
                let (vrf, vni, peer) = (vrf.clone(), vni.clone(), session.peer.clone());
                let labels = PrefixLabels { vrf, vni, peer, family: family.clone(), direction };
                self.prefixes.get_or_create(&labels).set(count.try_into().unwrap_or(i64::MAX));
            }
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
