//! The alerts that a running router raises. In: the metrics that it serves now. Out: the alerts of `deploy/` that fire where it stays like
//! that for half an hour, as promtool evaluates the rules: with their waiting times, in no time. Without promtool the reason is printed,
//! which is an error where `CI=true`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, UNIX_EPOCH};

use perouter_lab::node::Node;
use serde_json::json;

use super::router::METRICS_ADDRESS;

const RULES: &str = "deploy/helm/perouter/files/alerts.yaml";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Evaluates alerts.
pub struct Alerts {
    promtool: PathBuf,
    dir: tempfile::TempDir,
}

impl Alerts {
    /// `None` where there is no promtool.
    pub fn found() -> Option<Self> {
        let output = Command::new(root().join("hack/prometheus.sh")).arg("--find").output().unwrap();
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must evaluate the alerts: {reason}");
            eprintln!("the alerts are not evaluated: {reason}");
            return None;
        }
        let programs = PathBuf::from(String::from_utf8(output.stdout).unwrap().trim());
        Some(Self { promtool: programs.join("promtool"), dir: tempfile::tempdir().unwrap() })
    }

    /// Those that fire on the metrics that a node serves now; `None` where it serves none.
    pub fn firing(&self, node: &Node) -> Option<BTreeSet<String>> {
        let output =
            node.run(&["curl", "--silent", "--noproxy", "*", &format!("http://{METRICS_ADDRESS}/metrics")]).ok()?;
        let now = UNIX_EPOCH.elapsed().unwrap();
        (!output.stdout.is_empty()).then(|| self.evaluate(&output.stdout, now))
    }

    /// Those that fire on these metrics, which are of `now` since the epoch.
    fn evaluate(&self, metrics: &str, now: Duration) -> BTreeSet<String> {
        let samples = metrics.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        let series: Vec<_> =
            samples.map(|(series, value)| json!({ "series": series, "values": values(series, value, now) })).collect();
        // Nothing is expected, so that promtool prints what there is.
        let query = json!({ "expr": "ALERTS{alertstate=\"firing\"}", "eval_time": "30m", "exp_samples": [] });
        let test = json!({ "interval": "1m", "input_series": series, "promql_expr_test": [query] });
        let file = json!({ "rule_files": [root().join(RULES)], "evaluation_interval": "1m", "tests": [test] });
        let path = self.dir.path().join("test.yaml");
        std::fs::write(&path, file.to_string()).unwrap();
        self.promtool(&path)
    }

    fn promtool(&self, test: &Path) -> BTreeSet<String> {
        let output = Command::new(&self.promtool).args(["test", "rules"]).arg(test).output().unwrap();
        let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        let found: BTreeSet<String> = text
            .split("alertname=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .map(ToOwned::to_owned)
            .collect();
        assert_eq!(output.status.success(), found.is_empty(), "{text}");
        found
    }
}

/// The samples of a series over half an hour in which nothing changes: of a point in time its age stays the same.
fn values(series: &str, value: &str, now: Duration) -> String {
    let name = series.split('{').next().unwrap_or_default();
    if !name.ends_with("_timestamp_seconds") {
        return format!("{value}x40");
    }
    let age = now.as_secs_f64() - value.parse::<f64>().unwrap();
    format!("{}+60x40", -age)
}

#[test]
fn alerts_fire_on_the_metrics_of_a_router() {
    let Some(alerts) = Alerts::found() else { return };
    let metrics = |age: u64, up: u32| {
        format!(
            "# HELP x y\nperouter_last_reconcile_success_timestamp_seconds {}\nperouter_status_timestamp_seconds {}\n\
            perouter_session_up{{vrf=\"red\",peer=\"192.169.10.2\",asn=\"64515\",kind=\"host\"}} {up}\nperouter_frr_up{{daemon=\"bgpd\"}} 1\n",
            1_795_876_674 - 5,
            1_795_876_674 - age
        )
    };
    let firing = |age, up| {
        alerts.evaluate(&metrics(age, up), Duration::from_secs(1_795_876_674)).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(firing(2, 1), [""; 0]);
    assert_eq!(firing(2, 0), ["PerouterSessionDown"]);
    assert_eq!(firing(400, 1), ["PerouterStatusStale"]);
}
