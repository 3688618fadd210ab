//! `perouter run`, `router` and `controller`: the long-running processes, wired.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::options::{ModeChoice, RuntimeOptions, SourceOptions};
use crate::control::{Controller, Outputs};
use crate::frr::daemons::{self, DaemonEvent, Daemons};
use crate::frr::model::Daemon;
use crate::frr::vty_routing::VtyRouting;
use crate::kernel::{NetlinkKernel, netns, vrf_device};
use crate::plan::hold::Accepted;
use crate::reconcile::Reconciler;
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;
use crate::source;
use crate::status::http::{self, Endpoints, Readiness};
use crate::status::metrics::Metrics;
use crate::types::VrfMode;

/// bgpd is busy for 0.4 s at worst while it takes 100 000 routes.
const VTY_LIMIT: Duration = Duration::from_secs(10);
const READY_POLL: Duration = Duration::from_millis(50);

/// Arguments of `perouter run` and `perouter controller`.
#[derive(Debug, Args)]
#[command(
    after_help = "SIGTERM ends the process and leaves FRR and forwarding as they are: the next start adopts them.\n\
    `perouter cleanup` removes the router.\n\nExamples:\n  perouter run --config-dir /etc/perouter --node-index 3\n  \
    perouter controller --node-index 3   # beside `perouter router`"
)]
pub struct RunArgs {
    #[command(flatten)]
    source: SourceOptions,
    #[command(flatten)]
    router: RouterArgs,
}

/// Arguments of `perouter router`.
#[derive(Debug, Clone, Args)]
pub struct RouterArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// How IP-VRFs are kept apart; a running router keeps its mode until `perouter cleanup`
    #[arg(long, env = "PEROUTER_VRF_MODE", value_enum, default_value = "auto")]
    vrf_mode: ModeChoice,
    /// Directory of FRR's daemons
    #[arg(long, env = "PEROUTER_FRR_DIR", value_name = "DIR", default_value = daemons::FRR_DIR)]
    frr_dir: PathBuf,
    /// Serve /healthz, /readyz and, as a controller, /metrics there, such as 127.0.0.1:9476 [default: not at all]
    #[arg(long, env = "PEROUTER_HTTP_ADDRESS", value_name = "ADDRESS:PORT")]
    http_address: Option<SocketAddr>,
}

/// The mode that the choice comes to on this kernel.
pub fn vrf_mode(choice: ModeChoice) -> anyhow::Result<VrfMode> {
    let supported = || vrf_device::supported().context("find out whether this kernel has VRF devices");
    match choice {
        ModeChoice::Netns => Ok(VrfMode::Netns),
        ModeChoice::Auto => Ok(if supported()? { VrfMode::Vrf } else { VrfMode::Netns }),
        ModeChoice::Vrf if supported()? => Ok(VrfMode::Vrf),
        ModeChoice::Vrf => anyhow::bail!("this kernel has no VRF devices: use --vrf-mode netns or auto"),
    }
}

/// Router and controller.
pub async fn both(args: RunArgs) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    let mode = vrf_mode(args.router.vrf_mode)?;
    let runtime = args.router.runtime.paths();
    let (events, drift) = daemon_signals();
    let metrics = serve_controller(args.router.http_address, &stop).await?;
    let supervisor = start_router(&args.router, mode, &runtime, events, stop.clone()).await?;
    control(&args.source, mode, &runtime, metrics, drift, stop.clone()).await?;
    stop.cancel();
    supervisor.await.context("supervisor")?;
    Ok(ExitCode::SUCCESS)
}

/// The router alone.
pub async fn router(args: RouterArgs) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    let mode = vrf_mode(args.vrf_mode)?;
    let (events, _) = daemon_signals();
    serve_router(&args, &stop).await?;
    start_router(&args, mode, &args.runtime.paths(), events, stop).await?.await.context("supervisor")?;
    Ok(ExitCode::SUCCESS)
}

/// The controller alone.
pub async fn controller(args: RunArgs) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    let mode = vrf_mode(args.router.vrf_mode)?;
    let runtime = args.router.runtime.paths();
    let all = daemons::installed(&args.router.frr_dir)?;
    let metrics = serve_controller(args.router.http_address, &stop).await?;
    let mut told = false;
    while !daemons::ready(&runtime, &all).await {
        if !told {
            tracing::info!(run_dir = %runtime.dir().display(), "waiting for `perouter router`");
            told = true;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
            () = tokio::time::sleep(READY_POLL) => {}
        }
    }
    control(&args.source, mode, &runtime, metrics, Arc::new(Notify::new()), stop).await?;
    Ok(ExitCode::SUCCESS)
}

