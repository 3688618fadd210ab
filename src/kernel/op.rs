//! One change of kernel state as plain data. In: keys and values of [`super::model`]. Out: [`KernelOp`], which prints
//! like an `ip` command line and tells what it belongs to. Decides and does nothing.

use std::fmt;

use ipnet::IpNet;

use super::model::{BridgePort, LinkKey, LinkKind, ListenPort, Netns, Sysctl};
use crate::names::OwnedName;
use crate::types::{Family, IfName, MacAddr, TableId, Vni, VrfName};

/// A link as it is made. A veth pair is made by its PE end; both ends get the MTU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// Where, and under which name.
    pub key: LinkKey,
    /// Kind and the attributes that cannot change.
    pub kind: LinkKind,
    /// MTU in bytes; the kernel's choice if `None`.
    pub mtu: Option<u32>,
    /// MAC address; the kernel's choice if `None`.
    pub mac: Option<MacAddr>,
    /// Made without IPv6 link-local address.
    pub addrgen_none: bool,
}

/// What holds an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// `lo` of the router namespace.
    Loopback,
    /// One of our links.
    Link(LinkKey),
}

/// One change of kernel state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelOp {
    /// Makes the namespace of an IP-VRF, with `lo` up, and shows it to zebra.
    CreateNetns(VrfName),
    /// Removes the namespace of an IP-VRF with all links inside and the host ends of their veth pairs.
    DeleteNetns(VrfName),
    /// Makes a link, down and without master.
    CreateLink(NewLink),
    /// Deletes a link.
    DeleteLink {
        /// The link.
        key: LinkKey,
        /// The veth end that goes with it.
        with: Option<LinkKey>,
    },
    /// Puts a link under a master in its namespace, or under none.
    SetMaster {
        /// The link.
        key: LinkKey,
        /// The master.
        master: Option<OwnedName>,
    },
    /// Puts the host end into a VRF device of the host, or takes it out of the one that we put it into.
    SetHostVrf {
        /// The link.
        key: LinkKey,
        /// The device.
        vrf: Option<IfName>,
    },
    /// Sets the MTU.
    SetMtu {
        /// The link.
        key: LinkKey,
        /// Bytes.
        mtu: u32,
    },
    /// Sets the MAC address.
    SetMac {
        /// The link.
        key: LinkKey,
        /// The address.
        mac: MacAddr,
    },
    /// Sets the link up.
    SetUp(LinkKey),
    /// Sets the link down.
    SetDown(LinkKey),
    /// Sets whether the link makes itself an IPv6 link-local address.
    SetAddrGen {
        /// The link.
        key: LinkKey,
        /// `addrgenmode none`, else `eui64`.
        none: bool,
    },
    /// Sets the bridge port settings of a VXLAN device.
    SetPort {
        /// The port.
        key: LinkKey,
        /// The settings.
        port: BridgePort,
    },
    /// Adds an address.
    AddAddress {
        /// To what.
        on: Holder,
        /// Address with prefix length.
        address: IpNet,
    },
    /// Removes an address.
    DelAddress {
        /// From what.
        on: Holder,
        /// Address with prefix length.
        address: IpNet,
    },
    /// Moves an underlay NIC into the router namespace.
    MoveNic(IfName),
    /// Gives an underlay NIC back to the host with all that it had.
    ReturnNic(IfName),
    /// Writes a kernel setting.
    SetSysctl {
        /// The namespace.
        netns: Netns,
        /// The setting.
        sysctl: Sysctl,
        /// The value.
        value: u32,
    },
    /// Moves the rule for table `local` of the router namespace behind that for VRF tables.
    MoveLocalRule(Family),
    /// Adds the unreachable default route of a VRF table.
    AddUnreachable(TableId, Family),
    /// Removes the unreachable default route of a VRF table.
    DelUnreachable(TableId, Family),
    /// Opens a second BGP port.
    OpenPort(ListenPort),
    /// Closes a second BGP port.
    ClosePort(ListenPort),
}

