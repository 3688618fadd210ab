//! What a pass does and in which order, from what is wanted and what is there. In: plan and observations. Out:
//! [`Schedule`]. Pure.
//!
//! An IP-VRF is taken down and built anew where something changes that cannot change in place: AS number or VNI in FRR, a
//! link's kind, the router MAC. Everything else is edited in place. The order between kernel and FRR is that of
//! `execute`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::frr;
use crate::frr::config::command::Intent;
use crate::frr::config::diff::FrrChange;
use crate::frr::config::removal::{Removal, removal};
use crate::frr::config::tree::Config;
use crate::frr::release::Release;
use crate::kernel::model::{KernelState, LinkKey, LinkKind, Netns};
use crate::kernel::{self, Step};
use crate::names::{OwnedName, Role};
use crate::scope::Scope;
use crate::types::VrfName;

/// What a pass does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Schedule {
    /// FRR scopes that are taken away first, IP-VRFs before the default instance.
    pub teardowns: Vec<(Scope, Removal)>,
    /// Kernel steps of taking IP-VRFs down.
    pub release: Vec<Step>,
    /// Kernel steps after that.
    pub build: Vec<Step>,
    /// FRR changes after that; no scope is to be torn down any more.
    pub frr: FrrChange,
}

impl Schedule {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.teardowns.is_empty() && self.release.is_empty() && self.build.is_empty() && self.frr.is_empty()
    }

    /// FRR lines that change something, at most: a line that is refused for a while counts once.
    pub fn frr_lines(&self) -> usize {
        let torn = self.teardowns.iter().flat_map(|(_, teardown)| teardown.before.iter().chain(&teardown.after));
        let commands = torn.flat_map(|batch| &batch.commands);
        self.frr.lines() + commands.filter(|command| command.intent == Intent::Set).count()
    }

    /// The IP-VRFs that change.
    pub fn touched(&self) -> BTreeSet<VrfName> {
        let steps = self.release.iter().chain(&self.build).map(|step| step.scope.clone());
        let torn = self.teardowns.iter().map(|(scope, _)| scope.clone());
        let scopes = steps.chain(torn).chain(self.frr.scopes.keys().cloned());
        scopes.filter_map(|scope| if let Scope::Vrf(vrf) = scope { Some(vrf) } else { None }).collect()
    }
}

/// Both sides of what a pass compares.
#[derive(Debug, Clone, Copy)]
pub struct State<'a> {
    /// Kernel.
    pub kernel: &'a KernelState,
    /// FRR.
    pub frr: &'a Config,
}

/// Schedules a pass. `distrusted` are VRFs that FRR did not take up although all is in place: they are built anew.
pub fn schedule(wanted: State<'_>, observed: State<'_>, distrusted: &BTreeSet<VrfName>, release: Release) -> Schedule {
    let none = BTreeSet::new();
    let kept = if release.netns_stays { &observed.kernel.vrf_netns } else { &none };
    let (members_now, members_wanted) = (members(observed.kernel), members(wanted.kernel));
    let going = going(wanted, observed, distrusted, kept, (&members_now, &members_wanted));
    let mut kernel_wanted = Cow::Borrowed(wanted.kernel);
    if !kept.is_subset(&wanted.kernel.vrf_netns) {
        kernel_wanted.to_mut().vrf_netns.extend(kept.iter().cloned());
    }
    let take_down = |scope: &Scope| {
        let mut teardown = removal(observed.frr, scope);
        // FRR refuses `no vrf` while the VRF is there, and mgmtd of FRR 10 aborts.
        if matches!(scope, Scope::Vrf(vrf) if kept.contains(vrf)) {
            teardown.after.clear();
        }
        (scope.clone(), teardown)
    };
    if going.is_empty() {
        Schedule {
            build: kernel::diff(&kernel_wanted, observed.kernel),
            frr: frr::config::diff::diff(observed.frr, wanted.frr),
            ..Schedule::default()
        }
    } else {
        let kernel_after = without(observed.kernel, &going, &members_now, kept);
        // FRR refuses to remove the default instance while there are others.
        let is_last = |scope: &&Scope| **scope == Scope::Underlay;
        let in_order = going.iter().filter(|scope| !is_last(scope)).chain(going.iter().filter(is_last));
        Schedule {
            teardowns: in_order.map(take_down).collect(),
            release: kernel::diff(&kernel_after, observed.kernel),
            build: kernel::diff(&kernel_wanted, &kernel_after),
            frr: frr::config::diff::diff(&observed.frr.without(&going), wanted.frr),
        }
    }
}

