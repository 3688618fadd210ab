//! One read of a cluster. In: a [`Cluster`]. Out: the snapshot that a controller of this node would have and notes on it, or why there is
//! none. It must not write, neither the claim of an index nor the disk cache.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use kube::api::{Api, ListParams};
use kube::runtime::watcher::Event;
use thiserror::Error;
use tokio::time::timeout;

use super::Cluster;
use super::claim;
use super::cluster_state::{ClusterEvent, ClusterState, WatchTarget};
use super::disk_cache::{self, DiskCacheError};
use super::index::{IndexChoice, IndexPreference};
use super::watcher::request;
use crate::kind::{Kind, NodeIndexSpec};
use crate::snapshot::Snapshot;
use crate::source::schema::{SchemaError, Schemas};

/// All lists together take no longer.
const LIMIT: Duration = Duration::from_secs(20);

/// Why a cluster cannot be read.
#[derive(Debug, Error)]
pub enum ClusterReadError {
    /// The schema of a kind cannot be used.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The lists take too long.
    #[error("the API server has not delivered all objects within {} s", LIMIT.as_secs())]
    Slow,
    /// A list was rejected, or the API server does not answer.
    #[error("{what} cannot be read from the API server")]
    List {
        /// What was to be listed.
        what: &'static str,
        /// The cause.
        source: kube::Error,
    },
    /// There is no Node of this name.
    #[error("Node {node} does not exist: set --node-name to the name of this node")]
    NoNode {
        /// The name.
        node: String,
    },
    /// The label that has the index is missing, or no number.
    #[error("label {label} of Node {node} is no node index: expected a number from 0")]
    Label {
        /// The label.
        label: String,
        /// The Node.
        node: String,
    },
    /// Another Node has claimed the index.
    #[error("node index {index} is claimed by Node {holder}")]
    Claimed {
        /// The index.
        index: u32,
        /// The other Node.
        holder: String,
    },
}

/// What was read once.
#[derive(Debug)]
pub struct ClusterRead {
    /// What a controller would have.
    pub snapshot: Snapshot,
    /// Where a controller may have more.
    pub notes: Vec<ClusterReadNote>,
}

/// In what a snapshot may differ from that of a controller.
#[derive(Debug, Error)]
pub enum ClusterReadNote {
    /// The disk cache cannot be read by this process, or has no snapshot.
    #[error("without {} the last valid versions of rejected objects and the previous node index are not known", path.display())]
    DiskCache {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: DiskCacheError,
    },
    /// A label that was changed after the node has claimed its index.
    #[error(
        "label {label} of Node {node} is no longer {index}, the node index that it has claimed and keeps until its controller restarts"
    )]
    ChangedLabel {
        /// The label.
        label: String,
        /// The Node.
        node: String,
        /// The index in force.
        index: u32,
    },
}

/// Reads a cluster. The index is the one that the node has claimed, or would claim now.
///
/// # Errors
/// Where not all can be read that a plan depends on. A Secret that cannot be read is a part of the snapshot.
pub async fn read(cluster: &Cluster) -> Result<ClusterRead, ClusterReadError> {
    timeout(LIMIT, read_lists(cluster)).await.map_err(|_| ClusterReadError::Slow)?
}

async fn read_lists(cluster: &Cluster) -> Result<ClusterRead, ClusterReadError> {
    let mut state = ClusterState::new(&cluster.node, Schemas::new()?);
    let mut notes = Vec::new();
    // A controller logs why its cache is unusable, and goes on without it.
    let cached = disk_cache::read(&cluster.disk_cache, &cluster.node).unwrap_or_else(|source| {
        notes.push(ClusterReadNote::DiskCache { path: cluster.disk_cache.clone(), source });
        None
    });
    if let Some(cached) = &cached {
        state.restore(cached);
    }
    for kind in Kind::ALL.iter().copied() {
        let listed = list(cluster, WatchTarget::Objects(kind), &mut state).await;
        listed.map_err(|source| ClusterReadError::List { what: kind.as_str(), source })?;
    }
    let listed = list(cluster, WatchTarget::Node, &mut state).await;
    listed.map_err(|source| ClusterReadError::List { what: "the Node", source })?;
    for name in state.track_named_secrets() {
        let secret = WatchTarget::Secret(name);
        if let Err(error) = list(cluster, secret.clone(), &mut state).await {
            state.apply(ClusterEvent::WatchFailed(secret, error.to_string()));
        }
    }
    let (index, note) = index(cluster, &state, cached.map(|cached| cached.node.index)).await?;
    notes.extend(note);
    state.apply(ClusterEvent::IndexClaimed(index));
    let snapshot = state.snapshot().ok_or_else(|| no_node(cluster))?;
    Ok(ClusterRead { snapshot, notes })
}