/// The part of a pass that an op belongs to. A diff has them in this order; FRR is told in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// What goes. FRR lets go of the VRF before.
    Release,
    /// What everything stands on: settings, NICs, VTEP address, empty VRF namespaces. Zebra takes up a VRF namespace
    /// after this stage and before the next.
    Ground,
    /// The links of IP-VRFs.
    Build,
    /// The addresses of these links. Zebra takes up the links after the stage before and before this one: it hears of
    /// links and of addresses on two sockets, read by two threads, and drops an address whose link it does not know.
    Address,
}

/// Ops of different lanes of one stage do not depend on each other, but for `Global` and `Vrf`, on which all stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Belongs to the node.
    Global,
    /// Belongs to an IP-VRF.
    Vrf(VrfName),
    /// Belongs to a VNI.
    Vni(Vni),
}

/// Operations of one wave may run concurrently, lane by lane; waves run one after the other, in their order: what others
/// depend on is created before them and removed after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wave(Stage, u8);

impl KernelOp {
    /// The VNI that asked for it, where it can be told.
    pub fn vni(&self) -> Option<Vni> {
        match self {
            Self::CreateLink(NewLink { kind: LinkKind::Vrf { table }, .. })
            | Self::AddUnreachable(table, _)
            | Self::DelUnreachable(table, _) => table.vni(),
            _ => self.link()?.name.vni(),
        }
    }

    /// The IP-VRF that asked for it, where it can be told.
    pub fn vrf(&self) -> Option<&VrfName> {
        match self {
            Self::CreateNetns(vrf)
            | Self::DeleteNetns(vrf)
            | Self::SetSysctl { netns: Netns::Vrf(vrf), .. }
            | Self::SetMaster { master: Some(OwnedName::Vrf(vrf)), .. } => Some(vrf),
            Self::DeleteLink { key, with } => vrf_of(key).or_else(|| with.as_ref().and_then(vrf_of)),
            _ => self.link().and_then(vrf_of),
        }
    }

    /// The link of ours that it works on.
    pub fn link(&self) -> Option<&LinkKey> {
        match self {
            Self::CreateLink(NewLink { key, .. })
            | Self::DeleteLink { key, .. }
            | Self::SetMaster { key, .. }
            | Self::SetHostVrf { key, .. }
            | Self::SetMtu { key, .. }
            | Self::SetMac { key, .. }
            | Self::SetUp(key)
            | Self::SetDown(key)
            | Self::SetAddrGen { key, .. }
            | Self::SetPort { key, .. }
            | Self::AddAddress { on: Holder::Link(key), .. }
            | Self::DelAddress { on: Holder::Link(key), .. }
            | Self::OpenPort(ListenPort { on: key, .. })
            | Self::ClosePort(ListenPort { on: key, .. }) => Some(key),
            Self::CreateNetns(_)
            | Self::DeleteNetns(_)
            | Self::AddAddress { .. }
            | Self::DelAddress { .. }
            | Self::MoveNic(_)
            | Self::ReturnNic(_)
            | Self::SetSysctl { .. }
            | Self::MoveLocalRule(_)
            | Self::AddUnreachable(..)
            | Self::DelUnreachable(..) => None,
        }
    }

    /// The part of a pass that it belongs to.
    pub fn stage(&self) -> Stage {
        match self {
            Self::DeleteNetns(_)
            | Self::DeleteLink { .. }
            | Self::ReturnNic(_)
            | Self::DelUnreachable(..)
            | Self::ClosePort(_)
            | Self::DelAddress { on: Holder::Loopback, .. } => Stage::Release,
            Self::CreateNetns(_)
            | Self::SetSysctl { .. }
            | Self::MoveLocalRule(_)
            | Self::MoveNic(_)
            | Self::AddAddress { on: Holder::Loopback, .. } => Stage::Ground,
            Self::AddAddress { on: Holder::Link(_), .. } => Stage::Address,
            _ => Stage::Build,
        }
    }

    /// When it runs, see [`Wave`].
    pub fn wave(&self) -> Wave {
        let stage = self.stage();
        let rank = match (self.lane(), stage) {
            (Lane::Global, Stage::Release) | (Lane::Vni(_), Stage::Ground | Stage::Build | Stage::Address) => 2,
            (Lane::Vrf(_), _) => 1,
            (Lane::Vni(_), Stage::Release) | (Lane::Global, Stage::Ground | Stage::Build | Stage::Address) => 0,
        };
        Wave(stage, rank)
    }

