//! FRR configuration as a tree that compares by value. In: text in FRR's form (its own or rendered). Out: [`Tree`], split by
//! scope and daemon ([`Config`]). Lines that do not configure routing (banner, `log`, `!`, `exit`, `netns`) are left out, and
//! so is the order of lines, which FRR ignores. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::iter::Peekable;
use std::sync::Arc;

use super::line::Line;
use crate::frr::stanza::policy_names;
use crate::frr::stanza::rules;
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::types::{Asn, Vni};

/// Lines with the lines below them. A set: the order of lines matters nowhere, as sequence numbers are in the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(pub BTreeMap<Line, Tree>);

impl Tree {
    /// Reads what FRR or a template printed: one more blank of indentation is one level down.
    pub fn parse(text: &str) -> Self {
        let lines = text.lines().map(|raw| (raw.len() - raw.trim_start().len(), Line::new(raw)));
        Self::level(&mut lines.filter(|(_, line)| !is_ignored(line)).peekable(), None)
    }

    /// The lines with more indentation than `above`, up to the first that has not.
    fn level(lines: &mut Peekable<impl Iterator<Item = (usize, Line)>>, above: Option<usize>) -> Self {
        let mut level = Self::default();
        while let Some((indent, line)) = lines.next_if(|(indent, _)| above.is_none_or(|above| *indent > above)) {
            let below = Self::level(lines, Some(indent));
            level.0.entry(line).or_default().merge(below);
        }
        level
    }

    /// Adds all lines of another.
    pub fn merge(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        for (line, below) in other.0 {
            self.0.entry(line).or_default().merge(below);
        }
    }

    /// No line at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Count of lines.
    pub fn len(&self) -> usize {
        self.0.values().map(|below| 1 + below.len()).sum()
    }

    /// The lines in the order in which they are sent.
    pub fn ordered(&self) -> Vec<(&Line, &Self)> {
        let mut lines: Vec<_> = self.0.iter().collect();
        lines.sort_by_cached_key(|(line, _)| rules::rank(line.send()));
        lines
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        for (line, below) in self.ordered() {
            writeln!(f, "{:depth$}{line}", "")?;
            below.write(f, depth + 1)?;
        }
        Ok(())
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

/// Lines that do not configure routing.
fn is_ignored(line: &Line) -> bool {
    let text = line.send();
    if text.is_empty() || text.starts_with('!') || text.starts_with('#') {
        return true;
    }
    let first = line.words().next().unwrap_or_default();
    // `netns PATH` is printed by FRR 8 below `vrf X` with the netns backend, for a namespace that it found by itself.
    matches!(first, "frr" | "hostname" | "log" | "end" | "Building" | "Current" | "netns" | "service")
        || first == "exit"
        || first.starts_with("exit-")
}

/// The configuration of all daemons, split by scope. An absent entry and an empty tree are the same. Copies share the part of
/// a scope until one of them changes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    parts: BTreeMap<Scope, Arc<BTreeMap<Daemon, Tree>>>,
}

/// AS number and VNI of a scope: with another one the stanza is another one to FRR, or FRR rejects the change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ScopeIdentity {
    /// AS number of the `router bgp` stanza.
    pub asn: Option<Asn>,
    /// L3VNI of the `vrf` stanza.
    pub vni: Option<Vni>,
}

impl ScopeIdentity {
    /// Both have a value and they differ. A missing one can be added.
    pub fn clashes(self, other: Self) -> bool {
        let differ = |a: Option<u32>, b: Option<u32>| a.is_some() && b.is_some() && a != b;
        differ(self.asn.map(Into::into), other.asn.map(Into::into))
            || differ(self.vni.map(Into::into), other.vni.map(Into::into))
    }
}

impl Config {
    /// Adds the running configuration of one daemon. Returns what is of no scope.
    pub fn absorb(&mut self, daemon: Daemon, tree: Tree) -> Tree {
        let mut foreign = Tree::default();
        for (line, below) in tree.0 {
            if line.send() == "bfd" {
                self.absorb_profiles(daemon, below, &mut foreign);
                continue;
            }
            match scope_of(line.send()) {
                // FRR prints a bare `vrf X` for every VRF that the kernel has.
                Some(Scope::Vrf(_)) if below.is_empty() && line.words().next() == Some("vrf") => {}
                Some(scope) => {
                    self.part(scope, daemon).0.insert(line, below);
                }
                None => {
                    foreign.0.insert(line, below);
                }
            }
        }
        foreign
    }

    /// `bfd` is one stanza with the profiles of all scopes.
    fn absorb_profiles(&mut self, daemon: Daemon, below: Tree, foreign: &mut Tree) {
        let bfd = Line::new("bfd");
        for (line, settings) in below.0 {
            let scope = line.after("profile").and_then(policy_names::scope_of);
            let tree = scope.map_or(&mut *foreign, |scope| self.part(scope, daemon));
            tree.0.entry(bfd.clone()).or_default().0.insert(line, settings);
        }
    }

    /// Moves the configuration of one daemon to another: a release may print both in one.
    pub fn hand_over(&mut self, from: Daemon, to: Daemon) {
        if from == to {
            return;
        }
        for part in self.parts.values_mut().filter(|part| part.contains_key(&from)) {
            let part = Arc::make_mut(part);
            let Some(tree) = part.remove(&from) else { continue };
            let target = part.entry(to).or_default();
            for (line, below) in tree.0 {
                target.0.entry(line).or_default().0.extend(below.0);
            }
        }
    }

