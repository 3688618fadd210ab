//! Addresses and routes of a NIC, saved as netlink messages so that they can be set again exactly. In: a socket, or what
//! [`SavedMessage`] contains. Out: saved messages, and requests that set them again. Does not decide when.

use std::collections::BTreeSet;

use netlink_packet_core::{Emitable, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, Parseable};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteProtocol,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::contents::net_of;
use super::error::NetlinkError;
use super::request::{self, Request};
use super::socket::{Route, Socket};
use crate::kernel::model::LOCAL_TABLE;
use crate::types::Family;

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
    /// An address; `None` if the message has none.
    pub fn of_address(message: &AddressMessage) -> Option<Self> {
        net_of(message).map(|net| Self::new(net.to_string(), message))
    }

    /// A route.
    pub fn of_route(route: &RouteMessage) -> Self {
        Self::new(describe(route), route)
    }

    fn new(text: String, message: &impl Emitable) -> Self {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or_default();
        Self { text, netlink: bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect() }
    }

    fn decode<T: Parseable<[u8]>>(&self) -> Result<T, MalformedMessage> {
        let digits = self.netlink.as_bytes().chunks(2);
        let bytes: Option<Vec<u8>> =
            digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect();
        bytes.and_then(|bytes| T::parse(bytes.as_slice()).ok()).ok_or(MalformedMessage)
    }
}

/// Where saved messages are set again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The ifindex that the NIC had when they were saved.
    pub old_index: u32,
    /// Its ifindex now.
    pub index: u32,
    /// In the router namespace, not the host's.
    pub in_router: bool,
}

impl Socket<Route> {
    /// The addresses of the link with this ifindex.
    pub async fn save_addresses(&mut self, index: u32) -> Result<Vec<SavedMessage>, NetlinkError> {
        let take = |addresses: &mut Vec<SavedMessage>, message| {
            if let RouteNetlinkMessage::NewAddress(message) = message
                && message.header.index == index
            {
                addresses.extend(SavedMessage::of_address(&message));
            }
        };
        self.dump(request::get_addresses(), take).await
    }

    /// The routes of a family by the link with this ifindex, except for those that the kernel adds itself.
    pub async fn save_routes(&mut self, family: Family, index: u32) -> Result<Vec<SavedMessage>, NetlinkError> {
        let take = |routes: &mut Vec<SavedMessage>, message| {
            if let RouteNetlinkMessage::NewRoute(route) = message
                && is_configured(&route)
                && devices(&route).contains(&index)
            {
                routes.push(SavedMessage::of_route(&route));
            }
        };
        self.dump(request::get_routes(family), take).await
    }
}

/// The requests that set saved addresses again, in their order.
pub fn add_addresses(saved: &[SavedMessage], target: Target) -> Result<Vec<Request>, MalformedMessage> {
    let addresses = saved.iter().map(SavedMessage::decode).collect::<Result<Vec<AddressMessage>, _>>()?;
    // The newest IPv6 address is reported first.
    let (ipv4, ipv6): (Vec<_>, Vec<_>) =
        addresses.into_iter().partition(|address| address.header.family == AddressFamily::Inet);
    let request = |address| {
        let message = RouteNetlinkMessage::NewAddress(readdress(address, target));
        Request { message, flags: NLM_F_CREATE | NLM_F_EXCL }
    };
    Ok(ipv4.into_iter().chain(ipv6.into_iter().rev()).map(request).collect())
}

/// The requests that set saved routes again, in their order.
pub fn add_routes(saved: &[SavedMessage], target: Target) -> Result<Vec<Request>, MalformedMessage> {
    let mut routes = saved.iter().map(SavedMessage::decode).collect::<Result<Vec<RouteMessage>, _>>()?;
    // The route to a gateway comes before the route through it.
    routes.sort_by_key(has_gateway);
    let request = |route: RouteMessage| {
        // The NICs of the other paths are not in the router; on the host the kernel kept those paths and dropped ours.
        let is_multipath = devices(&route).len() > 1;
        let flags = if is_multipath { NLM_F_REPLACE } else { NLM_F_EXCL };
        let message = RouteNetlinkMessage::NewRoute(reroute(route, target));
        (!is_multipath || !target.in_router).then_some(Request { message, flags: NLM_F_CREATE | flags })
    };
    Ok(routes.into_iter().filter_map(request).collect())
}

