use super::*;
use rstest::rstest;

#[test]
fn show_vrf_tells_active_from_inactive() {
    let text = "netns-based vrfs\nvrf red id 1 netns /run/netns/red (configured)\nvrf blue inactive (configured)\n\
                vrf green id 7 table 1001\n\n";
    let expected = [("red", VrfState::Active), ("blue", VrfState::Inactive), ("green", VrfState::Active)];
    assert_eq!(vrfs(text), expected.map(|(name, state)| (name.parse().unwrap(), state)).into());
}

#[rstest]
#[case(
    " MPLS                           Off\n VRF                            Namespaces               \n",
    Some(VrfMode::Netns)
)]
#[case(" VRF                            l3mdev Available         \n ASIC offload  Unavailable\n", Some(VrfMode::Vrf))]
#[case(" VRF                            l3mdev Unavailable       \n", Some(VrfMode::Vrf))]
#[case(" EVPN                           Off\n", None)]
fn show_zebra_tells_the_mode(#[case] text: &str, #[case] expected: Option<VrfMode>) {
    assert_eq!(mode(text), expected);
}

const BGP_VNI: &str = r#"{"advertiseAllVnis":"Enabled","numVnis":1,"numL3Vnis":1,
  "100":{"vni":100,"type":"L3","inKernel":"True","originatorIp":"100.64.0.1","rd":"10.0.0.2:1",
  "importRTs":["64514:100"],"exportRTs":["64514:100"]}}"#;

#[rstest]
#[case::frr_8("vrf")]
#[case::frr_10("tenantVrf")]
fn a_vni_is_ready_when_both_daemons_have_it(#[case] key: &str) {
    let zebra = format!(
        r#"[{{"vni":100,"type":"L3","localVtepIp":"100.64.0.1","vxlanIntf":"vni100","sviIntf":"br100","state":"Up",
        "{key}":"red","sysMac":"02:00:00:00:00:02","routerMac":"02:00:00:00:00:02","vniFilter":"none","l2Vnis":[]}}]"#
    );
    let expected = VniState {
        vrf: "red".into(),
        up: true,
        router_mac: "02:00:00:00:00:02".parse().ok(),
        svi: Some("br100".into()),
        in_bgp: true,
        rd: Some("10.0.0.2:1".into()),
        import: vec!["64514:100".into()],
        export: vec!["64514:100".into()],
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

#[test]
fn a_zebra_without_bgpd_tells_of_no_vni() {
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
fn nothing_configured_is_nothing_seen() {
    assert_eq!(vnis("[\n]\n", "").unwrap(), BTreeMap::new());
    assert_eq!(sessions("{\n}\n").unwrap(), vec![]);
    assert_eq!(sessions("% No BGP process is configured").unwrap(), vec![]);
}

#[test]
fn broken_json_is_an_error_that_names_the_command() {
    assert_eq!(sessions("{").unwrap_err().to_string(), "reading `show bgp vrf all summary json`");
}

#[test]
fn sessions_of_all_vrfs_and_families_are_merged_by_peer() {
    let up = |received: u64| {
        format!(
            r#"{{"remoteAs":64512,"peerUptimeEstablishedEpoch":1795178488,"pfxRcd":{received},"pfxSnt":2,
            "state":"Established","connectionsEstablished":1}}"#
        )
    };
    let summary = format!(
        r#"{{"default":{{"ipv4Unicast":{{"peers":{{"192.168.11.2":{}}}}},"l2VpnEvpn":{{"peers":{{"192.168.11.2":{}}}}}}},
        "red":{{"ipv4Unicast":{{"peers":{{"192.169.10.2":{{"remoteAs":64515,"state":"Active","pfxRcd":0,"pfxSnt":0,
        "peerUptimeEstablishedEpoch":5,"connectionsEstablished":0}}}}}}}},"blue":{{}}}}"#,
        up(1),
        up(7)
    );
    let fabric = SessionState {
        vrf: None,
        peer: "192.168.11.2".into(),
        remote_as: Asn::try_from(64512).ok(),
        phase: SessionPhase::Established,
        since: Some(1_795_178_488),
        established: 1,
        prefixes: [
            ("ipv4Unicast".to_owned(), Prefixes { received: 1, sent: 2 }),
            ("l2VpnEvpn".to_owned(), Prefixes { received: 7, sent: 2 }),
        ]
        .into(),
    };
    let host = SessionState {
        vrf: Some("red".parse().unwrap()),
        peer: "192.169.10.2".into(),
        remote_as: Asn::try_from(64515).ok(),
        phase: SessionPhase::Down("Active".into()),
        since: None,
        established: 0,
        prefixes: [("ipv4Unicast".to_owned(), Prefixes::default())].into(),
    };
    assert_eq!(sessions(&summary).unwrap(), [fabric, host]);
}

proptest::proptest! {
    #[test]
    fn any_reply_is_read_without_a_panic(text in "\\PC{0,80}") {
        let _ = (vrfs(&text), vnis(&text, &text), sessions(&text));
    }
}

#[test]
fn links_of_a_vrf_are_read_from_the_brief_table() {
    let text = "Interface       Status  VRF             Addresses\n---------       ------  ---             ---------\n\
                lo              up      red             \npe-100          up      red             192.169.10.1/24\n\n";
    assert_eq!(links(text), ["lo", "pe-100"].map(|name| name.parse().unwrap()).into());
}
