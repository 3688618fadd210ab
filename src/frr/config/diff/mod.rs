//! The edits from what FRR runs to what is wanted. In: two [`Config`]s. Out: for each scope the command lines in order.
//! `diff(x, x)` is empty. Lines without a rule (typed by hand) are reported and left alone. Only edits: it must not decide
//! what is removed or rebuilt. Pure.
//!
//! Order within a scope: BFD profiles, the instance if it is in an AS of its own, `vrf` and `vni`, prefix lists, route maps,
//! neighbors that are removed, new and changed lines, lines that are removed, then policies and profiles that are not used
//! any more. New lines come before old ones are removed, so that the last route target or network is never missing in
//! between.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::batch::{BatchStage, CommandBatch, CommandMode, batch};
use super::changes::{
    additions, delay_derived_targets, delay_derived_targets_of_l2vnis, emptied, instance_changes, removals,
};
use super::command::{Intent, LineChange, VtyCommand};
use super::line::Line;
use super::tree::{Config, Tree};
use crate::frr::stanza::rules;
use crate::runtime::Daemon;
use crate::scope::Scope;

/// The edits of the whole configuration. The underlay is the first scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrrChange {
    /// By scope, in the order in which they are sent; a scope without a change is absent.
    pub scopes: BTreeMap<Scope, Vec<CommandBatch>>,
    /// Lines without a rule in the stanzas of these scopes: reported and left alone.
    pub unknown: BTreeSet<(Scope, Daemon, String)>,
}

impl FrrChange {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Count of lines that change something, without those that only enter or leave a stanza.
    pub fn lines(&self) -> usize {
        let commands = self.scopes.values().flatten().flat_map(|batch| &batch.commands);
        commands.filter(|command| command.intent == Intent::Set).count()
    }
}

/// The edits that make `wanted` of `observed`. A scope that is not wanted is left alone; what is removed, and what is removed
/// in order to be built again, the caller has removed from `observed` before (see [`super::removal`]): FRR does not change
/// the identity of a scope in place.
pub fn diff(observed: &Config, wanted: &Config) -> FrrChange {
    let mut change = FrrChange::default();
    for scope in wanted.scopes() {
        if observed.same(wanted, scope) {
            continue;
        }
        report_unknown(observed, scope, &mut change.unknown);
        let batches = edit(observed, wanted, scope);
        if !batches.is_empty() {
            change.scopes.insert(scope.clone(), batches);
        }
    }
    change
}

/// The policies of a scope of which FRR runs nothing yet: the part of its edits that depends on nothing else. `None` if it
/// has no policies.
pub fn policies_of_new(wanted: &Config, scope: &Scope) -> Option<CommandBatch> {
    let (policies, _) = split(wanted.tree(scope, Daemon::Bgpd)?);
    batch(BatchStage::Policies, Daemon::Bgpd, scope, additions(&Tree::default(), &policies, &[]))
}

/// The policies of the underlay, where nothing else of it changes but what is left over: no line of an instance needs them, and
/// no line of an instance has to be sent before. So it is where an IP-VRF is added or removed, whose lines are in lists of
/// the underlay.
pub fn policies_of_underlay(observed: &Config, wanted: &Config) -> Option<CommandBatch> {
    let scope = &Scope::Underlay;
    if !observed.has(scope) || observed.same(wanted, scope) {
        return None;
    }
    let batches = edit(observed, wanted, scope);
    let is_policy = |batch: &CommandBatch| matches!(batch.stage, BatchStage::Policies | BatchStage::Leftovers);
    let are_alone = batches.iter().all(is_policy);
    batches.into_iter().find(|batch| are_alone && batch.stage == BatchStage::Policies)
}

