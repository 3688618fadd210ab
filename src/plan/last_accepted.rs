//! Keeps what worked: an object that was accepted and is now rejected stays in force as it was, until it is fixed or
//! deleted, so that a typing mistake never takes a VRF down. In: snapshot, facts, what was accepted before. Out: the
//! plan. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{NodeFacts, Plan, plan};
use crate::kind::object::{ObjectRef, Rejection};
use crate::snapshot::{Object, Snapshot};

/// The last accepted version of every object that still exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LastAccepted(BTreeMap<ObjectRef, Object>);

/// Plans the snapshot with objects that the plan rejects at their last accepted version. (Objects that the source rejects
/// are kept by the source: only it knows which objects a broken file had.) The rejections are those of the snapshot as it
/// is, and say which objects stay in force.
pub fn plan_with_last_accepted(snapshot: &Snapshot, facts: &NodeFacts, accepted: &mut LastAccepted) -> Plan {
    let first = plan(snapshot, facts);
    let by_source: BTreeSet<&Rejection> = snapshot.rejected.iter().collect();
    let by_plan = first.rejected.iter().filter(|rejection| !by_source.contains(rejection));
    let Some(substituted) = accepted.substitute(snapshot, by_plan) else {
        accepted.remember(snapshot, &first);
        return first;
    };
    let mut result = plan(&substituted, facts);
    accepted.remember(&substituted, &result);
    let in_force =
        |rejection: &Rejection| result.objects.contains_key(&rejection.object) && !by_source.contains(rejection);
    let mut rejected = first.rejected;
    // Only what substitution did not cure: an object that depends on a substituted one is no longer rejected.
    rejected.retain(|rejection| !in_force(rejection) || accepted.differs(snapshot, &rejection.object));
    for rejection in rejected.iter_mut().filter(|rejection| in_force(rejection)) {
        rejection.message.push_str("; the last accepted version stays in force");
    }
    result.rejected = rejected;
    result
}

impl LastAccepted {
    /// The snapshot with each rejected object replaced by its accepted version; `None` where there is none to replace.
    fn substitute<'a>(&self, snapshot: &Snapshot, rejected: impl Iterator<Item = &'a Rejection>) -> Option<Snapshot> {
        let rejected: BTreeSet<&ObjectRef> = rejected.map(|rejection| &rejection.object).collect();
        let known: Vec<_> = rejected.into_iter().filter_map(|object| self.0.get_key_value(object)).collect();
        if known.is_empty() {
            return None;
        }
        let mut substituted = snapshot.clone();
        substituted.objects.extend(known.into_iter().map(|(object, found)| (object.clone(), found.clone())));
        Some(substituted)
    }

    fn remember(&mut self, planned: &Snapshot, plan: &Plan) {
        let in_force = planned.objects.iter().filter(|(object, _)| plan.objects.contains_key(*object));
        self.0 = in_force.map(|(object, found)| (object.clone(), found.clone())).collect();
    }

    /// Whether the version in force is another than that of the snapshot, or the snapshot has none. Where in a file it is
    /// does not matter.
    fn differs(&self, snapshot: &Snapshot, object: &ObjectRef) -> bool {
        let version = |found: &Object| (found.spec.clone(), found.generation, found.created);
        let accepted = self.0.get(object).map(version);
        accepted.is_some() && accepted != snapshot.objects.get(object).map(version)
    }
}
