use std::sync::Arc;

use super::last_accepted::{LastAccepted, plan_with_last_accepted};
use super::*;
use crate::frr::release::{FRR_10_7, RELEASES};
use crate::kernel::model::{HostNetwork, LinkKind, NicFacts};
use crate::kind::Spec;
use crate::kind::note::{Loss, Note};
use crate::kind::{L3VNISpec, LocalCidr, UnderlaySpec};
use crate::snapshot::{Location, NodeIdentity};
use crate::types::{IfName, VrfMode};
use proptest::prelude::*;
use rstest::rstest;

pub(crate) fn facts() -> NodeFacts {
    let name: IfName = "toswitch".parse().unwrap();
    let nic =
        NicFacts { addresses: ["192.168.11.3/24".parse().unwrap()].into(), ..NicFacts::unused(name.clone(), 9000) };
    NodeFacts { nics: Some([(name, nic)].into()), ..NodeFacts::unknown(VrfMode::Netns, crate::frr::release::FRR_10_3) }
}

fn key(kind: Kind, name: &str) -> ObjectRef {
    ObjectRef { kind, namespace: "openperouter-system".into(), name: name.into() }
}

fn underlay() -> UnderlaySpec {
    let spec = serde_json::json!({
        "asn": 64514, "vtepcidr": "100.65.0.0/24", "nics": ["toswitch"],
        "neighbors": [{"address": "192.168.11.2", "asn": 64512}],
    });
    serde_json::from_value(spec).unwrap()
}

/// An L3VNI for a test snapshot.
#[derive(Debug, Clone)]
pub(crate) struct L3vniCase {
    name: String,
    created: Option<i64>,
    pub(crate) spec: Arc<L3VNISpec>,
}

pub(crate) fn l3vni(name: &str, vni: u32, ipv4: &str) -> L3vniCase {
    let spec = serde_json::json!({"asn": 64514, "vni": vni, "localcidr": {"ipv4": ipv4}, "hostasn": 64515});
    L3vniCase { name: name.to_owned(), created: None, spec: Arc::new(serde_json::from_value(spec).unwrap()) }
}

pub(crate) fn snapshot(l3vnis: Vec<L3vniCase>) -> Snapshot {
    let l3vnis = l3vnis.into_iter().map(|case| {
        let object = Object { created: case.created, ..Object::new(Spec::L3VNI(case.spec)) };
        (key(Kind::L3VNI, &case.name), object)
    });
    let underlay = (key(Kind::Underlay, "underlay"), Object::new(underlay()));
    Snapshot {
        node: NodeIdentity { name: "worker".into(), index: 1, labels: [("rack".into(), "a".into())].into() },
        objects: l3vnis.chain([underlay]).collect(),
        ..Snapshot::default()
    }
}

pub(crate) fn edit_underlay(snapshot: &mut Snapshot, edit: impl FnOnce(&mut UnderlaySpec)) {
    let object = snapshot.objects.get_mut(&key(Kind::Underlay, "underlay")).unwrap();
    let Spec::Underlay(spec) = &mut object.spec else { panic!("an Underlay") };
    edit(Arc::make_mut(spec));
}

fn reasons(plan: &Plan) -> Vec<(String, Reason, String)> {
    plan.rejected.iter().map(|r| (r.object.name.clone(), r.reason, r.field.clone())).collect()
}

fn vrfs(plan: &Plan) -> Vec<&str> {
    plan.l3vnis().into_keys().map(VrfName::as_str).collect()
}

#[test]
fn the_older_object_wins_each_conflict() {
    let mut young = l3vni("a-young", 100, "192.169.10.0/24");
    young.created = Some(20);
    let mut old = l3vni("z-old", 100, "192.169.10.128/25");
    old.created = Some(10);
    let plan = plan(&snapshot(vec![young, old]), &facts());
    assert_eq!(vrfs(&plan), ["z-old"]);
    assert_eq!(
        reasons(&plan),
        [
            ("a-young".into(), Reason::Conflict, "spec.localcidr.ipv4".into()),
            ("a-young".into(), Reason::Conflict, "spec.vni".into()),
        ]
    );
}

