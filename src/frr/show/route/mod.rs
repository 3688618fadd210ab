//! Routes of IP-VRFs in bgpd and zebra. In: the JSON of the `show` commands here. Out: paths, matches, Type-5 routes and
//! filtered prefixes. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;
use serde_json::Value;

use super::json::{ShowError, json};
use super::type5::{Type5Path, Type5Route, type5_routes};
use crate::types::{Asn, Family, VrfName};

/// A route of a session that is received, and may be filtered or rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedRoute {
    /// Its prefix.
    pub prefix: IpNet,
    /// Its next hop; of two that of global scope.
    pub next_hop: Option<IpAddr>,
    /// AS numbers as FRR prints them, the nearest first.
    pub as_path: String,
}

/// The AS numbers of an AS path as FRR prints it, the nearest first.
pub fn as_numbers(as_path: &str) -> impl Iterator<Item = Asn> {
    let words = as_path.split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| Asn::try_from(word.parse::<u32>().ok()?).ok())
}

/// Whether an AS path contains an AS number.
pub fn has_asn(as_path: &str, asn: Asn) -> bool {
    as_numbers(as_path).any(|found| found == asn)
}

/// bgpd: the routes of a session that its filter rejects, in one family. `None` is the default instance.
pub fn show_filtered(vrf: Option<&VrfName>, family: Family, peer: &str) -> String {
    let instance = vrf.map(|vrf| format!("vrf {vrf} ")).unwrap_or_default();
    format!("show bgp {instance}{family} unicast neighbors {peer} filtered-routes json")
}

/// bgpd: the routes of a session, also those that its filter or the AS-path check rejects, in one family.
pub fn show_received(vrf: &VrfName, family: Family, peer: &str) -> String {
    format!("show bgp vrf {vrf} {family} unicast neighbors {peer} received-routes json")
}

/// Reads [`show_filtered`]. FRR lists them as `receivedRoutes`.
///
/// # Errors
/// If the text is not JSON.
pub fn filtered(text: &str) -> Result<Vec<ReceivedRoute>, ShowError> {
    Ok(received_routes(&json("show bgp vrf VRF neighbors PEER filtered-routes json", text)?))
}

/// Reads [`show_received`].
///
/// # Errors
/// If the text is not JSON.
pub fn received(text: &str) -> Result<Vec<ReceivedRoute>, ShowError> {
    Ok(received_routes(&json("show bgp vrf VRF neighbors PEER received-routes json", text)?))
}

fn received_routes(routes: &Value) -> Vec<ReceivedRoute> {
    let route = |(prefix, entry): (&String, &Value)| {
        let next_hop = ["nextHop", "nextHopGlobal"].iter().find_map(|key| entry[key].as_str()?.parse().ok());
        let as_path = entry["path"].as_str().unwrap_or_default().to_owned();
        entry.is_object().then_some(ReceivedRoute { prefix: prefix.parse().ok()?, next_hop, as_path })
    };
    routes["receivedRoutes"].as_object().into_iter().flatten().filter_map(route).collect()
}

/// The origin of a path in a VRF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// A host session.
    Host,
    /// A Type-5 route of the fabric.
    Fabric,
    /// The router itself: the host's session address, subnets of L2VNIs, aggregates.
    Router,
    /// A workload of an L2 segment behind this node.
    Segment,
}

impl Origin {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Fabric => "fabric",
            Self::Router => "router",
            Self::Segment => "segment",
        }
    }
}

/// A path in a VRF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Path {
    /// Its origin.
    pub origin: Origin,
    /// The session on which it was received; empty for those of the router.
    pub peer: String,
    /// Next hops: addresses of the host, or VTEPs.
    pub next_hops: Vec<IpAddr>,
    /// AS numbers as FRR prints them, the nearest first.
    pub as_path: String,
    /// Forwarding uses it.
    pub best: bool,
    /// Its next hop can be reached and its AS path has no loop.
    pub valid: bool,
    /// As FRR prints them; only for a single prefix.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
}

fn path(entry: &Value) -> Path {
    let flag = |key: &str| entry[key].as_bool() == Some(true);
    let peer = entry["peerId"].as_str().or_else(|| entry["peer"]["peerId"].as_str()).unwrap_or_default();
    let is_local = peer == "(unspec)" || peer.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    let origin = match (flag("announceNexthopSelf"), is_local) {
        (true, _) => Origin::Fabric,
        (_, true) => Origin::Router,
        _ => Origin::Host,
    };
    let hops = entry["nexthops"].as_array().into_iter().flatten();
    let as_path = entry["path"].as_str().or_else(|| entry["aspath"]["string"].as_str()).unwrap_or_default();
    let communities = entry["community"]["string"].as_str().unwrap_or_default();
    Path {
        origin,
        peer: if is_local { String::new() } else { peer.to_owned() },
        next_hops: hops.filter_map(|hop| address(&hop["ip"])).filter(|ip| !ip.is_unspecified()).collect(),
        as_path: if as_path == "Local" { String::new() } else { as_path.to_owned() },
        best: flag("bestpath") || entry["bestpath"]["overall"].as_bool() == Some(true) || flag("multipath"),
        valid: flag("valid"),
        communities: communities.split_whitespace().map(str::to_owned).collect(),
    }
}

/// The IPv4 VTEP of an IPv6 route is an IPv4-mapped address in FRR.
fn address(text: &Value) -> Option<IpAddr> {
    Some(text.as_str()?.parse::<IpAddr>().ok()?.to_canonical())
}

/// bgpd: all paths of a VRF.
pub fn show_paths(vrf: &VrfName, family: Family) -> String {
    format!("show bgp vrf {vrf} {family} unicast json")
}

