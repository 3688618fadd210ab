//! EVPN MAC/IP routes (Type-2) of this node as bgpd prints them. In: the JSON of [`super::route::show_type5`] for the route
//! distinguisher of an L2VNI. Out: [`Type2`]s by IP address. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::Value;

use super::json::{ShowError, json};
use super::type5::{Type5Path, advertised_to, path, paths};
use crate::types::MacAddr;

/// A MAC/IP route (RFC 7432 section 7.2) with an IP address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Type2 {
    /// MAC address.
    pub mac: MacAddr,
    /// Mobility sequence number; 0 where the route has none.
    pub sequence: u64,
    /// Route distinguisher.
    pub rd: String,
    /// Route targets: that of the L2VNI, and with a routing domain that of the IP-VRF.
    pub route_targets: Vec<String>,
    /// MAC of the bridge of the L3VNI, for routed packets; only with a routing domain.
    pub router_mac: Option<String>,
    /// The VTEP.
    pub next_hop: Option<IpAddr>,
    /// Fabric sessions to which it is advertised.
    pub advertised_to: Vec<String>,
}

/// Reads them. Routes without an IP address are ignored.
///
/// # Errors
/// If the text is not JSON.
pub fn type2(text: &str) -> Result<BTreeMap<IpAddr, Type2>, ShowError> {
    let table = json("show bgp l2vpn evpn route rd RD json", text)?;
    let of_rd = |(rd, routes): (&String, &Value)| {
        let entries = routes.as_object().into_iter().flat_map(|routes| routes.values());
        entries.filter_map(|entry| route(rd, entry)).collect::<Vec<_>>()
    };
    Ok(table.as_object().into_iter().flatten().flat_map(of_rd).collect())
}

fn route(rd: &str, entry: &Value) -> Option<(IpAddr, Type2)> {
    if entry["routeType"].as_u64() != Some(2) {
        return None;
    }
    let (address, mac) = (entry["ip"].as_str()?.parse().ok()?, entry["mac"].as_str()?.parse().ok()?);
    let first = paths(entry).next();
    let Type5Path { route_targets, router_mac, next_hop, .. } = first.map(path).unwrap_or_default();
    let communities = first.and_then(|path| path["extendedCommunity"]["string"].as_str()).unwrap_or_default();
    let sequence = communities.split_whitespace().find_map(|word| word.strip_prefix("MM:")?.parse().ok());
    let route = Type2 {
        mac,
        sequence: sequence.unwrap_or_default(),
        rd: rd.to_owned(),
        route_targets,
        router_mac,
        next_hop,
        advertised_to: advertised_to(entry),
    };
    Some((address, route))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_with_an_address_are_read_and_others_ignored() {
        let path = |communities: &str| {
            serde_json::json!([[{
                "vni": "110/100", "aspath": {"string": "Local"}, "valid": true, "sourced": true,
                "extendedCommunity": {"string": communities}, "nexthops": [{"ip": "100.65.0.2", "afi": "ipv4"}],
                "peer": {"peerId": "0.0.0.0", "routerId": "100.65.0.2"}
            }]])
        };
        let mac = "0a:58:00:00:00:11";
        // FRR 8.4.4 and 10.7.1.
        let table = serde_json::json!({
            "100.65.0.1:3": {},
            "100.65.0.2:4": {
                "rd": "100.65.0.2:4",
                "[2]:[0]:[48]:[0a:58:00:00:00:11]": {
                    "routeType": 2, "macLen": 48, "mac": mac, "advertisedTo": {}, "paths": path("ET:8 RT:64502:110 MM:1")
                },
                "[2]:[0]:[48]:[0a:58:00:00:00:11]:[32]:[10.110.0.11]": {
                    "routeType": 2, "macLen": 48, "mac": mac, "ipLen": 32, "ip": "10.110.0.11",
                    "advertisedTo": {"192.168.50.1": {"hostname": "vm"}},
                    "paths": path("ET:8 RT:64502:110 RT:1:100 Rmac:02:00:64:41:00:02 MM:1")
                },
                "[2]:[0]:[48]:[0a:58:00:00:00:11]:[128]:[fd00:110::11]": {
                    "routeType": 2, "macLen": 48, "mac": mac, "ipLen": 128, "ip": "fd00:110::11",
                    "paths": path("ET:8 RT:64502:110")
                },
                "[3]:[0]:[32]:[100.65.0.2]": {"routeType": 3, "ip": "100.65.0.2", "ipLen": 32, "paths": []}
            },
            "numPrefix": 4
        });
        let route = |sequence, targets: &[&str], router_mac: Option<&str>, peers: &[&str]| Type2 {
            mac: mac.parse().unwrap(),
            sequence,
            rd: "100.65.0.2:4".into(),
            route_targets: targets.iter().map(ToString::to_string).collect(),
            router_mac: router_mac.map(str::to_owned),
            next_hop: "100.65.0.2".parse().ok(),
            advertised_to: peers.iter().map(ToString::to_string).collect(),
        };
        let wanted = BTreeMap::from([
            (
                "10.110.0.11".parse().unwrap(),
                route(1, &["64502:110", "1:100"], Some("02:00:64:41:00:02"), &["192.168.50.1"]),
            ),
            ("fd00:110::11".parse().unwrap(), route(0, &["64502:110"], None, &[])),
        ]);
        assert_eq!(type2(&table.to_string()).unwrap(), wanted);
    }
}
