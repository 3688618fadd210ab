//! From what FRR has to what it shall have. In: two [`Config`]s. Out: for each scope the command lines in order, or that
//! it has to be rebuilt or removed. `diff(x, x)` is empty. Lines that no rule knows (typed by hand) are reported and left
//! alone. Pure.
//!
//! Order within a scope: BFD profiles, the instance where it is in an AS of its own, `vrf`/`vni`, prefix lists, route maps,
//! neighbors that go, new and changed lines, lines that go, then policies and profiles that nothing uses any more. New
//! comes before old goes, so that the last route target or network never is missing in between.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::batch::{BatchStage, CommandBatch, CommandMode, merge};
use super::changes::{additions, instance_changes, removals, spare_derived_targets};
use super::command::{Intent, LineChange, VtyCommand, lay_out};
use super::line::Line;
use super::tree::{Config, Tree};
use crate::frr::stanza::rules;
use crate::runtime::Daemon;
use crate::scope::Scope;

/// What happens to one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeChange {
    /// Nothing of it is there: all of it is sent.
    Build(Vec<CommandBatch>),
    /// A part changes in place.
    Edit(Vec<CommandBatch>),
    /// AS number or VNI changed: [`teardown`] first, then these.
    Rebuild(Vec<CommandBatch>),
    /// It is wanted no more: [`teardown`].
    Remove,
}

impl ScopeChange {
    /// The batches that make the wanted state, without a teardown before.
    pub fn batches(&self) -> &[CommandBatch] {
        match self {
            Self::Build(batches) | Self::Edit(batches) | Self::Rebuild(batches) => batches,
            Self::Remove => &[],
        }
    }
}

/// The change of the whole configuration. The underlay is the first scope.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrrChange {
    /// By scope; a scope without a change is absent.
    pub scopes: BTreeMap<Scope, ScopeChange>,
    /// Lines within our stanzas that are not ours: reported, not fought.
    pub unknown: BTreeSet<(Scope, Daemon, String)>,
}

impl FrrChange {
    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Count of lines that change something, without those that only enter or leave a stanza and without teardowns.
    pub fn lines(&self) -> usize {
        let batches = self.scopes.values().flat_map(ScopeChange::batches);
        batches.flat_map(|batch| &batch.commands).filter(|command| command.intent == Intent::Set).count()
    }
}

/// How a scope is taken away: first `before`, then the network namespace or VRF device goes, then `after`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Teardown {
    /// In order.
    pub before: Vec<CommandBatch>,
    /// When zebra knows the VRF as inactive: `no vrf X`. Never `no netns`: zebra 8.4 aborts.
    pub after: Vec<CommandBatch>,
}

/// What to do so that `have` becomes `want`.
pub fn diff(have: &Config, want: &Config) -> FrrChange {
    let mut change = FrrChange::default();
    let (present, wanted) = (have.scopes(), want.scopes());
    // FRR refuses to remove the default instance while there are others: they go and come with it.
    let all =
        wanted.contains(&Scope::Underlay) && have.identity(&Scope::Underlay).clashes(want.identity(&Scope::Underlay));
    for scope in present.union(&wanted).copied() {
        if !wanted.contains(scope) {
            change.scopes.insert(scope.clone(), ScopeChange::Remove);
            continue;
        }
        if !all && have.same(want, scope) {
            continue;
        }
        let is_new = !present.contains(scope);
        let rebuild = !is_new && (all || have.identity(scope).clashes(want.identity(scope)));
        let none = Config::default();
        let batches = edit(if rebuild { &none } else { have }, want, scope);
        if !rebuild {
            report_unknown(have, scope, &mut change.unknown);
        }
        let of_scope = match (is_new, rebuild) {
            (true, _) => ScopeChange::Build(batches),
            (_, true) => ScopeChange::Rebuild(batches),
            _ if batches.is_empty() => continue,
            _ => ScopeChange::Edit(batches),
        };
        change.scopes.insert(scope.clone(), of_scope);
    }
    change
}

/// The policies of IP-VRFs that FRR has nothing of: part of [`diff`], and right before anything of the kernel is known.
pub fn policies_of_new(have: &Config, want: &Config) -> Vec<CommandBatch> {
    let is_new = |scope: &&Scope| **scope != Scope::Underlay && !have.has(scope);
    let policies = |scope: &Scope| {
        let (policies, _) = split(want.tree(scope, Daemon::Bgpd)?);
        batch(BatchStage::Policies, Daemon::Bgpd, scope, additions(&Tree::default(), &policies, &[]))
    };
    merge(want.scopes().into_iter().filter(is_new).filter_map(policies))
}

