//! The page of `perouter ui`. In: a listener, and what reads the router, or all nodes of a cluster. Out: files that are part of the
//! program, reports as a stream of events, and answers to requests. It changes nothing, serves no file of the disk, and does not know
//! how the router is read.
//!
//! | path | response |
//! |---|---|
//! | `/` and the names in [`FILES`] | the page |
//! | `/events` | server-sent events: `report` with a JSON document and the pause before the next read, `problem` where the router cannot be read; the id is the number of changes so far |
//! | `/changes` | what changed while the page was served |
//! | `/routes?vrf=` | the routes of a VRF, as `perouter routes` has them |
//! | `/trace?to=&from=&vrf=` | the path of an address, as `perouter trace` has it |
//!
//! The last two use FRR's time, and need the header `X-Perouter: page`.

pub mod cluster;
mod history;
mod query;
pub mod report;
mod route_cache;
pub mod states;

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::unfold;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::history::History;
use self::query::{QueryError, trace_query, vrf_query};
use self::route_cache::RouteCache;
use self::states::States;
use crate::diagnose::trace::TraceQuery;
use crate::status::connections;
use crate::types::VrfName;

/// [`PageSource::pause`] of a router.
pub const ROUTER_PAUSE: Duration = Duration::from_secs(3);

/// [`PageSource::pause`] of a cluster: a list of every `RouterNodeStatus`, which the API server has in memory.
pub const CLUSTER_PAUSE: Duration = Duration::from_secs(10);

/// An answer takes no longer, nor does the wait for it to begin: one is computed at a time.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// Header of requests of the page and its value: a browser sends it to another site only where that site allows it.
const PAGE_HEADER: (&str, &str) = ("x-perouter", "page");

/// Paths that need [`PAGE_HEADER`].
const COSTLY: [&str; 2] = ["/routes", "/trace"];

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// Name, type and content of each file of the page.
const FILES: &[(&str, &str, &str)] = &[
    ("/", HTML, include_str!("page/index.html")),
    ("/style.css", "text/css; charset=utf-8", include_str!("page/style.css")),
    ("/icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("/app.js", SCRIPT, include_str!("page/app.js")),
    ("/all_checks.js", SCRIPT, include_str!("page/all_checks.js")),
    ("/all_fabric.js", SCRIPT, include_str!("page/all_fabric.js")),
    ("/all_node.js", SCRIPT, include_str!("page/all_node.js")),
    ("/all_path.js", SCRIPT, include_str!("page/all_path.js")),
    ("/all_vrf.js", SCRIPT, include_str!("page/all_vrf.js")),
    ("/changes.js", SCRIPT, include_str!("page/changes.js")),
    ("/checks.js", SCRIPT, include_str!("page/checks.js")),
    ("/cluster.js", SCRIPT, include_str!("page/cluster.js")),
    ("/command.js", SCRIPT, include_str!("page/command.js")),
    ("/fabric.js", SCRIPT, include_str!("page/fabric.js")),
    ("/filter.js", SCRIPT, include_str!("page/filter.js")),
    ("/node.js", SCRIPT, include_str!("page/node.js")),
    ("/path.js", SCRIPT, include_str!("page/path.js")),
    ("/request.js", SCRIPT, include_str!("page/request.js")),
    ("/state.js", SCRIPT, include_str!("page/state.js")),
    ("/vrf.js", SCRIPT, include_str!("page/vrf.js")),
    ("/address.js", SCRIPT, include_str!("page/address.js")),
    ("/dom.js", SCRIPT, include_str!("page/dom.js")),
];

/// Scripts, styles and connections of this server only: text of a peer that became HTML would still run nothing.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
    form-action 'none'; frame-ancestors 'none'";

/// A read of the router.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The report, as JSON.
    pub report: String,
    /// Its states.
    pub states: States,
    /// When, in seconds since the epoch.
    pub time: u64,
}

