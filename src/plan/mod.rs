//! From a snapshot to the wanted state of kernel and FRR. In: [`Snapshot`] and [`NodeFacts`]. Out: [`Plan`]. It never fails as a
//! whole and does not depend on the order of objects: an invalid object is a [`Rejection`], all others are planned. It must not
//! know a kind. Pure.

mod claims;
pub mod last_accepted;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::frr::model::RouterConfig;
use crate::kernel::model::KernelState;
use crate::kind::check::{HostedVrf, NodeContext, Standing};
use crate::kind::definition::{Expectation, Fabric};
use crate::kind::note::Note;
use crate::kind::object::{Kind, ObjectRef, Reason, Rejection};
use crate::kind::{Valid, notes};
use crate::scope::Scope;
use crate::snapshot::{Object, Snapshot};
use crate::types::{Family, Vni, VrfName};
use claims::{Claimant, Claims};

pub use crate::kind::definition::NodeFacts;

/// The wanted state of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Wanted kernel state.
    pub kernel: KernelState,
    /// Wanted FRR configuration.
    pub frr: RouterConfig,
    /// The addresses of the node in the fabric; `None` without a connection to it.
    pub fabric: Option<FabricAddresses>,
    /// The accepted objects.
    pub objects: BTreeMap<ObjectRef, PlannedObject>,
    /// The rejections, sorted.
    pub rejected: Vec<Rejection>,
    /// Notes on accepted objects some of whose routes will be lost, sorted.
    pub notes: Vec<Note>,
}

/// The addresses by which the fabric identifies the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FabricAddresses {
    /// VTEP addresses of the node.
    pub vteps: BTreeMap<Family, IpAddr>,
    /// BGP router ID of the node.
    pub router_id: Ipv4Addr,
}

/// An accepted object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedObject {
    /// The scope of everything that it contributes.
    pub scope: Scope,
    /// What FRR must report once it is applied.
    pub expects: Vec<Expectation>,
}

impl Plan {
    /// The object that contributes everything in `scope`.
    pub fn owner(&self, scope: &Scope) -> Option<&ObjectRef> {
        self.objects.iter().find_map(|(object, planned)| (planned.scope == *scope).then_some(object))
    }

    /// The L3VNIs that FRR must report, by IP-VRF.
    pub fn l3vnis(&self) -> BTreeMap<&VrfName, Vni> {
        let l3vnis = self.expects().filter_map(|expected| match expected {
            Expectation::L3vni { vrf, vni } => Some((vrf, *vni)),
            Expectation::L2vni { .. } => None,
        });
        l3vnis.collect()
    }

    /// The L2VNIs that FRR must report, with the IP-VRFs of their bridges.
    pub fn l2vnis(&self) -> BTreeMap<Vni, Option<&VrfName>> {
        let l2vnis = self.expects().filter_map(|expected| match expected {
            Expectation::L2vni { vrf, vni } => Some((*vni, vrf.as_ref())),
            Expectation::L3vni { .. } => None,
        });
        l2vnis.collect()
    }

    fn expects(&self) -> impl Iterator<Item = &Expectation> {
        self.objects.values().flat_map(|planned| &planned.expects)
    }
}

/// Plans the node.
pub fn plan(snapshot: &Snapshot, facts: &NodeFacts) -> Plan {
    plan_beside(snapshot, facts, &BTreeMap::new())
}

/// Plans the node, where these versions of objects are in force.
fn plan_beside(snapshot: &Snapshot, facts: &NodeFacts, in_force: &BTreeMap<ObjectRef, Object>) -> Plan {
    let mut planner = Planner::new(snapshot, facts, in_force);
    for kind in Kind::ALL {
        planner.accept_all(*kind);
    }
    planner.build()
}

/// Accepts objects one after the other: an earlier object wins a conflict.
struct Planner<'a> {
    snapshot: &'a Snapshot,
    facts: &'a NodeFacts,
    in_force: &'a BTreeMap<ObjectRef, Object>,
    fabric: Option<Fabric>,
    routing_domains: BTreeMap<ObjectRef, HostedVrf>,
    accepted: Vec<(&'a ObjectRef, Valid)>,
    claims: Claims<'a>,
    rejected: Vec<Rejection>,
}

