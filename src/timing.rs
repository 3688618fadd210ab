//! Where the time of a pass goes. In: marks at the ends of its phases. Out: [`Timing`]. Pure but for the clock.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// A phase of a pass, in the order in which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Reading the kernel and FRR.
    Observe,
    /// Objects into what is wanted, and that into FRR's lines.
    Plan,
    /// What is wanted against what is there.
    Diff,
    /// Kernel operations.
    Kernel,
    /// Waiting until zebra has seen what the kernel has, or has no more.
    Await,
    /// Telling FRR.
    Routing,
    /// Waiting until FRR has taken the L3VNIs up.
    Verify,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Observe, Self::Plan, Self::Diff, Self::Kernel, Self::Await, Self::Routing, Self::Verify];

    /// Its name in logs, metrics and the status.
    pub fn name(self) -> &'static str {
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
pub struct Timing([Duration; Phase::ALL.len()]);

impl Timing {
    /// The time of a phase.
    pub fn of(&self, phase: Phase) -> Duration {
        self.0[phase as usize]
    }

    /// Adds to a phase.
    pub fn add(&mut self, phase: Phase, time: Duration) {
        self.0[phase as usize] += time;
    }

    /// Adds all phases of another.
    pub fn extend(&mut self, other: &Self) {
        for phase in Phase::ALL {
            self.add(phase, other.of(phase));
        }
    }
}

/// `observe=1.2ms plan=0.3ms …`
impl fmt::Display for Timing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, phase) in Phase::ALL.into_iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{}={:.1}ms", phase.name(), self.of(phase).as_secs_f64() * 1e3)?;
        }
        Ok(())
    }
}

/// A clock that gives each phase the time since the last mark.
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

    /// The time since the last mark was that of a phase.
    pub fn mark(&mut self, phase: Phase) {
        let now = Instant::now();
        self.timing.add(phase, now - self.last);
        self.last = now;
    }

    /// What was marked so far.
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
        watch.mark(Phase::Plan);
        tokio::time::advance(Duration::from_millis(5)).await;
        watch.mark(Phase::Kernel);
        watch.mark(Phase::Routing);
        tokio::time::advance(Duration::from_millis(7)).await;
        watch.mark(Phase::Kernel);
        let timing = watch.timing();
        let expected = "observe=0.0ms plan=3.0ms diff=0.0ms kernel=12.0ms zebra=0.0ms frr=0.0ms verify=0.0ms";
        assert_eq!(timing.to_string(), expected);
    }
}
