//! The kernel's reaction to an op: state before and op in, state after or the kernel's error out. `diff` learns from it the
//! side effects of an op (a veth pair is deleted as one, a bridge follows the MTU of its port), and the fake kernel consists
//! of it. Pure; the tests against the real kernel keep it true.

use std::collections::BTreeSet;

use ipnet::IpNet;
use nix::errno::Errno;

use super::model::{BridgePort, HostMaster, IpUse, KernelState, Link, LinkKey, LinkKind, Netns, Sysctl};
use super::op::{AddressDevice, KernelOp, NewLink, OvsOp};
use super::ovs_state::{OvsBridge, OvsPort, OvsState, bridge_name};
use crate::names::{OwnedName, Role};
use crate::scope::Scope;

/// Why the kernel would reject an op, in the words that it would use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SimulatedError {
    /// The error number.
    pub errno: Errno,
    /// The kernel's text, or ours where it has none.
    pub text: &'static str,
}

fn reject<T>(errno: Errno, text: &'static str) -> Result<T, SimulatedError> {
    Err(SimulatedError { errno, text })
}

fn add<T: Ord>(set: &mut BTreeSet<T>, value: T, text: &'static str) -> Result<(), SimulatedError> {
    if set.insert(value) { Ok(()) } else { reject(Errno::EEXIST, text) }
}

fn remove<T: Ord>(set: &mut BTreeSet<T>, value: &T, errno: Errno, text: &'static str) -> Result<(), SimulatedError> {
    if set.remove(value) { Ok(()) } else { reject(errno, text) }
}

/// Port settings of a device that just became a bridge port.
const NEW_PORT: BridgePort = BridgePort { neigh_suppress: false, learning: true };

impl KernelState {
    /// Applies `op`. A rejected op leaves the state as it was.
    pub(crate) fn apply(&mut self, op: &KernelOp) -> Result<(), SimulatedError> {
        if let KernelOp::CreateLink(new) = op {
            self.has_room(new)?;
        }
        self.apply_unchecked(op)
    }

    /// Applies `op` without a search through all links, which is right where each VNI and table is wanted once.
    pub(crate) fn apply_unchecked(&mut self, op: &KernelOp) -> Result<(), SimulatedError> {
        match op {
            KernelOp::CreateNetns(vrf) => add(&mut self.vrf_netns, vrf.clone(), "the namespace exists"),
            KernelOp::DeleteNetns(vrf) => self.delete_netns(&Netns::Vrf(vrf.clone())),
            KernelOp::CreateLink(new) => self.create_link(new),
            KernelOp::DeleteLink { key, .. } => self.delete_link(key),
            KernelOp::AddAddress { on, address } => add(self.addresses_mut(on)?, *address, "the address exists"),
            KernelOp::DelAddress { on, address } => del_address(self.addresses_mut(on)?, *address),
            KernelOp::MoveNic { nic, .. } => {
                self.nics.insert(nic.clone(), Netns::Router);
                Ok(())
            }
            KernelOp::RepairNic(nic) => {
                self.damaged_nics.remove(nic);
                Ok(())
            }
            KernelOp::ReturnNic(nic) => {
                if self.nics.remove(nic) != Some(Netns::Router) {
                    return reject(Errno::ENODEV, "the NIC is not in the router's namespace");
                }
                Ok(())
            }
            KernelOp::SetSysctl { netns, sysctl, value } => {
                self.has_netns(netns)?;
                self.sysctls.insert((netns.clone(), *sysctl), *value);
                Ok(())
            }
            KernelOp::MoveLocalRule(family) => {
                self.local_last.insert(*family);
                Ok(())
            }
            KernelOp::AddUnreachable(table, family) => {
                add(&mut self.unreachable, (*table, *family), "the route exists")
            }
            KernelOp::DelUnreachable(table, family) => {
                remove(&mut self.unreachable, &(*table, *family), Errno::ESRCH, "there is no such route")
            }
            KernelOp::OpenPort(opened) => {
                self.has_netns(&opened.on.netns)?;
                add(&mut self.listen_ports, opened.clone(), "the port is open")
            }
            KernelOp::ClosePort(opened) => {
                remove(&mut self.listen_ports, opened, Errno::ENOENT, "the port is not open")
            }
            KernelOp::AddSourceFilter(filter) => {
                self.has_netns(&filter.netns)?;
                add(&mut self.source_filters, filter.clone(), "the filter exists")
            }
            KernelOp::DelSourceFilter(filter) => {
                remove(&mut self.source_filters, filter, Errno::ENOENT, "there is no such filter")
            }
            KernelOp::Ovs(op) => self.ovs.apply(op),
            _ => self.set_link(op),
        }
    }

