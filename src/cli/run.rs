//! `perouter run`, `router` and `controller`: the long-running processes. In: arguments. Out: sources, router and
//! controller connected by channels, until a signal. Decides nothing.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::frr_client::routing;
use super::lock;
use super::options::{ApiOptions, ModeChoice, RouterOptions, SourceOptions};
use super::serve;
use super::sources::{self, Sources};
use crate::control::{Controller, Outputs};
use crate::frr::client::restarts;
use crate::frr::daemons::{self, Daemons, Installation};
use crate::kernel::{Kernel, NetlinkKernel, netns};
use crate::plan::last_accepted::LastAccepted;
use crate::reconcile::Reconciler;
use crate::runtime::Runtime;
use crate::status::kubernetes;
use crate::status::metrics::Metrics;
use crate::status::refresh::Refresh;
use crate::types::VrfMode;

const READY_POLL: Duration = Duration::from_millis(50);

/// Arguments of `perouter run` and `perouter controller`.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    source: SourceOptions,
    #[command(flatten)]
    router: RouterOptions,
}

/// The mode of a running router, which the choice must not contradict.
async fn mode_of_router(choice: ModeChoice, runtime: &Runtime) -> anyhow::Result<VrfMode> {
    let Some(running) = routing(runtime).mode().await? else { return choice.resolve() };
    let fits = match choice {
        ModeChoice::Auto => true,
        ModeChoice::Netns => running == VrfMode::Netns,
        ModeChoice::Vrf => running == VrfMode::Vrf,
    };
    if !fits {
        anyhow::bail!(
            "the router runs in {running} mode: use the same --vrf-mode for router and controller, or omit it"
        );
    }
    Ok(running)
}

/// Runs router and controller.
pub async fn both(args: RunArgs) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    let mode = args.router.vrf_mode.resolve()?;
    sources::check(&args.api, &args.source).await?;
    let runtime = args.router.runtime.paths();
    let endpoints = serve::controller(args.router.http_address, &stop).await?;
    let supervisor = start_router(&args.router, mode, &runtime, stop.clone()).await?;
    control(&args, mode, &runtime, endpoints, stop.clone()).await?;
    stop.cancel();
    supervisor.await.context("supervisor")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the router.
pub async fn router(args: RouterOptions) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    let mode = args.vrf_mode.resolve()?;
    serve::router(args.http_address, &args.runtime.paths(), &args.frr_dir, &stop).await?;
    start_router(&args, mode, &args.runtime.paths(), stop).await?.await.context("supervisor")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the controller.
pub async fn controller(args: RunArgs) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    sources::check(&args.api, &args.source).await?;
    let runtime = args.router.runtime.paths();
    let all = Installation::read(&args.router.frr_dir).await?.release.daemons;
    let endpoints = serve::controller(args.router.http_address, &stop).await?;
    let mut is_logged = false;
    while !daemons::ready(&runtime, all).await {
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
    control(&args, mode, &runtime, endpoints, stop).await?;
    Ok(ExitCode::SUCCESS)
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

/// Each IP-VRF namespace needs two descriptors while it is changed; the soft limit is 1024 by default.
fn raise_file_limit() {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::warn!(%error, hard, "limit of open files not raised");
    }
}

/// Source and controller until `stop`.
async fn control(
    args: &RunArgs,
    mode: VrfMode,
    runtime: &Runtime,
    (metrics, refresh): (Arc<Metrics>, Arc<Refresh>),
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let _lock = lock::take(runtime)?;
    raise_file_limit();
    let Sources { mut snapshots, tasks, cluster } = sources::start(&args.api, &args.source, &stop).await?;
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        // Without a first snapshot there is nothing to reconcile.
        known = snapshots.changed() => known.context("source")?,
    }
    let kernel = Arc::new(NetlinkKernel::open(runtime.clone(), netns::open_host()?).await?);
    let drift = Arc::new(Notify::new());
    let _restarts = restarts::watch(runtime, Installation::read(&args.router.frr_dir).await?.release.daemons, &drift);
    let watcher = tokio::spawn(signal_drift(Arc::clone(&kernel), Arc::clone(&drift)));
    let reconciler = Reconciler::new(kernel, routing(runtime), mode, LastAccepted::default());
    let statuses = watch::Sender::new(None);
    let publisher = cluster.map(|cluster| {
        let (statuses, stop) = (statuses.subscribe(), stop.clone());
        tokio::spawn(kubernetes::publish(cluster.client, cluster.node, statuses, cluster.identities, stop))
    });
    let outputs = Outputs { status: runtime.status(), mode, statuses, metrics, refresh };
    Controller::new(reconciler, outputs).run(snapshots, drift, stop).await;
    watcher.abort();
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
    let stop = CancellationToken::new();
    let token = stop.clone();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("shutting down; FRR and forwarding stay as they are");
        token.cancel();
    });
    Ok(stop)
}
