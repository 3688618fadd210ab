//! A stream of UDP requests of a node or Pod, and how many get no reply. In: source and destination. Out: [`LossStats`].

use std::net::{SocketAddr, UdpSocket};
use std::ops::Deref;
use std::time::Duration;

use perouter_lab::node::Node;
use perouter_lab::traffic::{self, Timing};

use super::fixture::{SETTLE, scaled, until};

/// Time between requests.
const INTERVAL: Duration = Duration::from_millis(10);
/// How long to wait for replies after the last request.
const REPLY_TIMEOUT: Duration = Duration::from_secs(5);
/// The same where loss is expected.
const PROBE_REPLY_TIMEOUT: Duration = Duration::from_millis(500);

/// Sends every request back.
pub struct Echo(#[expect(dead_code, reason = "it stops when it is dropped")] traffic::Echo);

impl Echo {
    pub fn start(node: &Node, address: SocketAddr) -> Self {
        Self::on(node.within_netns(move || UdpSocket::bind(address)).unwrap().unwrap())
    }

    /// The same on a socket of any namespace.
    pub fn on(socket: UdpSocket) -> Self {
        Self(traffic::Echo::on(socket).unwrap())
    }
}

/// The result of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LossStats(traffic::LossStats);

impl Deref for LossStats {
    type Target = traffic::LossStats;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
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
        self.0.fmt(f)
    }
}

/// A running stream.
pub struct Stream(traffic::Stream);

impl Stream {
    /// Waits for a first reply, then sends a request every [`INTERVAL`] until it is finished.
    pub fn start(from: &Node, to: SocketAddr) -> Self {
        Self::start_with(from, to, Timing { interval: INTERVAL, reply_timeout: REPLY_TIMEOUT })
    }

    /// The same with another interval, to measure an outage.
    pub fn probe(from: &Node, to: SocketAddr, interval: Duration) -> Self {
        Self::start_with(from, to, Timing { interval, reply_timeout: scaled(PROBE_REPLY_TIMEOUT) })
    }

    fn start_with(from: &Node, to: SocketAddr, timing: Timing) -> Self {
        let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0".parse().unwrap() } else { "[::]:0".parse().unwrap() };
        let socket = from.within_netns(move || UdpSocket::bind(any)).unwrap().unwrap();
        Self::on(socket, from.name().as_str(), to, timing)
    }

    /// A probe on a socket of any namespace, that of `from`.
    pub fn probe_on(socket: UdpSocket, from: &str, to: SocketAddr, interval: Duration) -> Self {
        Self::on(socket, from, to, Timing { interval, reply_timeout: scaled(PROBE_REPLY_TIMEOUT) })
    }

    fn on(socket: UdpSocket, from: &str, to: SocketAddr, timing: Timing) -> Self {
        until(&format!("a reply of {to} to {from}"), SETTLE, || {
            traffic::replies_to(&socket, to).unwrap().then_some(())
        });
        Self(traffic::Stream::on(socket, to, timing).unwrap())
    }

    /// Waits for this many further replies.
    pub fn await_replies(&self, count: usize) {
        let wanted = self.0.replies() + count;
        until("replies", SETTLE, || (self.0.replies() >= wanted).then_some(()));
    }

    /// Stops the stream and waits for outstanding replies.
    pub fn finish(self) -> LossStats {
        LossStats(self.0.finish())
    }
}
