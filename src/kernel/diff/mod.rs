//! From an observed state to the wanted one. In: both. Out: [`Step`]s, in an order in which each can be applied, each with
//! its scope. Sets only what differs: FRR flushes the neighbours of a link for every `RTM_NEWLINK` about it. Pure; can name
//! only links that [`crate::names`] recognised as ours.

mod host_ports;
mod ovs;
mod scopes;

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::model::{HostMaster, KernelState, Link, LinkKey, LinkKind, Netns, Sysctl};
use super::op::{AddressDevice, KernelOp, NewLink};
use super::step::Step;
use crate::names::{OwnedName, Role};
use crate::scope::Scope;
use crate::types::Vni;
#[cfg(test)]
use crate::{kernel, names, scope, types};

/// The steps from `observed` to `wanted`; none where they are equal.
pub fn diff(wanted: &KernelState, observed: &KernelState) -> Vec<Step> {
    let now = Cow::Borrowed(observed);
    let mut differ = Differ { wanted, observed, now, scopes: OnceCell::new(), steps: Vec::new() };
    differ.release();
    differ.ground();
    differ.build();
    differ.steps
}

/// Applies each step to a copy of the observed state, so that later steps see its side effects. Without a step there is no
/// copy.
struct Differ<'a> {
    wanted: &'a KernelState,
    observed: &'a KernelState,
    now: Cow<'a, KernelState>,
    /// The scope of each VNI: as wanted, else the IP-VRF that it is observed in.
    scopes: OnceCell<BTreeMap<Vni, &'a Scope>>,
    steps: Vec<Step>,
}