/// Reads the router: a report, or why it cannot be read.
pub type ReadReport = Arc<dyn Fn() -> BoxFuture<'static, Result<Reading, String>> + Send + Sync>;

/// Answers a request of the page: a JSON document, or why there is none.
pub type ReadAnswer<Q> = Arc<dyn Fn(Q) -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// What the page shows.
#[derive(Clone)]
pub struct PageSource {
    /// The router, or all nodes of a cluster.
    pub report: ReadReport,
    /// Time between the end of a read and the next one, while somebody has the page open, at least.
    pub pause: Duration,
    /// The routes of a VRF.
    pub routes: ReadAnswer<VrfName>,
    /// The path of an address.
    pub trace: ReadAnswer<TraceQuery>,
}

/// The last read: a report or a problem, and the number of changes so far.
type LastReport = Option<(Result<String, String>, u64)>;

/// What all requests share.
struct PageState {
    reports: watch::Sender<LastReport>,
    history: Mutex<History>,
    routes: Mutex<RouteCache<JsonAnswer>>,
    source: PageSource,
    turn: Semaphore,
}

/// Serves until `stop`. The router is read only while somebody has the page open.
pub async fn serve(listener: TcpListener, source: PageSource, stop: CancellationToken) {
    let (reports, history, turn) = (watch::Sender::new(None), Mutex::default(), Semaphore::new(1));
    // Shorter than the pause of reports: where FRR is fast each report has new routes beside it.
    let routes = Mutex::new(RouteCache::new(|took| pause_after(took, ROUTER_PAUSE / 2)));
    let served = Arc::new(PageState { reports, history, routes, source, turn });
    let reading = tokio::spawn(read_while_open(Arc::clone(&served)));
    connections::serve(listener, router(&served), stop).await;
    reading.abort();
}

/// The pause after a read that took so long, at least `least`: FRR does nothing else while it answers, so no more than a tenth of its
/// time is used.
pub fn pause_after(took: Duration, least: Duration) -> Duration {
    least.max(took.saturating_mul(10))
}

async fn read_while_open(served: Arc<PageState>) {
    loop {
        if served.reports.receiver_count() == 0 {
            // What was read before is old when the page is opened again.
            served.reports.send_replace(None);
            sleep(Duration::from_millis(100)).await;
            continue;
        }
        let begin = Instant::now();
        let read = (served.source.report)().await;
        let pause = pause_after(begin.elapsed(), served.source.pause);
        served.reports.send_replace(Some(served.note(read, pause)));
        sleep(pause).await;
    }
}

