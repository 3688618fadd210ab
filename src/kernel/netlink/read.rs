//! Reads the contents of a network namespace. In: a socket of it. Out: links, addresses, unreachable routes and rules. Changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, LazyLock};

use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourFlags;
use nix::errno::Errno;

use super::contents::{ObservedAddress, ObservedLink, is_local_last, unreachable_tables};
use super::error::NetlinkError;
use super::neighbor::mac_of;
use super::socket::{Route, Socket};
use super::{request, rule};
use crate::kernel::model::IpUse;
use crate::types::{Family, MacAddr, TableId};

/// A link of the running kernel.
fn observed(message: &LinkMessage) -> ObservedLink {
    /// The kernel has it, in each namespace.
    static HAS_UNTRACKED_NA: LazyLock<bool> =
        LazyLock::new(|| Path::new("/proc/sys/net/ipv6/conf/default/accept_untracked_na").exists());
    let link = ObservedLink::new(message);
    match link.ip {
        IpUse::Gateway if link.drops_untracked && *HAS_UNTRACKED_NA => ObservedLink { ip: IpUse::Routed, ..link },
        _ => link,
    }
}

impl Socket<Route> {
    /// The link with this name, with its ifindex.
    pub async fn link(&mut self, name: &str) -> Result<Option<(u32, ObservedLink)>, NetlinkError> {
        self.one_link(request::get_link(name)).await
    }

    /// The link with this ifindex.
    pub async fn link_at(&mut self, index: u32) -> Result<Option<ObservedLink>, NetlinkError> {
        Ok(self.one_link(request::get_link_at(index)).await?.map(|(_, link)| link))
    }

    async fn one_link(&mut self, request: RouteNetlinkMessage) -> Result<Option<(u32, ObservedLink)>, NetlinkError> {
        let messages = match self.get(request).await {
            Err(NetlinkError::Rejected { errno: Errno::ENODEV, .. }) => return Ok(None),
            other => other?,
        };
        let link = messages.iter().find_map(|message| match message {
            RouteNetlinkMessage::NewLink(link) => Some((link.header.index, observed(link))),
            _ => None,
        });
        link.map(Some).ok_or(NetlinkError::Incomplete("link"))
    }

    /// All links by ifindex, without addresses.
    pub async fn links(&mut self) -> Result<BTreeMap<u32, Arc<ObservedLink>>, NetlinkError> {
        let take = |links: &mut BTreeMap<u32, Arc<ObservedLink>>, message| {
            if let RouteNetlinkMessage::NewLink(message) = message {
                links.insert(message.header.index, Arc::new(observed(&message)));
            }
        };
        self.dump(request::get_links(), take).await
    }

    /// The MAC addresses to which each VXLAN device has a VTEP, by ifindex. The bridge has entries of its own for the device as its
    /// port, which do not show that.
    pub async fn fdbs(&mut self) -> Result<BTreeMap<u32, BTreeSet<MacAddr>>, NetlinkError> {
        let take = |macs: &mut BTreeMap<u32, BTreeSet<MacAddr>>, message| {
            if let RouteNetlinkMessage::NewNeighbour(message) = message
                && message.header.flags.contains(NeighbourFlags::Own)
            {
                macs.entry(message.header.ifindex).or_default().extend(mac_of(&message));
            }
        };
        self.dump(request::get_neighbors(AddressFamily::Bridge), take).await
    }

    /// All addresses with the ifindexes of their links.
    pub async fn addresses(&mut self) -> Result<Vec<(u32, ObservedAddress)>, NetlinkError> {
        let take = |addresses: &mut Vec<_>, message| {
            if let RouteNetlinkMessage::NewAddress(message) = message {
                addresses.extend(ObservedAddress::of(&message));
            }
        };
        self.dump(request::get_addresses(), take).await
    }

    /// The VRF tables with our unreachable default route. The kernel walks all routes but sends only those of that type.
    pub async fn unreachable(&mut self, family: Family) -> Result<BTreeSet<(TableId, Family)>, NetlinkError> {
        let routes = self.dump(request::get_unreachable_routes(family), Vec::push).await?;
        Ok(unreachable_tables(family, &routes))
    }

    /// Whether table `local` is looked up after those of VRFs. A kernel without rules, or without IPv6, has no VRF devices of
    /// that family either.
    pub async fn is_local_last(&mut self, family: Family) -> Result<bool, NetlinkError> {
        match self.dump(rule::get(family), Vec::push).await {
            Err(NetlinkError::Rejected { errno: Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP, .. }) => Ok(false),
            rules => Ok(is_local_last(&rules?)),
        }
    }
}
