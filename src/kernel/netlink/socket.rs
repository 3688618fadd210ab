//! A netlink socket of one network namespace. In: messages of one family. Out: the kernel's answers, its rejection with the
//! text of its extended acknowledgement, or the events of multicast groups. Every request ends: with an answer, an error, or
//! after [`TIMEOUT`]. Knows no links.

use std::fmt;
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkDeserializable, NetlinkHeader,
    NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use nix::errno::Errno;

use super::attribute::attributes;
use super::error::NetlinkError;
use crate::kernel::netns;

/// How long an answer may take. The kernel holds the RTNL lock for up to seconds while it cleans up namespaces.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a dump is repeated that the kernel marked as inconsistent.
const ATTEMPTS: usize = 10;
/// The kernel fills at most 32 KiB at a time.
const ROOM: usize = 64 * 1024;
/// `struct nlmsghdr`
const HEADER: usize = 16;

/// A netlink protocol.
pub trait NetlinkFamily {
    /// `NETLINK_*`
    const PROTOCOL: isize;
    /// Its messages.
    type Message: NetlinkSerializable + NetlinkDeserializable + Send;
}

/// Links, addresses, routes and rules.
#[derive(Debug)]
pub struct Route;

impl NetlinkFamily for Route {
    const PROTOCOL: isize = NETLINK_ROUTE;
    type Message = RouteNetlinkMessage;
}

/// A socket of a family. The namespace lives as long.
pub struct Socket<F> {
    inner: TokioSocket,
    sequence: u32,
    is_idle: bool,
    family: PhantomData<fn() -> F>,
}

impl<F> fmt::Debug for Socket<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("sequence", &self.sequence).finish_non_exhaustive()
    }
}

impl<F: NetlinkFamily> Socket<F> {
    /// Opens a socket for requests in `netns`. Needs the tokio runtime.
    pub fn open(netns: &File) -> Result<Self, NetlinkError> {
        Self::configured(netns, |socket| {
            // The kernel alone can answer then.
            socket.connect(&SocketAddr::new(0, 0))?;
            // Dumps are filtered by the kernel.
            socket.set_netlink_get_strict_chk(true)?;
            socket.set_ext_ack(true)?;
            // An acknowledgement does not repeat the request.
            socket.set_cap_ack(true)
        })
    }

    /// Opens a socket in `netns` that receives the messages of these multicast groups. Needs the tokio runtime.
    pub fn subscribe(netns: &File, groups: u32) -> Result<Self, NetlinkError> {
        Self::configured(netns, |socket| socket.bind(&SocketAddr::new(0, groups)))
    }

    fn configured(
        netns: &File,
        configure: impl FnOnce(&mut netlink_sys::Socket) -> io::Result<()> + Send,
    ) -> Result<Self, NetlinkError> {
        let runtime = tokio::runtime::Handle::current();
        let opened = netns::in_netns(netns, || {
            let _context = runtime.enter();
            let mut socket = TokioSocket::new(F::PROTOCOL)?;
            configure(socket.socket_mut())?;
            Ok(socket)
        })?;
        match opened {
            Ok(inner) => Ok(Self { inner, sequence: 0, is_idle: true, family: PhantomData }),
            Err(error) if is_errno(&error, Errno::EPROTONOSUPPORT) => Err(NetlinkError::NoProtocol),
            Err(error) => Err(NetlinkError::Open(error)),
        }
    }

    /// Whether no answer is left to be read. Otherwise the last request was cancelled, and the kernel starts no dump as long
    /// as another is unfinished: the socket is of no use any more.
    pub fn is_idle(&self) -> bool {
        self.is_idle
    }

    /// Sends a change and waits for its acknowledgement.
    pub async fn change(&mut self, message: F::Message, flags: u16) -> Result<(), NetlinkError> {
        let sequence = self.next_sequence();
        let request = frame(message, NLM_F_REQUEST | NLM_F_ACK | flags, sequence);
        self.exchange(&request, sequence, drop).await.map(|_| ())
    }

    /// Sends several framed messages with the same `sequence` at once, the last of which is acknowledged.
    pub(super) async fn send_all(&mut self, messages: &[u8], sequence: u32) -> Result<(), NetlinkError> {
        self.exchange(messages, sequence, drop).await.map(|_| ())
    }

