//! The VTEPs of a node, at most one of each address family. In: addresses, and the MTU of the NICs. Out: the VTEP that an object
//! uses. It must not know a kind. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::types::Family;

/// A VTEP of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vtep {
    /// Its address.
    pub address: IpAddr,
    /// MTU in bytes of what it carries.
    pub mtu: u32,
}

impl Vtep {
    /// With this address, over NICs with an MTU of `nic_mtu` bytes.
    pub fn new(address: IpAddr, nic_mtu: u32) -> Self {
        Self { address, mtu: nic_mtu.saturating_sub(overhead(address)) }
    }
}

/// Bytes of the VXLAN, UDP, IP and Ethernet headers around a packet (RFC 7348 section 5).
fn overhead(vtep: IpAddr) -> u32 {
    if vtep.is_ipv4() { 50 } else { 70 }
}

/// The VTEPs of the node, one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vteps(BTreeMap<Family, Vtep>);

impl Vteps {
    /// With these addresses, over NICs with an MTU of `nic_mtu` bytes.
    pub fn new(addresses: &BTreeMap<Family, IpAddr>, nic_mtu: u32) -> Self {
        Self(addresses.iter().map(|(family, address)| (*family, Vtep::new(*address, nic_mtu))).collect())
    }

    /// That of a family; by default that of IPv4, or the only one.
    pub fn select(&self, family: Option<Family>) -> Option<Vtep> {
        family.map_or_else(|| self.0.values().next(), |family| self.0.get(&family)).copied()
    }

    /// Their addresses.
    pub fn addresses(&self) -> BTreeMap<Family, IpAddr> {
        self.0.iter().map(|(family, vtep)| (*family, vtep.address)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(&["100.65.0.1"], None, Some(("100.65.0.1", 1450)))]
    #[case(&["100.65.0.1"], Some(Family::Ipv4), Some(("100.65.0.1", 1450)))]
    #[case(&["100.65.0.1"], Some(Family::Ipv6), None)]
    #[case(&["2001:db8:65::1"], None, Some(("2001:db8:65::1", 1430)))]
    #[case(&["2001:db8:65::1"], Some(Family::Ipv4), None)]
    #[case(&["100.65.0.1", "2001:db8:65::1"], None, Some(("100.65.0.1", 1450)))]
    #[case(&["100.65.0.1", "2001:db8:65::1"], Some(Family::Ipv6), Some(("2001:db8:65::1", 1430)))]
    fn a_vtep_is_selected_by_family(
        #[case] addresses: &[&str],
        #[case] family: Option<Family>,
        #[case] expected: Option<(&str, u32)>,
    ) {
        let of = |text: &&str| {
            let address: IpAddr = text.parse().unwrap();
            (Family::of(&address.into()), address)
        };
        let vteps = Vteps::new(&addresses.iter().map(of).collect(), 1500);
        let expected = expected.map(|(address, mtu)| Vtep { address: address.parse().unwrap(), mtu });
        assert_eq!(vteps.select(family), expected);
    }
}
