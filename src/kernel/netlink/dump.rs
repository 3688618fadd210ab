//! Reads what there is of a kind in one network namespace. In: a request. Out: what the caller makes of each answer; the
//! answers are read one after the other, since a decoded link is 18 kB and there may be thousands. Knows no links.

use std::fmt;
use std::fs::File;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkMessage, NetlinkPayload};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use rtnetlink::packet_route::RouteNetlinkMessage;

use super::socket::{self, TIMEOUT, refusal_of};
use crate::kernel::error::NetlinkError;

/// How often a dump is read again that the kernel marked as inconsistent.
const ATTEMPTS: usize = 10;
/// The kernel fills at most 32 KiB at a time.
const ROOM: usize = 64 * 1024;

/// A socket for dumps, and for the next ones after all went well. The namespace lives as long.
pub struct Reader {
    socket: TokioSocket,
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

/// Whether a dump goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    More,
    Done,
}

impl Reader {
    /// Opens a socket in `netns`. Needs the tokio runtime.
    pub fn open(netns: &File) -> Result<Self, NetlinkError> {
        let mut socket = socket::open(netns, NETLINK_ROUTE, 0)?;
        let plain = socket.socket_mut();
        plain
            .connect(&SocketAddr::new(0, 0))
            .and_then(|()| plain.set_netlink_get_strict_chk(true))
            .and_then(|()| plain.set_ext_ack(true))
            .and_then(|()| plain.set_cap_ack(true))
            .map_err(NetlinkError::Socket)?;
        Ok(Self { socket })
    }

    /// Reads all things of a kind, as they were at one moment, and takes each in.
    ///
    /// # Errors
    /// The kernel's refusal; no answer for [`TIMEOUT`]; changes during each of several attempts.
    pub async fn dump<T: Default>(
        &mut self,
        request: RouteNetlinkMessage,
        mut take: impl FnMut(&mut T, RouteNetlinkMessage),
    ) -> Result<T, NetlinkError> {
        let mut request = NetlinkMessage::from(request);
        request.header.flags = NLM_F_REQUEST | NLM_F_DUMP;
        request.finalize();
        let mut bytes = vec![0; request.buffer_len()];
        request.serialize(&mut bytes);
        for _ in 0..ATTEMPTS {
            let mut all = T::default();
            let reading = self.read(&bytes, |message| take(&mut all, message));
            if tokio::time::timeout(TIMEOUT, reading).await.map_err(|_| NetlinkError::Timeout(TIMEOUT))?? {
                return Ok(all);
            }
        }
        Err(NetlinkError::Unsteady(ATTEMPTS))
    }

    /// Tells whether nothing changed meanwhile.
    async fn read(&mut self, request: &[u8], mut take: impl FnMut(RouteNetlinkMessage)) -> Result<bool, NetlinkError> {
        self.socket.send(request).await.map_err(NetlinkError::Socket)?;
        let mut steady = true;
        let mut buffer = Vec::with_capacity(ROOM);
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer).await.map_err(NetlinkError::Socket)?;
            if datagram(&buffer, &mut steady, &mut take)? == Step::Done {
                return Ok(steady);
            }
        }
    }
}

/// Takes in the messages of one datagram.
fn datagram(
    mut rest: &[u8],
    steady: &mut bool,
    take: &mut impl FnMut(RouteNetlinkMessage),
) -> Result<Step, NetlinkError> {
    while let Ok(header) = NetlinkBuffer::new_checked(rest) {
        *steady &= header.flags() & NLM_F_DUMP_INTR == 0;
        let length = (header.length() as usize).next_multiple_of(4).min(rest.len());
        let (message, left) = rest.split_at(length);
        rest = left;
        // A link of somebody else that cannot be decoded is none of ours.
        let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message) else { continue };
        match message.payload {
            NetlinkPayload::InnerMessage(message) => take(message),
            NetlinkPayload::Overrun(_) => return Err(NetlinkError::Overrun),
            NetlinkPayload::Noop => {}
            payload => {
                refusal_of(&payload)?;
                return Ok(Step::Done);
            }
        }
    }
    Ok(Step::More)
}
