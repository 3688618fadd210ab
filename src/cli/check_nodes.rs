//! `perouter check --all-nodes`: what the API server has of each node. In: every `RouterNodeStatus`. Out: a table of the nodes and what is
//! wrong on each.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use super::exit_status::ExitStatus;
use super::finding_text::entry;
use super::options::ApiOptions;
use super::show::{Look, ShowOptions, Shown};
use super::tone::Tone;
use crate::diagnose::cause::short_age;
use crate::diagnose::cluster_checks::{NodeReport, findings};
use crate::diagnose::finding::{Finding, FindingSeverity, rfc3339};
use crate::status::kubernetes::{self, ListFrom};

/// Printed where no node has written a status.
pub const NO_NODE: &str = "the API server has no RouterNodeStatus: does a controller run on a node?";

/// What is printed.
#[derive(Debug, Serialize)]
struct ClusterReport {
    time: String,
    nodes: Vec<CheckedNode>,
}

/// A node.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckedNode {
    node: String,
    index: Option<u32>,
    vtep: Option<String>,
    sessions: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    observed_time: Option<String>,
    /// The worst of the findings; absent without any.
    #[serde(skip_serializing_if = "Option::is_none")]
    severity: Option<FindingSeverity>,
    findings: Vec<Finding>,
    #[serde(skip)]
    age: Option<u64>,
}

/// Reads all nodes and checks them.
pub async fn read(api: &ApiOptions, show: &ShowOptions) -> anyhow::Result<Shown> {
    let reports = kubernetes::list(api.client().await?, ListFrom::Store).await?;
    anyhow::ensure!(!reports.is_empty(), NO_NODE);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let report = report(&reports, now);
    let has_problem = report.nodes.iter().flat_map(|node| &node.findings).any(Finding::is_problem);
    let text = show.render("ClusterCheckReport", &report, |look| text(&report, look, now))?;
    Ok(Shown { text, status: ExitStatus::of_problem(has_problem) })
}

fn report(reports: &[NodeReport], now: u64) -> ClusterReport {
    let mut found: BTreeMap<String, Vec<Finding>> = findings(reports, now);
    let node = |report: &NodeReport| {
        let state = report.state.as_ref();
        let observed = state.and_then(|state| state.observed_time.as_ref());
        let observed = observed.and_then(|time| u64::try_from(time.0.as_second()).ok());
        let findings = found.remove(&report.node).unwrap_or_default();
        CheckedNode {
            node: report.node.clone(),
            index: state.map(|state| state.index),
            vtep: state.and_then(|state| state.vtep.clone()),
            sessions: state.map(|state| state.sessions.summary.clone()),
            observed_time: observed.map(rfc3339),
            severity: findings.iter().map(|finding| finding.severity).min(),
            findings,
            age: report.age(now),
        }
    };
    ClusterReport { time: rfc3339(now), nodes: reports.iter().map(node).collect() }
}

fn text(report: &ClusterReport, look: Look, now: u64) -> String {
    let rows = report.nodes.iter().map(|node| {
        let (tone, state) = match node.severity {
            Some(FindingSeverity::Error) => (Tone::Bad, "fail"),
            Some(FindingSeverity::Warning) => (Tone::Warning, "warning"),
            Some(FindingSeverity::Info) | None => (Tone::Good, "ok"),
        };
        vec![
            node.node.clone(),
            tone.mark(state),
            node.severity.map(FindingSeverity::as_str).unwrap_or_default().to_owned(),
            node.index.map(|index| index.to_string()).unwrap_or_default(),
            node.vtep.clone().unwrap_or_default(),
            node.sessions.clone().unwrap_or_default(),
            node.age.map(short_age).unwrap_or_default(),
        ]
    });
    let mut out = look.table(&["NODE", "STATE", "SEVERITY", "INDEX", "VTEP", "SESSIONS", "OBSERVED"], rows);
    for node in report.nodes.iter().filter(|node| !node.findings.is_empty()) {
        out.extend(["\nnode ", &node.node, "\n"]);
        out += node.findings.iter().map(|finding| entry(finding, now)).collect::<String>().trim_start_matches('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::tone::plain;
    use super::*;
    use crate::kind::node_status::{RouterState, SessionCount};

    #[test]
    fn each_node_is_a_line_and_its_findings_follow() {
        let state = |index: u32| RouterState {
            index,
            vtep: Some("100.65.0.1".into()),
            sessions: SessionCount { up: 1, total: 1, summary: "1/1".into() },
            ..RouterState::default()
        };
        let unmeasured = RouterState { frr_warning: Some("not measured".into()), vtep: None, ..state(1) };
        let reports = [("a", Some(state(0))), ("b", Some(state(0))), ("c", None), ("d", Some(unmeasured))]
            .map(|(node, state)| NodeReport { node: node.into(), state });
        let report = report(&reports, 1_795_876_674);
        let shown = plain(&text(&report, Look::TABLE, 1_795_876_674));
        assert!(
            shown.starts_with(
                "NODE  STATE  SEVERITY  INDEX  VTEP        SESSIONS  OBSERVED\na     fail   error     0      100.65.0.1  1/1\n"
            ),
            "{shown}"
        );
        for words in [
            "\nd     ok     info      1  ",
            "\nnode d\ninfo  frr-unmeasured\n",
            "\nnode a\nFAIL  duplicate-vtep  VTEP 100.65.0.1\n",
            "\nnode c\nFAIL  controller-stopped\n",
        ] {
            assert!(shown.contains(words), "no {words:?} in {shown}");
        }
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!((&json["time"], json["nodes"].as_array().unwrap().len()), (&"2026-11-28T14:37:54Z".into(), 4));
        assert_eq!((&json["nodes"][0]["severity"], &json["nodes"][3]["severity"]), (&"error".into(), &"info".into()));
    }
}