async fn list(cluster: &Cluster, target: WatchTarget, state: &mut ClusterState) -> Result<(), kube::Error> {
    let (api, config) = request(cluster, &target);
    let params = ListParams { field_selector: config.field_selector, ..ListParams::default() };
    let objects = api.list(&params).await?.items;
    let events = objects.into_iter().map(Event::InitApply);
    for event in [Event::Init].into_iter().chain(events).chain([Event::InitDone]) {
        state.apply(ClusterEvent::Watch(target.clone(), Box::new(event)));
    }
    Ok(())
}

async fn index(
    cluster: &Cluster,
    state: &ClusterState,
    previous: Option<u32>,
) -> Result<(u32, Option<ClusterReadNote>), ClusterReadError> {
    let node_uid = state.node_uid().ok_or_else(|| no_node(cluster))?.to_owned();
    let node = NodeIndexSpec { node_name: cluster.node.clone(), node_uid };
    let api = Api::all(cluster.client.clone());
    let not_listed = |source| ClusterReadError::List { what: "NodeIndex", source };
    let preference = match &cluster.index {
        IndexChoice::NodeLabel(label) => {
            let index = state.node_label(label).and_then(|value| value.parse().ok());
            let claimed = claim::own(&api, &node).await.map_err(not_listed)?;
            // A controller reads the label once: the index that it has claimed then stays in force.
            if let Some(in_force) = in_force(&claimed, index, previous)
                && Some(in_force) != index
            {
                let (label, node) = (label.clone(), cluster.node.clone());
                return Ok((in_force, Some(ClusterReadNote::ChangedLabel { label, node, index: in_force })));
            }
            let wrong = || ClusterReadError::Label { label: label.clone(), node: cluster.node.clone() };
            IndexPreference::Fixed(index.ok_or_else(wrong)?)
        }
        choice => IndexPreference::new(choice, previous),
    };
    let claimed = claim::expected(&api, &node, preference).await.map_err(not_listed)?;
    let index = claimed.map_err(|holder| ClusterReadError::Claimed { index: holder.index, holder: holder.node })?;
    Ok((index, None))
}

/// Which of the indexes that a node has claimed is in force: that of its last snapshot, or else that of its label.
fn in_force(claimed: &BTreeSet<u32>, label: Option<u32>, previous: Option<u32>) -> Option<u32> {
    let is_claimed = |index: &u32| claimed.contains(index);
    previous.filter(is_claimed).or(label.filter(is_claimed)).or_else(|| claimed.first().copied())
}

