//! An L2VNI of the testbed, in the routing domain of the L3VNI of its number. In: its number. Out: its object, and the devices that it
//! is, as lines of `ip -batch`. For both VRF modes.

use std::net::Ipv4Addr;

use perouter::types::{MacAddr, VrfMode};

use crate::testbed::vrf;

/// An L2VNI.
#[derive(Debug, Clone, Copy)]
pub struct Segment {
    /// Counted from 1, as L3VNIs are.
    pub number: usize,
    /// Of the subnet of its gateway.
    pub prefix_length: u8,
}

/// The lines that create the devices of an L2VNI.
#[derive(Debug, Default)]
pub struct Batches {
    /// In the namespace of the router.
    pub outside: String,
    /// On the host.
    pub host: String,
    /// In that of the IP-VRF.
    pub inside: String,
}

impl Segment {
    /// One with 254 addresses.
    pub const fn new(number: usize) -> Self {
        Self { number, prefix_length: 24 }
    }

    /// Its VNI: no L3VNI has one above 5000.
    pub const fn vni(self) -> usize {
        5000 + self.number
    }

    /// The bridge on the host.
    pub fn host_bridge(self) -> String {
        format!("br-hs-{}", self.vni())
    }

    /// Its gateway.
    pub fn gateway(self) -> Ipv4Addr {
        let subnet = u32::try_from(self.number * 256).unwrap_or(u32::MAX);
        Ipv4Addr::from_bits(u32::from_be_bytes([172, 16, 0, 1]).saturating_add(subnet))
    }

    /// The MAC address of its gateway.
    pub fn gateway_mac(self) -> MacAddr {
        let [.., first, second, third] = self.vni().to_be_bytes();
        MacAddr([0x06, 0xf3, 0, first, second, third])
    }

    /// Its object.
    pub fn manifest(self) -> String {
        let Self { number, prefix_length } = self;
        let (vni, vrf, gateway) = (self.vni(), vrf(number), self.gateway());
        format!(
            "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L2VNI\nmetadata: {{name: s{number}, namespace: \
             bench}}\nspec:\n  vni: {vni}\n  routingDomain: {{type: L3VNI, l3vni: {{name: {vrf}}}}}\n  gatewayIPs: \
             [{gateway}/{prefix_length}]\n  hostMaster: {{type: LinuxBridge, linuxBridge: {{lifecycle: Managed}}}}\n"
        )
    }

    /// The devices of its object. `vtep`: the local address; `router`: the namespace of the router. The kernel sets a link up before it
    /// sets `addrgenmode` of the same message, and a link-local address would be one more route.
    pub fn batches(self, mode: VrfMode, vtep: &str, router: &str) -> Batches {
        let (vni, vrf, bridge) = (self.vni(), vrf(self.number), self.host_bridge());
        let gateway_mac = self.gateway_mac();
        let (netns, peer) = match mode {
            VrfMode::Netns => (format!(" netns {vrf}"), vrf.as_str()),
            VrfMode::Vrf => (String::new(), router),
        };
        let master = if mode == VrfMode::Vrf { format!("link set br-pe-{vni} master {vrf}\n") } else { String::new() };
        Batches {
            outside: format!(
                "link add vni{vni}{netns} type vxlan id {vni} local {vtep} dstport 4789 nolearning tos 0x2\n"
            ),
            host: format!(
                "link add {bridge} type bridge stp_state 0 mcast_snooping 0\nlink set {bridge} mtu 1450 addrgenmode \
                 none\nlink set {bridge} up\nlink add host-{vni} mtu 1450 type veth peer name pe-{vni} mtu 1450 netns \
                 {peer}\nlink set host-{vni} master {bridge} addrgenmode none\nlink set host-{vni} up\n"
            ),
            inside: format!(
                "link add br-pe-{vni} address {gateway_mac} type bridge stp_state 0 \
                 mcast_snooping 0\n{master}link set vni{vni} mtu 1450 addrgenmode none\nlink set vni{vni} master \
                 br-pe-{vni}\nlink set vni{vni} type bridge_slave neigh_suppress on learning off\nlink set pe-{vni} \
                 addrgenmode none master br-pe-{vni}\naddress add {}/{} dev br-pe-{vni}\nlink set br-pe-{vni} up\nlink \
                 set vni{vni} up\nlink set pe-{vni} up\n",
                self.gateway(),
                self.prefix_length
            ),
        }
    }
}
