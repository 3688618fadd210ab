//! The routes of a namespace that its administrator has set: by hand, by its network configuration, or by DHCP. In: a socket of
//! the namespace. Out: [`StaticRoute`]s. Routes of the kernel and of routing daemons are none. Judges nothing.

use std::collections::BTreeSet;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteMessage, RouteProtocol};

use super::contents::StaticRoute;
use super::error::NetlinkError;
use super::request;
use super::route::{prefix, table};
use super::saved::devices;
use super::socket::{Route, Socket};
use crate::types::Family;

/// `ip route add`, network configuration, DHCP client.
const PROTOCOLS: [RouteProtocol; 3] = [RouteProtocol::Boot, RouteProtocol::Static, RouteProtocol::Dhcp];

impl Socket<Route> {
    /// The static routes but for default routes. The kernel walks all routes and sends only those of a protocol.
    pub async fn static_routes(&mut self) -> Result<BTreeSet<StaticRoute>, NetlinkError> {
        let mut found = BTreeSet::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            for protocol in PROTOCOLS {
                let take = |routes: &mut Vec<StaticRoute>, message| {
                    if let RouteNetlinkMessage::NewRoute(route) = message
                        && route.header.protocol == protocol
                    {
                        routes.extend(static_route(&route));
                    }
                };
                found.extend(self.dump::<Vec<_>>(request::get_routes_of(family, protocol), take).await?);
            }
        }
        Ok(found)
    }
}

/// `None` for a default route.
fn static_route(route: &RouteMessage) -> Option<StaticRoute> {
    Some(StaticRoute { prefix: prefix(route)?, table: table(route), devices: devices(route) })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::{RouteAddress, RouteAttribute};

    use super::*;
    use crate::types::TableId;

    #[test]
    fn a_static_route_has_its_prefix_table_and_devices() {
        let mut route = RouteMessage::default();
        (route.header.destination_prefix_length, route.header.table) = (16, 254);
        assert_eq!(static_route(&route), None, "the default route");
        let destination = RouteAddress::Inet("10.1.0.0".parse().unwrap());
        route.attributes = vec![RouteAttribute::Destination(destination), RouteAttribute::Oif(3)];
        let prefix = "10.1.0.0/16".parse().unwrap();
        let expected = StaticRoute { prefix, table: TableId(254), devices: [3].into() };
        assert_eq!(static_route(&route), Some(expected.clone()));
        route.attributes.push(RouteAttribute::Table(1001));
        assert_eq!(static_route(&route), Some(StaticRoute { table: TableId(1001), ..expected }));
    }
}