    /// Applies an op that changes an existing link.
    fn set_link(&mut self, op: &KernelOp) -> Result<(), SimulatedError> {
        match op {
            KernelOp::SetMaster { key, master } => self.set_master(key, master.as_ref())?,
            KernelOp::SetHostMaster { key, master } => {
                let link = self.link_mut(key)?;
                link.master = None;
                let is_vrf = matches!(master.as_ref().or(link.host_master.as_ref()), Some(HostMaster::Vrf(_)));
                link.host_master.clone_from(master);
                if link.up && is_vrf {
                    link.drop_ipv6();
                }
            }
            KernelOp::AttachPorts { bridge, ports } => {
                self.link_mut(bridge)?;
                self.host_ports.attach(&bridge.name, ports.iter().cloned());
            }
            KernelOp::SetIpUse { key, ip } => self.link_mut(key)?.ip = *ip,
            KernelOp::SetMtu { key, mtu } => self.set_mtu(key, *mtu)?,
            KernelOp::SetMac { key, mac, .. } => self.link_mut(key)?.mac = Some(*mac),
            KernelOp::SetUp(key) => self.link_mut(key)?.up = true,
            KernelOp::SetDown(key) => {
                let link = self.link_mut(key)?;
                link.up = false;
                link.drop_ipv6();
            }
            KernelOp::SetAddrGen { key, none } => self.link_mut(key)?.addrgen_none = *none,
            KernelOp::SetRpFilter { key, filter } => self.link_mut(key)?.rp_filter = Some(*filter),
            KernelOp::SetLinkSetting { key, setting, on } if *on == setting.is_needed_on() => {
                self.link_mut(key)?.wrong_settings.remove(setting);
            }
            KernelOp::SetLinkSetting { key, setting, .. } => {
                self.link_mut(key)?.wrong_settings.insert(*setting);
            }
            KernelOp::SetPort { key, port } => match &mut self.link_mut(key)?.port {
                Some(now) => *now = *port,
                None => return reject(Errno::EOPNOTSUPP, "the link is not a bridge port"),
            },
            _ => {}
        }
        Ok(())
    }

    fn link_mut(&mut self, key: &LinkKey) -> Result<&mut Link, SimulatedError> {
        self.links.get_mut(key).ok_or(SimulatedError { errno: Errno::ENODEV, text: "there is no such link" })
    }

    fn addresses_mut(&mut self, on: &AddressDevice) -> Result<&mut BTreeSet<IpNet>, SimulatedError> {
        match on {
            AddressDevice::Loopback => Ok(&mut self.loopback),
            AddressDevice::Link(key) => Ok(&mut self.link_mut(key)?.addresses),
        }
    }

    fn has_netns(&self, netns: &Netns) -> Result<(), SimulatedError> {
        match netns {
            Netns::Vrf(vrf) if !self.vrf_netns.contains(vrf) => reject(Errno::ENOENT, "there is no such namespace"),
            _ => Ok(()),
        }
    }

    /// Checks that no other link has the VNI or the table of a new one.
    fn has_room(&self, new: &NewLink) -> Result<(), SimulatedError> {
        match &new.kind {
            LinkKind::Vxlan { vni, port, .. } if self.has_vxlan(*vni, *port) => {
                reject(Errno::EEXIST, "A VXLAN device with the specified VNI already exists")
            }
            LinkKind::Vrf { table } if self.links.values().any(|l| l.kind == LinkKind::Vrf { table: *table }) => {
                reject(Errno::EINVAL, "the table belongs to another VRF device")
            }
            _ => Ok(()),
        }
    }

    fn create_link(&mut self, new: &NewLink) -> Result<(), SimulatedError> {
        self.has_netns(&new.key.netns)?;
        if self.links.contains_key(&new.key) {
            return reject(Errno::EEXIST, "the link exists");
        }
        if let LinkKind::Veth { peer } = &new.kind {
            self.has_netns(&peer.netns)?;
            if self.links.contains_key(peer) {
                return reject(Errno::EEXIST, "the other end exists");
            }
            let kind = LinkKind::Veth { peer: Box::new(new.key.clone()) };
            self.links.insert((**peer).clone(), Link { kind, ..Link::as_created(new) });
        }
        self.links.insert(new.key.clone(), Link::as_created(new));
        Ok(())
    }

