//! The entries of remote VTEPs: neighbors, and those of the FDBs of VXLAN devices. In: a socket of a namespace. Out: what a routing
//! daemon has installed there, and the same without its mark; and the addresses that nobody answers for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::contents::ObservedLink;
use super::error::NetlinkError;
use super::request::{self, Request};
use super::socket::{Route, Socket};
use crate::names::SEGMENT_GROUP;
use crate::types::MacAddr;

/// The MAC address of an entry.
pub(super) fn mac_of(message: &NeighbourMessage) -> Option<MacAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok().map(MacAddr),
        _ => None,
    })
}

/// The IP address of an entry.
pub(super) fn address_of(message: &NeighbourMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })
}

impl Socket<Route> {
    /// The addresses that the kernel asks for in vain, each with the ifindex of its link.
    pub async fn unresolved(&mut self) -> Result<BTreeSet<(IpAddr, u32)>, NetlinkError> {
        let mut found = BTreeSet::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let take = |entries: &mut Vec<(IpAddr, u32)>, message| {
                if let RouteNetlinkMessage::NewNeighbour(message) = message {
                    entries.extend(unresolved(&message));
                }
            };
            found.extend(self.dump(request::get_neighbors(family), take).await?);
        }
        Ok(found)
    }

    /// The entries that zebra has installed.
    pub async fn entries_of_zebra(&mut self) -> Result<Vec<NeighbourMessage>, NetlinkError> {
        let mut entries = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Bridge] {
            let take = |entries: &mut Vec<NeighbourMessage>, message| {
                if let RouteNetlinkMessage::NewNeighbour(message) = message
                    && is_of_zebra(&message)
                {
                    entries.push(message);
                }
            };
            entries.extend(self.dump(request::get_neighbors(family), take).await?);
        }
        Ok(entries)
    }
}

/// An address that the kernel asks for in vain, with the ifindex of the link (`NUD_INCOMPLETE`, `NUD_FAILED`).
fn unresolved(entry: &NeighbourMessage) -> Option<(IpAddr, u32)> {
    let is_unresolved = matches!(entry.header.state, NeighbourState::Incomplete | NeighbourState::Failed);
    Some((address_of(entry)?, entry.header.ifindex)).filter(|_| is_unresolved)
}

fn is_of_zebra(entry: &NeighbourMessage) -> bool {
    entry.header.flags.contains(NeighbourFlags::ExtLearned)
}

/// Replaces an entry that a routing daemon has installed by the same without its mark. That of a bridge loses it only when it is
/// removed: a bridge without an entry floods, which leads to the VXLAN device all the same.
pub fn unmarked(mut entry: NeighbourMessage) -> Request {
    use NeighbourAttribute::{Destination, IfIndex, LinkLayerAddress, Port, Protocol, SourceVni, Vni};
    let is_of_bridge =
        entry.header.family == AddressFamily::Bridge && !entry.header.flags.contains(NeighbourFlags::Own);
    if is_of_bridge {
        entry.header.flags = NeighbourFlags::Controller;
        entry.attributes.retain(|attribute| matches!(attribute, NeighbourAttribute::LinkLayerAddress(_)));
        return Request { message: RouteNetlinkMessage::DelNeighbour(entry), flags: 0 };
    }
    entry.header.flags.remove(NeighbourFlags::ExtLearned);
    entry.attributes.retain(|attribute| {
        matches!(attribute, Destination(_) | LinkLayerAddress(_) | Port(_) | Vni(_) | IfIndex(_) | SourceVni(_))
    });
    if entry.header.family != AddressFamily::Bridge {
        // Without a protocol the kernel keeps that of zebra.
        entry.attributes.push(Protocol(RouteProtocol::Static));
    }
    Request { message: RouteNetlinkMessage::NewNeighbour(entry), flags: NLM_F_CREATE | NLM_F_REPLACE }
}

/// The entries that are neither neighbors of the bridge of a segment nor in the FDB of its VXLAN device.
pub fn without_segments(
    mut entries: Vec<NeighbourMessage>,
    links: &BTreeMap<u32, Arc<ObservedLink>>,
) -> Vec<NeighbourMessage> {
    let is_of_segment =
        |entry: &NeighbourMessage| links.get(&entry.header.ifindex).is_some_and(|link| link.group == SEGMENT_GROUP);
    entries.retain(|entry| !is_of_segment(entry));
    entries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::LINK_GROUP;

    #[test]
    fn an_address_that_nobody_answers_for_is_unresolved() {
        let entry = |state| {
            let mut entry = NeighbourMessage::default();
            (entry.header.state, entry.header.ifindex) = (state, 7);
            entry.attributes = vec![NeighbourAttribute::Destination(NeighbourAddress::Inet([192, 168, 11, 9].into()))];
            entry
        };
        let address = IpAddr::from([192, 168, 11, 9]);
        for state in [NeighbourState::Failed, NeighbourState::Incomplete] {
            assert_eq!(unresolved(&entry(state)), Some((address, 7)));
        }
        assert_eq!(unresolved(&entry(NeighbourState::Stale)), None);
    }

    #[test]
    fn neighbors_and_fdb_entries_of_segments_are_not_kept() {
        let link = |group| Arc::new(ObservedLink { group, ..ObservedLink::default() });
        let links = BTreeMap::from([(1, link(LINK_GROUP)), (2, link(SEGMENT_GROUP)), (3, link(0))]);
        let on = |family| {
            move |ifindex| {
                let mut entry = NeighbourMessage::default();
                (entry.header.family, entry.header.ifindex) = (family, ifindex);
                entry
            }
        };
        let entries: Vec<_> = [AddressFamily::Inet, AddressFamily::Inet6, AddressFamily::Bridge]
            .into_iter()
            .flat_map(|family| [1, 2, 3, 4].map(on(family)))
            .collect();
        let kept: Vec<_> = without_segments(entries, &links).iter().map(|entry| entry.header.ifindex).collect();
        assert_eq!(kept, [1, 3, 4].repeat(3));
    }
}
