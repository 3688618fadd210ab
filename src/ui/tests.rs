use super::*;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

struct PageServer {
    address: SocketAddr,
    reads: Arc<AtomicUsize>,
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
    let read: ReadReport = Arc::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move { answer.map(ToOwned::to_owned).map_err(ToOwned::to_owned) })
    });
    tokio::spawn(serve(listener, read, stop.clone()));
    PageServer { address, reads, stop }
}

async fn request(served: &PageServer, line: &str, host: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let text = format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

async fn answer(served: &PageServer, line: &str, host: &str) -> String {
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
    assert!(text.contains("event: report\ndata: {\"node\":\"n\"}\n"), "{text}");
    let silent = served(Err("FRR\ndoes not answer")).await;
    let mut stream = request(&silent, "GET /events", "localhost").await;
    let text = until(&mut stream, "answer").await;
    assert!(text.contains("event: problem\ndata: {\"problem\":\"FRR\\ndoes not answer\"}\n"), "{text}");
}
