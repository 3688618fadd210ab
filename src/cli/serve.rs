//! Health and metrics of the long-running processes over HTTP. In: an address, if there is one. Out: a listener that serves
//! until the process stops.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::frr::daemons::{self, Installation};
use crate::runtime::Runtime;
use crate::status::http::{self, Endpoints, Readiness};
use crate::status::metrics::Metrics;
use crate::status::refresh::Refresh;

/// A controller is ready when its last reconcile pass succeeded and FRR answers.
pub async fn controller(
    address: Option<SocketAddr>,
    stop: &CancellationToken,
) -> anyhow::Result<(Arc<Metrics>, Arc<Refresh>)> {
    let (metrics, refresh) = (Arc::new(Metrics::default()), Arc::new(Refresh::default()));
    let of_controller = Arc::clone(&metrics);
    let readiness: Readiness = Arc::new(move || {
        let ready = of_controller.ready().map_err(|reason| reason.to_string());
        Box::pin(async { ready })
    });
    serve(address, Endpoints { readiness, metrics: Some((Arc::clone(&metrics), Arc::clone(&refresh))) }, stop).await?;
    Ok((metrics, refresh))
}

/// A router is ready when each of its daemons answers.
pub async fn router(
    address: Option<SocketAddr>,
    runtime: &Runtime,
    frr_dir: &Path,
    stop: &CancellationToken,
) -> anyhow::Result<()> {
    let runtime = runtime.clone();
    let all = Installation::read(frr_dir).await?.release.daemons;
    let readiness: Readiness = Arc::new(move || {
        let runtime = runtime.clone();
        Box::pin(async move {
            if daemons::ready(&runtime, all).await { Ok(()) } else { Err("a daemon does not answer".to_owned()) }
        })
    });
    serve(address, Endpoints { readiness, metrics: None }, stop).await
}

async fn serve(address: Option<SocketAddr>, endpoints: Endpoints, stop: &CancellationToken) -> anyhow::Result<()> {
    let Some(address) = address else { return Ok(()) };
    let listener = TcpListener::bind(address).await.with_context(|| format!("listen on {address}"))?;
    tokio::spawn(http::serve(listener, endpoints, stop.clone()));
    Ok(())
}
