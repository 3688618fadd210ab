//! Kernel settings below `/proc/sys/net`: names, paths and which of them are optional. Pure.

use std::fmt;

/// A kernel setting that a namespace needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sysctl {
    /// `net.ipv4.conf.all.forwarding`
    Ipv4Forwarding,
    /// `net.ipv6.conf.all.forwarding`
    Ipv6Forwarding,
    /// `net.ipv4.conf.all.rp_filter`: 0. Each link of an IP-VRF has its own, and the greater of both applies; the return path
    /// of an encapsulated packet may differ.
    RpFilterAll,
    /// `net.ipv4.conf.default.rp_filter`
    RpFilterDefault,
    /// `net.ipv4.conf.all.accept_redirects`: 0, no host changes the routes of a router. IPv6 ignores redirects on a device that
    /// forwards ([`LinkSetting::Ipv6Forwarding`]).
    AcceptRedirectsAll,
    /// `net.ipv4.conf.default.accept_redirects`
    AcceptRedirectsDefault,
    /// `net.ipv4.conf.all.send_redirects`: 0, no host learns a way around the router.
    SendRedirectsAll,
    /// `net.ipv4.conf.default.send_redirects`
    SendRedirectsDefault,
    /// `net.ipv4.conf.all.route_localnet`: 0, 127.0.0.0/8 is no address of a packet on a link.
    RouteLocalnetAll,
    /// `net.ipv4.conf.default.route_localnet`
    RouteLocalnetDefault,
    /// `net.vrf.strict_mode`: one table belongs to one VRF device.
    VrfStrictMode,
    /// `net.ipv4.tcp_l3mdev_accept`: 0, a listener of one VRF does not accept connections of another.
    TcpL3mdevAccept,
    /// `net.ipv4.udp_l3mdev_accept`: 0, the same for UDP.
    UdpL3mdevAccept,
    /// `net.ipv4.raw_l3mdev_accept`: 0, the same for raw sockets; the kernel's default is 1.
    RawL3mdevAccept,
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
    pub const ALL: [Self; 19] = [
        Self::Ipv4Forwarding,
        Self::Ipv6Forwarding,
        Self::RpFilterAll,
        Self::RpFilterDefault,
        Self::AcceptRedirectsAll,
        Self::AcceptRedirectsDefault,
        Self::SendRedirectsAll,
        Self::SendRedirectsDefault,
        Self::RouteLocalnetAll,
        Self::RouteLocalnetDefault,
        Self::VrfStrictMode,
        Self::TcpL3mdevAccept,
        Self::UdpL3mdevAccept,
        Self::RawL3mdevAccept,
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

    /// Settings on which VRF isolation rests and whose changes cause no message of the kernel (as those of forwarding and
    /// `rp_filter` do, `RTM_NEWNETCONF`): they are polled.
    pub const POLLED: [Self; 7] = [
        Self::AcceptRedirectsAll,
        Self::SendRedirectsAll,
        Self::RouteLocalnetAll,
        Self::VrfStrictMode,
        Self::TcpL3mdevAccept,
        Self::UdpL3mdevAccept,
        Self::RawL3mdevAccept,
    ];

    /// Whether it is about VRF devices, which are in the router namespace alone.
    pub fn is_of_vrf_devices(self) -> bool {
        matches!(self, Self::VrfStrictMode | Self::TcpL3mdevAccept | Self::UdpL3mdevAccept | Self::RawL3mdevAccept)
    }

    /// Its path below `/proc/sys`.
    pub fn path(self) -> &'static str {
        match self {
            Self::Ipv4Forwarding => "net/ipv4/conf/all/forwarding",
            Self::Ipv6Forwarding => "net/ipv6/conf/all/forwarding",
            Self::RpFilterAll => "net/ipv4/conf/all/rp_filter",
            Self::RpFilterDefault => "net/ipv4/conf/default/rp_filter",
            Self::AcceptRedirectsAll => "net/ipv4/conf/all/accept_redirects",
            Self::AcceptRedirectsDefault => "net/ipv4/conf/default/accept_redirects",
            Self::SendRedirectsAll => "net/ipv4/conf/all/send_redirects",
            Self::SendRedirectsDefault => "net/ipv4/conf/default/send_redirects",
            Self::RouteLocalnetAll => "net/ipv4/conf/all/route_localnet",
            Self::RouteLocalnetDefault => "net/ipv4/conf/default/route_localnet",
            Self::VrfStrictMode => "net/vrf/strict_mode",
            Self::TcpL3mdevAccept => "net/ipv4/tcp_l3mdev_accept",
            Self::UdpL3mdevAccept => "net/ipv4/udp_l3mdev_accept",
            Self::RawL3mdevAccept => "net/ipv4/raw_l3mdev_accept",
            Self::TcpFwmarkAccept => "net/ipv4/tcp_fwmark_accept",
            Self::Ipv4FwmarkReflect => "net/ipv4/fwmark_reflect",
            Self::Ipv6FwmarkReflect => "net/ipv6/fwmark_reflect",
            Self::Ipv4MultipathHash => "net/ipv4/fib_multipath_hash_policy",
            Self::Ipv6MultipathHash => "net/ipv6/fib_multipath_hash_policy",
        }
    }
}

