//! EVPN Type-5 routes as bgpd prints them. In: the JSON of `show bgp l2vpn evpn route … json`. Out: [`Type5Route`]s with
//! all their paths, of this node and of others. Pure. It must not select or rank them: that is up to the caller. The lab
//! reads the tables of its leaves with it.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;

use super::json::{ShowError, json};

/// An IP prefix route (RFC 9136) of one route distinguisher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type5Route {
    /// The prefix.
    pub prefix: IpNet,
    /// Route distinguisher.
    pub rd: String,
    /// Sessions that it is advertised to, where FRR prints them.
    pub advertised_to: Vec<String>,
    /// Its paths in FRR's order.
    pub paths: Vec<Type5Path>,
}

/// A path of a [`Type5Route`]. A field that FRR does not print is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Type5Path {
    /// VNI, in the label field of the NLRI.
    pub vni: Option<u32>,
    /// Route targets.
    pub route_targets: Vec<String>,
    /// Router MAC, the destination of the inner Ethernet header.
    pub router_mac: Option<String>,
    /// Communities (RFC 1997), well-known ones by name, and large ones (RFC 8092).
    pub communities: Vec<String>,
    /// Next hop: the VTEP.
    pub next_hop: Option<IpAddr>,
    /// AS path as FRR prints it; empty for a local route.
    pub as_path: String,
}

/// bgpd: all Type-5 routes with all paths.
pub const SHOW_ALL_TYPE5: &str = "show bgp l2vpn evpn route detail type prefix json";

/// Reads [`SHOW_ALL_TYPE5`].
///
/// # Errors
/// If the text is not JSON.
pub fn all_type5(text: &str) -> Result<Vec<Type5Route>, ShowError> {
    Ok(type5_routes(&json(SHOW_ALL_TYPE5, text)?))
}

/// All Type-5 routes of a table, by route distinguisher. Other route types are ignored.
pub fn type5_routes(table: &Value) -> Vec<Type5Route> {
    let of_rd = |(rd, routes): (&String, &Value)| -> Vec<Type5Route> {
        routes.as_object().into_iter().flat_map(|routes| routes.values()).filter_map(|entry| route(rd, entry)).collect()
    };
    table.as_object().into_iter().flatten().flat_map(of_rd).collect()
}

fn route(rd: &str, entry: &Value) -> Option<Type5Route> {
    if entry["routeType"].as_u64() != Some(5) {
        return None;
    }
    let address: IpAddr = entry["ip"].as_str()?.parse().ok()?;
    let length = u8::try_from(entry["ipLen"].as_u64()?).ok()?;
    Some(Type5Route {
        prefix: IpNet::new(address, length).ok()?,
        rd: rd.to_owned(),
        advertised_to: advertised_to(entry),
        paths: paths(entry).map(path).collect(),
    })
}

pub(super) fn advertised_to(entry: &Value) -> Vec<String> {
    let peers = entry["advertisedTo"].as_object().into_iter().flatten().filter(|(_, peer)| peer.is_object());
    peers.map(|(peer, _)| peer.clone()).collect()
}

/// A list of paths, or of lists of paths.
pub(super) fn paths(entry: &Value) -> impl Iterator<Item = &Value> {
    entry["paths"].as_array().into_iter().flatten().flat_map(|item| match item {
        Value::Array(paths) => paths.as_slice(),
        path => std::slice::from_ref(path),
    })
}

pub(super) fn path(entry: &Value) -> Type5Path {
    let words = |key: &str| entry[key]["string"].as_str().unwrap_or_default().split_whitespace();
    let extended = |mark: &'static str| words("extendedCommunity").filter_map(move |word| word.strip_prefix(mark));
    // A string in FRR 8, a number in later releases.
    let vni = entry["vni"].as_u64().or_else(|| entry["vni"].as_str()?.parse().ok());
    let as_path = entry["aspath"]["string"].as_str().filter(|path| *path != "Local").unwrap_or_default();
    Type5Path {
        vni: vni.and_then(|vni| vni.try_into().ok()),
        route_targets: extended("RT:").map(str::to_owned).collect(),
        router_mac: extended("Rmac:").next().map(str::to_owned),
        communities: words("community").chain(words("largeCommunity")).map(str::to_owned).collect(),
        next_hop: entry["nexthops"][0]["ip"].as_str().and_then(|ip| ip.parse().ok()),
        as_path: as_path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_read_with_all_paths_and_attributes() {
        let table = serde_json::json!({
            "100.64.0.2:2": {
                "rd": "100.64.0.2:2",
                "[5]:[0]:[24]:[192.169.20.0]": {
                    "routeType": 5, "ipLen": 24, "ip": "192.169.20.0", "advertisedTo": {"192.168.1.0": {}},
                    "paths": [[{
                        "vni": "100",
                        "aspath": {"string": "64612 64521"},
                        "extendedCommunity": {"string": "RT:64521:100 ET:8 Rmac:02:40:00:02:00:64"},
                        "community": {"string": "64521:7 no-peer"},
                        "largeCommunity": {"string": "64521:1:2"},
                        "nexthops": [{"ip": "100.64.0.2"}]
                    }], {"vni": 100, "aspath": {"string": "Local"}}]
                },
                "[5]:[0]:[0]:[::]": {"routeType": 5, "ipLen": 0, "ip": "::", "paths": []},
                "[3]:[0]:[32]:[100.65.0.2]": {"routeType": 3, "ip": "100.65.0.2", "ipLen": 32, "paths": []}
            },
            "numPrefix": 1
        });
        let received = Type5Path {
            vni: Some(100),
            route_targets: vec!["64521:100".into()],
            router_mac: Some("02:40:00:02:00:64".into()),
            communities: ["64521:7", "no-peer", "64521:1:2"].map(String::from).to_vec(),
            next_hop: "100.64.0.2".parse().ok(),
            as_path: "64612 64521".into(),
        };
        let local = Type5Path { vni: Some(100), ..Type5Path::default() };
        let route = |prefix: &str, peers: &[&str], paths| Type5Route {
            prefix: prefix.parse().unwrap(),
            rd: "100.64.0.2:2".into(),
            advertised_to: peers.iter().map(ToString::to_string).collect(),
            paths,
        };
        let wanted = [route("::/0", &[], vec![]), route("192.169.20.0/24", &["192.168.1.0"], vec![received, local])];
        assert_eq!(type5_routes(&table), wanted);
    }
}