async fn start_router(
    args: &RouterArgs,
    mode: VrfMode,
    runtime: &Runtime,
    events: mpsc::Sender<DaemonEvent>,
    stop: CancellationToken,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let mut daemons = Daemons::new(runtime.clone(), mode, &args.frr_dir).await?;
    daemons.ensure().await?;
    tracing::info!(%mode, frr = %daemons.version(), netns = %runtime.router_netns().display(), "router is up");
    Ok(tokio::spawn(daemons.supervise(events, stop)))
}

/// Source and controller until `stop`.
async fn control(
    options: &SourceOptions,
    mode: VrfMode,
    runtime: &Runtime,
    metrics: Arc<Metrics>,
    drift: Arc<Notify>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let node = options.node()?;
    let directory = source::Directory { dir: options.config_dir.clone(), secrets: options.secrets() };
    let first = source::dir::read(&directory.dir, &directory.secrets, &node)?;
    let (sender, snapshots) = watch::channel::<Snapshot>(first);
    let source = tokio::spawn(source::watch(directory, node, sender, stop.clone()));
    let kernel = Arc::new(NetlinkKernel::open(runtime.clone(), netns::open_host()?).await?);
    let watcher = tokio::spawn(signal_drift(Arc::clone(&kernel), Arc::clone(&drift)));
    let reconciler = Reconciler::new(kernel, routing(runtime), mode, Accepted::default());
    let outputs = Outputs { status: runtime.status(), mode, metrics };
    Controller::new(reconciler, outputs).run(snapshots, drift, stop).await;
    watcher.abort();
    source.await.context("source")??;
    Ok(())
}

/// A controller is ready when its last pass ended well and FRR answers.
async fn serve_controller(address: Option<SocketAddr>, stop: &CancellationToken) -> anyhow::Result<Arc<Metrics>> {
    let metrics = Arc::new(Metrics::default());
    let asked = Arc::clone(&metrics);
    let readiness: Readiness = Arc::new(move || {
        let ready = asked.ready().map_err(|reason| reason.to_string());
        Box::pin(async { ready })
    });
    serve(address, Endpoints { readiness, metrics: Some(Arc::clone(&metrics)) }, stop).await?;
    Ok(metrics)
}

/// A router is ready when each of its daemons answers.
async fn serve_router(args: &RouterArgs, stop: &CancellationToken) -> anyhow::Result<()> {
    let runtime = args.runtime.paths();
    let all: Arc<[Daemon]> = daemons::installed(&args.frr_dir)?.into();
    let readiness: Readiness = Arc::new(move || {
        let (runtime, all) = (runtime.clone(), Arc::clone(&all));
        Box::pin(async move {
            if daemons::ready(&runtime, &all).await { Ok(()) } else { Err("a daemon does not answer".to_owned()) }
        })
    });
    serve(args.http_address, Endpoints { readiness, metrics: None }, stop).await
}

async fn serve(address: Option<SocketAddr>, endpoints: Endpoints, stop: &CancellationToken) -> anyhow::Result<()> {
    let Some(address) = address else { return Ok(()) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    let stop = stop.clone();
    tokio::spawn(async move {
        if let Err(error) = http::serve(listener, endpoints, stop).await {
            tracing::error!(%error, "health and metrics are not served any more");
        }
    });
    Ok(())
}

/// FRR's daemons of a router.
pub fn routing(runtime: &Runtime) -> VtyRouting {
    VtyRouting::new(runtime.frr_dir(), VTY_LIMIT)
}

async fn signal_drift(kernel: Arc<NetlinkKernel>, drift: Arc<Notify>) {
    loop {
        kernel.changed().await;
        drift.notify_one();
    }
}

/// A channel of daemon events that ends in a signal for the controller: a daemon that came up anew has no configuration.
fn daemon_signals() -> (mpsc::Sender<DaemonEvent>, Arc<Notify>) {
    let (sender, mut receiver) = mpsc::channel(16);
    let drift = Arc::new(Notify::new());
    let signal = Arc::clone(&drift);
    tokio::spawn(async move {
        while let Some(event) = receiver.recv().await {
            if matches!(event, DaemonEvent::Up { .. }) {
                signal.notify_one();
            }
        }
    });
    (sender, drift)
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
        tracing::info!("ending; FRR and forwarding stay as they are");
        token.cancel();
    });
    Ok(stop)
}
