//! What Prometheus makes of the metrics: lint, rules, the dashboard's queries, and each alert fired by a real Prometheus that scrapes
//! the metrics of broken routers. Skipped with the reason where `hack/prometheus.sh` has not been run; an error where `CI=true`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test file")]

mod prometheus {
    pub mod dashboard;
    pub mod routers;
    pub mod server;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use perouter::diagnose::finding::FindingKind;
use perouter::status::metrics::{METRICS, MetricType};
use prometheus::routers::{Router, State};
use prometheus::server::{Prometheus, programs, promtool};
use prometheus::{dashboard, server};

const RULES: &str = "deploy/helm/perouter/files/alerts.yaml";
const RULE_TESTS: &str = "tests/prometheus/alerts.test.yaml";
const DASHBOARD: &str = "deploy/grafana/perouter.json";
const LIMIT: Duration = Duration::from_secs(40);

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The names of the alerts in a file with rules or tests of rules.
fn names<'a>(text: &'a str, key: &str) -> BTreeSet<&'a str> {
    text.lines().filter_map(|line| line.trim_start_matches([' ', '-']).strip_prefix(key)).map(str::trim).collect()
}

/// The names of our metrics that a text has.
fn queried(text: &str) -> BTreeSet<&str> {
    let is_part = |c: char| c.is_ascii_lowercase() || c == '_';
    let begins = |at: usize| !text[..at].ends_with(is_part);
    let found = ["perouter_", "process_"].into_iter().flat_map(|prefix| text.match_indices(prefix));
    let names = found.filter(|(at, _)| begins(*at)).map(|(at, _)| {
        let rest = &text[at..];
        &rest[..rest.find(|c| !is_part(c)).unwrap_or(rest.len())]
    });
    names.collect()
}

/// The names of all series.
fn series() -> BTreeSet<String> {
    let of = |name: &str, metric_type| match metric_type {
        MetricType::Histogram => ["_bucket", "_sum", "_count"].map(|end| format!("{name}{end}")).to_vec(),
        MetricType::Counter | MetricType::Gauge => vec![name.to_owned()],
    };
    METRICS.iter().flat_map(|info| of(info.name, info.metric_type)).collect()
}

#[test]
fn alerts_and_dashboard_query_only_series_that_exist() {
    let series = series();
    for (file, texts) in [(RULES, vec![read(RULES)]), (DASHBOARD, dashboard::queries(&read(DASHBOARD)))] {
        let text = texts.join("\n");
        let names = queried(&text);
        assert!(names.len() > 10, "{file}: {names:?}");
        let unknown: Vec<_> = names.iter().filter(|name| !series.contains(**name)).collect();
        assert!(unknown.is_empty(), "{file}: no metric {unknown:?}");
    }
}

#[test]
fn each_alert_has_a_test_its_texts_and_a_section_in_the_book() {
    let (rules, tests, page) = (read(RULES), read(RULE_TESTS), read("docs/operations/alerts.md"));
    let alerts = names(&rules, "alert: ");
    assert_eq!(names(&tests, "alertname: "), alerts);
    let sections: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .filter(|title| title.starts_with("Perouter"))
        .collect();
    assert_eq!(sections, alerts);
    for rule in rules.split("- alert: ").skip(1) {
        let name = rule.lines().next().unwrap();
        let runbook = format!("runbook_url: docs/operations/alerts.md#{}", name.to_lowercase());
        for part in ["severity: ", "summary: ", "description: ", &runbook] {
            assert!(rule.contains(part), "{name} has no {part}");
        }
    }
}

/// A finding that another alert is for does not fire `PerouterCheckFailed`, and the other way round.
#[test]
fn the_book_has_the_alerts_of_each_finding() {
    let (rules, page) = (read(RULES), read("docs/operations/alerts.md"));
    let alerts = names(&rules, "alert: ");
    let rule = rules.split("- alert: PerouterCheckFailed").nth(1).unwrap();
    let covered: BTreeSet<&str> =
        rule.split("finding!~\"").nth(1).unwrap().split('"').next().unwrap().split('|').collect();
    let section = page.split("## Findings and alerts").nth(1).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let rows: Vec<(&str, &str)> = rows.collect();
    assert_eq!(
        rows.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        FindingKind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>()
    );
    for (kind, named) in rows {
        let named: Vec<&str> =
            named.split(", ").filter(|name| *name != "none").map(|name| &name[1..name.find(']').unwrap()]).collect();
        assert!(named.iter().all(|name| alerts.contains(name)), "{kind}: {named:?}");
        let is_in_general = named.contains(&"PerouterCheckFailed");
        // Of this one it depends on whether a session is down, and whether any carries L2VPN EVPN.
        let is_both = kind == "family-not-negotiated";
        assert_eq!(covered.contains(kind) && is_in_general, is_both, "{kind}: {named:?}");
        assert!(!covered.contains(kind) || !named.is_empty(), "{kind} has no alert at all");
    }
}

