//! Settings of a namespace that forwards packets. Pure data.

use crate::kernel::model::Sysctl;

/// What the router namespace and the namespace of each IP-VRF have.
pub(super) const FORWARDING: [(Sysctl, u32); 6] = [
    (Sysctl::Ipv4Forwarding, 1),
    (Sysctl::Ipv6Forwarding, 1),
    (Sysctl::RpFilterAll, 0),
    (Sysctl::RpFilterDefault, 0),
    (Sysctl::Ipv4MultipathHash, 1),
    (Sysctl::Ipv6MultipathHash, 1),
];
