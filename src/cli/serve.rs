//! Health and metrics of the long-running processes over HTTP. In: an address, if there is one. Out: a listener that serves
//! until the process stops.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::frr::client::vty_routing::VtyRouting;
use crate::frr::daemons::{self, Installation};
use crate::frr::show::neighbor::{SHOW_FABRIC_NEIGHBORS, fabric_sessions};
use crate::runtime::{Daemon, Runtime};
use crate::status::http::{self, Endpoints, Readiness};
use crate::status::metrics::Metrics;
use crate::status::model::NodeStatus;
use crate::status::refresh::Refresh;
use crate::status::{publish, readiness};

/// Less than the time limit of the readiness probe.
const VTY_LIMIT: Duration = Duration::from_secs(3);

/// What a controller is served from.
pub struct Served {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Requests for a fresh status.
    pub refresh: Arc<Refresh>,
    /// The statuses that the metrics show.
    pub statuses: watch::Sender<Option<NodeStatus>>,
}

/// A controller is ready when its last reconcile pass succeeded and FRR answers; one that is the router as well, with its runtime and
/// the directory of FRR, when that is ready too.
pub async fn controller(
    address: Option<SocketAddr>,
    router: Option<(&Runtime, &Path)>,
    stop: &CancellationToken,
) -> anyhow::Result<Served> {
    let statuses = watch::Sender::new(None);
    let (metrics, refresh) = (Arc::new(Metrics::new(statuses.subscribe())), Arc::new(Refresh::default()));
    let of_controller = Arc::clone(&metrics);
    let of_router = match router {
        Some((runtime, frr_dir)) => Some(readiness_of_router(runtime, frr_dir).await?),
        None => None,
    };
    let readiness: Readiness = Arc::new(move || {
        let (ready, of_router) = (of_controller.ready().map_err(|reason| reason.to_string()), of_router.clone());
        Box::pin(async move {
            ready?;
            match of_router {
                Some(ready) => ready().await,
                None => Ok(()),
            }
        })
    });
    serve(address, Endpoints { readiness, metrics: Some((Arc::clone(&metrics), Arc::clone(&refresh))) }, stop).await?;
    Ok(Served { metrics, refresh, statuses })
}

/// A router is ready when each of its daemons answers, and the node is connected to the fabric if it has an Underlay: a rolling
/// update waits for it before the next node.
pub async fn router(
    address: Option<SocketAddr>,
    runtime: &Runtime,
    frr_dir: &Path,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let readiness = readiness_of_router(runtime, frr_dir).await?;
    serve(address, Endpoints { readiness, metrics: None }, stop).await
}

async fn readiness_of_router(runtime: &Runtime, frr_dir: &Path) -> anyhow::Result<Readiness> {
    let runtime = runtime.clone();
    let all = Installation::read(frr_dir).await?.release.daemons;
    Ok(Arc::new(move || {
        let runtime = runtime.clone();
        Box::pin(async move {
            if !daemons::ready(&runtime, all).await {
                return Err("a daemon does not answer".to_owned());
            }
            fabric_is_reached(&runtime).await.map_err(|error| format!("{error:#}"))
        })
    }))
}

async fn fabric_is_reached(runtime: &Runtime) -> anyhow::Result<()> {
    let shown = VtyRouting::new(runtime.frr_dir(), VTY_LIMIT).show(Daemon::Bgpd, SHOW_FABRIC_NEIGHBORS).await?;
    let sessions = fabric_sessions(&shown)?;
    // As the controller saw it last. A status of another version says nothing.
    let has_underlay =
        sessions.is_empty() && publish::read(&runtime.status()).is_ok_and(|status| has_vtep(status.as_ref()));
    Ok(readiness::router(&sessions, has_underlay)?)
}

fn has_vtep(status: Option<&NodeStatus>) -> bool {
    status.is_some_and(|status| status.vteps().next().is_some())
}

async fn serve(address: Option<SocketAddr>, endpoints: Endpoints, stop: &CancellationToken) -> anyhow::Result<()> {
    let Some(address) = address else { return Ok(()) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    tokio::spawn(http::serve(listener, endpoints, stop.clone()));
    Ok(())
}
