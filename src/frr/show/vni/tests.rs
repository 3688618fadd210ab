use super::*;
use crate::frr::show::json::tests::with_unknown_keys;
use rstest::rstest;

const BGP_VNI: &str = r#"{"advertiseAllVnis":"Enabled","numVnis":1,"numL3Vnis":1,
  "100":{"vni":100,"type":"L3","inKernel":"True","originatorIp":"100.64.0.1","rd":"10.0.0.2:1",
  "sysMac":"02:00:00:00:00:02","rmac":"02:00:00:00:00:02","importRTs":["64514:100"],"exportRTs":["64514:100"]}}"#;

#[rstest]
#[case::frr_8("vrf")]
#[case::frr_10("tenantVrf")]
fn a_vni_is_ready_when_both_daemons_have_it(#[case] key: &str) {
    let zebra = format!(
        r#"[{{"vni":100,"type":"L3","localVtepIp":"100.64.0.1","vxlanIntf":"vni100","sviIntf":"br100","state":"Up",
        "{key}":"red","sysMac":"02:00:00:00:00:02","routerMac":"02:00:00:00:00:02","vniFilter":"none","l2Vnis":[]}}]"#
    );
    let expected = VniState {
        vni_type: VniType::L3,
        vrf: "red".into(),
        up: true,
        vtep: "100.64.0.1".parse().ok(),
        router_mac: "02:00:00:00:00:02".parse().ok(),
        svi: Some("br100".into()),
        in_bgp: true,
        advertised_mac: "02:00:00:00:00:02".parse().ok(),
        rd: Some("10.0.0.2:1".into()),
        import: vec!["64514:100".into()],
        export: vec!["64514:100".into()],
        unbound: None,
        ..VniState::default()
    };
    assert!(expected.is_ready());
    assert_eq!(vnis(&zebra, BGP_VNI).unwrap(), [(Vni::try_from(100).unwrap(), expected)].into());
}

#[test]
fn a_vni_that_zebra_lost_is_not_ready() {
    let zebra = r#"[{"vni":100,"type":"L3","sviIntf":"None","state":"Down","vrf":"red","routerMac":"None"}]"#;
    let states = vnis(zebra, "% BGP instance not found\n").unwrap();
    let state = &states[&Vni::try_from(100).unwrap()];
    assert_eq!((state.is_ready(), &state.svi, state.router_mac), (false, &None, None));
}

/// Captured: an L2VNI whose bridge is in VRF red, beside the L3VNI of that VRF.
#[rstest]
#[case::frr_8("vrf", r#""numRemoteVteps":["100.64.0.2"]"#)]
#[case::frr_10("tenantVrf", r#""numRemoteVteps":1,"remoteVteps":[{"ip":"100.64.0.2","flood":"HER"}]"#)]
fn an_l2vni_is_read_as_one(#[case] key: &str, #[case] vteps: &str) {
    let zebra = format!(
        r#"[{{"vni":110,"type":"L2","{key}":"red","vxlanInterface":"vni110","vxlanIfindex":9,"sviInterface":"br110",
        "sviIfindex":8,"vtepIp":"100.64.0.1","mcastGroup":"0.0.0.0","advertiseGatewayMacip":"No",
        "advertiseSviMacip":"No","numMacs":2,"numArpNd":2,{vteps}}},
        {{"vni":111,"type":"L2","{key}":"red","vxlanInterface":"unknown"}},
        {{"vni":100,"type":"L3","sviIntf":"br100","state":"Up","{key}":"red","routerMac":"02:00:00:00:00:02"}}]"#
    );
    let bgpd = r#"{"numVnis":3,"numL2Vnis":2,"numL3Vnis":1,
        "110":{"vni":110,"type":"L2","inKernel":"True","rd":"10.0.0.2:2","originatorIp":"100.64.0.1",
        "mcastGroup":"0.0.0.0","importRTs":["64514:110"],"exportRTs":["64514:110"]},
        "100":{"vni":100,"type":"L3","inKernel":"True","rd":"10.0.0.2:1","importRTs":[],"exportRTs":[]}}"#;
    let expected = VniState {
        vni_type: VniType::L2,
        vrf: "red".into(),
        up: true,
        vtep: "100.64.0.1".parse().ok(),
        router_mac: None,
        svi: Some("br110".into()),
        in_bgp: true,
        advertised_mac: None,
        rd: Some("10.0.0.2:2".into()),
        import: vec!["64514:110".into()],
        export: vec!["64514:110".into()],
        unbound: None,
        macs: Some(2),
        neighbors: Some(2),
        local: None,
        remote_vteps: vec!["100.64.0.2".parse().unwrap()],
    };
    let states = vnis(&zebra, bgpd).unwrap();
    let ready: Vec<_> = states.iter().map(|(vni, state)| (vni.get(), state.vni_type, state.is_ready())).collect();
    assert_eq!(ready, [(100, VniType::L3, true), (110, VniType::L2, true), (111, VniType::L2, false)]);
    assert_eq!(states[&Vni::try_from(110).unwrap()], expected);
    let (red, blue) = ("red".parse().unwrap(), "blue".parse().unwrap());
    assert!(!expected.is_l3_of(&red));
    assert_eq!(expected.fault_of_segment(Some(&red)), None);
    assert_eq!(expected.fault_of_segment(Some(&blue)), Some(VniFault::SegmentElsewhere));
    assert_eq!(expected.fault_of_segment(None), Some(VniFault::SegmentElsewhere));
    let unknown = &states[&Vni::try_from(111).unwrap()];
    assert_eq!(unknown.fault_of_segment(Some(&red)), Some(VniFault::SegmentDown));
    assert_eq!(VniState::default().fault_of_segment(None), Some(VniFault::SegmentNotListed));
    let not_in_bgp = VniState { in_bgp: false, ..expected };
    assert_eq!(not_in_bgp.fault_of_segment(Some(&red)), Some(VniFault::SegmentNotInBgp));
}

