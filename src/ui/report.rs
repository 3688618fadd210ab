//! What the page shows of a router. In: facts, and what the checks find in them. Out: one JSON document. Pure. It says nothing that
//! `perouter check` does not say.

use serde::Serialize;

use crate::diagnose::Finding;
use crate::diagnose::check::{AreaState, areas, checked};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Area, rfc3339};
use crate::frr::show::session::SessionState;
use crate::kind::API_VERSION;

/// A router, for the page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterReport<'a> {
    api_version: &'static str,
    kind: &'static str,
    node: Option<&'a str>,
    time: String,
    areas: Vec<AreaReport>,
    findings: &'a [Finding],
    sessions: &'a [SessionState],
}

#[derive(Debug, Serialize)]
struct AreaReport {
    area: Area,
    state: AreaState,
    checked: String,
}

impl<'a> RouterReport<'a> {
    /// Of a node with these findings, the worst first.
    pub fn new(node: Option<&'a str>, facts: &'a Facts, findings: &'a [Finding]) -> Self {
        let area = |(area, state)| AreaReport { area, state, checked: checked(area, facts) };
        Self {
            api_version: API_VERSION,
            kind: "RouterReport",
            node,
            time: rfc3339(facts.now),
            areas: areas(facts, findings).into_iter().map(area).collect(),
            findings,
            sessions: &facts.sessions,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::check;
    use crate::frr::show::session::SessionPhase;

    #[test]
    fn a_report_has_areas_findings_and_sessions() {
        let session = SessionState {
            vrf: None,
            peer: "192.168.11.2".into(),
            remote_as: None,
            phase: SessionPhase::Down("Active".into()),
            since: None,
            established: 0,
            messages: 0,
            prefixes: [].into(),
        };
        let facts = Facts {
            now: 1_795_876_674,
            objects: Some(vec![]),
            links: Some([].into()),
            sessions: vec![session],
            vteps: ["100.65.0.1".parse().unwrap()].into(),
            ..Facts::default()
        };
        let findings = check::findings(&facts);
        let report = serde_json::to_value(RouterReport::new(Some("n"), &facts, &findings)).unwrap();
        assert_eq!(report["apiVersion"], format!("{}/{}", crate::kind::GROUP, crate::kind::VERSION));
        assert_eq!(report["node"], "n");
        assert_eq!(report["time"], "2026-11-28T14:37:54Z");
        let areas: Vec<_> =
            report["areas"].as_array().unwrap().iter().map(|area| area["checked"].as_str().unwrap()).collect();
        let expected = [
            "all of FRR's daemons answer, the controller runs",
            "0 objects",
            "",
            "0 of 1 session established",
            "0 of 0 sessions established",
            "0 of 0 VNIs up, 0 Type-5 routes",
        ];
        assert_eq!(areas, expected);
        assert_eq!(report["areas"][3]["state"], "fail");
        assert_eq!(report["sessions"][0]["state"], "Active");
        assert_eq!(report["findings"].as_array().unwrap().len(), findings.len());
        assert!(!findings.is_empty());
    }
}