impl<'a> Planner<'a> {
    fn new(snapshot: &'a Snapshot, facts: &'a NodeFacts, in_force: &'a BTreeMap<ObjectRef, Object>) -> Self {
        let rejected = snapshot.rejected.clone();
        let (accepted, claims, routing_domains) = (Vec::new(), Claims::default(), BTreeMap::new());
        Self { snapshot, facts, in_force, fabric: None, routing_domains, accepted, claims, rejected }
    }

    fn standing(&self, object: &ObjectRef, found: &Object) -> Standing {
        match self.in_force.get(object) {
            None => Standing::New,
            Some(accepted) if accepted.spec == found.spec => Standing::InForce,
            Some(_) => Standing::Edited,
        }
    }

    /// The objects that apply to this node, the one that wins a conflict first: by age, then by name. Objects of files have no time
    /// of creation and come before those of the API server, which may not be reachable without them. Among them, one that is in force
    /// comes before one that is edited or new.
    fn selected(&self, kind: Kind) -> Vec<(&'a ObjectRef, &'a Object)> {
        let labels = &self.snapshot.node.labels;
        let is_selected = |found: &Object| found.spec.selector().is_none_or(|selector| selects(selector, labels));
        let mut selected: Vec<_> = self.snapshot.of_kind(kind).filter(|(_, found)| is_selected(found)).collect();
        let standing =
            |object: &ObjectRef, found: &Object| found.created.is_none().then(|| self.standing(object, found));
        selected.sort_by_cached_key(|(object, found)| (found.created, standing(object, found), *object));
        selected
    }

    fn accept_all(&mut self, kind: Kind) {
        for (object, found) in self.selected(kind) {
            let result = self.accept(object, found);
            self.rejected.extend(result.err().into_iter().flatten());
        }
    }

    fn accept(&mut self, object: &'a ObjectRef, found: &'a Object) -> Result<(), Vec<Rejection>> {
        let location = found.location.as_ref();
        if object.kind.needs_fabric() && self.fabric.is_none() {
            let message = "no Underlay is accepted for this node: create an Underlay whose nodeSelector matches this node, or fix the \
                           one that is rejected";
            let (object, location) = (object.clone(), location.cloned());
            let (reason, field) = (Reason::DependencyFailed, String::new());
            return Err(vec![Rejection { object, reason, location, field, message: message.to_owned() }]);
        }
        let Snapshot { node, secrets, .. } = self.snapshot;
        let NodeFacts { release, nics, host_networks, .. } = self.facts;
        let (nics, standing, index) = (nics.as_ref(), self.standing(object, found), node.index);
        let fabric = self.fabric.as_ref().map(|fabric| (&fabric.object, &fabric.vteps));
        let routing_domains = &self.routing_domains;
        let release = *release;
        let node = NodeContext { index, secrets, release, nics, host_networks, standing, fabric, routing_domains };
        let valid = found.spec.validate(object, node).map_err(|mut rejections| {
            for rejection in &mut rejections {
                rejection.location = location.cloned();
            }
            rejections
        })?;
        let (claimant, claims) = (Claimant { object, location }, valid.claims());
        let conflicts = self.claims.conflicts(claimant, &claims);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        self.claims.add(claimant, claims);
        self.fabric = self.fabric.take().or_else(|| valid.fabric(object, self.facts));
        self.routing_domains.extend(valid.routing_domain().map(|domain| (object.clone(), domain)));
        self.accepted.push((object, valid));
        Ok(())
    }

    fn build(mut self) -> Plan {
        self.rejected.sort();
        let mut plan = Plan { rejected: self.rejected, ..Plan::default() };
        let Some(fabric) = self.fabric else { return plan };
        for (object, valid) in &self.accepted {
            valid.links(&fabric, &mut plan.kernel);
            valid.routing(&fabric, &mut plan.frr);
            let planned = PlannedObject { scope: valid.scope(), expects: valid.expects() };
            plan.objects.insert((*object).clone(), planned);
        }
        let accepted: Vec<_> = self.accepted.iter().map(|(object, valid)| (*object, valid)).collect();
        plan.notes = notes(&accepted, &fabric);
        let vteps = fabric.vteps.addresses();
        plan.fabric = Some(FabricAddresses { vteps, router_id: fabric.router_id });
        // As `KernelState::compact`: a plan is kept until the next one.
        plan.kernel = plan.kernel.compact();
        plan.frr.vrfs = plan.frr.vrfs.into_iter().collect();
        plan.objects = plan.objects.into_iter().collect();
        plan
    }
}

/// Whether a label selector matches, by the rules of Kubernetes.
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

#[cfg(test)]
pub(crate) mod tests;
