//! From what was planned, applied and observed to the status. In: snapshot, plan, failures, the state of FRR. Out:
//! [`NodeStatus`]. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::model::{NodeStatus, ObjectState, PassSummary, Resource};
use crate::frr::show::live::Live;
use crate::frr::show::vni::{VniFault, VniState, VniType};
use crate::plan::Plan;
use crate::scope::Scope;
use crate::snapshot::{ObjectRef, Rejection, Snapshot};
use crate::types::{Vni, VrfMode, VrfName};

/// Computes the status. `failures` are the texts of what is not in place.
pub fn fold(
    snapshot: &Snapshot,
    plan: &Plan,
    mode: VrfMode,
    failures: &BTreeMap<Scope, Vec<String>>,
    live: Live,
    last_change: PassSummary,
) -> NodeStatus {
    let (l3vnis, l2vnis) =
        if live.has_read_vnis() { (plan.l3vnis(), plan.l2vnis()) } else { (BTreeMap::new(), BTreeMap::new()) };
    let faults = faults(&l3vnis, &l2vnis, &live.vnis);
    let resources = resources(snapshot, plan, failures, &faults);
    let mut vnis = live.vnis;
    // What FRR does not list is down.
    for (vrf, vni) in l3vnis {
        vnis.entry(vni).or_insert_with(|| VniState { vrf: vrf.to_string(), ..VniState::default() });
    }
    for (vni, vrf) in l2vnis {
        // As FRR has the VRF of a bridge without a routing domain.
        let vrf = vrf.map_or_else(|| "default".to_owned(), ToString::to_string);
        vnis.entry(vni).or_insert_with(|| VniState { vni_type: VniType::L2, vrf, ..VniState::default() });
    }
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
        vnis,
        sessions: live.sessions,
        session_causes: Vec::new(),
        findings: Vec::new(),
        filtered: Vec::new(),
        foreign_lines: Vec::new(),
        kept_ports: BTreeMap::new(),
        last_change,
    }
}

/// What is wrong with VNIs, by their scope.
fn faults(
    l3vnis: &BTreeMap<&VrfName, Vni>,
    l2vnis: &BTreeMap<Vni, Option<&VrfName>>,
    vnis: &BTreeMap<Vni, VniState>,
) -> BTreeMap<Scope, String> {
    let fault = |(vrf, vni): (&&VrfName, &Vni)| {
        let fault = vnis.get(vni).map_or(Some(VniFault::NotListed), |state| state.fault(vrf))?;
        Some((Scope::Vrf((*vrf).clone()), format!("VNI {vni}, VRF {vrf}: {fault}")))
    };
    let fault_of_segment = |vni: &Vni, vrf: Option<&VrfName>| {
        let fault = vnis.get(vni).map_or(Some(VniFault::SegmentNotListed), |state| state.fault_of_segment(vrf))?;
        Some((Scope::Segment(*vni), format!("VNI {vni}: {fault}")))
    };
    let of_vrfs = l3vnis.iter().filter_map(fault);
    of_vrfs.chain(l2vnis.iter().filter_map(|(vni, vrf)| fault_of_segment(vni, *vrf))).collect()
}

fn resources(
    snapshot: &Snapshot,
    plan: &Plan,
    failures: &BTreeMap<Scope, Vec<String>>,
    faults: &BTreeMap<Scope, String>,
) -> Vec<Resource> {
    let mut rejected: BTreeMap<&ObjectRef, Vec<&Rejection>> = BTreeMap::new();
    for rejection in &plan.rejected {
        rejected.entry(&rejection.object).or_default().push(rejection);
    }
    let (l3vnis, l2vnis) = (plan.l3vnis(), plan.l2vnis());
    let objects: BTreeSet<&ObjectRef> = rejected.keys().copied().chain(plan.objects.keys()).collect();
    objects
        .into_iter()
        .map(|object| {
            let planned = plan.objects.get(object);
            let failed = planned.and_then(|planned| failures_of(&planned.scope, plan, failures));
            let fault = planned.and_then(|planned| faults.get(&planned.scope));
            let generation = snapshot.objects.get(object).map(|found| found.generation);
            let (vrf, vni) = planned.map(|planned| place_of(&planned.scope, &l3vnis, &l2vnis)).unwrap_or_default();
            let found = resource(object, generation, rejected.get(object), (failed, fault), planned.is_some());
            Resource { vrf, vni, ..found }
        })
        .collect()
}

