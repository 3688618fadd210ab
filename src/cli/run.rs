//! `perouter run`, `router` and `controller`: the long-running processes. In: arguments. Out: sources, router and
//! controller connected by channels, until a signal. Decides nothing.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::background_checks;
use super::frr_client::{mode_of_router, routing};
use super::lock::{self, LockRole, Locks};
use super::node_index;
use super::notify;
use super::options::{ApiOptions, RouterOptions, SourceOptions};
use super::serve::{self, Served};
use super::sources::{self, Sources};
use super::stop_signal::stop_signal;
use crate::control::{Controller, Outputs, accepted_file};
use crate::frr::client::restarts;
use crate::frr::daemons::{self, Daemons, Installation};
use crate::kernel::{Kernel, NetlinkKernel, file_limit, netns};
use crate::reconcile::Reconciler;
use crate::runtime::{Daemon, Runtime};
use crate::source::kube::IndexChoice;
use crate::status::kubernetes;
use crate::status::metrics::Surroundings;
use crate::types::VrfMode;

const READY_POLL: Duration = Duration::from_millis(50);
/// A daemon that does not answer for so long is not waited for.
const ALL_READY: Duration = Duration::from_secs(10);

/// Arguments of `perouter run` and `perouter controller`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    source: SourceOptions,
    #[command(flatten)]
    router: RouterOptions,
    /// Give a router that exists another node index: its VTEP, its router id and its session addresses change
    #[arg(long)]
    change_node_index: bool,
    /// Seconds between checks of the routes of fabric and host, for status, metrics and alerts; 0: `perouter check` alone has them
    #[arg(long, env = "PEROUTER_CHECK_INTERVAL", value_name = "SECONDS", default_value_t = 60)]
    check_interval: u32,
}

/// Runs router and controller.
pub async fn both(args: RunArgs) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    let ready = notify::when_ready();
    let mode = args.router.vrf_mode.resolve()?;
    let Some((index, _locks)) = begin(&args, &LockRole::BOTH, &stop).await? else { return Ok(ExitCode::SUCCESS) };
    let runtime = args.router.runtime.paths();
    let of_router = Some((&runtime, args.router.frr_dir.as_path()));
    let endpoints = serve::controller(args.router.http_address, of_router, &stop).await?;
    let supervisor = start_router(&args.router, mode, &runtime, stop.clone()).await?;
    control(&args, (mode, &index), &runtime, endpoints, (stop.clone(), ready)).await?;
    stop.cancel();
    supervisor.await.context("supervisor")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the router.
pub async fn router(args: RouterOptions) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    let ready = notify::when_ready();
    let mode = args.vrf_mode.resolve()?;
    let _lock = lock::take(&args.runtime.paths(), &[LockRole::Router])?;
    serve::router(args.http_address, &args.runtime.paths(), &args.frr_dir, &stop).await?;
    let supervisor = start_router(&args, mode, &args.runtime.paths(), stop).await?;
    ready.notify_one();
    supervisor.await.context("supervisor")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the controller.
pub async fn controller(args: RunArgs) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    let ready = notify::when_ready();
    let begun = begin(&args, &[LockRole::Controller], &stop).await?;
    let Some((index, _lock)) = begun else { return Ok(ExitCode::SUCCESS) };
    let runtime = args.router.runtime.paths();
    let all = Installation::read(&args.router.frr_dir).await?.release.daemons;
    let endpoints = serve::controller(args.router.http_address, None, &stop).await?;
    let mut is_logged = false;
    let begin = Instant::now();
    // What answers is configured; without zebra nothing is.
    let wanted = || -> &'static [Daemon] { if begin.elapsed() < ALL_READY { all } else { &[Daemon::Zebra] } };
    while !daemons::ready(&runtime, wanted()).await {
        if !is_logged {
            tracing::info!(run_dir = %runtime.dir().display(), "waiting for `perouter router`");
            is_logged = true;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(READY_POLL) => {}
        }
    }
    let mode = mode_of_router(args.router.vrf_mode, &runtime).await?;
    control(&args, (mode, &index), &runtime, endpoints, (stop, ready)).await?;
    Ok(ExitCode::SUCCESS)
}

