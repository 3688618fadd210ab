//! Changes between two trees: what comes, what goes, and in which order within an instance. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::command::LineChange;
use super::line::Line;
use super::tree::{ScopeIdentity, Tree};
use crate::frr::stanza::rules;
use crate::types::RouteTarget;

/// Neighbors that go take all their lines with them, in every address family.
pub(crate) fn instance_changes(have: &Tree, want: &Tree) -> Vec<LineChange> {
    let mut have = have.clone();
    let mut changes = Vec::new();
    for (header, instance) in &mut have.0 {
        let Some(wanted) = want.0.get(header) else { continue };
        let made = |tree: &Tree| -> BTreeMap<String, Line> {
            let makers = tree.0.keys().filter(|line| rules::creates_neighbor(line.send()));
            makers.filter_map(|line| Some((rules::neighbor(line.send())?.to_owned(), line.clone()))).collect()
        };
        let stays = made(wanted);
        for (peer, line) in made(instance).into_iter().filter(|(peer, _)| !stays.contains_key(peer)) {
            forget(instance, &peer);
            changes.extend(removal(&line).map(|line| LineChange { path: vec![header.clone()], line }));
        }
    }
    // FRR refuses it on an iBGP peer, also to take it back: it goes before the peer becomes one.
    let only_external = |change: &LineChange| change.line.send().ends_with(" as-override");
    let (first, last): (Vec<_>, Vec<_>) = removals(&have, want, &[]).into_iter().partition(only_external);
    changes.extend(first);
    changes.extend(additions(&have, want, &[]));
    changes.extend(last);
    changes
}

/// A route target of nobody, in force for a moment.
const PLACEHOLDER: &str = "65535:65535";

/// FRR derives a route target from AS number and VNI (RFC 8365 section 5.1.2.1) and does not take the same one from the
/// configuration while the derived one is in force, which any other configured one ends. So it comes after others, or
/// after a placeholder that goes again.
pub(crate) fn spare_derived_targets(changes: Vec<LineChange>, had: &Tree, identity: ScopeIdentity) -> Vec<LineChange> {
    let (Some(asn), Some(vni)) = (identity.asn, identity.vni) else { return changes };
    let derived = RouteTarget::derived(asn, vni);
    let mut out = changes;
    for keyword in ["route-target import", "route-target export"] {
        let is_target = |line: &Line| line.after(keyword).is_some();
        let target = Line::new(&format!("{keyword} {derived}"));
        let Some(index) = out.iter().position(|change| change.line == target) else { continue };
        if had.0.values().any(|instance| instance.0.values().any(|family| family.0.keys().any(is_target))) {
            continue;
        }
        let change = out.remove(index);
        if let Some(last) = out.iter().rposition(|other| is_target(&other.line)) {
            out.insert(last + 1, change);
            continue;
        }
        let placeholder = Line::new(&format!("{keyword} {PLACEHOLDER}"));
        let at = |line| LineChange { path: change.path.clone(), line };
        let removal = removal(&placeholder).map(at);
        out.splice(index..index, [Some(at(placeholder)), Some(change), removal].into_iter().flatten());
    }
    out
}

/// The line that takes a line back.
fn removal(line: &Line) -> Option<Line> {
    rules::removal(line.send()).map(|text| Line::new(&text))
}

fn forget(tree: &mut Tree, peer: &str) {
    tree.0.retain(|line, _| rules::neighbor(line.send()) != Some(peer));
    for below in tree.0.values_mut() {
        forget(below, peer);
    }
}

/// Lines of `want` that `have` lacks or has with another value, outer before inner.
pub(crate) fn additions(have: &Tree, want: &Tree, path: &[Line]) -> Vec<LineChange> {
    let nothing = Tree::default();
    let mut changes = Vec::new();
    for (line, below) in want.ordered() {
        let had = have.0.get(line);
        if had.is_none() {
            changes.push(LineChange { path: path.to_vec(), line: line.clone() });
        }
        changes.extend(additions(had.unwrap_or(&nothing), below, &[path, std::slice::from_ref(line)].concat()));
    }
    changes
}

/// Lines of `have` whose identity `want` has not at all, last first.
pub(crate) fn removals(have: &Tree, want: &Tree, path: &[Line]) -> Vec<LineChange> {
    let nothing = Tree::default();
    let kept: BTreeSet<String> = want.0.keys().filter_map(|line| rules::slot(line.send())).collect();
    let mut changes = Vec::new();
    let mut skip_profile_of = BTreeSet::new();
    let gone = |line: &Line| rules::slot(line.send()).is_some_and(|slot| !kept.contains(&slot));
    for (line, _) in have.0.iter().filter(|(line, _)| gone(line)) {
        // `no neighbor X bfd` takes the profile along.
        if let Some(peer) = rules::neighbor(line.send()).filter(|_| line.send().ends_with(" bfd")) {
            skip_profile_of.insert(format!("neighbor {peer} bfd profile"));
        }
    }
    for (line, below) in have.ordered().into_iter().rev() {
        let inner = [path, std::slice::from_ref(line)].concat();
        let removal = removal(line).filter(|_| gone(line));
        match (removal, want.0.get(line)) {
            (_, Some(wanted)) => changes.extend(removals(below, wanted, &inner)),
            (Some(_), None) if rules::slot(line.send()).is_some_and(|slot| skip_profile_of.contains(&slot)) => {}
            (Some(removal), None) => changes.push(LineChange { path: path.to_vec(), line: removal }),
            (None, None) if rules::opens(line.send()) => changes.extend(removals(below, &nothing, &inner)),
            (None, None) => {}
        }
    }
    changes
}

/// Removes the content of the stanzas and leaves the stanzas themselves.
pub(crate) fn emptied(tree: &Tree) -> Vec<LineChange> {
    let nothing = Tree::default();
    tree.0.iter().flat_map(|(header, below)| removals(below, &nothing, std::slice::from_ref(header))).collect()
}
