//! Health and metrics over HTTP, and nothing else. In: a listener and GET requests. Out: responses. Changes nothing.
//!
//! | path | response |
//! |---|---|
//! | `/healthz` | 200 while this process serves |
//! | `/readyz` | 200, or 503 with the reason |
//! | `/metrics` | OpenMetrics text, of a controller |

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics::Metrics;
use super::refresh::Refresh;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns whether the process is ready, or why not.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct Endpoints {
    /// Called for each `/readyz`.
    pub readiness: Readiness,
    /// Of a controller, with the refresh that keeps them current; without them there is no `/metrics`.
    pub metrics: Option<(Arc<Metrics>, Arc<Refresh>)>,
}

impl std::fmt::Debug for Endpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Endpoints").field("metrics", &self.metrics.is_some()).finish_non_exhaustive()
    }
}

/// Serves until `stop`.
///
/// # Errors
/// If the listener fails.
pub async fn serve(listener: TcpListener, endpoints: Endpoints, stop: CancellationToken) -> io::Result<()> {
    axum::serve(listener, router(endpoints)).with_graceful_shutdown(async move { stop.cancelled().await }).await
}

fn router(endpoints: Endpoints) -> Router {
    let Endpoints { readiness, metrics } = endpoints;
    let readyz = move || {
        let answer = readiness();
        async move {
            match answer.await {
                Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
                Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, reason + "\n"),
            }
        }
    };
    let router = Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(readyz));
    match metrics {
        Some((metrics, refresh)) => {
            let answer = move || {
                let (metrics, refresh) = (Arc::clone(&metrics), Arc::clone(&refresh));
                async move {
                    refresh.ensure_fresh().await;
                    encoded(&metrics)
                }
            };
            router.route("/metrics", get(answer))
        }
        None => router,
    }
}

fn encoded(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    async fn get(endpoints: Endpoints, request: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(listener, endpoints, stop.clone()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let text = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        stop.cancel();
        server.await.unwrap().unwrap();
        answer
    }

    fn endpoints(ready: Result<(), &'static str>, metrics: Option<Arc<Metrics>>) -> Endpoints {
        let answer = move || -> BoxFuture<'static, Result<(), String>> {
            Box::pin(async move { ready.map_err(ToOwned::to_owned) })
        };
        Endpoints { readiness: Arc::new(answer), metrics: metrics.map(|metrics| (metrics, Arc::default())) }
    }

    #[rstest::rstest]
    #[case("GET /healthz", "HTTP/1.1 200 OK", "ok\n")]
    #[case("GET /readyz", "HTTP/1.1 503 Service Unavailable", "FRR does not answer\n")]
    #[case("GET /metrics", "HTTP/1.1 404 Not Found", "")]
    #[case("GET /", "HTTP/1.1 404 Not Found", "")]
    #[case("POST /healthz", "HTTP/1.1 405 Method Not Allowed", "")]
    #[tokio::test]
    async fn responses_of_a_router(#[case] request: &str, #[case] status: &str, #[case] body: &str) {
        let answer = get(endpoints(Err("FRR does not answer"), None), request).await;
        assert!(answer.starts_with(status), "{answer}");
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, body);
    }

    #[tokio::test]
    async fn responses_of_a_controller() {
        let with_metrics = || endpoints(Ok(()), Some(Arc::new(Metrics::default())));
        let answer = get(with_metrics(), "GET /readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let answer = get(with_metrics(), "GET /metrics").await;
        assert!(
            answer.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"),
            "{answer}"
        );
        assert!(answer.contains("\nperouter_kernel_ops_total 0\n") && answer.ends_with("# EOF\n"), "{answer}");
    }
}
