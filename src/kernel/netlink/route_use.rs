//! What the routes over a NIC are needed for. In: a socket of its namespace, and addresses that the node must reach. Out:
//! [`RouteUse`]. Judges nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteMessage, RouteProtocol, RouteType};
use nix::errno::Errno;

use super::error::NetlinkError;
use super::request;
use super::saved::devices;
use super::socket::{Route, Socket};
use crate::kernel::model::RouteUse;
use crate::types::Family;

/// `RTPROT_DHCP` of `linux/rtnetlink.h`
const DHCP: RouteProtocol = RouteProtocol::Dhcp;
/// `RT_TABLE_MAIN`
const MAIN: u8 = 254;

impl Socket<Route> {
    /// What the routes over the link with this ifindex are needed for.
    pub async fn route_use(&mut self, index: u32, api_servers: &BTreeSet<IpAddr>) -> Result<RouteUse, NetlinkError> {
        let mut found = RouteUse::default();
        for family in [Family::Ipv4, Family::Ipv6] {
            let over: Vec<RouteMessage> = self.dump(request::get_routes_over(family, index), push).await?;
            found.dhcp |= over.iter().any(|route| route.header.protocol == DHCP);
            // The whole table, which may be large, is read where it matters only.
            if over.iter().any(is_default) && self.is_only_default(family, index).await? {
                found.only_default.insert(family);
            }
        }
        for address in api_servers {
            if self.is_reached_over(*address, index).await? {
                found.api_servers.insert(*address);
            }
        }
        Ok(found)
    }

    async fn is_only_default(&mut self, family: Family, index: u32) -> Result<bool, NetlinkError> {
        let defaults = |routes: &mut Vec<RouteMessage>, message| {
            if let RouteNetlinkMessage::NewRoute(route) = message
                && is_default(&route)
            {
                routes.push(route);
            }
        };
        let defaults: Vec<RouteMessage> = self.dump(request::get_main_routes(family), defaults).await?;
        Ok(is_only_over(&defaults, index))
    }

    /// Ifindexes of the links over which the kernel reaches an address; none where no route covers it.
    pub async fn links_to(&mut self, address: IpAddr) -> Result<BTreeSet<u32>, NetlinkError> {
        let links = |message: &RouteNetlinkMessage| match message {
            RouteNetlinkMessage::NewRoute(route) => devices(route),
            _ => BTreeSet::new(),
        };
        match self.get(request::get_route_to(address)).await {
            Ok(messages) => Ok(messages.iter().flat_map(links).collect()),
            // The host may have no such family.
            Err(NetlinkError::Rejected { errno, .. }) if is_unreachable(errno) => Ok(BTreeSet::new()),
            Err(error) => Err(error),
        }
    }

    async fn is_reached_over(&mut self, address: IpAddr, index: u32) -> Result<bool, NetlinkError> {
        Ok(self.links_to(address).await?.contains(&index))
    }
}

fn push(routes: &mut Vec<RouteMessage>, message: RouteNetlinkMessage) {
    if let RouteNetlinkMessage::NewRoute(route) = message {
        routes.push(route);
    }
}

fn is_unreachable(errno: Errno) -> bool {
    use Errno::{EACCES, EAFNOSUPPORT, EHOSTUNREACH, EINVAL, ENETUNREACH, EOPNOTSUPP};
    matches!(errno, EACCES | EAFNOSUPPORT | EHOSTUNREACH | EINVAL | ENETUNREACH | EOPNOTSUPP)
}

fn is_default(route: &RouteMessage) -> bool {
    route.header.destination_prefix_length == 0 && route.header.table == MAIN && route.header.kind == RouteType::Unicast
}

/// Whether all of these routes go over one link. One with a path over another link is not lost with it.
fn is_only_over(routes: &[RouteMessage], index: u32) -> bool {
    !routes.is_empty() && routes.iter().all(|route| devices(route) == BTreeSet::from([index]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_route::route::{RouteAttribute, RouteNextHop};

    fn default_over(indexes: &[u32]) -> RouteMessage {
        let mut route = RouteMessage::default();
        (route.header.table, route.header.kind) = (MAIN, RouteType::Unicast);
        if let [index] = indexes {
            route.attributes.push(RouteAttribute::Oif(*index));
        } else {
            let hop = |index: &u32| {
                let mut hop = RouteNextHop::default();
                hop.interface_index = *index;
                hop
            };
            route.attributes.push(RouteAttribute::MultiPath(indexes.iter().map(hop).collect()));
        }
        route
    }

    #[test]
    fn a_default_route_with_a_path_over_another_link_is_not_lost() {
        assert!(is_only_over(&[default_over(&[2])], 2));
        assert!(is_only_over(&[default_over(&[2]), default_over(&[2])], 2));
        assert!(!is_only_over(&[default_over(&[2]), default_over(&[3])], 2));
        assert!(!is_only_over(&[default_over(&[2, 3])], 2));
        assert!(!is_only_over(&[], 2));
    }
}
