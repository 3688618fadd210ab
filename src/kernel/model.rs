//! Kernel state of the router, wanted and observed: one type for both, comparable by value. Masters and peers are names;
//! an ifindex exists only below [`super::apply`], and of links of others that may be attached again. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

pub use super::host_network::HostNetwork;
pub use super::host_ports::{HostPort, HostPorts};
pub use super::ip_use::{IpUse, Ipv6Settings};
use super::ovs_state::OvsState;
pub use super::sysctl::{LinkSetting, Sysctl};
use crate::names::{OwnedName, Role, SourceTable};
use crate::scope::Scope;
use crate::types::{Family, IfName, MacAddr, TableId, Vni, VrfName};

/// A network namespace as seen from a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Netns {
    /// The namespace of the node itself, where the host's BGP speaker runs.
    Host,
    /// The router namespace, with the underlay NICs.
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

/// Namespace and name of one of our links.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkKey {
    /// Its namespace.
    pub netns: Netns,
    /// Its name.
    pub name: OwnedName,
}

impl fmt::Display for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.netns, self.name)
    }
}

/// Kind of a link with the attributes that cannot change without recreating it.
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
    /// is. Over IPv6 it accepts a UDP checksum of zero, which a switch sends (section 5 there, RFC 6935) and the kernel
    /// otherwise drops; it sends a checksum itself.
    Vxlan {
        /// Network identifier.
        vni: Vni,
        /// Source address of the encapsulation: the VTEP.
        local: IpAddr,
        /// UDP destination port.
        port: u16,
    },
    /// One end of a veth pair. The pair is created by its PE end.
    Veth {
        /// The other end.
        peer: Box<LinkKey>,
    },
    /// Has our name and link group, but is not what we create: another kind, a VXLAN device that learns, a bridge with
    /// STP, a veth end without its peer. Only observed, never wanted, so it is replaced.
    Other,
}

/// `rp_filter` of a device: which IPv4 sources are accepted on it (RFC 3704). The kernel applies the greater of this and the
/// value for all devices of the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RpFilter {
    /// All. Only observed, never wanted.
    Off,
    /// Those to which the best route leads through the device (section 2.2).
    Strict,
    /// Those to which there is a route in the VRF (section 2.4).
    Loose,
}

impl RpFilter {
    /// Of the value that the kernel has.
    pub fn of(value: i32) -> Self {
        match value {
            0 => Self::Off,
            1 => Self::Strict,
            _ => Self::Loose,
        }
    }

    /// The value that the kernel has.
    pub fn value(self) -> u32 {
        match self {
            Self::Off => 0,
            Self::Strict => 1,
            Self::Loose => 2,
        }
    }
}

/// Bridge port settings of a VXLAN device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct BridgePort {
    /// `neigh_suppress`: ARP and ND are answered from EVPN routes (RFC 7432 section 10).
    pub neigh_suppress: bool,
    /// MAC learning from the data plane.
    pub learning: bool,
}

/// A device of the host that is made the master of a host end. It belongs to the host and is not changed itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostMaster {
    /// A VRF device.
    Vrf(IfName),
    /// A bridge.
    Bridge(IfName),
}

impl HostMaster {
    /// Its name.
    pub fn name(&self) -> &IfName {
        match self {
            Self::Vrf(name) | Self::Bridge(name) => name,
        }
    }
}

/// A link of ours. Fields that a kind does not use are `None` on both the wanted and the observed side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What it belongs to. Set by a plan; an observation derives it from namespace and masters
    /// ([`KernelState::scope_by_place`]).
    pub scope: Scope,
    /// Kind and immutable attributes.
    pub kind: LinkKind,
    /// It belongs to an L2 segment, by its link group. It cannot change: the link is replaced.
    pub segment: bool,
    /// Master in the same namespace: the bridge of a VXLAN device; in `vrf` mode the VRF device of bridge and PE veth. Of a
    /// segment also the bridges of both veth ends.
    pub master: Option<OwnedName>,
    /// Device of the host that is master of the host end, if we set it. A master that others set is not observed, and so
    /// left alone.
    pub host_master: Option<HostMaster>,
    /// MTU in bytes; `None` for a VRF device.
    pub mtu: Option<u32>,
    /// MAC address; the router MAC or gateway MAC for the bridge of a VXLAN device, `None` for others.
    pub mac: Option<MacAddr>,
    /// `IFF_UP`.
    pub up: bool,
    /// `addrgenmode none`: no IPv6 link-local address. True for VXLAN devices, for bridges but gateways, and for both veth ends
    /// of a segment, false for others.
    pub addrgen_none: bool,
    /// Its part in IP; [`IpUse::Routed`] for a VXLAN device.
    pub ip: IpUse,
    /// Filter of IPv4 sources; `None` for a VXLAN device, which receives no IP packets itself.
    pub rp_filter: Option<RpFilter>,
    /// Settings with another value than the link needs. Only observed, never wanted; empty for a VXLAN device.
    pub wrong_settings: BTreeSet<LinkSetting>,
    /// Addresses with their prefix length, without IPv6 link-local ones.
    pub addresses: BTreeSet<IpNet>,
    /// Port settings; `Some` for a VXLAN device and for the PE end of a segment.
    pub port: Option<BridgePort>,
}