/// Checks the command line, waits for the index and takes the locks, before anything is started. `None` where `stop` comes first.
async fn begin(
    args: &RunArgs,
    roles: &[LockRole],
    stop: &CancellationToken,
) -> anyhow::Result<Option<(IndexChoice, Locks)>> {
    let (runtime, source) = (args.router.runtime.paths(), &args.source);
    let Some(index) = source.index.wait(&source.node_labels, &runtime, stop).await? else { return Ok(None) };
    sources::check(&args.api, source, &index).await?;
    node_index::check(&runtime, index.fixed(), args.change_node_index)?;
    Ok(Some((index, lock::take(&runtime, roles)?)))
}

async fn start_router(
    args: &RouterOptions,
    mode: VrfMode,
    runtime: &Runtime,
    stop: CancellationToken,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let mut daemons = Daemons::new(runtime.clone(), mode, &args.frr_dir).await?;
    daemons.ensure().await?;
    tracing::info!(%mode, frr = %daemons.version(), netns = %runtime.router_netns().display(), "router is up");
    let (events, mut received) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(event) = received.recv().await {
            tracing::debug!(?event, "daemon");
        }
    });
    Ok(tokio::spawn(daemons.supervise(events, stop)))
}

/// Source and controller until `stop`.
async fn control(
    args: &RunArgs,
    (mode, index): (VrfMode, &IndexChoice),
    runtime: &Runtime,
    Served { metrics, refresh, statuses }: Served,
    (stop, ready): (CancellationToken, Arc<Notify>),
) -> anyhow::Result<()> {
    file_limit::raise();
    let Sources { mut snapshots, tasks, cluster, health } =
        sources::start(&args.api, &args.source, index, &stop).await?;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        // Without a first snapshot there is nothing to reconcile.
        known = snapshots.changed() => known.context("source")?,
    }
    let kernel = NetlinkKernel::open(runtime.clone(), netns::open_host()?).await?;
    let kernel = Arc::new(kernel.observing_routes_to(args.api.servers().await?));
    let drift = Arc::new(Notify::new());
    let daemons = Installation::read(&args.router.frr_dir).await?.release.daemons;
    let restarts = restarts::watch(runtime, daemons, &drift).await;
    metrics.surrounded_by(Surroundings { daemons: Arc::clone(&restarts.daemons), sources: health });
    let watcher = tokio::spawn(signal_drift(Arc::clone(&kernel), Arc::clone(&drift)));
    let accepted = accepted_file::read(&runtime.accepted());
    let reconciler = Reconciler::new(kernel, routing(runtime), mode, accepted);
    let publisher = cluster.map(|cluster| {
        let (statuses, stop) = (statuses.subscribe(), stop.clone());
        tokio::spawn(async move {
            if let Ok(cluster) = cluster.await {
                kubernetes::publish(cluster.client, cluster.node, statuses, cluster.identities, stop).await;
            }
        })
    });
    let mut first = statuses.subscribe();
    tokio::spawn(async move {
        if first.changed().await.is_ok() {
            ready.notify_one();
        }
    });
    let recording = node_index::record(runtime, snapshots.clone());
    let (status, accepted, graceful_restart) = (runtime.status(), runtime.accepted(), runtime.graceful_restart());
    let outputs = Outputs { status, accepted, graceful_restart, mode, statuses, metrics, refresh };
    let interval = Duration::from_secs(args.check_interval.into());
    let checks = background_checks::start(runtime, interval, stop.clone());
    // A task of its own: a worker that receives a reply would have to wake the thread of `main`.
    let controller = tokio::spawn(Controller::new(reconciler, outputs, checks).run(snapshots, drift, stop));
    controller.await.context("controller")?;
    watcher.abort();
    recording.abort();
    if let Some(publisher) = publisher {
        publisher.abort();
    }
    sources::join(tasks).await
}

async fn signal_drift(kernel: Arc<NetlinkKernel>, drift: Arc<Notify>) {
    loop {
        kernel.changed().await;
        drift.notify_one();
    }
}

fn on_signal() -> anyhow::Result<CancellationToken> {
    stop_signal(|| tracing::info!("shutting down; FRR and forwarding stay as they are"))
}
