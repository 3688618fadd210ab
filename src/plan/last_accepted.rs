//! Keeps what worked: an object that was accepted and is now rejected stays in force as it was, until it is mended or
//! deleted, so that a typing mistake never takes a VRF down. In: snapshot, facts, what was accepted before. Out: the
//! plan. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{NodeFacts, Plan, plan};
use crate::kind::{L3VNISpec, UnderlaySpec};
use crate::snapshot::{Object, ObjectRef, Rejection, Snapshot};

/// The last accepted version of every object that still exists.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Accepted {
    underlays: BTreeMap<ObjectRef, Object<UnderlaySpec>>,
    l3vnis: BTreeMap<ObjectRef, Object<L3VNISpec>>,
}

/// Plans the snapshot with objects that the plan rejects at their last accepted version. (What the source rejects, it
/// holds by itself: only it knows which objects a broken file had.) The rejections are those of the snapshot as it is,
/// and tell which objects are held.
pub fn plan_holding(snapshot: &Snapshot, facts: &NodeFacts, accepted: &mut Accepted) -> Plan {
    let first = plan(snapshot, facts);
    let by_source: BTreeSet<&Rejection> = snapshot.rejected.iter().collect();
    let by_plan = first.rejected.iter().filter(|rejection| !by_source.contains(rejection));
    let Some(held) = accepted.substitute(snapshot, by_plan) else {
        accepted.remember(snapshot, &first);
        return first;
    };
    let mut result = plan(&held, facts);
    accepted.remember(&held, &result);
    let in_force = result.in_force();
    let is_held = |rejection: &Rejection| in_force.contains(&rejection.object) && !by_source.contains(rejection);
    let changed = accepted.changed(snapshot);
    let mut rejected = first.rejected;
    // Only what substitution did not cure: an object that depends on a held one is no longer rejected.
    rejected.retain(|rejection| !is_held(rejection) || changed.contains(&rejection.object));
    for rejection in rejected.iter_mut().filter(|rejection| is_held(rejection)) {
        rejection.message.push_str("; the last accepted version stays in force");
    }
    result.rejected = rejected;
    result
}

impl Plan {
    /// The objects of which some version is part of this plan.
    fn in_force(&self) -> BTreeSet<&ObjectRef> {
        self.underlay.iter().map(|u| &u.object).chain(self.vrfs.values().map(|v| &v.object)).collect()
    }
}

impl Accepted {
    /// The snapshot with each rejected object replaced by its accepted version; `None` where there is none to replace.
    fn substitute<'a>(&self, snapshot: &Snapshot, rejected: impl Iterator<Item = &'a Rejection>) -> Option<Snapshot> {
        let rejected: BTreeSet<&ObjectRef> = rejected.map(|rejection| &rejection.object).collect();
        let known = |object: &&ObjectRef| self.underlays.contains_key(object) || self.l3vnis.contains_key(object);
        rejected.iter().any(known).then(|| Snapshot {
            underlays: put(&snapshot.underlays, &self.underlays, &rejected),
            l3vnis: put(&snapshot.l3vnis, &self.l3vnis, &rejected),
            ..snapshot.clone()
        })
    }

    fn remember(&mut self, planned: &Snapshot, plan: &Plan) {
        let in_force = plan.in_force();
        self.underlays = kept(&planned.underlays, &in_force);
        self.l3vnis = kept(&planned.l3vnis, &in_force);
    }

    /// The objects whose version in force is another than that of the snapshot, or that it does not have.
    fn changed(&self, snapshot: &Snapshot) -> BTreeSet<ObjectRef> {
        let underlays = changed(&self.underlays, &snapshot.underlays);
        underlays.into_iter().chain(changed(&self.l3vnis, &snapshot.l3vnis)).collect()
    }
}

fn put<S: Clone>(
    objects: &[Object<S>],
    accepted: &BTreeMap<ObjectRef, Object<S>>,
    rejected: &BTreeSet<&ObjectRef>,
) -> Vec<Object<S>> {
    let mut held: BTreeMap<&ObjectRef, &Object<S>> =
        accepted.iter().filter(|(object, _)| rejected.contains(object)).collect();
    let mut objects: Vec<Object<S>> =
        objects.iter().map(|object| held.remove(&object.key).unwrap_or(object).clone()).collect();
    objects.extend(held.into_values().cloned());
    objects
}

fn kept<S: Clone>(objects: &[Object<S>], in_force: &BTreeSet<&ObjectRef>) -> BTreeMap<ObjectRef, Object<S>> {
    let kept = objects.iter().filter(|object| in_force.contains(&object.key));
    kept.map(|object| (object.key.clone(), object.clone())).collect()
}

fn changed<S: PartialEq>(accepted: &BTreeMap<ObjectRef, Object<S>>, objects: &[Object<S>]) -> Vec<ObjectRef> {
    let now: BTreeMap<&ObjectRef, &Object<S>> = objects.iter().map(|object| (&object.key, object)).collect();
    accepted.iter().filter(|(key, object)| now.get(key) != Some(object)).map(|(key, _)| key.clone()).collect()
}
