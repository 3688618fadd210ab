//! Sysctls of a network namespace that forwards packets. In: nothing. Out: the list, the same for the router and each IP-VRF. Pure
//! data.

use crate::kernel::model::Sysctl;

/// Sysctls of the router namespace and of the namespace of each IP-VRF.
pub(super) const FORWARDING: [(Sysctl, u32); 12] = [
    (Sysctl::Ipv4Forwarding, 1),
    (Sysctl::Ipv6Forwarding, 1),
    (Sysctl::RpFilterAll, 0),
    (Sysctl::RpFilterDefault, 0),
    (Sysctl::AcceptRedirectsAll, 0),
    (Sysctl::AcceptRedirectsDefault, 0),
    (Sysctl::SendRedirectsAll, 0),
    (Sysctl::SendRedirectsDefault, 0),
    (Sysctl::RouteLocalnetAll, 0),
    (Sysctl::RouteLocalnetDefault, 0),
    (Sysctl::Ipv4MultipathHash, 1),
    (Sysctl::Ipv6MultipathHash, 1),
];
