//! `perouter run`, `router` and `controller`: the long-running processes, wired.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::lock;
use super::options::{ModeChoice, RuntimeOptions, SourceOptions};
use crate::control::{Controller, Outputs};
use crate::frr::daemons::{self, Daemons};
use crate::frr::restarts;
use crate::frr::vty_routing::VtyRouting;
use crate::kernel::{Kernel, NetlinkKernel, netns, vrf_device};
use crate::plan::hold::Accepted;
use crate::reconcile::Reconciler;
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;
use crate::source;
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
    let supervisor = start_router(&args.router, mode, &runtime, stop.clone()).await?;
    control(&args, mode, &runtime, stop.clone()).await?;
    stop.cancel();
    supervisor.await.context("supervisor")?;
    Ok(ExitCode::SUCCESS)
}

/// The router alone.
pub async fn router(args: RouterArgs) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    let mode = vrf_mode(args.vrf_mode)?;
    start_router(&args, mode, &args.runtime.paths(), stop).await?.await.context("supervisor")?;
    Ok(ExitCode::SUCCESS)
}

/// The controller alone.
pub async fn controller(args: RunArgs) -> anyhow::Result<ExitCode> {
    let stop = on_signal()?;
    let mode = vrf_mode(args.router.vrf_mode)?;
    let runtime = args.router.runtime.paths();
    let all = daemons::installed(&args.router.frr_dir)?;
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
    control(&args, mode, &runtime, stop).await?;
    Ok(ExitCode::SUCCESS)
}

async fn start_router(
    args: &RouterArgs,
    mode: VrfMode,
    runtime: &Runtime,
    stop: CancellationToken,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let mut daemons = Daemons::new(runtime.clone(), mode, &args.frr_dir).await?;
    daemons.ensure().await?;
    tracing::info!(%mode, frr = %daemons.version(), netns = %runtime.router_netns().display(), "router is up");
    let (events, mut told) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Some(event) = told.recv().await {
            tracing::debug!(?event, "daemon");
        }
    });
    Ok(tokio::spawn(daemons.supervise(events, stop)))
}

/// Each IP-VRF namespace takes two descriptors while it is worked on; the soft limit is 1024 by default.
fn raise_file_limit() {
    let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        tracing::warn!(%error, hard, "limit of open files not raised");
    }
}

/// Source and controller until `stop`.
async fn control(args: &RunArgs, mode: VrfMode, runtime: &Runtime, stop: CancellationToken) -> anyhow::Result<()> {
    let options = &args.source;
    let _lock = lock::take(runtime)?;
    raise_file_limit();
    let node = options.node()?;
    let directory = source::Directory { dir: options.config_dir.clone(), secrets: options.secrets() };
    let first = source::dir::read(&directory.dir, &directory.secrets, &node)?;
    let (sender, snapshots) = watch::channel::<Snapshot>(first);
    let source = tokio::spawn(source::watch(directory, node, sender, stop.clone()));
    let kernel = Arc::new(NetlinkKernel::open(runtime.clone(), netns::open_host()?).await?);
    let drift = Arc::new(Notify::new());
    let _restarts = restarts::watch(runtime, &daemons::installed(&args.router.frr_dir)?, &drift);
    let watcher = tokio::spawn(signal_drift(Arc::clone(&kernel), Arc::clone(&drift)));
    let reconciler = Reconciler::new(kernel, routing(runtime), mode, Accepted::default());
    let outputs = Outputs { status: runtime.status(), mode };
    Controller::new(reconciler, outputs).run(snapshots, drift, stop).await;
    watcher.abort();
    source.await.context("source")??;
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