/// Files have no age: what a new one claims stays with the object that is in force, in its edited version too.
#[rstest]
#[case::unchanged(100)]
#[case::edited(101)]
fn of_files_the_object_in_force_wins(#[case] vni: u32) {
    let mut accepted = LastAccepted::default();
    plan_with_last_accepted(&snapshot(vec![l3vni("red", 100, "192.169.10.0/24")]), &facts(), &mut accepted);
    let both = snapshot(vec![l3vni("aaa", vni, "192.169.11.0/24"), l3vni("red", vni, "192.169.10.0/24")]);
    assert_eq!(vrfs(&plan(&both, &facts())), ["aaa"], "by name where none is in force");
    let found = plan_with_last_accepted(&both, &facts(), &mut accepted);
    assert_eq!(vrfs(&found), ["red"]);
    assert_eq!(reasons(&found), [("aaa".into(), Reason::Conflict, "spec.vni".into())]);
}

#[test]
fn what_is_in_force_keeps_its_vni_when_another_file_claims_it() {
    let (red, blue) = (l3vni("red", 100, "192.169.10.0/24"), l3vni("blue", 200, "192.169.11.0/24"));
    let mut accepted = LastAccepted::default();
    plan_with_last_accepted(&snapshot(vec![red.clone(), blue]), &facts(), &mut accepted);
    let edited = snapshot(vec![red, l3vni("blue", 100, "192.169.11.0/24")]);
    let found = plan_with_last_accepted(&edited, &facts(), &mut accepted);
    let vnis: BTreeMap<&str, u32> = found.l3vnis().into_iter().map(|(vrf, vni)| (vrf.as_str(), vni.get())).collect();
    assert_eq!(vnis, [("blue", 200), ("red", 100)].into(), "blue in its last accepted version");
    assert_eq!(reasons(&found), [("blue".into(), Reason::Conflict, "spec.vni".into())]);
}

#[test]
fn everything_wrong_with_an_object_is_rejected_and_the_valid_one_is_planned() {
    let mut bad = l3vni("bad", 0, "192.169.10.1/24");
    Arc::make_mut(&mut bad.spec).route_targets =
        Some(crate::kind::RouteTargets { import: vec!["x".into()], export: vec![] });
    let plan = plan(&snapshot(vec![bad, l3vni("good", 200, "192.169.11.0/24")]), &facts());
    assert_eq!(vrfs(&plan), ["good"]);
    let fields: Vec<_> = plan.rejected.iter().map(|r| r.field.as_str()).collect();
    assert_eq!(fields, ["spec.localcidr.ipv4", "spec.routeTargets.import[0]", "spec.vni"]);
}

#[test]
fn a_subnet_in_use_on_the_node_or_protected_is_rejected_and_what_is_in_force_stays() {
    let objects = || {
        let mut snapshot = snapshot(vec![
            l3vni("link", 100, "192.168.11.0/28"),
            l3vni("pods", 200, "10.244.9.0/24"),
            l3vni("mgmt", 300, "172.18.0.0/24"),
            l3vni("good", 400, "192.169.10.0/24"),
            l3vni("static", 500, "10.8.0.0/16"),
            l3vni("summary", 600, "172.20.0.0/24"),
        ]);
        edit_underlay(&mut snapshot, |spec| spec.protected_prefixes = vec!["10.244.0.0/16".into()]);
        snapshot
    };
    let mgmt =
        HostNetwork { address: "172.18.0.3/16".parse().unwrap(), is_route: false, link: "mgmt0".to_owned(), vrf: None };
    let route = |prefix: &str| HostNetwork { address: prefix.parse().unwrap(), is_route: true, ..mgmt.clone() };
    let host_networks = [route("10.8.3.0/24"), route("172.16.0.0/12"), mgmt.clone()].into();
    let name: IfName = "toswitch".parse().unwrap();
    let addresses = ["192.168.11.4/24", "fe80::1/64"].map(|address| address.parse().unwrap()).into();
    let nic = NicFacts { addresses, ..NicFacts::unused(name.clone(), 9000) };
    let node = NodeFacts { nics: Some([(name, nic)].into()), host_networks, ..facts() };
    let rejected = plan(&objects(), &node);
    assert_eq!(vrfs(&rejected), ["good", "summary"]);
    let notes: Vec<String> =
        rejected.notes.iter().filter(|note| note.loss == Loss::Node).map(Note::to_string).collect();
    assert_eq!(
        notes,
        [
            "L3VNI openperouter-system/summary: spec.localcidr.ipv4: 172.20.0.0/24 is a part of 172.16.0.0/12, to which the node \
          has a static route over mgmt0: what has these addresses there is lost for the node; use another subnet if somebody \
          has them"
        ]
    );
    let texts: Vec<String> = rejected.rejected.iter().map(|r| r.message.clone()).collect();
    assert_eq!(
        texts,
        [
            "192.168.11.0/28 overlaps 192.168.11.0/24, spec.nics, the subnet of a NIC of Underlay \
             openperouter-system/underlay: use another subnet",
            "172.18.0.0/24 overlaps 172.18.0.0/16, a network of the node on mgmt0, which could not be reached any more: use \
             another subnet",
            "10.244.9.0/24 overlaps 10.244.0.0/16, spec.protectedPrefixes[0] of Underlay openperouter-system/underlay: use \
             another subnet",
            "10.8.0.0/16 has 10.8.3.0/24 in it, to which the node has a static route over mgmt0: use another subnet, or remove \
             the route",
        ]
    );
    // An address that the node gets later takes nothing down.
    let mut accepted = LastAccepted::default();
    let before =
        plan_with_last_accepted(&objects(), &NodeFacts { host_networks: [].into(), ..node.clone() }, &mut accepted);
    assert_eq!(vrfs(&before), ["good", "mgmt", "static", "summary"]);
    let after = plan_with_last_accepted(&objects(), &node, &mut accepted);
    assert!(after.rejected.iter().any(|rejection| rejection.object.name == "mgmt"), "{:?}", after.rejected);
}

