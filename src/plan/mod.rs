//! From a snapshot to the state that kernel and FRR shall have. In: [`Snapshot`] and [`NodeFacts`]. Out: [`Plan`]. Pure,
//! total, and independent of the order of objects: a bad object is a [`Rejection`], all others are built.

pub mod ipam;
pub mod last_accepted;
mod links;
pub mod notes;
mod routing;
mod validate;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::frr::model::RouterConfig;

use crate::kernel::model::KernelState;
use crate::scope::Scope;
use crate::snapshot::{Object, ObjectRef, Reason, Rejection, Snapshot};
use crate::types::{Family, IfName, Vni, VrfMode, VrfName};
use notes::Note;
use validate::{ValidL3vni, ValidUnderlay};

/// MTU of a NIC that is not there (yet).
const DEFAULT_NIC_MTU: u32 = 1500;

/// What the plan must know of the node beyond the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFacts {
    /// VRF mode of this node.
    pub mode: VrfMode,
    /// MTU in bytes of the NICs that exist.
    pub nic_mtu: BTreeMap<IfName, u32>,
}

/// What the node shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Kernel state.
    pub kernel: KernelState,
    /// FRR configuration.
    pub frr: RouterConfig,
    /// The Underlay in force and the node's addresses from it.
    pub underlay: Option<PlannedUnderlay>,
    /// Accepted L3VNIs by VRF.
    pub vrfs: BTreeMap<VrfName, PlannedVrf>,
    /// What was not accepted, sorted.
    pub rejected: Vec<Rejection>,
    /// What is accepted and yet loses routes, sorted.
    pub notes: Vec<Note>,
}

/// The Underlay in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedUnderlay {
    /// The object.
    pub object: ObjectRef,
    /// VTEP address of the node.
    pub vtep: IpAddr,
    /// BGP router id of the node.
    pub router_id: Ipv4Addr,
}

/// An accepted L3VNI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedVrf {
    /// The object.
    pub object: ObjectRef,
    /// Its VNI.
    pub vni: Vni,
}

impl Plan {
    /// The object that asked for what is in `scope`.
    pub fn owner(&self, scope: &Scope) -> Option<&ObjectRef> {
        match scope {
            Scope::Underlay => self.underlay.as_ref().map(|u| &u.object),
            Scope::Vrf(name) => self.vrfs.get(name).map(|v| &v.object),
        }
    }
}

/// Plans the node.
pub fn plan(snapshot: &Snapshot, facts: &NodeFacts) -> Plan {
    let mut rejected = snapshot.rejected.clone();
    let Some(underlay) = choose_underlay(snapshot, &mut rejected) else {
        for object in selected(&snapshot.l3vnis, snapshot, |spec| spec.node_selector.as_ref()) {
            let message = "no Underlay is in force on this node: create one, or mend the one that is rejected";
            rejected.push(rejection(&object.key, Reason::DependencyFailed, "", message.to_owned()));
        }
        rejected.sort();
        return Plan { rejected, ..Plan::default() };
    };
    let nic_mtu = underlay.nics.iter().filter_map(|nic| facts.nic_mtu.get(nic).copied()).min();
    let mtu = links::overlay_mtu(nic_mtu.unwrap_or(DEFAULT_NIC_MTU), underlay.vtep);
    let mut kernel = links::underlay(&underlay, facts.mode);
    let mut frr = RouterConfig { underlay: Some(routing::underlay(&underlay)), vrfs: BTreeMap::new() };
    let mut vrfs = BTreeMap::new();
    let accepted = accept_l3vnis(snapshot, &underlay, &mut rejected);
    let notes = notes::notes(&underlay, &accepted);
    for l3vni in accepted {
        links::add_l3vni(&mut kernel, &l3vni, underlay.vtep, facts.mode, mtu);
        frr.vrfs.insert(l3vni.vrf.clone(), routing::ip_vrf(&l3vni, &underlay));
        vrfs.insert(l3vni.vrf.clone(), PlannedVrf { object: l3vni.object, vni: l3vni.vni });
    }
    keep_from_hosts(&mut frr, &underlay);
    rejected.sort();
    let underlay = PlannedUnderlay { object: underlay.object, vtep: underlay.vtep, router_id: underlay.router_id };
    Plan { kernel, frr, underlay: Some(underlay), vrfs, rejected, notes }
}

/// For the families of sessions that ask for it.
fn keep_from_hosts(frr: &mut RouterConfig, underlay: &ValidUnderlay) {
    let sessions = frr.vrfs.values().flat_map(|vrf| &vrf.sessions);
    let families: BTreeSet<Family> = sessions.filter(|(_, s)| s.keeps_underlay).map(|(family, _)| *family).collect();
    if let Some(instance) = &mut frr.underlay {
        let kept = |family| (family, routing::kept_from_hosts(underlay, family));
        instance.kept_from_hosts = families.into_iter().map(kept).collect();
    }
}

fn rejection(object: &ObjectRef, reason: Reason, field: &str, message: String) -> Rejection {
    Rejection { object: object.clone(), reason, location: None, field: field.to_owned(), message }
}