impl Differ<'_> {
    /// An op that cannot work (a wanted state that names a master that is not wanted) stays in the list: the kernel rejects
    /// it and the error reaches the object that asked for it.
    fn push(&mut self, op: KernelOp) {
        let _rejected = self.now.to_mut().apply_unchecked(&op);
        self.steps.push(Step { scope: self.scope(&op), op });
    }

    fn release(&mut self) {
        let (wanted, observed) = (self.wanted, self.observed);
        for opened in observed.listen_ports.difference(&wanted.listen_ports) {
            if !self.deleted_with_netns(&opened.on) {
                self.push(KernelOp::ClosePort(opened.clone()));
            }
        }
        self.release_ovs_ports();
        if observed.links != wanted.links {
            let mut links: Vec<&LinkKey> = observed.links.keys().collect();
            links.sort_by_key(|key| removal_rank(&key.name));
            for key in links {
                self.release_link(key);
            }
        }
        self.release_ovs_bridges();
        // After the links that they filter.
        for filter in observed.source_filters.difference(&wanted.source_filters) {
            if !self.is_removed(&filter.netns) {
                self.push(KernelOp::DelSourceFilter(filter.clone()));
            }
        }
        for vrf in observed.vrf_netns.difference(&wanted.vrf_netns) {
            self.push(KernelOp::DeleteNetns(vrf.clone()));
        }
        // Without it a packet of the VRF goes on in table `main`, to the fabric without encapsulation: after the last link.
        for (table, family) in observed.unreachable.difference(&wanted.unreachable) {
            self.push(KernelOp::DelUnreachable(*table, *family));
        }
        for (nic, at) in &observed.nics {
            if *at == Netns::Router && !wanted.nics.contains_key(nic) {
                self.push(KernelOp::ReturnNic(nic.clone()));
            }
        }
        for address in observed.loopback.difference(&wanted.loopback) {
            self.push(KernelOp::DelAddress { on: AddressDevice::Loopback, address: *address });
        }
    }

    fn deleted_with_netns(&self, key: &LinkKey) -> bool {
        self.is_removed(&key.netns)
    }

    fn is_removed(&self, netns: &Netns) -> bool {
        matches!(netns, Netns::Vrf(vrf) if !self.wanted.vrf_netns.contains(vrf))
    }

    fn release_link(&mut self, key: &LinkKey) {
        let Some(link) = self.now.links.get(key) else {
            return;
        };
        let peer = match &link.kind {
            LinkKind::Veth { peer } => Some(&**peer).filter(|peer| self.now.links.contains_key(peer)),
            _ => None,
        };
        let complete = peer.is_some() || !matches!(link.kind, LinkKind::Veth { .. });
        let stays = complete
            && self.has_kind(key, link)
            && !self.changes_vrf(key, link)
            && ![Some(key), peer].into_iter().flatten().any(|end| self.loses_vrf(end));
        // Links are deleted with their namespace, and the host ends of veth pairs with them.
        if stays
            || self.is_kept_for_ports(key)
            || self.deleted_with_netns(key)
            || peer.is_some_and(|peer| self.deleted_with_netns(peer))
        {
            return;
        }
        let is_pe = matches!(key.name, OwnedName::Vni(Role::PeVeth, _));
        let op = match peer {
            Some(host) if is_pe => KernelOp::DeleteLink { key: host.clone(), with: Some(key.clone()) },
            with => KernelOp::DeleteLink { key: key.clone(), with: with.cloned() },
        };
        self.push(op);
    }

    fn has_kind(&self, key: &LinkKey, link: &Link) -> bool {
        self.wanted.links.get(key).is_some_and(|wanted| wanted.kind == link.kind && wanted.segment == link.segment)
    }

    /// Whether it is the bridge of a segment in another IP-VRF than wanted: it is replaced, so that it never routes in none.
    fn changes_vrf(&self, key: &LinkKey, link: &Link) -> bool {
        let is_bridge = link.segment && matches!(key.name, OwnedName::Vni(Role::Bridge, _));
        is_bridge && self.wanted.links.get(key).is_some_and(|wanted| wanted.master != link.master)
    }

    /// Whether the VRF device above a link is deleted: what is left without its VRF would forward in table `main`.
    fn loses_vrf(&self, key: &LinkKey) -> bool {
        let Some(master @ OwnedName::Vrf(_)) = self.observed.links.get(key).and_then(|link| link.master.as_ref())
        else {
            return false;
        };
        let device = LinkKey { netns: key.netns.clone(), name: master.clone() };
        self.observed.links.get(&device).is_some_and(|link| !self.has_kind(&device, link))
    }

    fn ground(&mut self) {
        let (wanted, observed) = (self.wanted, self.observed);
        let (of_vrfs, of_node): (Vec<_>, Vec<_>) =
            self.settings().into_iter().partition(|op| matches!(op, KernelOp::SetSysctl { netns: Netns::Vrf(_), .. }));
        for op in of_node {
            self.push(op);
        }
        for family in wanted.local_last.difference(&observed.local_last) {
            self.push(KernelOp::MoveLocalRule(*family));
        }
        for nic in wanted.nics.keys() {
            if self.now.nics.get(nic) != Some(&Netns::Router) {
                self.push(KernelOp::MoveNic { nic: nic.clone(), named: wanted.nic_aliases.get(nic).cloned() });
            } else if observed.damaged_nics.contains(nic) {
                self.push(KernelOp::RepairNic(nic.clone()));
            }
        }
        for address in wanted.loopback.difference(&self.now.loopback).copied().collect::<Vec<_>>() {
            self.push(KernelOp::AddAddress { on: AddressDevice::Loopback, address });
        }
        for vrf in wanted.vrf_netns.difference(&observed.vrf_netns) {
            self.push(KernelOp::CreateNetns(vrf.clone()));
        }
        for op in of_vrfs {
            self.push(op);
        }
    }

    /// The settings that have another value.
    fn settings(&self) -> Vec<KernelOp> {
        let differs = |key: &(Netns, Sysctl), value: &u32| {
            let now = self.now.sysctls.get(key);
            now != Some(value) && !(now.is_none() && self.is_missing(&key.0, key.1))
        };
        let different = self.wanted.sysctls.iter().filter(|(key, value)| differs(key, value));
        different
            .map(|((netns, sysctl), value)| KernelOp::SetSysctl {
                netns: netns.clone(),
                sysctl: *sysctl,
                value: *value,
            })
            .collect()
    }

    /// Whether the kernel has no such setting and the router works without it. Nothing is known of a namespace that does not
    /// exist yet.
    fn is_missing(&self, netns: &Netns, sysctl: Sysctl) -> bool {
        let known = |sysctl: &Sysctl| self.observed.sysctls.contains_key(&(netns.clone(), *sysctl));
        sysctl.is_optional() && Sysctl::ALL.iter().any(known)
    }

    fn build(&mut self) {
        // Nearly always nothing differs.
        let wanted = self.wanted;
        let links = Some(&wanted.links).filter(|links| self.now.links != **links).into_iter().flatten();
        let mut vrf_devices = Vec::new();
        let mut by_vni: BTreeMap<Vni, Vec<(&LinkKey, &Link)>> = BTreeMap::new();
        for (key, link) in links.clone() {
            match key.name.vni() {
                Some(vni) => by_vni.entry(vni).or_default().push((key, link)),
                None => vrf_devices.push((key, link)),
            }
        }
        self.links(&vrf_devices);
        for (table, family) in &self.wanted.unreachable {
            if !self.now.unreachable.contains(&(*table, *family)) {
                self.push(KernelOp::AddUnreachable(*table, *family));
            }
        }
        // Before the links that they filter.
        for filter in &self.wanted.source_filters {
            if !self.now.source_filters.contains(filter) {
                self.push(KernelOp::AddSourceFilter(filter.clone()));
            }
        }
        for links in by_vni.values_mut() {
            // FRR 8.4 loses links of a namespace that appear in another order (bridge, then VXLAN).
            links.sort_by_key(|(key, _)| creation_rank(&key.name));
            self.links(links);
        }
        for vni in wanted.ovs.ports.keys() {
            self.build_ovs(*vni);
        }
        for opened in &self.wanted.listen_ports {
            if !self.now.listen_ports.contains(opened) {
                self.push(KernelOp::OpenPort(opened.clone()));
            }
        }
        for (key, link) in links {
            self.new_addresses(key, &link.addresses);
        }
    }

    /// Links of one VNI, or the VRF devices: each kind of change for all of them before the next.
    fn links(&mut self, links: &[(&LinkKey, &Link)]) {
        if links.iter().all(|(key, link)| self.now.links.get(key) == Some(link)) {
            return;
        }
        for (key, link) in links {
            if !self.now.links.contains_key(key) {
                self.create(key, link);
            }
        }
        for (key, link) in links {
            // Before another master is set. A bridge that is missing must not leave it in the former one.
            let former = self.now.links.get(*key).and_then(|now| now.host_master.as_ref());
            let stays = former == link.host_master.as_ref() || matches!(link.host_master, Some(HostMaster::Vrf(_)));
            if former.is_some() && !stays {
                self.push(KernelOp::SetHostMaster { key: (*key).clone(), master: None });
            }
        }
        for (key, link) in links {
            if self.differs(key, |now| now.master != link.master) {
                self.push(KernelOp::SetMaster { key: (*key).clone(), master: link.master.clone() });
            }
        }
        for (key, link) in links {
            if matches!(link.host_master, Some(HostMaster::Vrf(_))) {
                self.host_master(key, link);
            }
        }
        for (key, link) in links {
            self.attributes(key, link);
        }
        for (key, link) in links {
            self.stale_addresses(key, &link.addresses);
        }
        // A bridge has carrier once a port of it is up, and the kernel reports that up to a second late where the bridge
        // itself is set up afterwards (before about Linux 6.8). In an IP-VRF a VXLAN device is the only port of its bridge.
        let (ports, others): (Vec<_>, Vec<_>) =
            links.iter().partition(|(_, link)| matches!(link.kind, LinkKind::Vxlan { .. }));
        for (key, link) in others.into_iter().chain(ports) {
            if self.differs(key, |now| now.up != link.up) {
                self.push(if link.up { KernelOp::SetUp((*key).clone()) } else { KernelOp::SetDown((*key).clone()) });
            }
        }
        // A bridge of the host may be missing: all else is in place without it.
        for (key, link) in links {
            if matches!(link.host_master, Some(HostMaster::Bridge(_))) {
                self.host_master(key, link);
            }
        }
    }

    fn host_master(&mut self, key: &LinkKey, link: &Link) {
        if self.differs(key, |now| now.host_master != link.host_master) {
            self.push(KernelOp::SetHostMaster { key: key.clone(), master: link.host_master.clone() });
        }
    }

    fn create(&mut self, key: &LinkKey, link: &Link) {
        self.push(KernelOp::CreateLink(NewLink {
            key: key.clone(),
            kind: link.kind.clone(),
            segment: link.segment,
            mtu: link.mtu,
            mac: link.mac,
            addrgen_none: link.addrgen_none,
            rp_filter: link.rp_filter,
        }));
        self.attach_ports(key);
    }

    fn attributes(&mut self, key: &LinkKey, link: &Link) {
        let wrong = self.now.links.get(key).map(|now| now.wrong_settings.clone()).unwrap_or_default();
        for setting in wrong.difference(&link.wrong_settings).copied() {
            self.push(KernelOp::SetLinkSetting { key: key.clone(), setting, on: setting.is_needed_on() });
        }
        if let Some(port) = link.port
            && self.differs(key, |now| now.port != link.port)
        {
            self.push(KernelOp::SetPort { key: key.clone(), port });
        }
        if self.differs(key, |now| now.addrgen_none != link.addrgen_none) {
            self.push(KernelOp::SetAddrGen { key: key.clone(), none: link.addrgen_none });
        }
        if self.differs(key, |now| now.ip != link.ip) {
            self.push(KernelOp::SetIpUse { key: key.clone(), ip: link.ip });
        }
        if let Some(filter) = link.rp_filter
            && self.differs(key, |now| now.rp_filter != link.rp_filter)
        {
            self.push(KernelOp::SetRpFilter { key: key.clone(), filter });
        }
        if let Some(mtu) = link.mtu
            && self.differs(key, |now| now.mtu != link.mtu)
        {
            self.push(KernelOp::SetMtu { key: key.clone(), mtu });
        }
        if let Some(mac) = link.mac
            && self.differs(key, |now| now.mac != link.mac)
        {
            let former = self.now.links.get(key).and_then(|now| now.mac);
            self.push(KernelOp::SetMac { key: key.clone(), mac, former });
        }
    }

    /// Whether `key` has `address`.
    fn has_address(&self, key: &LinkKey, address: &IpNet) -> bool {
        self.now.links.get(key).is_some_and(|link| link.addresses.contains(address))
    }

    fn stale_addresses(&mut self, key: &LinkKey, wanted: &BTreeSet<IpNet>) {
        let present = self.now.links.get(key).map(|link| &link.addresses).into_iter().flatten();
        for address in present.filter(|address| !wanted.contains(address)).copied().collect::<Vec<_>>() {
            // The kernel may have removed it with an earlier one.
            if self.has_address(key, &address) {
                self.push(KernelOp::DelAddress { on: AddressDevice::Link(key.clone()), address });
            }
        }
    }

    fn new_addresses(&mut self, key: &LinkKey, wanted: &BTreeSet<IpNet>) {
        for address in wanted {
            if !self.has_address(key, address) {
                self.push(KernelOp::AddAddress { on: AddressDevice::Link(key.clone()), address: *address });
            }
        }
    }

    /// Also true for a link that could not be created.
    fn differs(&self, key: &LinkKey, differs: impl Fn(&Link) -> bool) -> bool {
        self.now.links.get(key).is_none_or(differs)
    }
}

/// Host end first, as the pair is deleted with it; VRF devices after their members.
fn removal_rank(name: &OwnedName) -> (bool, Option<Vni>, u8) {
    let rank = match name {
        OwnedName::Vni(Role::HostVeth, _) => 0,
        OwnedName::Vni(Role::PeVeth, _) => 1,
        OwnedName::Vni(Role::Vxlan, _) => 2,
        OwnedName::Vni(Role::Bridge, _) => 3,
        OwnedName::Vni(Role::HostBridge, _) => 4,
        OwnedName::Vrf(_) => 5,
    };
    (name.vni().is_none(), name.vni(), rank)
}

fn creation_rank(name: &OwnedName) -> u8 {
    match name {
        OwnedName::Vrf(_) => 0,
        OwnedName::Vni(Role::Vxlan, _) => 1,
        OwnedName::Vni(Role::Bridge, _) => 2,
        OwnedName::Vni(Role::PeVeth, _) => 3,
        OwnedName::Vni(Role::HostVeth, _) => 4,
        OwnedName::Vni(Role::HostBridge, _) => 5,
    }
}

#[cfg(test)]
pub(crate) mod generated;
#[cfg(test)]
mod tests;
