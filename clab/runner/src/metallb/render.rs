//! An [`Announcer`] as FRR configuration, as FRR-K8s renders it.
//!
//! In: the announcer and the node's name. Out: a text for `vtysh -b`. It must not start anything.

use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::announcer::{Announcer, PeerSession};

/// Seconds between a change of a route map and its processing. After it has read its configuration, bgpd rejects sessions until
/// that time has passed: with the default of 5 s, a host side would be up 4 s later.
const ROUTE_MAP_DELAY: u32 = 1;

/// The configuration of the FRR of a node's host side; lines are in the order in which FRR prints them.
pub fn frr_conf(announcer: &Announcer, node: &str) -> String {
    let mut text = format!(
        "frr defaults traditional\nhostname {node}\nlog file /var/log/frr/host-frr.log informational\n\
         bgp route-map delay-timer {ROUTE_MAP_DELAY}\nservice integrated-vtysh-config\n!\n"
    );
    for (address, session) in &announcer.sessions {
        filters(&mut text, *address, session);
    }
    for vrf in announcer.vrfs() {
        router(&mut text, announcer, node, vrf);
    }
    text
}

/// The BGP instance of one VRF of the node, or the default instance.
fn router(text: &mut String, announcer: &Announcer, node: &str, vrf: Option<&str>) {
    let in_vrf = vrf.map(|vrf| format!(" vrf {vrf}")).unwrap_or_default();
    let _ = writeln!(text, "router bgp {}{in_vrf}\n bgp router-id {}", announcer.asn, router_id(node));
    // The service addresses are announced because the service exists, not because a route does.
    text.push_str(" no bgp default ipv4-unicast\n no bgp network import-check\n");
    let sessions: Vec<_> = announcer.sessions.iter().filter(|(_, session)| session.vrf.as_deref() == vrf).collect();
    for (address, session) in &sessions {
        neighbor(text, **address, session);
    }
    for (family, is_ipv4) in [("ipv4", true), ("ipv6", false)] {
        let of_family: Vec<_> = sessions.iter().filter(|(address, _)| address.is_ipv4() == is_ipv4).copied().collect();
        address_family(text, &of_family, family);
    }
    text.push_str("exit\n");
}

/// A router id that is stable over restarts and differs between nodes: FNV-1a of the node's name, in 10.0.0.0/8.
pub fn router_id(node: &str) -> Ipv4Addr {
    let hash = node.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [_, b, c, d] = hash.to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

/// Local preference and communities.
type Attributes = (u32, BTreeSet<String>);

/// Prefixes by their attributes. A prefix of several advertisements has the communities of all of them.
fn by_attributes(session: &PeerSession) -> BTreeMap<Attributes, BTreeSet<IpNet>> {
    let mut of_prefix: BTreeMap<IpNet, Attributes> = BTreeMap::new();
    for announcement in &session.announced {
        let (local_pref, communities) = of_prefix.entry(announcement.prefix).or_default();
        *local_pref = announcement.local_pref;
        communities.extend(announcement.communities.iter().cloned());
    }
    let mut grouped: BTreeMap<Attributes, BTreeSet<IpNet>> = BTreeMap::new();
    for (prefix, attributes) in of_prefix {
        grouped.entry(attributes).or_default().insert(prefix);
    }
    grouped
}

/// Route maps in and out; one entry per set of attributes.
fn filters(text: &mut String, address: IpAddr, session: &PeerSession) {
    let (name, ip) = (&session.name, if address.is_ipv4() { "ip" } else { "ipv6" });
    let groups = by_attributes(session);
    let list = |index: usize| if index == 0 { format!("{name}-out") } else { format!("{name}-out-{}", index + 1) };
    for (index, prefixes) in groups.values().enumerate() {
        for (entry, prefix) in prefixes.iter().enumerate() {
            let _ = writeln!(text, "{ip} prefix-list {} seq {} permit {prefix}", list(index), 5 * (entry + 1));
        }
    }
    let action = if session.receive_all { "permit" } else { "deny" };
    let _ = writeln!(text, "route-map {name}-in {action} 10\nexit");
    if groups.is_empty() {
        let _ = writeln!(text, "route-map {name}-out deny 10\nexit");
    }
    for (index, (local_pref, communities)) in groups.keys().enumerate() {
        let _ = writeln!(text, "route-map {name}-out permit {}", 10 * (index + 1));
        let _ = writeln!(text, " match {ip} address prefix-list {}", list(index));
        attributes(text, *local_pref, communities);
        text.push_str("exit\n");
    }
    text.push_str("!\n");
}

fn attributes(text: &mut String, local_pref: u32, communities: &BTreeSet<String>) {
    let mut set = |what: &str, values: Vec<&str>| {
        if !values.is_empty() {
            let _ = writeln!(text, " set {what} {}", values.join(" "));
        }
    };
    let local_pref = local_pref.to_string();
    set("local-preference", if local_pref == "0" { vec![] } else { vec![&local_pref] });
    set("community", communities.iter().map(String::as_str).filter(|text| !text.starts_with("large:")).collect());
    set("large-community", communities.iter().filter_map(|text| text.strip_prefix("large:")).collect());
}

fn neighbor(text: &mut String, address: IpAddr, session: &PeerSession) {
    let mut line = |words: String| {
        let _ = writeln!(text, " neighbor {address} {words}");
    };
    line(format!("remote-as {}", session.asn));
    line(format!("description {}", session.name));
    if let Some(port) = session.port {
        line(format!("port {port}"));
    }
    if session.multihop {
        line("ebgp-multihop".into());
    }
    if let Some((keepalive, hold)) = session.timers {
        line(format!("timers {keepalive} {hold}"));
    }
    line(format!("timers connect {}", session.connect_seconds));
    if let Some(source) = session.source {
        line(format!("update-source {source}"));
    }
}

fn address_family(text: &mut String, sessions: &[(&IpAddr, &PeerSession)], family: &str) {
    if sessions.is_empty() {
        return;
    }
    let _ = writeln!(text, " !\n address-family {family} unicast");
    let announced = sessions.iter().flat_map(|(_, session)| &session.announced);
    for prefix in announced.map(|announcement| announcement.prefix).collect::<BTreeSet<IpNet>>() {
        let _ = writeln!(text, "  network {prefix}");
    }
    for (address, session) in sessions {
        let name = &session.name;
        let _ = writeln!(text, "  neighbor {address} activate");
        let _ = writeln!(text, "  neighbor {address} route-map {name}-in in");
        let _ = writeln!(text, "  neighbor {address} route-map {name}-out out");
    }
    text.push_str(" exit-address-family\n");
}