/// The VRF that a scope is, or in which its segment is routed, and its VNI.
fn place_of(
    scope: &Scope,
    l3vnis: &BTreeMap<&VrfName, Vni>,
    l2vnis: &BTreeMap<Vni, Option<&VrfName>>,
) -> (Option<VrfName>, Option<Vni>) {
    match scope {
        Scope::Vrf(vrf) => (Some(vrf.clone()), l3vnis.get(vrf).copied()),
        Scope::Segment(vni) => (l2vnis.get(vni).copied().flatten().cloned(), Some(*vni)),
        Scope::Underlay | Scope::Passthrough | Scope::Raw(_) => (None, None),
    }
}

/// The failures of a scope that an object owns. What is left of a segment that no object owns is the node's, and
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
    (failed, fault): (Option<Vec<String>>, Option<&String>),
    in_force: bool,
) -> Resource {
    let (state, reason, message) = match (rejections, failed, fault) {
        (Some(found), ..) => {
            let reason = found.first().map(|r| r.reason.as_str().to_owned()).unwrap_or_default();
            let text = |r: &&Rejection| {
                if r.field.is_empty() { r.message.clone() } else { format!("{}: {}", r.field, r.message) }
            };
            (ObjectState::Rejected, reason, found.iter().map(text).collect::<Vec<_>>().join("\n"))
        }
        (None, Some(texts), _) => (ObjectState::Failed, "ApplyFailed".to_owned(), texts.join("\n")),
        (None, None, Some(fault)) => (ObjectState::Failed, "NotUp".to_owned(), fault.clone()),
        (None, None, None) => (ObjectState::Ready, "Applied".to_owned(), String::new()),
    };
    Resource {
        kind: object.kind,
        namespace: object.namespace.clone(),
        name: object.name.clone(),
        vrf: None,
        vni: None,
        generation,
        state,
        reason,
        message,
        location: rejections.and_then(|found| found.iter().find_map(|r| r.location.clone())),
        last_accepted_in_force: rejections.is_some() && in_force,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::vrf_binding::Unbound;
    use crate::kind::Spec;
    use crate::plan::{NodeFacts, plan};
    use crate::snapshot::{Kind, NodeIdentity, Object};
    use rstest::rstest;

    /// A node with VNI 100 in VRF red.
    fn node() -> (Snapshot, Plan) {
        let object = |kind, name: &str, spec| {
            (ObjectRef::new(kind, "default", name), Object::new(Spec::from_json(kind, spec).unwrap()))
        };
        let underlay = serde_json::json!({"asn": 64514, "vtepcidr": "100.65.0.0/24", "nics": ["toswitch"]});
        let red =
            serde_json::json!({"asn": 64514, "vni": 100, "hostasn": 64515, "localcidr": {"ipv4": "192.169.10.0/24"}});
        let snapshot = Snapshot {
            node: NodeIdentity { name: "n".into(), index: 0, labels: BTreeMap::new() },
            objects: [object(Kind::Underlay, "u", underlay), object(Kind::L3VNI, "red", red)].into(),
            ..Snapshot::default()
        };
        let facts = NodeFacts::unknown(VrfMode::Vrf, crate::frr::release::FRR_10_7);
        let plan = plan(&snapshot, &facts);
        (snapshot, plan)
    }

    fn up() -> VniState {
        let router_mac = "02:00:00:00:00:01".parse().ok();
        VniState { vrf: "red".into(), up: true, router_mac, in_bgp: true, ..VniState::default() }
    }

    fn status(live: Live) -> NodeStatus {
        let (snapshot, plan) = node();
        fold(&snapshot, &plan, VrfMode::Vrf, &BTreeMap::new(), live, PassSummary::default())
    }

    fn live(vnis: impl IntoIterator<Item = VniState>) -> Live {
        let vnis = vnis.into_iter().map(|state| (Vni::try_from(100).unwrap(), state)).collect();
        Live { frr_version: "10.7.1".into(), vnis, ..Live::default() }
    }

    #[rstest]
    #[case::up(Some(up()), "")]
    #[case::not_listed(None, "VNI 100, VRF red: FRR does not list the L3VNI in the VRF")]
    #[case::in_another_vrf(
        Some(VniState { vrf: "blue".into(), ..up() }),
        "VNI 100, VRF red: FRR does not list the L3VNI in the VRF"
    )]
    #[case::down(Some(VniState { up: false, ..up() }), "VNI 100, VRF red: zebra has the L3VNI down")]
    #[case::not_in_bgp(Some(VniState { in_bgp: false, ..up() }), "VNI 100, VRF red: bgpd does not have the L3VNI")]
    #[case::of_a_vrf_that_is_gone(
        Some(VniState { unbound: Some(Unbound::OtherId { bgpd: 5, zebra: 9 }), ..up() }),
        "VNI 100, VRF red: bgpd has the VRF with id 5, zebra with id 9"
    )]
    #[case::without_instance(
        Some(VniState { unbound: Some(Unbound::NoInstance), ..up() }),
        "VNI 100, VRF red: bgpd has no instance of the VRF"
    )]
    fn an_l3vni_is_ready_only_where_frr_lists_it_in_service(#[case] state: Option<VniState>, #[case] expected: &str) {
        let status = status(live(state));
        let red = status.resources.iter().find(|resource| resource.name == "red").unwrap();
        let (wanted, reason) =
            if expected.is_empty() { (ObjectState::Ready, "Applied") } else { (ObjectState::Failed, "NotUp") };
        assert_eq!((red.state, red.reason.as_str(), red.message.as_str()), (wanted, reason, expected));
        assert_eq!(status.ready, expected.is_empty());
        let listed = &status.vnis[&Vni::try_from(100).unwrap()];
        assert!(expected.is_empty() || !listed.is_ready() || !listed.is_l3_of(&"red".parse().unwrap()));
    }

    #[rstest]
    #[case::up(Some(VniState { vni_type: VniType::L2, vrf: "red".into(), ..up() }), "")]
    #[case::not_listed(None, "VNI 110: zebra does not list the L2VNI")]
    #[case::as_an_l3vni(Some(up()), "VNI 110: zebra does not list the L2VNI")]
    #[case::in_another_vrf(
        Some(VniState { vni_type: VniType::L2, vrf: "default".into(), ..up() }),
        "VNI 110: zebra has the bridge of the L2VNI in another VRF"
    )]
    #[case::not_in_bgp(
        Some(VniState { vni_type: VniType::L2, vrf: "red".into(), in_bgp: false, ..up() }),
        "VNI 110: bgpd does not have the L2VNI"
    )]
    fn an_l2vni_is_ready_only_where_frr_has_it_in_service(#[case] state: Option<VniState>, #[case] expected: &str) {
        let (mut snapshot, _) = node();
        let spec = serde_json::json!({"vni": 110, "routingDomain": {"type": "L3VNI", "l3vni": {"name": "red"}}});
        let object = Object::new(Spec::from_json(Kind::L2VNI, spec).unwrap());
        snapshot.objects.insert(ObjectRef::new(Kind::L2VNI, "default", "layer2"), object);
        let plan = plan(&snapshot, &NodeFacts::unknown(VrfMode::Vrf, crate::frr::release::FRR_10_7));
        let mut live = live([up()]);
        live.vnis.extend(state.map(|state| (Vni::try_from(110).unwrap(), state)));
        let status = fold(&snapshot, &plan, VrfMode::Vrf, &BTreeMap::new(), live, PassSummary::default());
        let states = |name: &str| {
            let found = status.resources.iter().find(|resource| resource.name == name).unwrap();
            (found.state, found.message.as_str())
        };
        let wanted = if expected.is_empty() { ObjectState::Ready } else { ObjectState::Failed };
        assert_eq!((states("layer2"), states("red")), ((wanted, expected), (ObjectState::Ready, "")));
        assert!(status.vnis.contains_key(&Vni::try_from(110).unwrap()), "what FRR does not list is down");
        let place = |name: &str| {
            let found = status.resources.iter().find(|resource| resource.name == name).unwrap();
            (found.vrf.as_ref().map(VrfName::as_str), found.vni.map(Vni::get))
        };
        assert_eq!((place("layer2"), place("red")), ((Some("red"), Some(110)), (Some("red"), Some(100))));
    }

    #[test]
    fn an_l2vni_that_frr_lacks_has_the_vrf_that_frr_would_show() {
        let (mut snapshot, _) = node();
        let object = Object::new(Spec::from_json(Kind::L2VNI, serde_json::json!({"vni": 120})).unwrap());
        snapshot.objects.insert(ObjectRef::new(Kind::L2VNI, "default", "layer2"), object);
        let plan = plan(&snapshot, &NodeFacts::unknown(VrfMode::Vrf, crate::frr::release::FRR_10_7));
        let status = fold(&snapshot, &plan, VrfMode::Vrf, &BTreeMap::new(), live([up()]), PassSummary::default());
        let missing = &status.vnis[&Vni::try_from(120).unwrap()];
        assert_eq!((missing.vrf.as_str(), missing.vni_type, missing.is_ready()), ("default", VniType::L2, false));
    }

    #[test]
    fn nothing_is_known_of_vnis_while_frr_does_not_answer() {
        let silent = Live { frr_version: String::new(), ..live(None) };
        let without_bgpd = Live { silent: [crate::runtime::Daemon::Bgpd].into(), ..live(None) };
        for live in [silent, without_bgpd] {
            let status = status(live);
            assert!(status.resources.iter().all(|resource| resource.state == ObjectState::Ready), "{status:?}");
            assert!(status.vnis.is_empty());
        }
    }
}
