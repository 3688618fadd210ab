//! A netlink message as text, so that it can be kept in a file and set again exactly. In: messages, or their texts. Out: the
//! other of the two, and what a plan needs to know of a saved address or route. Pure.

use netlink_packet_core::{Emitable, Parseable};
use netlink_packet_route::route::{RouteMessage, RouteProtocol};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::contents::ObservedAddress;

/// A netlink message, exact, and with a text for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedMessage {
    text: String,
    netlink: String,
}

/// A saved message cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("it is no netlink message")]
pub struct MalformedMessage;

impl SavedMessage {
    pub(super) fn new(text: String, message: &impl Emitable) -> Self {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
        Self { text, netlink: bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect() }
    }

    pub(super) fn decode<T: Parseable<[u8]>>(&self) -> Result<T, MalformedMessage> {
        let digits = self.netlink.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        bytes.and_then(|bytes| T::parse(bytes.as_slice()).ok()).ok_or(MalformedMessage)
    }

    /// The address, if it is one.
    pub fn address(&self) -> Option<ObservedAddress> {
        ObservedAddress::of(&self.decode().ok()?).map(|(_, address)| address)
    }

    /// Whether it is a route that a DHCP client has set.
    pub fn is_route_of_dhcp(&self) -> bool {
        self.decode::<RouteMessage>().is_ok_and(|route| route.header.protocol == RouteProtocol::Dhcp)
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::address::{AddressAttribute, AddressMessage};

    use super::*;

    #[test]
    fn a_saved_message_is_decoded_exactly() {
        let mut message = AddressMessage::default();
        message.header.index = 7;
        message.attributes.push(AddressAttribute::Label("eth1:x".to_owned()));
        let saved = SavedMessage::new("192.0.2.1/24".to_owned(), &message);
        assert_eq!(saved.decode(), Ok(message));
        for netlink in ["0", "zz", "0218"] {
            let broken = SavedMessage { netlink: netlink.to_owned(), ..saved.clone() };
            assert_eq!(broken.decode::<AddressMessage>(), Err(MalformedMessage), "{netlink}");
        }
    }
}
