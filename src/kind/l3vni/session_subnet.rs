//! Which subnets host sessions may use. In: a subnet, and what is known of the node. Out: why the node cannot use it, or a note on
//! what it costs. Overlaps with other objects are found in `plan`. Pure.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::kernel::model::HostNetwork;
use crate::kind::ipam::VethAddresses;

/// Addresses that no router or host has (RFC 6890).
const RESERVED: [(IpNet, &str); 8] = [
    (v4([0, 0, 0, 0], 8), "\"this network\" (RFC 1122)"),
    (v4([127, 0, 0, 0], 8), "loopback addresses"),
    (v4([224, 0, 0, 0], 4), "multicast addresses"),
    (v4([240, 0, 0, 0], 4), "the reserved addresses of class E and the broadcast address"),
    (v6([0, 0, 0, 0, 0, 0, 0, 0], 127), "the unspecified and the loopback address"),
    (v6([0, 0, 0, 0, 0, 0xffff, 0, 0], 96), "IPv4-mapped addresses"),
    (v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10), "link-local addresses"),
    (v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8), "multicast addresses"),
];

/// RFC 3927
const LINK_LOCAL: IpNet = v4([169, 254, 0, 0], 16);

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(parts: [u16; 8], length: u8) -> IpNet {
    let [first, rest @ ..] = parts;
    let address = Ipv6Addr::new(first, rest[0], rest[1], rest[2], rest[3], rest[4], rest[5], rest[6]);
    IpNet::V6(Ipv6Net::new_assert(address, length))
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

/// Why no node can use a subnet.
pub(super) fn reserved(subnet: &IpNet) -> Option<String> {
    let (range, what) = RESERVED.iter().find(|(range, _)| overlap(range, subnet))?;
    Some(format!("{subnet} overlaps {range}, {what}: use a unicast subnet"))
}

/// Why this node cannot use a subnet: the host end is in `host_vrf` of the host, beside `networks`.
pub(super) fn in_use(
    subnet: &IpNet,
    ends: &VethAddresses,
    host_vrf: Option<&str>,
    networks: &BTreeSet<HostNetwork>,
) -> Option<String> {
    let beside = networks.iter().filter(|network| network.vrf.as_deref() == host_vrf);
    let is_address = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
    for HostNetwork { address, is_route, link, .. } in beside {
        if *is_route {
            // The route of the longer prefix wins, of the same one that of the link.
            if subnet.contains(address) {
                return Some(format!(
                    "{subnet} has {address} in it, to which the node has a static route over {link}: use another subnet, or \
                     remove the route"
                ));
            }
        } else if is_address(address) {
            if address.addr() == ends.pe.addr() {
                return Some(format!(
                    "{subnet} has the address of the router {}, which the host has on {link}: use another subnet",
                    address.addr()
                ));
            }
        } else if overlap(&address.trunc(), subnet) {
            // The route of the longer prefix wins.
            let loss =
                if address.prefix_len() < subnet.prefix_len() { ", which could not be reached any more" } else { "" };
            let network = address.trunc();
            return Some(format!(
                "{subnet} overlaps {network}, a network of the node on {link}{loss}: use another subnet"
            ));
        }
    }
    None
}

/// What a subnet costs that is a part of the destination of a static route: that may be a summary of which nobody has this part.
pub(super) fn part_of_route(
    subnet: &IpNet,
    host_vrf: Option<&str>,
    networks: &BTreeSet<HostNetwork>,
) -> Option<String> {
    let is_around = |network: &&HostNetwork| network.is_route && network.is_around(subnet, host_vrf);
    let HostNetwork { address, link, .. } = networks.iter().filter(is_around).max_by_key(|n| n.address.prefix_len())?;
    Some(format!(
        "{subnet} is a part of {address}, to which the node has a static route over {link}: what has these addresses there is \
         lost for the node; use another subnet if somebody has them"
    ))
}

/// What a subnet that can be meant costs.
pub(super) fn note(subnet: &IpNet) -> Option<String> {
    overlap(&LINK_LOCAL, subnet).then(|| {
        format!(
            "{subnet} overlaps the link-local addresses {LINK_LOCAL}, which other routers do not forward (RFC 3927 section \
             2.7) and some clouds use for their metadata: the addresses of hosts are lost beyond them; use another subnet"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::ipam;
    use rstest::rstest;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("127.0.0.0/30", true)]
    #[case("126.0.0.0/7", true)]
    #[case("239.255.0.0/24", true)]
    #[case("240.0.0.0/30", true)]
    #[case("255.255.255.0/24", true)]
    #[case("0.1.0.0/24", true)]
    #[case("::/64", true)]
    #[case("::ffff:192.0.2.0/120", true)]
    #[case("fe80::/64", true)]
    #[case("ff02::/64", true)]
    #[case("169.254.1.0/24", false)]
    #[case("192.169.10.0/24", false)]
    #[case("2001:db8::/64", false)]
    #[case("fd00::/64", false)]
    fn no_node_can_use_a_reserved_subnet(#[case] subnet: &str, #[case] is_reserved: bool) {
        assert_eq!(reserved(&net(subnet)).is_some(), is_reserved);
    }

    const WITHIN: &str = "172.18.0.0/24 overlaps 172.18.0.0/16, a network of the node on mgmt0, which could not be reached any \
                          more: use another subnet";

    #[rstest]
    #[case::around("172.18.0.0/24", "172.18.0.3/16", None, Some(WITHIN))]
    #[case::inside(
        "172.16.0.0/12",
        "172.18.0.3/16",
        None,
        Some("172.16.0.0/12 overlaps 172.18.0.0/16, a network of the node on mgmt0: use another subnet")
    )]
    #[case::beside("172.19.0.0/24", "172.18.0.3/16", None, None)]
    #[case::other_vrf("172.18.0.0/24", "172.18.0.3/16", Some("hostvrf"), None)]
    #[case::source_address_of_the_host("172.18.0.0/24", "172.18.0.77/32", None, None)]
    #[case::our_address(
        "172.18.0.0/24",
        "172.18.0.1/32",
        None,
        Some(
            "172.18.0.0/24 has the address of the router 172.18.0.1, which the host has on mgmt0: use another subnet"
        )
    )]
    fn a_network_of_the_host_cannot_be_used(
        #[case] subnet: &str,
        #[case] address: &str,
        #[case] host_vrf: Option<&str>,
        #[case] expected: Option<&str>,
    ) {
        let subnet = net(subnet);
        let ends = ipam::veth(&subnet, 1).unwrap();
        let network = HostNetwork { address: net(address), is_route: false, link: "mgmt0".to_owned(), vrf: None };
        assert_eq!(in_use(&subnet, &ends, host_vrf, &[network].into()).as_deref(), expected);
    }

    /// Whether the subnet is rejected, and whether it costs something.
    #[rstest]
    #[case::same("10.1.2.0/24", "10.1.2.0/24", None, [true, false])]
    #[case::inside("10.1.2.0/24", "10.1.2.128/25", None, [true, false])]
    #[case::one_address("10.1.2.0/24", "10.1.2.77/32", None, [true, false])]
    #[case::around("10.1.2.0/24", "10.0.0.0/8", None, [false, true])]
    #[case::beside("10.1.2.0/24", "10.1.3.0/24", None, [false, false])]
    #[case::other_vrf("10.1.2.0/24", "10.1.2.0/24", Some("hostvrf"), [false, false])]
    #[case::around_in_other_vrf("10.1.2.0/24", "10.0.0.0/8", Some("hostvrf"), [false, false])]
    #[case::other_family("2001:db8::/64", "10.0.0.0/8", None, [false, false])]
    fn a_static_route_of_the_host_is_compared(
        #[case] subnet: &str,
        #[case] destination: &str,
        #[case] host_vrf: Option<&str>,
        #[case] expected: [bool; 2],
    ) {
        let subnet = net(subnet);
        let ends = ipam::veth(&subnet, 1).unwrap();
        let route = HostNetwork { address: net(destination), is_route: true, link: "eth0".to_owned(), vrf: None };
        let networks = [route].into();
        let found = [in_use(&subnet, &ends, host_vrf, &networks), part_of_route(&subnet, host_vrf, &networks)];
        assert_eq!(found.each_ref().map(Option::is_some), expected, "{found:?}");
        assert!(found.iter().flatten().all(|text| text.contains("a static route over eth0")), "{found:?}");
    }
}
