//! Routes to workloads that have just moved to a bridge of this node. In: routes. Out: requests, and the routes that there are.
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
use nix::errno::Errno;

use super::error::NetlinkError;
use super::request;
use super::route::{prefix, table};
use super::socket::{Route, Socket};
use crate::types::{Family, TableId};

/// Ours: none of `/etc/iproute2/rt_protos`, and none that zebra takes for its own.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(0xf3);
/// Better than that of zebra's routes, 20.
const METRIC: u32 = 1;

/// A route to a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadRoute {
    /// The ifindex of its bridge.
    pub bridge: u32,
    /// That of the subnet that the workload is in.
    pub table: TableId,
    /// The workload.
    pub address: IpAddr,
}

impl Socket<Route> {
    /// The subnets that the bridge with this ifindex has an address in, with their tables.
    pub async fn connected_subnets(&mut self, bridge: u32) -> Result<Vec<(IpNet, TableId)>, NetlinkError> {
        let mut subnets = Vec::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            let take = |found: &mut Vec<_>, message| found.extend(connected(&message));
            subnets.extend(self.dump::<Vec<_>>(request::get_routes_over(family, bridge), take).await?);
        }
        Ok(subnets)
    }

    /// Adds a route, unless it is there.
    pub async fn add_workload_route(&mut self, route: WorkloadRoute) -> Result<(), NetlinkError> {
        match self.change(RouteNetlinkMessage::NewRoute(message(route)), NLM_F_CREATE | NLM_F_EXCL).await {
            Err(error) if error.already_exists() => Ok(()),
            result => result,
        }
    }

    /// Removes a route, if it is there.
    pub async fn delete_workload_route(&mut self, route: WorkloadRoute) -> Result<(), NetlinkError> {
        match self.change(RouteNetlinkMessage::DelRoute(message(route)), 0).await {
            Err(NetlinkError::Rejected { errno: Errno::ESRCH, .. }) => Ok(()),
            result => result,
        }
    }

    /// The routes of [`Self::add_workload_route`] in this namespace.
    pub async fn workload_routes(&mut self) -> Result<Vec<WorkloadRoute>, NetlinkError> {
        let mut routes = Vec::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            let take = |found: &mut Vec<_>, message| found.extend(workload_route(&message));
            routes.extend(self.dump::<Vec<_>>(request::get_routes_of(family, PROTOCOL), take).await?);
        }
        Ok(routes)
    }
}

/// The subnet and the table of a route that the kernel made of an address.
fn connected(message: &RouteNetlinkMessage) -> Option<(IpNet, TableId)> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let is_connected = route.header.protocol == RouteProtocol::Kernel && route.header.kind == RouteType::Unicast;
    is_connected.then(|| Some((prefix(route)?, table(route))))?
}

fn workload_route(message: &RouteNetlinkMessage) -> Option<WorkloadRoute> {
    let RouteNetlinkMessage::NewRoute(route) = message else { return None };
    let bridge = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(*index),
        _ => None,
    })?;
    // A kernel without strict checking sends all.
    let is_ours = route.header.protocol == PROTOCOL;
    is_ours.then(|| Some(WorkloadRoute { bridge, table: table(route), address: prefix(route)?.addr() }))?
}

fn message(WorkloadRoute { bridge, table, address }: WorkloadRoute) -> RouteMessage {
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
        RouteAttribute::Oif(bridge),
        RouteAttribute::Table(table.0),
        RouteAttribute::Priority(METRIC),
    ];
    route
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_is_that_of_a_route_that_the_kernel_made() {
        let mut route = RouteMessage::default();
        route.header.kind = RouteType::Unicast;
        route.header.protocol = RouteProtocol::Kernel;
        route.header.destination_prefix_length = 24;
        route.attributes = vec![
            RouteAttribute::Destination(RouteAddress::Inet("10.110.0.0".parse().unwrap())),
            RouteAttribute::Table(1100),
        ];
        let subnet = |route: &RouteMessage| connected(&RouteNetlinkMessage::NewRoute(route.clone()));
        assert_eq!(subnet(&route), Some(("10.110.0.0/24".parse().unwrap(), TableId(1100))));
        let mut other = route.clone();
        other.header.protocol = RouteProtocol::Bgp;
        assert_eq!(subnet(&other), None);
        route.header.kind = RouteType::Local;
        assert_eq!(subnet(&route), None);
    }

    #[test]
    fn a_route_of_ours_is_read_as_it_was_made() {
        for address in ["10.110.0.11", "2001:db8:110::11"] {
            let route = WorkloadRoute { bridge: 7, table: TableId(1100), address: address.parse().unwrap() };
            assert_eq!(workload_route(&RouteNetlinkMessage::NewRoute(message(route))), Some(route));
        }
    }
}