/// A second TCP port on which the router accepts BGP connections that arrive on a veth end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListenPort {
    /// The PE end.
    pub on: LinkKey,
    /// The port.
    pub port: u16,
    /// Its rules are complete. False is only observed, never wanted: it is replaced.
    pub whole: bool,
}

/// Drops IPv6 packets from sources without a route back, as `rp_filter` does for IPv4. With a device the route has to lead
/// through it, or through any link of the VRF where it is a VRF device; without one any route of the namespace will do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceFilter {
    /// Where.
    pub netns: Netns,
    /// For which packets.
    pub table: SourceTable,
    /// Its rules are complete. False is only observed, never wanted: it is replaced.
    pub whole: bool,
}

/// All kernel state of the router on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelState {
    /// Namespaces of IP-VRFs (`netns` mode).
    pub vrf_netns: BTreeSet<VrfName>,
    /// Our links in all namespaces.
    pub links: BTreeMap<LinkKey, Link>,
    /// Underlay NICs and their namespaces. Wanted: always [`Netns::Router`]. Observed: only NICs that were asked for or
    /// that we moved; one that does not exist is absent.
    pub nics: BTreeMap<IfName, Netns>,
    /// The alternative names by which objects name NICs, by primary name. Only wanted, for messages.
    pub nic_aliases: BTreeMap<IfName, IfName>,
    /// NICs in the router that lack something that they were taken with: they are down, renamed, or without one of their
    /// addresses. Only observed, never wanted.
    pub damaged_nics: BTreeSet<IfName>,
    /// Global addresses on `lo` of the router namespace (the VTEP).
    pub loopback: BTreeSet<IpNet>,
    /// Tables with an unreachable default route of worst metric, so that a lookup without match in a VRF never continues in
    /// the main table (`vrf` mode).
    pub unreachable: BTreeSet<(TableId, Family)>,
    /// Families in which the router namespace looks up table `local` after the tables of its VRFs (`vrf` mode). By default
    /// the kernel looks it up first, and a packet of a VRF to an address of the router itself, the VTEP, is delivered
    /// there (Linux `Documentation/networking/vrf.rst`).
    pub local_last: BTreeSet<Family>,
    /// Second BGP ports.
    pub listen_ports: BTreeSet<ListenPort>,
    /// Filters of IPv6 sources.
    pub source_filters: BTreeSet<SourceFilter>,
    /// Bridges and ports in Open vSwitch of the host.
    pub ovs: OvsState,
    /// Observed: the ports of others that managed bridges have. Wanted: those that a bridge gets which is created.
    pub host_ports: HostPorts,
    /// Settings by namespace. Observed: those that the kernel has.
    pub sysctls: BTreeMap<(Netns, Sysctl), u32>,
}

impl KernelState {
    /// The same with the nodes of its trees filled: where entries are added in order, each node stays half empty.
    #[must_use]
    pub fn compact(self) -> Self {
        let (links, sysctls) = (self.links.into_iter().collect(), self.sysctls.into_iter().collect());
        Self { links, sysctls, ..self }
    }

    /// What a link belongs to: the segment of its VNI if it is of one, else according to its place. The host end of a veth pair
    /// belongs where its PE end does. Without an IP-VRF it is the segment of its VNI.
    pub fn scope_by_place(&self, key: &LinkKey) -> Scope {
        let is_segment = self.links.get(key).is_some_and(|link| link.segment);
        match (self.vrf_by_place(key), &key.name) {
            (_, OwnedName::Vni(_, vni)) if is_segment => Scope::Segment(*vni),
            (Some(vrf), _) | (None, OwnedName::Vrf(vrf)) => Scope::Vrf(vrf.clone()),
            (None, OwnedName::Vni(_, vni)) => Scope::Segment(*vni),
        }
    }

