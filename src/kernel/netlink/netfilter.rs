//! The netfilter family: messages of a subsystem, and transactions. In: messages with their bodies as bytes. Out: the
//! kernel's answers. Knows no subsystem but by its number.

use std::convert::Infallible;

use netlink_packet_core::{NLM_F_ACK, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable};
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::error::NetlinkError;
use super::socket::{NetlinkFamily, Socket, frame};

/// The family.
#[derive(Debug)]
pub struct Netfilter;

impl NetlinkFamily for Netfilter {
    const PROTOCOL: isize = NETLINK_NETFILTER;
    type Message = NetfilterMessage;
}

/// `NFNL_SUBSYS_NFTABLES`
pub const NFTABLES: u8 = 10;
/// `NFPROTO_INET`: IPv4 and IPv6.
pub const INET: u8 = 1;
/// `NFPROTO_UNSPEC`
const UNSPEC: u8 = 0;
/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`
const BATCH: [u16; 2] = [16, 17];
/// `struct nfgenmsg`
const HEADER: usize = 4;

/// A message of a subsystem, or the begin or end of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetfilterMessage {
    /// Subsystem and number of the message.
    kind: u16,
    /// `NFPROTO_*`
    protocol: u8,
    resource: u16,
    /// Its attributes.
    pub body: Vec<u8>,
}

impl NetfilterMessage {
    /// Message `number` of `subsystem` for both IP families.
    pub fn new(subsystem: u8, number: u8, body: Vec<u8>) -> Self {
        Self { kind: u16::from_be_bytes([subsystem, number]), protocol: INET, resource: 0, body }
    }

    /// The same for all families that netfilter has.
    pub fn of_all_families(subsystem: u8, number: u8) -> Self {
        Self { protocol: UNSPEC, ..Self::new(subsystem, number, Vec::new()) }
    }

    /// `NFPROTO_*` of what it is about.
    pub fn family(&self) -> u8 {
        self.protocol
    }
}

impl NetlinkSerializable for NetfilterMessage {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        HEADER + self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let [high, low] = self.resource.to_be_bytes();
        let (head, body) = buffer.split_at_mut(HEADER);
        head.copy_from_slice(&[self.protocol, 0, high, low]);
        body.copy_from_slice(&self.body);
    }
}

impl NetlinkDeserializable for NetfilterMessage {
    type Error = Infallible;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        let (protocol, resource) = match payload {
            [protocol, _, high, low, ..] => (*protocol, u16::from_be_bytes([*high, *low])),
            _ => (UNSPEC, 0),
        };
        let body = payload.get(HEADER..).unwrap_or_default().to_vec();
        Ok(Self { kind: header.message_type, protocol, resource, body })
    }
}

impl Socket<Netfilter> {
    /// Applies all of these messages of a subsystem, or none; each with its flags.
    pub async fn commit(
        &mut self,
        subsystem: u8,
        messages: impl IntoIterator<Item = (NetfilterMessage, u16)>,
    ) -> Result<(), NetlinkError> {
        let sequence = self.next_sequence();
        let [begin, end] = BATCH.map(|kind| {
            let resource = u16::from(subsystem);
            let control = NetfilterMessage { kind, protocol: UNSPEC, resource, body: Vec::new() };
            frame(control, NLM_F_REQUEST, sequence)
        });
        let mut batch = begin;
        let mut messages = messages.into_iter().peekable();
        while let Some((message, flags)) = messages.next() {
            // The last is acknowledged; the rejection of any is reported.
            let ack = if messages.peek().is_none() { NLM_F_ACK } else { 0 };
            batch.extend(frame(message, NLM_F_REQUEST | ack | flags, sequence));
        }
        batch.extend(end);
        self.send_all(&batch, sequence).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_laid_out_as_nfnetlink_has_it() {
        let message = NetfilterMessage::new(NFTABLES, 3, vec![8, 0, 1, 0, b'a', 0, 0, 0]);
        let bytes = frame(message.clone(), NLM_F_REQUEST, 5);
        let header = [28, 0, 0, 0, 3, 10, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(bytes, [&header[..], &[1, 0, 0, 0], &message.body].concat());
        let mut header = NetlinkHeader::default();
        header.message_type = 0x0a03;
        assert_eq!(NetfilterMessage::deserialize(&header, &bytes[16..]), Ok(message));
    }
}
