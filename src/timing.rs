//! Where the time of a reconcile pass goes. In: marks at the end of each phase. Out: [`Timing`]. Pure but for the clock.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// A phase of a reconcile pass, in the order in which they run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PassPhase {
    /// Reading the kernel and FRR.
    Observe,
    /// From objects to the wanted state, and from that to FRR lines.
    Plan,
    /// Comparing the wanted with the observed state.
    Diff,
    /// Kernel operations.
    Kernel,
    /// Waiting until zebra has seen a change of the kernel.
    Await,
    /// Sending lines to FRR.
    Routing,
    /// Waiting until FRR has the L3VNIs up.
    Verify,
}

impl PassPhase {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Observe, Self::Plan, Self::Diff, Self::Kernel, Self::Await, Self::Routing, Self::Verify];

    /// As in logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Plan => "plan",
            Self::Diff => "diff",
            Self::Kernel => "kernel",
            Self::Await => "zebra",
            Self::Routing => "frr",
            Self::Verify => "verify",
        }
    }
}

/// Time by phase.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timing([Duration; PassPhase::ALL.len()]);

impl Timing {
    /// The time of a phase.
    pub fn of(&self, phase: PassPhase) -> Duration {
        self.0[phase as usize]
    }

    /// Adds to a phase.
    pub fn add(&mut self, phase: PassPhase, time: Duration) {
        self.0[phase as usize] += time;
    }

    /// Adds all phases of another.
    pub fn extend(&mut self, other: &Self) {
        for phase in PassPhase::ALL {
            self.add(phase, other.of(phase));
        }
    }
}

/// `observe=1.2ms plan=0.3ms …`
impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, phase) in PassPhase::ALL.into_iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}={:.1}ms", phase.as_str(), self.of(phase).as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

/// A clock that adds the time since the last mark to a phase.
#[derive(Debug)]
pub struct Stopwatch {
    last: Instant,
    timing: Timing,
}

impl Stopwatch {
    /// Starts.
    pub fn start() -> Self {
        Self { last: Instant::now(), timing: Timing::default() }
    }

    /// Adds the time since the last mark to a phase.
    pub fn mark(&mut self, phase: PassPhase) {
        let now = Instant::now();
        self.timing.add(phase, now - self.last);
        self.last = now;
    }

    /// The times so far.
    pub fn timing(&self) -> Timing {
        self.timing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_phase_has_the_time_up_to_its_mark() {
        let mut watch = Stopwatch::start();
        tokio::time::advance(Duration::from_millis(3)).await;
        watch.mark(PassPhase::Plan);
        tokio::time::advance(Duration::from_millis(5)).await;
        watch.mark(PassPhase::Kernel);
        watch.mark(PassPhase::Routing);
        tokio::time::advance(Duration::from_millis(7)).await;
        watch.mark(PassPhase::Kernel);
        let timing = watch.timing();
        let expected = "observe=0.0ms plan=3.0ms diff=0.0ms kernel=12.0ms zebra=0.0ms frr=0.0ms verify=0.0ms";
        assert_eq!(timing.to_string(), expected);
    }
}