    /// What it can be done independently of.
    pub fn lane(&self) -> Lane {
        match self {
            Self::AddUnreachable(table, _) | Self::DelUnreachable(table, _) => {
                table.vni().map_or(Lane::Global, Lane::Vni)
            }
            _ => match (self.link().and_then(|key| key.name.vni()), self.vrf()) {
                (Some(vni), _) => Lane::Vni(vni),
                (None, Some(vrf)) => Lane::Vrf(vrf.clone()),
                (None, None) => Lane::Global,
            },
        }
    }
}

fn vrf_of(key: &LinkKey) -> Option<&VrfName> {
    match (&key.netns, &key.name) {
        (Netns::Vrf(vrf), _) | (_, OwnedName::Vrf(vrf)) => Some(vrf),
        _ => None,
    }
}

impl fmt::Display for KernelOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNetns(vrf) => write!(f, "netns add {vrf}"),
            Self::DeleteNetns(vrf) => write!(f, "netns delete {vrf}"),
            Self::CreateLink(new) => fmt::Display::fmt(new, f),
            Self::DeleteLink { key, .. } => write!(f, "{}: link delete {}", key.netns, key.name),
            Self::SetMaster { key, master: Some(master) } => set(f, key, format_args!("master {master}")),
            Self::SetMaster { key, master: None } | Self::SetHostVrf { key, vrf: None } => set(f, key, "nomaster"),
            Self::SetHostVrf { key, vrf: Some(vrf) } => set(f, key, format_args!("master {vrf}")),
            Self::SetMtu { key, mtu } => set(f, key, format_args!("mtu {mtu}")),
            Self::SetMac { key, mac } => set(f, key, format_args!("address {mac}")),
            Self::SetUp(key) => set(f, key, "up"),
            Self::SetDown(key) => set(f, key, "down"),
            Self::SetAddrGen { key, none } => {
                set(f, key, format_args!("addrgenmode {}", if *none { "none" } else { "eui64" }))
            }
            Self::SetPort { key, port } => set(
                f,
                key,
                format_args!(
                    "type bridge_slave neigh_suppress {} learning {}",
                    on_off(port.neigh_suppress),
                    on_off(port.learning)
                ),
            ),
            Self::AddAddress { on, address } => on.address(f, "add", address),
            Self::DelAddress { on, address } => on.address(f, "delete", address),
            Self::MoveNic(nic) => write!(f, "host: link set {nic} netns router"),
            Self::ReturnNic(nic) => write!(f, "router: link set {nic} netns host"),
            Self::SetSysctl { netns, sysctl, value } => write!(f, "{netns}: sysctl {sysctl}={value}"),
            Self::MoveLocalRule(family) => {
                let option = if *family == Family::Ipv4 { "-4" } else { "-6" };
                write!(f, "router: {option} rule lookup local from preference 0 to {LOCAL_RULE}")
            }
            Self::AddUnreachable(table, family) => unreachable_route(f, "add", *table, *family),
            Self::DelUnreachable(table, family) => unreachable_route(f, "delete", *table, *family),
            Self::OpenPort(opened) => opened.command(f, "add"),
            Self::ClosePort(opened) => opened.command(f, "delete"),
        }
    }
}

impl fmt::Display for NewLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LinkKey { netns, name } = &self.key;
        write!(f, "{netns}: link add {name}")?;
        if let Some(mac) = self.mac {
            write!(f, " address {mac}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if self.addrgen_none {
            f.write_str(" addrgenmode none")?;
        }
        match &self.kind {
            LinkKind::Vrf { table } => write!(f, " type vrf table {table}"),
            LinkKind::Bridge => f.write_str(" type bridge stp_state 0 mcast_snooping 0"),
            LinkKind::Vxlan { vni, local, port } => {
                write!(f, " type vxlan id {vni} local {local} dstport {port} nolearning tos {ROUTE_EACH_PACKET}")
            }
            LinkKind::Other => f.write_str(" type other"),
            LinkKind::Veth { peer } => write!(f, " type veth peer name {} netns {}", peer.name, peer.netns),
        }
    }
}

