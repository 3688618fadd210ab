//! Kernel settings: their paths, and which a router does without. Pure.

use std::fmt;

use super::model::Sysctl;

impl Sysctl {
    /// All settings that we read.
    pub const ALL: [Self; 11] = [
        Self::Ipv4Forwarding,
        Self::Ipv6Forwarding,
        Self::RpFilterAll,
        Self::RpFilterDefault,
        Self::VrfStrictMode,
        Self::TcpL3mdevAccept,
        Self::TcpFwmarkAccept,
        Self::Ipv4FwmarkReflect,
        Self::Ipv6FwmarkReflect,
        Self::Ipv4MultipathHash,
        Self::Ipv6MultipathHash,
    ];

    /// Whether a router does without it. A kernel that has no multipath routes (`CONFIG_IP_ROUTE_MULTIPATH`) has no
    /// policy for them.
    pub fn is_optional(self) -> bool {
        matches!(self, Self::Ipv4MultipathHash | Self::Ipv6MultipathHash)
    }

    /// Its path below `/proc/sys`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Ipv4Forwarding => "net/ipv4/conf/all/forwarding",
            Self::Ipv6Forwarding => "net/ipv6/conf/all/forwarding",
            Self::RpFilterAll => "net/ipv4/conf/all/rp_filter",
            Self::RpFilterDefault => "net/ipv4/conf/default/rp_filter",
            Self::VrfStrictMode => "net/vrf/strict_mode",
            Self::TcpL3mdevAccept => "net/ipv4/tcp_l3mdev_accept",
            Self::TcpFwmarkAccept => "net/ipv4/tcp_fwmark_accept",
            Self::Ipv4FwmarkReflect => "net/ipv4/fwmark_reflect",
            Self::Ipv6FwmarkReflect => "net/ipv6/fwmark_reflect",
            Self::Ipv4MultipathHash => "net/ipv4/fib_multipath_hash_policy",
            Self::Ipv6MultipathHash => "net/ipv6/fib_multipath_hash_policy",
        }
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path().replace('/', "."))
    }
}
