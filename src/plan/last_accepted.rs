//! An object that was accepted and is now rejected stays in force in its last accepted version, until it is fixed or deleted:
//! a mistake in an edit must not take a VRF down. In: snapshot, facts, the last accepted versions. Out: the plan, and the new last
//! accepted versions. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{NodeFacts, Plan, plan_beside};
use crate::kind::Spec;
use crate::kind::object::{Location, ObjectRef, Rejection};
use crate::snapshot::{Object, Snapshot};

/// The last accepted version of every object that still exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LastAccepted(BTreeMap<ObjectRef, Object>);

/// Plans the snapshot, with the objects that the plan rejects replaced by their last accepted versions. (Objects that the source
/// rejects are replaced by the source: only it knows which objects a broken file had.) The rejections are those of the snapshot
/// as it is, and say which objects stay in force.
pub fn plan_with_last_accepted(snapshot: &Snapshot, facts: &NodeFacts, accepted: &mut LastAccepted) -> Plan {
    let first = plan_beside(snapshot, facts, &accepted.0);
    let by_source: BTreeSet<&Rejection> = snapshot.rejected.iter().collect();
    let by_plan = first.rejected.iter().filter(|rejection| !by_source.contains(rejection));
    let Some(substituted) = accepted.substitute(snapshot, by_plan) else {
        accepted.record(snapshot, &first);
        return first;
    };
    let mut result = plan_beside(&substituted, facts, &accepted.0);
    accepted.record(&substituted, &result);
    let in_force =
        |rejection: &Rejection| result.objects.contains_key(&rejection.object) && !by_source.contains(rejection);
    let mut rejected = first.rejected;
    // An object that depends on a replaced one is no longer rejected.
    rejected.retain(|rejection| !in_force(rejection) || accepted.differs(snapshot, &rejection.object));
    for rejection in rejected.iter_mut().filter(|rejection| in_force(rejection)) {
        rejection.message.push_str("; the last accepted version stays in force");
    }
    result.rejected = rejected;
    result
}

/// A version in the file of the controller.
#[derive(Serialize, Deserialize)]
struct SavedVersion {
    object: ObjectRef,
    generation: i64,
    created: Option<i64>,
    location: Option<Location>,
    spec: Value,
}

impl LastAccepted {
    /// As JSON.
    ///
    /// # Errors
    /// If a spec has no JSON form, which is not the case for any.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let save = |(object, found): (&ObjectRef, &Object)| {
            let (object, location) = (object.clone(), found.location.clone());
            let (generation, created, spec) = (found.generation, found.created, found.spec.to_json()?);
            Ok(SavedVersion { object, generation, created, location, spec })
        };
        serde_json::to_vec(&self.0.iter().map(save).collect::<Result<Vec<_>, serde_json::Error>>()?)
    }

    /// Of JSON.
    ///
    /// # Errors
    /// If it is not that of this version of perouter.
    pub fn from_json(text: &[u8]) -> Result<Self, serde_json::Error> {
        let saved: Vec<SavedVersion> = serde_json::from_slice(text)?;
        let read = |saved: SavedVersion| {
            let SavedVersion { object, generation, created, location, spec } = saved;
            let spec = Spec::from_json(object.kind, spec)?;
            Ok((object, Object { generation, created, location, spec }))
        };
        saved.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The snapshot with each rejected object replaced by its last accepted version; `None` if there is nothing to replace.
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

    fn record(&mut self, planned: &Snapshot, plan: &Plan) {
        let in_force = planned.objects.iter().filter(|(object, _)| plan.objects.contains_key(*object));
        self.0 = in_force.map(|(object, found)| (object.clone(), found.clone())).collect();
    }

    /// Whether the last accepted version differs from that of the snapshot, or the snapshot has none. The location in a file does
    /// not count.
    fn differs(&self, snapshot: &Snapshot, object: &ObjectRef) -> bool {
        let version = |found: &Object| (found.spec.clone(), found.generation, found.created);
        let accepted = self.0.get(object).map(version);
        accepted.is_some() && accepted != snapshot.objects.get(object).map(version)
    }
}
