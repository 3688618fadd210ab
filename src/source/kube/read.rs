//! One read of a cluster. In: a [`Cluster`]. Out: the snapshot that a controller of this node would have, or why there is none. It must
//! not write, neither the claim of an index nor the disk cache.

use std::time::Duration;

use kube::api::{Api, ListParams};
use kube::runtime::watcher::Event;
use thiserror::Error;
use tokio::time::timeout;

use super::Cluster;
use super::claim;
use super::cluster_state::{ClusterEvent, ClusterState, WatchTarget};
use super::disk_cache;
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

/// Reads a cluster. The index is the one that the node has claimed, or would claim now.
///
/// # Errors
/// Where not all can be read that a plan depends on. A Secret that cannot be read is a part of the snapshot.
pub async fn read(cluster: &Cluster) -> Result<Snapshot, ClusterReadError> {
    timeout(LIMIT, read_lists(cluster)).await.map_err(|_| ClusterReadError::Slow)?
}

async fn read_lists(cluster: &Cluster) -> Result<Snapshot, ClusterReadError> {
    let mut state = ClusterState::new(&cluster.node, Schemas::new()?);
    // A controller logs why its cache is unusable, and goes on without it.
    let cached = disk_cache::read(&cluster.disk_cache, &cluster.node).ok().flatten();
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
    let index = index(cluster, &state, cached.map(|cached| cached.node.index)).await?;
    state.apply(ClusterEvent::IndexClaimed(index));
    state.snapshot().ok_or_else(|| no_node(cluster))
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

async fn index(cluster: &Cluster, state: &ClusterState, previous: Option<u32>) -> Result<u32, ClusterReadError> {
    let node_uid = state.node_uid().ok_or_else(|| no_node(cluster))?.to_owned();
    let preference = match &cluster.index {
        IndexChoice::NodeLabel(label) => {
            let index = state.node_label(label).and_then(|value| value.parse().ok());
            let wrong = || ClusterReadError::Label { label: label.clone(), node: cluster.node.clone() };
            IndexPreference::Fixed(index.ok_or_else(wrong)?)
        }
        choice => IndexPreference::new(choice, previous),
    };
    let node = NodeIndexSpec { node_name: cluster.node.clone(), node_uid };
    let expected = claim::expected(&Api::all(cluster.client.clone()), &node, preference).await;
    let claimed = expected.map_err(|source| ClusterReadError::List { what: "NodeIndex", source })?;
    claimed.map_err(|holder| ClusterReadError::Claimed { index: holder.index, holder: holder.node })
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
        let snapshot = read(&cluster(&api, IndexChoice::Free)).await.unwrap();
        assert_eq!((snapshot.node.name.as_str(), snapshot.node.index), ("n1", 1), "the lowest free index");
        assert_eq!(snapshot.objects.keys().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["red"]);
        let missing = "Secret default/bgp does not exist: create it with the key red".to_owned();
        assert_eq!(
            snapshot.secrets.values().cloned().map(|secret| secret.map(|_| ())).collect::<Vec<_>>(),
            [Err(missing)]
        );
        assert_eq!(api.names("nodeindexes"), before);
        let labelled = IndexChoice::NodeLabel("index".into());
        assert_eq!(read(&cluster(&api, labelled)).await.unwrap().node.index, 7);
        assert_eq!(api.names("nodeindexes"), before);
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
