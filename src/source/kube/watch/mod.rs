//! Keeps a cluster's snapshot current. In: a [`Cluster`]. Out: a new snapshot on the channel, if and only if it differs from
//! the last, and the UIDs of the Node and the objects. It must not end because of the API server, nor send a snapshot while an
//! initial list is incomplete, except that of the disk cache.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::Api;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Cluster;
use super::claim;
use super::cluster_state::{ClusterEvent, ClusterState, SecretName, WatchTarget};
use super::disk_cache;
use super::index::{ClaimingNode, IndexChoice, IndexPreference};
use super::watcher::follow;
use crate::kind::Kind;
use crate::snapshot::{ApiIdentities, Snapshot};
use crate::source::SourceError;
use crate::source::schema::Schemas;

/// A reachable API server delivers every initial list within this time; after it, the snapshot of the disk cache is used.
const GRACE: Duration = Duration::from_secs(1);
/// Events within this time of each other make one snapshot. Longer than for files: a server needs a while for each object of
/// a request.
const COALESCE: Duration = Duration::from_millis(50);
/// A burst of events is cut off after this time. kubectl sends 200 objects in 1.5 s, one after the other: they should make
/// one snapshot.
const LONGEST_BURST: Duration = Duration::from_secs(2);
/// Events in flight. The watches wait while the channel is full.
const QUEUE: usize = 256;

/// Sends the snapshot of `cluster`, and every later one that differs from the last, until `shutdown`.
pub async fn watch(
    cluster: Cluster,
    sender: watch::Sender<Snapshot>,
    identities: watch::Sender<ApiIdentities>,
    shutdown: CancellationToken,
) -> Result<(), SourceError> {
    let mut cached = read_cache(&cluster);
    let mut source = ClusterSource::start(cluster, cached.as_ref())?;
    let grace = Instant::now() + GRACE;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(event) = source.events.recv() => {
                if source.state.apply(event) {
                    source.apply_burst().await;
                }
            }
            () = sleep_until(grace), if cached.is_some() => {
                if let Some(snapshot) = cached.take() {
                    tracing::warn!("initial list incomplete: using the snapshot of the disk cache");
                    sender.send_replace(snapshot);
                }
            }
        }
        identities.send_if_modified(|last| {
            let now = source.state.identities();
            let differs = *last != now;
            *last = now;
            differs
        });
        if let Some(snapshot) = source.next_snapshot() {
            cached = None;
            sender.send_if_modified(|last| {
                let differs = *last != snapshot;
                last.clone_from(&snapshot);
                differs
            });
            // After it is sent, so that no receiver waits for the disk.
            source.write_cache(&snapshot);
        }
    }
}

fn read_cache(cluster: &Cluster) -> Option<Snapshot> {
    disk_cache::read(&cluster.disk_cache, &cluster.node).unwrap_or_else(|error| {
        let path = cluster.disk_cache.display();
        tracing::error!(%path, error = &error as &dyn std::error::Error, "disk cache is unusable: starting without it");
        None
    })
}

/// The running watches and the state that they feed.
struct ClusterSource {
    cluster: Cluster,
    state: ClusterState,
    events: mpsc::Receiver<ClusterEvent>,
    event_sender: mpsc::Sender<ClusterEvent>,
    claiming: watch::Sender<Option<ClaimingNode>>,
    secret_watches: BTreeMap<SecretName, AbortHandle>,
    /// Aborted when the source is dropped.
    tasks: JoinSet<()>,
    last: Option<Snapshot>,
    node_is_missing: bool,
    label_is_wrong: bool,
}