/// How to take `scope` away, from what FRR has of it.
pub fn teardown(have: &Config, scope: &Scope) -> Teardown {
    let nothing = Tree::default();
    let mut before = Vec::new();
    let zebra = have.tree(scope, Daemon::Zebra).map(|tree| match scope {
        // Only the VNI: the `vrf` stanza itself stays until its namespace or device is gone.
        Scope::Vrf(_) => emptied(tree),
        Scope::Underlay | Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => removals(tree, &nothing, &[]),
    });
    before.extend(batch(BatchStage::NoVni, Daemon::Zebra, scope, zebra.unwrap_or_default()));
    let routes = have.tree(scope, Daemon::Staticd).map(emptied).unwrap_or_default();
    before.extend(batch(BatchStage::NoVni, Daemon::Staticd, scope, routes));
    let (policies, instances): (Vec<_>, Vec<_>) = have
        .tree(scope, Daemon::Bgpd)
        .map(|tree| removals(tree, &nothing, &[]))
        .unwrap_or_default()
        .into_iter()
        .partition(|change| change.line.after("no router").is_none());
    before.extend(batch(BatchStage::NoInstance, Daemon::Bgpd, scope, instances));
    before.extend(batch(BatchStage::Leftovers, Daemon::Bgpd, scope, policies));
    let profiles = have.tree(scope, Daemon::Bfdd).map(emptied).unwrap_or_default();
    before.extend(batch(BatchStage::Leftovers, Daemon::Bfdd, scope, profiles));
    let vrf = match scope {
        Scope::Vrf(name) => vec![LineChange { path: vec![], line: Line::new(&format!("no vrf {name}")) }],
        Scope::Underlay | Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => vec![],
    };
    Teardown { before, after: batch(BatchStage::NoVrf, Daemon::Zebra, scope, vrf).into_iter().collect() }
}

fn edit(have: &Config, want: &Config, scope: &Scope) -> Vec<CommandBatch> {
    let empty = Tree::default();
    let of = |daemon| (have.tree(scope, daemon).unwrap_or(&empty), want.tree(scope, daemon).unwrap_or(&empty));
    let mut batches = Vec::new();
    let mut send = |stage, daemon, changes| batches.extend(batch(stage, daemon, scope, changes));
    let (had_profiles, profiles) = of(Daemon::Bfdd);
    send(BatchStage::Profiles, Daemon::Bfdd, additions(had_profiles, profiles, &[]));
    claim(have, want, scope, &mut send);
    for daemon in [Daemon::Zebra, Daemon::Staticd] {
        let (mut had_vrf, vrf) = of(daemon);
        if daemon == Daemon::Zebra && unclaimed(have, want, scope) {
            // Its VNI has just been taken back.
            had_vrf = &empty;
        }
        // The stanza itself stays with its VRF.
        let mut stands = vrf.clone();
        for header in had_vrf.0.keys().filter(|line| rules::opens(line.send())) {
            stands.0.entry(header.clone()).or_default();
        }
        send(BatchStage::Vrf, daemon, [additions(had_vrf, vrf, &[]), removals(had_vrf, &stands, &[])].concat());
    }
    let (had_bgp, bgp) = of(Daemon::Bgpd);
    let (had_policies, had_instance) = split(had_bgp);
    let (policies, instance) = split(bgp);
    send(BatchStage::Policies, Daemon::Bgpd, additions(&had_policies, &policies, &[]));
    let changes =
        spare_derived_targets(instance_changes(&had_instance, &instance), &had_instance, want.identity(scope));
    send(BatchStage::Instance, Daemon::Bgpd, changes);
    send(BatchStage::Leftovers, Daemon::Bgpd, removals(&had_policies, &policies, &[]));
    send(BatchStage::Leftovers, Daemon::Bfdd, removals(had_profiles, profiles, &[]));
    batches.extend(session_resets(had_bgp, bgp, scope));
    batches
}

/// Whether bgpd lacks the instance of an IP-VRF in an AS other than that of the default instance.
fn unclaimed(have: &Config, want: &Config, scope: &Scope) -> bool {
    let (own, default) = (want.identity(scope).asn, want.identity(&Scope::Underlay).asn);
    own.is_some() && default.is_some() && own != default && have.identity(scope).asn.is_none()
}

