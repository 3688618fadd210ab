//! A stream of UDP requests, and how many get no reply. In: source and destination. Out: [`LossStats`]. Late replies
//! count: the stream waits for them before it finishes.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use perouter_lab::node::Node;

use super::fixture::{SETTLE, scaled, until};

/// Time between requests.
const INTERVAL: Duration = Duration::from_millis(10);
/// How long to wait for replies after the last request.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where loss is expected.
const PROBE_REPLY_TIMEOUT: Duration = Duration::from_millis(500);

/// Sends every request back.
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub fn start(node: &Node, address: SocketAddr) -> Self {
        Self::on(node.within_netns(move || UdpSocket::bind(address)).unwrap().unwrap())
    }

    /// The same on a socket of any namespace.
    pub fn on(socket: UdpSocket) -> Self {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut request = [0; 64];
            while !stopped.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut request) {
                    // The sender counts missing replies.
                    let _ = socket.send_to(&request[..length], from);
                }
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// The result of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossStats {
    pub sent: usize,
    pub lost: usize,
    /// The longest time from the first of consecutive lost requests to the next one with a reply.
    pub longest_outage: Duration,
}

impl LossStats {
    #[track_caller]
    pub fn assert_lossless(&self, what: &str) {
        println!("{what}: {self}");
        assert!(self.sent > 10, "{what}: the stream is too short to prove anything: {self}");
        assert_eq!(self.lost, 0, "{what}: {self}");
    }
}

impl std::fmt::Display for LossStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sent, lost, longest_outage } = self;
        write!(f, "{lost} of {sent} requests lost, longest outage {longest_outage:.0?}")
    }
}

/// A running stream.
pub struct Stream {
    stop: Arc<AtomicBool>,
    replies: Arc<AtomicUsize>,
    thread: JoinHandle<LossStats>,
}

impl Stream {
    /// Waits for a first reply, then sends a request every [`INTERVAL`] until it is finished.
    pub fn start(from: &Node, to: SocketAddr) -> Self {
        Self::start_with(from, to, INTERVAL, REPLY_TIMEOUT)
    }

    /// The same with another interval, to measure an outage. A machine that is too slow for the interval sends fewer
    /// requests: see [`LossStats::sent`].
    pub fn probe(from: &Node, to: SocketAddr, interval: Duration) -> Self {
        Self::start_with(from, to, interval, scaled(PROBE_REPLY_TIMEOUT))
    }

    fn start_with(from: &Node, to: SocketAddr, interval: Duration, reply_timeout: Duration) -> Self {
        let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0".parse().unwrap() } else { "[::]:0".parse().unwrap() };
        let socket = from.within_netns(move || UdpSocket::bind(any)).unwrap().unwrap();
        Self::on(socket, from.name().as_str(), to, (interval, reply_timeout))
    }

    /// A probe on a socket of any namespace, that of `from`.
    pub fn probe_on(socket: UdpSocket, from: &str, to: SocketAddr, interval: Duration) -> Self {
        Self::on(socket, from, to, (interval, scaled(PROBE_REPLY_TIMEOUT)))
    }

    fn on(socket: UdpSocket, from: &str, to: SocketAddr, timing: (Duration, Duration)) -> Self {
        // Not connected, so that an ICMP error only counts as a missing reply.
        until(&format!("a reply of {to} to {from}"), SETTLE, || {
            socket.send_to(&[0xff; 8], to).ok();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            socket.recv_from(&mut [0; 64]).ok()
        });
        // A read timeout is rounded up to a tick of the kernel, which is longer than a millisecond.
        socket.set_nonblocking(true).unwrap();
        let (stop, replies) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&replies));
        let thread = std::thread::spawn(move || send_requests(&socket, to, timing, &stopped, &counter));
        Self { stop, replies, thread }
    }

    /// Waits for this many further replies.
    pub fn await_replies(&self, count: usize) {
        let wanted = self.replies.load(Ordering::Relaxed) + count;
        until("replies", SETTLE, || (self.replies.load(Ordering::Relaxed) >= wanted).then_some(()));
    }

    /// Stops the stream and waits for outstanding replies.
    pub fn finish(self) -> LossStats {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn send_requests(
    socket: &UdpSocket,
    to: SocketAddr,
    (interval, reply_timeout): (Duration, Duration),
    stopped: &AtomicBool,
    replies: &AtomicUsize,
) -> LossStats {
    let mut sent: Vec<Instant> = Vec::new();
    let mut replied: Vec<bool> = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        let now = Instant::now();
        // A request that cannot be sent counts as lost.
        let _ = socket.send_to(&(sent.len() as u64).to_be_bytes(), to);
        sent.push(now);
        replied.push(false);
        receive_replies(socket, &mut replied, replies);
        std::thread::sleep((now + interval).saturating_duration_since(Instant::now()));
    }
    let deadline = Instant::now() + reply_timeout;
    while replied.contains(&false) && Instant::now() < deadline {
        receive_replies(socket, &mut replied, replies);
        std::thread::sleep(interval);
    }
    let mut longest_outage = Duration::ZERO;
    let mut down_since = None;
    for (at, replied) in sent.iter().zip(&replied) {
        match (*replied, down_since) {
            (false, None) => down_since = Some(*at),
            (true, Some(since)) => {
                longest_outage = longest_outage.max(at.duration_since(since));
                down_since = None;
            }
            _ => {}
        }
    }
    if let (Some(since), Some(last)) = (down_since, sent.last()) {
        longest_outage = longest_outage.max(last.duration_since(since));
    }
    LossStats { sent: sent.len(), lost: replied.iter().filter(|replied| !**replied).count(), longest_outage }
}

/// Reads the replies that have arrived.
fn receive_replies(socket: &UdpSocket, replied: &mut [bool], replies: &AtomicUsize) {
    let mut reply = [0; 64];
    loop {
        match socket.recv_from(&mut reply) {
            Ok((8, _)) => {
                let number = u64::from_be_bytes(reply[..8].try_into().unwrap());
                // Late replies to the uncounted requests at the start have a number that no request has.
                if let Some(entry) = usize::try_from(number).ok().and_then(|number| replied.get_mut(number)) {
                    *entry = true;
                    replies.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
