use super::*;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::diagnose::check::AreaState;
use crate::diagnose::finding::Place;
use crate::ui::states::{PartState, StateKey, Subject};

struct PageServer {
    address: SocketAddr,
    reads: Arc<AtomicUsize>,
    /// Answers that are being computed, the most at one time, and all of them.
    busy: Arc<[AtomicUsize; 3]>,
    stop: CancellationToken,
}

impl Drop for PageServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn served(answer: Result<&'static str, &'static str>) -> PageServer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, stop, reads) =
        (listener.local_addr().unwrap(), CancellationToken::new(), Arc::<AtomicUsize>::default());
    let count = Arc::clone(&reads);
    let report: ReadReport = Arc::new(move || {
        let number = count.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let key = StateKey::new(Subject::Link, Place { link: Some(format!("eth{number}")), ..Place::default() });
            let known = [(key, PartState::new(AreaState::Ok, "up"))].into();
            let states = States { known, ..States::default() };
            answer.map(|report| Reading { report: report.to_owned(), states, time: 7 }).map_err(ToOwned::to_owned)
        })
    });
    let busy = Arc::<[AtomicUsize; 3]>::default();
    let (of_routes, of_trace) = (Arc::clone(&busy), Arc::clone(&busy));
    let source = PageSource {
        report,
        pause: ROUTER_PAUSE,
        routes: Arc::new(move |vrf| {
            let busy = Arc::clone(&of_routes);
            Box::pin(async move {
                occupy(&busy).await;
                answer.map(|_| format!("{{\"vrf\":\"{vrf}\"}}")).map_err(|error| format!("{vrf}: {error}"))
            })
        }),
        trace: Arc::new(move |query| {
            let busy = Arc::clone(&of_trace);
            Box::pin(async move {
                occupy(&busy).await;
                Ok(format!("\"{} {:?} {:?}\"", query.to, query.from, query.vrf.map(|vrf| vrf.to_string())))
            })
        }),
    };
    tokio::spawn(serve(listener, source, stop.clone()));
    PageServer { address, reads, busy, stop }
}

async fn occupy([now, most, all]: &[AtomicUsize; 3]) {
    all.fetch_add(1, Ordering::SeqCst);
    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
    sleep(Duration::from_millis(20)).await;
    now.fetch_sub(1, Ordering::SeqCst);
}

async fn request(served: &PageServer, line: &str, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// The response to a script of the page.
async fn answer(served: &PageServer, line: &str, host: &str) -> String {
    response(served, line, &format!("{host}\r\nX-Perouter: page")).await
}

async fn response(served: &PageServer, line: &str, host: &str) -> String {
    let mut text = String::new();
    request(served, line, host).await.read_to_string(&mut text).await.unwrap();
    text
}

/// What arrives until a text has.
async fn until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(wanted) {
        let count = timeout(Duration::from_secs(10), stream.read(&mut buffer)).await.expect(&text).unwrap();
        assert!(count > 0, "{text}");
        text += std::str::from_utf8(&buffer[..count]).unwrap();
    }
    text
}

#[test]
fn a_slow_read_has_a_long_pause() {
    let seconds = Duration::from_secs;
    assert_eq!(pause_after(Duration::from_millis(20), seconds(3)), seconds(3));
    assert_eq!(pause_after(seconds(2), seconds(3)), seconds(20));
}

#[tokio::test]
async fn the_page_has_its_files_and_a_strict_policy() {
    let served = served(Ok("{}")).await;
    for (path, media_type, content) in FILES {
        let answer = answer(&served, &format!("GET {path}"), "127.0.0.1:9478").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{path}: {answer}");
        assert!(answer.contains(&format!("content-type: {media_type}")), "{path}: {answer}");
        assert!(answer.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{path}: {answer}");
        assert!(answer.contains("x-content-type-options: nosniff"), "{path}: {answer}");
        assert!(answer.ends_with(content), "{path}");
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "http://", "https://"] {
            let is_namespace = word == "http://" && *path == "/icon.svg";
            assert!(is_namespace || !content.contains(word), "{path} has {word}");
        }
    }
    assert_eq!(served.reads.load(Ordering::Relaxed), 0, "nobody follows the events");
}

#[tokio::test]
async fn every_file_that_a_file_names_is_there() {
    for (path, _, content) in FILES {
        let imports = content.match_indices("from \"./").map(|(at, found)| &content[at + found.len()..]);
        let named = content.match_indices("=\"").map(|(at, found)| &content[at + found.len()..]);
        let files = imports.chain(named).map(|rest| rest.split('"').next().unwrap());
        for file in files.filter(|file| [".js", ".css", ".svg"].iter().any(|end| file.ends_with(end))) {
            assert!(FILES.iter().any(|(path, ..)| path.strip_prefix('/') == Some(file)), "{path} names {file}");
        }
    }
}

#[rstest::rstest]
#[case::another_path("GET /../etc/passwd", "localhost", "404")]
#[case::a_change("POST /events", "localhost", "405")]
#[case::by_name("GET /", "localhost:1", "200")]
#[case::by_ipv6_address("GET /", "[::1]:1", "200")]
#[case::by_ipv6_address_without_a_port("GET /", "[::1]", "200")]
#[case::of_another_site("GET /", "perouter.example:9478", "403")]
#[case::events_of_another_site("GET /events", "perouter.example", "403")]
#[tokio::test]
async fn requests(#[case] line: &str, #[case] host: &str, #[case] status: &str) {
    let answer = answer(&served(Ok("{}")).await, line, host).await;
    assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
}

