//! One change of kernel state as plain data. In: keys and values of [`super::model`]. Out: [`KernelOp`], which prints
//! like an `ip` command line and knows its VNI, its IP-VRF and its stage. Pure.

mod display;
mod ovs;

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::model::{
    BridgePort, HostMaster, HostPort, IpUse, LinkKey, LinkKind, LinkSetting, ListenPort, Netns, RpFilter, SourceFilter,
    Sysctl,
};
use crate::names::OwnedName;
use crate::types::{Family, IfName, MacAddr, TableId, Vni, VrfName};

pub use ovs::OvsOp;

/// A link as it is created. A veth pair is created by its PE end; both ends get MTU, `addrgen_none` and `rp_filter`. Each
/// setting of [`LinkSetting::OFF`] of a link with `rp_filter` is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLink {
    /// Namespace and name.
    pub key: LinkKey,
    /// Kind and the attributes that cannot change.
    pub kind: LinkKind,
    /// It belongs to an L2 segment.
    pub segment: bool,
    /// MTU in bytes; the kernel's choice if `None`.
    pub mtu: Option<u32>,
    /// MAC address; the kernel's choice if `None`.
    pub mac: Option<MacAddr>,
    /// Created without IPv6 link-local address.
    pub addrgen_none: bool,
    /// Filter of IPv4 sources; the default of the namespace if `None`.
    pub rp_filter: Option<RpFilter>,
}

/// The link of an address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressDevice {
    /// `lo` of the router namespace.
    Loopback,
    /// One of our links.
    Link(LinkKey),
}

/// One change of kernel state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelOp {
    /// Creates the namespace of an IP-VRF, with `lo` up, and makes it visible to zebra.
    CreateNetns(VrfName),
    /// Removes the namespace of an IP-VRF with all links inside and the host ends of their veth pairs.
    DeleteNetns(VrfName),
    /// Creates a link, down and without master.
    CreateLink(NewLink),
    /// Deletes a link.
    DeleteLink {
        /// The link.
        key: LinkKey,
        /// The veth end that is deleted with it.
        with: Option<LinkKey>,
    },
    /// Sets the master of a link, in the same namespace, or removes it from its master.
    SetMaster {
        /// The link.
        key: LinkKey,
        /// The master.
        master: Option<OwnedName>,
    },
    /// Sets a device of the host as master of the host end, or removes the host end from the one that we set.
    SetHostMaster {
        /// The link.
        key: LinkKey,
        /// The device.
        master: Option<HostMaster>,
    },
    /// Attaches links of others to a managed bridge of the host that was recreated: those that still exist and have no master.
    AttachPorts {
        /// The bridge.
        bridge: LinkKey,
        /// The links.
        ports: BTreeSet<HostPort>,
    },
    /// Sets the MTU.
    SetMtu {
        /// The link.
        key: LinkKey,
        /// Bytes.
        mtu: u32,
    },
    /// Sets the router MAC of a bridge.
    SetMac {
        /// The bridge.
        key: LinkKey,
        /// The address.
        mac: MacAddr,
        /// The address before. The VXLAN device gets it, so that packets to it are accepted until the fabric has the new one.
        former: Option<MacAddr>,
    },
    /// Sets the link up.
    SetUp(LinkKey),
    /// Sets the link down.
    SetDown(LinkKey),
    /// Sets whether the link has an IPv6 link-local address.
    SetAddrGen {
        /// The link.
        key: LinkKey,
        /// `addrgenmode none`, else `eui64`.
        none: bool,
    },
    /// Sets the filter of IPv4 sources.
    SetRpFilter {
        /// The link.
        key: LinkKey,
        /// The filter.
        filter: RpFilter,
    },
    /// Sets the part of a link in IP.
    SetIpUse {
        /// The link.
        key: LinkKey,
        /// Its part.
        ip: IpUse,
    },
    /// Sets a setting of a link.
    SetLinkSetting {
        /// The link.
        key: LinkKey,
        /// The setting.
        setting: LinkSetting,
        /// The value.
        on: bool,
    },
    /// Sets the bridge port settings of a VXLAN device.
    SetPort {
        /// The device.
        key: LinkKey,
        /// The settings.
        port: BridgePort,
    },
    /// Adds an address.
    AddAddress {
        /// The link.
        on: AddressDevice,
        /// Address with prefix length.
        address: IpNet,
    },
    /// Removes an address.
    DelAddress {
        /// The link.
        on: AddressDevice,
        /// Address with prefix length.
        address: IpNet,
    },
    /// Moves an underlay NIC into the router namespace.
    MoveNic {
        /// The NIC.
        nic: IfName,
        /// The alternative name by which an object names it.
        named: Option<IfName>,
    },
    /// Gives a NIC in the router back what it was taken with: its name, addresses and routes, and sets it up.
    RepairNic(IfName),
    /// Moves an underlay NIC back to the host and restores what it had there.
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
    /// Moves the rule for table `local` of the router namespace after that for VRF tables.
    MoveLocalRule(Family),
    /// Adds the unreachable default route of a VRF table.
    AddUnreachable(TableId, Family),
    /// Removes the unreachable default route of a VRF table.
    DelUnreachable(TableId, Family),
    /// Opens a second BGP port.
    OpenPort(ListenPort),
    /// Closes a second BGP port.
    ClosePort(ListenPort),
    /// Adds a filter of IPv6 sources.
    AddSourceFilter(SourceFilter),
    /// Removes a filter of IPv6 sources.
    DelSourceFilter(SourceFilter),
    /// Changes Open vSwitch of the host.
    Ovs(OvsOp),
}

