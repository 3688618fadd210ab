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

/// Plans the snapshot with rejected objects at their last accepted version. The rejections are those of the snapshot
/// as it is, and tell which objects are held.
pub fn plan_holding(snapshot: &Snapshot, facts: &NodeFacts, accepted: &mut Accepted) -> Plan {
    let first = plan(snapshot, facts);
    let mut rejected = first.rejected.clone();
    let held = accepted.substitute(snapshot, &first.rejected);
    let mut result = match &held {
        Some(held) => plan(held, facts),
        None => first,
    };
    accepted.remember(held.as_ref().unwrap_or(snapshot), &result);
    for rejection in &mut rejected {
        if result.in_force(&rejection.object) {
            rejection.message.push_str("; the last accepted version stays in force");
        }
    }
    if held.is_some() {
        // Only what substitution did not cure: an object that depends on a held one is no longer rejected.
        rejected.retain(|r| !result.in_force(&r.object) || accepted.differs(snapshot, &r.object));
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
    fn substitute(&self, snapshot: &Snapshot, rejected: &[Rejection]) -> Option<Snapshot> {
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
