//! A web server whose page names the service, the node and the client.
//!
//! In: a listener and the contents of the page. Out: one plain page per request. It must not read more of a request than
//! its head, or serve anything else.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::node::{Background, Node, NodeError};
use crate::wait;

/// Contents of the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The service.
    pub service: String,
    /// The node that serves it.
    pub node: String,
}

impl Page {
    fn text(&self, own: SocketAddr, client: SocketAddr) -> String {
        let Self { service, node } = self;
        format!("service {service} at {}\nserved by {node}\nclient {}\n", own.ip(), client.ip())
    }
}

/// Serves until the listener fails.
pub fn serve(listener: &TcpListener, page: &Page) -> io::Result<()> {
    loop {
        let (stream, client) = listener.accept()?;
        answer_on_thread(stream, client, page);
    }
}

/// Serves in a node from a process: the subcommand `web` of `program`. It stops with the node.
pub fn spawn(node: &Node, program: &Path, address: SocketAddr, page: &Page) -> Result<Background, NodeError> {
    let log = node.log_folder().join(format!("web-{}.log", page.service));
    let (program, listen) = (program.to_string_lossy(), address.to_string());
    node.spawn(&[&*program, "web", "--listen", &listen, "--service", &page.service, "--node", &page.node], &log)
}

/// How often a [`Server`] checks whether it should stop.
const STOP_CHECK: Duration = Duration::from_millis(100);

/// A server in a node that stops when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The node cannot be entered.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl Server {
    /// Serves in a node's network namespace from a thread of this process.
    pub fn start(node: &Node, address: SocketAddr, page: Page) -> Result<Self, WebError> {
        let bind = move || TcpListener::bind(address);
        let listen = |source| WebError::Listen { address, source };
        let listener = node.within_netns(bind)?.map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // A client that has disconnected already is ignored.
                if wait::readable(&listener, STOP_CHECK).unwrap_or(false)
                    && let Ok((stream, client)) = listener.accept()
                {
                    answer_on_thread(stream, client, &page);
                }
            }
        });
        Ok(Self { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It fails only if the thread panicked, and then it has stopped.
            let _ = thread.join();
        }
    }
}

/// Answers on another thread: a client that sends nothing must not block others.
fn answer_on_thread(stream: TcpStream, client: SocketAddr, page: &Page) {
    let page = page.clone();
    // A client that disconnects early is ignored.
    std::thread::spawn(move || answer(&stream, client, &page).ok());
}

fn answer(mut stream: &TcpStream, client: SocketAddr, page: &Page) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let head = BufReader::new(stream.take(8192)).lines();
    for line in head {
        if line?.is_empty() {
            break;
        }
    }
    let text = page.text(stream.local_addr()?, client);
    let length = text.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{text}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_service_node_and_client() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let page = Page { service: "red".into(), node: "worker".into() };
        std::thread::spawn(move || serve(&listener, &page));
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nservice red at 127.0.0.1\nserved by worker\nclient 127.0.0.1\n"), "{answer}");
    }
}