    /// The IP-VRF that a link is in: that of its namespace, or of the VRF device on top of its masters.
    pub fn vrf_by_place(&self, key: &LinkKey) -> Option<&VrfName> {
        let (key, link) = self.links.get_key_value(key)?;
        match &link.kind {
            LinkKind::Veth { peer } if key.netns == Netns::Host => self.vrf_above(peer),
            _ => self.vrf_above(key),
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

/// What a plan needs to know of a NIC that objects name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicFacts {
    /// Its primary name; objects may use another of its names.
    pub name: IfName,
    /// Its alternative names (`ip link property add … altname`) that are as short as a primary name.
    pub altnames: BTreeSet<IfName>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Host or router.
    pub netns: Netns,
    /// We have moved it, or have begun to: it is ours to move.
    pub taken: bool,
    /// `IFLA_INFO_KIND`, such as `macvlan`; empty for hardware.
    pub kind: String,
    /// Why it is never moved; `None` if it may be.
    pub fixed: Option<FixedLink>,
    /// Its master on the host.
    pub master: Option<String>,
    /// Devices of the host that send through it.
    pub stacked: BTreeSet<StackedDevice>,
    /// Its addresses, IPv6 link-local ones too.
    pub addresses: BTreeSet<IpNet>,
    /// It got another address a moment ago: the host is configuring it.
    pub settling: bool,
    /// Those of its addresses that have a lifetime: a DHCP client or a router advertisement renews them.
    pub leased: BTreeSet<IpNet>,
    /// What its routes are needed for; empty for a NIC that we have moved.
    pub routes: RouteUse,
}

impl NicFacts {
    /// A NIC on the host that nothing uses.
    pub fn unused(name: IfName, mtu: u32) -> Self {
        Self {
            name,
            altnames: BTreeSet::new(),
            mtu,
            netns: Netns::Host,
            taken: false,
            kind: String::new(),
            fixed: None,
            master: None,
            stacked: BTreeSet::new(),
            addresses: BTreeSet::new(),
            settling: false,
            leased: BTreeSet::new(),
            routes: RouteUse::default(),
        }
    }
}

/// Why a link is never moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FixedLink {
    /// It is a link of perouter, not a NIC.
    Ours,
    /// The kernel does not move it to another namespace (`NETIF_F_NETNS_LOCAL`); kernels before 6.12 report no link as such.
    Immovable,
}

/// A device on top of a NIC: a VLAN, a macvlan, a VXLAN device with `dev` and the like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StackedDevice {
    /// Its name.
    pub name: String,
    /// `IFLA_INFO_KIND`
    pub kind: String,
}

/// What the routes of the host over a NIC are needed for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteUse {
    /// The families whose only default route (table `main`) goes over it.
    pub only_default: BTreeSet<Family>,
    /// The API servers that the host reaches over it.
    pub api_servers: BTreeSet<IpAddr>,
    /// A DHCP client has set a route over it (`proto dhcp`).
    pub dhcp: bool,
}

/// NICs that were asked for, by the name that was asked for; one that does not exist is absent.
pub type ObservedNics = BTreeMap<IfName, NicFacts>;

/// FRR reads the upper byte of a kernel metric as the distance: this one is [255/8192], which every protocol overrides
/// (Linux `Documentation/networking/vrf.rst`).
pub const UNREACHABLE_METRIC: u32 = 4_278_198_272;

/// TOS of a VXLAN device. With 0 the kernel caches the route to a VTEP per CPU, so that one of several equal-cost paths
/// carries everything (Linux `drivers/net/vxlan/vxlan_core.c`: `use_cache`). This sets no DSCP but the ECN bits, which the
/// kernel overwrites with those of the inner packet (RFC 6040).
pub const ROUTE_EACH_PACKET: u8 = 2;

/// Preference of the rule for table `local` where there are VRFs: after that for VRF tables (1000), before that for table
/// `main` (32766).
pub const LOCAL_RULE: u32 = 32_765;

/// `RT_TABLE_LOCAL`
pub const LOCAL_TABLE: u8 = 255;