fn no_node(cluster: &Cluster) -> ClusterReadError {
    ClusterReadError::NoNode { node: cluster.node.clone() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::kube::fake::FakeApi;
    use serde_json::json;

    fn cluster(api: &FakeApi, index: IndexChoice) -> Cluster {
        let disk_cache = "/nonexistent/snapshot.json".into();
        Cluster { client: api.client(), namespace: None, node: "n1".into(), index, disk_cache, health: Arc::default() }
    }

    fn server() -> FakeApi {
        let api = FakeApi::new();
        api.apply("nodes", "", "n1", json!({ "metadata": { "labels": { "index": "7", "word": "x" } } }));
        let spec = json!({ "asn": 64514, "vni": 100, "vxlanport": 4789, "hostasn": 64515, "localcidr": { "ipv4": "192.169.10.0/24" },
            "hostSession": { "passwordSecret": { "name": "bgp", "key": "red" } } });
        api.apply("l3vnis", "default", "red", json!({ "spec": spec }));
        api
    }

    #[tokio::test]
    async fn the_snapshot_is_that_of_a_controller_and_nothing_is_written() {
        let api = server();
        api.apply("nodeindexes", "", "0", json!({ "spec": { "nodeName": "n0", "nodeUID": "another" } }));
        let before = api.names("nodeindexes");
        let ClusterRead { snapshot, notes } = read(&cluster(&api, IndexChoice::Free)).await.unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        assert_eq!((snapshot.node.name.as_str(), snapshot.node.index), ("n1", 1), "the lowest free index");
        assert_eq!(snapshot.objects.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["red"]);
        let missing = "Secret default/bgp does not exist: create Secret default/bgp with the key red".to_owned();
        assert_eq!(
            snapshot.secrets.values().cloned().map(|secret| secret.map(|_| ())).collect::<Vec<_>>(),
            [Err(missing)]
        );
        assert_eq!(api.names("nodeindexes"), before);
        let labelled = IndexChoice::NodeLabel("index".into());
        assert_eq!(read(&cluster(&api, labelled)).await.unwrap().snapshot.node.index, 7);
        assert_eq!(api.names("nodeindexes"), before);
    }

    #[tokio::test]
    async fn the_index_is_the_claimed_one_where_the_label_was_changed() {
        let api = server();
        let uid = node_uid(&api).await;
        api.apply("nodeindexes", "", "4", json!({ "spec": { "nodeName": "n1", "nodeUID": uid } }));
        for label in ["index", "word"] {
            let read = read(&cluster(&api, IndexChoice::NodeLabel(label.into()))).await.unwrap();
            let notes: Vec<String> = read.notes.iter().map(ToString::to_string).collect();
            let note = format!(
                "label {label} of Node n1 is no longer 4, the node index that it has claimed and keeps until its controller restarts"
            );
            assert_eq!((read.snapshot.node.index, notes), (4, vec![note]));
        }
        // A restarted controller has claimed that of the label, too.
        api.apply("nodeindexes", "", "7", json!({ "spec": { "nodeName": "n1", "nodeUID": uid } }));
        let read = read(&cluster(&api, IndexChoice::NodeLabel("index".into()))).await.unwrap();
        assert_eq!((read.snapshot.node.index, read.notes.len()), (7, 0));
    }

    async fn node_uid(api: &FakeApi) -> String {
        let mut state = ClusterState::new("n1", Schemas::new().unwrap());
        list(&cluster(api, IndexChoice::Free), WatchTarget::Node, &mut state).await.unwrap();
        state.node_uid().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_disk_cache_that_cannot_be_read_is_a_note() {
        let api = server();
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster { disk_cache: dir.path().into(), ..cluster(&api, IndexChoice::Free) };
        let read = read(&cluster).await.unwrap();
        let notes: Vec<String> = read.notes.iter().map(ToString::to_string).collect();
        let note = format!(
            "without {} the last valid versions of rejected objects and the previous node index are not known",
            dir.path().display()
        );
        assert_eq!((read.snapshot.objects.len(), notes), (1, vec![note]));
    }

    #[tokio::test]
    async fn what_a_plan_depends_on_is_an_error() {
        let api = server();
        api.apply("nodeindexes", "", "3", json!({ "spec": { "nodeName": "n0", "nodeUID": "another" } }));
        let error = async |index| read(&cluster(&api, index)).await.unwrap_err().to_string();
        assert_eq!(error(IndexChoice::Fixed(3)).await, "node index 3 is claimed by Node n0");
        let expected = "label word of Node n1 is no node index: expected a number from 0";
        assert_eq!(error(IndexChoice::NodeLabel("word".into())).await, expected);
        api.delete("nodes", "", "n1");
        let expected = "Node n1 does not exist: set --node-name to the name of this node";
        assert_eq!(error(IndexChoice::Free).await, expected);
    }
}
