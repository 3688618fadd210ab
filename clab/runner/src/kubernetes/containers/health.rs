//! What the probes of a container say.
//!
//! In: probes of a manifest, and the result of each attempt with the age of the container. Out: which probes are due, whether the
//! container has started, is ready or has to be restarted. It must not send a probe or read a clock.

use std::collections::BTreeMap;
use std::time::Duration;

use super::manifest::{ContainerManifest, Probe};

/// A probe of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ProbeKind {
    /// Until it succeeds the others wait.
    Startup,
    /// Its failure restarts the container.
    Liveness,
    /// Its failure makes the container not ready.
    Readiness,
}

/// Probes of one incarnation of a container.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Health {
    probes: BTreeMap<ProbeKind, ProbeState>,
}

#[derive(Debug, Clone, PartialEq)]
struct ProbeState {
    probe: Probe,
    due: Duration,
    successes: u32,
    failures: u32,
    /// The last result that reached its threshold.
    passed: Option<bool>,
}

impl ProbeState {
    fn new(probe: &Probe) -> Self {
        let due = Duration::from_secs(probe.initial_delay_seconds);
        Self { probe: probe.clone(), due, successes: 0, failures: 0, passed: None }
    }
}

impl Health {
    /// Of a container that starts now.
    pub(super) fn new(container: &ContainerManifest) -> Self {
        let probes = [
            (ProbeKind::Startup, &container.startup_probe),
            (ProbeKind::Liveness, &container.liveness_probe),
            (ProbeKind::Readiness, &container.readiness_probe),
        ];
        let probes = probes.into_iter().filter_map(|(kind, probe)| Some((kind, ProbeState::new(probe.as_ref()?))));
        Self { probes: probes.collect() }
    }

    /// Probes that are due at this age.
    pub(super) fn due(&self, age: Duration) -> Vec<(ProbeKind, Probe)> {
        let is_its_turn = |kind: ProbeKind| (kind == ProbeKind::Startup) != self.started();
        let due = self.probes.iter().filter(|(kind, state)| is_its_turn(**kind) && state.due <= age);
        due.map(|(kind, state)| (*kind, state.probe.clone())).collect()
    }

    /// Records the result of an attempt.
    pub(super) fn record(&mut self, kind: ProbeKind, age: Duration, success: bool) {
        let Some(state) = self.probes.get_mut(&kind) else { return };
        state.due = age + Duration::from_secs(state.probe.period_seconds);
        (state.successes, state.failures) = if success { (state.successes + 1, 0) } else { (0, state.failures + 1) };
        if state.successes >= state.probe.success_threshold {
            state.passed = Some(true);
        } else if state.failures >= state.probe.failure_threshold {
            state.passed = Some(false);
        }
    }

    fn passed(&self, kind: ProbeKind) -> Option<bool> {
        self.probes.get(&kind).map(|state| state.passed == Some(true))
    }

    /// Whether the container has started.
    pub(super) fn started(&self) -> bool {
        self.passed(ProbeKind::Startup).unwrap_or(true)
    }

    /// Whether the container is ready.
    pub(super) fn ready(&self) -> bool {
        self.started() && self.passed(ProbeKind::Readiness).unwrap_or(true)
    }

    /// Whether the container has to be restarted.
    pub(super) fn failed(&self) -> bool {
        let failed = |kind: ProbeKind| self.probes.get(&kind).is_some_and(|state| state.passed == Some(false));
        failed(ProbeKind::Startup) || failed(ProbeKind::Liveness)
    }
}

/// How long a container waits before a restart: not at all for the first, then 10 s, doubled each time up to 5 minutes, as a
/// kubelet does.
pub(super) fn back_off(restarts: u32) -> Duration {
    match restarts {
        0 => Duration::ZERO,
        _ => Duration::from_secs(10 << (restarts - 1).min(5)).min(Duration::from_secs(300)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn health() -> Health {
        let probe = |period: u64, failures: u64| json!({"httpGet": {"port": 1, "path": "/"}, "periodSeconds": period, "failureThreshold": failures});
        let container = json!({
            "name": "a", "image": "b",
            "startupProbe": probe(1, 3), "livenessProbe": probe(10, 2), "readinessProbe": probe(5, 1),
        });
        Health::new(&serde_json::from_value(container).unwrap())
    }

    fn due(health: &Health, age: u64) -> Vec<ProbeKind> {
        health.due(Duration::from_secs(age)).into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn the_other_probes_wait_for_the_startup_probe() {
        let mut health = health();
        assert_eq!(due(&health, 0), [ProbeKind::Startup]);
        health.record(ProbeKind::Startup, Duration::ZERO, false);
        assert_eq!(due(&health, 0), []);
        assert_eq!((health.started(), health.ready(), health.failed()), (false, false, false));
        health.record(ProbeKind::Startup, Duration::from_secs(1), true);
        assert_eq!((health.started(), health.ready()), (true, false));
        assert_eq!(due(&health, 1), [ProbeKind::Liveness, ProbeKind::Readiness]);
        health.record(ProbeKind::Readiness, Duration::from_secs(1), true);
        assert!(health.ready());
        assert_eq!(due(&health, 2), [ProbeKind::Liveness]);
    }

    #[test]
    fn failures_at_the_threshold_restart_a_container_or_make_it_not_ready() {
        let mut health = health();
        (0..3).for_each(|second| health.record(ProbeKind::Startup, Duration::from_secs(second), false));
        assert!(health.failed());
        health.record(ProbeKind::Startup, Duration::from_secs(3), true);
        health.record(ProbeKind::Readiness, Duration::from_secs(3), true);
        health.record(ProbeKind::Liveness, Duration::from_secs(3), false);
        assert_eq!((health.failed(), health.ready()), (false, true));
        health.record(ProbeKind::Readiness, Duration::from_secs(8), false);
        health.record(ProbeKind::Liveness, Duration::from_secs(13), false);
        assert_eq!((health.failed(), health.ready()), (true, false));
    }

    #[test]
    fn a_container_without_probes_is_ready_when_it_runs() {
        let health = Health::new(&serde_json::from_value(json!({"name": "a", "image": "b"})).unwrap());
        assert_eq!((health.started(), health.ready(), health.failed()), (true, true, false));
    }

    #[test]
    fn restarts_are_delayed_more_each_time() {
        let seconds: Vec<u64> = (0..8).map(|restarts| back_off(restarts).as_secs()).collect();
        assert_eq!(seconds, [0, 10, 20, 40, 80, 160, 300, 300]);
    }
}