/// The part of a pass in which an op runs. A diff has them in this order; FRR is configured in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Removals. FRR has removed the VRF before.
    Release,
    /// What everything else needs: settings, NICs, VTEP address, empty VRF namespaces. Zebra activates a VRF namespace
    /// after this stage and before the next.
    Ground,
    /// The links of IP-VRFs.
    Build,
    /// The addresses of these links. Zebra learns the links between the stage before and this one: it receives links and
    /// addresses on two sockets, read by two threads, and drops an address whose link it does not know.
    Address,
}

/// Ops of different lanes of one stage do not depend on each other, except for `Global` and `Vrf`, which all others need.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Belongs to the node.
    Global,
    /// Belongs to an IP-VRF.
    Vrf(VrfName),
    /// Belongs to a VNI.
    Vni(Vni),
}

/// Ops of one wave may run concurrently, lane by lane; waves run one after the other, in their order: what others depend on
/// is created before them and removed after them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wave(Stage, u8);

impl KernelOp {
    /// The VNI that it is about, where the op itself names it.
    pub fn vni(&self) -> Option<Vni> {
        match self {
            Self::CreateLink(NewLink { kind: LinkKind::Vrf { table }, .. })
            | Self::AddUnreachable(table, _)
            | Self::DelUnreachable(table, _) => table.vni(),
            Self::AddSourceFilter(filter) | Self::DelSourceFilter(filter) => Some(filter.table.vni),
            Self::Ovs(op) => Some(op.vni()),
            _ => self.link()?.name.vni(),
        }
    }

    /// The IP-VRF that it is about, where the op itself names it.
    pub fn vrf(&self) -> Option<&VrfName> {
        match self {
            Self::CreateNetns(vrf)
            | Self::DeleteNetns(vrf)
            | Self::SetSysctl { netns: Netns::Vrf(vrf), .. }
            | Self::AddSourceFilter(SourceFilter { netns: Netns::Vrf(vrf), .. })
            | Self::DelSourceFilter(SourceFilter { netns: Netns::Vrf(vrf), .. })
            | Self::SetMaster { master: Some(OwnedName::Vrf(vrf)), .. } => Some(vrf),
            Self::DeleteLink { key, with } => vrf_of(key).or_else(|| with.as_ref().and_then(vrf_of)),
            _ => self.link().and_then(vrf_of),
        }
    }

