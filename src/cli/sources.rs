//! The sources of a controller. In: the choice of the command line. Out: one channel of snapshots, empty until the first is
//! known, and for an API source the client.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use kube::Client;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::options::{ApiOptions, SourceChoice, SourceOptions};
use crate::snapshot::{ApiIdentities, Snapshot};
use crate::source::health::SourceHealth;
use crate::source::kube::{Cluster, ClusterRead, ClusterReadNote, IndexChoice};
use crate::source::{self, SourceError, merge::merge};

/// Time between two polls for a kubeconfig that does not exist yet.
const CREDENTIALS_POLL: Duration = Duration::from_secs(1);

/// Running sources.
pub struct Sources {
    /// The snapshots.
    pub snapshots: watch::Receiver<Snapshot>,
    /// The tasks of the sources.
    pub tasks: Vec<JoinHandle<Result<(), SourceError>>>,
    /// The API server, if it is one of the sources; as soon as there are credentials for it.
    pub cluster: Option<oneshot::Receiver<ApiServer>>,
    /// Whether each of them can be read, by name.
    pub health: Vec<(&'static str, Arc<SourceHealth>)>,
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
pub async fn check(api: &ApiOptions, options: &SourceOptions, index: &IndexChoice) -> anyhow::Result<()> {
    let node = if api.source == SourceChoice::Directory {
        options.node(index)?
    } else {
        if api.awaited_kubeconfig().is_none() {
            api.client().await?;
        }
        options.identity(node_name(options)?, index.fixed().unwrap_or_default())
    };
    if api.source != SourceChoice::Kubernetes {
        source::dir::read(&options.config_dir, &options.secrets(), &node)?;
    }
    Ok(())
}

/// Reads the chosen sources once. Nothing is written: an index that the node has not claimed is the one that it would claim now.
/// With it come the notes on what of the API server was read.
pub async fn read(
    api: &ApiOptions,
    options: &SourceOptions,
    index: &IndexChoice,
) -> anyhow::Result<(Snapshot, Vec<ClusterReadNote>)> {
    let files = |node| source::dir::read(&options.config_dir, &options.secrets(), &node);
    if api.source == SourceChoice::Directory {
        return Ok((files(options.node(index)?)?, vec![]));
    }
    let name = node_name(options)?;
    let (objects, notes) = if api.awaited_kubeconfig().is_some() {
        (None, vec![])
    } else {
        let (client, node, index) = (api.client().await?, name.clone(), index.clone());
        let (namespace, disk_cache) = (api.watch_namespace.clone(), api.state.snapshot());
        let cluster = Cluster { client, namespace, node, index, disk_cache, health: Arc::default() };
        let ClusterRead { snapshot, notes } = source::kube::read(&cluster).await?;
        (Some(snapshot), notes)
    };
    let snapshot = match (api.source, objects) {
        (SourceChoice::Kubernetes, Some(objects)) => objects,
        (_, objects) => {
            let files = files(options.identity(name, index.fixed().unwrap_or_default()))?;
            merge(&files, objects.as_ref(), index.fixed())
                .context("no node index until there is a kubeconfig: set --node-index")?
        }
    };
    Ok((snapshot, notes))
}

fn node_name(options: &SourceOptions) -> anyhow::Result<String> {
    options.named().context("no Node name: set --node-name")
}

/// Starts the sources that were chosen.
pub async fn start(
    api: &ApiOptions,
    options: &SourceOptions,
    index: &IndexChoice,
    stop: &CancellationToken,
) -> anyhow::Result<Sources> {
    let of_files = ("directory", Arc::<SourceHealth>::default());
    let of_cluster = ("kubernetes", Arc::<SourceHealth>::default());
    match api.source {
        SourceChoice::Directory => {
            let (snapshots, task) = directory(options, options.node(index)?, &of_files.1, stop)?;
            Ok(Sources { snapshots, tasks: vec![task], cluster: None, health: vec![of_files] })
        }
        SourceChoice::Kubernetes => {
            let (snapshots, task, cluster) = kubernetes(api, options, index, &of_cluster.1, stop).await?;
            Ok(Sources { snapshots, tasks: vec![task], cluster: Some(cluster), health: vec![of_cluster] })
        }
        SourceChoice::Both => {
            let (objects, of_api, cluster) = kubernetes(api, options, index, &of_cluster.1, stop).await?;
            let node = options.identity(node_name(options)?, index.fixed().unwrap_or_default());
            let (files, of_directory) = directory(options, node, &of_files.1, stop)?;
            let (sender, snapshots) = watch::channel(Snapshot::default());
            let merging = tokio::spawn(both(files, objects, index.fixed(), sender));
            let (tasks, health) = (vec![of_api, of_directory, merging], vec![of_files, of_cluster]);
            Ok(Sources { snapshots, tasks, cluster: Some(cluster), health })
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
    health: &Arc<SourceHealth>,
    stop: &CancellationToken,
) -> anyhow::Result<(watch::Receiver<Snapshot>, Task)> {
    let directory = source::Directory { dir: options.config_dir.clone(), secrets: options.secrets() };
    let first = source::dir::read(&directory.dir, &directory.secrets, &node)?;
    let (sender, mut snapshots) = watch::channel(first);
    snapshots.mark_changed();
    let task = tokio::spawn(source::watch(directory, node, sender, Arc::clone(health), stop.clone()));
    Ok((snapshots, task))
}

async fn kubernetes(
    api: &ApiOptions,
    options: &SourceOptions,
    index: &IndexChoice,
    health: &Arc<SourceHealth>,
    stop: &CancellationToken,
) -> anyhow::Result<(watch::Receiver<Snapshot>, Task, oneshot::Receiver<ApiServer>)> {
    let node = node_name(options)?;
    let state_dir = &api.state.state_dir;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(state_dir);
    made.with_context(|| format!("cannot create {}: set --state-dir", state_dir.display()))?;
    // Unusable credentials are an error at the start, absent ones of `both` are not.
    let client = if api.awaited_kubeconfig().is_none() { Some(api.client().await?) } else { None };
    let (api, index, health, stop) = (api.clone(), index.clone(), Arc::clone(health), stop.clone());
    let (sender, snapshots) = watch::channel(Snapshot::default());
    let (identity_sender, identities) = watch::channel(ApiIdentities::default());
    let (connected, cluster) = oneshot::channel();
    let task = tokio::spawn(async move {
        let client = match client {
            Some(client) => client,
            None => match later(&api, &stop).await {
                Some(client) => client,
                None => return Ok(()),
            },
        };
        // Nobody publishes a status where the process is stopping.
        let _ = connected.send(ApiServer { client: client.clone(), node: node.clone(), identities });
        let disk_cache = api.state.snapshot();
        let cluster = Cluster { client, namespace: api.watch_namespace, node, index, disk_cache, health };
        source::kube::watch(cluster, sender, identity_sender, stop).await
    });
    Ok((snapshots, task, cluster))
}

/// A client, once there is a kubeconfig that has what it takes; `None` where `stop` comes first.
async fn later(api: &ApiOptions, stop: &CancellationToken) -> Option<Client> {
    let mut logged = None;
    loop {
        match (api.awaited_kubeconfig(), api.client().await) {
            (None, Ok(client)) => return Some(client),
            (_, Ok(_)) => {}
            (_, Err(error)) => {
                let error = format!("{error:#}");
                if logged.as_ref() != Some(&error) {
                    tracing::warn!(
                        error,
                        "no credentials for the API server yet: the objects of the directory are in force"
                    );
                }
                logged = Some(error);
            }
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(CREDENTIALS_POLL) => {}
        }
    }
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