impl PageState {
    /// Takes note of what changed: the report or the problem, and the number of changes so far.
    fn note(&self, read: Result<Reading, String>, pause: Duration) -> (Result<String, String>, u64) {
        let mut history = self.history();
        let read = match read {
            Ok(Reading { report, states, time }) => {
                history.note(time, Ok(states));
                Ok(format!("{{\"pauseSeconds\":{},\"report\":{report}}}", pause.as_secs_f64()))
            }
            Err(problem) => {
                let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                history.note(now.as_secs(), Err(&problem));
                Err(problem)
            }
        };
        (read, history.number())
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changes(&self) -> Response {
        serde_json::to_string(&self.history().list()).map_or_else(
            |error| problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
            |document| json_response((StatusCode::OK, document)),
        )
    }

    /// The routes of a VRF: those of the last read, where it is too early for another one.
    async fn routes(&self, query: Result<VrfName, QueryError>) -> Response {
        let cache = || self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        self.in_turn(query, async |vrf: VrfName| {
            if let Some(answer) = cache().get(&vrf, Instant::now()) {
                return answer;
            }
            let begin = Instant::now();
            let answer = within_limit((self.source.routes)(vrf.clone())).await;
            cache().insert(vrf, answer.clone(), begin, Instant::now());
            answer
        })
        .await
    }

    async fn trace(&self, query: Result<TraceQuery, QueryError>) -> Response {
        self.in_turn(query, async |query| within_limit((self.source.trace)(query)).await).await
    }

    /// Answers a request, when those before it are answered.
    async fn in_turn<Q>(&self, query: Result<Q, QueryError>, answer: impl AsyncFnOnce(Q) -> JsonAnswer) -> Response {
        let query = match query {
            Ok(query) => query,
            Err(error) => return problem(StatusCode::BAD_REQUEST, &error.to_string()),
        };
        let Ok(_turn) = timeout(ANSWER_LIMIT, self.turn.acquire()).await else { return json_response(too_late()) };
        json_response(answer(query).await)
    }
}

/// A status, and a JSON document.
type JsonAnswer = (StatusCode, String);

async fn within_limit(read: BoxFuture<'static, Result<String, String>>) -> JsonAnswer {
    match timeout(ANSWER_LIMIT, read).await {
        Ok(Ok(document)) => (StatusCode::OK, document),
        Ok(Err(error)) => (StatusCode::UNPROCESSABLE_ENTITY, problem_document(&error)),
        Err(_) => too_late(),
    }
}

fn too_late() -> JsonAnswer {
    (StatusCode::GATEWAY_TIMEOUT, problem_document(&format!("no answer within {} s", ANSWER_LIMIT.as_secs())))
}

fn json_response((status, document): JsonAnswer) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], document).into_response()
}

fn problem_document(text: &str) -> String {
    json!({"problem": text}).to_string()
}

fn problem(status: StatusCode, text: &str) -> Response {
    json_response((status, problem_document(text)))
}

fn router(served: &Arc<PageState>) -> Router {
    let of = || Arc::clone(served);
    let (events, changes, routes, trace) = (of(), of(), of(), of());
    let mut router = Router::new()
        .route(
            "/events",
            get(async move || Sse::new(stream(events.reports.subscribe())).keep_alive(KeepAlive::default())),
        )
        .route("/changes", get(async move || changes.changes()))
        .route("/routes", get(async move |uri: Uri| routes.routes(vrf_query(uri.query())).await))
        .route("/trace", get(async move |uri: Uri| trace.trace(trace_query(uri.query())).await));
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
            let (event, number) = match reports.borrow_and_update().as_ref() {
                Some((Ok(report), number)) => (Event::default().event("report").data(report), *number),
                Some((Err(problem), number)) => {
                    (Event::default().event("problem").data(problem_document(problem)), *number)
                }
                None => continue,
            };
            return Some((Ok(event.id(number.to_string())), (reports, false)));
        }
    })
}

/// Answers requests for this server only, with headers that let a browser do no more than the page needs.
async fn protected(request: Request, next: Next) -> Response {
    if !is_for_us(request.headers()) {
        return (StatusCode::FORBIDDEN, "name the address of this server\n").into_response();
    }
    if is_from_elsewhere(&request) {
        return (StatusCode::FORBIDDEN, "open the page of this server\n").into_response();
    }
    if COSTLY.contains(&request.uri().path()) && !is_of_page(request.headers()) {
        return (StatusCode::FORBIDDEN, "this request needs the header X-Perouter: page\n").into_response();
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

/// A page of another site may have a browser send requests that cost time here, although it cannot read the response; it may link to the
/// page. Browsers send this header to HTTPS and localhost only.
fn is_from_elsewhere(request: &Request) -> bool {
    let site = request.headers().get("sec-fetch-site").and_then(|site| site.to_str().ok());
    matches!(site, Some("cross-site" | "same-site")) && request.uri().path() != "/"
}

/// Whether a script of this page sent it: for another site a browser sends a preflight first, which gets no permission here.
fn is_of_page(headers: &HeaderMap) -> bool {
    let (name, value) = PAGE_HEADER;
    headers.get(name).is_some_and(|given| given == value)
}

#[cfg(test)]
mod tests;