#[test]
fn a_link_local_subnet_and_an_allowed_prefix_that_is_protected_are_noted() {
    let mut red = l3vni("red", 100, "169.254.7.0/24");
    let allowed =
        serde_json::json!({"allowedPrefixes": [{"prefix": "172.30.0.0/24"}, {"prefix": "10.96.1.0/24", "le": 32}]});
    Arc::make_mut(&mut red.spec).from_host = Some(serde_json::from_value(allowed).unwrap());
    let mut snapshot = snapshot(vec![red]);
    edit_underlay(&mut snapshot, |spec| spec.protected_prefixes = vec!["10.96.0.0/12".into()]);
    let plan = plan(&snapshot, &facts());
    assert_eq!(plan.rejected, vec![]);
    let fields: Vec<&str> = plan.notes.iter().map(|note| note.field.as_str()).collect();
    let expected = ["spec.fromHost.allowedPrefixes[1]", "spec.localcidr.ipv4", "spec.toHost.asOverride"];
    assert_eq!(fields, expected, "{:#?}", plan.notes);
    assert!(plan.notes[0].message.contains("within 10.96.0.0/12, which spec.protectedPrefixes[0] of Underlay"));
}

#[test]
fn only_the_host_end_is_put_into_the_vrf_of_the_host() {
    let mut red = l3vni("red", 100, "192.169.10.0/24");
    Arc::make_mut(&mut red.spec).host_session =
        Some(crate::kind::HostSessionSpec { vrf: Some("hostvrf".into()), ..Default::default() });
    let plan = plan(&snapshot(vec![red, l3vni("blue", 200, "192.169.11.0/24")]), &facts());
    let in_host_vrf =
        plan.kernel.links.iter().filter_map(|(key, link)| Some((key.to_string(), link.host_master.as_ref()?)));
    let in_host_vrf: Vec<_> = in_host_vrf.map(|(key, master)| (key, master.name().as_str())).collect();
    assert_eq!(in_host_vrf, [("host/host-100".to_owned(), "hostvrf")]);
}

#[test]
fn a_pool_without_room_names_the_first_index_that_does_not_fit() {
    let plan = plan(&snapshot(vec![l3vni("red", 100, "192.169.10.0/30")]), &facts());
    assert_eq!(
        plan.rejected[0].to_string(),
        "L3VNI openperouter-system/red: spec.localcidr.ipv4: 192.169.10.0/30 has room for 1 nodes: index 1 is the \
         first that does not fit, and this node has index 1; use a larger prefix"
    );
    assert_eq!(plan.rejected[0].reason, Reason::PoolTooSmall);
}

