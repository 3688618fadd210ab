//! Kernel settings below `/proc/sys/net`: names, paths and which of them are optional. Pure.

use std::fmt;

/// A kernel setting that a namespace needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sysctl {
    /// `net.ipv4.conf.all.forwarding`
    Ipv4Forwarding,
    /// `net.ipv6.conf.all.forwarding`
    Ipv6Forwarding,
    /// `net.ipv4.conf.all.rp_filter`: 0, as the return path of an overlay packet may differ.
    RpFilterAll,
    /// `net.ipv4.conf.default.rp_filter`
    RpFilterDefault,
    /// `net.vrf.strict_mode`: one table belongs to one VRF device.
    VrfStrictMode,
    /// `net.ipv4.tcp_l3mdev_accept`: 0, a listener of one VRF does not accept connections of another.
    TcpL3mdevAccept,
    /// `net.ipv4.tcp_fwmark_accept`: a connection has the mark of its first packet, IPv6 too.
    TcpFwmarkAccept,
    /// `net.ipv4.fwmark_reflect`: a reply of the kernel itself has the mark of the packet that it answers.
    Ipv4FwmarkReflect,
    /// `net.ipv6.fwmark_reflect`
    Ipv6FwmarkReflect,
    /// `net.ipv4.fib_multipath_hash_policy`: 1, the hash of a flow includes its ports. With addresses alone all VXLAN packets
    /// between two VTEPs take one path: their flows differ in the UDP source port (RFC 7348 section 5).
    Ipv4MultipathHash,
    /// `net.ipv6.fib_multipath_hash_policy`
    Ipv6MultipathHash,
}

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

    /// Whether a router works without it. A kernel without multipath routes (`CONFIG_IP_ROUTE_MULTIPATH`) has no hash policy.
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
