//! Who else advertises the VTEP of this node: another node with its index. In: the JSON of [`show_vtep`]. Out: neighbors. Pure.

use std::collections::BTreeSet;
use std::net::IpAddr;

use serde_json::Value;

/// bgpd: the paths of the host route of a VTEP.
pub fn show_vtep(vtep: IpAddr) -> String {
    let (family, length) = if vtep.is_ipv4() { ("ipv4", 32) } else { ("ipv6", 128) };
    format!("show bgp {family} unicast {vtep}/{length} json")
}

/// The neighbors from which the route was received. `paths[].peer.peerId` of a path of our own is the unspecified address. A
/// neighbor is named as FRR names it, by its interface where it has no address in the configuration.
pub fn advertisers(text: &str) -> BTreeSet<String> {
    let Ok(Value::Object(route)) = serde_json::from_str::<Value>(text) else { return BTreeSet::new() };
    let paths = route.get("paths").and_then(Value::as_array);
    let neighbor = |path: &Value| {
        let peer = path.get("peer")?;
        let id: IpAddr = peer.get("peerId")?.as_str()?.parse().ok()?;
        let name = peer.get("interface").and_then(Value::as_str).map_or_else(|| id.to_string(), str::to_owned);
        (!id.is_unspecified()).then_some(name)
    };
    paths.into_iter().flatten().filter_map(neighbor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbors_that_advertise_the_vtep_are_found() {
        assert_eq!(show_vtep("100.65.0.1".parse().unwrap()), "show bgp ipv4 unicast 100.65.0.1/32 json");
        let text = r#"{"prefix":"100.65.0.1\/32","paths":[
            {"valid":true,"sourced":true,"local":true,"peer":{"peerId":"0.0.0.0","routerId":"10.0.0.1"}},
            {"aspath":{"string":"64512 64514"},"peer":{"peerId":"192.168.11.2","routerId":"100.64.0.3","type":"external"}},
            {"peer":{"peerId":"fe80::1","interface":"toswitch"}}]}"#;
        assert_eq!(advertisers(text), ["192.168.11.2", "toswitch"].map(str::to_owned).into());
        assert_eq!(advertisers("{}"), BTreeSet::new());
        assert_eq!(advertisers("% Network not in table\n"), BTreeSet::new());
    }
}
