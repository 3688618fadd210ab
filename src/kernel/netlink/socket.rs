//! A netlink socket of one network namespace. In: a request. Out: the kernel's answer, or its refusal with the text of
//! its extended acknowledgement. Every request ends: with an answer, an error, or after [`TIMEOUT`]. Knows no links.

use std::fs::File;
use std::num::NonZeroI32;
use std::time::Duration;

use futures::StreamExt;
use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_sys::{AsyncSocket, SocketAddr, TokioSocket};
use nix::errno::Errno;
use rtnetlink::Handle;
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::task::JoinHandle;

use crate::kernel::error::NetlinkError;
use crate::kernel::netns;

/// How long an answer may take. The kernel holds the RTNL lock for up to seconds while it cleans up namespaces.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A plain netlink socket in `netns` that hears these multicast groups. Needs the tokio runtime.
pub fn open(netns: &File, protocol: isize, groups: u32) -> Result<TokioSocket, NetlinkError> {
    let runtime = tokio::runtime::Handle::current();
    let opened = netns::in_netns(netns, || {
        let _context = runtime.enter();
        let mut socket = TokioSocket::new(protocol)?;
        socket.socket_mut().bind(&SocketAddr::new(0, groups))?;
        Ok(socket)
    })?;
    opened.map_err(NetlinkError::Socket)
}

/// A netlink socket with the task that serves it. The namespace lives as long as either: both end with this value.
#[derive(Debug)]
pub struct Socket {
    handle: Handle,
    task: JoinHandle<()>,
}

impl Socket {
    /// Opens a socket in `netns`. Needs the tokio runtime.
    pub fn open(netns: &File) -> Result<Self, NetlinkError> {
        let runtime = tokio::runtime::Handle::current();
        let opened = netns::in_netns(netns, || {
            let _context = runtime.enter();
            rtnetlink::new_connection_with_strict_check()
        })?;
        let (mut connection, handle, _) = opened.map_err(NetlinkError::Socket)?;
        let socket = connection.socket_mut().socket_mut();
        socket.set_ext_ack(true).map_err(NetlinkError::Socket)?;
        socket.set_cap_ack(true).map_err(NetlinkError::Socket)?;
        // Otherwise an answer that is complete looks like a socket that was closed.
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        Ok(Self { handle, task: runtime.spawn(connection) })
    }

    /// Ends the socket and waits until it is gone.
    pub async fn close(mut self) {
        self.task.abort();
        let _aborted = (&mut self.task).await;
    }

    /// Sends a change and waits for its acknowledgement.
    pub async fn change(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), NetlinkError> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK | flags).await.map(|_| ())
    }

    /// Reads one thing.
    pub async fn get(&self, message: RouteNetlinkMessage) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        self.exchange(message, NLM_F_REQUEST | NLM_F_ACK).await
    }

    async fn exchange(
        &self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
        let mut request = NetlinkMessage::from(message);
        request.header.flags = flags;
        let answers = self.handle.clone().request(request).map_err(|_| NetlinkError::Closed)?;
        let answer = collect(answers);
        // An answer that cannot be decoded is dropped by netlink-proto, and the stream never ends.
        tokio::time::timeout(TIMEOUT, answer).await.map_err(|_| NetlinkError::Timeout(TIMEOUT))?
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn collect(
    answers: impl futures::Stream<Item = NetlinkMessage<RouteNetlinkMessage>>,
) -> Result<Vec<RouteNetlinkMessage>, NetlinkError> {
    let mut answers = std::pin::pin!(answers);
    let mut messages = Vec::new();
    while let Some(message) = answers.next().await {
        match message.payload {
            NetlinkPayload::InnerMessage(message) => messages.push(message),
            NetlinkPayload::Overrun(_) => return Err(NetlinkError::Overrun),
            NetlinkPayload::Noop => {}
            payload => return refusal_of(&payload).map(|()| messages),
        }
    }
    Err(NetlinkError::Closed)
}

/// What the kernel says at the end of its answer.
pub(crate) fn refusal_of<I>(payload: &NetlinkPayload<I>) -> Result<(), NetlinkError> {
    match payload {
        // `header` is the header of the request, 16 bytes, and then the attributes of the acknowledgement.
        NetlinkPayload::Error(error) => {
            refusal(error.code.map_or(0, NonZeroI32::get), error.header.get(16..).unwrap_or_default())
        }
        NetlinkPayload::Done(done) => refusal(done.code, &done.extended_ack),
        _ => Ok(()),
    }
}

fn refusal(code: i32, attributes: &[u8]) -> Result<(), NetlinkError> {
    if code >= 0 {
        return Ok(());
    }
    Err(NetlinkError::Refused { errno: Errno::from_raw(-code), text: extended_ack_text(attributes) })
}

/// `NLMSGERR_ATTR_MSG`, which netlink-packet-core leaves undecoded.
fn extended_ack_text(mut attributes: &[u8]) -> Option<String> {
    const HEADER: usize = 4;
    const NLMSGERR_ATTR_MSG: u16 = 1;
    while let [l0, l1, t0, t1, ..] = attributes {
        let (length, kind) = (usize::from(u16::from_ne_bytes([*l0, *l1])), u16::from_ne_bytes([*t0, *t1]));
        let value = attributes.get(HEADER..length)?;
        if kind == NLMSGERR_ATTR_MSG {
            let text = String::from_utf8_lossy(value);
            return Some(text.trim_end_matches('\0').to_owned());
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_found_behind_other_attributes() {
        let offset = [8, 0, 2, 0, 40, 0, 0, 0];
        let text = [9, 0, 1, 0, b'n', b'o', b'p', b'e', 0, 0, 0, 0];
        assert_eq!(extended_ack_text(&[&offset[..], &text].concat()).as_deref(), Some("nope"));
    }

    #[test]
    fn broken_attributes_have_no_text() {
        for bytes in [&[][..], &[1], &[0, 0, 1, 0], &[200, 0, 1, 0, b'x'], &[3, 0, 9, 0, 1, 1]] {
            assert_eq!(extended_ack_text(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_refusal_reads_like_a_sentence() {
        let text = [7, 0, 1, 0, b'h', b'm', 0, 0];
        let error = refusal(-17, &text).unwrap_err();
        assert_eq!(error.to_string(), "EEXIST: File exists: hm");
    }
}