#[test]
fn without_an_underlay_every_l3vni_is_rejected() {
    let mut none = snapshot(vec![l3vni("red", 100, "192.169.10.0/24")]);
    none.objects.retain(|object, _| object.kind != Kind::Underlay);
    let plan = plan(&none, &facts());
    assert_eq!(reasons(&plan), [("red".into(), Reason::DependencyFailed, String::new())]);
    assert!(plan.rejected[0].message.contains("create an Underlay whose nodeSelector matches this node"));
    assert_eq!(plan.kernel, KernelState::default());
}

#[test]
fn objects_of_other_nodes_are_neither_planned_nor_rejected() {
    let mut other = l3vni("red", 100, "192.169.10.0/24");
    let selector = serde_json::json!({"matchExpressions": [{"key": "rack", "operator": "NotIn", "values": ["a"]}]});
    Arc::make_mut(&mut other.spec).node_selector = Some(serde_json::from_value(selector).unwrap());
    let plan = plan(&snapshot(vec![other]), &facts());
    assert!(vrfs(&plan).is_empty() && plan.rejected.is_empty());
}

#[test]
fn the_mtu_of_the_overlay_follows_the_least_nic() {
    let plan = plan(&snapshot(vec![l3vni("red", 100, "192.169.10.0/24")]), &facts());
    let mtus: Vec<_> = plan.kernel.links.values().map(|link| link.mtu).collect();
    assert_eq!(mtus, [Some(8950); 4]);
}

#[test]
fn both_vrf_modes_have_the_same_router_in_different_namespaces() {
    let objects = snapshot(vec![l3vni("red", 100, "192.169.10.0/24")]);
    let netns = plan(&objects, &facts());
    let vrf = plan(&objects, &NodeFacts { mode: VrfMode::Vrf, ..facts() });
    assert_eq!(netns.frr, vrf.frr);
    let names = |plan: &Plan| -> Vec<String> {
        plan.kernel.links.keys().map(|k| k.name.to_string()).filter(|name| name != "red").collect()
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(names(&netns)), sorted(names(&vrf)));
    assert!(vrf.kernel.vrf_netns.is_empty() && netns.kernel.unreachable.is_empty());
}

#[test]
fn the_last_accepted_version_stays_in_force_until_the_object_is_deleted() {
    let mut accepted = LastAccepted::default();
    let good = snapshot(vec![l3vni("red", 100, "192.169.10.0/24")]);
    let before = plan_with_last_accepted(&good, &facts(), &mut accepted);

    let bad = snapshot(vec![l3vni("red", 100, "192.169.10.0/30")]);
    let during = plan_with_last_accepted(&bad, &facts(), &mut accepted);
    assert_eq!(during.kernel, before.kernel);
    assert_eq!(during.frr, before.frr);
    assert_eq!(during.rejected.len(), 1);
    assert!(during.rejected[0].message.contains("; the last accepted version stays in force: "));

    let after = plan_with_last_accepted(&snapshot(vec![]), &facts(), &mut accepted);
    assert!(vrfs(&after).is_empty() && after.rejected.is_empty());
    assert_eq!(accepted, {
        let mut only_underlay = LastAccepted::default();
        plan_with_last_accepted(&snapshot(vec![]), &facts(), &mut only_underlay);
        only_underlay
    });
}

/// A rejection of the source.
fn unreadable(object: ObjectRef, file: &str) -> Rejection {
    let location = Some(Location { file: file.to_owned(), line: 9 });
    let (field, message) = ("spec.vni".to_owned(), "is not a field: did you mean vni?".to_owned());
    Rejection { object, reason: Reason::Invalid, location, field, message }
}

