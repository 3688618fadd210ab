//! Daemons that do not answer. A pass configures the others: what a silent one runs is unknown and taken for what is wanted, so
//! that nothing is sent to it, and each object that has a part in it is reported. In: the daemons, what is wanted and observed.
//! Out: scopes. Decides on no step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::cache::Wanted;
use super::execute::Executed;
use super::schedule::Schedule;
use crate::frr::client::vty::VtyError;
use crate::frr::release::Release;
use crate::frr::show::running_config::RunningConfig;
use crate::kernel::model::{KernelState, LinkKind};
use crate::runtime::Daemon;
use crate::scope::Scope;

/// The silent daemons of one pass.
#[derive(Debug, Default)]
pub(super) struct Silent {
    /// By daemon: why it does not answer, whose configuration it has, and the scopes with a part in it.
    daemons: BTreeMap<Daemon, (Arc<VtyError>, Daemon, BTreeSet<Scope>)>,
    /// The scopes that cannot be built or torn down without it.
    blocked: BTreeSet<Scope>,
}

impl Silent {
    pub(super) fn new(daemons: BTreeMap<Daemon, Arc<VtyError>>, release: Release, wanted: &Wanted) -> Self {
        let of = |owner: Daemon| {
            wanted.frr.parts().filter(move |(_, daemon, _)| *daemon == owner).map(|(scope, _, _)| scope.clone())
        };
        let entry = |(daemon, error)| {
            let owner = release.owner(daemon);
            (daemon, (error, owner, of(owner).collect()))
        };
        Self { daemons: daemons.into_iter().map(entry).collect(), blocked: BTreeSet::new() }
    }

    /// All daemons answer.
    pub(super) fn is_empty(&self) -> bool {
        self.daemons.is_empty()
    }

    /// What runs, with what is wanted in place of what is unknown.
    pub(super) fn assume_wanted(&self, running: Arc<RunningConfig>, wanted: &Wanted) -> Arc<RunningConfig> {
        if self.is_empty() {
            return running;
        }
        let mut running = Arc::unwrap_or_clone(running);
        for (_, owner, _) in self.daemons.values() {
            running.config.assume(*owner, &wanted.frr);
        }
        Arc::new(running)
    }

    /// Without bgpd no IP-VRF is built, as a VXLAN device without the default instance crashes it (frr#22851), and none is torn
    /// down, as it leaves FRR before its links are deleted. The same without whom zebra is configured by.
    pub(super) fn block(&mut self, schedule: &Schedule, wanted: &Wanted, observed: &KernelState) {
        let needed = |owner: &Daemon| matches!(owner, Daemon::Bgpd | Daemon::Zebra);
        if !self.daemons.values().any(|(_, owner, _)| needed(owner)) {
            return;
        }
        let new =
            wanted.plan.kernel.links.iter().filter(|(key, link)| {
                matches!(link.kind, LinkKind::Vxlan { .. }) && !observed.links.contains_key(*key)
            });
        self.blocked = schedule.torn_down.iter().cloned().chain(new.map(|(_, link)| link.scope.clone())).collect();
    }

    /// What an executor must leave.
    pub(super) fn blocking(&self) -> Executed {
        let mut done = Executed::default();
        for (daemon, (error, _, _)) in &self.daemons {
            done.fail_silent(&self.blocked, *daemon, error);
        }
        done
    }

    /// Reports what is unknown.
    pub(super) fn report(&self, done: &mut Executed) {
        for (daemon, (error, _, scopes)) in &self.daemons {
            done.fail_silent(scopes, *daemon, error);
        }
    }
}