/// The edits of one scope.
fn edit(observed: &Config, wanted: &Config, scope: &Scope) -> Vec<CommandBatch> {
    let empty = Tree::default();
    let of = |daemon| (observed.tree(scope, daemon).unwrap_or(&empty), wanted.tree(scope, daemon).unwrap_or(&empty));
    let mut batches = Vec::new();
    let mut send = |stage, daemon, changes| batches.extend(batch(stage, daemon, scope, changes));
    let (old_profiles, profiles) = of(Daemon::Bfdd);
    send(BatchStage::Profiles, Daemon::Bfdd, additions(old_profiles, profiles, &[]));
    claim(observed, wanted, scope, &mut send);
    for daemon in [Daemon::Zebra, Daemon::Staticd] {
        let (mut old_vrf, vrf) = of(daemon);
        if daemon == Daemon::Zebra && unclaimed(observed, wanted, scope) {
            // `claim` has removed its VNI.
            old_vrf = &empty;
        }
        // The stanza itself stays with its VRF.
        let mut kept = vrf.clone();
        for header in old_vrf.0.keys().filter(|line| rules::opens(line.send())) {
            kept.0.entry(header.clone()).or_default();
        }
        send(BatchStage::Vrf, daemon, [additions(old_vrf, vrf, &[]), removals(old_vrf, &kept, &[])].concat());
    }
    let (old_bgp, bgp) = of(Daemon::Bgpd);
    let (old_policies, old_instance) = split(old_bgp);
    let (policies, instance) = split(bgp);
    let added = additions(&old_policies, &policies, &[]);
    let (replaced, unused) = replaced_lines(&added, removals(&old_policies, &policies, &[]));
    send(BatchStage::Policies, Daemon::Bgpd, [added, replaced].concat());
    let changes =
        delay_derived_targets(instance_changes(&old_instance, &instance), &old_instance, wanted.identity(scope));
    let changes = delay_derived_targets_of_l2vnis(changes, &instance, wanted.identity(scope).asn);
    send(BatchStage::Instance, Daemon::Bgpd, changes);
    send(BatchStage::Leftovers, Daemon::Bgpd, unused);
    send(BatchStage::Leftovers, Daemon::Bfdd, removals(old_profiles, profiles, &[]));
    batches.extend(session_resets(old_bgp, bgp, scope));
    batches
}

/// The removed lines of lists to which lines are added, and all others. Prefixes of neighbouring subnets are one line, which a
/// further subnet replaces: in one commit, in which none of them is missing.
fn replaced_lines(added: &[LineChange], removed: Vec<LineChange>) -> (Vec<LineChange>, Vec<LineChange>) {
    let extended: BTreeSet<&str> = added.iter().filter_map(|change| rules::shared_list(change.line.send())).collect();
    let is_replaced = |change: &LineChange| {
        let line = change.line.send();
        rules::shared_list(line.strip_prefix("no ").unwrap_or(line)).is_some_and(|list| extended.contains(list))
    };
    removed.into_iter().partition(is_replaced)
}

/// Whether bgpd lacks the instance of an IP-VRF in an AS other than that of the default instance.
fn unclaimed(observed: &Config, wanted: &Config, scope: &Scope) -> bool {
    let (own, default) = (wanted.identity(scope).asn, wanted.identity(&Scope::Underlay).asn);
    own.is_some() && default.is_some() && own != default && observed.identity(scope).asn.is_none()
}

/// Creates such an instance. If zebra has the VNI already, bgpd was restarted, and the instance that bgpd created by itself is
/// removed first.
fn claim(
    observed: &Config,
    wanted: &Config,
    scope: &Scope,
    send: &mut impl FnMut(BatchStage, Daemon, Vec<LineChange>),
) {
    let (Scope::Vrf(vrf), true) = (scope, unclaimed(observed, wanted, scope)) else { return };
    if let (Some(zebra), Some(default)) = (observed.tree(scope, Daemon::Zebra), wanted.identity(&Scope::Underlay).asn) {
        send(BatchStage::NoVni, Daemon::Zebra, emptied(zebra));
        let line = Line::new(&format!("no router bgp {default} vrf {vrf}"));
        send(BatchStage::NoInstance, Daemon::Bgpd, vec![LineChange { path: vec![], line }]);
    }
    let headers = wanted.tree(scope, Daemon::Bgpd).into_iter().flat_map(|tree| tree.0.keys());
    let header = headers.filter(|line| line.after("router").is_some());
    send(BatchStage::Claim, Daemon::Bgpd, header.map(|line| LineChange { path: vec![], line: line.clone() }).collect());
}