/// After a restart the source knows no valid version of an object whose file has a mistake.
#[rstest]
#[case::of_the_object(Kind::L3VNI, "red", "a.yaml", &["blue", "red"])]
#[case::of_a_document_of_its_file(Kind::Document, "?", "a.yaml", &["blue", "red"])]
#[case::of_another_file(Kind::Document, "?", "b.yaml", &["blue"])]
#[case::of_another_object(Kind::L3VNI, "other", "a.yaml", &["blue"])]
fn an_object_that_the_source_cannot_read_any_more_stays_in_force(
    #[case] kind: Kind,
    #[case] name: &str,
    #[case] file: &str,
    #[case] expected: &[&str],
) {
    let (red, blue) = (l3vni("red", 100, "192.169.10.0/24"), l3vni("blue", 200, "192.169.11.0/24"));
    let mut both = snapshot(vec![red, blue.clone()]);
    let in_a = Location { file: "a.yaml".to_owned(), line: 1 };
    for (_, found) in both.objects.iter_mut().filter(|(object, _)| object.name == "red") {
        found.location = Some(in_a.clone());
    }
    let mut accepted = LastAccepted::default();
    plan_with_last_accepted(&both, &facts(), &mut accepted);
    let mut accepted = LastAccepted::from_json(&accepted.to_json().unwrap()).unwrap();
    let namespace = both.objects.keys().next().unwrap().namespace.clone();
    let mut mistake = snapshot(vec![blue]);
    mistake.rejected.push(unreadable(ObjectRef::new(kind, namespace, name), file));
    for _ in 0..2 {
        let found = plan_with_last_accepted(&mistake, &facts(), &mut accepted);
        assert_eq!(vrfs(&found), expected);
        let message = &found.rejected[0].message;
        let stays = message.ends_with("; the last accepted version stays in force: did you mean vni?");
        assert_eq!((found.rejected.len(), stays), (1, name == "red"), "{message}");
    }
}

/// The source has the version before as the last valid one, which is in no file any more.
#[test]
fn a_version_that_is_replaced_is_not_reported_once_more() {
    let mut accepted = LastAccepted::default();
    let (red, blue) = (l3vni("red", 100, "192.169.10.0/24"), l3vni("blue", 200, "192.169.11.0/24"));
    plan_with_last_accepted(&snapshot(vec![red.clone(), blue]), &facts(), &mut accepted);
    let mut mistake = snapshot(vec![red, l3vni("blue", 100, "192.169.11.0/24")]);
    let blue = mistake.objects.keys().find(|object| object.name == "blue").unwrap().clone();
    mistake.rejected.push(unreadable(blue, "a.yaml"));
    let found = plan_with_last_accepted(&mistake, &facts(), &mut accepted);
    assert_eq!(reasons(&found), [("blue".into(), Reason::Invalid, "spec.vni".into())]);
    assert_eq!(vrfs(&found), ["blue", "red"]);
}

#[test]
fn an_invalid_edit_of_the_underlay_keeps_the_router_and_rejects_only_the_underlay() {
    let mut accepted = LastAccepted::default();
    let mut objects = snapshot(vec![l3vni("red", 100, "192.169.10.0/24")]);
    let before = plan_with_last_accepted(&objects, &facts(), &mut accepted);
    edit_underlay(&mut objects, |spec| spec.vtepcidr = "100.65.0.0/31".into());
    objects.node.index = 1;
    edit_underlay(&mut objects, |spec| spec.nics.clear());
    let during = plan_with_last_accepted(&objects, &facts(), &mut accepted);
    assert_eq!(during.kernel, before.kernel);
    assert_eq!(reasons(&during), [("underlay".into(), Reason::Invalid, "spec.nics".into())]);
}

proptest! {
    #[test]
    fn the_order_of_objects_is_irrelevant(
        specs in prop::collection::vec((1u32..5, 0u8..4, prop::option::of(0i64..3)), 0..6),
        seed in any::<u64>(),
    ) {
        let mut objects: Vec<_> = specs
            .iter()
            .enumerate()
            .map(|(i, (vni, net, created))| L3vniCase {
                created: *created,
                ..l3vni(&format!("v{i}"), *vni, &format!("10.0.{net}.0/24"))
            })
            .collect();
        let straight = plan(&snapshot(objects.clone()), &facts());
        let len = objects.len().max(1);
        objects.rotate_left(usize::try_from(seed % len as u64).unwrap());
        objects.reverse();
        prop_assert_eq!(plan(&snapshot(objects), &facts()), straight);
    }

    #[test]
    fn accepted_objects_share_neither_vni_nor_subnet(vnis in prop::collection::vec((1u32..4, 0u8..4), 0..8)) {
        let objects = vnis.iter().enumerate().map(|(i, (vni, net))| l3vni(&format!("v{i}"), *vni, &format!("10.0.{net}.0/24")));
        let plan = plan(&snapshot(objects.collect()), &facts());
        let mut seen = std::collections::BTreeSet::new();
        prop_assert!(plan.l3vnis().into_values().all(|vni| seen.insert(vni)));
        prop_assert_eq!(plan.l3vnis().len(), plan.frr.vrfs.len());
    }
}