    /// Takes from `other` what it has of one daemon, in place of what this has.
    pub fn assume(&mut self, daemon: Daemon, other: &Self) {
        for part in self.parts.values_mut().filter(|part| part.contains_key(&daemon)) {
            Arc::make_mut(part).remove(&daemon);
        }
        for (scope, _, tree) in other.parts().filter(|(_, of, _)| *of == daemon) {
            *self.part(scope.clone(), daemon) = tree.clone();
        }
    }

    fn part(&mut self, scope: Scope, daemon: Daemon) -> &mut Tree {
        Arc::make_mut(self.parts.entry(scope).or_default()).entry(daemon).or_default()
    }

    /// Adds lines at the top level.
    pub fn add(&mut self, scope: Scope, daemon: Daemon, lines: &[&str]) {
        if lines.is_empty() {
            return;
        }
        let part = self.part(scope, daemon);
        part.0.extend(lines.iter().map(|line| (Line::new(line), Tree::default())));
    }

    /// The tree of one scope in one daemon.
    pub fn tree(&self, scope: &Scope, daemon: Daemon) -> Option<&Tree> {
        self.parts.get(scope)?.get(&daemon).filter(|tree| !tree.is_empty())
    }

    /// Everything, by scope and daemon.
    pub fn parts(&self) -> impl Iterator<Item = (&Scope, Daemon, &Tree)> {
        self.parts.iter().flat_map(|(scope, part)| part.iter().map(move |(daemon, tree)| (scope, *daemon, tree)))
    }

    /// The scopes that have a line.
    pub fn scopes(&self) -> BTreeSet<&Scope> {
        self.parts.keys().filter(|scope| self.has(scope)).collect()
    }

    /// Whether `scope` is the same in both.
    pub fn same(&self, other: &Self, scope: &Scope) -> bool {
        self.parts.get(scope) == other.parts.get(scope)
            || Daemon::ALL.into_iter().all(|daemon| self.tree(scope, daemon) == other.tree(scope, daemon))
    }

    /// Whether a scope has a line.
    pub fn has(&self, scope: &Scope) -> bool {
        self.parts.get(scope).is_some_and(|part| part.values().any(|tree| !tree.is_empty()))
    }

    /// Everything but these scopes.
    #[must_use]
    pub fn without(&self, scopes: &BTreeSet<Scope>) -> Self {
        let parts = self.parts.iter().filter(|(scope, _)| !scopes.contains(scope));
        Self { parts: parts.map(|(scope, part)| (scope.clone(), Arc::clone(part))).collect() }
    }

    /// Takes the part of `scope` from `other` and shares it.
    pub fn take_over(&mut self, scope: &Scope, other: &Self) {
        if let Some(part) = other.parts.get(scope) {
            self.parts.insert(scope.clone(), Arc::clone(part));
        }
    }

    /// Shares with `other` the parts that are equal: they are in memory once, and compare at once from then on.
    pub fn share(&mut self, other: &Self) {
        for (scope, part) in &mut self.parts {
            if let Some(same) = other.parts.get(scope).filter(|other| *other == part) {
                *part = Arc::clone(same);
            }
        }
    }

    /// Whether the part of `scope` is shared.
    #[cfg(test)]
    pub fn is_shared(&self, scope: &Scope, other: &Self) -> bool {
        matches!((self.parts.get(scope), other.parts.get(scope)), (Some(a), Some(b)) if Arc::ptr_eq(a, b))
    }

    /// What cannot change in place in `scope`.
    pub fn identity(&self, scope: &Scope) -> ScopeIdentity {
        let bgp = self.tree(scope, Daemon::Bgpd).into_iter().flat_map(|tree| tree.0.keys());
        let asn = bgp.filter_map(|line| line.after("router bgp")).find_map(|rest| rest.split(' ').next()?.parse().ok());
        let vrf = self.tree(scope, Daemon::Zebra).into_iter().flat_map(|tree| tree.0.values());
        let vni =
            vrf.flat_map(|tree| tree.0.keys()).find_map(|line| line.after("vni")?.split(' ').next()?.parse().ok());
        ScopeIdentity {
            asn: asn.and_then(|raw: u32| Asn::try_from(raw).ok()),
            vni: vni.and_then(|raw: u32| Vni::try_from(raw).ok()),
        }
    }
}

/// The scope of a line at the top level; `None` if it is of no scope.
pub(crate) fn scope_of(line: &str) -> Option<Scope> {
    let words: Vec<_> = line.split(' ').collect();
    match words.as_slice() {
        ["router", "bgp", _]
        | ["zebra", "work-queue" | "zapi-packets", _]
        | ["no", "zebra", "nexthop", "kernel", "enable"]
        | ["ip" | "ipv6", "nht", "resolve-via-default"]
        | ["no", "ip" | "ipv6", "nht", "resolve-via-default"]
        // The L3VNI of the default VRF, which has none: an IP-VRF cannot have a VNI that is configured here.
        | ["vni", _] => Some(Scope::Underlay),
        ["router", "bgp", _, "vrf", vrf] | ["vrf", vrf] => vrf.parse().ok().map(Scope::Vrf),
        ["ip" | "ipv6", "prefix-list", name, ..] | ["route-map", name, ..] => policy_names::scope_of(name),
        _ => None,
    }
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (scope, daemon, tree) in self.parts() {
            write!(f, "! {scope}: {daemon}\n{tree}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
