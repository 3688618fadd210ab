//! What an object claims for itself: no other object of the node may have it. In: values of an object. Out: claims, whose
//! conflicts `plan` finds. It must not know a kind. Pure data.

use ipnet::IpNet;

use crate::types::{IfName, Vni, VrfName};

/// What is claimed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claimed {
    /// The connection of the node to the fabric.
    Fabric,
    /// A VNI, of an L3VNI or an L2VNI: the kernel has one VXLAN device for each.
    Vni(Vni),
    /// The name of an IP-VRF.
    Vrf(VrfName),
    /// A name of a NIC, which no VRF may have.
    Nic(IfName),
    /// A subnet, which must not overlap another.
    Subnet(IpNet),
    /// The subnet of a gateway, which must not overlap another one of the same IP-VRF, nor a [`Claimed::Subnet`].
    GatewaySubnet(VrfName, IpNet),
    /// A bridge of the host.
    HostBridge(IfName),
    /// A prefix in which no object may have a subnet. It may overlap others of its kind.
    Reserved(IpNet),
}

/// A claim of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// What is claimed.
    pub claimed: Claimed,
    /// Path of the field that claims it; empty for the object as a whole.
    pub field: String,
}

impl Claim {
    /// A claim by a field.
    pub fn new(claimed: Claimed, field: impl Into<String>) -> Self {
        Self { claimed, field: field.into() }
    }
}