    /// The number of the next request.
    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// Reads one object.
    pub async fn get(&mut self, message: F::Message) -> Result<Vec<F::Message>, NetlinkError> {
        let sequence = self.next_sequence();
        let request = frame(message, NLM_F_REQUEST | NLM_F_ACK, sequence);
        let mut found = Vec::new();
        self.exchange(&request, sequence, |message| found.push(message)).await?;
        Ok(found)
    }

    /// Reads all objects of a kind, as of one moment. `take` gets each answer as it is decoded: a decoded link is
    /// 18 kB, and there may be thousands.
    ///
    /// # Errors
    /// The kernel's rejection; no answer for [`TIMEOUT`]; changes during each of several attempts.
    pub async fn dump<T: Default>(
        &mut self,
        message: F::Message,
        mut take: impl FnMut(&mut T, F::Message),
    ) -> Result<T, NetlinkError> {
        let sequence = self.next_sequence();
        let request = frame(message, NLM_F_REQUEST | NLM_F_DUMP, sequence);
        for _ in 0..ATTEMPTS {
            let mut all = T::default();
            if self.exchange(&request, sequence, |message| take(&mut all, message)).await? == ReadResult::Consistent {
                return Ok(all);
            }
        }
        Err(NetlinkError::Inconsistent(ATTEMPTS))
    }

    /// Sends a request and hands over what is answered.
    async fn exchange(
        &mut self,
        request: &[u8],
        sequence: u32,
        take: impl FnMut(F::Message),
    ) -> Result<ReadResult, NetlinkError> {
        self.is_idle = false;
        let answer = async {
            self.inner.send(request).await.map_err(NetlinkError::Io)?;
            self.answer(sequence, take).await
        };
        let answer = tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| NetlinkError::Timeout(TIMEOUT))?;
        self.is_idle = matches!(answer, Ok(_) | Err(NetlinkError::Rejected { .. }));
        answer
    }

    async fn answer(&self, sequence: u32, mut take: impl FnMut(F::Message)) -> Result<ReadResult, NetlinkError> {
        let mut answer = Answer::to(sequence);
        let mut buffer = Vec::with_capacity(ROOM);
        loop {
            self.receive(&mut buffer).await?;
            if let Some(result) = answer.add(&buffer, &mut take)? {
                return Ok(result);
            }
        }
    }

    /// Waits for an event and reads only its kind (`RTM_*`): the rest of a message is cut off. Hundreds of namespaces are
    /// watched.
    pub async fn changed(&self) -> Result<u16, NetlinkError> {
        let mut header = Vec::with_capacity(HEADER);
        self.receive(&mut header).await?;
        // Behind the length, see `struct nlmsghdr`.
        Ok(header.get(4..6).map_or(0, |kind| u16::from_ne_bytes([kind[0], kind[1]])))
    }

    /// Waits for an event. `None`: one that cannot be decoded.
    pub async fn event(&self) -> Result<Option<F::Message>, NetlinkError> {
        let mut buffer = Vec::with_capacity(ROOM);
        self.receive(&mut buffer).await?;
        Ok(match NetlinkMessage::<F::Message>::deserialize(&buffer).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => Some(message),
            _ => None,
        })
    }

    async fn receive(&self, buffer: &mut Vec<u8>) -> Result<(), NetlinkError> {
        buffer.clear();
        self.inner.recv(buffer).await.map_err(|error| {
            // The receive buffer was full when the kernel had a message for it.
            if is_errno(&error, Errno::ENOBUFS) { NetlinkError::Overrun } else { NetlinkError::Io(error) }
        })
    }
}

/// The kernel's answer to one request, in datagrams.
#[derive(Debug)]
pub struct Answer {
    sequence: u32,
    result: ReadResult,
}

impl Answer {
    /// The answer to the request with this number.
    pub fn to(sequence: u32) -> Self {
        Self { sequence, result: ReadResult::Consistent }
    }

