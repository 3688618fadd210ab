//! Which scopes are torn down before they are built again or because they are not wanted any more: decided here and
//! nowhere else. In: what is wanted and what was observed. Out: scopes, and the kernel state after the teardown. Pure.
//!
//! An IP-VRF is rebuilt where something changes that cannot change in place: AS number or VNI in FRR, the kind of a link.
//! Everything else is edited in place, the router MAC too: FRR advertises the new one with one update per route.

use std::collections::{BTreeMap, BTreeSet};

use super::state::State;
use crate::frr::config::removal::{Removal, removal};
use crate::frr::config::tree::Config;
use crate::kernel::model::{KernelState, Link, LinkKey, LinkKind, Netns};
use crate::names::{OwnedName, Role};
use crate::scope::Scope;
use crate::types::VrfName;

/// Links by IP-VRF.
pub(super) type Members<'a> = BTreeMap<&'a VrfName, Vec<&'a LinkKey>>;

/// The links of each IP-VRF.
pub(super) fn members(state: &KernelState) -> Members<'_> {
    let mut members = Members::new();
    for (key, link) in &state.links {
        if let Scope::Vrf(vrf) = &link.scope {
            members.entry(vrf).or_default().push(key);
        }
    }
    members
}

/// What decides about teardowns besides both states.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reasons<'a> {
    /// IP-VRFs that FRR did not bring up although all is in place.
    pub(super) not_up: &'a BTreeSet<VrfName>,
    /// Namespaces that stay after the teardown of their IP-VRF.
    pub(super) kept_netns: &'a BTreeSet<VrfName>,
    /// The links of each IP-VRF as observed.
    pub(super) observed: &'a Members<'a>,
    /// The links of each IP-VRF as wanted.
    pub(super) wanted: &'a Members<'a>,
}

/// The segments that are in one of these IP-VRFs, or have to be moved to another: they are torn down, but for their bridge on the
/// host, which has ports of others.
fn segments(wanted: State<'_>, observed: State<'_>, torn_down: &[Scope]) -> BTreeSet<Scope> {
    let inside = |(key, link): &(&LinkKey, &Link)| link.segment && key.netns != Netns::Host;
    let vrf = |state: &KernelState, key: &LinkKey| state.vrf_by_place(key).cloned();
    let wanted_in: BTreeMap<&Scope, Option<VrfName>> =
        wanted.kernel.links.iter().filter(inside).map(|(key, link)| (&link.scope, vrf(wanted.kernel, key))).collect();
    let goes = |(key, link): &(&LinkKey, &Link)| {
        let now = vrf(observed.kernel, key);
        // In the router namespace a port that has lost its bridge is in no IP-VRF: it is put back.
        let decides = key.netns != Netns::Router || matches!(key.name, OwnedName::Vni(Role::Bridge, _));
        let is_moved = decides && wanted_in.get(&link.scope).is_some_and(|vrf| *vrf != now);
        is_moved || now.is_some_and(|vrf| torn_down.contains(&Scope::Vrf(vrf)))
    };
    let links = observed.kernel.links.iter().filter(inside).filter(goes);
    links.map(|(_, link)| link.scope.clone()).collect()
}

/// The scopes that are torn down, segments before IP-VRFs, these before the default instance: FRR rejects the removal of the
/// default instance while there are others.
pub(super) fn torn_down(wanted: State<'_>, observed: State<'_>, reasons: Reasons<'_>) -> Vec<Scope> {
    let mut known: BTreeSet<&VrfName> = reasons.observed.keys().copied().collect();
    known.extend(observed.frr.scopes().into_iter().filter_map(|scope| match scope {
        Scope::Vrf(name) => Some(name),
        Scope::Underlay | Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => None,
    }));
    // A namespace that stays although its VRF is not wanted is empty: there is nothing to tear down.
    known.extend(observed.kernel.vrf_netns.difference(reasons.kept_netns));
    let all = is_default_instance_torn_down(wanted.frr, observed.frr);
    let is_torn_down = |vrf: &&VrfName| {
        let scope = Scope::Vrf((*vrf).clone());
        all || !reasons.wanted.contains_key(vrf)
            || reasons.not_up.contains(*vrf)
            || !observed.frr.same(wanted.frr, &scope)
                && observed.frr.identity(&scope).clashes(wanted.frr.identity(&scope))
            || reasons.observed.get(vrf).is_some_and(|keys| is_rebuilt(keys, wanted.kernel, observed.kernel))
            || reasons.wanted.get(vrf).is_some_and(|keys| lacks_device(keys, observed, &scope))
    };
    let vrfs: Vec<Scope> = known.into_iter().filter(is_torn_down).cloned().map(Scope::Vrf).collect();
    let segments = segments(wanted, observed, &vrfs);
    segments.into_iter().chain(vrfs).chain(all.then_some(Scope::Underlay)).collect()
}

