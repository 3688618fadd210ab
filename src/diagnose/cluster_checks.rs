//! Checks of all nodes of a cluster. In: the `RouterNodeStatus` of each node. Out: [`Finding`]s, by node. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::cause::short_age;
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use crate::kind::node_status::{ConditionStatus, ConditionType, ResourceState, RouterState, SessionDown};
use crate::kind::object::{Kind, ObjectRef};

/// A status that is older is of a controller that does not run: it writes one each minute.
const STALE: u64 = 180;

/// What the API server has of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeReport {
    /// The node.
    pub node: String,
    /// Its status; `None` where its controller has not written one yet.
    pub state: Option<RouterState>,
}

impl NodeReport {
    /// Seconds since its status was written; `None` where there is none.
    pub fn age(&self, now: u64) -> Option<u64> {
        let observed = self.state.as_ref()?.observed_time.as_ref()?;
        Some(now.saturating_sub(u64::try_from(observed.0.as_second()).ok()?))
    }

    /// Whether its controller writes its status: what an older one says may have changed.
    pub fn is_known(&self, now: u64) -> bool {
        self.state.is_some() && self.age(now).is_none_or(|age| age <= STALE)
    }
}

/// The findings of each node, the worst first.
pub fn findings(reports: &[NodeReport], now: u64) -> BTreeMap<String, Vec<Finding>> {
    let of_node = |report: &NodeReport| {
        let mut found = match &report.state {
            None => vec![controller("the controller has not written a status yet", String::new())],
            // What an old status says may have changed.
            Some(_) if !report.is_known(now) => {
                let age = report.age(now).map(short_age).unwrap_or_default();
                vec![controller("the controller does not write its status", format!("it is {age} old"))]
            }
            Some(state) => of_state(state),
        };
        found.extend(duplicates(report, reports));
        found.sort_by(|a, b| (a.severity, a.area, a.kind, &a.place).cmp(&(b.severity, b.area, b.kind, &b.place)));
        (report.node.clone(), found)
    };
    reports.iter().map(of_node).collect()
}

fn controller(what: &str, evidence: String) -> Finding {
    Finding::new(FindingSeverity::Error, Area::Router, FindingKind::ControllerStopped, what)
        .shown_by(evidence)
        .remedied_by("see the log of the controller on the node: until it runs no change of an object is applied")
}

fn of_state(state: &RouterState) -> Vec<Finding> {
    let mut found: Vec<Finding> = state.sessions_down.iter().map(session_down).collect();
    found.extend(state.resources.iter().filter_map(resource));
    found.extend(of_conditions(state, !found.is_empty()));
    found.extend(state.frr_warning.as_deref().map(unmeasured));
    found
}

/// What is wrong by the conditions, and has no finding of its own: `is_found` where there is another finding.
fn of_conditions(state: &RouterState, is_found: bool) -> Option<Finding> {
    let has = |wanted: ConditionType, status: ConditionStatus| {
        state.conditions.iter().find(|condition| condition.type_ == wanted && condition.status == status)
    };
    let of_condition = |severity, area, kind, what: &str, message: &str| {
        let message = if message.is_empty() { String::new() } else { format!(": {message}") };
        Finding::new(severity, area, kind, format!("{what}{message}"))
            .shown_by("the conditions of its RouterNodeStatus")
            .remedied_by("run `perouter check` on the node")
    };
    let (error, warning) = (FindingSeverity::Error, FindingSeverity::Warning);
    if let Some(condition) = has(ConditionType::FabricConnected, ConditionStatus::False) {
        let (area, kind) = (Area::Fabric, FindingKind::NoFabricSession);
        return Some(of_condition(error, area, kind, "not connected to the fabric", &condition.message));
    }
    if is_found {
        return None;
    }
    let (area, kind) = (Area::Objects, FindingKind::ObjectFailed);
    if let Some(condition) = has(ConditionType::Ready, ConditionStatus::False) {
        return Some(of_condition(error, area, kind, "not ready", &condition.message));
    }
    let condition = has(ConditionType::Degraded, ConditionStatus::True)?;
    Some(of_condition(warning, area, kind, "degraded", &condition.message))
}

fn session_down(session: &SessionDown) -> Finding {
    let vrf = session.vrf.as_ref().and_then(|vrf| vrf.parse().ok());
    let area = if vrf.is_some() { Area::Host } else { Area::Fabric };
    let kind = session.reason.as_deref().and_then(FindingKind::named).unwrap_or(FindingKind::SessionDown);
    // `what: remedy`, where the controller knows it.
    let (what, remedy) = match session.message.rsplit_once(": ") {
        Some((what, remedy)) => (what.to_owned(), remedy.to_owned()),
        None => (format!("session with {} is down", session.peer), "run `perouter sessions` on the node".to_owned()),
    };
    Finding::new(FindingSeverity::Error, area, kind, what)
        .at(Place::session(vrf.as_ref(), &session.peer))
        .remedied_by(remedy)
}

fn resource(resource: &ResourceState) -> Option<Finding> {
    let (kind, what) = match resource.state.as_str() {
        "Rejected" => (FindingKind::ObjectRejected, "rejected"),
        "Failed" => (FindingKind::ObjectFailed, "not in place"),
        _ => return None,
    };
    let object = Kind::named(&resource.kind).map(|kind| ObjectRef::new(kind, &resource.namespace, &resource.name));
    let finding = Finding::new(FindingSeverity::Error, Area::Objects, kind, format!("{what}: {}", resource.message))
        .shown_by(format!("{} {}/{}, reason {}", resource.kind, resource.namespace, resource.name, resource.reason))
        .remedied_by("change the object as the message says");
    Some(finding.of(object.as_ref(), ""))
}

