use std::sync::Arc;

use super::*;
use crate::frr::release::FrrVersion;
use crate::kernel::{KernelOp, OpStage};
use crate::plan::{NodeFacts, plan};
use crate::snapshot::{Kind, NodeIdentity, Object, ObjectRef, Snapshot};
use crate::types::VrfMode;
use rstest::rstest;

type Spec = serde_json::Value;

fn l3vni(name: &str, vni: u32, net: u8) -> (String, Spec) {
    let local = format!("192.169.{net}.0/24");
    (name.to_owned(), serde_json::json!({"asn": 64514, "vni": vni, "hostasn": 64515, "localcidr": {"ipv4": local}}))
}

/// Kernel and FRR as they are when these objects are in place.
fn state(mode: VrfMode, objects: &[(String, Spec)]) -> (KernelState, Config) {
    let key = |kind, name: &str| ObjectRef { kind, namespace: "default".into(), name: name.into() };
    let underlay = serde_json::json!({"asn": 64514, "vtepcidr": "100.65.0.0/24", "nics": ["toswitch"]});
    let snapshot = Snapshot {
        node: NodeIdentity { name: "n".into(), index: 0, labels: BTreeMap::new() },
        underlays: vec![Object {
            key: key(Kind::Underlay, "u"),
            generation: 1,
            created: None,
            spec: Arc::new(serde_json::from_value(underlay).unwrap()),
        }],
        l3vnis: objects
            .iter()
            .map(|(name, spec)| Object {
                key: key(Kind::L3VNI, name),
                generation: 1,
                created: None,
                spec: Arc::new(serde_json::from_value(spec.clone()).unwrap()),
            })
            .collect(),
        ..Snapshot::default()
    };
    let plan = plan(&snapshot, &NodeFacts { mode, nic_mtu: BTreeMap::new() });
    assert_eq!(plan.rejected, []);
    let frr = crate::frr::stanza::render::render(&plan.frr).unwrap();
    (plan.kernel, frr)
}

fn of_release(text: &str) -> Dialect {
    Dialect::of(&FrrVersion::parse(text).unwrap())
}

fn frr_8() -> Dialect {
    of_release("zebra version 8.4.4")
}

fn pass(mode: VrfMode, from: &[(String, Spec)], to: &[(String, Spec)]) -> Schedule {
    let (have, want) = (state(mode, from), state(mode, to));
    let view = |state: &'static (KernelState, Config)| State { kernel: &state.0, frr: &state.1 };
    schedule(view(Box::leak(Box::new(want))), view(Box::leak(Box::new(have))), &BTreeSet::new(), frr_8())
}

fn torn(schedule: &Schedule) -> Vec<String> {
    schedule.teardowns.iter().map(|(scope, _)| scope.to_string()).collect()
}

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn what_is_in_place_needs_nothing(#[case] mode: VrfMode) {
    let objects = [l3vni("red", 100, 10), l3vni("blue", 200, 11)];
    let done = pass(mode, &objects, &objects);
    assert_eq!(done, Schedule::default());
}

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn another_vni_rebuilds_its_vrf_alone(#[case] mode: VrfMode) {
    let done =
        pass(mode, &[l3vni("red", 100, 10), l3vni("blue", 200, 11)], &[l3vni("red", 101, 10), l3vni("blue", 200, 11)]);
    assert_eq!(torn(&done), ["vrf red"]);
    assert!(done.release.iter().chain(&done.build).all(|step| step.scope == Scope::Vrf("red".parse().unwrap())));
}

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn another_subnet_is_an_edit_in_place(#[case] mode: VrfMode) {
    let done = pass(mode, &[l3vni("red", 100, 10)], &[l3vni("red", 100, 12)]);
    assert!(done.teardowns.is_empty() && done.release.is_empty());
    let ops: Vec<_> = done.build.iter().map(ToString::to_string).collect();
    assert_eq!(ops.len(), 4, "an address goes and one comes at each end: {ops:?}");
}

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn another_name_takes_the_old_vrf_down_before_the_new_one_is_built(#[case] mode: VrfMode) {
    let done = pass(mode, &[l3vni("red", 100, 10)], &[l3vni("crimson", 100, 10)]);
    assert_eq!(torn(&done), ["vrf red"]);
    assert!(done.release.iter().all(|step| step.op.stage() == OpStage::Release));
    assert!(done.build.iter().all(|step| step.op.stage() != OpStage::Release));
}

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
fn a_deleted_vrf_leaves_the_others_alone(#[case] mode: VrfMode) {
    let done = pass(mode, &[l3vni("red", 100, 10), l3vni("blue", 200, 11)], &[l3vni("blue", 200, 11)]);
    assert_eq!(torn(&done), ["vrf red"]);
    assert!(done.build.is_empty() && done.frr.is_empty());
}

#[test]
fn a_distrusted_vrf_is_built_anew_though_nothing_differs() {
    let have = state(VrfMode::Netns, &[l3vni("red", 100, 10)]);
    let view = State { kernel: &have.0, frr: &have.1 };
    let done = schedule(view, view, &["red".parse().unwrap()].into(), frr_8());
    assert_eq!(torn(&done), ["vrf red"]);
    assert!(!done.release.is_empty() && !done.build.is_empty());
}

#[rstest]
#[case("zebra version 8.4.4", &["netns delete red"], 1)]
#[case("zebra version 10.3", &[], 0)]
fn the_namespace_of_a_deleted_vrf_stays_where_zebra_would_crash(
    #[case] release: &str,
    #[case] deleted: &[&str],
    #[case] after: usize,
) {
    let dialect = of_release(release);
    let have = state(VrfMode::Netns, &[l3vni("red", 100, 10), l3vni("blue", 200, 11)]);
    let want = state(VrfMode::Netns, &[l3vni("blue", 200, 11)]);
    let wanted = State { kernel: &want.0, frr: &want.1 };
    let done = schedule(wanted, State { kernel: &have.0, frr: &have.1 }, &BTreeSet::new(), dialect);
    assert_eq!(torn(&done), ["vrf red"]);
    assert_eq!(done.teardowns[0].1.after.len(), after);
    let ops: Vec<String> = done.release.iter().map(ToString::to_string).collect();
    assert_eq!(
        ops.iter().filter(|op| op.starts_with("netns ")).collect::<Vec<_>>(),
        deleted.iter().collect::<Vec<_>>()
    );
    assert!(done.build.is_empty(), "{:?}", done.build);

    let mut left = want.0.clone();
    if deleted.is_empty() {
        left.vrf_netns.insert("red".parse().unwrap());
    }
    let next = schedule(wanted, State { kernel: &left, frr: &want.1 }, &BTreeSet::new(), dialect);
    assert!(next.is_empty(), "{next:?}");
    // It is taken for the VRF when that comes back.
    let back = schedule(
        State { kernel: &have.0, frr: &have.1 },
        State { kernel: &left, frr: &want.1 },
        &BTreeSet::new(),
        dialect,
    );
    assert!(back.teardowns.is_empty() && back.release.is_empty());
    assert_eq!(back.build.iter().any(|step| matches!(step.op, KernelOp::CreateNetns(_))), !deleted.is_empty());
}