    /// Updates the scope of a link that has another master, and of what is attached to it.
    fn rescope(&mut self, key: &LinkKey) {
        let scope = self.scope_by_place(key);
        let Some(link) = self.links.get_mut(key).filter(|link| link.scope != scope) else {
            return;
        };
        link.scope = scope;
        let attached = match (&link.kind, &key.name) {
            (LinkKind::Veth { peer }, _) if key.netns != Netns::Host => Some((**peer).clone()),
            // In an IP-VRF the VXLAN device is the only port of its bridge, and a segment has no other scope.
            (LinkKind::Bridge, OwnedName::Vni(_, vni)) => {
                Some(LinkKey { netns: key.netns.clone(), name: OwnedName::Vni(Role::Vxlan, *vni) })
            }
            _ => None,
        };
        if let Some(attached) = attached {
            self.rescope(&attached);
        }
    }

    /// Whether the router's VXLAN sockets have this VNI: all of them are in one namespace, wherever the devices are.
    fn has_vxlan(&self, id: crate::types::Vni, udp: u16) -> bool {
        self.links
            .values()
            .any(|link| matches!(link.kind, LinkKind::Vxlan { vni, port, .. } if vni == id && port == udp))
    }

    fn delete_link(&mut self, key: &LinkKey) -> Result<(), SimulatedError> {
        let Some(gone) = self.links.remove(key) else {
            return reject(Errno::ENODEV, "there is no such link");
        };
        self.host_ports.remove(&key.name);
        if matches!(gone.kind, LinkKind::Bridge | LinkKind::Vrf { .. } | LinkKind::Other) {
            let first = LinkKey { netns: key.netns.clone(), name: OwnedName::FIRST };
            let mut left = Vec::new();
            for (at, link) in self.links.range_mut(first..).take_while(|(at, _)| at.netns == key.netns) {
                if link.master.as_ref() == Some(&key.name) {
                    link.leave_master();
                    left.push(at.clone());
                }
            }
            for key in left {
                self.rescope(&key);
            }
        }
        if let LinkKind::Veth { peer } = gone.kind {
            self.links.remove(&peer);
        }
        Ok(())
    }

    fn delete_netns(&mut self, netns: &Netns) -> Result<(), SimulatedError> {
        self.has_netns(netns)?;
        let first = LinkKey { netns: netns.clone(), name: OwnedName::FIRST };
        let inside = self.links.range(first..).map(|(key, _)| key).take_while(|key| key.netns == *netns);
        let inside: Vec<LinkKey> = inside.cloned().collect();
        for key in inside {
            // A veth pair inside one namespace is deleted with its first end.
            if self.links.contains_key(&key) {
                self.delete_link(&key)?;
            }
        }
        for sysctl in Sysctl::ALL {
            self.sysctls.remove(&(netns.clone(), sysctl));
        }
        self.listen_ports.retain(|opened| opened.on.netns != *netns);
        self.source_filters.retain(|filter| filter.netns != *netns);
        if let Netns::Vrf(vrf) = netns {
            self.vrf_netns.remove(vrf);
        }
        Ok(())
    }

    fn set_master(&mut self, key: &LinkKey, master: Option<&OwnedName>) -> Result<(), SimulatedError> {
        let at = |name: &OwnedName| LinkKey { netns: key.netns.clone(), name: name.clone() };
        let bridge = match master.map(|name| self.links.get(&at(name))) {
            Some(None) => return reject(Errno::ENODEV, "there is no such master"),
            Some(Some(Link { kind: LinkKind::Bridge, .. })) => true,
            Some(Some(Link { kind: LinkKind::Vrf { .. }, .. })) | None => false,
            Some(Some(_)) => return reject(Errno::EOPNOTSUPP, "Device is not a master"),
        };
        let link = self.link_mut(key)?;
        link.leave_master();
        link.master = master.cloned();
        // The host end is a port of a bridge of which nothing is set.
        if bridge && !matches!(key.name, OwnedName::Vni(Role::HostVeth, _)) {
            link.port = Some(NEW_PORT);
        } else if master.is_some() && link.up {
            // A VRF device cycles its new member down and up.
            link.drop_ipv6();
        }
        self.rescope(key);
        self.follow_port_mtu(key);
        Ok(())
    }