fn unmeasured(warning: &str) -> Finding {
    Finding::new(FindingSeverity::Info, Area::Router, FindingKind::FrrUnmeasured, warning)
        .remedied_by("use a version of FRR that is measured")
}

/// What two nodes have that must be unique. Their own routes do not show it: FRR drops a route whose next hop is its own address.
fn duplicates(report: &NodeReport, reports: &[NodeReport]) -> Vec<Finding> {
    let Some(state) = &report.state else { return vec![] };
    let sharing = |is_same: &dyn Fn(&RouterState) -> bool| {
        let others = reports.iter().filter(|other| other.node != report.node);
        let others = others.filter(|other| other.state.as_ref().is_some_and(is_same));
        others.map(|other| other.node.clone()).collect::<Vec<_>>().join(", ")
    };
    let mut found = Vec::new();
    for vtep in state.vtep.iter().chain(&state.vtep6) {
        let others = sharing(&|other| other.vtep.as_ref() == Some(vtep) || other.vtep6.as_ref() == Some(vtep));
        if !others.is_empty() {
            let what = format!("{others} has the VTEP address {vtep} of this node");
            let place = Place { vtep: vtep.parse::<IpAddr>().ok(), ..Place::default() };
            found.push(
                Finding::new(FindingSeverity::Error, Area::Evpn, FindingKind::DuplicateVtep, what)
                    .at(place)
                    .shown_by(format!("index {}", state.index))
                    .remedied_by("give each node an index of its own"),
            );
        }
    }
    if let Some(router_id) = &state.router_id {
        let others = sharing(&|other| other.router_id.as_ref() == Some(router_id));
        if !others.is_empty() {
            let what = format!("{others} has the router id {router_id} of this node");
            found.push(
                Finding::new(FindingSeverity::Error, Area::Evpn, FindingKind::DuplicateRouterId, what)
                    .shown_by(format!("index {}", state.index))
                    .remedied_by("give each node an index of its own"),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::node_status::{ConditionReason, RouterCondition, SessionCount};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;

    const NOW: u64 = 1_795_876_674;

    fn time(age: i64) -> Time {
        Time(Timestamp::from_second(i64::try_from(NOW).unwrap() - age).unwrap())
    }

    fn node(name: &str, index: u32) -> NodeReport {
        let state = RouterState {
            index,
            vtep: Some(format!("100.65.0.{}", index + 1)),
            router_id: Some(format!("10.0.0.{}", index + 1)),
            vrf_mode: "netns".into(),
            sessions: SessionCount { up: 1, total: 1, summary: "1/1".into() },
            observed_time: Some(time(20)),
            ..RouterState::default()
        };
        NodeReport { node: name.into(), state: Some(state) }
    }

    fn shown(reports: &[NodeReport]) -> Vec<String> {
        let found = findings(reports, NOW);
        let of_node = |(node, found): (&String, &Vec<Finding>)| {
            found.iter().map(|f| format!("{node} {} {}: {}", f.kind, f.place, f.what)).collect::<Vec<_>>()
        };
        found.iter().flat_map(of_node).collect()
    }

    #[test]
    fn nodes_without_a_problem_have_no_finding() {
        assert_eq!(shown(&[node("a", 0), node("b", 1)]), [""; 0]);
    }

    #[test]
    fn two_nodes_with_one_index_are_found() {
        let expected = [
            "a duplicate-vtep VTEP 100.65.0.1: b has the VTEP address 100.65.0.1 of this node",
            "a duplicate-router-id : b has the router id 10.0.0.1 of this node",
            "b duplicate-vtep VTEP 100.65.0.1: a has the VTEP address 100.65.0.1 of this node",
            "b duplicate-router-id : a has the router id 10.0.0.1 of this node",
        ];
        assert_eq!(shown(&[node("a", 0), node("b", 0)]), expected);
    }

    #[test]
    fn what_a_status_says_is_found() {
        let mut broken = node("broken", 1);
        let state = broken.state.as_mut().unwrap();
        state.sessions_down.push(SessionDown {
            vrf: Some("red".into()),
            peer: "192.169.10.2".into(),
            reason: Some("shut-down".into()),
            message: "session with 192.169.10.2 is down: enable it".into(),
        });
        state.conditions.push(RouterCondition {
            type_: ConditionType::FabricConnected,
            status: ConditionStatus::False,
            reason: ConditionReason::NoFabricSession,
            message: "x".into(),
            last_transition_time: time(9),
        });
        // What an old status says is not found now.
        let state =
            RouterState { index: 0, vtep: None, router_id: None, observed_time: Some(time(500)), ..state.clone() };
        let old = NodeReport { node: "old".into(), state: Some(state) };
        let new = NodeReport { node: "new".into(), state: None };
        let expected = [
            "broken no-fabric-session : not connected to the fabric: x",
            "broken shut-down VRF red, peer 192.169.10.2: session with 192.169.10.2 is down",
            "new controller-stopped : the controller has not written a status yet",
            "old controller-stopped : the controller does not write its status",
        ];
        assert_eq!(shown(&[broken, new, old]), expected);
    }
}
