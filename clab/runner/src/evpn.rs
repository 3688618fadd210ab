//! The EVPN table of a node.
//!
//! In: a node with FRR. Out: the paths of its Type-5 routes as values. It must not change anything.

use ipnet::IpNet;
use perouter::frr::show::type5::{self, Type5Path, Type5Route};
use serde_json::Value;

use crate::frr::{self, Instance};
use crate::node::{Node, NodeError};

/// One path of a Type-5 route (RFC 9136) in a node's EVPN table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FabricRoute {
    /// The prefix.
    pub prefix: IpNet,
    /// Route distinguisher.
    pub rd: String,
    /// VNI, in the label field of the NLRI.
    pub vni: u32,
    /// Route targets.
    pub route_targets: Vec<String>,
    /// Router MAC.
    pub router_mac: String,
    /// Communities (RFC 1997), well-known ones by name, and large ones (RFC 8092).
    pub communities: Vec<String>,
    /// Next hop: the VTEP.
    pub vtep: String,
    /// AS path; empty if the node originates the route.
    pub as_path: String,
}

/// All paths of Type-5 routes in a node's EVPN table, by prefix. A path without VNI or next hop is left out.
pub fn type5_routes(node: &Node) -> Result<Vec<FabricRoute>, NodeError> {
    let table = frr::show(node, Instance::Main, "show bgp l2vpn evpn route detail type prefix json")?;
    Ok(table.map(|table| fabric_routes(&table)).unwrap_or_default())
}

fn fabric_routes(table: &Value) -> Vec<FabricRoute> {
    let of_route = |route: Type5Route| {
        let Type5Route { prefix, rd, paths, .. } = route;
        paths.into_iter().filter_map(move |path| fabric_route(prefix, &rd, path))
    };
    let mut routes: Vec<FabricRoute> = type5::type5_routes(table).into_iter().flat_map(of_route).collect();
    routes.sort();
    routes
}

fn fabric_route(prefix: IpNet, rd: &str, path: Type5Path) -> Option<FabricRoute> {
    Some(FabricRoute {
        prefix,
        rd: rd.to_owned(),
        vni: path.vni?,
        route_targets: path.route_targets,
        router_mac: path.router_mac.unwrap_or_default(),
        communities: path.communities,
        vtep: path.next_hop?.to_string(),
        as_path: path.as_path,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_a_route_with_its_attributes() {
        let table = serde_json::json!({
            "100.64.0.2:2": {
                "rd": "100.64.0.2:2",
                "[5]:[0]:[24]:[192.169.20.0]": {
                    "routeType": 5, "ipLen": 24, "ip": "192.169.20.0",
                    "paths": [[{
                        "vni": "100",
                        "aspath": {"string": "64612 64521"},
                        "extendedCommunity": {"string": "RT:64521:100 ET:8 Rmac:02:40:00:02:00:64"},
                        "community": {"string": "64521:7 no-peer"},
                        "largeCommunity": {"string": "64521:1:2"},
                        "nexthops": [{"ip": "100.64.0.2"}]
                    }]]
                },
                "[5]:[0]:[0]:[::]": {"routeType": 5, "ipLen": 0, "ip": "::", "paths": []}
            },
            "numPrefix": 1
        });
        let wanted = FabricRoute {
            prefix: "192.169.20.0/24".parse().unwrap(),
            rd: "100.64.0.2:2".into(),
            vni: 100,
            route_targets: vec!["64521:100".into()],
            router_mac: "02:40:00:02:00:64".into(),
            communities: ["64521:7", "no-peer", "64521:1:2"].map(String::from).to_vec(),
            vtep: "100.64.0.2".into(),
            as_path: "64612 64521".into(),
        };
        assert_eq!(fabric_routes(&table), [wanted]);
    }
}
