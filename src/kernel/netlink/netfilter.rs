//! A netlink socket of netfilter in one namespace. In: messages. Out: the kernel's answers. The kernel answers within the
//! call that brings the request, so nothing here waits.

use std::fs::File;
use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use nix::errno::Errno;

use crate::kernel::error::NetlinkError;
use crate::kernel::netns;
use crate::kernel::nftables::message::{Kind, Message};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
/// `NLM_F_CREATE | NLM_F_EXCL`
const MAKE: u16 = 0x600;
const APPEND: u16 = 0x800;
/// `NFPROTO_INET`: both families.
const INET: u8 = 1;
const HEADER: usize = 16;
/// `struct nfgenmsg`
const FAMILY: usize = 4;
const ROOM: usize = 64 * 1024;

/// The socket.
pub struct Socket(netlink_sys::Socket);

impl Socket {
    /// Works with a socket in `netns`.
    pub fn within<T: Send>(
        netns: &File,
        work: impl FnOnce(&Self) -> Result<T, NetlinkError> + Send,
    ) -> Result<T, NetlinkError> {
        netns::in_netns(netns, || {
            let opened = netlink_sys::Socket::new(NETLINK_NETFILTER).and_then(|socket| {
                socket.set_non_blocking(true)?;
                Ok(Self(socket))
            });
            match opened {
                Ok(socket) => work(&socket),
                Err(error) if error.raw_os_error() == Some(Errno::EPROTONOSUPPORT as i32) => {
                    Err(NetlinkError::NoProtocol)
                }
                Err(error) => Err(NetlinkError::Socket(error)),
            }
        })?
    }

    /// Does all of these, or none.
    pub fn commit(&self, messages: &[Message]) -> Result<(), NetlinkError> {
        let control = |kind| frame(kind, REQUEST, 0, 0, SUBSYSTEM, &[]);
        let mut batch = control(BATCH_BEGIN);
        for (index, message) in messages.iter().enumerate() {
            // The last is acknowledged; a refusal is told of any.
            let ack = if index + 1 == messages.len() { ACK } else { 0 };
            let make = if message.makes { MAKE | APPEND } else { 0 };
            batch.extend(frame(
                SUBSYSTEM << 8 | u16::from(message.kind),
                REQUEST | ack | make,
                1,
                INET,
                0,
                &message.body,
            ));
        }
        batch.extend(control(BATCH_END));
        self.0.send(&batch, 0).map_err(NetlinkError::Socket)?;
        loop {
            for (kind, _, body) in split(&self.receive()?) {
                if kind == ERROR {
                    return refusal(&body);
                }
            }
        }
    }

    /// Reads all of a kind; each without its header.
    pub fn dump(&self, kind: Kind) -> Result<Vec<Vec<u8>>, NetlinkError> {
        let request = frame(SUBSYSTEM << 8 | u16::from(kind), REQUEST | DUMP, 1, INET, 0, &[]);
        self.0.send(&request, 0).map_err(NetlinkError::Socket)?;
        let mut found = Vec::new();
        loop {
            for (kind, _, body) in split(&self.receive()?) {
                match kind {
                    DONE => return Ok(found),
                    ERROR => match refusal(&body) {
                        // A kernel without nf_tables.
                        Err(NetlinkError::Refused { errno: Errno::EOPNOTSUPP | Errno::EINVAL, .. }) => {
                            return Err(NetlinkError::NoProtocol);
                        }
                        other => other?,
                    },
                    _ => found.extend(body.get(FAMILY..).map(<[u8]>::to_vec)),
                }
            }
        }
    }

    fn receive(&self) -> Result<Vec<u8>, NetlinkError> {
        let mut bytes = Vec::with_capacity(ROOM);
        match self.0.recv(&mut bytes, 0) {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(NetlinkError::Incomplete("end")),
            Err(error) => Err(NetlinkError::Socket(error)),
        }
    }
}

fn frame(kind: u16, flags: u16, sequence: u32, family: u8, resource: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + FAMILY + body.len()).unwrap_or(u32::MAX);
    let mut out = length.to_ne_bytes().to_vec();
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(0_u32.to_ne_bytes());
    out.extend([family, 0]);
    out.extend(resource.to_be_bytes());
    out.extend(body);
    out
}

/// Type, flags and what follows the header of each message.
fn split(mut bytes: &[u8]) -> Vec<(u16, u16, Vec<u8>)> {
    let mut found = Vec::new();
    while let [l0, l1, l2, l3, k0, k1, f0, f1, ..] = bytes {
        let length = usize::try_from(u32::from_ne_bytes([*l0, *l1, *l2, *l3])).unwrap_or_default();
        let Some(body) = bytes.get(HEADER..length) else { break };
        found.push((u16::from_ne_bytes([*k0, *k1]), u16::from_ne_bytes([*f0, *f1]), body.to_vec()));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// `struct nlmsgerr`
fn refusal(body: &[u8]) -> Result<(), NetlinkError> {
    let [e0, e1, e2, e3, ..] = body else { return Err(NetlinkError::Incomplete("error number")) };
    match i32::from_ne_bytes([*e0, *e1, *e2, *e3]) {
        0 => Ok(()),
        code => Err(NetlinkError::Refused { errno: Errno::from_raw(-code), text: None }),
    }
}