#[tokio::test]
async fn reports_arrive_as_events() {
    let good = served(Ok("{\"node\":\"n\"}")).await;
    let mut stream = request(&good, "GET /events", "localhost").await;
    let text = until(&mut stream, "\"n\"").await;
    assert!(text.contains("content-type: text/event-stream"), "{text}");
    assert!(text.contains("event: report\ndata: {\"pauseSeconds\":3,\"report\":{\"node\":\"n\"}}\n"), "{text}");
    let silent = served(Err("FRR\ndoes not answer")).await;
    let mut stream = request(&silent, "GET /events", "localhost").await;
    let text = until(&mut stream, "answer").await;
    assert!(text.contains("event: problem\ndata: {\"problem\":\"FRR\\ndoes not answer\"}\n"), "{text}");
}

#[rstest::rstest]
#[case::routes("routes?vrf=red", "200", r#"{"vrf":"red"}"#)]
#[case::path(
    "trace?to=172.30.0.10&from=2001%3Adb8%3A%3A1&vrf=red",
    "200",
    r#""172.30.0.10 Some(2001:db8::1) Some("red")""#
)]
#[case::without_an_address("trace?vrf=red", "400", r#"{"problem":"to is missing"}"#)]
#[case::no_address("trace?to=%3Cb%3E", "400", r#"{"problem":"invalid value '<b>' for to: invalid IP address syntax"}"#)]
#[case::without_a_vrf("routes", "400", r#"{"problem":"vrf is missing"}"#)]
#[tokio::test]
async fn queries(#[case] path: &str, #[case] status: &str, #[case] body: &str) {
    let served = served(Ok("{}")).await;
    let answer = answer(&served, &format!("GET /{path}"), "localhost").await;
    assert_eq!(answer.split(' ').nth(1), Some(status), "{answer}");
    assert!(answer.contains("content-type: application/json"), "{answer}");
    assert!(answer.ends_with(body), "{answer}");
    assert_eq!(served.reads.load(Ordering::Relaxed), 0, "nobody follows the events");
}

#[tokio::test]
async fn what_cannot_be_answered_has_the_reason() {
    let served = served(Err("FRR does not answer")).await;
    let answer = answer(&served, "GET /routes?vrf=red", "localhost").await;
    assert!(
        answer.starts_with("HTTP/1.1 422 ") && answer.ends_with(r#"{"problem":"red: FRR does not answer"}"#),
        "{answer}"
    );
}

#[tokio::test]
async fn one_request_is_answered_at_a_time() {
    let served = served(Ok("{}")).await;
    let trace = |_| answer(&served, "GET /trace?to=172.30.0.10", "localhost");
    let answers = futures::future::join_all((0..5).map(trace)).await;
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200 OK")), "{answers:?}");
    assert_eq!(served.busy[1].load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn routes_are_not_read_again_at_once() {
    let served = served(Ok("{}")).await;
    for line in ["GET /routes?vrf=red", "GET /routes?vrf=red", "GET /routes?vrf=blue"] {
        let answer = answer(&served, line, "localhost").await;
        let vrf = line.rsplit('=').next().unwrap();
        assert!(answer.ends_with(&format!("{{\"vrf\":\"{vrf}\"}}")), "{answer}");
    }
    assert_eq!(served.busy[2].load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn another_site_gets_no_answer() {
    let served = served(Ok("{}")).await;
    for (path, site, status) in [
        ("trace?to=172.30.0.10", "cross-site", "403"),
        ("events", "same-site", "403"),
        ("trace?to=172.30.0.10", "same-origin", "200"),
        ("", "cross-site", "200"),
        ("changes", "none", "200"),
    ] {
        let answer = answer(&served, &format!("GET /{path}"), &format!("localhost\r\nSec-Fetch-Site: {site}")).await;
        assert_eq!(answer.split(' ').nth(1), Some(status), "{path} {site}: {answer}");
    }
}

#[rstest::rstest]
#[case::routes("GET /routes?vrf=red", "", "403")]
#[case::path("GET /trace?to=172.30.0.10", "", "403")]
#[case::another_value("GET /routes?vrf=red", "\r\nX-Perouter: 1", "403")]
#[case::preflight("OPTIONS /routes?vrf=red", "\r\nOrigin: http://perouter.example", "403")]
#[case::of_the_page("GET /routes?vrf=red", "\r\nX-Perouter: page", "200")]
#[case::what_costs_nothing("GET /changes", "", "200")]
#[tokio::test]
async fn what_costs_time_is_for_the_page(#[case] line: &str, #[case] headers: &str, #[case] status: &str) {
    let served = served(Ok("{}")).await;
    let response = response(&served, line, &format!("10.0.0.1{headers}")).await;
    assert_eq!(response.split(' ').nth(1), Some(status), "{response}");
    assert!(!response.contains("access-control-allow"), "{response}");
    assert_eq!(served.busy[1].load(Ordering::SeqCst), usize::from(line.contains("routes") && status == "200"));
}

#[tokio::test]
async fn changes_are_kept_while_the_page_is_served() {
    let served = served(Ok("{}")).await;
    let none = answer(&served, "GET /changes", "localhost").await;
    assert!(none.ends_with(r#""items":[]}"#), "{none}");
    // Each read of this router has another link.
    let mut stream = request(&served, "GET /events", "localhost").await;
    until(&mut stream, "id: 2\n").await;
    let answer = answer(&served, "GET /changes", "localhost").await;
    let body: serde_json::Value = serde_json::from_str(answer.rsplit("\r\n\r\n").next().unwrap()).unwrap();
    let change = &body["items"][1]["changes"];
    assert_eq!((&change[0]["where"]["link"], &change[0]["after"]), (&"eth0".into(), &serde_json::Value::Null));
    assert_eq!((&change[1]["where"]["link"], &change[1]["after"]["text"]), (&"eth1".into(), &"up".into()));
}
