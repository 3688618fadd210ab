//! Routes that a router accepts from its host (`spec.fromHost`), how it reports those that it filters, and a host whose
//! connection is half open.

use perouter::frr::show::session::SessionPhase;
use perouter_lab::CommandOutput;

use super::fabric::{fetch, ping, type5_of};
use super::fixture::{BLUE, Fixture, RED, SETTLE, Setup, until, until_true};

const ALLOWED: &str = "  fromHost:\n    allowedPrefixes:\n    - {prefix: 172.30.0.0/24, ge: 32}\n    \
                       - {prefix: 198.51.0.0/16, ge: 24, le: 28}\n    - {prefix: 0.0.0.0/0}\n    maxPrefixes: 4\n";

/// Adds or removes networks that the host advertises on every session in addition to its services.
fn networks(fixture: &Fixture, verb: &str, prefixes: &[&str]) {
    let statements: Vec<String> = prefixes.iter().map(|prefix| format!("{verb} {prefix}")).collect();
    let mut lines = vec!["configure terminal", "router bgp 64514", "address-family ipv4 unicast"];
    lines.extend(statements.iter().map(String::as_str));
    fixture.hosts[0].vtysh(&lines).unwrap();
}

/// A half-open connection: the speaker that accepted it is gone, and the router was not notified.
#[test]
fn a_half_open_connection_does_not_block_the_host() {
    // In a connection collision the connection of the speaker with the higher router id is kept.
    let setup = Setup::example().with("underlay.yaml", "  routeridcidr: 198.18.0.0/24\n");
    let Some(mut fixture) = Fixture::deploy("half-open", &[0], &setup) else { return };
    let router = fixture.router();
    router.start();
    router.await_ready(&[100, 200]);
    let bind = || std::net::TcpListener::bind("192.169.10.2:179");
    let listener = router.node.within_netns(bind).unwrap().unwrap();
    let (half_open, _) = listener.accept().unwrap();
    drop(listener);
    fixture.start_hosts();
    fixture.router().await_session("red", "192.169.10.2");
    let log = std::fs::read_to_string(fixture.router().log()).unwrap();
    assert!(log.contains("a session stays in OpenSent scope=vrf red line=clear bgp vrf red 192.169.10.2"), "{log}");
    until("the page of red", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    drop(half_open);
}

fn assert_prints(output: &CommandOutput, words: &[&str]) {
    for words in words {
        assert!(output.stdout.contains(words), "no `{words}` in\n{}{}", output.stdout, output.stderr);
    }
}

#[test]
fn allowed_prefixes_and_max_prefixes_apply_to_an_internal_host_session() {
    let mut setup = Setup::example().with("red.yaml", ALLOWED);
    for file in ["red.yaml", "blue.yaml"] {
        setup = setup.replacing(file, "  hostasn: 64515\n", "");
    }
    setup.announcer.asn = 64514;
    let Some(mut fixture) = Fixture::start_with("from-host", &[0], &setup) else { return };
    let (host, leaf) = (fixture.hosts[0].clone(), fixture.node("leafA").clone());
    let unfiltered =
        ["configure terminal", "route-map peerred-out permit 10", "no match ip address prefix-list peerred-out"];
    host.vtysh(&unfiltered).unwrap();
    // Too short, too long, or not covered, and two that are allowed: the default route is advertised in red only.
    let filtered = ["172.30.0.0/25", "198.51.0.0/16", "198.51.100.64/29", "203.0.113.0/24"];
    networks(&fixture, "network", &filtered);
    networks(&fixture, "network", &["198.51.100.0/28", "0.0.0.0/0"]);
    fixture.await_type5("198.51.100.0/28", 100);
    let mut seen: Vec<(String, u32)> = Vec::new();
    until_true("the default route of red on leafA", || {
        seen = type5_of(&leaf, "0.0.0.0/0").iter().map(|route| (route.vtep.clone(), route.vni)).collect();
        seen == [("100.65.0.1".to_owned(), 100)]
    });
    for prefix in filtered {
        let of_red = type5_of(&leaf, prefix).iter().any(|route| route.vni == 100);
        assert!(!of_red, "{prefix} of red was advertised to the fabric");
    }
    let page = until("the page of red", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    assert!(page.starts_with("service red"), "{page}");

    // Filtered routes are counted and shown.
    let router = fixture.router();
    let sessions: serde_json::Value =
        serde_json::from_str(&router.perouter(&["sessions", "red", "-o", "json"]).stdout).unwrap();
    let mut shown: Vec<&str> = sessions["items"][0]["filtered"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| route["prefix"].as_str().unwrap())
        .collect();
    shown.sort_unstable();
    // The services of the other session are advertised on this one, too.
    assert_eq!(shown, filtered, "{sessions:#}");
    assert_prints(&router.perouter(&["sessions"]), &["RECEIVED  FILTERED  SENT"]);
    let routes = router.perouter(&["routes", "red", "--from", "host"]);
    assert_prints(&routes, &["203.0.113.0/24", "filtered by spec.fromHost"]);
    let trace = router.perouter(&["trace", "203.0.113.9", "--vrf", "red"]);
    assert_prints(&trace, &["WARN  host    192.169.10.2 advertises 203.0.113.0/24, which spec.fromHost filters"]);

    // One more than the limit of four: 172.30.0.10, 172.30.0.16, 198.51.100.0/28 and the default route are present.
    let blue = fixture.router().established(&[Some("blue")]);
    networks(&fixture, "network", &["172.30.0.11/32"]);
    fixture.await_type5_from(&format!("{RED}/32"), 100, &[]);
    let router = fixture.router();
    until_true("the cause 'too many prefixes' in `perouter sessions`", || {
        let sessions = router.perouter(&["sessions", "red"]);
        let words = "the peer sends more prefixes than maxPrefixes; the session is tried again each minute";
        sessions.code == Some(1) && sessions.stdout.contains(words)
    });
    assert_eq!(router.established(&[Some("blue")]), blue, "the session of blue was reset");
    until("the page of blue", SETTLE, || fetch(fixture.node("hostA_blue"), BLUE, 3).ok());
    assert_eq!(ping(fixture.node("hostA_red"), RED), 0, "red is reachable without a session");
    networks(&fixture, "no network", &["172.30.0.11/32"]);
    fixture.router().await_session("red", "192.169.10.2");
    fixture.await_type5(&format!("{RED}/32"), 100);
    until("the page of red", SETTLE, || fetch(fixture.node("hostA_red"), RED, 3).ok());
    let is_up = |session: &perouter::frr::show::session::SessionState| session.phase == SessionPhase::Established;
    assert!(fixture.router().sessions().iter().all(is_up));
}
