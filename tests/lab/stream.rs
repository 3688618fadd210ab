//! A steady stream of requests, and how many were not answered. In: who asks whom. Out: [`Tally`]. Every request is
//! accounted for: the stream waits for stragglers before it ends.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use perouter_lab::node::Node;

use super::fixture::{SETTLE, paced, until};

/// Time between requests.
pub const EVERY: Duration = Duration::from_millis(10);
const STRAGGLERS: Duration = Duration::from_secs(5);
/// Where losses are expected and measured, the wait for them is short.
const PROBE_STRAGGLERS: Duration = Duration::from_millis(500);

/// Answers every request with itself.
pub struct Echo {
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub fn start(node: &Node, address: SocketAddr) -> Self {
        let socket = node.within_netns(move || UdpSocket::bind(address)).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let ending = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ending);
        let thread = std::thread::spawn(move || {
            let mut request = [0; 64];
            while !seen.load(Ordering::Relaxed) {
                if let Ok((length, from)) = socket.recv_from(&mut request) {
                    // The asker counts what does not arrive.
                    let _ = socket.send_to(&request[..length], from);
                }
            }
        });
        Self { ending, thread: Some(thread) }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.take().map(JoinHandle::join);
    }
}

/// What became of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub sent: usize,
    pub lost: usize,
    /// From the first lost request of a row to the next answered one, the longest.
    pub longest_outage: Duration,
}

impl Tally {
    #[track_caller]
    pub fn assert_lossless(&self, what: &str) {
        println!("{what}: {self}");
        assert!(self.sent > 10, "{what}: the stream is too short to prove anything: {self}");
        assert_eq!(self.lost, 0, "{what}: {self}");
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sent, lost, longest_outage } = self;
        write!(f, "{lost} of {sent} requests lost, longest outage {longest_outage:.0?}")
    }
}

/// A running stream.
pub struct Stream {
    ending: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    thread: JoinHandle<Tally>,
}

impl Stream {
    /// Waits for a first answer, then asks every [`EVERY`] until the end.
    pub fn start(from: &Node, to: SocketAddr) -> Self {
        Self::asking(from, to, EVERY, STRAGGLERS)
    }

    /// The same with another time between requests, to measure an outage. What the machine is too slow for is not caught
    /// up: [`Tally::sent`] tells what became of the interval.
    pub fn probe(from: &Node, to: SocketAddr, every: Duration) -> Self {
        Self::asking(from, to, every, paced(PROBE_STRAGGLERS))
    }

    fn asking(from: &Node, to: SocketAddr, every: Duration, stragglers: Duration) -> Self {
        let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0".parse().unwrap() } else { "[::]:0".parse().unwrap() };
        let socket = from.within_netns(move || UdpSocket::bind(any)).unwrap().unwrap();
        // Not connected: an ICMP error is an answer too few, and nothing else.
        until(&format!("an answer of {to} to {}", from.name()), SETTLE, || {
            socket.send_to(&[0xff; 8], to).ok();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            socket.recv_from(&mut [0; 64]).ok()
        });
        // A read that waits ends with a tick of the kernel, which is longer than a millisecond.
        socket.set_nonblocking(true).unwrap();
        let (ending, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (seen, counter) = (Arc::clone(&ending), Arc::clone(&answers));
        let thread = std::thread::spawn(move || ask(&socket, to, (every, stragglers), &seen, &counter));
        Self { ending, answers, thread }
    }

    /// Waits for so many more answers.
    pub fn await_answers(&self, count: usize) {
        let wanted = self.answers.load(Ordering::Relaxed) + count;
        until("answers", SETTLE, || (self.answers.load(Ordering::Relaxed) >= wanted).then_some(()));
    }

    /// Ends the stream.
    pub fn end(self) -> Tally {
        self.ending.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn ask(
    socket: &UdpSocket,
    to: SocketAddr,
    (every, stragglers): (Duration, Duration),
    ending: &AtomicBool,
    answers: &AtomicUsize,
) -> Tally {
    let mut sent: Vec<Instant> = Vec::new();
    let mut answered: Vec<bool> = Vec::new();
    while !ending.load(Ordering::Relaxed) {
        let now = Instant::now();
        // One that cannot be sent is one that is not answered.
        let _ = socket.send_to(&(sent.len() as u64).to_be_bytes(), to);
        sent.push(now);
        answered.push(false);
        take_answers(socket, &mut answered, answers);
        std::thread::sleep((now + every).saturating_duration_since(Instant::now()));
    }
    let end = Instant::now() + stragglers;
    while answered.contains(&false) && Instant::now() < end {
        take_answers(socket, &mut answered, answers);
        std::thread::sleep(every);
    }
    let mut longest_outage = Duration::ZERO;
    let mut down_since = None;
    for (at, answered) in sent.iter().zip(&answered) {
        match (*answered, down_since) {
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
    Tally { sent: sent.len(), lost: answered.iter().filter(|answered| !**answered).count(), longest_outage }
}

/// Takes the answers that are there.
fn take_answers(socket: &UdpSocket, answered: &mut [bool], answers: &AtomicUsize) {
    let mut answer = [0; 64];
    loop {
        match socket.recv_from(&mut answer) {
            Ok((8, _)) => {
                let number = u64::from_be_bytes(answer[..8].try_into().unwrap());
                // Late answers to the first, uncounted requests have a number that no request has.
                if let Some(entry) = usize::try_from(number).ok().and_then(|number| answered.get_mut(number)) {
                    *entry = true;
                    answers.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
