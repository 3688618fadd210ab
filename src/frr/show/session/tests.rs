use super::*;
use crate::frr::show::json::tests::with_unknown_keys;

#[test]
fn down_sessions_are_read_with_their_counters() {
    let summary = r#"{"default":{"ipv4Unicast":{"failedPeersCount":0,"dynamicPeers":0,"totalPeers":1}},
        "red":{"ipv4Unicast":{"routerId":"10.0.0.1","as":64514,"peers":{"10.200.0.114":{"connectionsEstablished":2,
        "connectionsDropped":2,"peerUptime":"00:00:01","lastResetDueTo":"BGP Notification received","idType":"ipv4"}},
        "failedPeers":1,"totalPeers":1}}}"#;
    let key = (Some("red".parse().unwrap()), "10.200.0.114".to_owned());
    assert_eq!(down_sessions(summary).unwrap(), [(key, SessionCounters { established: 2, dropped: 2 })].into());
    assert_eq!(down_sessions("% No BGP process is configured").unwrap(), [].into());
}

#[test]
fn no_bgp_instance_is_no_session() {
    assert_eq!(sessions("{\n}\n").unwrap(), vec![]);
    assert_eq!(sessions("% No BGP process is configured").unwrap(), vec![]);
}

#[test]
fn broken_json_is_an_error_that_names_the_command() {
    assert_eq!(sessions("{").unwrap_err().to_string(), "reading `show bgp vrf all summary json`");
}

fn summary() -> String {
    let up = |received: u64| {
        format!(
            r#"{{"remoteAs":64512,"peerUptimeEstablishedEpoch":1795178488,"pfxRcd":{received},"pfxSnt":2,
            "state":"Established","connectionsEstablished":1}}"#
        )
    };
    format!(
        r#"{{"default":{{"ipv4Unicast":{{"peers":{{"192.168.11.2":{}}}}},"l2VpnEvpn":{{"peers":{{"192.168.11.2":{}}}}}}},
        "red":{{"ipv4Unicast":{{"peers":{{"192.169.10.2":{{"remoteAs":64515,"state":"Active","pfxRcd":0,"pfxSnt":0,
        "peerUptimeEstablishedEpoch":5,"connectionsEstablished":0}}}}}}}},"blue":{{}}}}"#,
        up(1),
        up(7)
    )
}

#[test]
fn sessions_of_all_vrfs_and_families_are_merged_by_peer() {
    let summary = summary();
    let fabric = SessionState {
        vrf: None,
        peer: "192.168.11.2".into(),
        remote_as: Asn::try_from(64512).ok(),
        phase: SessionPhase::Established,
        since: Some(1_795_178_488),
        established: 1,
        messages: 0,
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
        messages: 0,
        prefixes: [("ipv4Unicast".to_owned(), Prefixes::default())].into(),
    };
    assert_eq!(sessions(&summary).unwrap(), [fabric, host]);
}

#[test]
fn unknown_keys_change_nothing() {
    let summary = summary();
    let more = with_unknown_keys(&summary);
    assert_eq!(sessions(&more).unwrap(), sessions(&summary).unwrap());
    assert_eq!(down_sessions(&more).unwrap(), down_sessions(&summary).unwrap());
}

proptest::proptest! {
    #[test]
    fn any_output_is_read_without_a_panic(text in "\\PC{0,80}") {
        let _ = (sessions(&text), down_sessions(&text));
    }
}
