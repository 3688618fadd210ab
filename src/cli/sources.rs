//! The sources of a controller. In: the choice of the command line. Out: one channel of snapshots, empty until the first is
//! known, and for an API source the client.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use anyhow::Context;
use kube::Client;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::options::{ApiOptions, SourceChoice, SourceOptions};
use crate::snapshot::{ApiIdentities, Snapshot};
use crate::source::{self, SourceError, merge::merge};

/// Running sources.
pub struct Sources {
    /// The snapshots.
    pub snapshots: watch::Receiver<Snapshot>,
    /// The tasks of the sources.
    pub tasks: Vec<JoinHandle<Result<(), SourceError>>>,
    /// The API server, if it is one of the sources.
    pub cluster: Option<ApiServer>,
}

/// An API server, and the UIDs that it has for the node and the objects.
pub struct ApiServer {
    /// The client.
    pub client: Client,
    /// Name of the own Node.
    pub node: String,
    /// UIDs.
    pub identities: watch::Receiver<ApiIdentities>,
}

type Task = JoinHandle<Result<(), SourceError>>;

/// Checks what the chosen sources need, before anything is started: the command line, and that the directory can be read.
pub async fn check(api: &ApiOptions, options: &SourceOptions) -> anyhow::Result<()> {
    let node = if api.source == SourceChoice::Directory {
        options.node()?
    } else {
        api.client().await?;
        options.identity(node_name(options)?, options.node_index.unwrap_or_default())
    };
    if api.source != SourceChoice::Kubernetes {
        source::dir::read(&options.config_dir, &options.secrets(), &node)?;
    }
    Ok(())
}

fn node_name(options: &SourceOptions) -> anyhow::Result<String> {
    options.named().context("no Node name: set --node-name")
}

/// Starts the sources that were chosen.
pub async fn start(api: &ApiOptions, options: &SourceOptions, stop: &CancellationToken) -> anyhow::Result<Sources> {
    match api.source {
        SourceChoice::Directory => {
            let (snapshots, task) = directory(options, options.node()?, stop)?;
            Ok(Sources { snapshots, tasks: vec![task], cluster: None })
        }
        SourceChoice::Kubernetes => {
            let (snapshots, task, cluster) = kubernetes(api, options, stop).await?;
            Ok(Sources { snapshots, tasks: vec![task], cluster: Some(cluster) })
        }
        SourceChoice::Both => {
            let (objects, of_api, cluster) = kubernetes(api, options, stop).await?;
            let node = options.identity(cluster.node.clone(), options.node_index.unwrap_or_default());
            let (files, of_directory) = directory(options, node, stop)?;
            let (sender, snapshots) = watch::channel(Snapshot::default());
            let merging = tokio::spawn(both(files, objects, options.node_index, sender));
            Ok(Sources { snapshots, tasks: vec![of_api, of_directory, merging], cluster: Some(cluster) })
        }
    }
}

/// Waits for sources that are stopping.
pub async fn join(tasks: Vec<Task>) -> anyhow::Result<()> {
    for task in tasks {
        task.await.context("source")??;
    }
    Ok(())
}

fn directory(
    options: &SourceOptions,
    node: crate::snapshot::NodeIdentity,
    stop: &CancellationToken,
) -> anyhow::Result<(watch::Receiver<Snapshot>, Task)> {
    let directory = source::Directory { dir: options.config_dir.clone(), secrets: options.secrets() };
    let first = source::dir::read(&directory.dir, &directory.secrets, &node)?;
    let (sender, mut snapshots) = watch::channel(first);
    snapshots.mark_changed();
    let task = tokio::spawn(source::watch(directory, node, sender, stop.clone()));
    Ok((snapshots, task))
}

async fn kubernetes(
    api: &ApiOptions,
    options: &SourceOptions,
    stop: &CancellationToken,
) -> anyhow::Result<(watch::Receiver<Snapshot>, Task, ApiServer)> {
    let node = node_name(options)?;
    let client = api.client().await?;
    let state_dir = &api.state.state_dir;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    made.with_context(|| format!("cannot create {}: set --state-dir", state_dir.display()))?;
    let cluster = source::kube::Cluster {
        client: client.clone(),
        namespace: api.watch_namespace.clone(),
        node: node.clone(),
        index: options.node_index,
        disk_cache: api.state.snapshot(),
    };
    let (sender, snapshots) = watch::channel(Snapshot::default());
    let (identity_sender, identities) = watch::channel(ApiIdentities::default());
    let task = tokio::spawn(source::kube::watch(cluster, sender, identity_sender, stop.clone()));
    Ok((snapshots, task, ApiServer { client, node, identities }))
}

/// Sends the merged snapshots of both sources, until one of them stops.
async fn both(
    mut files: watch::Receiver<Snapshot>,
    mut objects: watch::Receiver<Snapshot>,
    index: Option<u32>,
    sender: watch::Sender<Snapshot>,
) -> Result<(), SourceError> {
    let mut known = false;
    loop {
        tokio::select! {
            changed = files.changed() => if changed.is_err() { return Ok(()) },
            changed = objects.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                known = true;
            }
        }
        let api = known.then(|| objects.borrow_and_update().clone());
        let merged = merge(&files.borrow_and_update(), api.as_ref(), index);
        if let Some(merged) = merged {
            sender.send_if_modified(|last| {
                let differs = *last != merged;
                *last = merged;
                differs
            });
        }
    }
}