#[test]
fn an_l3vni_that_bgpd_still_has_as_an_l2vni_is_not_in_bgp() {
    let zebra =
        r#"[{"vni":100,"type":"L3","sviIntf":"br100","state":"Up","vrf":"red","routerMac":"02:00:00:00:00:02"}]"#;
    let states = vnis(zebra, &BGP_VNI.replace("L3", "L2")).unwrap();
    let state = &states[&Vni::try_from(100).unwrap()];
    assert_eq!((state.vni_type, state.in_bgp, state.is_ready()), (VniType::L3, false, false));
}

#[test]
fn a_status_without_types_has_l3vnis() {
    let written =
        r#"{"vrf":"red","up":true,"routerMac":null,"svi":null,"inBgp":true,"rd":null,"import":[],"export":[]}"#;
    assert_eq!(serde_json::from_str::<VniState>(written).unwrap().vni_type, VniType::L3);
    let l2 = VniState { vni_type: VniType::L2, ..VniState::default() };
    assert_eq!(serde_json::to_value(l2).unwrap()["type"], "L2");
}

#[test]
fn a_zebra_without_bgpd_reports_no_vni() {
    let states = vnis("", BGP_VNI).unwrap();
    let state = &states[&Vni::try_from(100).unwrap()];
    assert_eq!((state.is_only_in_bgp(), state.is_ready()), (true, false));
}

#[test]
fn single_vnis_are_read_as_their_list() {
    let one = |text: &str| listed(&["{\n}\n".into(), text.into(), "{}\n{\n}\n".into(), "VNI not found\n".into()]);
    let zebra = one(r#"{"vni":100,"type":"L3","state":"Up","vrf":"red","routerMac":"02:00:00:00:00:02"}"#);
    let bgpd = one(r#"{"vni":100,"type":"L3","inKernel":"True","rd":"10.0.0.2:1","importRTs":[],"exportRTs":[]}"#);
    let states = vnis(&zebra, &bgpd).unwrap();
    assert_eq!(states.keys().map(|vni| vni.get()).collect::<Vec<_>>(), [100]);
    assert!(states.values().all(VniState::is_ready));
}

#[test]
fn without_configuration_there_are_no_vnis() {
    assert_eq!(vnis("[\n]\n", "").unwrap(), BTreeMap::new());
}

#[test]
fn unknown_keys_change_nothing() {
    let zebra =
        r#"[{"vni":100,"type":"L3","state":"Up","vrf":"red","routerMac":"02:00:00:00:00:02","sviIntf":"br100"}]"#;
    let expected = vnis(zebra, BGP_VNI).unwrap();
    assert_eq!(vnis(&with_unknown_keys(zebra), &with_unknown_keys(BGP_VNI)).unwrap(), expected);
}

proptest::proptest! {
    #[test]
    fn any_output_is_read_without_a_panic(text in "\\PC{0,80}") {
        let _ = vnis(&text, &text);
    }
}
