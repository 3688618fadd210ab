//! The objects of an API server. In: watches of Underlay, L3VNI, the own Node and the Secrets that objects name. Out: the
//! [`Snapshot`]s that a directory with the same objects would give. Writes nothing but the claim of the node's index.
//!
//! What the API server does not tell does not happen: while it is away, while a list is in progress, and until every
//! first list is complete, nothing is sent and the last snapshot stays in force. The last one is kept on disk for a start
//! without API server.
//!
//! The verbs that a controller needs, here and in `status`, as `deploy/base/rbac.yaml` gives them:
//!
//! | group | resource | scope | verbs | why |
//! |---|---|---|---|---|
//! | openpe.openperouter.github.io | underlays, l3vnis | cluster, or the one namespace of `--watch-namespace` | list, watch | the configuration |
//! | (core) | nodes | cluster | list, watch | the own Node (by field selector): labels for selectors, UID for ownership |
//! | (core) | secrets | each namespace with objects that name Secrets | list, watch | only by name (field selector); no list of all |
//! | openpe.openperouter.github.io | nodeindexes | cluster | list, create | the claim of an index; freed by garbage collection |
//! | openpe.openperouter.github.io | routernodestatuses | cluster | get, create | the status object of the node |
//! | openpe.openperouter.github.io | routernodestatuses/status | cluster | patch | its status, by server-side apply |
//! | events.k8s.io | events | the namespaces of the objects, and `default` | create, patch | events on objects; those on the status object are in `default` |
//!
//! With `--source directory` there is no call at all. `perouter router` makes none.
//!
//! [`Snapshot`]: crate::snapshot::Snapshot

mod claim;
mod cluster_state;
mod disk_cache;
#[cfg(test)]
pub(crate) mod fake;
mod index;
mod object;
mod store;
mod watch;
mod watcher;

use std::path::PathBuf;

use kube::Client;

pub use watch::watch;

/// Which part of a cluster the source reads.
#[derive(Clone)]
pub struct Cluster {
    /// The API server.
    pub client: Client,
    /// The one namespace of the objects; all if `None`.
    pub namespace: Option<String>,
    /// Name of the own Node.
    pub node: String,
    /// The index to claim; the lowest free one if `None`.
    pub index: Option<u32>,
    /// Where the last snapshot is kept.
    pub kept: PathBuf,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).field("node", &self.node).finish_non_exhaustive()
    }
}