/// The scopes that are taken down.
fn going(
    wanted: State<'_>,
    observed: State<'_>,
    distrusted: &BTreeSet<VrfName>,
    kept: &BTreeSet<VrfName>,
    (members_now, members_wanted): (&Members<'_>, &Members<'_>),
) -> BTreeSet<Scope> {
    let mut known: BTreeSet<&VrfName> = members_now.keys().copied().collect();
    known.extend(observed.frr.scopes().into_iter().filter_map(|scope| match scope {
        Scope::Vrf(name) => Some(name),
        Scope::Underlay | Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => None,
    }));
    // One that is kept although it is not wanted is empty: nothing to take down.
    known.extend(observed.kernel.vrf_netns.difference(kept));
    let all = underlay_goes(wanted.frr, observed.frr);
    let torn = |vrf: &VrfName| {
        let scope = Scope::Vrf(vrf.clone());
        let goes = all
            || !members_wanted.contains_key(vrf)
            || distrusted.contains(vrf)
            || !observed.frr.same(wanted.frr, &scope)
                && observed.frr.identity(&scope).clashes(wanted.frr.identity(&scope))
            || members_now.get(vrf).is_some_and(|keys| rebuilt(keys, wanted.kernel, observed.kernel));
        goes.then_some(scope)
    };
    known.into_iter().filter_map(torn).chain(all.then_some(Scope::Underlay)).collect()
}

/// The default instance goes when it is wanted no more, or with another AS number.
fn underlay_goes(wanted: &Config, observed: &Config) -> bool {
    let scope = Scope::Underlay;
    observed.has(&scope) && (!wanted.has(&scope) || observed.identity(&scope).clashes(wanted.identity(&scope)))
}

type Members<'a> = BTreeMap<&'a VrfName, Vec<&'a LinkKey>>;

/// The links of each IP-VRF.
fn members(state: &KernelState) -> Members<'_> {
    let mut members = Members::new();
    for (key, link) in &state.links {
        if let Scope::Vrf(vrf) = &link.scope {
            members.entry(vrf).or_default().push(key);
        }
    }
    members
}

/// Whether a link would have to be made anew, or the router MAC changes, which FRR announces with every route.
fn rebuilt(keys: &[&LinkKey], wanted: &KernelState, observed: &KernelState) -> bool {
    keys.iter().any(|key| match (wanted.links.get(*key), observed.links.get(*key)) {
        (Some(want), Some(have)) => want.kind != have.kind || want.mac != have.mac,
        // A veth pair comes and goes with the host session; the rest is the VNI itself.
        _ => !matches!(key.name, OwnedName::Vni(Role::HostVeth | Role::PeVeth, _)),
    })
}

fn without(
    state: &KernelState,
    going: &BTreeSet<Scope>,
    members: &Members<'_>,
    kept: &BTreeSet<VrfName>,
) -> KernelState {
    let torn = |vrf: &VrfName| going.contains(&Scope::Vrf(vrf.clone()));
    let in_gone = |netns: &Netns| matches!(netns, Netns::Vrf(vrf) if !kept.contains(vrf) && torn(vrf));
    let mut after = state.clone();
    // Wanted NICs are those in the router; taking a VRF down moves none.
    after.nics.retain(|_, netns| *netns == Netns::Router);
    after.vrf_netns.retain(|vrf| kept.contains(vrf) || !torn(vrf));
    after.sysctls.retain(|(netns, _), _| !in_gone(netns));
    let mut tables = BTreeSet::new();
    for key in members.iter().filter(|(vrf, _)| torn(vrf)).flat_map(|(_, keys)| keys) {
        if let Some(LinkKind::Vrf { table }) = after.links.remove(*key).map(|link| link.kind) {
            tables.insert(table);
        }
    }
    after.unreachable.retain(|(table, _)| !tables.contains(table));
    after
}

#[cfg(test)]
mod tests;
