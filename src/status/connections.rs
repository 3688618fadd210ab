//! HTTP connections within limits. In: a listener, and the router of the requests. Out: responses. A client that sends nothing,
//! or reads nothing, costs a connection until it is closed here, and never the answer to another client. Knows no paths.

use std::collections::VecDeque;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// With one more, the oldest connection is closed: that of a probe is open for a few milliseconds.
const MAX_CONNECTIONS: usize = 128;
/// A request, and the next one of the same connection, arrives within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection is closed after this time, whatever it does; clients connect again.
const MAX_AGE: Duration = Duration::from_secs(120);
/// Bytes of the headers of a request.
const MAX_HEADERS: usize = 16 << 10;
/// After an error that is not the client's, such as no free file descriptor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, which closes the connections.
pub(crate) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let mut connections = Connections { tasks: JoinSet::new(), by_age: VecDeque::new(), router };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connections.add(stream),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.tasks.join_next() => {}
        }
    }
}

struct Connections {
    tasks: JoinSet<()>,
    /// The oldest first.
    by_age: VecDeque<AbortHandle>,
    router: Router,
}

impl Connections {
    fn add(&mut self, stream: TcpStream) {
        self.by_age.retain(|connection| !connection.is_finished());
        if self.by_age.len() >= MAX_CONNECTIONS
            && let Some(oldest) = self.by_age.pop_front()
        {
            oldest.abort();
        }
        let service = TowerToHyperService::new(self.router.clone());
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT).max_buf_size(MAX_HEADERS);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        // Its errors are those of the client.
        self.by_age.push_back(self.tasks.spawn(async { drop(timeout(MAX_AGE, connection).await) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::Instant;

    async fn started() -> (SocketAddr, CancellationToken) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        tokio::spawn(serve(listener, Router::new().route("/healthz", get(async || "ok\n")), stop.clone()));
        (address, stop)
    }

    async fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream
    }

    /// The first line of the answer; empty where the connection is closed without one.
    async fn answer(mut stream: TcpStream) -> String {
        let mut bytes = Vec::new();
        // A connection that is reset has no answer either.
        let _ = stream.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).unwrap().lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn a_thousand_half_open_connections_leave_the_answers_to_others() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(4096), hard).unwrap();
        let (address, _stop) = started().await;
        let mut half_open = Vec::new();
        for number in 0..1000 {
            let bytes: &[u8] = if number % 2 == 0 { b"" } else { b"GET /healthz HTTP/1.1\r\nHost: x\r\n" };
            half_open.push(sent(address, bytes).await);
        }
        for _ in 0..10 {
            let request = sent(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            let response = timeout(Duration::from_secs(2), answer(request)).await.unwrap();
            assert_eq!(response, "HTTP/1.1 200 OK");
        }
        let closed = half_open.iter().filter(|stream| stream.try_read(&mut [0]).is_ok()).count();
        assert!(closed >= 1000 - MAX_CONNECTIONS, "{closed} are closed");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_does_not_arrive_closes_its_connection() {
        let (address, _stop) = started().await;
        let start = Instant::now();
        assert_eq!(answer(sent(address, b"GET /hea").await).await, "");
        assert!((REQUEST_TIMEOUT..REQUEST_TIMEOUT * 2).contains(&start.elapsed()), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn long_headers_are_rejected() {
        let (address, _stop) = started().await;
        let request = format!("GET /healthz HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(2 * MAX_HEADERS));
        let mut stream = TcpStream::connect(address).await.unwrap();
        // The connection may be closed before all is sent.
        let _ = stream.write_all(request.as_bytes()).await;
        let response = answer(stream).await;
        assert!(response.is_empty() || response.starts_with("HTTP/1.1 431"), "{response}");
    }
}
