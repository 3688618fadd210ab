//! Keeps a cluster's snapshot current. In: a [`Cluster`]. Out: a new snapshot on the channel, if and only if it differs.
//! Never ends because of what the API server does.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::api::Api;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Cluster;
use super::claim;
use super::cluster_state::{News, SecretName, Topic, View};
use super::disk_cache;
use super::index::Wish;
use super::watcher::follow;
use crate::kind::Kind;
use crate::snapshot::{ApiIdentities, Snapshot};
use crate::source::SourceError;
use crate::source::schema::Schemas;

/// An API server that is there has told everything within this time; if not, the last snapshot is used.
const GRACE: Duration = Duration::from_secs(1);
/// News that come within this time of each other make one snapshot. Longer than for files: a server takes its time over
/// each object of a call.
const COALESCE: Duration = Duration::from_millis(50);
/// kubectl sends 200 objects in 1.5 s, one after the other: they shall be one snapshot.
const LONGEST_BURST: Duration = Duration::from_secs(2);
/// News on their way. The watches wait while nobody takes them.
const QUEUE: usize = 256;

/// Sends the snapshot of `cluster` and every one that differs from the last, until `shutdown`. Nothing is sent before
/// everything is known, unless there is a snapshot from before.
pub async fn watch(
    cluster: Cluster,
    sender: watch::Sender<Snapshot>,
    identities: watch::Sender<ApiIdentities>,
    shutdown: CancellationToken,
) -> Result<(), SourceError> {
    let mut kept = read_kept(&cluster);
    let mut source = Source::start(cluster, kept.as_ref())?;
    let grace = Instant::now() + GRACE;
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(news) = source.news.recv() => {
                if source.take(news) {
                    source.burst().await;
                }
            }
            () = sleep_until(grace), if kept.is_some() => {
                if let Some(snapshot) = kept.take() {
                    tracing::warn!("the API server has not told everything yet: going on with the last snapshot");
                    sender.send_replace(snapshot);
                }
            }
        }
        identities.send_if_modified(|last| {
            let now = source.view.identities();
            let differs = *last != now;
            *last = now;
            differs
        });
        if let Some(snapshot) = source.next() {
            kept = None;
            sender.send_if_modified(|last| {
                let differs = *last != snapshot;
                last.clone_from(&snapshot);
                differs
            });
            // Nobody waits for the disk.
            source.keep(&snapshot);
        }
    }
}

fn read_kept(cluster: &Cluster) -> Option<Snapshot> {
    disk_cache::read(&cluster.kept, &cluster.node).unwrap_or_else(|error| {
        let path = cluster.kept.display();
        tracing::error!(%path, error = &error as &dyn std::error::Error, "the last snapshot is not usable");
        None
    })
}

/// The running watches and what they have told.
struct Source {
    cluster: Cluster,
    view: View,
    news: mpsc::Receiver<News>,
    tell: mpsc::Sender<News>,
    uids: watch::Sender<Option<String>>,
    secrets: BTreeMap<SecretName, AbortHandle>,
    /// Ended with the source.
    tasks: JoinSet<()>,
    last: Option<Snapshot>,
    node_is_missing: bool,
}

impl Source {
    fn start(cluster: Cluster, kept: Option<&Snapshot>) -> Result<Self, SourceError> {
        let (tell, news) = mpsc::channel(QUEUE);
        let (uids, uid) = watch::channel(None);
        let mut view = View::new(&cluster.node, Schemas::new()?);
        if let Some(kept) = kept {
            view.remember(kept);
        }
        let wish = match (cluster.index, kept) {
            (Some(index), _) => Wish::Exactly(index),
            (None, Some(kept)) => Wish::Again(kept.node.index),
            (None, None) => Wish::Lowest,
        };
        let mut tasks = JoinSet::new();
        let objects = Kind::ALL.iter().copied().map(Topic::Objects);
        for topic in objects.chain([Topic::Node]) {
            tasks.spawn(follow(cluster.clone(), topic, tell.clone()));
        }
        tasks.spawn(claim::keep(Api::all(cluster.client.clone()), cluster.node.clone(), wish, uid, tell.clone()));
        let secrets = BTreeMap::new();
        Ok(Self { cluster, view, news, tell, uids, secrets, tasks, last: None, node_is_missing: false })
    }

    /// Takes news; `true` if the snapshot may be another now.
    fn take(&mut self, news: News) -> bool {
        self.view.take(news)
    }

    /// Takes news until none that counts came for [`COALESCE`], at most for [`LONGEST_BURST`].
    async fn burst(&mut self) {
        let end = Instant::now() + LONGEST_BURST;
        let mut quiet = Instant::now() + COALESCE;
        loop {
            self.follow_secrets();
            let left = quiet.min(end).saturating_duration_since(Instant::now());
            match timeout(left, self.news.recv()).await {
                Ok(Some(news)) => {
                    if self.take(news) {
                        quiet = Instant::now() + COALESCE;
                    }
                }
                Ok(None) | Err(_) => return,
            }
        }
    }

    /// Starts and ends the watches of Secrets as names come and go.
    fn follow_secrets(&mut self) {
        let named = self.view.settle_secrets();
        self.secrets.retain(|name, task| {
            let stays = named.contains(name);
            if !stays {
                task.abort();
            }
            stays
        });
        for name in named {
            let (cluster, tell) = (self.cluster.clone(), self.tell.clone());
            let tasks = &mut self.tasks;
            self.secrets
                .entry(name)
                .or_insert_with_key(|name| tasks.spawn(follow(cluster, Topic::Secret(name.clone()), tell)));
        }
        while self.tasks.try_join_next().is_some() {}
    }

    /// The snapshot, if it is complete and another than the last.
    fn next(&mut self) -> Option<Snapshot> {
        self.tell_node();
        let snapshot = self.view.snapshot()?;
        if self.last.as_ref() == Some(&snapshot) {
            return None;
        }
        self.last = Some(snapshot.clone());
        Some(snapshot)
    }

    /// Tells the claim who the Node is, and people if there is none.
    fn tell_node(&mut self) {
        let missing = self.view.node_is_missing();
        if missing && !self.node_is_missing {
            tracing::error!(
                node = self.cluster.node,
                "there is no Node of this name: set --node-name to that of this node"
            );
        }
        self.node_is_missing = missing;
        if let Some(uid) = self.view.node_uid() {
            self.uids.send_if_modified(|last| {
                let differs = last.as_deref() != Some(uid);
                *last = Some(uid.to_owned());
                differs
            });
        }
    }

    fn keep(&self, snapshot: &Snapshot) {
        if let Err(error) = disk_cache::write(&self.cluster.kept, snapshot) {
            let path = self.cluster.kept.display();
            tracing::error!(%path, error = &error as &dyn std::error::Error, "the last snapshot is not kept");
        }
    }
}

#[cfg(test)]
mod tests;
