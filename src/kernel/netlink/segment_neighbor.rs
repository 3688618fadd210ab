//! The neighbor entries and the FDB of bridges of L2 segments. In: neighbor messages, and changes as values. Out: entries, learned
//! MAC addresses, and requests.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourExtFlags, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::error::NetlinkError;
use super::neighbor::{address_of, mac_of};
use super::request::Request;
use super::socket::{Route, Socket};
use crate::kernel::neighbors::{Entry, EntryStanding, NeighborChange};
use crate::types::MacAddr;

/// What a message says about a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighborReport {
    /// A neighbor entry was created or changed.
    Entry(Entry),
    /// A neighbor entry was removed.
    Removed(IpAddr),
    /// The bridge has learned a MAC address on one of its ports.
    Learned(LearnedMac),
}

/// A MAC address that a bridge has learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnedMac {
    /// The MAC address.
    pub mac: MacAddr,
    /// The ifindex of the port.
    pub port: u32,
}

/// The bridge that a message is about, and what it says.
pub fn report(message: &RouteNetlinkMessage) -> Option<(u32, NeighborReport)> {
    match message {
        RouteNetlinkMessage::NewNeighbour(message) if message.header.family == AddressFamily::Bridge => {
            learned(message)
        }
        RouteNetlinkMessage::NewNeighbour(message) => {
            Some((message.header.ifindex, NeighborReport::Entry(entry_of(message)?)))
        }
        RouteNetlinkMessage::DelNeighbour(message) if message.header.family != AddressFamily::Bridge => {
            Some((message.header.ifindex, NeighborReport::Removed(address_of(message)?)))
        }
        _ => None,
    }
}

/// zebra's entries are marked, those of the bridge itself are permanent. VXLAN devices do not learn.
fn learned(message: &NeighbourMessage) -> Option<(u32, NeighborReport)> {
    let bridge = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Controller(index) => Some(*index),
        _ => None,
    })?;
    let foreign = NeighbourFlags::ExtLearned | NeighbourFlags::Own;
    let is_learned = !message.header.flags.intersects(foreign)
        && !matches!(message.header.state, NeighbourState::Permanent | NeighbourState::Noarp);
    let learned = LearnedMac { mac: mac_of(message)?, port: message.header.ifindex };
    is_learned.then_some((bridge, NeighborReport::Learned(learned)))
}

fn entry_of(message: &NeighbourMessage) -> Option<Entry> {
    use NeighbourState::{Delay, Failed, Probe, Reachable, Stale};
    let managed = message.attributes.iter().any(|attribute| {
        matches!(attribute, NeighbourAttribute::ExtFlags(flags) if flags.contains(NeighbourExtFlags::Managed))
    });
    let standing = match message.header.state {
        _ if message.header.flags.contains(NeighbourFlags::ExtLearned) => EntryStanding::Remote,
        state @ (Reachable | Stale | Delay | Probe) => EntryStanding::Local { state: state.into(), managed },
        Failed => EntryStanding::Failed { managed },
        _ => EntryStanding::Other,
    };
    Some(Entry { address: address_of(message)?, mac: mac_of(message), standing })
}

/// The requests for a change of an entry of the bridge with this ifindex, to be sent in this order.
pub fn requests(index: u32, change: NeighborChange) -> Vec<Request> {
    let kept = |address, mac, state| replace(kept(entry(index, address, mac, state)), 0);
    match change {
        NeighborChange::Keep(address, mac, state) => [kept(address, mac, state.into())].into(),
        // The kernel reports an entry only where its state or a flag changes.
        NeighborChange::Repeat(address, mac) => {
            let stale = entry(index, address, mac, NeighbourState::Stale);
            [replace(stale, 0), kept(address, mac, NeighbourState::Stale)].into()
        }
        NeighborChange::Adopt(address, mac) => {
            let mut stale = entry(index, address, mac, NeighbourState::Stale);
            // Without a protocol the kernel keeps that of zebra, which takes the entry for its own.
            stale.attributes.push(NeighbourAttribute::Protocol(RouteProtocol::Static));
            [replace(stale, NLM_F_CREATE)].into()
        }
        // The kernel probes it at once. An entry that zebra has installed meanwhile stays.
        NeighborChange::Restore(address, mac) => {
            let message = RouteNetlinkMessage::NewNeighbour(entry(index, address, mac, NeighbourState::Probe));
            [Request { message, flags: NLM_F_CREATE | NLM_F_EXCL }].into()
        }
        NeighborChange::Probe(address, mac) => {
            let probed = entry(index, address, mac, NeighbourState::Probe);
            [replace(probed, 0), kept(address, mac, NeighbourState::Probe)].into()
        }
        NeighborChange::Forget(address) => {
            let message = RouteNetlinkMessage::DelNeighbour(message(index, address, NeighbourState::None));
            [Request { message, flags: 0 }].into()
        }
    }
}

