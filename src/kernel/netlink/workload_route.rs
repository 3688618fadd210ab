//! Routes to workloads that have just moved to a bridge of this node. In: the ifindex of the bridge, and addresses. Out: requests.
//!
//! A node that a workload comes to has a host route of zebra to the node that it left, until that one has withdrawn its route, and
//! packets go back and forth between the two: bgpd does not import into a VRF what its own node originates (frr#16161), so
//! that nothing precedes that route. A route with a better metric does.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};

use super::error::NetlinkError;
use super::request::{self, Request};
use super::socket::{Route, Socket};
use crate::types::{Family, TableId};

/// Ours: none of `/etc/iproute2/rt_protos`, and none that zebra takes for its own.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0xf3);
/// Better than that of zebra's routes, 20.
const METRIC: u32 = 1;

impl Socket<Route> {
    /// Routes an address to the bridge with this ifindex, in the table of its subnet; nothing where the bridge has no such subnet.
    pub async fn add_workload_route(&mut self, index: u32, address: IpAddr) -> Result<(), NetlinkError> {
        let family = Family::of(&address.into());
        let take = |tables: &mut Vec<TableId>, message| tables.extend(connected(&message, address));
        let tables = self.dump::<Vec<_>>(request::get_routes_over(family, index), take).await?;
        for table in tables {
            let Request { message, flags } = add(index, table, address);
            match self.change(message, flags).await {
                Err(error) if error.already_exists() => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Removes the routes of [`Self::add_workload_route`] to one address, or to all.
    pub async fn delete_workload_routes(&mut self, index: u32, address: Option<IpAddr>) -> Result<(), NetlinkError> {
        for family in [Family::Ipv4, Family::Ipv6] {
            let take = |routes: &mut Vec<RouteMessage>, message| match message {
                RouteNetlinkMessage::NewRoute(route) if route.header.protocol == PROTOCOL => routes.push(route),
                _ => {}
            };
            let routes = self.dump::<Vec<_>>(request::get_routes_over(family, index), take).await?;
            for route in routes {
                let is_meant = address.is_none_or(|address| prefix(&route) == Some(IpNet::from(address)));
                if is_meant {
                    match self.change(RouteNetlinkMessage::DelRoute(route), 0).await {
                        Err(error) if error.is_absent() => {}
                        result => result?,
                    }
                }
            }
        }
        Ok(())
    }
}

fn prefix(route: &RouteMessage) -> Option<IpNet> {
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(IpAddr::V4(*address)),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some(IpAddr::V6(*address)),
        _ => None,
    })?;
    IpNet::new(address, route.header.destination_prefix_length).ok()
}

/// The table of a route to a subnet with this address in it.
fn connected(message: &RouteNetlinkMessage, address: IpAddr) -> Option<TableId> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(TableId(*table)),
        _ => None,
    })?;
    let is_connected = route.header.protocol == RouteProtocol::Kernel && route.header.kind == RouteType::Unicast;
    (is_connected && prefix(route)?.contains(&address)).then_some(table)
}

fn add(index: u32, table: TableId, address: IpAddr) -> Request {
    let mut route = RouteMessage::default();
    let (family, destination, scope) = match address {
        IpAddr::V4(address) => (Family::Ipv4, RouteAddress::Inet(address), RouteScope::Link),
        IpAddr::V6(address) => (Family::Ipv6, RouteAddress::Inet6(address), RouteScope::Universe),
    };
    route.header.address_family = request::address_family(family);
    route.header.destination_prefix_length = IpNet::from(address).prefix_len();
    route.header.table = RouteHeader::RT_TABLE_UNSPEC;
    route.header.protocol = PROTOCOL;
    route.header.scope = scope;
    route.header.kind = RouteType::Unicast;
    route.attributes = vec![
        RouteAttribute::Destination(destination),
        RouteAttribute::Oif(index),
        RouteAttribute::Table(table.0),
        RouteAttribute::Priority(METRIC),
    ];
    Request { message: RouteNetlinkMessage::NewRoute(route), flags: NLM_F_CREATE | NLM_F_EXCL }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_that_of_the_subnet_of_the_address() {
        let mut route = RouteMessage::default();
        route.header.kind = RouteType::Unicast;
        route.header.protocol = RouteProtocol::Kernel;
        route.header.destination_prefix_length = 24;
        route.attributes = vec![
            RouteAttribute::Destination(RouteAddress::Inet("10.110.0.0".parse().unwrap())),
            RouteAttribute::Table(1100),
        ];
        let table = |route: &RouteMessage, address: &str| {
            connected(&RouteNetlinkMessage::NewRoute(route.clone()), address.parse().unwrap())
        };
        assert_eq!(table(&route, "10.110.0.11"), Some(TableId(1100)));
        assert_eq!(table(&route, "10.111.0.11"), None);
        assert_eq!(table(&route, "2001:db8::11"), None);
        let mut other = route.clone();
        other.header.protocol = RouteProtocol::Bgp;
        assert_eq!(table(&other, "10.110.0.11"), None);
        route.header.kind = RouteType::Local;
        assert_eq!(table(&route, "10.110.0.11"), None);
    }
}
