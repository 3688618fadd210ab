use rstest::rstest;
use serde_json::json;

use super::*;
use crate::frr::release::{FRR_8_4, FRR_10_3};
use crate::kernel::model::{RouteUse, StackedDevice};
use crate::plan::last_accepted::{LastAccepted, plan_with_last_accepted};
use crate::plan::tests::{edit_underlay, facts, snapshot};
use crate::plan::{NodeFacts, Plan, plan};
use crate::types::Family;

fn nic() -> NicFacts {
    facts().nics.unwrap().into_values().next().unwrap()
}

fn with_nics(nics: impl IntoIterator<Item = NicFacts>) -> NodeFacts {
    NodeFacts { nics: Some(nics.into_iter().map(|nic| (nic.name.clone(), nic)).collect()), ..facts() }
}

fn rejections(plan: &Plan) -> Vec<(Reason, &str)> {
    plan.rejected.iter().map(|r| (r.reason, r.message.as_str())).collect()
}

fn planned(facts: &NodeFacts, spec: &serde_json::Value) -> Plan {
    let mut snapshot = snapshot(vec![]);
    edit_underlay(&mut snapshot, |underlay| {
        let mut edited = serde_json::to_value(&*underlay).unwrap();
        edited.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        *underlay = serde_json::from_value(edited).unwrap();
    });
    plan(&snapshot, facts)
}

fn uses(edit: impl FnOnce(&mut NicFacts)) -> NicFacts {
    let mut nic = nic();
    edit(&mut nic);
    nic
}

#[rstest]
#[case("Master", Reason::NicInUse, "has master br0", uses(|nic| nic.master = Some("br0".into())))]
#[case("StackedDevices", Reason::NicInUse, "carries flannel.1 (vxlan)", uses(|nic| {
    nic.stacked = [StackedDevice { name: "flannel.1".into(), kind: "vxlan".into() }].into();
}))]
#[case("DefaultRoute", Reason::NicInUse, "only default route (ipv4)", uses(|nic| {
    nic.routes.only_default = [Family::Ipv4].into();
}))]
#[case("APIServerRoute", Reason::NicInUse, "the way to the API server 192.0.2.1", uses(|nic| {
    nic.routes.api_servers = ["192.0.2.1".parse().unwrap()].into();
}))]
#[case("NoAddress", Reason::NicNotReady, "no address in a subnet with neighbor 192.168.11.2", uses(|nic| {
    nic.addresses = ["10.0.0.1/24".parse().unwrap(), "fe80::1/64".parse().unwrap()].into();
}))]
#[case("NoAddress", Reason::NicNotReady, "got an address a moment ago", uses(|nic| nic.settling = true))]
fn each_reason_not_to_take_a_nic_has_its_override(
    #[case] name: &str,
    #[case] reason: Reason,
    #[case] words: &str,
    #[case] nic: NicFacts,
) {
    let facts = with_nics([nic.clone()]);
    let rejected = planned(&facts, &json!({}));
    let found = rejections(&rejected);
    assert_eq!(found.len(), 1, "{found:?}");
    let (found_reason, message) = found[0];
    let remedy = format!("or add {name} to spec.nicOverrides");
    assert!(found_reason == reason && message.contains(words) && message.ends_with(&remedy), "{found:?}");
    let others = NicOverride::ALL.map(NicOverride::as_str).into_iter().filter(|other| *other != name);
    assert_eq!(planned(&facts, &json!({"nicOverrides": others.collect::<Vec<_>>()})).rejected.len(), 1);
    assert_eq!(rejections(&planned(&facts, &json!({"nicOverrides": [name]}))), []);
    // What the router has already is not given up.
    assert_eq!(rejections(&planned(&with_nics([NicFacts { taken: true, ..nic }]), &json!({}))), []);
}

