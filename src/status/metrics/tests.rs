use super::*;

use std::collections::BTreeSet;

use crate::diagnose::Finding;
use crate::diagnose::finding::{Area, FindingKind, FindingSeverity, Place};
use crate::frr::client::restarts;
use crate::frr::show::bfd::BfdPeer;
use crate::frr::show::interface::Interface;
use crate::frr::show::neighbor::{Negotiation, SessionReset};
use crate::plan::tests::{facts, l3vni, snapshot};
use crate::runtime::{Daemon, Runtime};

fn status(text: &str) -> NodeStatus {
    serde_saphyr::from_str(text).unwrap()
}

const STATUS: &str = "
node: n
index: 1
vrfMode: netns
frrVersion: FRRouting 8.4.4
observedTime: 1790000000
ready: true
resources:
- {kind: L3VNI, namespace: a, name: red, state: Ready, reason: Applied, message: ''}
- {kind: L3VNI, namespace: a, name: blue, state: Ready, reason: Applied, message: ''}
- {kind: L3VNI, namespace: a, name: bad, state: Rejected, reason: VniTaken, message: secret-free}
vnis:
  100: {vrf: red, up: true, routerMac: '02:00:00:00:00:01', svi: br, inBgp: true, rd: '1:1', import: [], export: []}
  200: {vrf: blue, up: false, routerMac: null, svi: null, inBgp: false, rd: null, import: [], export: []}
  110: {type: L2, vrf: red, up: true, routerMac: null, svi: br, inBgp: true, rd: '1:2', import: [], export: [],
        macs: 5, neighbors: 3, local: {macs: 2, neighbors: 4}, remoteVteps: [100.65.0.2, 100.65.0.3]}
  120: {type: L2, vrf: default, up: false, routerMac: null, svi: null, inBgp: false, rd: null, import: [], export: [], macs: 1}
sessions:
- {vrf: null, peer: 192.0.2.1, remoteAs: 64512, state: Established, since: 1, established: 2, prefixes: {l2VpnEvpn: {received: 7, sent: 3}}}
- {vrf: red, peer: 192.169.10.3, remoteAs: 64515, state: Active, since: null, established: 0, prefixes: {ipv4Unicast: {received: 0, sent: 0}}}
filtered:
- {vrf: red, peer: 192.169.10.3, routes: {prefix: 2, next-hop: 1}}
foreignLines: []
lastChange: {kernelOps: 0, frrLines: 0, rebuilt: [], durationMs: 0}
";

/// The metrics of a controller that has sent this status.
struct Scraped {
    statuses: watch::Sender<Option<NodeStatus>>,
    metrics: Metrics,
}

impl Scraped {
    fn new() -> Self {
        let statuses = watch::Sender::new(None);
        Self { metrics: Metrics::new(statuses.subscribe()), statuses }
    }

    fn publish(&self, status: &NodeStatus, answers: bool, observed: Observed) {
        self.metrics.status(status, answers, observed);
        self.statuses.send_replace(Some(status.clone()));
    }

    /// The samples of a metric, sorted.
    fn samples(&self, name: &str) -> Vec<String> {
        samples(&self.metrics, name)
    }
}

