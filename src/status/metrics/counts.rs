//! What reconcile passes did since the start of the controller. In: each pass. Out: counters and histograms. It reads nothing but
//! the clock.

use std::time::{Duration, UNIX_EPOCH};

use super::exposition::{Exposition, Metric};
use super::table;
use crate::status::model::PassSummary;
use crate::timing::{PassPhase, Timing};

/// Milliseconds to minutes: FRR takes 100 ms for an L3VNI.
const SECONDS: [f64; 11] = [0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];

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
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Quiet, Self::Changed, Self::Failed, Self::Blind];

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

/// Counts of durations.
#[derive(Debug, Default)]
struct Durations {
    counts: [u64; SECONDS.len()],
    all: u64,
    sum: f64,
}

impl Durations {
    fn observe(&mut self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        if let Some(bucket) = SECONDS.iter().position(|bound| seconds <= *bound) {
            self.counts[bucket] += 1;
        }
        self.all += 1;
        self.sum += seconds;
    }

    fn render(&self, text: &mut Exposition, metric: Metric<0>) {
        let counts: Vec<(f64, u64)> = SECONDS.into_iter().zip(self.counts).collect();
        text.metric(metric).add_histogram([], &counts, self.all, self.sum);
    }
}

/// All passes so far.
#[derive(Debug, Default)]
pub(super) struct PassCounts {
    passes: [u64; PassResult::ALL.len()],
    kernel_ops: u64,
    frr_lines: u64,
    rebuilt: u64,
    took: Durations,
    timing: Timing,
    convergence: Durations,
    last_success: u64,
}

impl PassCounts {
    /// A pass of which nothing but its result is known.
    pub(super) fn result(&mut self, result: PassResult) {
        self.passes[result as usize] += 1;
        if matches!(result, PassResult::Quiet | PassResult::Changed) {
            self.last_success = UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
        }
    }

    /// What a pass did. `waited`: time since the change of the objects that it completed.
    pub(super) fn did(&mut self, summary: &PassSummary, timing: &Timing, took: Duration, waited: Option<Duration>) {
        self.kernel_ops += summary.kernel_ops as u64;
        self.frr_lines += summary.frr_lines as u64;
        self.rebuilt += summary.rebuilt.len() as u64;
        self.took.observe(took);
        self.timing.extend(timing);
        if let Some(waited) = waited {
            self.convergence.observe(waited);
        }
    }

    pub(super) fn render(&self, text: &mut Exposition) {
        let mut passes = text.metric(table::PASSES);
        for result in PassResult::ALL {
            passes.add([result.as_str()], self.passes[result as usize]);
        }
        text.value(table::LAST_SUCCESS, self.last_success);
        self.took.render(text, table::PASS_DURATION);
        let mut phases = text.metric(table::PASS_PHASE);
        for phase in PassPhase::ALL {
            phases.add([phase.as_str()], self.timing.of(phase).as_secs_f64());
        }
        self.convergence.render(text, table::CONVERGENCE);
        text.value(table::KERNEL_OPS, self.kernel_ops);
        text.value(table::FRR_LINES, self.frr_lines);
        text.value(table::VRFS_REBUILT, self.rebuilt);
    }
}