/// Of a file the generation is a count of the process that reads it: 1 in `plan`, more in the controller.
#[test]
fn what_depends_on_a_replaced_object_is_not_rejected_whatever_its_generation() {
    let mut good = snapshot(vec![l3vni("red", 100, "192.169.10.0/24")]);
    good.objects.values_mut().for_each(|found| (found.generation, found.created) = (9, None));
    let mut accepted = LastAccepted::default();
    let before = plan_with_last_accepted(&good, &facts(), &mut accepted);
    let mut bad = good.clone();
    bad.objects.values_mut().for_each(|found| found.generation = 1);
    edit_underlay(&mut bad, |underlay| underlay.vtepcidr = "100.65.0.0/32".into());
    let during = plan_with_last_accepted(&bad, &facts(), &mut accepted);
    assert_eq!((during.frr, vrfs(&before)), (before.frr.clone(), vec!["red"]));
    let rejected: Vec<_> = during.rejected.iter().map(|rejection| rejection.object.kind).collect();
    assert_eq!(rejected, [Kind::Underlay], "{:?}", during.rejected);
}

#[test]
fn a_local_cidr_of_one_family_makes_one_session() {
    let mut six = l3vni("six", 300, "10.0.0.0/24");
    Arc::make_mut(&mut six.spec).localcidr = Some(LocalCidr { ipv4: None, ipv6: Some("2001:db8:10::/64".into()) });
    let plan = plan(&snapshot(vec![six]), &facts());
    let vrf = plan.frr.vrfs.values().next().unwrap();
    assert_eq!(vrf.sessions.len(), 1);
    assert_eq!(vrf.networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["2001:db8:10::3/128"]);
}

#[test]
fn a_vrf_has_neither_the_name_of_a_nic_nor_of_a_link_of_the_router() {
    let mut facts = facts();
    for nic in facts.nics.iter_mut().flat_map(BTreeMap::values_mut) {
        nic.altnames = ["enp1s0".parse().unwrap()].into();
    }
    for mode in [VrfMode::Netns, VrfMode::Vrf] {
        let facts = NodeFacts { mode, ..facts.clone() };
        let rejected = |name: &str| reasons(&plan(&snapshot(vec![l3vni(name, 100, "192.169.10.0/24")]), &facts));
        for nic in ["toswitch", "enp1s0"] {
            assert_eq!(rejected(nic), [(nic.to_owned(), Reason::Conflict, "spec.vrf".to_owned())]);
        }
        for reserved in ["pe-100", "vni200", "host-1", "sit0"] {
            let expected = (reserved.to_owned(), Reason::Invalid, "metadata.name".to_owned());
            assert_eq!(rejected(reserved), [expected]);
        }
    }
}

#[test]
fn a_session_with_a_password_has_one_port() {
    let mut red = l3vni("red", 100, "192.169.10.0/24");
    let session = serde_json::json!({"listenPort": 180, "passwordSecret": {"name": "a", "key": "b"}});
    Arc::make_mut(&mut red.spec).host_session = serde_json::from_value(session).unwrap();
    let given = snapshot(vec![red.clone()]);
    let found = reasons(&plan(&given, &facts()));
    assert!(found.contains(&("red".into(), Reason::Invalid, "spec.hostSession.listenPort".into())), "{found:?}");
    Arc::make_mut(&mut red.spec).host_session.as_mut().unwrap().password_secret = None;
    let opened = plan(&snapshot(vec![red]), &facts()).kernel.listen_ports;
    assert_eq!(opened.iter().map(|opened| opened.port).collect::<Vec<_>>(), [180]);
}