#[test]
fn promtool_accepts_rules_and_the_queries_of_the_dashboard() {
    let Some(programs) = programs() else { return };
    promtool(&programs, &["check", "rules", RULES], "").unwrap();
    promtool(&programs, &["test", "rules", RULE_TESTS], "").unwrap();
    let queries = dashboard::queries(&read(DASHBOARD));
    assert!(queries.len() > 20, "{}", queries.len());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("queries.yaml");
    fs::write(&file, dashboard::as_rules(&queries)).unwrap();
    promtool(&programs, &["check", "rules", file.to_str().unwrap()], "").unwrap();
    fs::write(&file, dashboard::as_rules(&["sum(".to_owned()])).unwrap();
    promtool(&programs, &["check", "rules", file.to_str().unwrap()], "").unwrap_err();
}

#[test]
fn the_dashboard_is_complete() {
    dashboard::check(&read(DASHBOARD));
}

#[tokio::test(flavor = "multi_thread")]
async fn promtool_lints_the_metrics_of_a_router_with_every_one_of_them() {
    let Some(programs) = programs() else { return };
    let mut shown = BTreeSet::new();
    for state in [State::Broken, State::WithoutEvpn, State::Good] {
        let text = Router::start(state).await.scrape();
        promtool(&programs, &["check", "metrics"], &text).unwrap();
        shown.extend(text.lines().filter(|line| !line.starts_with('#')).map(name_of));
    }
    assert_eq!(shown, series(), "the three have a sample of every metric");
    promtool(&programs, &["check", "metrics"], "# TYPE x_total gauge\nx_total 1\n").unwrap_err();
}

fn name_of(line: &str) -> String {
    line.split(['{', ' ']).next().unwrap().to_owned()
}

/// The waiting times of the alerts are left out; `promtool test rules` has them.
#[tokio::test(flavor = "multi_thread")]
async fn each_alert_is_fired_by_prometheus_and_none_for_a_router_that_works() {
    let Some(programs) = programs() else { return };
    let rules: String =
        read(RULES).lines().filter(|line| !line.starts_with("    for: ")).flat_map(|l| [l, "\n"]).collect();
    let alerts: BTreeSet<String> = names(&rules, "alert: ").into_iter().map(ToOwned::to_owned).collect();
    let prometheus = Prometheus::start(&programs, &rules);
    let mut fired: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // Nobody is scraped yet.
    until(&prometheus, &mut fired, |fired| fired.contains_key("PerouterAbsent")).await;

    let mut broken = Router::start(State::Broken).await;
    let (partial, good) = (Router::start(State::WithoutEvpn).await, Router::start(State::Good).await);
    prometheus.scrape(&[("broken", broken.address), ("without-evpn", partial.address), ("good", good.address)]);
    until(&prometheus, &mut fired, |fired| fired.contains_key("PerouterSessionDown")).await;
    // Counters increase between two scrapes.
    broken.flap().await;
    until(&prometheus, &mut fired, |fired| fired.len() == alerts.len()).await;

    assert_eq!(fired.keys().cloned().collect::<BTreeSet<_>>(), alerts);
    let of_good: Vec<_> = fired.iter().filter(|(_, nodes)| nodes.contains("good")).collect();
    assert!(of_good.is_empty(), "{of_good:?}");
    assert!(prometheus.query("perouter_info{node=\"good\"}").contains("\"vrf_mode\":\"vrf\""));
    let nodes = |alert: &str| fired[alert].iter().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(nodes("PerouterFabricDown"), ["broken"]);
    assert_eq!(nodes("PerouterEvpnNotNegotiated"), ["without-evpn"]);
    assert_eq!(nodes("PerouterSessionsMissing"), ["without-evpn"]);
    assert_eq!(nodes("PerouterFrrDown"), ["broken"]);
}

/// Collects alerts that fire, with the nodes of each, until all that are wanted have.
async fn until(
    prometheus: &Prometheus,
    fired: &mut BTreeMap<String, BTreeSet<String>>,
    all: impl Fn(&BTreeMap<String, BTreeSet<String>>) -> bool,
) {
    let begin = Instant::now();
    loop {
        for (alert, node) in prometheus.firing() {
            fired.entry(alert).or_default().insert(node);
        }
        if all(fired) {
            return;
        }
        assert!(begin.elapsed() < LIMIT, "fired: {fired:#?}\n{}", prometheus.log());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[test]
fn programs_are_found_or_their_absence_is_reported() {
    let missing = server::found(Path::new("/nonexistent/prometheus.sh"));
    assert!(missing.is_err());
}
