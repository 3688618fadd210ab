//! What a reconciler keeps from one pass to the next, so that what did not change is neither rendered nor compared again: two
//! [`Memo`](crate::memo::Memo)s, their keys and their values. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::frr::config::render;
use crate::frr::config::tree::Config;
use crate::frr::show::running_config::RunningConfig;
use crate::frr::stanza::text::RenderError;
use crate::kernel::model::KernelState;
use crate::plan::last_accepted::{LastAccepted, plan_with_last_accepted};
use crate::plan::{NodeFacts, Plan};
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::snapshot::Snapshot;

/// What a plan is made of.
#[derive(Debug, PartialEq)]
pub(super) struct PlanInput {
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) facts: NodeFacts,
    pub(super) accepted: LastAccepted,
}

/// What was planned and rendered.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Another number for every plan that a reconciler makes.
    pub(super) version: u64,
    pub(super) plan: Arc<Plan>,
    pub(super) frr: Config,
}

impl Wanted {
    /// Plans and renders; what is the same as in `last` is shared with it. Returns with what is accepted now: accepted once is
    /// accepted again, so the same would come of that.
    pub(super) fn new(input: PlanInput, last: Option<(PlanInput, Self)>) -> Result<(PlanInput, Self), RenderError> {
        let PlanInput { snapshot, facts, mut accepted } = input;
        let plan = plan_with_last_accepted(&snapshot, &facts, &mut accepted);
        let version = last.as_ref().map_or(0, |(_, last)| last.version + 1);
        let release = facts.release;
        let frr = match last.filter(|(input, _)| input.facts.release == release) {
            Some((_, last)) => render::render_after(&last.plan.frr, &last.frr, &plan.frr, &release)?,
            None => render::render(&plan.frr, &release)?,
        };
        Ok((PlanInput { snapshot, facts, accepted }, Self { version, plan: Arc::new(plan), frr }))
    }
}

/// What is compared.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Compared {
    /// [`Wanted::version`]
    pub(super) wanted: u64,
    pub(super) kernel: Arc<KernelState>,
    pub(super) running: Arc<RunningConfig>,
}

/// All of it was found to be in place.
#[derive(Debug)]
pub(super) struct Settled {
    /// Whether FRR is known to run still what was compared.
    pub(super) is_current: bool,
    /// Lines within our stanzas that are not ours.
    pub(super) unknown: BTreeSet<(Scope, Daemon, String)>,
}
