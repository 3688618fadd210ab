//! Keeps what worked: an object that was accepted and is now rejected stays in force as it was, until it is mended or
//! deleted, so that a typing mistake never takes a VRF down. In: snapshot, facts, what was accepted before. Out: the
//! plan. Pure.

use std::collections::BTreeMap;

use super::{NodeFacts, Plan, plan};
use crate::api::{L3VNISpec, UnderlaySpec};
use crate::snapshot::{Kind, Object, ObjectRef, Rejection, Snapshot};

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
    let by_plan = first.rejected.iter().filter(|rejection| !snapshot.rejected.contains(rejection));
    let Some(held) = accepted.substitute(snapshot, by_plan) else {
        accepted.remember(snapshot, &first);
        return first;
    };
    let mut result = plan(&held, facts);
    accepted.remember(&held, &result);
    let is_held = |rejection: &Rejection| result.in_force(&rejection.object) && !snapshot.rejected.contains(rejection);
    let mut rejected = first.rejected;
    // Only what substitution did not cure: an object that depends on a held one is no longer rejected.
    rejected.retain(|rejection| !is_held(rejection) || accepted.differs(snapshot, &rejection.object));
    for rejection in rejected.iter_mut().filter(|rejection| is_held(rejection)) {
        rejection.message.push_str("; the last accepted version stays in force");
    }
    result.rejected = rejected;
    result
}

impl Plan {
    /// Whether some version of `object` is part of this plan.
    pub fn in_force(&self, object: &ObjectRef) -> bool {
        self.underlay.as_ref().is_some_and(|u| u.object == *object) || self.vrfs.values().any(|v| v.object == *object)
    }
}

impl Accepted {
    /// The snapshot with each rejected object replaced by its accepted version; `None` where there is none to replace.
    fn substitute<'a>(&self, snapshot: &Snapshot, rejected: impl Iterator<Item = &'a Rejection>) -> Option<Snapshot> {
        let mut held = snapshot.clone();
        let mut any = false;
        for Rejection { object, .. } in rejected {
            match object.kind {
                Kind::Underlay => any |= put(&mut held.underlays, self.underlays.get(object)),
                Kind::L3VNI => any |= put(&mut held.l3vnis, self.l3vnis.get(object)),
                Kind::Document => {}
            }
        }
        any.then_some(held)
    }

    fn remember(&mut self, planned: &Snapshot, plan: &Plan) {
        let keep = |key: &ObjectRef| plan.in_force(key);
        self.underlays =
            planned.underlays.iter().filter(|o| keep(&o.key)).map(|o| (o.key.clone(), o.clone())).collect();
        self.l3vnis = planned.l3vnis.iter().filter(|o| keep(&o.key)).map(|o| (o.key.clone(), o.clone())).collect();
    }

    /// Whether the version in force is another than that of the snapshot.
    fn differs(&self, snapshot: &Snapshot, object: &ObjectRef) -> bool {
        match object.kind {
            Kind::Underlay => self.underlays.get(object) != snapshot.underlays.iter().find(|o| o.key == *object),
            Kind::L3VNI => self.l3vnis.get(object) != snapshot.l3vnis.iter().find(|o| o.key == *object),
            Kind::Document => true,
        }
    }
}

fn put<S: Clone>(objects: &mut Vec<Object<S>>, accepted: Option<&Object<S>>) -> bool {
    let Some(accepted) = accepted else { return false };
    match objects.iter_mut().find(|o| o.key == accepted.key) {
        Some(object) => *object = accepted.clone(),
        None => objects.push(accepted.clone()),
    }
    true
}
