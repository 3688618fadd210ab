//! From a snapshot to the state that kernel and FRR shall have. In: [`Snapshot`] and [`NodeFacts`]. Out: [`Plan`]. Total, and
//! independent of the order of objects: a bad object is a [`Rejection`], all others are built. Knows no kind. Pure.

mod claims;
pub mod last_accepted;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::frr::model::RouterConfig;
use crate::kernel::model::KernelState;
use crate::kind::check::NodeContext;
use crate::kind::definition::{Expectation, Fabric};
use crate::kind::note::Note;
use crate::kind::object::{Kind, ObjectRef, Reason, Rejection};
use crate::kind::{Valid, notes};
use crate::scope::Scope;
use crate::snapshot::{Object, Snapshot};
use crate::types::{Vni, VrfName};
use claims::{Claimant, Claims};

pub use crate::kind::definition::NodeFacts;

/// What the node shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Kernel state.
    pub kernel: KernelState,
    /// FRR configuration.
    pub frr: RouterConfig,
    /// The addresses of the node in the fabric; `None` without a connection to it.
    pub fabric: Option<FabricAddresses>,
    /// The accepted objects.
    pub objects: BTreeMap<ObjectRef, PlannedObject>,
    /// What was not accepted, sorted.
    pub rejected: Vec<Rejection>,
    /// What is accepted and yet loses routes, sorted.
    pub notes: Vec<Note>,
}

/// The addresses by which the fabric knows the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FabricAddresses {
    /// VTEP address of the node.
    pub vtep: IpAddr,
    /// BGP router id of the node.
    pub router_id: Ipv4Addr,
}

/// An accepted object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedObject {
    /// To what all that it asks for belongs.
    pub scope: Scope,
    /// What FRR must have when it is in place.
    pub expects: Vec<Expectation>,
}

impl Plan {
    /// The object that asked for what is in `scope`.
    pub fn owner(&self, scope: &Scope) -> Option<&ObjectRef> {
        self.objects.iter().find_map(|(object, planned)| (planned.scope == *scope).then_some(object))
    }

    /// The L3VNIs that FRR must have, by IP-VRF.
    pub fn l3vnis(&self) -> BTreeMap<&VrfName, Vni> {
        let expected = self.objects.values().flat_map(|planned| &planned.expects);
        expected.map(|Expectation::L3vni { vrf, vni }| (vrf, *vni)).collect()
    }
}

/// Plans the node.
pub fn plan(snapshot: &Snapshot, facts: &NodeFacts) -> Plan {
    let mut accepting = Accepting::new(snapshot, facts);
    for kind in Kind::ALL {
        accepting.accept_all(*kind);
    }
    accepting.build()
}

/// Accepts objects one after the other: an object that comes first has what it claims.
struct Accepting<'a> {
    snapshot: &'a Snapshot,
    facts: &'a NodeFacts,
    fabric: Option<Fabric>,
    accepted: Vec<(&'a ObjectRef, Valid)>,
    claims: Claims<'a>,
    rejected: Vec<Rejection>,
}

impl<'a> Accepting<'a> {
    fn new(snapshot: &'a Snapshot, facts: &'a NodeFacts) -> Self {
        let rejected = snapshot.rejected.clone();
        Self { snapshot, facts, fabric: None, accepted: Vec::new(), claims: Claims::default(), rejected }
    }

    fn accept_all(&mut self, kind: Kind) {
        for (object, found) in selected(self.snapshot, kind) {
            let result = self.judge(object, found);
            self.rejected.extend(result.err().into_iter().flatten());
        }
    }

    fn judge(&mut self, object: &'a ObjectRef, found: &'a Object) -> Result<(), Vec<Rejection>> {
        let location = found.location.as_ref();
        if object.kind.needs_fabric() && self.fabric.is_none() {
            let message = "no Underlay is in force on this node: create one, or fix the one that is rejected";
            let (object, location) = (object.clone(), location.cloned());
            let (reason, field) = (Reason::DependencyFailed, String::new());
            return Err(vec![Rejection { object, reason, location, field, message: message.to_owned() }]);
        }
        let Snapshot { node, secrets, .. } = self.snapshot;
        let node = NodeContext { index: node.index, secrets, release: self.facts.release };
        let valid = found.spec.validate(object, node).map_err(|mut all| {
            for rejection in &mut all {
                rejection.location = location.cloned();
            }
            all
        })?;
        let (claimant, claims) = (Claimant { object, location }, valid.claims());
        let conflicts = self.claims.conflicts(claimant, &claims);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        self.claims.add(claimant, claims);
        self.fabric = self.fabric.take().or_else(|| valid.fabric(object, self.facts));
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
        plan.fabric = Some(FabricAddresses { vtep: fabric.vtep, router_id: fabric.router_id });
        plan
    }
}

/// Objects for this node, the one that wins a conflict first: the older, then by name. Objects of files have no time
/// of creation and come before those of the API (day 0).
fn selected(snapshot: &Snapshot, kind: Kind) -> Vec<(&ObjectRef, &Object)> {
    let labels = &snapshot.node.labels;
    let mut mine: Vec<_> =
        snapshot.of_kind(kind).filter(|(_, found)| found.spec.selector().is_none_or(|s| selects(s, labels))).collect();
    mine.sort_by_key(|(object, found)| (found.created, *object));
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

#[cfg(test)]
pub(crate) mod tests;