fn readdress(mut message: AddressMessage, target: Target) -> AddressMessage {
    let transient = AddressFlags::Secondary
        | AddressFlags::Tentative
        | AddressFlags::Dadfailed
        | AddressFlags::Optimistic
        | AddressFlags::Permanent
        | AddressFlags::Deprecated;
    message.header.index = target.index;
    let low = AddressHeaderFlags::from_bits_retain(u8::try_from(transient.bits() & 0xff).unwrap_or_default());
    message.header.flags.remove(low);
    // In the router nobody renews a lease: without a lifetime the address stays.
    message.attributes.retain(|attribute| !target.in_router || !matches!(attribute, AddressAttribute::CacheInfo(_)));
    for attribute in &mut message.attributes {
        if let AddressAttribute::Flags(flags) = attribute {
            flags.remove(transient);
            if target.in_router && matches!(message.header.family, AddressFamily::Inet6) {
                flags.insert(AddressFlags::Nodad);
            }
        }
    }
    message
}

fn reroute(mut route: RouteMessage, target: Target) -> RouteMessage {
    // What the kernel reports of a route but does not accept: its state, its age, its next hop object.
    route.header.flags &= RouteFlags::Onlink;
    route.attributes.retain(|attribute| !matches!(attribute, RouteAttribute::CacheInfo(_) | RouteAttribute::NhId(_)));
    for attribute in &mut route.attributes {
        match attribute {
            RouteAttribute::Oif(index) if *index == target.old_index => *index = target.index,
            RouteAttribute::MultiPath(hops) => {
                for hop in hops {
                    hop.flags &= RouteNextHopFlags::Onlink;
                    if hop.interface_index == target.old_index {
                        hop.interface_index = target.index;
                    }
                }
            }
            _ => {}
        }
    }
    route
}

/// The kernel adds connected routes with the addresses, and those from router advertisements with the next one.
fn is_configured(route: &RouteMessage) -> bool {
    !matches!(route.header.protocol, RouteProtocol::Kernel | RouteProtocol::Ra | RouteProtocol::IcmpRedirect)
        && !route.header.flags.contains(RouteFlags::Cloned)
        && route.header.table != LOCAL_TABLE
}

fn devices(route: &RouteMessage) -> BTreeSet<u32> {
    let mut devices = BTreeSet::new();
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => {
                devices.insert(*index);
            }
            RouteAttribute::MultiPath(hops) => devices.extend(hops.iter().map(|hop| hop.interface_index)),
            _ => {}
        }
    }
    devices
}

fn has_gateway(route: &RouteMessage) -> bool {
    let gateway = |attribute: &RouteAttribute| matches!(attribute, RouteAttribute::Gateway(_) | RouteAttribute::Via(_));
    route.attributes.iter().any(|attribute| match attribute {
        RouteAttribute::MultiPath(hops) => hops.iter().any(|hop| hop.attributes.iter().any(gateway)),
        other => gateway(other),
    })
}

/// For people who read the record.
fn describe(route: &RouteMessage) -> String {
    let words = route.attributes.iter().filter_map(|attribute| match attribute {
        RouteAttribute::Gateway(gateway) => Some(format!("via {}", address_text(gateway))),
        RouteAttribute::Table(table) => Some(format!("table {table}")),
        RouteAttribute::Priority(metric) => Some(format!("metric {metric}")),
        _ => None,
    });
    let destination = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(net) => {
            Some(format!("{}/{}", address_text(net), route.header.destination_prefix_length))
        }
        _ => None,
    });
    let destination = destination.unwrap_or_else(|| "default".to_owned());
    std::iter::once(destination).chain(words).collect::<Vec<_>>().join(" ")
}

fn address_text(address: &RouteAddress) -> String {
    match address {
        RouteAddress::Inet(address) => address.to_string(),
        RouteAddress::Inet6(address) => address.to_string(),
        _ => "unknown".to_owned(),
    }
}

#[cfg(test)]
mod tests {
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
