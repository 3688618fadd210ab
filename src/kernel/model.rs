//! What the kernel shall have, and what it has: one type for both, comparable by value. Masters and peers are names;
//! an ifindex exists only in `apply`. Pure data.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::names::{OwnedName, Role};
use crate::scope::Scope;
use crate::types::{Family, IfName, MacAddr, TableId, Vni, VrfName};

/// A network namespace as seen from a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Netns {
    /// The namespace of the node itself, where the host's BGP speaker runs.
    Host,
    /// The router namespace, which holds the fabric NIC.
    Router,
    /// The namespace of one IP-VRF (`netns` mode only).
    Vrf(VrfName),
}

impl fmt::Display for Netns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.write_str("host"),
            Self::Router => f.write_str("router"),
            Self::Vrf(name) => write!(f, "vrf:{name}"),
        }
    }
}

/// Where one of our links is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkKey {
    /// The namespace that holds it.
    pub netns: Netns,
    /// Its name.
    pub name: OwnedName,
}

impl fmt::Display for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.netns, self.name)
    }
}

/// Kind of a link with the attributes that cannot change without making it anew.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkKind {
    /// A VRF device.
    Vrf {
        /// Its routing table.
        table: TableId,
    },
    /// A bridge, always with STP off and multicast snooping off.
    Bridge,
    /// A VXLAN device (RFC 7348), learning off, DSCP 0. Its socket is always in the router namespace, wherever the device
    /// is.
    Vxlan {
        /// Network identifier.
        vni: Vni,
        /// Source address of the encapsulation: the VTEP.
        local: IpAddr,
        /// UDP destination port.
        port: u16,
    },
    /// One end of a veth pair. The pair is made by its PE end; the host end is born with it.
    Veth {
        /// The other end.
        peer: Box<LinkKey>,
    },
    /// Has our name and link group, but is not what we make: another kind, a VXLAN device that learns, a bridge with
    /// STP, a veth end without its other end. Only observed, never wanted, so it is replaced.
    Other,
}

/// Bridge port settings of a VXLAN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BridgePort {
    /// `neigh_suppress`: ARP and ND are answered from what EVPN knows (RFC 7432 section 10).
    pub neigh_suppress: bool,
    /// MAC learning from the data plane.
    pub learning: bool,
}

/// A link of ours. Fields that a kind does not use are `None` on both the wanted and the observed side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it belongs to. A plan says it; an observation derives it from where the link is
    /// ([`KernelState::scope_by_place`]).
    pub scope: Scope,
    /// Kind and immutable attributes.
    pub kind: LinkKind,
    /// Master in the same namespace: the bridge of a VXLAN device; in `vrf` mode the VRF device of bridge and PE veth.
    pub master: Option<OwnedName>,
    /// VRF device of the host that holds the host end, if we put it there. A foreign master is not seen, and so left alone.
    pub host_vrf: Option<IfName>,
    /// MTU in bytes; `None` for a VRF device.
    pub mtu: Option<u32>,
    /// MAC address; the router MAC for a bridge, `None` for other kinds.
    pub mac: Option<MacAddr>,
    /// `IFF_UP`.
    pub up: bool,
    /// `addrgenmode none`: no IPv6 link-local address. True for bridge and VXLAN, false for others.
    pub addrgen_none: bool,
    /// Addresses with their prefix length, without IPv6 link-local ones.
    pub addresses: BTreeSet<IpNet>,
    /// Port settings; `Some` for a VXLAN device only.
    pub port: Option<BridgePort>,
}

