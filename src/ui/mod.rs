//! The page of `perouter ui`. In: a listener, and what reads the router. Out: files that are part of the program, and reports as a
//! stream of events. It changes nothing, serves no file of the disk, and does not know how the router is read.
//!
//! | path | response |
//! |---|---|
//! | `/` and the names in [`FILES`] | the page |
//! | `/events` | server-sent events: `report` with a JSON document, `problem` where the router cannot be read |

pub mod report;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::unfold;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::status::connections;

/// Time between the end of a read and the next one, while somebody has the page open, at least.
const PAUSE: Duration = Duration::from_secs(3);

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type and content of each file of the page.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/checks.js", SCRIPT, include_str!("page/checks.js")),
    ("/filter.js", SCRIPT, include_str!("page/filter.js")),
    ("/address.js", SCRIPT, include_str!("page/address.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
];

/// Scripts, styles and connections of this server only: text of a peer that became HTML would still run nothing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// Reads the router: a report as JSON, or why it cannot be read.
pub type ReadReport = Arc<dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// The last read.
type LastReport = Option<Result<String, String>>;

/// Serves until `stop`. The router is read only while somebody has the page open.
pub async fn serve(listener: TcpListener, read: ReadReport, stop: CancellationToken) {
    let reports = Arc::new(watch::Sender::new(None));
    let reading = tokio::spawn(read_while_open(read, Arc::clone(&reports)));
    connections::serve(listener, router(reports), stop).await;
    reading.abort();
}

/// The pause after a read that took so long, at least `least`: FRR does nothing else while it answers, so no more than a tenth of its
/// time is used.
pub fn pause_after(took: Duration, least: Duration) -> Duration {
    least.max(took.saturating_mul(10))
}

async fn read_while_open(read: ReadReport, reports: Arc<watch::Sender<LastReport>>) {
    loop {
        if reports.receiver_count() == 0 {
            // What was read before is old when the page is opened again.
            reports.send_replace(None);
            sleep(Duration::from_millis(100)).await;
            continue;
        }
        let begin = Instant::now();
        reports.send_replace(Some(read().await));
        sleep(pause_after(begin.elapsed(), PAUSE)).await;
    }
}

fn router(reports: Arc<watch::Sender<LastReport>>) -> Router {
    let events = move || {
        let reports = reports.subscribe();
        async { Sse::new(stream(reports)).keep_alive(KeepAlive::default()) }
    };
    let mut router = Router::new().route("/events", get(events));
    for (path, media_type, content) in FILES {
        router = router.route(path, get(async move || ([(header::CONTENT_TYPE, *media_type)], *content)));
    }
    router.layer(from_fn(protected))
}

/// The last report, then each new one.
fn stream(reports: watch::Receiver<LastReport>) -> impl Stream<Item = Result<Event, Infallible>> {
    unfold((reports, true), async |(mut reports, is_first)| {
        loop {
            if !is_first || reports.borrow_and_update().is_none() {
                reports.changed().await.ok()?;
            }
            let event = match reports.borrow_and_update().as_ref() {
                Some(Ok(report)) => Event::default().event("report").data(report),
                Some(Err(problem)) => Event::default().event("problem").data(json!({"problem": problem}).to_string()),
                None => continue,
            };
            return Some((Ok(event), (reports, false)));
        }
    })
}

/// Answers requests for this server only, with headers that let a browser do no more than the page needs.
async fn protected(request: Request, next: Next) -> Response {
    if !is_for_us(request.headers()) {
        return (StatusCode::FORBIDDEN, "name the address of this server\n").into_response();
    }
    let mut response = next.run(request).await;
    let headers: [(HeaderName, &'static str); 4] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A page of another site may let a name of its own lead to this address (DNS rebinding), and read the answers: only an address, or
/// `localhost`, is a name of this server.
fn is_for_us(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST).and_then(|host| host.to_str().ok()) else { return false };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests;
