//! The objects of an API server. In: watches of every kind of configuration object, the own Node and the Secrets that objects
//! name. Out: the [`Snapshot`]s that a directory with the same objects would give. It must not write anything but the claim of
//! the node's index.
//!
//! While the API server is unreachable, while a list is in progress, and until every initial list is complete, no snapshot is
//! sent and the last one stays in force. A cache on disk holds the last snapshot for a start without API server.
//!
//! The verbs that a controller needs, here and in `status`, as `deploy/base/rbac.yaml` gives them:
//!
//! | group | resource | scope | verbs | why |
//! |---|---|---|---|---|
//! | openpe.openperouter.github.io | underlays, l3vnis | cluster, or the one namespace of `--watch-namespace` | list, watch | the configuration |
//! | (core) | nodes | cluster | list, watch | the own Node (by field selector): labels for selectors, UID for ownership |
//! | (core) | secrets | each namespace with objects that name Secrets | list, watch | passwords, each Secret by name (field selector) |
//! | openpe.openperouter.github.io | nodeindexes | cluster | list, create, delete | the claim of an index; deleted by garbage collection, a stale one of the own name by us |
//! | openpe.openperouter.github.io | routernodestatuses | cluster | get, create, delete | the status object of the node; one of a former Node of its name is deleted |
//! | openpe.openperouter.github.io | routernodestatuses/status | cluster | patch | its status, by server-side apply |
//! | events.k8s.io | events | the namespaces of the objects, and `default` | create, patch | events on objects; those on the status object are in `default` |
//!
//! `deploy/base/admission.yaml` limits what it writes to the objects of the node in its token.
//!
//! With `--source directory` no call is made; `perouter router` never makes one.
//!
//! [`Snapshot`]: crate::snapshot::Snapshot

mod claim;
mod cluster_state;
pub mod disk_cache;
#[cfg(test)]
pub(crate) mod fake;
mod index;
mod object;
mod read;
mod store;
mod watch;
mod watcher;

use std::path::PathBuf;
use std::sync::Arc;

use kube::Client;

use super::health::SourceHealth;

pub use index::IndexChoice;
pub use read::{ClusterRead, ClusterReadError, ClusterReadNote, read};
pub use watch::watch;

/// Which part of a cluster the source reads.
#[derive(Clone)]
pub struct Cluster {
    /// The API server.
    pub client: Client,
    /// The namespace of the objects; `None`: all namespaces.
    pub namespace: Option<String>,
    /// Name of the own Node.
    pub node: String,
    /// The index to claim.
    pub index: IndexChoice,
    /// The file that holds the last snapshot.
    pub disk_cache: PathBuf,
    /// Whether the API server can be read.
    pub health: Arc<SourceHealth>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("namespace", &self.namespace).field("node", &self.node).finish_non_exhaustive()
    }
}