/// A setting of one device; [`LinkSetting::is_needed_on`] is the value that a link of ours needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkSetting {
    /// `net.ipv4.conf.<device>.forwarding`: packets that are received there are forwarded. On the host it is the host's own.
    Ipv4Forwarding,
    /// `net.ipv6.conf.<device>.forwarding`: redirects and router advertisements that are received there are ignored (Linux
    /// `net/ipv6/route.c`: `rt6_do_redirect`, `include/net/ipv6.h`: `ipv6_accept_ra`). Packets are forwarded by the setting for all
    /// devices. On the host it is the host's own.
    Ipv6Forwarding,
    /// `net.ipv4.conf.<device>.accept_redirects`
    AcceptRedirects,
    /// `net.ipv4.conf.<device>.send_redirects`
    SendRedirects,
    /// `net.ipv4.conf.<device>.route_localnet`
    RouteLocalnet,
}

impl LinkSetting {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Ipv4Forwarding, Self::Ipv6Forwarding, Self::AcceptRedirects, Self::SendRedirects, Self::RouteLocalnet];

    /// Those on which VRF isolation rests: off. Where the one for all devices of the namespace is off, the kernel applies that of the
    /// device (accepted redirects excepted, on a device that forwards). Changes of them cause no message of the kernel.
    pub const OFF: [Self; 3] = [Self::AcceptRedirects, Self::SendRedirects, Self::RouteLocalnet];

    /// Whether a link of ours needs it on.
    pub fn is_needed_on(self) -> bool {
        !Self::OFF.contains(&self)
    }

    /// The same setting for all devices, where a write to that one writes those of all devices.
    pub fn of_all(self) -> Option<Sysctl> {
        match self {
            Self::Ipv4Forwarding => Some(Sysctl::Ipv4Forwarding),
            Self::Ipv6Forwarding => Some(Sysctl::Ipv6Forwarding),
            Self::AcceptRedirects | Self::SendRedirects | Self::RouteLocalnet => None,
        }
    }

    /// Its path below `/proc/sys`.
    pub fn path(self, device: &str) -> String {
        let (family, name) = match self {
            Self::Ipv4Forwarding => ("ipv4", "forwarding"),
            Self::Ipv6Forwarding => ("ipv6", "forwarding"),
            Self::AcceptRedirects => ("ipv4", "accept_redirects"),
            Self::SendRedirects => ("ipv4", "send_redirects"),
            Self::RouteLocalnet => ("ipv4", "route_localnet"),
        };
        format!("net/{family}/conf/{device}/{name}")
    }

    /// `IPV4_DEVCONF_*` (Linux `include/uapi/linux/ip.h`) with a value; those of IPv6 cannot be set by netlink.
    pub fn devconf(self, on: bool) -> Option<(u16, u32)> {
        let number = match self {
            Self::Ipv4Forwarding => 1,
            Self::Ipv6Forwarding => return None,
            Self::AcceptRedirects => 4,
            Self::SendRedirects => 6,
            Self::RouteLocalnet => 26,
        };
        Some((number, u32::from(on)))
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path().replace('/', "."))
    }
}