    /// Reads a datagram and hands over its messages. The result at the end of the answer.
    ///
    /// # Errors
    /// The kernel's rejection, or that it lost messages.
    pub fn add<M: NetlinkDeserializable>(
        &mut self,
        datagram: &[u8],
        take: &mut impl FnMut(M),
    ) -> Result<Option<ReadResult>, NetlinkError> {
        for bytes in Messages(datagram) {
            if bytes.sequence_number() != self.sequence {
                continue;
            }
            if bytes.flags() & NLM_F_DUMP_INTR != 0 {
                self.result = ReadResult::Interrupted;
            }
            // A link of others that cannot be decoded is none of ours.
            let Ok(message) = NetlinkMessage::<M>::deserialize(bytes.into_inner()) else { continue };
            match message.payload {
                NetlinkPayload::InnerMessage(message) => take(message),
                NetlinkPayload::Overrun(_) => return Err(NetlinkError::Overrun),
                NetlinkPayload::Noop => {}
                end => return rejection_of(&end).map(|()| Some(self.result)),
            }
        }
        Ok(None)
    }
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadResult {
    /// As of one moment.
    Consistent,
    /// The state changed during the dump (`NLM_F_DUMP_INTR`).
    Interrupted,
}

/// The messages of one datagram.
struct Messages<'a>(&'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = NetlinkBuffer<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let header = NetlinkBuffer::new_checked(self.0).ok()?;
        let length = usize::try_from(header.length()).unwrap_or(usize::MAX);
        let (message, rest) = self.0.split_at(length.next_multiple_of(4).min(self.0.len()));
        self.0 = rest;
        Some(NetlinkBuffer::new(message))
    }
}

/// The bytes of a request.
pub fn frame<M: NetlinkSerializable>(message: M, flags: u16, sequence: u32) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut request = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len().next_multiple_of(4)];
    request.serialize(&mut bytes);
    bytes
}

fn is_errno(error: &io::Error, errno: Errno) -> bool {
    error.raw_os_error() == Some(errno as i32)
}

/// The result at the end of the kernel's answer.
fn rejection_of<I>(payload: &NetlinkPayload<I>) -> Result<(), NetlinkError> {
    match payload {
        // `header` is the header of the request, and then the attributes of the acknowledgement.
        NetlinkPayload::Error(error) => rejection(error.raw_code(), error.header.get(HEADER..).unwrap_or_default()),
        NetlinkPayload::Done(done) => rejection(done.code, &done.extended_ack),
        _ => Ok(()),
    }
}

fn rejection(code: i32, extended_ack: &[u8]) -> Result<(), NetlinkError> {
    if code >= 0 {
        return Ok(());
    }
    Err(NetlinkError::Rejected { errno: Errno::from_raw(code.saturating_neg()), text: extended_ack_text(extended_ack) })
}

/// `NLMSGERR_ATTR_MSG`, which netlink-packet-core does not decode.
fn extended_ack_text(extended_ack: &[u8]) -> Option<String> {
    const NLMSGERR_ATTR_MSG: u16 = 1;
    let (_, text) = attributes(extended_ack).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?;
    Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_found_after_other_attributes() {
        let offset = [8, 0, 2, 0, 40, 0, 0, 0];
        let text = [9, 0, 1, 0, b'n', b'o', b'p', b'e', 0, 0, 0, 0];
        assert_eq!(extended_ack_text(&[&offset[..], &text].concat()).as_deref(), Some("nope"));
    }

    #[test]
    fn malformed_attributes_have_no_text() {
        for bytes in [&[][..], &[1], &[0, 0, 1, 0], &[200, 0, 1, 0, b'x'], &[3, 0, 9, 0, 1, 1]] {
            assert_eq!(extended_ack_text(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn any_code_is_a_rejection() {
        let error = rejection(i32::MIN, &[]).unwrap_err();
        assert!(matches!(error, NetlinkError::Rejected { errno: Errno::UnknownErrno, text: None }), "{error}");
    }

    #[test]
    fn a_rejection_reads_like_a_sentence() {
        let text = [7, 0, 1, 0, b'h', b'm', 0, 0];
        let error = rejection(-17, &text).unwrap_err();
        assert_eq!(error.to_string(), "EEXIST: File exists: hm");
    }
}
