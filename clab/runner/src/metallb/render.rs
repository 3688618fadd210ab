//! An [`Announcer`] as FRR configuration, in the manner of FRR-K8s.
//!
//! In: the announcer and the node's name. Out: a text for `vtysh -b`. It must not start anything.

use ipnet::IpNet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::{Announcer, Session};

/// The configuration of a node's own FRR; lines are in the order in which FRR shows them.
pub fn frr_conf(announcer: &Announcer, node: &str) -> String {
    let mut text = format!(
        "frr defaults traditional\nhostname {node}\nlog file /var/log/frr/host-frr.log informational\n\
         service integrated-vtysh-config\n!\n"
    );
    for (address, session) in &announcer.sessions {
        filters(&mut text, *address, session);
    }
    let _ = writeln!(text, "router bgp {}\n bgp router-id {}", announcer.asn, router_id(node));
    // The service addresses are announced because the service exists, not because a route does.
    text.push_str(" no bgp default ipv4-unicast\n no bgp network import-check\n");
    for (address, session) in &announcer.sessions {
        neighbor(&mut text, *address, session);
    }
    for (family, is_ipv4) in [("ipv4", true), ("ipv6", false)] {
        address_family(&mut text, announcer, family, is_ipv4);
    }
    text.push_str("exit\n");
    text
}

/// A router id that is the same after a restart and another on every node: FNV-1a of the node's name, in 10.0.0.0/8.
pub fn router_id(node: &str) -> Ipv4Addr {
    let hash = node.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let [_, b, c, d] = hash.to_be_bytes();
    Ipv4Addr::new(10, b, c, d)
}

fn filters(text: &mut String, address: IpAddr, session: &Session) {
    let (name, ip) = (&session.name, if address.is_ipv4() { "ip" } else { "ipv6" });
    for (index, prefix) in session.announced.iter().enumerate() {
        let _ = writeln!(text, "{ip} prefix-list {name}-out seq {} permit {prefix}", 5 * (index + 1));
    }
    let entry = |permit: bool| if permit { "permit" } else { "deny" };
    let _ = writeln!(text, "route-map {name}-in {} 10\nexit", entry(session.receive_all));
    let _ = writeln!(text, "route-map {name}-out {} 10", entry(!session.announced.is_empty()));
    if !session.announced.is_empty() {
        let _ = writeln!(text, " match {ip} address prefix-list {name}-out");
    }
    text.push_str("exit\n!\n");
}

fn neighbor(text: &mut String, address: IpAddr, session: &Session) {
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
}

fn address_family(text: &mut String, announcer: &Announcer, family: &str, is_ipv4: bool) {
    let sessions = || announcer.sessions.iter().filter(|(address, _)| address.is_ipv4() == is_ipv4);
    if sessions().next().is_none() {
        return;
    }
    let _ = writeln!(text, " !\n address-family {family} unicast");
    let prefixes: std::collections::BTreeSet<&IpNet> = sessions().flat_map(|(_, session)| &session.announced).collect();
    for prefix in prefixes {
        let _ = writeln!(text, "  network {prefix}");
    }
    for (address, session) in sessions() {
        let name = &session.name;
        let _ = writeln!(text, "  neighbor {address} activate");
        let _ = writeln!(text, "  neighbor {address} route-map {name}-in in");
        let _ = writeln!(text, "  neighbor {address} route-map {name}-out out");
    }
    text.push_str(" exit-address-family\n");
}