/// With the flag that Linux before 5.16 ignores, and beside which later releases ignore the state.
fn kept(mut message: NeighbourMessage) -> NeighbourMessage {
    message.attributes.push(NeighbourAttribute::ExtFlags(NeighbourExtFlags::Managed));
    message
}

/// Not created where it is gone meanwhile, unless `flags` says so.
fn replace(message: NeighbourMessage, flags: u16) -> Request {
    Request { message: RouteNetlinkMessage::NewNeighbour(message), flags: NLM_F_REPLACE | flags }
}

fn entry(index: u32, address: IpAddr, mac: MacAddr, state: NeighbourState) -> NeighbourMessage {
    let mut message = message(index, address, state);
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message
}

fn message(index: u32, address: IpAddr, state: NeighbourState) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    let (family, destination) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.header.ifindex = index;
    message.header.state = state;
    message.attributes.push(NeighbourAttribute::Destination(destination));
    message
}

/// Reads the entries of one link or, for the family of bridges, of one bridge: its ifindex as the attribute by which the kernel filters.
fn get_neighbors_of(family: AddressFamily, filter: NeighbourAttribute) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = family;
    message.attributes.push(filter);
    RouteNetlinkMessage::GetNeighbour(message)
}

impl Socket<Route> {
    /// The neighbor entries of the bridge with this ifindex.
    pub async fn neighbors(&mut self, index: u32) -> Result<Vec<Entry>, NetlinkError> {
        let mut entries = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let take = |entries: &mut Vec<Entry>, message| match report(&message) {
                Some((of, NeighborReport::Entry(entry))) if of == index => entries.push(entry),
                _ => {}
            };
            let request = get_neighbors_of(family, NeighbourAttribute::IfIndex(index));
            entries.extend(self.dump(request, take).await?);
        }
        Ok(entries)
    }

    /// The neighbor entry of the bridge with this ifindex for an address.
    pub async fn neighbor(&mut self, index: u32, address: IpAddr) -> Result<Option<Entry>, NetlinkError> {
        let request = RouteNetlinkMessage::GetNeighbour(message(index, address, NeighbourState::None));
        let found = match self.get(request).await {
            Err(error) if error.is_absent() => return Ok(None),
            found => found?,
        };
        Ok(found.iter().filter_map(report).find_map(|(_, report)| match report {
            NeighborReport::Entry(entry) => Some(entry),
            _ => None,
        }))
    }

    /// Makes a change of an entry of the bridge with this ifindex, if it is still due. Returns whether it was.
    pub async fn change_neighbor(&mut self, index: u32, change: NeighborChange) -> Result<bool, NetlinkError> {
        let now = self.neighbor(index, change.address()).await?;
        if !change.is_due(now.as_ref()) {
            return Ok(false);
        }
        for request in requests(index, change) {
            match self.change(request.message, request.flags).await {
                // It is gone meanwhile.
                Err(error) if error.is_absent() => {}
                // It is there meanwhile.
                Err(error) if error.already_exists() => return Ok(false),
                result => result?,
            }
        }
        Ok(true)
    }

    /// The MAC addresses that the bridge with this ifindex has learned on its ports.
    pub async fn learned(&mut self, index: u32) -> Result<Vec<LearnedMac>, NetlinkError> {
        let take = |macs: &mut Vec<LearnedMac>, message| match report(&message) {
            Some((of, NeighborReport::Learned(learned))) if of == index => macs.push(learned),
            _ => {}
        };
        let request = get_neighbors_of(AddressFamily::Bridge, NeighbourAttribute::Controller(index));
        self.dump(request, take).await
    }

    /// Has a bridge forget a MAC address that it has learned: the kernel reports it when it learns it again, as it reports only what is new to
    /// the bridge. To add it here would add it to the VLANs of the port as well.
    pub async fn forget_learned(&mut self, learned: LearnedMac) -> Result<(), NetlinkError> {
        let mut entry = NeighbourMessage::default();
        entry.header.family = AddressFamily::Bridge;
        entry.header.ifindex = learned.port;
        // Of the bridge of this port.
        entry.header.flags = NeighbourFlags::Controller;
        entry.attributes.push(NeighbourAttribute::LinkLayerAddress(learned.mac.0.to_vec()));
        match self.change(RouteNetlinkMessage::DelNeighbour(entry), 0).await {
            Err(error) if error.is_absent() => Ok(()),
            deleted => deleted,
        }
    }
}
