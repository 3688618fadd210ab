//! What the page shows of a router. In: facts, and what the checks find in them. Out: one JSON document, with the shapes of
//! `perouter status`, `sessions` and `check`. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use crate::diagnose::Finding;
use crate::diagnose::check::{AreaState, areas, checked};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Area, rfc3339};
use crate::diagnose::listed_session::ListedSession;
use crate::diagnose::type5_use::{Type5Use, type5_use};
use crate::frr::show::interface::Interface;
use crate::frr::show::vni::VniState;
use crate::kind::API_VERSION;
use crate::types::{Vni, VrfName};

/// A router, for the page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouterReport<'a> {
    api_version: &'static str,
    kind: &'static str,
    node: Option<&'a str>,
    time: String,
    router_id: Option<Ipv4Addr>,
    vteps: &'a BTreeSet<IpAddr>,
    target: &'a CommandTarget,
    areas: Vec<AreaReport>,
    findings: &'a [Finding],
    sessions: Vec<ListedSession>,
    vnis: &'a BTreeMap<Vni, VniState>,
    /// Absent where zebra does not answer.
    links: Option<&'a BTreeMap<String, Interface>>,
    /// Empty where bgpd does not answer.
    type5: BTreeMap<VrfName, Type5Use>,
}

/// What a command needs that a person copies from the page.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandTarget {
    /// Options of `perouter` for this router; none for the default paths.
    pub options: Vec<String>,
    /// The network namespace of the router, for `ip -n`.
    pub netns: String,
    /// The directory of the vty sockets, for `vtysh --vty_socket`.
    pub vty_dir: String,
    /// The directory with the network namespace of each VRF; absent where VRFs are devices.
    pub vrf_netns_dir: Option<String>,
}

/// An area of the checks.
#[derive(Debug, Serialize)]
pub(super) struct AreaReport {
    /// Which one.
    pub(super) area: Area,
    /// Its state.
    pub(super) state: AreaState,
    /// What was checked.
    pub(super) checked: String,
}

impl<'a> RouterReport<'a> {
    /// Of a node with these findings, the worst first.
    pub fn new(node: Option<&'a str>, facts: &'a Facts, findings: &'a [Finding], target: &'a CommandTarget) -> Self {
        let area = |(area, state)| AreaReport { area, state, checked: checked(area, facts) };
        Self {
            api_version: API_VERSION,
            kind: "RouterReport",
            node,
            time: rfc3339(facts.now),
            router_id: facts.router_id,
            vteps: &facts.vteps,
            target,
            areas: areas(facts, findings).into_iter().map(area).collect(),
            findings,
            sessions: ListedSession::all(facts),
            vnis: &facts.vnis,
            links: facts.links.as_ref(),
            type5: type5_use(facts),
        }
    }
}

/// A list as Kubernetes has it, of which some items may be left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListDocument<T> {
    api_version: &'static str,
    kind: &'static str,
    metadata: ListMetadata,
    items: Vec<T>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    #[serde(skip_serializing_if = "Option::is_none")]
    remaining_item_count: Option<usize>,
}

impl<T> ListDocument<T> {
    /// The first `most` of the items.
    pub fn new(kind: &'static str, mut items: Vec<T>, most: usize) -> Self {
        let remaining_item_count = items.len().checked_sub(most).filter(|left_out| *left_out > 0);
        items.truncate(most);
        Self { api_version: API_VERSION, kind, metadata: ListMetadata { remaining_item_count }, items }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::check;
    use crate::frr::show::session::{SessionPhase, SessionState};

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
        let vni = VniState { vrf: "red".into(), ..VniState::default() };
        let facts = Facts {
            now: 1_795_876_674,
            objects: Some(vec![]),
            links: Some([("toswitch".to_owned(), Interface::default())].into()),
            sessions: vec![session],
            vteps: ["100.65.0.1".parse().unwrap()].into(),
            vnis: [(100.try_into().unwrap(), vni)].into(),
            type5: Some(vec![]),
            ..Facts::default()
        };
        let findings = check::findings(&facts);
        let target = CommandTarget { netns: "perouter".into(), ..CommandTarget::default() };
        let report = serde_json::to_value(RouterReport::new(Some("n"), &facts, &findings, &target)).unwrap();
        assert_eq!(report["apiVersion"], format!("{}/{}", crate::kind::GROUP, crate::kind::VERSION));
        assert_eq!(report["node"], "n");
        assert_eq!(report["time"], "2026-11-28T14:37:54Z");
        let areas: Vec<_> =
            report["areas"].as_array().unwrap().iter().map(|area| area["checked"].as_str().unwrap()).collect();
        let expected = [
            "all of FRR's daemons answer, the controller runs",
            "0 objects",
            "toswitch",
            "0 of 1 session established",
            "0 of 0 sessions established",
            "0 of 1 VNI up, 0 Type-5 routes",
        ];
        assert_eq!(areas, expected);
        assert_eq!(report["areas"][3]["state"], "fail");
        assert_eq!(report["sessions"][0]["state"], "Active");
        assert_eq!(report["sessions"][0]["cause"], "FRR does not know the neighbor 192.168.11.2");
        assert_eq!((&report["vnis"]["100"]["vrf"], &report["vteps"][0]), (&"red".into(), &"100.65.0.1".into()));
        assert_eq!(report["links"]["toswitch"]["carrier"], false);
        assert_eq!(report["type5"]["red"]["sent"], 0);
        assert_eq!(report["target"]["netns"], "perouter");
        assert_eq!(report["findings"].as_array().unwrap().len(), findings.len());
        assert!(!findings.is_empty());
    }

    #[test]
    fn a_list_says_how_many_items_are_left_out() {
        let list = |most| serde_json::to_value(ListDocument::new("RouteList", vec![1, 2, 3], most)).unwrap();
        let (all, some) = (list(3), list(2));
        assert_eq!((&all["items"], &all["metadata"]), (&serde_json::json!([1, 2, 3]), &serde_json::json!({})));
        assert_eq!(some["items"], serde_json::json!([1, 2]));
        assert_eq!(some["metadata"], serde_json::json!({"remainingItemCount": 1}));
    }
}