/// The default instance is torn down when it is not wanted any more, or with another AS number.
fn is_default_instance_torn_down(wanted: &Config, observed: &Config) -> bool {
    let scope = Scope::Underlay;
    observed.has(&scope) && (!wanted.has(&scope) || observed.identity(&scope).clashes(wanted.identity(&scope)))
}

/// Whether a link has to be created again.
fn is_rebuilt(keys: &[&LinkKey], wanted: &KernelState, observed: &KernelState) -> bool {
    keys.iter().any(|key| match (wanted.links.get(*key), observed.links.get(*key)) {
        (Some(want), Some(have)) => want.kind != have.kind,
        // A veth pair is added and removed with the host session; the rest is the VNI itself.
        _ => !matches!(key.name, OwnedName::Vni(Role::HostVeth | Role::PeVeth, _)),
    })
}

/// Whether zebra has an L3VNI whose bridge or VXLAN device is gone. It takes what it installed in the old device for installed in
/// a new one of that name: it has to remove the L3VNI first.
fn lacks_device(keys: &[&LinkKey], observed: State<'_>, scope: &Scope) -> bool {
    let is_missing = |key: &LinkKey| {
        matches!(key.name, OwnedName::Vni(Role::Bridge | Role::Vxlan, _)) && !observed.kernel.links.contains_key(key)
    };
    observed.frr.identity(scope).vni.is_some() && keys.iter().any(|key| is_missing(key))
}

/// The lines that remove a scope from FRR.
pub(super) fn lines(observed: &Config, scope: &Scope, kept_netns: &BTreeSet<VrfName>) -> Removal {
    let mut teardown = removal(observed, scope);
    // FRR rejects `no vrf` while the VRF is there, and mgmtd of FRR 10 aborts.
    if matches!(scope, Scope::Vrf(vrf) if kept_netns.contains(vrf)) {
        teardown.after.clear();
    }
    teardown
}

/// The observed kernel state without what these scopes have.
pub(super) fn kernel_without(state: &KernelState, going: &BTreeSet<Scope>, reasons: Reasons<'_>) -> KernelState {
    let kept = reasons.kept_netns;
    let is_torn = |vrf: &VrfName| going.contains(&Scope::Vrf(vrf.clone()));
    let in_removed = |netns: &Netns| matches!(netns, Netns::Vrf(vrf) if !kept.contains(vrf) && is_torn(vrf));
    let mut after = state.clone();
    // Wanted NICs are those in the router; the teardown of a VRF moves none.
    after.nics.retain(|_, netns| *netns == Netns::Router);
    after.vrf_netns.retain(|vrf| kept.contains(vrf) || !is_torn(vrf));
    after.sysctls.retain(|(netns, _), _| !in_removed(netns));
    let mut tables = BTreeSet::new();
    let torn_links = || reasons.observed.iter().filter(|(vrf, _)| is_torn(vrf)).flat_map(|(_, keys)| keys);
    after.listen_ports.retain(|port| !torn_links().any(|key| **key == port.on));
    let of_segments = going.iter().filter_map(|scope| if let Scope::Segment(vni) = scope { Some(*vni) } else { None });
    let torn_vnis: BTreeSet<_> = torn_links().filter_map(|key| key.name.vni()).chain(of_segments).collect();
    after.source_filters.retain(|filter| !in_removed(&filter.netns) && !torn_vnis.contains(&filter.table.vni));
    for key in torn_links() {
        if let Some(LinkKind::Vrf { table }) = after.links.remove(*key).map(|link| link.kind) {
            tables.insert(table);
        }
    }
    // The bridge on the host stays if it is wanted, and is removed with all that is not.
    after.links.retain(|key, link| key.name.is_host_bridge() || !link.segment || !going.contains(&link.scope));
    after.unreachable.retain(|(table, _)| !tables.contains(table));
    after
}