#[rstest]
#[case(uses(|nic| nic.kind = "vrf".into()), Reason::Invalid, "VRF device")]
#[case(uses(|nic| nic.fixed = Some(FixedLink::Ours)), Reason::Invalid, "a link of perouter")]
#[case(uses(|nic| nic.kind = "macvlan".into()), Reason::Unsupported, "frr#15370")]
#[case(uses(|nic| (nic.kind, nic.fixed) = ("bond".into(), Some(FixedLink::Immovable))), Reason::Unsupported, "name its members")]
fn some_links_are_never_taken(#[case] nic: NicFacts, #[case] reason: Reason, #[case] words: &str) {
    let facts = NodeFacts { release: FRR_8_4, ..with_nics([nic]) };
    let all = NicOverride::ALL.map(NicOverride::as_str);
    let plan = planned(&facts, &json!({"nicOverrides": all}));
    let found = rejections(&plan);
    assert!(found.len() == 1 && found[0].0 == reason && found[0].1.contains(words), "{found:?}");
    assert!(!found[0].1.contains("macvlan or"), "recommends what crashes: {found:?}");
}

#[test]
fn a_macvlan_is_taken_where_zebra_bears_it() {
    let facts = NodeFacts { release: FRR_10_3, ..with_nics([uses(|nic| nic.kind = "macvlan".into())]) };
    assert_eq!(rejections(&planned(&facts, &json!({}))), []);
}

#[test]
fn an_alternative_name_is_the_primary_name_everywhere() {
    let alias: IfName = "enp1s0f0np0".parse().unwrap();
    let nic = uses(|nic| nic.altnames = ["enp1s0f0np0".parse().unwrap()].into());
    let facts = NodeFacts { nics: Some([(alias, nic)].into()), ..facts() };
    let spec = json!({"nics": ["enp1s0f0np0"], "neighbors": [{"interface": "enp1s0f0np0", "asn": 64512}]});
    let plan = planned(&facts, &spec);
    assert_eq!(rejections(&plan), []);
    let nics: Vec<&str> = plan.kernel.nics.keys().map(IfName::as_str).collect();
    let neighbors: Vec<String> = plan.frr.underlay.unwrap().neighbors.keys().map(ToString::to_string).collect();
    assert_eq!((nics, neighbors), (vec!["toswitch"], vec!["toswitch".to_owned()]));
}

#[test]
fn a_nic_that_is_missing_keeps_the_version_in_force() {
    let (mut accepted, facts) = (LastAccepted::default(), facts());
    let mut objects = snapshot(vec![]);
    let before = plan_with_last_accepted(&objects, &facts, &mut accepted);
    edit_underlay(&mut objects, |spec| spec.nics = vec!["tooswitch".into()]);
    let during = plan_with_last_accepted(&objects, &facts, &mut accepted);
    assert_eq!(during.kernel, before.kernel);
    let found = rejections(&during);
    assert!(found[0].0 == Reason::NicNotReady && found[0].1.contains("no NIC tooswitch"), "{found:?}");
    // Nothing is given up for a NIC that is unplugged, or one that the host uses when it is plugged in again.
    edit_underlay(&mut objects, |spec| spec.nics = vec!["toswitch".into()]);
    plan_with_last_accepted(&objects, &facts, &mut accepted);
    let gone = plan_with_last_accepted(&objects, &with_nics([]), &mut accepted);
    assert_eq!((&gone.kernel.nics, rejections(&gone)), (&before.kernel.nics, vec![]));
}

#[test]
fn a_second_nic_that_cannot_be_taken_does_not_stop_the_router() {
    let first = uses(|nic| nic.taken = true);
    let second = NicFacts { master: Some("br0".into()), ..NicFacts::unused("eth2".parse().unwrap(), 1500) };
    let plan = planned(&with_nics([first, second]), &json!({"nics": ["toswitch", "eth2"]}));
    assert_eq!((plan.kernel.nics.len(), rejections(&plan)), (1, vec![]));
    assert!(plan.notes[0].message.contains("not taken: NIC eth2 has master br0"), "{:?}", plan.notes);
}

#[test]
fn a_lease_is_noted() {
    let leased = uses(|nic| nic.leased.clone_from(&nic.addresses));
    let by_route = uses(|nic| nic.routes = RouteUse { dhcp: true, ..RouteUse::default() });
    for nic in [leased, by_route] {
        let plan = planned(&with_nics([nic]), &json!({}));
        assert!(plan.notes[0].message.contains("nobody renews it"), "{:?}", plan.notes);
    }
}