    /// The link of ours that it changes.
    pub fn link(&self) -> Option<&LinkKey> {
        match self {
            Self::CreateLink(NewLink { key, .. })
            | Self::DeleteLink { key, .. }
            | Self::SetMaster { key, .. }
            | Self::SetHostMaster { key, .. }
            | Self::AttachPorts { bridge: key, .. }
            | Self::SetIpUse { key, .. }
            | Self::SetMtu { key, .. }
            | Self::SetMac { key, .. }
            | Self::SetUp(key)
            | Self::SetDown(key)
            | Self::SetAddrGen { key, .. }
            | Self::SetRpFilter { key, .. }
            | Self::SetLinkSetting { key, .. }
            | Self::SetPort { key, .. }
            | Self::AddAddress { on: AddressDevice::Link(key), .. }
            | Self::DelAddress { on: AddressDevice::Link(key), .. }
            | Self::OpenPort(ListenPort { on: key, .. })
            | Self::ClosePort(ListenPort { on: key, .. }) => Some(key),
            Self::CreateNetns(_)
            | Self::DeleteNetns(_)
            | Self::AddAddress { .. }
            | Self::DelAddress { .. }
            | Self::MoveNic { .. }
            | Self::RepairNic(_)
            | Self::ReturnNic(_)
            | Self::SetSysctl { .. }
            | Self::MoveLocalRule(_)
            | Self::AddUnreachable(..)
            | Self::DelUnreachable(..)
            | Self::AddSourceFilter(_)
            | Self::DelSourceFilter(_)
            | Self::Ovs(_) => None,
        }
    }

    /// The part of a pass in which it runs.
    pub fn stage(&self) -> Stage {
        match self {
            Self::DeleteNetns(_)
            | Self::DeleteLink { .. }
            | Self::ReturnNic(_)
            | Self::DelUnreachable(..)
            | Self::ClosePort(_)
            | Self::DelSourceFilter(_)
            | Self::DelAddress { on: AddressDevice::Loopback, .. } => Stage::Release,
            Self::CreateNetns(_)
            | Self::SetSysctl { .. }
            | Self::MoveLocalRule(_)
            | Self::MoveNic { .. }
            | Self::RepairNic(_)
            | Self::AddAddress { on: AddressDevice::Loopback, .. } => Stage::Ground,
            Self::AddAddress { on: AddressDevice::Link(_), .. } => Stage::Address,
            Self::Ovs(op) => op.stage(),
            _ => Stage::Build,
        }
    }

    /// Whether it takes, repairs or returns a NIC of the node, which may carry all that the node sends.
    pub fn is_of_nic(&self) -> bool {
        matches!(self, Self::MoveNic { .. } | Self::RepairNic(_) | Self::ReturnNic(_))
    }

    /// Whether other ops, and the configuration of FRR, go on where it fails: an address of one family must not take the other
    /// family along, and a segment works for the fabric without its bridge on the host.
    pub fn is_separate(&self) -> bool {
        let on_host = matches!(
            self,
            Self::Ovs(_) | Self::AttachPorts { .. } | Self::SetHostMaster { master: Some(HostMaster::Bridge(_)), .. }
        );
        on_host || matches!(self, Self::AddAddress { .. })
    }

    /// When it runs, see [`Wave`].
    pub fn wave(&self) -> Wave {
        let stage = self.stage();
        let rank = match (self.lane(), stage) {
            // Without it a packet of the VRF goes on in table `main`: after all links of the VRF, whichever VNI they have.
            _ if matches!(self, Self::DelUnreachable(..)) => 2,
            (Lane::Global, Stage::Release) | (Lane::Vni(_), Stage::Ground | Stage::Build | Stage::Address) => 2,
            (Lane::Vrf(_), _) => 1,
            (Lane::Vni(_), Stage::Release) | (Lane::Global, Stage::Ground | Stage::Build | Stage::Address) => 0,
        };
        Wave(stage, rank)
    }

    /// The ops with which it runs in order.
    pub fn lane(&self) -> Lane {
        match self {
            Self::AddUnreachable(table, _) | Self::DelUnreachable(table, _) => {
                table.vni().map_or(Lane::Global, Lane::Vni)
            }
            Self::AddSourceFilter(filter) | Self::DelSourceFilter(filter) => Lane::Vni(filter.table.vni),
            Self::Ovs(op) => Lane::Vni(op.vni()),
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
            segment: false,
            mtu: None,
            mac: None,
            addrgen_none: false,
            rp_filter: None,
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