impl ClusterSource {
    fn start(cluster: Cluster, cached: Option<&Snapshot>) -> Result<Self, SourceError> {
        let (event_sender, events) = mpsc::channel(QUEUE);
        let (claiming, claiming_node) = watch::channel(None);
        let mut state = ClusterState::new(&cluster.node, Schemas::new()?);
        if let Some(cached) = cached {
            state.restore(cached);
        }
        let preference = IndexPreference::new(&cluster.index, cached.map(|cached| cached.node.index));
        let mut tasks = JoinSet::new();
        let objects = Kind::ALL.iter().copied().map(WatchTarget::Objects);
        for target in objects.chain([WatchTarget::Node]) {
            tasks.spawn(follow(cluster.clone(), target, event_sender.clone()));
        }
        let claims = Api::all(cluster.client.clone());
        tasks.spawn(claim::maintain(claims, cluster.node.clone(), preference, claiming_node, event_sender.clone()));
        let secret_watches = BTreeMap::new();
        Ok(Self {
            cluster,
            state,
            events,
            event_sender,
            claiming,
            secret_watches,
            tasks,
            last: None,
            node_is_missing: false,
            label_is_wrong: false,
        })
    }

    /// Applies events until none that changes something came for [`COALESCE`], for at most [`LONGEST_BURST`].
    async fn apply_burst(&mut self) {
        let end = Instant::now() + LONGEST_BURST;
        let mut quiet = Instant::now() + COALESCE;
        loop {
            self.update_secret_watches();
            let left = quiet.min(end).saturating_duration_since(Instant::now());
            match timeout(left, self.events.recv()).await {
                Ok(Some(event)) => {
                    if self.state.apply(event) {
                        quiet = Instant::now() + COALESCE;
                    }
                }
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Watches exactly the Secrets that objects name now.
    fn update_secret_watches(&mut self) {
        let named = self.state.track_named_secrets();
        self.secret_watches.retain(|name, task| {
            let stays = named.contains(name);
            if !stays {
                task.abort();
            }
            stays
        });
        for name in named {
            let (cluster, events) = (self.cluster.clone(), self.event_sender.clone());
            let tasks = &mut self.tasks;
            self.secret_watches
                .entry(name)
                .or_insert_with_key(|name| tasks.spawn(follow(cluster, WatchTarget::Secret(name.clone()), events)));
        }
        while self.tasks.try_join_next().is_some() {}
    }

    /// The snapshot, if it is complete and differs from the last.
    fn next_snapshot(&mut self) -> Option<Snapshot> {
        self.publish_node();
        let snapshot = self.state.snapshot()?;
        if self.last.as_ref() == Some(&snapshot) {
            return None;
        }
        self.last = Some(snapshot.clone());
        Some(snapshot)
    }

    /// Passes the UID of the Node to the claim, with the index of its label as it is then; logs once if there is no Node, or
    /// no index in its label.
    fn publish_node(&mut self) {
        let missing = self.state.node_is_missing();
        if missing && !self.node_is_missing {
            tracing::error!(node = self.cluster.node, "Node does not exist: set --node-name to the name of this node");
        }
        self.node_is_missing = missing;
        let Some(uid) = self.state.node_uid() else { return };
        if self.claiming.borrow().as_ref().is_some_and(|last| last.uid == uid) {
            return;
        }
        let index = match &self.cluster.index {
            IndexChoice::Free | IndexChoice::Fixed(_) => None,
            IndexChoice::NodeLabel(key) => {
                let value = self.state.node_label(key);
                let index = value.and_then(|value| value.parse().ok());
                if index.is_none() {
                    if !self.label_is_wrong {
                        let node = &self.cluster.node;
                        tracing::error!(
                            node,
                            label = key,
                            value,
                            "no index claimed: the label of the Node is no number"
                        );
                    }
                    self.label_is_wrong = true;
                    return;
                }
                index
            }
        };
        self.claiming.send_replace(Some(ClaimingNode { uid: uid.to_owned(), index }));
    }

    fn write_cache(&self, snapshot: &Snapshot) {
        if let Err(error) = disk_cache::write(&self.cluster.disk_cache, snapshot) {
            let path = self.cluster.disk_cache.display();
            tracing::error!(%path, error = &error as &dyn std::error::Error, "cannot write the disk cache");
        }
    }
}

#[cfg(test)]
mod tests;
