//! Address families as FRR names them in JSON, and their names for people. Pure.

/// L2VPN EVPN.
pub const EVPN: &str = "l2VpnEvpn";
/// IPv4 unicast.
pub const IPV4: &str = "ipv4Unicast";
/// IPv6 unicast.
pub const IPV6: &str = "ipv6Unicast";

/// As in a sentence.
pub fn name(family: &str) -> &str {
    match family {
        EVPN => "L2VPN EVPN",
        IPV4 => "IPv4 unicast",
        IPV6 => "IPv6 unicast",
        other => other,
    }
}

/// As in a column.
pub fn short_name(family: &str) -> &str {
    match family {
        EVPN => "evpn",
        IPV4 => "ipv4",
        IPV6 => "ipv6",
        other => other,
    }
}
