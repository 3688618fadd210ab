//! What a reconciler keeps from one pass to the next, so that what did not change is neither rendered nor compared again.
//! Keys are values, compared by equality, and version numbers. Pure.

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

/// What was compared and found to be in place.
#[derive(Debug)]
pub(super) struct Settled {
    /// [`Wanted::version`]
    pub(super) wanted: u64,
    pub(super) kernel: Arc<KernelState>,
    pub(super) running: Arc<RunningConfig>,
    /// Whether FRR is known to run that still.
    pub(super) is_current: bool,
    /// Lines within our stanzas that are not ours.
    pub(super) unknown: BTreeSet<(Scope, Daemon, String)>,
}

impl Settled {
    /// Whether the same things were compared.
    pub(super) fn is_of(&self, wanted: &Wanted, kernel: &Arc<KernelState>, running: &Arc<RunningConfig>) -> bool {
        self.wanted == wanted.version && self.kernel == *kernel && self.running == *running
    }
}

/// What was planned and rendered from a snapshot.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Another number for every plan that a reconciler makes.
    pub(super) version: u64,
    snapshot: Arc<Snapshot>,
    facts: NodeFacts,
    /// What is accepted with this plan.
    pub(super) accepted: LastAccepted,
    pub(super) plan: Arc<Plan>,
    pub(super) frr: Config,
}

impl Wanted {
    /// Plans and renders; what is the same as in `last` is shared with it.
    pub(super) fn new(
        snapshot: &Arc<Snapshot>,
        facts: NodeFacts,
        mut accepted: LastAccepted,
        last: Option<&Self>,
    ) -> Result<Self, RenderError> {
        let plan = plan_with_last_accepted(snapshot, &facts, &mut accepted);
        let version = last.map_or(0, |last| last.version + 1);
        let release = facts.release;
        let last = last.filter(|last| last.facts.release == release);
        let frr = match last {
            Some(last) => render::render_after(&last.plan.frr, &last.frr, &plan.frr, &release)?,
            None => render::render(&plan.frr, &release)?,
        };
        Ok(Self { version, snapshot: Arc::clone(snapshot), facts, accepted, plan: Arc::new(plan), frr })
    }

    pub(super) fn is_from(&self, snapshot: &Arc<Snapshot>) -> bool {
        self.snapshot == *snapshot
    }

    /// Whether the same would come of these and its snapshot. What is accepted once is accepted again.
    pub(super) fn is_of(&self, facts: &NodeFacts, accepted: &LastAccepted) -> bool {
        self.facts == *facts && self.accepted == *accepted
    }
}