/// Objects for this node, the one that wins a conflict first: the older, then by name. Objects of files have no time
/// of creation and come before those of the API (day 0).
fn selected<'a, S>(
    objects: &'a [Object<S>],
    snapshot: &Snapshot,
    selector: impl Fn(&S) -> Option<&LabelSelector>,
) -> Vec<&'a Object<S>> {
    let mut mine: Vec<_> =
        objects.iter().filter(|o| selector(&o.spec).is_none_or(|s| selects(s, &snapshot.node.labels))).collect();
    mine.sort_by_key(|object| (object.created, &object.key));
    mine
}

/// Kubernetes' rules for label selectors.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let by_label = selector.match_labels.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let by_expression = selector.match_expressions.iter().flatten().all(|rule| {
        let label = labels.get(&rule.key);
        let listed = label.is_some_and(|value| rule.values.iter().flatten().any(|v| v == value));
        match rule.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            "Exists" => label.is_some(),
            "DoesNotExist" => label.is_none(),
            _ => false,
        }
    });
    by_label && by_expression
}

fn choose_underlay(snapshot: &Snapshot, rejected: &mut Vec<Rejection>) -> Option<ValidUnderlay> {
    let mut chosen: Option<ValidUnderlay> = None;
    for object in selected(&snapshot.underlays, snapshot, |spec| spec.node_selector.as_ref()) {
        if let Some(first) = &chosen {
            let text =
                format!("{} is in force on this node: delete one, or keep them apart by nodeSelector", first.object);
            rejected.push(rejection(&object.key, Reason::Conflict, "", text));
            continue;
        }
        match validate::underlay(object, snapshot) {
            Ok(valid) => chosen = Some(valid),
            Err(found) => rejected.extend(found),
        }
    }
    chosen
}

fn accept_l3vnis(snapshot: &Snapshot, underlay: &ValidUnderlay, rejected: &mut Vec<Rejection>) -> Vec<ValidL3vni> {
    let mut accepted: Vec<ValidL3vni> = Vec::new();
    let mut taken = Taken::default();
    for object in selected(&snapshot.l3vnis, snapshot, |spec| spec.node_selector.as_ref()) {
        let valid = match validate::l3vni(object, snapshot) {
            Ok(valid) => valid,
            Err(found) => {
                rejected.extend(found);
                continue;
            }
        };
        let conflicts = taken.conflicts(&valid, underlay);
        if conflicts.is_empty() {
            taken.add(&valid, &object.key);
            accepted.push(valid);
        }
        rejected.extend(conflicts);
    }
    accepted
}

/// What accepted L3VNIs have, and who has it.
#[derive(Default)]
struct Taken<'a> {
    vnis: BTreeMap<Vni, &'a ObjectRef>,
    vrfs: BTreeMap<VrfName, &'a ObjectRef>,
    /// By their first address. No two of them overlap.
    subnets: BTreeMap<IpAddr, (IpNet, &'a ObjectRef)>,
}

impl<'a> Taken<'a> {
    fn add(&mut self, l3vni: &ValidL3vni, owner: &'a ObjectRef) {
        self.vnis.insert(l3vni.vni, owner);
        self.vrfs.insert(l3vni.vrf.clone(), owner);
        self.subnets.extend(l3vni.veth.values().map(|(subnet, _)| (subnet.network(), (*subnet, owner))));
    }

    /// What `l3vni` asks for and another object has.
    fn conflicts(&self, l3vni: &ValidL3vni, underlay: &ValidUnderlay) -> Vec<Rejection> {
        let mut found = Vec::new();
        let mut conflict = |field: &str, message| {
            found.push(rejection(&l3vni.object, Reason::Conflict, field, message));
        };
        if let Some(other) = self.vnis.get(&l3vni.vni) {
            conflict("spec.vni", format!("VNI {} belongs to {other}: use another", l3vni.vni));
        }
        if let Some(other) = self.vrfs.get(&l3vni.vrf) {
            conflict("spec.vrf", format!("VRF {} belongs to {other}: use another name", l3vni.vrf));
        }
        for (family, (subnet, _)) in &l3vni.veth {
            let field = format!("spec.localcidr.{family}");
            for (theirs, other) in self.overlapping(subnet) {
                conflict(&field, format!("{subnet} overlaps {theirs} of {other}: use another subnet"));
            }
            if overlap(subnet, &underlay.vtep_pool) {
                let text = format!("{subnet} overlaps spec.vtepcidr of {}: use another subnet", underlay.object);
                conflict(&field, text);
            }
        }
        found
    }

    /// The subnet that `subnet` is in, or those that are in it.
    fn overlapping(&self, subnet: &IpNet) -> impl Iterator<Item = &(IpNet, &'a ObjectRef)> {
        let around = self.subnets.range(..subnet.network()).next_back();
        let within = self.subnets.range(subnet.network()..=subnet.broadcast());
        around.into_iter().chain(within).map(|(_, taken)| taken).filter(|(theirs, _)| overlap(theirs, subnet))
    }
}

fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

#[cfg(test)]
mod tests;