/// The policies and the instance.
fn split(bgp: &Tree) -> (Tree, Tree) {
    let (instance, policies) = bgp.0.clone().into_iter().partition(|(line, _)| line.after("router").is_some());
    (Tree(policies), Tree(instance))
}

/// FRR: "Graceful restart configuration changed, reset all peers to take effect": the capability is sent in OPEN only
/// (RFC 4724 section 3). Of all edits only this one needs a reset that FRR does not do by itself: passwords, AS numbers,
/// timers, router ids and families reset the session, route maps and prefix lists refresh it.
///
/// After errors of OPEN messages bgpd waits longer and longer until it connects again, up to two minutes, also after the AS number of the
/// neighbor has been corrected. A reset ends that.
fn session_resets(observed: &Tree, wanted: &Tree, scope: &Scope) -> Option<CommandBatch> {
    let of_vrf = match scope {
        Scope::Underlay => String::new(),
        Scope::Vrf(vrf) => format!("vrf {vrf} "),
        // They have no instance of their own.
        Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => return None,
    };
    let restarts = |tree: &Tree| tree.0.contains_key(&Line::new("bgp graceful-restart"));
    let instances = || wanted.0.iter().filter_map(|(header, new)| Some((observed.0.get(header)?, new)));
    let peers: Vec<&str> = if instances().any(|(old, new)| restarts(old) != restarts(new)) {
        vec!["*"]
    } else {
        instances().flat_map(|(old, new)| with_another_as(old, new)).collect()
    };
    let command = |peer: &str| {
        let line = Line::new(&format!("clear bgp {of_vrf}{peer}"));
        VtyCommand { scope: scope.clone(), context: vec![], line, intent: Intent::Set }
    };
    (!peers.is_empty()).then(|| CommandBatch {
        stage: BatchStage::Clear,
        daemon: Daemon::Bgpd,
        mode: CommandMode::Exec,
        retry: false,
        commands: peers.into_iter().map(command).collect(),
    })
}

/// The neighbors of an instance whose AS number changes.
fn with_another_as<'a>(observed: &'a Tree, wanted: &'a Tree) -> Vec<&'a str> {
    fn asn(line: &Line) -> Option<(&str, &str)> {
        let (peer, asn) = line.after("neighbor")?.split_once(" remote-as ")?;
        Some((peer.strip_suffix(" interface").unwrap_or(peer), asn))
    }
    fn asns(tree: &Tree) -> BTreeMap<&str, &str> {
        tree.0.keys().filter_map(asn).collect()
    }
    let before = asns(observed);
    let is_other = |(peer, asn): &(&str, &str)| before.get(peer).is_some_and(|before| before != asn);
    asns(wanted).into_iter().filter(is_other).map(|(peer, _)| peer).collect()
}

fn report_unknown(observed: &Config, scope: &Scope, unknown: &mut BTreeSet<(Scope, Daemon, String)>) {
    fn walk(tree: &Tree, found: &mut Vec<String>) {
        for (line, below) in &tree.0 {
            if rules::identity(line.send()).is_none() {
                found.push(line.to_string());
            }
            walk(below, found);
        }
    }
    for daemon in Daemon::ALL {
        let mut found = Vec::new();
        observed.tree(scope, daemon).into_iter().for_each(|tree| walk(tree, &mut found));
        unknown.extend(found.into_iter().map(|line| (scope.clone(), daemon, line)));
    }
}

impl fmt::Display for FrrChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (scope, batch) in self.scopes.iter().flat_map(|(scope, batches)| batches.iter().map(move |b| (scope, b))) {
            for command in batch.commands.iter().filter(|command| command.intent != Intent::Leave) {
                writeln!(f, "{scope}: {}: {command}", batch.daemon)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