    fn set_mtu(&mut self, key: &LinkKey, mtu: u32) -> Result<(), SimulatedError> {
        self.link_mut(key)?.mtu = Some(mtu);
        self.follow_port_mtu(key);
        Ok(())
    }

    /// A bridge whose MTU was set when it was created follows that of its ports (`br_mtu_auto_adjust`); one whose MTU was set
    /// later does not. Which of both it is cannot be observed, so where it matters its MTU is unknown.
    fn follow_port_mtu(&mut self, key: &LinkKey) {
        let Some((Some(master), Some(mtu))) = self.links.get(key).map(|link| (link.master.clone(), link.mtu)) else {
            return;
        };
        let master = LinkKey { netns: key.netns.clone(), name: master };
        if let Some(bridge) = self.links.get_mut(&master)
            && bridge.kind == LinkKind::Bridge
            && bridge.mtu != Some(mtu)
        {
            bridge.mtu = None;
        }
    }
}

impl OvsState {
    fn apply(&mut self, op: &OvsOp) -> Result<(), SimulatedError> {
        match op {
            OvsOp::SetBridge { vni, mtu } => {
                self.bridges.insert(*vni, OvsBridge { mtu: Some(*mtu) });
            }
            OvsOp::DeleteBridge(vni) => {
                if self.ports.get(vni).is_some_and(|port| port.bridge == bridge_name(*vni)) {
                    return reject(Errno::EBUSY, "the bridge has a port of ours");
                }
                if self.bridges.remove(vni).is_none() {
                    return reject(Errno::ENOENT, "Open vSwitch has no such bridge of ours");
                }
            }
            OvsOp::AddPort { vni, bridge } => {
                if *bridge == bridge_name(*vni) && !self.bridges.contains_key(vni) {
                    return reject(Errno::ENOENT, "Open vSwitch has no such bridge of ours");
                }
                if self.ports.get(vni).is_some_and(|port| port.bridge != *bridge) {
                    return reject(Errno::EEXIST, "the port is in another bridge");
                }
                self.ports.insert(*vni, OvsPort { bridge: bridge.clone(), attached: true });
            }
            OvsOp::DeletePort { vni, bridge } => {
                if self.ports.get(vni).is_none_or(|port| port.bridge != *bridge) {
                    return reject(Errno::ENOENT, "the bridge has no such port of ours");
                }
                self.ports.remove(vni);
            }
        }
        Ok(())
    }
}

impl Link {
    fn as_created(new: &NewLink) -> Self {
        let scope = match (&new.key.netns, &new.key.name) {
            (_, OwnedName::Vni(_, vni)) if new.segment => Scope::Segment(*vni),
            (Netns::Vrf(vrf), _) | (_, OwnedName::Vrf(vrf)) => Scope::Vrf(vrf.clone()),
            (_, OwnedName::Vni(_, vni)) => Scope::Segment(*vni),
        };
        Self {
            scope,
            kind: new.kind.clone(),
            segment: new.segment,
            master: None,
            host_master: None,
            mtu: new.mtu,
            mac: new.mac,
            up: false,
            addrgen_none: new.addrgen_none,
            ip: IpUse::Routed,
            rp_filter: new.rp_filter,
            wrong_settings: BTreeSet::new(),
            addresses: BTreeSet::new(),
            port: None,
        }
    }

    fn leave_master(&mut self) {
        if matches!(self.master, Some(OwnedName::Vrf(_))) && self.up {
            self.drop_ipv6();
        }
        self.master = None;
        self.port = None;
    }

    /// The kernel flushes IPv6 addresses when a link is set down (`addrconf_ifdown`), and keeps IPv4 ones.
    fn drop_ipv6(&mut self) {
        self.addresses.retain(|address| matches!(address, IpNet::V4(_)));
    }
}

/// The kernel removes the secondary addresses of a subnet with the primary one (IPv4). Which is the primary one is not
/// observed, so all others of the subnet count as removed.
fn del_address(addresses: &mut BTreeSet<IpNet>, address: IpNet) -> Result<(), SimulatedError> {
    if !addresses.remove(&address) {
        return reject(Errno::EADDRNOTAVAIL, "there is no such address");
    }
    if matches!(address, IpNet::V4(_)) {
        addresses.retain(|other| other.trunc() != address.trunc());
    }
    Ok(())
}
