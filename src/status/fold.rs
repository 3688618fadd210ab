//! From what was planned, applied and observed to the status. In: snapshot, plan, failures, the state of FRR. Out:
//! [`NodeStatus`]. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{NodeStatus, ObjectState, PassSummary, Resource};
use crate::frr::show::live::Live;
use crate::plan::Plan;
use crate::scope::Scope;
use crate::snapshot::{ObjectRef, Rejection, Snapshot};
use crate::types::VrfMode;

/// Computes the status. `failures` are the texts of what is not in place.
pub fn fold(
    snapshot: &Snapshot,
    plan: &Plan,
    mode: VrfMode,
    failures: &BTreeMap<Scope, Vec<String>>,
    live: Live,
    last_change: PassSummary,
) -> NodeStatus {
    let resources = resources(snapshot, plan, failures);
    let mut vteps = plan.fabric.iter().flat_map(|fabric| fabric.vteps.values().copied());
    NodeStatus {
        node: snapshot.node.name.clone(),
        index: snapshot.node.index,
        vtep: vteps.next(),
        vtep6: vteps.next(),
        router_id: plan.fabric.as_ref().map(|fabric| fabric.router_id),
        vrf_mode: mode,
        frr_version: live.frr_version,
        frr_warning: live.frr_warning,
        silent_daemons: live.silent.iter().map(ToString::to_string).collect(),
        observed_time: 0,
        ready: failures.is_empty() && resources.iter().all(|r| r.state != ObjectState::Failed),
        notes: plan.notes.clone(),
        resources,
        vnis: live.vnis,
        sessions: live.sessions,
        session_causes: Vec::new(),
        filtered: Vec::new(),
        foreign_lines: Vec::new(),
        last_change,
    }
}

fn resources(snapshot: &Snapshot, plan: &Plan, failures: &BTreeMap<Scope, Vec<String>>) -> Vec<Resource> {
    let mut rejected: BTreeMap<&ObjectRef, Vec<&Rejection>> = BTreeMap::new();
    for rejection in &plan.rejected {
        rejected.entry(&rejection.object).or_default().push(rejection);
    }
    let objects: BTreeSet<&ObjectRef> = rejected.keys().copied().chain(plan.objects.keys()).collect();
    objects
        .into_iter()
        .map(|object| {
            let planned = plan.objects.get(object);
            let failed = planned.and_then(|planned| failures_of(&planned.scope, plan, failures));
            let generation = snapshot.objects.get(object).map(|found| found.generation);
            resource(object, generation, rejected.get(object), failed, planned.is_some())
        })
        .collect()
}

/// The failures of a scope that an object asked for. What is left of a segment that no object asks for is the node's, and
/// so the Underlay's.
fn failures_of(scope: &Scope, plan: &Plan, failures: &BTreeMap<Scope, Vec<String>>) -> Option<Vec<String>> {
    let is_left = |failed: &Scope| matches!(failed, Scope::Segment(_)) && plan.owner(failed).is_none();
    let all = (*scope == Scope::Underlay).then_some(failures);
    let left = all.into_iter().flatten().filter(|(failed, _)| is_left(failed));
    let texts: Vec<_> =
        failures.get(scope).into_iter().chain(left.map(|(_, texts)| texts)).flatten().cloned().collect();
    (!texts.is_empty()).then_some(texts)
}

fn resource(
    object: &ObjectRef,
    generation: Option<i64>,
    rejections: Option<&Vec<&Rejection>>,
    failed: Option<Vec<String>>,
    in_force: bool,
) -> Resource {
    let (state, reason, message) = match (rejections, failed) {
        (Some(found), _) => {
            let reason = found.first().map(|r| r.reason.as_str().to_owned()).unwrap_or_default();
            let text = |r: &&Rejection| {
                if r.field.is_empty() { r.message.clone() } else { format!("{}: {}", r.field, r.message) }
            };
            (ObjectState::Rejected, reason, found.iter().map(text).collect::<Vec<_>>().join("\n"))
        }
        (None, Some(texts)) => (ObjectState::Failed, "ApplyFailed".to_owned(), texts.join("\n")),
        (None, None) => (ObjectState::Ready, "Applied".to_owned(), String::new()),
    };
    Resource {
        kind: object.kind,
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        generation,
        state,
        reason,
        message,
        location: rejections.and_then(|found| found.iter().find_map(|r| r.location.clone())),
        last_accepted_in_force: rejections.is_some() && in_force,
    }
}
