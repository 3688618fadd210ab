//! The addresses of a node. In: pools that are the same on every node, and the node index. Out: addresses that depend on nothing
//! else, or that the pool is too small. It must not keep state: there is no allocator. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use thiserror::Error;

use crate::types::{MacAddr, Vni};

/// A pool that has no address for the index of the node.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "{pool} has room for {room} nodes: index {room} is the first that does not fit, and this node has index {index}; use a larger prefix"
)]
pub struct PoolTooSmall {
    pool: IpNet,
    room: u128,
    index: u32,
}

/// First and last host address of `net`: without network and broadcast address (IPv4) and the
/// subnet-router anycast address (IPv6), but both addresses of a point-to-point prefix (RFC 3021, RFC 6164).
fn hosts(net: &IpNet) -> (u128, u128) {
    let (first, last) = (number(net.network()), number(net.broadcast()));
    match net {
        _ if net.max_prefix_len() - net.prefix_len() <= 1 => (first, last),
        IpNet::V4(_) => (first + 1, last - 1),
        IpNet::V6(_) => (first + 1, last),
    }
}

/// Whether it is the address of an IPv4 network itself, or its broadcast address: no host has it.
pub fn is_reserved(address: IpAddr, subnet: &IpNet) -> bool {
    let has_both = subnet.addr().is_ipv4() && subnet.prefix_len() < 31;
    has_both && (address == subnet.network() || address == subnet.broadcast())
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    }
}

fn nth(net: &IpNet, offset: u128) -> Option<IpAddr> {
    let (first, last) = hosts(net);
    let value = first.checked_add(offset).filter(|v| *v <= last)?;
    Some(match net {
        IpNet::V4(_) => IpAddr::V4(Ipv4Addr::from(u32::try_from(value).ok()?)),
        IpNet::V6(_) => IpAddr::V6(Ipv6Addr::from(value)),
    })
}

/// Host address `index` of `net` after its first `reserved` ones.
fn pick(net: &IpNet, index: u32, reserved: u128) -> Result<IpAddr, PoolTooSmall> {
    let (first, last) = hosts(net);
    nth(net, reserved + u128::from(index)).ok_or(PoolTooSmall {
        pool: *net,
        room: (last - first + 1).saturating_sub(reserved),
        index,
    })
}

/// The VTEP address of node `index`: host address `index + 1` of `pool`.
pub fn vtep(pool: &IpNet, index: u32) -> Result<IpAddr, PoolTooSmall> {
    pick(pool, index, 0)
}

/// Nodes of a cluster, at most: Kubernetes supports no more.
const NODES: u32 = 5000;

/// The least index of a node whose VTEP in `pool` is an address of `subnet`; `None` if no node that may exist has one there. `own`:
/// an index that does exist.
pub fn first_vtep_in(subnet: &IpNet, pool: &IpNet, own: u32) -> Option<u32> {
    if subnet.max_prefix_len() != pool.max_prefix_len() {
        return None;
    }
    let (first, last) = hosts(pool);
    let (low, high) = (number(subnet.network()), number(subnet.broadcast()));
    let offset = low.saturating_sub(first);
    let exists = first + offset <= last.min(high) && offset <= u128::from(own.max(NODES - 1));
    u32::try_from(offset).ok().filter(|_| exists && high >= first)
}

/// The address of the host of node `index` in its sessions: host address `index + 1` of `pool`.
pub fn source(pool: &IpNet, index: u32) -> Result<IpAddr, PoolTooSmall> {
    pick(pool, index, 0)
}

/// The BGP router ID of node `index`: host address `index + 1` of `pool`.
pub fn router_id(pool: &ipnet::Ipv4Net, index: u32) -> Result<Ipv4Addr, PoolTooSmall> {
    match pick(&IpNet::V4(*pool), index, 0)? {
        IpAddr::V4(ip) => Ok(ip),
        IpAddr::V6(_) => unreachable!("an IPv4 pool has IPv4 addresses"),
    }
}

/// Both ends of the veth pair of an L3VNI, with the prefix length of `subnet`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VethAddresses {
    /// Router side: the first host address, the same on all nodes.
    pub pe: IpNet,
    /// Host side: that + 1 + index.
    pub host: IpNet,
}

/// The addresses of the veth pair of node `index`.
pub fn veth(subnet: &IpNet, index: u32) -> Result<VethAddresses, PoolTooSmall> {
    let host = pick(subnet, index, 1)?;
    let (first, _) = hosts(subnet);
    let pe = nth(subnet, 0).unwrap_or_else(|| unreachable!("{first} is in {subnet}"));
    let with_mask = |ip| IpNet::new(ip, subnet.prefix_len()).unwrap_or_else(|_| unreachable!("length of {subnet}"));
    Ok(VethAddresses { pe: with_mask(pe), host: with_mask(host) })
}

/// The router MAC of a VTEP (RFC 9135 section 4.1): locally administered and derived from the VTEP address alone. One for all
/// its VNIs, as FRR keeps one for each remote VTEP (frr#22577): with several, a VRF that imports routes of two VNIs of a VTEP
/// sends packets of one of them to the router MAC of the other, where they are dropped.
pub fn router_mac(vtep: IpAddr) -> MacAddr {
    let mut mac = [0; 6];
    match vtep {
        IpAddr::V4(ip) => mac[2..].copy_from_slice(&ip.octets()),
        // FNV-1a: 128 bits do not fit, and the addresses of a pool differ in their low bits only.
        IpAddr::V6(ip) => {
            let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            mac.copy_from_slice(&ip.octets().iter().fold(0xcbf2_9ce4_8422_2325, fold).to_be_bytes()[2..]);
        }
    }
    mac[0] = 0x02;
    MacAddr(mac)
}

