//! What a reconciler knows from one pass to the next. Pure.

use std::sync::Arc;

use crate::frr::client::port::{Routing, RoutingError};
use crate::frr::config::render;
use crate::frr::config::tree::Config;
use crate::frr::release::Release;
use crate::frr::show::running_config::RunningConfig;
use crate::frr::stanza::text::RenderError;
use crate::kernel::model::KernelState;
use crate::plan::last_accepted::{LastAccepted, plan_with_last_accepted};
use crate::plan::{NodeFacts, Plan};
use crate::snapshot::Snapshot;

use super::schedule::Schedule;

/// From where it is known what FRR runs.
pub(crate) enum Asked<'a, R> {
    /// From before.
    Known(Arc<RunningConfig>),
    /// From FRR.
    Frr(&'a mut R),
}

impl<R: Routing> Asked<'_, R> {
    pub(crate) async fn running(self) -> Result<Arc<RunningConfig>, RoutingError> {
        match self {
            Self::Known(running) => Ok(running),
            Self::Frr(routing) => routing.running().await,
        }
    }
}

/// What was compared and found to be in place: the same things are not compared again.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) plan: Arc<Plan>,
    pub(crate) kernel: Arc<KernelState>,
    pub(crate) running: Arc<RunningConfig>,
    /// Whether FRR is known to run that still.
    pub(crate) is_trusted: bool,
    /// What was found.
    pub(crate) schedule: Schedule,
}

impl Settled {
    pub(crate) fn is_of(&self, plan: &Arc<Plan>, kernel: &Arc<KernelState>, running: &Arc<RunningConfig>) -> bool {
        Arc::ptr_eq(&self.plan, plan) && Arc::ptr_eq(&self.kernel, kernel) && Arc::ptr_eq(&self.running, running)
    }
}

/// What was made of a snapshot: made anew only from another one.
#[derive(Debug)]
pub(crate) struct Wanted {
    snapshot: Arc<Snapshot>,
    facts: NodeFacts,
    release: Release,
    /// What was accepted at the end.
    accepted: LastAccepted,
    pub(crate) plan: Arc<Plan>,
    pub(crate) frr: Config,
}

impl Wanted {
    pub(crate) fn new(
        snapshot: &Arc<Snapshot>,
        facts: NodeFacts,
        release: Release,
        accepted: &mut LastAccepted,
        last: Option<&Self>,
    ) -> Result<Self, RenderError> {
        let plan = plan_with_last_accepted(snapshot, &facts, accepted);
        let last = last.filter(|last| last.release == release);
        let frr = match last {
            Some(last) => render::render_after(&last.plan.frr, &last.frr, &plan.frr, &release)?,
            None => render::render(&plan.frr, &release)?,
        };
        let (snapshot, accepted) = (Arc::clone(snapshot), accepted.clone());
        Ok(Self { snapshot, facts, release, accepted, plan: Arc::new(plan), frr })
    }

    pub(crate) fn is_from(&self, snapshot: &Arc<Snapshot>) -> bool {
        Arc::ptr_eq(&self.snapshot, snapshot) || self.snapshot == *snapshot
    }

    /// Whether the same would come of these and its snapshot. What is accepted once is accepted again.
    pub(crate) fn is_of(&self, facts: &NodeFacts, release: Release, accepted: &LastAccepted) -> bool {
        self.facts == *facts && self.release == release && self.accepted == *accepted
    }
}
