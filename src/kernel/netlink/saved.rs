//! Addresses and routes of a NIC, saved as netlink messages so that they can be set again exactly. In: a socket, or what
//! [`SavedMessage`] contains. Out: saved messages, and requests that set them again. Does not decide when.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{
    AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressProtocol,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteNextHopFlags, RouteProtocol,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::contents::{ObservedAddress, is_link_local, net_of};
use super::error::NetlinkError;
use super::request::{self, Request};
use super::saved_message::{MalformedMessage, SavedMessage};
use super::socket::{Route, Socket};
use crate::kernel::model::LOCAL_TABLE;
use crate::types::Family;

/// Where saved messages are set again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The ifindex that the NIC had when they were saved.
    pub old_index: u32,
    /// Its ifindex now.
    pub index: u32,
    /// In the router namespace, not the host's.
    pub in_router: bool,
    /// It is the NIC of the record, not another device in its place.
    pub is_same_device: bool,
}

impl SavedMessage {
    /// An address; `None` if the message has none.
    pub fn of_address(message: &AddressMessage) -> Option<Self> {
        net_of(message).map(|net| Self::new(net.to_string(), message))
    }

    /// A route.
    pub fn of_route(route: &RouteMessage) -> Self {
        Self::new(describe(route), route)
    }
}

impl Socket<Route> {
    /// The addresses of the link with this ifindex, except for those that the kernel generates itself: with each NIC in the
    /// place of another there would be one more.
    pub async fn save_addresses(&mut self, index: u32) -> Result<Vec<SavedMessage>, NetlinkError> {
        let take = |addresses: &mut Vec<SavedMessage>, message| {
            if let RouteNetlinkMessage::NewAddress(message) = message
                && message.header.index == index
                && !is_generated(&message)
            {
                addresses.extend(SavedMessage::of_address(&message));
            }
        };
        self.dump(request::get_addresses(), take).await
    }

    /// Has the kernel report those addresses of the link with this ifindex once more that are not `known`, without those that it
    /// does not use yet, or for a limited time only. Returns how many.
    ///
    /// An address that replaces itself stays as it is (`inet_rtm_newaddr`, `inet6_addr_modify`). One that somebody removes meanwhile is added
    /// again.
    pub async fn repeat_addresses(&mut self, index: u32, known: &BTreeSet<IpAddr>) -> Result<usize, NetlinkError> {
        let take = |addresses: &mut Vec<AddressMessage>, message| {
            if let RouteNetlinkMessage::NewAddress(message) = message
                && message.header.index == index
                && ObservedAddress::of(&message).is_some_and(|(_, address)| address.is_missing_in(known))
                && !message.header.flags.intersects(AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed)
            {
                addresses.push(message);
            }
        };
        let addresses: Vec<AddressMessage> = self.dump(request::get_addresses(), take).await?;
        let count = addresses.len();
        for address in addresses {
            self.change(RouteNetlinkMessage::NewAddress(address), NLM_F_REPLACE).await?;
        }
        Ok(count)
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
    let own_link_local = |address: &AddressMessage| net_of(address).is_some_and(|net| is_link_local(&net));
    let addresses = addresses.into_iter().filter(|address| target.is_same_device || !own_link_local(address));
    let (ipv4, ipv6): (Vec<_>, Vec<_>) = addresses.partition(|address| address.header.family == AddressFamily::Inet);
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

/// Whether the kernel generated the address: a link-local one as the link came up.
fn is_generated(message: &AddressMessage) -> bool {
    message.attributes.contains(&AddressAttribute::Protocol(AddressProtocol::LinkLocal))
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

/// The ifindexes of the links of a route.
pub(super) fn devices(route: &RouteMessage) -> BTreeSet<u32> {
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