impl Holder {
    fn address(&self, f: &mut fmt::Formatter<'_>, verb: &str, address: &IpNet) -> fmt::Result {
        match self {
            Self::Loopback => write!(f, "router: address {verb} {address} dev lo"),
            Self::Link(LinkKey { netns, name }) => write!(f, "{netns}: address {verb} {address} dev {name}"),
        }
    }
}

impl ListenPort {
    fn command(&self, f: &mut fmt::Formatter<'_>, verb: &str) -> fmt::Result {
        let Self { on: LinkKey { netns, name }, port, .. } = self;
        write!(f, "{netns}: nftables {verb} TCP port {port} as 179 on {name}")
    }
}

fn set(f: &mut fmt::Formatter<'_>, key: &LinkKey, what: impl fmt::Display) -> fmt::Result {
    write!(f, "{}: link set {} {what}", key.netns, key.name)
}

fn unreachable_route(f: &mut fmt::Formatter<'_>, verb: &str, table: TableId, family: Family) -> fmt::Result {
    let default = match family {
        Family::Ipv4 => "0.0.0.0/0",
        Family::Ipv6 => "::/0",
    };
    write!(f, "router: route {verb} unreachable {default} table {table} metric {UNREACHABLE_METRIC}")
}

/// FRR reads the upper byte of a kernel metric as the distance: this one is [255/8192], which every protocol overrides
/// (Linux `Documentation/networking/vrf.rst`).
pub const UNREACHABLE_METRIC: u32 = 4_278_198_272;

/// TOS of a VXLAN device. With 0 the kernel keeps the route to a VTEP for all packets of a CPU, so that of several equal
/// ways one is used (Linux `drivers/net/vxlan/vxlan_core.c`: `use_cache`). This is no DSCP but ECN's part of the byte, for
/// which the kernel takes what the inner packet has (RFC 6040).
pub const ROUTE_EACH_PACKET: u8 = 2;

/// Preference of the rule for table `local` where there are VRFs: behind that for VRF tables (1000), before that for table
/// `main` (32766).
pub const LOCAL_RULE: u32 = 32_765;

fn on_off(value: bool) -> &'static str {
    if value { "on" } else { "off" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::Role;

    fn vni(raw: u32) -> Vni {
        Vni::try_from(raw).unwrap()
    }

    #[test]
    fn a_vxlan_device_reads_like_ip_link_add() {
        let op = KernelOp::CreateLink(NewLink {
            key: LinkKey { netns: Netns::Router, name: OwnedName::Vni(Role::Vxlan, vni(100)) },
            kind: LinkKind::Vxlan { vni: vni(100), local: "100.65.0.1".parse().unwrap(), port: 4789 },
            mtu: None,
            mac: None,
            addrgen_none: false,
        });
        assert_eq!(
            op.to_string(),
            "router: link add vni100 type vxlan id 100 local 100.65.0.1 dstport 4789 nolearning tos 2"
        );
        assert_eq!((op.vni(), op.vrf(), op.stage()), (Some(vni(100)), None, Stage::Build));
    }

    #[test]
    fn deleting_a_pair_belongs_to_the_vrf_of_the_other_end() {
        let red: VrfName = "red".parse().unwrap();
        let op = KernelOp::DeleteLink {
            key: LinkKey { netns: Netns::Host, name: OwnedName::Vni(Role::HostVeth, vni(100)) },
            with: Some(LinkKey { netns: Netns::Vrf(red.clone()), name: OwnedName::Vni(Role::PeVeth, vni(100)) }),
        };
        assert_eq!(op.to_string(), "host: link delete host-100");
        assert_eq!((op.vni(), op.vrf(), op.lane()), (Some(vni(100)), Some(&red), Lane::Vni(vni(100))));
    }

    #[test]
    fn the_unreachable_route_belongs_to_the_vni_of_its_table() {
        let op = KernelOp::AddUnreachable(TableId::of(vni(7)), Family::Ipv6);
        assert_eq!(op.to_string(), "router: route add unreachable ::/0 table 16777223 metric 4278198272");
        assert_eq!(op.vni(), Some(vni(7)));
    }
}
