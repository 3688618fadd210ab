//! An object that was accepted and is now rejected stays in force in its last accepted version, until it is fixed or deleted:
//! a mistake in an edit must not take a VRF down. In: snapshot, facts, the last accepted versions. Out: the plan, and the new last
//! accepted versions. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{NodeFacts, Plan, plan_beside};
use crate::kind::Spec;
use crate::kind::object::{Kind, Location, ObjectRef, Rejection};
use crate::snapshot::{Object, Snapshot};

/// The last accepted version of every object that still exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LastAccepted(BTreeMap<ObjectRef, Object>);

/// Plans the snapshot, with the objects that the plan rejects replaced by their last accepted versions, and those that the source
/// rejects without a version of its own, as after a restart. The rejections are those of the snapshot as it is, and say which objects
/// stay in force.
pub fn plan_with_last_accepted(snapshot: &Snapshot, facts: &NodeFacts, accepted: &mut LastAccepted) -> Plan {
    let first = plan_beside(snapshot, facts, &accepted.0);
    let by_source: BTreeSet<&Rejection> = snapshot.rejected.iter().collect();
    let of_source: BTreeSet<&ObjectRef> = by_source.iter().map(|rejection| &rejection.object).collect();
    let by_plan = first.rejected.iter().filter(|rejection| !by_source.contains(rejection));
    let replaced: BTreeSet<&ObjectRef> = by_plan.map(|rejection| &rejection.object).collect();
    let unreadable = accepted.unreadable(snapshot);
    let Some(substituted) = accepted.substitute(snapshot, replaced.into_iter().chain(unreadable.iter())) else {
        accepted.record(snapshot, &first);
        return first;
    };
    let mut result = plan_beside(&substituted, facts, &accepted.0);
    accepted.record(&substituted, &result);
    let in_force = |rejection: &Rejection| {
        let is_replaced = !by_source.contains(rejection) || unreadable.contains(&rejection.object);
        is_replaced && result.objects.contains_key(&rejection.object)
    };
    let mut rejected = first.rejected;
    // An object that depends on a replaced one is no longer rejected. Of one that the source rejects, the plan has a former version.
    rejected.retain(|rejection| {
        let is_present = by_source.contains(rejection) || !of_source.contains(&rejection.object);
        is_present && (!in_force(rejection) || accepted.differs(snapshot, &rejection.object))
    });
    for rejection in rejected.iter_mut().filter(|rejection| in_force(rejection)) {
        rejection.add_version_in_force("last accepted version");
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

    /// The objects of which the source has no valid version, though they are there: those that it rejects, and all of a file with a
    /// document that cannot be read, which may be any of them.
    fn unreadable(&self, snapshot: &Snapshot) -> BTreeSet<ObjectRef> {
        let is_rejected = |object: &ObjectRef, found: &Object| {
            let file = found.location.as_ref().map(|location| &location.file);
            snapshot.rejected.iter().any(|rejection| {
                let is_in_file =
                    || file.is_some() && rejection.location.as_ref().map(|location| &location.file) == file;
                rejection.object == *object || rejection.object.kind == Kind::Document && is_in_file()
            })
        };
        let missing = self.0.iter().filter(|(object, _)| !snapshot.objects.contains_key(*object));
        missing.filter(|(object, found)| is_rejected(object, found)).map(|(object, _)| object.clone()).collect()
    }

    /// The snapshot with each of these objects replaced by its last accepted version; `None` if there is nothing to replace.
    fn substitute<'a>(&self, snapshot: &Snapshot, objects: impl Iterator<Item = &'a ObjectRef>) -> Option<Snapshot> {
        let known: Vec<_> = objects.filter_map(|object| self.0.get_key_value(object)).collect();
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
    /// not count, nor does the generation: of a file it is a count of the process that reads it, and `plan` has the versions of
    /// the controller. An object of the API server that was created again is another one.
    fn differs(&self, snapshot: &Snapshot, object: &ObjectRef) -> bool {
        let version = |found: &Object| (found.spec.clone(), found.created);
        let accepted = self.0.get(object).map(version);
        accepted.is_some() && accepted != snapshot.objects.get(object).map(version)
    }
}
