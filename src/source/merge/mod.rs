//! Both sources as one. In: the snapshot of a directory and that of an API server. Out: the snapshot of both. The directory
//! is first: it is there on day 0, when the fabric may have to carry the API server itself. Pure.

use std::collections::BTreeSet;

use crate::snapshot::{NodeIdentity, Object, ObjectRef, Reason, Rejection, Snapshot};

/// Puts both together. `index` is that of the command line, for the time before the API server has told one; without
/// either there is no snapshot.
pub fn merge(directory: &Snapshot, api: Option<&Snapshot>, index: Option<u32>) -> Option<Snapshot> {
    let mut merged = directory.clone();
    merged.node.index = index.or(api.map(|api| api.node.index))?;
    let Some(api) = api else { return Some(merged) };
    merged.node = node(&merged.node, &api.node);
    let first: BTreeSet<ObjectRef> = keys(directory).cloned().collect();
    merged.rejected.extend(api.rejected.iter().cloned());
    merged.rejected.extend(keys(api).filter(|key| first.contains(key)).map(conflict));
    add(&mut merged.underlays, &api.underlays, &first);
    add(&mut merged.l3vnis, &api.l3vnis, &first);
    for (key, word) in &api.secrets {
        let first = merged.secrets.entry(key.clone()).or_insert_with(|| word.clone());
        if first.is_err() && word.is_ok() {
            first.clone_from(word);
        }
    }
    Some(merged)
}

fn keys(snapshot: &Snapshot) -> impl Iterator<Item = &ObjectRef> {
    snapshot.underlays.iter().map(|object| &object.key).chain(snapshot.l3vnis.iter().map(|object| &object.key))
}

fn node(directory: &NodeIdentity, api: &NodeIdentity) -> NodeIdentity {
    let mut labels = api.labels.clone();
    labels.extend(directory.labels.clone());
    NodeIdentity { name: api.name.clone(), index: directory.index, labels }
}

fn add<S: Clone>(objects: &mut Vec<Object<S>>, api: &[Object<S>], first: &BTreeSet<ObjectRef>) {
    objects.extend(api.iter().filter(|object| !first.contains(&object.key)).cloned());
    objects.sort_by(|a, b| a.key.cmp(&b.key));
}

fn conflict(key: &ObjectRef) -> Rejection {
    Rejection {
        object: key.clone(),
        reason: Reason::Conflict,
        location: None,
        field: "metadata.name".to_owned(),
        message: format!(
            "{key} is also in this node's directory, and that one is in force: remove or rename one of the two"
        ),
    }
}

#[cfg(test)]
mod tests;
