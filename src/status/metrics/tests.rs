use super::*;

fn status(text: &str) -> NodeStatus {
    serde_saphyr::from_str(text).unwrap()
}

const STATUS: &str = "
node: n
index: 1
vrfMode: netns
frrVersion: FRRouting 8.4.4
observedTime: 0
ready: true
resources:
- {kind: L3VNI, namespace: a, name: red, state: Ready, reason: Applied, message: ''}
- {kind: L3VNI, namespace: a, name: blue, state: Ready, reason: Applied, message: ''}
- {kind: L3VNI, namespace: a, name: bad, state: Rejected, reason: VniTaken, message: secret-free}
vnis:
  100: {vrf: red, up: true, routerMac: '02:00:00:00:00:01', svi: br, inBgp: true, rd: '1:1', import: [], export: []}
  200: {vrf: blue, up: false, routerMac: null, svi: null, inBgp: false, rd: null, import: [], export: []}
  110: {type: L2, vrf: red, up: true, routerMac: null, svi: br, inBgp: true, rd: '1:2', import: [], export: []}
sessions:
- {vrf: null, peer: 192.0.2.1, remoteAs: 1, state: Established, since: 1, established: 2, prefixes: {l2VpnEvpn: {received: 7, sent: 3}}}
- {vrf: red, peer: 192.0.2.3, remoteAs: 1, state: Active, since: null, established: 0, prefixes: {ipv4Unicast: {received: 0, sent: 0}}}
filtered:
- {vrf: red, peer: 192.0.2.3, routes: {prefix: 2, next-hop: 1}}
foreignLines: []
lastChange: {kernelOps: 0, frrLines: 0, rebuilt: [], durationMs: 0}
";

fn lines(metrics: &Metrics, of: &str) -> Vec<String> {
    let text = metrics.encode().unwrap();
    let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with(of)).map(ToOwned::to_owned).collect();
    lines.sort();
    lines
}

#[test]
fn a_status_becomes_series_and_what_is_gone_leaves_none() {
    let metrics = Metrics::default();
    let mut now = status(STATUS);
    metrics.status(&now, true);
    assert_eq!(
        lines(&metrics, "perouter_objects"),
        [
            r#"perouter_objects{kind="L3VNI",state="ready",reason="Applied"} 2"#,
            r#"perouter_objects{kind="L3VNI",state="rejected",reason="VniTaken"} 1"#,
        ]
    );
    assert_eq!(
        lines(&metrics, "perouter_session_up"),
        [r#"perouter_session_up{vrf="",peer="192.0.2.1"} 1"#, r#"perouter_session_up{vrf="red",peer="192.0.2.3"} 0"#]
    );
    assert_eq!(
        lines(&metrics, "perouter_vni_up"),
        [r#"perouter_vni_up{vni="100",vrf="red"} 1"#, r#"perouter_vni_up{vni="200",vrf="blue"} 0"#]
    );
    assert_eq!(
        lines(&metrics, "perouter_prefixes"),
        [
            r#"perouter_prefixes{vrf="",vni="",peer="192.0.2.1",family="l2VpnEvpn",direction="received"} 7"#,
            r#"perouter_prefixes{vrf="",vni="",peer="192.0.2.1",family="l2VpnEvpn",direction="sent"} 3"#,
            r#"perouter_prefixes{vrf="red",vni="100",peer="192.0.2.3",family="ipv4Unicast",direction="received"} 0"#,
            r#"perouter_prefixes{vrf="red",vni="100",peer="192.0.2.3",family="ipv4Unicast",direction="sent"} 0"#,
        ]
    );
    assert_eq!(
        lines(&metrics, "perouter_filtered_prefixes"),
        [
            r#"perouter_filtered_prefixes{vrf="red",peer="192.0.2.3",reason="next-hop"} 1"#,
            r#"perouter_filtered_prefixes{vrf="red",peer="192.0.2.3",reason="prefix"} 2"#,
        ]
    );
    now.sessions.clear();
    now.filtered.clear();
    now.vnis.clear();
    metrics.status(&now, true);
    for gone in ["perouter_session_up{", "perouter_vni_up{", "perouter_prefixes{", "perouter_filtered_prefixes{"] {
        assert_eq!(lines(&metrics, gone), Vec::<String>::new());
    }
}

#[test]
fn passes_are_counted_by_result() {
    let metrics = Metrics::default();
    let quiet = PassSummary::default();
    let busy = PassSummary { kernel_ops: 3, frr_lines: 5, ..PassSummary::default() };
    let mut timing = Timing::default();
    timing.add(PassPhase::Kernel, Duration::from_millis(250));
    metrics.pass(&quiet, false, &Timing::default(), Duration::from_millis(1), None);
    metrics.pass(&busy, false, &timing, Duration::from_millis(150), Some(Duration::from_millis(180)));
    metrics.pass(&busy, true, &timing, Duration::from_millis(150), None);
    metrics.blind_pass();
    assert_eq!(
        lines(&metrics, "perouter_passes_total"),
        ["blind", "changed", "failed", "quiet"].map(|result| format!("perouter_passes_total{{result=\"{result}\"}} 1"))
    );
    assert_eq!(lines(&metrics, "perouter_kernel_ops_total"), ["perouter_kernel_ops_total 6"]);
    assert_eq!(lines(&metrics, "perouter_frr_lines_total"), ["perouter_frr_lines_total 10"]);
    assert_eq!(lines(&metrics, "perouter_pass_duration_seconds_count"), ["perouter_pass_duration_seconds_count 3"]);
    assert_eq!(
        lines(&metrics, "perouter_pass_phase_seconds_total{phase=\"kernel\""),
        ["perouter_pass_phase_seconds_total{phase=\"kernel\"} 0.5"]
    );
    assert_eq!(lines(&metrics, "perouter_convergence_seconds_count"), ["perouter_convergence_seconds_count 1"]);
}

#[test]
fn ready_is_an_answering_frr_with_all_in_place() {
    let metrics = Metrics::default();
    assert_eq!(metrics.ready(), Err(NotReady::NoPass));
    let good = status(STATUS);
    metrics.status(&good, true);
    assert_eq!(metrics.ready(), Ok(()));
    metrics.status(&good, false);
    assert_eq!(metrics.ready(), Err(NotReady::NoRouting));
    metrics.status(&NodeStatus { ready: false, ..good.clone() }, true);
    assert_eq!(metrics.ready(), Err(NotReady::NotInPlace));
    metrics.status(&good, true);
    metrics.blind_pass();
    assert_eq!(metrics.ready(), Err(NotReady::NoRouting));
}

/// The names of series that a text with queries has.
fn queried(text: &str) -> std::collections::BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let names = text.match_indices("perouter_").map(|(at, _)| {
        let rest = &text[at..];
        &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
    });
    names.collect()
}

#[test]
fn alerts_and_dashboard_query_only_series_that_exist() {
    let metrics = Metrics::default();
    metrics.status(&status(STATUS), true);
    let timing = Timing::default();
    metrics.pass(&PassSummary::default(), false, &timing, Duration::ZERO, Some(Duration::ZERO));
    let series = metrics.encode().unwrap();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["deploy/components/prometheus-rule/prometheus-rule.yaml", "deploy/grafana/perouter.json"] {
        let text = std::fs::read_to_string(root.join(file)).unwrap();
        let names = queried(&text);
        assert!(names.len() > 5, "{file}: {names:?}");
        for name in names {
            let exists = series.lines().any(|line| line.split(['{', ' ']).next() == Some(name));
            assert!(exists, "{file}: no metric {name}");
        }
    }
}