/// The MAC address of the gateway of a segment, the same on all nodes: locally administered, and none of a VTEP.
pub fn gateway_mac(vni: Vni) -> MacAddr {
    let [_, a, b, c] = vni.get().to_be_bytes();
    MacAddr([0x06, 0xf3, 0, a, b, c])
}

/// The MAC address of the bridges of the host for segments, another one on each node: locally administered, none of a router and
/// none of a gateway. Without one a bridge has the least MAC address of its ports, another one as Pods come and go.
pub fn host_bridge_mac(vtep: IpAddr) -> MacAddr {
    let MacAddr(mut bytes) = router_mac(vtep);
    bytes[0] = 0x0e;
    MacAddr(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[rstest]
    #[case("100.65.0.0/24", 0, Ok("100.65.0.1"))]
    #[case("100.65.0.0/24", 253, Ok("100.65.0.254"))]
    #[case(
        "100.65.0.0/24",
        254,
        Err(
            "100.65.0.0/24 has room for 254 nodes: index 254 is the first that does not fit, and this node has index 254; use a larger prefix"
        )
    )]
    #[case("100.65.0.8/31", 1, Ok("100.65.0.9"))]
    #[case("fd00::/64", 0, Ok("fd00::1"))]
    fn vtep_is_host_address_index_plus_one(#[case] pool: &str, #[case] index: u32, #[case] want: Result<&str, &str>) {
        let got = vtep(&net(pool), index).map(|ip| ip.to_string()).map_err(|e| e.to_string());
        assert_eq!(got.as_deref().map_err(String::as_str), want);
    }

    #[rstest]
    #[case::same("100.65.0.0/24", "100.65.0.0/24", 0, Some(0))]
    #[case::inside("100.65.0.128/25", "100.65.0.0/24", 0, Some(127))]
    #[case::around("100.64.0.0/10", "100.65.0.0/24", 0, Some(0))]
    #[case::beside("100.65.1.0/24", "100.65.0.0/24", 0, None)]
    #[case::network_address("100.65.0.0/32", "100.65.0.0/24", 0, None)]
    #[case::broadcast_address("100.65.0.255/32", "100.65.0.0/24", 0, None)]
    #[case::first_address("100.65.0.1/32", "100.65.0.0/24", 0, Some(0))]
    #[case::last_address("100.65.0.254/32", "100.65.0.0/24", 0, Some(253))]
    #[case::link_in_a_large_pool("10.255.0.0/31", "10.0.0.0/8", 0, None)]
    #[case::begin_of_a_large_pool("10.0.0.6/31", "10.0.0.0/8", 0, Some(5))]
    #[case::last_node("10.0.19.136/32", "10.0.0.0/8", 0, Some(4999))]
    #[case::after_the_last_node("10.0.19.137/32", "10.0.0.0/8", 0, None)]
    #[case::larger_index("10.0.19.137/32", "10.0.0.0/8", 5000, Some(5000))]
    #[case::ipv6("2001:db8:65::/120", "2001:db8:65::/64", 0, Some(0))]
    #[case::ipv6_beyond("2001:db8:65::1:0/120", "2001:db8:65::/64", 0, None)]
    #[case::other_family("::/0", "10.0.0.0/8", 0, None)]
    fn a_subnet_may_have_the_vtep_of_a_node(
        #[case] subnet: &str,
        #[case] pool: &str,
        #[case] own: u32,
        #[case] want: Option<u32>,
    ) {
        assert_eq!(first_vtep_in(&net(subnet), &net(pool), own), want);
    }

    #[rstest]
    #[case("192.169.10.0/24", 0, Some(("192.169.10.1/24", "192.169.10.2/24")))]
    #[case("192.169.10.0/24", 252, Some(("192.169.10.1/24", "192.169.10.254/24")))]
    #[case("192.169.10.0/24", 253, None)]
    #[case("10.0.0.0/31", 0, Some(("10.0.0.0/31", "10.0.0.1/31")))]
    #[case("10.0.0.0/32", 0, None)]
    #[case("2001:db8::/64", 4, Some(("2001:db8::1/64", "2001:db8::6/64")))]
    fn veth_ends_share_the_subnet(#[case] subnet: &str, #[case] index: u32, #[case] want: Option<(&str, &str)>) {
        let want = want.map(|(pe, host)| VethAddresses { pe: net(pe), host: net(host) });
        assert_eq!(veth(&net(subnet), index).ok(), want);
    }

    #[test]
    fn router_mac_is_local_unicast_and_differs_by_vtep() {
        let mac = |vtep: &str| router_mac(vtep.parse().unwrap());
        assert_eq!(mac("100.65.0.1").to_string(), "02:00:64:41:00:01");
        assert_ne!(mac("100.65.0.1"), mac("100.65.0.2"));
        assert_ne!(mac("fd00::1"), mac("fd00::2"));
        assert_ne!(mac("fd00::1"), mac("fd00::1:1"));
        assert_eq!(gateway_mac(Vni::try_from(0x01_0203).unwrap()).to_string(), "06:f3:00:01:02:03");
        assert_eq!(host_bridge_mac("100.65.0.1".parse().unwrap()).to_string(), "0e:00:64:41:00:01");
    }
}
