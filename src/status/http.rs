//! Health and metrics over HTTP, and nothing else. In: a listener and GET requests. Out: responses. Changes nothing.
//!
//! | path | response |
//! |---|---|
//! | `/healthz` | 200 while this process serves |
//! | `/readyz` | 200, or 503 with the reason |
//! | `/metrics` | metrics in the text format of Prometheus, of a controller |

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use futures::future::BoxFuture;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connections;
use super::metrics::Metrics;
use super::refresh::Refresh;
use crate::printable::printable;

/// Prometheus text exposition format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An answer of the readiness is repeated for so long: a router asks FRR's daemons.
const READINESS_AGE: Duration = Duration::from_secs(1);

/// Returns whether the process is ready, or why not.
pub type Readiness = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What is served.
#[derive(Clone)]
pub struct Endpoints {
    /// Called for `/readyz`, at most once at a time and once per second.
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
pub async fn serve(listener: TcpListener, endpoints: Endpoints, stop: CancellationToken) {
    connections::serve(listener, router(endpoints), stop).await;
}

/// The last answer of the readiness, which all requests share.
struct CachedReadiness {
    readiness: Readiness,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl CachedReadiness {
    async fn get(self: Arc<Self>) -> Result<(), String> {
        // A task of its own: a client that disconnects does not make the next one begin again.
        let answer = tokio::spawn(async move {
            let mut last = self.last.lock().await;
            if let Some((_, answer)) = last.as_ref().filter(|(at, _)| at.elapsed() < READINESS_AGE) {
                return answer.clone();
            }
            let answer = (self.readiness)().await;
            *last = Some((Instant::now(), answer.clone()));
            answer
        });
        answer.await.unwrap_or_else(|_| Err("shutting down".to_owned()))
    }
}

fn router(endpoints: Endpoints) -> Router {
    let Endpoints { readiness, metrics } = endpoints;
    let readiness = Arc::new(CachedReadiness { readiness, last: Mutex::default() });
    let readyz = move || {
        let readiness = Arc::clone(&readiness);
        async move {
            match readiness.get().await {
                Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
                Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", printable(&reason))),
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
                    ([(header::CONTENT_TYPE, TEXT_FORMAT)], metrics.render()).into_response()
                }
            };
            router.route("/metrics", get(answer))
        }
        None => router,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use futures::future::join_all;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::{sleep, timeout};

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
        server.await.unwrap();
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

    #[tokio::test(start_paused = true)]
    async fn the_readiness_is_asked_once_per_second_however_often_clients_ask() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let readiness: Readiness = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Box::pin(async {
                sleep(Duration::from_millis(300)).await;
                Ok(())
            })
        });
        let cached = Arc::new(CachedReadiness { readiness, last: Mutex::default() });
        for _ in 0..50 {
            // A client that disconnects at once.
            let _ = timeout(Duration::from_millis(1), Arc::clone(&cached).get()).await;
        }
        let answers = join_all((0..50).map(|_| Arc::clone(&cached).get())).await;
        assert!(answers.iter().all(Result::is_ok));
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        sleep(READINESS_AGE).await;
        assert_eq!((cached.get().await, asked.load(Ordering::Relaxed)), (Ok(()), 2));
    }

    #[tokio::test]
    async fn responses_of_a_controller() {
        let with_metrics = || endpoints(Ok(()), Some(Arc::new(Metrics::default())));
        let answer = get(with_metrics(), "GET /readyz").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        let answer = get(with_metrics(), "GET /metrics").await;
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{answer}");
        assert!(answer.contains("\nperouter_kernel_ops_total 0\n") && answer.ends_with('\n'), "{answer}");
    }
}