fn samples(metrics: &Metrics, name: &str) -> Vec<String> {
    let text = metrics.render();
    let is_it = |line: &&str| line.split(['{', ' ']).next() == Some(name);
    let mut lines: Vec<_> = text.lines().filter(is_it).map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

fn observed() -> Observed {
    let negotiation = |received| Negotiation { advertised: true, received };
    let families = [("ipv4Unicast".to_owned(), negotiation(true)), ("l2VpnEvpn".to_owned(), negotiation(false))];
    let details = SessionReset { families: families.into(), ..SessionReset::default() };
    let nic = |has_carrier| Interface { is_admin_up: true, has_carrier, mtu: Some(9000), ..Interface::default() };
    let mut red = l3vni("red", 100, "192.169.10.0/24");
    Arc::make_mut(&mut red.spec).from_host = serde_json::from_value(serde_json::json!({"maxPrefixes": 50})).unwrap();
    Observed {
        plan: Arc::new(crate::plan::plan(&snapshot(vec![red]), &facts())),
        neighbors: [((None, "192.0.2.1".to_owned()), details)].into(),
        bfd: ["eth1", "eth2"]
            .map(|nic| BfdPeer { vrf: "default".into(), peer: "fe80::1".into(), interface: nic.into(), is_up: false })
            .into(),
        nics: [("toswitch".to_owned(), nic(true)), ("toother".to_owned(), nic(false))].into(),
    }
}

#[test]
fn a_status_becomes_series_and_what_is_gone_leaves_none() {
    let scraped = Scraped::new();
    let mut now = status(STATUS);
    scraped.publish(&now, true, observed());
    let fabric = r#"vrf="default",peer="192.0.2.1",asn="64512",kind="fabric""#;
    let host = r#"vrf="red",peer="192.169.10.3",asn="64515",kind="host""#;
    let expected = [
        r#"perouter_info{version="0.1.0",frr_version="FRRouting 8.4.4",vrf_mode="netns"} 1"#.to_owned(),
        "perouter_status_timestamp_seconds 1790000000".to_owned(),
        r#"perouter_objects{kind="L3VNI",state="ready",reason="Applied"} 2"#.to_owned(),
        r#"perouter_objects{kind="L3VNI",state="rejected",reason="VniTaken"} 1"#.to_owned(),
        format!("perouter_session_up{{{fabric}}} 1"),
        format!("perouter_session_up{{{host}}} 0"),
        format!("perouter_session_established_total{{{fabric}}} 2"),
        format!("perouter_session_established_total{{{host}}} 0"),
        format!("perouter_session_state_since_timestamp_seconds{{{fabric}}} 1"),
        r#"perouter_session_family_negotiated{peer="192.0.2.1",asn="64512",family="ipv4Unicast"} 1"#.to_owned(),
        r#"perouter_session_family_negotiated{peer="192.0.2.1",asn="64512",family="l2VpnEvpn"} 0"#.to_owned(),
        format!("perouter_session_prefixes{{{fabric},family=\"l2VpnEvpn\",direction=\"accepted\"}} 7"),
        format!("perouter_session_prefixes{{{fabric},family=\"l2VpnEvpn\",direction=\"advertised\"}} 3"),
        r#"perouter_session_prefixes_filtered{vrf="red",peer="192.169.10.3",asn="64515",reason="next-hop"} 1"#
            .to_owned(),
        r#"perouter_session_prefixes_filtered{vrf="red",peer="192.169.10.3",asn="64515",reason="prefix"} 2"#.to_owned(),
        r#"perouter_session_prefixes_limit{vrf="red",peer="192.169.10.3",asn="64515"} 50"#.to_owned(),
        r#"perouter_bfd_session_up{vrf="default",peer="fe80::1",interface="eth1"} 0"#.to_owned(),
        r#"perouter_bfd_session_up{vrf="default",peer="fe80::1",interface="eth2"} 0"#.to_owned(),
        r#"perouter_vni_up{vni="100",vrf="red"} 1"#.to_owned(),
        r#"perouter_vni_up{vni="200",vrf="blue"} 0"#.to_owned(),
        r#"perouter_segment_up{vni="110",vrf="red"} 1"#.to_owned(),
        r#"perouter_segment_up{vni="120",vrf="default"} 0"#.to_owned(),
        r#"perouter_segment_macs{vni="110",vrf="red",place="local"} 2"#.to_owned(),
        r#"perouter_segment_macs{vni="110",vrf="red",place="remote"} 3"#.to_owned(),
        r#"perouter_segment_neighbors{vni="110",vrf="red",place="local"} 4"#.to_owned(),
        r#"perouter_segment_neighbors{vni="110",vrf="red",place="remote"} 0"#.to_owned(),
        r#"perouter_segment_remote_vteps{vni="110",vrf="red"} 2"#.to_owned(),
        r#"perouter_segment_remote_vteps{vni="120",vrf="default"} 0"#.to_owned(),
        r#"perouter_nic_carrier{nic="toother"} 0"#.to_owned(),
        r#"perouter_nic_carrier{nic="toswitch"} 1"#.to_owned(),
        r#"perouter_nic_mtu_bytes{nic="toother"} 9000"#.to_owned(),
        r#"perouter_nic_mtu_bytes{nic="toswitch"} 9000"#.to_owned(),
    ];
    let names: BTreeSet<&str> = expected.iter().map(|line| line.split(['{', ' ']).next().unwrap()).collect();
    let found: BTreeSet<String> = names.iter().flat_map(|name| scraped.samples(name)).collect();
    assert_eq!(found, expected.iter().cloned().collect());
    now.sessions.clear();
    now.filtered.clear();
    now.vnis.clear();
    scraped.publish(&now, true, Observed::default());
    let gone = names.iter().filter(|name| name.contains("session") || name.contains("vni") || name.contains("nic"));
    for name in gone {
        assert_eq!(scraped.samples(name), Vec::<String>::new());
    }
}

#[test]
fn sessions_that_objects_ask_for_are_counted_also_where_frr_does_not_answer() {
    let scraped = Scraped::new();
    let silent = NodeStatus { frr_version: String::new(), sessions: vec![], vnis: BTreeMap::new(), ..status(STATUS) };
    scraped.publish(&silent, false, Observed { plan: observed().plan, ..Observed::default() });
    let expected =
        [r#"perouter_sessions_configured{kind="fabric"} 1"#, r#"perouter_sessions_configured{kind="host"} 1"#];
    assert_eq!(scraped.samples("perouter_sessions_configured"), expected);
    assert_eq!(scraped.samples("perouter_session_up"), Vec::<String>::new());
    assert_eq!(scraped.samples("perouter_vni_up"), Vec::<String>::new());
}

#[test]
fn a_session_is_down_since_the_oldest_of_its_findings() {
    let scraped = Scraped::new();
    let found = |peer: &str, since| {
        let place = Place { vrf: "red".parse().ok(), peer: Some(peer.to_owned()), ..Place::default() };
        let finding = Finding::new(FindingSeverity::Error, Area::Host, FindingKind::NoAnswer, "x").at(place);
        Finding { since: Some(since), ..finding }
    };
    let findings = vec![found("192.169.10.3", 9), found("192.169.10.3", 5), found("192.169.10.9", 1)];
    scraped.publish(&NodeStatus { findings, ..status(STATUS) }, true, Observed::default());
    let since = scraped.samples("perouter_session_state_since_timestamp_seconds");
    assert_eq!(since.last().unwrap().rsplit_once(' ').unwrap().1, "5", "{since:?}");
    let findings = scraped.samples("perouter_findings");
    assert_eq!(findings, [r#"perouter_findings{severity="error",finding="no-answer"} 3"#]);
}

#[test]
fn passes_are_counted_by_result() {
    let metrics = Metrics::default();
    assert_eq!(
        samples(&metrics, "perouter_last_reconcile_success_timestamp_seconds"),
        ["perouter_last_reconcile_success_timestamp_seconds 0"]
    );
    let quiet = PassSummary::default();
    let busy = PassSummary { kernel_ops: 3, frr_lines: 5, ..PassSummary::default() };
    let mut timing = Timing::default();
    timing.add(crate::timing::PassPhase::Kernel, Duration::from_millis(250));
    metrics.pass(&busy, true, &timing, Duration::from_millis(150), None);
    metrics.blind_pass();
    let last = |metrics: &Metrics| -> u64 {
        let line = samples(metrics, "perouter_last_reconcile_success_timestamp_seconds").remove(0);
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert_eq!(last(&metrics), 0, "neither of them succeeded");
    metrics.pass(&quiet, false, &Timing::default(), Duration::from_millis(1), None);
    metrics.pass(&busy, false, &timing, Duration::from_secs(150), Some(Duration::from_millis(180)));
    assert!(UNIX_EPOCH.elapsed().unwrap().as_secs() - last(&metrics) < 100);
    let expected = ["blind", "changed", "failed", "quiet"];
    assert_eq!(
        samples(&metrics, "perouter_passes_total"),
        expected.map(|result| format!("perouter_passes_total{{result=\"{result}\"}} 1"))
    );
    for (name, value) in [
        ("perouter_kernel_ops_total", "6"),
        ("perouter_frr_lines_total", "10"),
        ("perouter_pass_duration_seconds_count", "3"),
        ("perouter_pass_duration_seconds_sum", "150.151"),
        ("perouter_convergence_seconds_count", "1"),
    ] {
        assert_eq!(samples(&metrics, name), [format!("{name} {value}")]);
    }
    let buckets = samples(&metrics, "perouter_pass_duration_seconds_bucket");
    let counts: BTreeMap<&str, &str> =
        buckets.iter().map(|line| line.split_once("le=\"").unwrap().1.split_once("\"} ").unwrap()).collect();
    assert_eq!(
        (counts["0.005"], counts["0.1"], counts["0.2"], counts["120"], counts["+Inf"]),
        ("1", "1", "2", "2", "3")
    );
    let kernel = "perouter_pass_phase_seconds_total{phase=\"kernel\"} 0.5";
    assert!(samples(&metrics, "perouter_pass_phase_seconds_total").contains(&kernel.to_owned()));
}

#[tokio::test]
async fn a_daemon_is_up_that_is_connected_and_answers() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::new(dir.path(), dir.path().join("netns"));
    std::fs::create_dir(runtime.frr_dir()).unwrap();
    let _zebra = tokio::net::UnixListener::bind(runtime.vty_socket(Daemon::Zebra)).unwrap();
    let _bgpd = tokio::net::UnixListener::bind(runtime.vty_socket(Daemon::Bgpd)).unwrap();
    let watched = [Daemon::Zebra, Daemon::Bgpd, Daemon::Bfdd];
    let watch = restarts::watch(&runtime, &watched, &Arc::default()).await;
    let scraped = Scraped::new();
    assert_eq!(scraped.samples("perouter_frr_up"), Vec::<String>::new());
    let (files, cluster) = (Arc::<SourceHealth>::default(), Arc::<SourceHealth>::default());
    files.delivered("");
    let sources = vec![("directory", files), ("kubernetes", cluster)];
    scraped.metrics.surrounded_by(Surroundings { daemons: Arc::clone(&watch.daemons), sources });
    scraped.publish(&NodeStatus { silent_daemons: vec!["zebra".into()], ..status(STATUS) }, true, Observed::default());
    let up = ["bfdd\"} 0", "bgpd\"} 1", "zebra\"} 0"].map(|end| format!("perouter_frr_up{{daemon=\"{end}"));
    assert_eq!(scraped.samples("perouter_frr_up"), up);
    assert_eq!(scraped.samples("perouter_frr_restarts_total").len(), 3);
    let up = ["directory\"} 1", "kubernetes\"} 0"].map(|end| format!("perouter_source_up{{source=\"{end}"));
    assert_eq!(scraped.samples("perouter_source_up"), up);
    let never = "perouter_source_last_success_timestamp_seconds{source=\"kubernetes\"} 0".to_owned();
    assert!(scraped.samples("perouter_source_last_success_timestamp_seconds").contains(&never));
}

#[test]
fn ready_is_an_answering_frr_with_all_in_place() {
    let metrics = Metrics::default();
    assert_eq!(metrics.ready(), Err(NotReady::NoPass));
    let good = status(STATUS);
    metrics.status(&good, true, Observed::default());
    assert_eq!(metrics.ready(), Ok(()));
    metrics.status(&good, false, Observed::default());
    assert_eq!(metrics.ready(), Err(NotReady::NoRouting));
    metrics.status(&NodeStatus { ready: false, ..good.clone() }, true, Observed::default());
    assert_eq!(metrics.ready(), Err(NotReady::NotInPlace));
    metrics.status(&good, true, Observed::default());
    metrics.blind_pass();
    assert_eq!(metrics.ready(), Err(NotReady::NoRouting));
}

/// Each series costs Prometheus some kilobytes on every node, and the controller a line on every scrape.
#[test]
fn the_number_of_series_is_bounded_at_400_vnis() {
    let mut now = status(STATUS);
    let (session, vni) = (now.sessions.pop().unwrap(), now.vnis[&100.try_into().unwrap()].clone());
    now.sessions.clear();
    now.vnis.clear();
    for number in 1..=400u32 {
        let vrf: crate::types::VrfName = format!("vrf{number}").parse().unwrap();
        let phase = crate::frr::show::session::SessionPhase::Established;
        let (since, peer) = (Some(1), format!("192.169.{}.{}", number / 250, number % 250));
        let state = crate::frr::show::vni::VniState { vrf: vrf.to_string(), ..vni.clone() };
        now.sessions.push(crate::frr::show::session::SessionState {
            vrf: Some(vrf),
            peer,
            phase,
            since,
            ..session.clone()
        });
        now.vnis.insert(number.try_into().unwrap(), state);
    }
    let scraped = Scraped::new();
    scraped.publish(&now, true, Observed::default());
    let text = scraped.metrics.render();
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!((2400..2600).contains(&series), "{series}");
    assert!(text.len() < 400_000, "{} bytes", text.len());
}

/// promtool lints the same in `tests/prometheus.rs`, where it is installed.
#[test]
fn names_follow_the_rules_of_prometheus() {
    for info in METRICS {
        let MetricInfo { name, metric_type, labels, help } = *info;
        let is_word = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(is_word(name) && labels.iter().all(|label| is_word(label)), "{name}");
        assert_eq!(name.ends_with("_total"), metric_type == MetricType::Counter, "{name}");
        assert!(!help.is_empty() && !help.ends_with('.') && !help.contains(['\\', '\n']), "{name}: {help}");
    }
    let names: BTreeSet<&str> = METRICS.iter().map(|info| info.name).collect();
    assert_eq!(names.len(), METRICS.len());
}