/// A kernel setting under `/proc/sys/net` that a namespace needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sysctl {
    /// `net.ipv4.conf.all.forwarding`
    Ipv4Forwarding,
    /// `net.ipv6.conf.all.forwarding`
    Ipv6Forwarding,
    /// `net.ipv4.conf.all.rp_filter`: the way back of an overlay packet may differ.
    RpFilterAll,
    /// `net.ipv4.conf.default.rp_filter`
    RpFilterDefault,
    /// `net.vrf.strict_mode`: one table belongs to one VRF device.
    VrfStrictMode,
    /// `net.ipv4.tcp_l3mdev_accept`: 0, a listener of one VRF does not take connections of another.
    TcpL3mdevAccept,
    /// `net.ipv4.tcp_fwmark_accept`: a connection has the mark of its first packet, IPv6 too.
    TcpFwmarkAccept,
    /// `net.ipv4.fwmark_reflect`: what the kernel itself answers has the mark of what it answers.
    Ipv4FwmarkReflect,
    /// `net.ipv6.fwmark_reflect`
    Ipv6FwmarkReflect,
    /// `net.ipv4.fib_multipath_hash_policy`: 1, flows are told apart by their ports as well. By addresses alone all VXLAN
    /// packets between two VTEPs take one path: their flows differ in the UDP source port (RFC 7348 section 5).
    Ipv4MultipathHash,
    /// `net.ipv6.fib_multipath_hash_policy`
    Ipv6MultipathHash,
}

/// A second TCP port on which the router answers as on 179 what comes by a veth end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenPort {
    /// The PE end.
    pub on: LinkKey,
    /// The port.
    pub port: u16,
    /// It is what we make. False is only observed, never wanted: it is replaced.
    pub whole: bool,
}

/// All kernel state of the router on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelState {
    /// Namespaces of IP-VRFs (`netns` mode).
    pub vrf_netns: BTreeSet<VrfName>,
    /// Our links in all namespaces.
    pub links: BTreeMap<LinkKey, Link>,
    /// Underlay NICs and where they are. Wanted: always [`Netns::Router`]. Observed: only NICs that were asked for or
    /// that we moved; one that does not exist is absent.
    pub nics: BTreeMap<IfName, Netns>,
    /// Global addresses on `lo` of the router namespace (the VTEP).
    pub loopback: BTreeSet<IpNet>,
    /// Tables with an unreachable default route of worst metric, so that a miss in a VRF never falls through to the
    /// main table (`vrf` mode).
    pub unreachable: BTreeSet<(TableId, Family)>,
    /// Families in which the router namespace looks up table `local` after the tables of its VRFs (`vrf` mode). The kernel
    /// begins with it before them, and then a packet of a VRF to an address of the router itself, the VTEP, arrives there
    /// (Linux `Documentation/networking/vrf.rst`).
    pub local_last: BTreeSet<Family>,
    /// Second BGP ports.
    pub listen_ports: BTreeSet<ListenPort>,
    /// Settings by namespace. Observed holds the same keys where the kernel has them.
    pub sysctls: BTreeMap<(Netns, Sysctl), u32>,
}

impl KernelState {
    /// What a link belongs to by where it is: the IP-VRF of its namespace, or of the VRF device on top of its masters.
    /// The host end of a veth pair belongs where its PE end does. Without an IP-VRF it is the segment of its VNI.
    pub fn scope_by_place(&self, key: &LinkKey) -> Scope {
        let inside = match self.links.get(key).map(|link| &link.kind) {
            Some(LinkKind::Veth { peer }) if key.netns == Netns::Host => peer,
            _ => key,
        };
        match (self.vrf_above(inside), &key.name) {
            (Some(vrf), _) | (None, OwnedName::Vrf(vrf)) => Scope::Vrf(vrf.clone()),
            (None, OwnedName::Vni(_, vni)) => Scope::Segment(*vni),
        }
    }

    fn vrf_above<'a>(&'a self, key: &'a LinkKey) -> Option<&'a VrfName> {
        if let Netns::Vrf(vrf) = &key.netns {
            return Some(vrf);
        }
        match self.links.get(key)?.master.as_ref()? {
            OwnedName::Vrf(vrf) => Some(vrf),
            OwnedName::Vni(Role::Bridge, vni) if !matches!(key.name, OwnedName::Vni(Role::Bridge, _)) => {
                let bridge = LinkKey { netns: key.netns.clone(), name: OwnedName::Vni(Role::Bridge, *vni) };
                let (bridge, _) = self.links.get_key_value(&bridge)?;
                self.vrf_above(bridge)
            }
            OwnedName::Vni(..) => None,
        }
    }
}
