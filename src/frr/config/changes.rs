//! Changes between two trees: lines that are added, lines that are removed, and their order within an instance. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::command::LineChange;
use super::line::Line;
use super::tree::{ScopeIdentity, Tree};
use crate::frr::stanza::rules;
use crate::types::{Asn, RouteTarget, Vni};

/// The changes of BGP instances. With a neighbor that is removed, FRR removes all its lines in every address family.
pub(crate) fn instance_changes(observed: &Tree, wanted: &Tree) -> Vec<LineChange> {
    let mut observed = observed.clone();
    let mut changes = Vec::new();
    for (header, instance) in &mut observed.0 {
        let Some(wanted) = wanted.0.get(header) else { continue };
        let neighbors = |tree: &Tree| -> BTreeMap<String, Line> {
            let lines = tree.0.keys().filter(|line| rules::creates_neighbor(line.send()));
            lines.filter_map(|line| Some((rules::neighbor(line.send())?.to_owned(), line.clone()))).collect()
        };
        let kept = neighbors(wanted);
        for (peer, line) in neighbors(instance).into_iter().filter(|(peer, _)| !kept.contains_key(peer)) {
            remove_neighbor(instance, &peer);
            changes.extend(removal(&line).map(|line| LineChange { path: vec![header.clone()], line }));
        }
    }
    // FRR rejects the one on an iBGP peer, the other on an eBGP peer, also their negations: they are removed before the peer
    // becomes one.
    let of_one_sort = |change: &LineChange| {
        [" as-override", " route-reflector-client"].iter().any(|words| change.line.send().ends_with(words))
    };
    let (first, last): (Vec<_>, Vec<_>) = removals(&observed, wanted, &[]).into_iter().partition(of_one_sort);
    changes.extend(first);
    changes.extend(additions(&observed, wanted, &[]));
    changes.extend(last);
    changes
}

/// A route target that is not in use, in force for a moment.
const PLACEHOLDER: &str = "65535:65535";

/// FRR derives a route target from AS number and VNI (RFC 8365 section 5.1.2.1). While the derived one is in force, which any
/// other configured one ends, it does not accept the same one as configuration. So it is added after others, or after a
/// placeholder that is removed again.
pub(crate) fn delay_derived_targets(
    changes: Vec<LineChange>,
    observed: &Tree,
    identity: ScopeIdentity,
) -> Vec<LineChange> {
    let (Some(asn), Some(vni)) = (identity.asn, identity.vni) else { return changes };
    let derived = RouteTarget::derived(asn, vni);
    let mut out = changes;
    for keyword in ["route-target import", "route-target export"] {
        let is_target = |line: &Line| line.after(keyword).is_some();
        let target = Line::new(&format!("{keyword} {derived}"));
        let Some(index) = out.iter().position(|change| change.line == target) else { continue };
        if observed.0.values().any(|instance| instance.0.values().any(|family| family.0.keys().any(is_target))) {
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

/// The same of L2VNIs. FRR removes the derived target of one with each other target that is added, also where it is configured: it
/// is added after them, or once more. Others are there always: in the model it never is the only one.
pub(crate) fn delay_derived_targets_of_l2vnis(
    changes: Vec<LineChange>,
    wanted: &Tree,
    asn: Option<Asn>,
) -> Vec<LineChange> {
    let Some(asn) = asn else { return changes };
    let mut out = changes;
    let vni_of = |path: &[Line]| Vni::try_from(path.last()?.after("vni")?.parse::<u32>().ok()?).ok();
    for keyword in ["route-target import", "route-target export"] {
        let adds = |change: &LineChange| change.line.after(keyword).is_some();
        let paths: BTreeSet<Vec<Line>> = out.iter().filter(|change| adds(change)).map(|c| c.path.clone()).collect();
        for path in paths {
            let Some(vni) = vni_of(&path) else { continue };
            let line = Line::new(&format!("{keyword} {}", RouteTarget::derived(asn, vni)));
            let stanza = path.iter().try_fold(wanted, |tree, header| tree.0.get(header));
            if !stanza.is_some_and(|stanza| stanza.0.contains_key(&line)) {
                continue;
            }
            let is_other = |change: &LineChange| change.path == path && adds(change) && change.line != line;
            if let Some(last) = out.iter().rposition(is_other) {
                out.insert(last + 1, LineChange { path: path.clone(), line: line.clone() });
                let mut index = 0;
                out.retain(|change| {
                    index += 1;
                    index == last + 2 || change.path != path || change.line != line
                });
            }
        }
    }
    out
}

/// The line that removes a line.
fn removal(line: &Line) -> Option<Line> {
    rules::removal(line.send()).map(|text| Line::new(&text))
}

fn remove_neighbor(tree: &mut Tree, peer: &str) {
    tree.0.retain(|line, _| rules::neighbor(line.send()) != Some(peer));
    for below in tree.0.values_mut() {
        remove_neighbor(below, peer);
    }
}

/// Lines of `wanted` that `observed` lacks or has with another value, outer before inner.
pub(crate) fn additions(observed: &Tree, wanted: &Tree, path: &[Line]) -> Vec<LineChange> {
    let nothing = Tree::default();
    let mut changes = Vec::new();
    for (line, below) in wanted.ordered() {
        let old = observed.0.get(line);
        if old.is_none() {
            changes.push(LineChange { path: path.to_vec(), line: line.clone() });
        }
        changes.extend(additions(old.unwrap_or(&nothing), below, &[path, std::slice::from_ref(line)].concat()));
    }
    changes
}

/// Removes the lines of `observed` whose identity `wanted` lacks, last first.
pub(crate) fn removals(observed: &Tree, wanted: &Tree, path: &[Line]) -> Vec<LineChange> {
    let nothing = Tree::default();
    let kept: BTreeSet<String> = wanted.0.keys().filter_map(|line| rules::identity(line.send())).collect();
    let mut changes = Vec::new();
    let mut skip_profile_of = BTreeSet::new();
    let gone = |line: &Line| rules::identity(line.send()).is_some_and(|identity| !kept.contains(&identity));
    for (line, _) in observed.0.iter().filter(|(line, _)| gone(line)) {
        // `no neighbor X bfd` removes the profile as well.
        if let Some(peer) = rules::neighbor(line.send()).filter(|_| line.send().ends_with(" bfd")) {
            skip_profile_of.insert(format!("neighbor {peer} bfd profile"));
        }
    }
    for (line, below) in observed.ordered().into_iter().rev() {
        let inner = [path, std::slice::from_ref(line)].concat();
        let removal = removal(line).filter(|_| gone(line));
        match (removal, wanted.0.get(line)) {
            (_, Some(new)) => changes.extend(removals(below, new, &inner)),
            (Some(_), None)
                if rules::identity(line.send()).is_some_and(|identity| skip_profile_of.contains(&identity)) => {}
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
