//! The networks of the host. Pure data.

use ipnet::IpNet;

/// A network that the host reaches over a link that is up and not ours: the subnet of an address of that link, or the
/// destination of a static route.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostNetwork {
    /// The address with the length of its subnet, or the destination.
    pub address: IpNet,
    /// It is the destination of a static route.
    pub is_route: bool,
    /// The link.
    pub link: String,
    /// The VRF device of the host that the link is in; `None`: no VRF.
    pub vrf: Option<String>,
}

impl HostNetwork {
    /// Whether a subnet is a part of it, with the host's routes in `host_vrf`. A default route is around everything, and does not count.
    pub fn is_around(&self, subnet: &IpNet, host_vrf: Option<&str>) -> bool {
        let network = self.address.trunc();
        self.vrf.as_deref() == host_vrf
            && (1..subnet.prefix_len()).contains(&network.prefix_len())
            && network.contains(subnet)
    }
}