#[test]
fn an_ipv6_vtep_pool_is_rejected_with_the_remedy_before_frr_10_6() {
    let pools: [fn(&mut UnderlaySpec); 2] =
        [|spec| spec.vtepcidr = "2001:db8::/64".into(), |spec| spec.vtepcidr6 = Some("2001:db8::/64".into())];
    for (edit, field) in pools.into_iter().zip(["spec.vtepcidr", "spec.vtepcidr6"]) {
        let mut snapshot = snapshot(vec![]);
        edit_underlay(&mut snapshot, edit);
        for (release, is_rejected) in RELEASES.into_iter().zip([true, true, true, false]) {
            let plan = plan(&snapshot, &NodeFacts { release, ..facts() });
            let expected = is_rejected.then(|| ("underlay".into(), Reason::Unsupported, field.to_owned()));
            assert_eq!(reasons(&plan), expected.into_iter().collect::<Vec<_>>(), "{}", release.name);
            let has_remedy = |found: &Rejection| {
                found.message.contains("frr#5885")
                    && found.message.contains("install FRR 10.6 or later, or use an IPv4 pool")
            };
            assert!(plan.rejected.iter().all(has_remedy), "{:?}", plan.rejected);
        }
    }
}

/// The pools of the Underlay, `underlayAddressFamily`, and the VTEP address and MTU of the L3VNI or the end of the rejection.
#[rstest]
#[case("100.65.0.0/24", None, None, Ok(("100.65.0.2", 8950)))]
#[case("100.65.0.0/24", None, Some("IPv4"), Ok(("100.65.0.2", 8950)))]
#[case(
    "100.65.0.0/24",
    None,
    Some("IPv6"),
    Err("has no pool of IPv6 VTEPs: set its spec.vtepcidr6, or remove this field")
)]
#[case("2001:db8:65::/64", None, None, Ok(("2001:db8:65::2", 8930)))]
#[case(
    "2001:db8:65::/64",
    None,
    Some("IPv4"),
    Err(
        "has no pool of IPv4 VTEPs: write an IPv4 pool to its spec.vtepcidr and the IPv6 pool to spec.vtepcidr6, or remove this field"
    )
)]
#[case("100.65.0.0/24", Some("2001:db8:65::/64"), None, Ok(("100.65.0.2", 8950)))]
#[case("100.65.0.0/24", Some("2001:db8:65::/64"), Some("IPv6"), Ok(("2001:db8:65::2", 8930)))]
fn an_l3vni_uses_the_vtep_of_its_family(
    #[case] pool: &str,
    #[case] pool6: Option<&str>,
    #[case] family: Option<&str>,
    #[case] expected: Result<(&str, u32), &str>,
) {
    let mut red = l3vni("red", 100, "192.169.10.0/24");
    Arc::make_mut(&mut red.spec).underlay_address_family =
        family.map(|family| serde_json::from_value(family.into()).unwrap());
    let mut snapshot = snapshot(vec![red]);
    edit_underlay(&mut snapshot, |spec| {
        (spec.vtepcidr, spec.vtepcidr6) = (pool.to_owned(), pool6.map(str::to_owned));
    });
    let plan = plan(&snapshot, &NodeFacts { release: FRR_10_7, ..facts() });
    let (address, mtu) = match expected {
        Ok(vtep) => vtep,
        Err(end) => {
            assert_eq!(reasons(&plan), [("red".into(), Reason::DependencyFailed, "spec.underlayAddressFamily".into())]);
            let message = &plan.rejected[0].message;
            assert_eq!(*message, format!("Underlay openperouter-system/underlay {end}"));
            return;
        }
    };
    assert_eq!(plan.rejected, vec![]);
    let vteps = plan.kernel.links.values().filter_map(|link| match link.kind {
        LinkKind::Vxlan { local, .. } => Some(local.to_string()),
        _ => None,
    });
    assert_eq!(vteps.collect::<Vec<_>>(), [address]);
    assert!(plan.kernel.links.values().all(|link| link.mtu == Some(mtu)), "{:#?}", plan.kernel.links);
    let pools: Vec<_> = [Some(pool), pool6].into_iter().flatten().collect();
    assert_eq!(plan.kernel.loopback.len(), pools.len());
    let underlay = plan.frr.underlay.unwrap();
    assert_eq!(underlay.networks, plan.kernel.loopback);
    assert!(pools.iter().all(|pool| underlay.protected_prefixes.contains(&pool.parse().unwrap())), "{underlay:#?}");
}
