//! Both sources as one. In: the snapshot of a directory and that of an API server. Out: the snapshot of both. An object of the
//! directory wins over one of the API server with the same name: the directory is there when a cluster is installed, when the
//! fabric may have to carry the API server itself. It must not look into specs. Pure.

use std::collections::btree_map::Entry;

use crate::snapshot::{NodeIdentity, ObjectRef, Reason, Rejection, Snapshot};

/// Merges both snapshots. `index` is that of the command line, for the time before one is claimed at the API server; `None`
/// where neither source knows an index.
pub fn merge(directory: &Snapshot, api: Option<&Snapshot>, index: Option<u32>) -> Option<Snapshot> {
    let mut merged = directory.clone();
    merged.node.index = index.or(api.map(|api| api.node.index))?;
    let Some(api) = api else { return Some(merged) };
    merged.node = node(&merged.node, &api.node);
    merged.rejected.extend(api.rejected.iter().cloned());
    for (key, object) in &api.objects {
        match merged.objects.entry(key.clone()) {
            Entry::Occupied(_) => merged.rejected.push(conflict(key)),
            Entry::Vacant(vacant) => drop(vacant.insert(object.clone())),
        }
    }
    for (key, secret) in &api.secrets {
        let first = merged.secrets.entry(key.clone()).or_insert_with(|| secret.clone());
        if first.is_err() && secret.is_ok() {
            first.clone_from(secret);
        }
    }
    Some(merged)
}

fn node(directory: &NodeIdentity, api: &NodeIdentity) -> NodeIdentity {
    let mut labels = api.labels.clone();
    labels.extend(directory.labels.clone());
    NodeIdentity { name: api.name.clone(), index: directory.index, labels }
}

fn conflict(key: &ObjectRef) -> Rejection {
    Rejection {
        object: key.clone(),
        reason: Reason::Conflict,
        location: None,
        field: "metadata.name".to_owned(),
        message: format!(
            "{key} also exists in the directory of this node, which takes precedence: remove or rename one of the two"
        ),
    }
}

#[cfg(test)]
mod tests;