/// Has bgpd make such an instance. Where zebra has the VNI already, bgpd was restarted: what it made by itself goes.
fn claim(have: &Config, want: &Config, scope: &Scope, send: &mut impl FnMut(BatchStage, Daemon, Vec<LineChange>)) {
    let (Scope::Vrf(vrf), true) = (scope, unclaimed(have, want, scope)) else { return };
    if let (Some(zebra), Some(default)) = (have.tree(scope, Daemon::Zebra), want.identity(&Scope::Underlay).asn) {
        send(BatchStage::NoVni, Daemon::Zebra, emptied(zebra));
        let line = Line::new(&format!("no router bgp {default} vrf {vrf}"));
        send(BatchStage::NoInstance, Daemon::Bgpd, vec![LineChange { path: vec![], line }]);
    }
    let headers = want.tree(scope, Daemon::Bgpd).into_iter().flat_map(|tree| tree.0.keys());
    let header = headers.filter(|line| line.after("router").is_some());
    send(BatchStage::Claim, Daemon::Bgpd, header.map(|line| LineChange { path: vec![], line: line.clone() }).collect());
}

/// Policies, and the instance.
fn split(bgp: &Tree) -> (Tree, Tree) {
    let (instance, policies) = bgp.0.clone().into_iter().partition(|(line, _)| line.after("router").is_some());
    (Tree(policies), Tree(instance))
}

fn batch(stage: BatchStage, daemon: Daemon, scope: &Scope, changes: Vec<LineChange>) -> Option<CommandBatch> {
    let commands = lay_out(scope, changes);
    let retry = stage == BatchStage::NoInstance;
    (!commands.is_empty()).then_some(CommandBatch { stage, daemon, mode: CommandMode::Configure, retry, commands })
}

/// Takes back what is in the stanzas, and leaves these.
fn emptied(tree: &Tree) -> Vec<LineChange> {
    let nothing = Tree::default();
    tree.0.iter().flat_map(|(header, below)| removals(below, &nothing, std::slice::from_ref(header))).collect()
}

/// FRR: "Graceful restart configuration changed, reset all peers to take effect" - the capability is told in OPEN only
/// (RFC 4724 section 3). Of all that we change, only this needs a reset that FRR does not do by itself: passwords,
/// AS numbers, timers, router ids and families reset the session, route maps and prefix lists refresh it.
fn session_resets(have: &Tree, want: &Tree, scope: &Scope) -> Option<CommandBatch> {
    let restarts = |tree: &Tree| tree.0.contains_key(&Line::new("bgp graceful-restart"));
    let toggled =
        want.0.iter().any(|(header, wanted)| have.0.get(header).is_some_and(|had| restarts(had) != restarts(wanted)));
    let line = match scope {
        Scope::Underlay => Line::new("clear bgp *"),
        Scope::Vrf(vrf) => Line::new(&format!("clear bgp vrf {vrf} *")),
        // They have no instance of their own.
        Scope::Segment(_) | Scope::Passthrough | Scope::Raw(_) => return None,
    };
    let commands = vec![VtyCommand { scope: scope.clone(), context: vec![], line, intent: Intent::Set }];
    toggled.then_some(CommandBatch {
        stage: BatchStage::Clear,
        daemon: Daemon::Bgpd,
        mode: CommandMode::Exec,
        retry: false,
        commands,
    })
}

fn report_unknown(have: &Config, scope: &Scope, unknown: &mut BTreeSet<(Scope, Daemon, String)>) {
    fn walk(tree: &Tree, found: &mut Vec<String>) {
        for (line, below) in &tree.0 {
            if rules::slot(line.send()).is_none() {
                found.push(line.to_string());
            }
            walk(below, found);
        }
    }
    for daemon in Daemon::ALL {
        let mut found = Vec::new();
        have.tree(scope, daemon).into_iter().for_each(|tree| walk(tree, &mut found));
        unknown.extend(found.into_iter().map(|line| (scope.clone(), daemon, line)));
    }
}

impl fmt::Display for FrrChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (scope, change) in &self.scopes {
            match change {
                ScopeChange::Remove => writeln!(f, "{scope}: remove")?,
                ScopeChange::Rebuild(_) => writeln!(f, "{scope}: remove and build anew")?,
                ScopeChange::Build(_) | ScopeChange::Edit(_) => {}
            }
            for batch in change.batches() {
                for command in batch.commands.iter().filter(|command| command.intent != Intent::Leave) {
                    writeln!(f, "{scope}: {}: {command}", batch.daemon)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
