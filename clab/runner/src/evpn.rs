//! The EVPN table of a node.
//!
//! In: a node with FRR, or FRR's JSON. Out: its Type-5 routes as values. It must not change anything.

use ipnet::IpNet;
use serde_json::Value;

use crate::frr::{self, Instance};
use crate::node::{Node, NodeError};

/// One path of an IP prefix route (RFC 9136).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Type5 {
    /// The prefix.
    pub prefix: IpNet,
    /// Route distinguisher.
    pub rd: String,
    /// VNI, in the NLRI's label field.
    pub vni: u32,
    /// Route targets.
    pub route_targets: Vec<String>,
    /// Router MAC.
    pub router_mac: String,
    /// Communities (RFC 1997), well-known ones by name, and large ones (RFC 8092).
    pub communities: Vec<String>,
    /// Next hop: the VTEP.
    pub vtep: String,
    /// AS path; empty when the route is the router's own.
    pub as_path: String,
}

/// All Type-5 routes in a node's EVPN table, by prefix.
pub fn type5_routes(node: &Node) -> Result<Vec<Type5>, NodeError> {
    let table = frr::show(node, Instance::Main, "show bgp l2vpn evpn route detail type prefix json")?;
    Ok(table.map(|table| read_type5(&table)).unwrap_or_default())
}

/// Reads `show bgp l2vpn evpn route detail type prefix json`.
pub fn read_type5(table: &Value) -> Vec<Type5> {
    let per_rd = table.as_object().into_iter().flatten().filter_map(|(rd, routes)| Some((rd, routes.as_object()?)));
    let per_route = per_rd.flat_map(|(rd, routes)| routes.values().map(move |route| (rd, route)));
    let mut routes: Vec<Type5> = per_route.flat_map(|(rd, route)| paths(rd, route)).collect();
    routes.sort();
    routes
}

/// A route's paths are lists of one or more lists.
fn paths<'v>(rd: &'v str, route: &'v Value) -> impl Iterator<Item = Type5> + 'v {
    let all = route["paths"].as_array().into_iter().flatten().flat_map(|path| match path {
        Value::Array(inner) => inner.iter().collect(),
        single => vec![single],
    });
    all.filter_map(move |path| type5(rd, route, path))
}

fn type5(rd: &str, route: &Value, path: &Value) -> Option<Type5> {
    let address = route["ip"].as_str()?.parse().ok()?;
    let length = u8::try_from(route["ipLen"].as_u64()?).ok()?;
    let words = |kind: &str| path[kind]["string"].as_str().unwrap_or_default().split_whitespace();
    let marked = |mark: &str| {
        let values = words("extendedCommunity").filter_map(|word| word.strip_prefix(mark));
        values.map(ToOwned::to_owned).collect::<Vec<_>>()
    };
    let as_path = path["aspath"]["string"].as_str().filter(|path| *path != "Local").unwrap_or_default();
    Some(Type5 {
        prefix: IpNet::new(address, length).ok()?,
        rd: rd.to_owned(),
        // A string in FRR 8, a number in later ones.
        vni: path["vni"].as_u64().or_else(|| path["vni"].as_str()?.parse().ok())?.try_into().ok()?,
        route_targets: marked("RT:"),
        router_mac: marked("Rmac:").into_iter().next().unwrap_or_default(),
        communities: words("community").chain(words("largeCommunity")).map(ToOwned::to_owned).collect(),
        vtep: path["nexthops"][0]["ip"].as_str()?.to_owned(),
        as_path: as_path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_whole() {
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
        let wanted = Type5 {
            prefix: "192.169.20.0/24".parse().unwrap(),
            rd: "100.64.0.2:2".into(),
            vni: 100,
            route_targets: vec!["64521:100".into()],
            router_mac: "02:40:00:02:00:64".into(),
            communities: ["64521:7", "no-peer", "64521:1:2"].map(String::from).to_vec(),
            vtep: "100.64.0.2".into(),
            as_path: "64612 64521".into(),
        };
        assert_eq!(read_type5(&table), [wanted]);
    }
}
