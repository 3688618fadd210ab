//! A stream of UDP requests, and how many get no reply.
//!
//! In: sockets of any namespace, and a destination. Out: [`LossStats`]. Late replies count: a stream waits for them before it
//! finishes. It must not know nodes.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often an [`Echo`] checks whether it should stop.
const STOP_CHECK: Duration = Duration::from_millis(100);
/// How long [`replies_to`] waits.
const FIRST_REPLY: Duration = Duration::from_millis(200);

/// Sends every request back, until it is dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// On a socket of any namespace.
    pub fn on(socket: UdpSocket) -> io::Result<Self> {
        socket.set_read_timeout(Some(STOP_CHECK))?;
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
        Ok(Self { stop, thread: Some(thread) })
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
    /// Requests.
    pub sent: usize,
    /// Requests without a reply.
    pub lost: usize,
    /// The longest of the outages.
    pub longest_outage: Duration,
    /// All of them, in order.
    pub outages: Vec<Outage>,
}

/// Consecutive lost requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outage {
    /// From the first request of the stream to the first lost one.
    pub begins: Duration,
    /// From the first lost request to the next one with a reply.
    pub lasts: Duration,
}

impl std::fmt::Display for LossStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sent, lost, longest_outage, .. } = self;
        write!(f, "{lost} of {sent} requests lost, longest outage {longest_outage:.0?}")
    }
}

/// When a stream sends, and when it is finished.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Time between requests. A machine that is too slow for it sends fewer requests: see [`LossStats::sent`].
    pub interval: Duration,
    /// How long it waits for replies after the last request.
    pub reply_timeout: Duration,
}

/// Sends one request and waits shortly for its reply. An ICMP error is no reply.
pub fn replies_to(socket: &UdpSocket, to: SocketAddr) -> io::Result<bool> {
    socket.set_read_timeout(Some(FIRST_REPLY))?;
    // A late reply has a number that no request of a stream has.
    Ok(socket.send_to(&[0xff; 8], to).is_ok() && socket.recv_from(&mut [0; 64]).is_ok())
}

/// A running stream.
#[derive(Debug)]
pub struct Stream {
    stop: Arc<AtomicBool>,
    replies: Arc<AtomicUsize>,
    thread: JoinHandle<LossStats>,
}

impl Stream {
    /// Sends requests from a socket of any namespace until it is finished. The socket is not connected, so that an ICMP error
    /// only counts as a missing reply.
    pub fn on(socket: UdpSocket, to: SocketAddr, timing: Timing) -> io::Result<Self> {
        // A read timeout is rounded up to a tick of the kernel, which is longer than a millisecond.
        socket.set_nonblocking(true)?;
        let (stop, replies) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&replies));
        let thread = std::thread::spawn(move || send_requests(&socket, to, timing, &stopped, &counter));
        Ok(Self { stop, replies, thread })
    }

    /// Number of replies so far.
    pub fn replies(&self) -> usize {
        self.replies.load(Ordering::Relaxed)
    }

    /// Stops the stream and waits for outstanding replies.
    pub fn finish(self) -> LossStats {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn send_requests(
    socket: &UdpSocket,
    to: SocketAddr,
    timing: Timing,
    stopped: &AtomicBool,
    replies: &AtomicUsize,
) -> LossStats {
    let Timing { interval, reply_timeout } = timing;
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
    losses(&sent, &replied)
}

fn losses(sent: &[Instant], replied: &[bool]) -> LossStats {
    let mut outages = Vec::new();
    let mut down_since = None;
    let first = sent.first().copied();
    let outage = |since: Instant, until: Instant| Outage {
        begins: first.map_or(Duration::ZERO, |first| since.duration_since(first)),
        lasts: until.duration_since(since),
    };
    for (at, replied) in sent.iter().zip(replied) {
        match (*replied, down_since) {
            (false, None) => down_since = Some(*at),
            (true, Some(since)) => {
                outages.push(outage(since, *at));
                down_since = None;
            }
            _ => {}
        }
    }
    if let (Some(since), Some(last)) = (down_since, sent.last()) {
        outages.push(outage(since, *last));
    }
    let lost = replied.iter().filter(|replied| !**replied).count();
    let longest_outage = outages.iter().map(|outage| outage.lasts).max().unwrap_or_default();
    LossStats { sent: sent.len(), lost, longest_outage, outages }
}

/// Reads the replies that have arrived.
fn receive_replies(socket: &UdpSocket, replied: &mut [bool], replies: &AtomicUsize) {
    let mut reply = [0; 64];
    loop {
        match socket.recv_from(&mut reply) {
            Ok((8, _)) => {
                let number = reply.first_chunk().map(|number| u64::from_be_bytes(*number));
                let number = number.and_then(|number| usize::try_from(number).ok());
                if let Some(entry) = number.and_then(|number| replied.get_mut(number)) {
                    *entry = true;
                    replies.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_from_the_first_lost_request_to_the_next_reply() {
        let start = Instant::now();
        let sent: Vec<Instant> = (0..8).map(|number| start + Duration::from_millis(number)).collect();
        let of = |replied: [bool; 8]| {
            let LossStats { sent, lost, longest_outage, outages } = losses(&sent, &replied);
            let outages = outages.iter().map(|outage| (outage.begins.as_millis(), outage.lasts.as_millis()));
            (sent, lost, longest_outage.as_millis(), outages.collect::<Vec<_>>())
        };
        assert_eq!(of([true; 8]), (8, 0, 0, vec![]));
        assert_eq!(of([true, false, true, false, false, false, true, true]), (8, 4, 3, vec![(1, 1), (3, 3)]));
        assert_eq!(of([true, true, true, true, true, false, false, false]), (8, 3, 2, vec![(5, 2)]));
    }

    #[test]
    fn a_stream_counts_what_gets_no_reply() {
        let local = || UdpSocket::bind("127.0.0.1:0").unwrap();
        let (server, client) = (local(), local());
        let to = server.local_addr().unwrap();
        assert!(!replies_to(&client, to).unwrap());
        let echo = Echo::on(server).unwrap();
        assert!(replies_to(&client, to).unwrap());
        let timing = Timing { interval: Duration::from_millis(1), reply_timeout: Duration::from_millis(50) };
        let stream = Stream::on(client, to, timing).unwrap();
        while stream.replies() < 5 {
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(echo);
        std::thread::sleep(Duration::from_millis(100));
        let stats = stream.finish();
        assert!(stats.lost > 0 && stats.lost < stats.sent && stats.longest_outage > Duration::ZERO, "{stats}");
    }
}