/// Reads [`show_paths`].
///
/// # Errors
/// If the text is not JSON.
pub fn paths(text: &str) -> Result<BTreeMap<IpNet, Vec<Path>>, ShowError> {
    let table = json("show bgp vrf VRF unicast json", text)?;
    let of_prefix = |(prefix, entries): (&String, &Value)| {
        Some((prefix.parse().ok()?, entries.as_array()?.iter().map(path).collect()))
    };
    Ok(table["routes"].as_object().into_iter().flatten().filter_map(of_prefix).collect())
}

/// The longest match of an address in a VRF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Match {
    /// The longest prefix that covers it.
    pub prefix: IpNet,
    /// Its paths.
    pub paths: Vec<Path>,
    /// Host sessions to which it is advertised.
    pub advertised_to: Vec<String>,
}

/// bgpd: the longest match of an address in a VRF, or a prefix of its own.
pub fn show_match(vrf: &VrfName, address: &str) -> String {
    let family = if address.contains(':') { Family::Ipv6 } else { Family::Ipv4 };
    format!("show bgp vrf {vrf} {family} unicast {address} json")
}

/// Reads [`show_match`].
///
/// # Errors
/// If the text is not JSON.
pub fn matched(text: &str) -> Result<Option<Match>, ShowError> {
    let entry = json("show bgp vrf VRF unicast ADDRESS json", text)?;
    let Some(prefix) = entry["prefix"].as_str().and_then(|prefix| prefix.parse().ok()) else { return Ok(None) };
    let paths = entry["paths"].as_array().into_iter().flatten().map(path).collect();
    Ok(Some(Match { prefix, paths, advertised_to: keys(&entry["advertisedTo"]) }))
}

/// The keys under which FRR has an object each.
fn keys(map: &Value) -> Vec<String> {
    let entries = map.as_object().into_iter().flatten().filter(|(_, entry)| entry.is_object());
    entries.map(|(key, _)| key.clone()).collect()
}

/// zebra: routes of a VRF, or its longest match of an address.
pub fn show_rib(vrf: &VrfName, family: Family, address: Option<IpAddr>) -> String {
    let command = match family {
        Family::Ipv4 => "show ip route vrf",
        Family::Ipv6 => "show ipv6 route vrf",
    };
    let address = address.map(|address| format!("{address} ")).unwrap_or_default();
    format!("{command} {vrf} {address}json")
}

/// zebra: routes of the default instance.
pub fn show_underlay_rib(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "show ip route json",
        Family::Ipv6 => "show ipv6 route json",
    }
}

/// A next hop of a route that zebra has installed in the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledHop {
    /// Its address; `None` of a connected route, and of one that drops packets.
    pub address: Option<IpAddr>,
    /// The link that leads to it; `None` of one that drops packets.
    pub link: Option<String>,
}

impl InstalledHop {
    /// Whether the route drops packets: blackhole, unreachable or prohibit.
    pub fn discards(&self) -> bool {
        self.address.is_none() && self.link.is_none()
    }
}

/// `ADDRESS dev LINK`, or `discarded`.
impl fmt::Display for InstalledHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.discards() {
            return f.write_str("discarded");
        }
        let link = self.link.as_ref().map(|link| format!("dev {link}"));
        let words = [self.address.map(|address| address.to_string()), link];
        f.write_str(&words.into_iter().flatten().collect::<Vec<_>>().join(" "))
    }
}

/// Reads [`show_rib`]: the next hops of the routes that zebra has installed in the kernel.
///
/// # Errors
/// If the text is not JSON.
pub fn installed(text: &str) -> Result<BTreeMap<IpNet, Vec<InstalledHop>>, ShowError> {
    let table = json("show ip route vrf VRF json", text)?;
    let hop = |hop: &Value| {
        let link = hop["interfaceName"].as_str().map(str::to_owned);
        (hop["fib"].as_bool() == Some(true)).then(|| InstalledHop { address: address(&hop["ip"]), link })
    };
    let of_prefix = |(prefix, entries): (&String, &Value)| {
        let entry = entries.as_array()?.iter().find(|entry| entry["installed"].as_bool() == Some(true))?;
        let hops = entry["nexthops"].as_array().into_iter().flatten().filter_map(hop).collect();
        Some((prefix.parse().ok()?, hops))
    };
    Ok(table.as_object().into_iter().flatten().filter_map(of_prefix).collect())
}

/// An EVPN Type-5 route (RFC 9136) that this node originates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Type5 {
    /// Route distinguisher.
    pub rd: String,
    /// Route targets.
    pub route_targets: Vec<String>,
    /// MAC of the bridge, for the inner Ethernet header.
    pub router_mac: Option<String>,
    /// The VTEP.
    pub next_hop: Option<IpAddr>,
    /// Fabric sessions to which it is advertised.
    pub advertised_to: Vec<String>,
}

/// bgpd: EVPN routes of a route distinguisher.
pub fn show_type5(rd: &str) -> String {
    format!("show bgp l2vpn evpn route rd {rd} json")
}

/// Reads [`show_type5`].
///
/// # Errors
/// If the text is not JSON.
pub fn type5(text: &str) -> Result<BTreeMap<IpNet, Type5>, ShowError> {
    let table = json("show bgp l2vpn evpn route rd RD json", text)?;
    let own = |route: Type5Route| {
        let Type5Path { route_targets, router_mac, next_hop, .. } = route.paths.into_iter().next().unwrap_or_default();
        let (rd, advertised_to) = (route.rd, route.advertised_to);
        (route.prefix, Type5 { rd, route_targets, router_mac, next_hop, advertised_to })
    };
    Ok(type5_routes(&table).into_iter().map(own).collect())
}

#[cfg(test)]
mod tests;
