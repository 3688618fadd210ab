//! What the page shows of all nodes of a cluster. In: the `RouterNodeStatus` of each. Out: one JSON document with the status and the
//! findings of each node, and their states for the timeline. Pure. Its findings are those of `perouter check --all-nodes`.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::report::AreaReport;
use super::states::{PartState, StateKey, States, Subject, of_findings};
use crate::diagnose::Finding;
use crate::diagnose::check::{AreaState, counted};
use crate::diagnose::cluster_checks::{NodeReport, findings};
use crate::diagnose::finding::{Area, FindingSeverity, Place, rfc3339};
use crate::kind::API_VERSION;
use crate::kind::node_status::{ConditionStatus, ConditionType, ResourceState, RouterState};
use crate::kind::object::{Kind, ObjectRef};

/// Areas of which a `RouterNodeStatus` has something.
const AREAS: [Area; 5] = [Area::Router, Area::Objects, Area::Fabric, Area::Host, Area::Evpn];

/// All nodes, for the page.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ClusterPage<'a> {
    api_version: &'static str,
    kind: &'static str,
    time: String,
    target: ClusterTarget<'a>,
    areas: Vec<AreaReport>,
    findings: Vec<NodeFinding<'a>>,
    /// The objects that are ready on a node, each once: nodes have mostly the same ones.
    objects: Vec<ReadyObject<'a>>,
    nodes: Vec<ReportedNode<'a>>,
}

/// What the page shows of an object that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct ReadyObject<'a> {
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    vrf: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vni: Option<u32>,
}

/// What a command needs that a person copies from the page.
#[derive(Debug, Serialize)]
struct ClusterTarget<'a> {
    /// Options of `kubectl perouter` for this cluster; none for the kubeconfig that kubectl uses by itself.
    options: &'a [String],
}

#[derive(Debug, Serialize)]
struct NodeFinding<'a> {
    node: &'a str,
    #[serde(flatten)]
    finding: &'a Finding,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ReportedNode<'a> {
    node: &'a str,
    state: AreaState,
    /// Whether the controller writes the status: an old one may be of before a change.
    is_known: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    age_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<ReportedStatus>,
}

#[derive(Debug, Serialize)]
struct ReportedStatus {
    /// Of the objects those that are not ready.
    #[serde(flatten)]
    state: RouterState,
    /// Positions in [`ClusterPage::objects`].
    ready: Vec<usize>,
}

/// The document of the page, and the states for the timeline. `now` is in seconds since the epoch; `options` are those of
/// `kubectl perouter` for this cluster.
///
/// # Errors
/// Where the document is not JSON.
pub fn cluster_page(
    reports: &[NodeReport],
    now: u64,
    options: &[String],
) -> Result<(String, States), serde_json::Error> {
    let found = findings(reports, now);
    let mut listed: Vec<NodeFinding> = found
        .iter()
        .flat_map(|(node, findings)| findings.iter().map(move |finding| NodeFinding { node, finding }))
        .collect();
    listed.sort_by_key(|listed| (listed.finding.severity, listed.finding.area));
    let objects = ready_objects(reports);
    let page = ClusterPage {
        api_version: API_VERSION,
        kind: "ClusterPage",
        time: rfc3339(now),
        target: ClusterTarget { options },
        areas: AREAS.into_iter().map(|area| area_report(area, reports, &found, now)).collect(),
        findings: listed,
        nodes: reports.iter().map(|report| reported(report, &found, &objects, now)).collect(),
        objects,
    };
    Ok((serde_json::to_string(&page)?, states(reports, &found, now)))
}

type Found = BTreeMap<String, Vec<Finding>>;

impl<'a> ReadyObject<'a> {
    /// `None` of one that is not ready.
    fn new(resource: &'a ResourceState) -> Option<Self> {
        let ResourceState { kind, namespace, name, vrf, vni, .. } = resource;
        (resource.state == "Ready").then_some(Self { kind, namespace, name, vrf: vrf.as_deref(), vni: *vni })
    }
}

fn ready_objects(reports: &[NodeReport]) -> Vec<ReadyObject<'_>> {
    let states = reports.iter().filter_map(|report| report.state.as_ref());
    let found: BTreeSet<_> = states.flat_map(|state| &state.resources).filter_map(ReadyObject::new).collect();
    found.into_iter().collect()
}

/// `objects` are all that are ready, in order.
fn reported_status(state: &RouterState, objects: &[ReadyObject]) -> ReportedStatus {
    let ready = state.resources.iter().filter_map(ReadyObject::new);
    let others = state.resources.iter().filter(|resource| ReadyObject::new(resource).is_none());
    ReportedStatus {
        ready: ready.filter_map(|object| objects.binary_search(&object).ok()).collect(),
        state: RouterState { resources: others.cloned().collect(), ..state.clone() },
    }
}

fn reported<'a>(report: &'a NodeReport, found: &Found, objects: &[ReadyObject], now: u64) -> ReportedNode<'a> {
    let is_known = report.is_known(now);
    let worst = found.get(&report.node).into_iter().flatten().map(|finding| finding.severity).min();
    let state = match worst {
        _ if !is_known => AreaState::Unknown,
        Some(FindingSeverity::Error) => AreaState::Fail,
        Some(FindingSeverity::Warning) => AreaState::Warning,
        Some(FindingSeverity::Info) | None => AreaState::Ok,
    };
    let status = report.state.as_ref().map(|state| reported_status(state, objects));
    ReportedNode { node: &report.node, state, is_known, age_seconds: report.age(now), status }
}

fn area_report(area: Area, reports: &[NodeReport], found: &Found, now: u64) -> AreaReport {
    let worst = found.values().flatten().filter(|finding| finding.area == area).map(|finding| finding.severity).min();
    let unknown = reports.iter().filter(|report| !report.is_known(now)).count();
    let state = match worst {
        Some(FindingSeverity::Error) => AreaState::Fail,
        _ if unknown > 0 && area != Area::Router => AreaState::Unknown,
        Some(FindingSeverity::Warning) => AreaState::Warning,
        Some(FindingSeverity::Info) | None => AreaState::Ok,
    };
    let known = reports.iter().filter(|report| report.is_known(now)).filter_map(|report| report.state.as_ref());
    let of_known = checked(area, known, reports.len() - unknown);
    let checked = match unknown {
        0 => of_known,
        _ => format!("{of_known}, {unknown} of {} nodes not known", reports.len()),
    };
    AreaReport { area, state, checked }
}

/// What was checked of an area on the nodes whose status is not old.
fn checked<'a>(area: Area, known: impl Iterator<Item = &'a RouterState>, count: usize) -> String {
    let known: Vec<&RouterState> = known.collect();
    let resources = || known.iter().flat_map(|state| &state.resources);
    match area {
        Area::Router => format!("{} reported", counted(count, "node")),
        Area::Objects => {
            let ready = resources().filter(|resource| resource.state == "Ready").count();
            format!("{ready} of {} in place, over all nodes", resources().count())
        }
        Area::Fabric => {
            let connected = known.iter().filter(|state| is_true(state, ConditionType::FabricConnected)).count();
            format!("{connected} of {count} nodes connected")
        }
        Area::Links | Area::Host => {
            let down = known.iter().flat_map(|state| &state.sessions_down).filter(|down| down.vrf.is_some()).count();
            format!("{} down", counted(down, "session"))
        }
        Area::Evpn => {
            let ready: u32 = known.iter().map(|state| state.vnis.ready).sum();
            let total: u32 = known.iter().map(|state| state.vnis.total).sum();
            format!("{ready} of {total} L3VNIs up, over all nodes")
        }
    }
}

fn is_true(state: &RouterState, wanted: ConditionType) -> bool {
    state.conditions.iter().any(|found| found.type_ == wanted && found.status == ConditionStatus::True)
}

/// The states of all nodes.
fn states(reports: &[NodeReport], found: &Found, now: u64) -> States {
    let mut states = States::default();
    for report in reports {
        let on_node = |key: StateKey| StateKey { node: Some(report.node.clone()), ..key };
        let node = StateKey::new(Subject::Node, Place::default());
        states.known.insert(on_node(node), node_state(report, now));
        if !report.is_known(now) {
            states.unread_nodes.insert(report.node.clone());
        }
        let known = report.state.iter().filter(|_| report.is_known(now));
        let resources = known.flat_map(|state| &state.resources);
        states.known.extend(resources.filter_map(object_state).map(|(key, state)| (on_node(key), state)));
        let findings = found.get(&report.node).map(Vec::as_slice).unwrap_or_default();
        states.known.extend(of_findings(findings).into_iter().map(|(key, state)| (on_node(key), state)));
    }
    states
}

/// Without the age of a status: the states of two reads between which nothing happened are equal.
fn node_state(report: &NodeReport, now: u64) -> PartState {
    match &report.state {
        None => PartState::new(AreaState::Unknown, "no status yet"),
        Some(_) if !report.is_known(now) => PartState::new(AreaState::Unknown, "the status is not written any more"),
        Some(state) => {
            let (sessions, vnis) = (&state.sessions, state.vnis);
            let counts =
                format!("{} of {} sessions, {} of {} L3VNIs", sessions.up, sessions.total, vnis.ready, vnis.total);
            if is_true(state, ConditionType::FabricConnected) {
                PartState::new(AreaState::Ok, format!("connected to the fabric, {counts}"))
            } else {
                PartState::new(AreaState::Fail, format!("not connected to the fabric, {counts}"))
            }
        }
    }
}

fn object_state(resource: &ResourceState) -> Option<(StateKey, PartState)> {
    let object = ObjectRef::new(Kind::named(&resource.kind)?, &resource.namespace, &resource.name);
    let place = Place { vrf: resource.vrf.as_ref().and_then(|vrf| vrf.parse().ok()), ..Place::default() };
    let key = StateKey { object: Some(object), ..StateKey::new(Subject::Object, place) };
    let state = match resource.state.as_str() {
        "Ready" => PartState::new(AreaState::Ok, "in place"),
        "Rejected" => PartState::new(AreaState::Fail, "rejected"),
        _ => PartState::new(AreaState::Fail, "not in place"),
    };
    Some((key, state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::node_status::{ConditionReason, RouterCondition, SessionCount, SessionDown, VniCount};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use k8s_openapi::jiff::Timestamp;
    use serde_json::{Value, json};

    const NOW: u64 = 1_795_876_674;

    fn node(name: &str, age: i64, is_connected: bool) -> NodeReport {
        let time = |age| Time(Timestamp::from_second(i64::try_from(NOW).unwrap() - age).unwrap());
        let index = u32::from(name.as_bytes()[0] - b'a');
        let state = RouterState {
            index,
            vtep: Some(format!("100.65.0.{}", index + 1)),
            conditions: vec![RouterCondition {
                type_: ConditionType::FabricConnected,
                status: if is_connected { ConditionStatus::True } else { ConditionStatus::False },
                reason: if is_connected { ConditionReason::EvpnSession } else { ConditionReason::NoFabricSession },
                message: String::new(),
                last_transition_time: time(900),
            }],
            sessions: SessionCount { up: 1, total: 2, summary: "1/2".into() },
            vnis: VniCount { ready: 1, total: 1 },
            resources: vec![ResourceState {
                kind: "L3VNI".into(),
                namespace: "n".into(),
                name: "red".into(),
                vrf: Some("red".into()),
                vni: Some(100),
                observed_generation: Some(1),
                state: "Ready".into(),
                reason: "Applied".into(),
                message: String::new(),
                held: false,
            }],
            observed_time: Some(time(age)),
            ..RouterState::default()
        };
        NodeReport { node: name.into(), state: Some(state) }
    }

    fn page(reports: &[NodeReport]) -> (Value, States) {
        let (text, states) = cluster_page(reports, NOW, &["--context".into(), "lab".into()]).unwrap();
        (serde_json::from_str(&text).unwrap(), states)
    }

    #[test]
    fn nodes_have_their_state_and_their_findings() {
        let mut broken = node("b", 20, true);
        broken.state.as_mut().unwrap().sessions_down.push(SessionDown {
            vrf: Some("red".into()),
            peer: "192.169.10.2".into(),
            reason: Some("shut-down".into()),
            message: "the peer is shut down: enable it".into(),
        });
        let reports = [node("a", 20, true), broken, node("c", 500, true), NodeReport { node: "d".into(), state: None }];
        let (page, _) = page(&reports);
        let nodes: Vec<_> =
            page["nodes"].as_array().unwrap().iter().map(|node| (&node["state"], &node["isKnown"])).collect();
        let expected = [
            json!("ok"),
            json!(true),
            json!("fail"),
            json!(true),
            json!("unknown"),
            json!(false),
            json!("unknown"),
            json!(false),
        ];
        assert_eq!(nodes.into_iter().flat_map(|(a, b)| [a.clone(), b.clone()]).collect::<Vec<_>>(), expected);
        assert_eq!((&page["nodes"][2]["ageSeconds"], &page["nodes"][3]["status"]), (&json!(500), &Value::Null));
        let findings: Vec<_> =
            page["findings"].as_array().unwrap().iter().map(|f| (f["node"].as_str(), f["kind"].as_str())).collect();
        let expected = [("c", "controller-stopped"), ("d", "controller-stopped"), ("b", "shut-down")];
        assert_eq!(findings, expected.map(|(node, kind)| (Some(node), Some(kind))));
        let areas: Vec<_> = page["areas"]
            .as_array()
            .unwrap()
            .iter()
            .map(|area| {
                format!(
                    "{}: {}, {}",
                    area["area"].as_str().unwrap(),
                    area["state"].as_str().unwrap(),
                    area["checked"].as_str().unwrap()
                )
            })
            .collect();
        let expected = [
            "router: fail, 2 nodes reported, 2 of 4 nodes not known",
            "objects: unknown, 2 of 2 in place, over all nodes, 2 of 4 nodes not known",
            "fabric: unknown, 2 of 2 nodes connected, 2 of 4 nodes not known",
            "host: fail, 1 session down, 2 of 4 nodes not known",
            "evpn: unknown, 2 of 2 L3VNIs up, over all nodes, 2 of 4 nodes not known",
        ];
        assert_eq!(areas, expected);
        assert_eq!((&page["kind"], &page["target"]["options"][1]), (&json!("ClusterPage"), &json!("lab")));
        assert_eq!(
            (&page["time"], &page["nodes"][0]["status"]["vtep"]),
            (&json!("2026-11-28T14:37:54Z"), &json!("100.65.0.1"))
        );
    }

    #[test]
    fn the_states_of_two_reads_without_a_change_are_equal() {
        let reports = [node("a", 20, true), node("b", 400, false)];
        let later: Vec<NodeReport> = [node("a", 50, true), node("b", 430, false)].into();
        let (_, states) = page(&reports);
        assert_eq!(states, page(&later).1);
        let texts: Vec<String> = states
            .known
            .iter()
            .map(|(key, state)| {
                format!("{} {:?}: {}", key.node.as_deref().unwrap_or_default(), key.subject, state.text)
            })
            .collect();
        let expected = [
            "a Node: connected to the fabric, 1 of 2 sessions, 1 of 1 L3VNIs",
            "a Object: in place",
            "b Finding: the controller does not write its status",
            "b Node: the status is not written any more",
        ];
        let mut sorted = texts;
        sorted.sort();
        assert_eq!(sorted, expected);
        assert_eq!(states.unread_nodes, ["b".to_owned()].into());
    }

    #[test]
    fn objects_that_are_ready_are_in_the_document_once() {
        let mut second = node("b", 20, true);
        let failed = ResourceState {
            state: "Failed".into(),
            reason: "NotUp".into(),
            ..second.state.as_ref().unwrap().resources[0].clone()
        };
        let blue = ResourceState { name: "blue".into(), vrf: None, vni: None, state: "Ready".into(), ..failed.clone() };
        second.state.as_mut().unwrap().resources = vec![failed, blue];
        let (page, _) = page(&[node("a", 20, true), second, node("c", 20, true)]);
        let red = json!({"kind": "L3VNI", "namespace": "n", "name": "red", "vrf": "red", "vni": 100});
        assert_eq!(page["objects"], json!([{"kind": "L3VNI", "namespace": "n", "name": "blue"}, red]));
        let status = |index: usize| &page["nodes"][index]["status"];
        assert_eq!(
            (&status(0)["ready"], &status(1)["ready"], &status(2)["ready"]),
            (&json!([1]), &json!([0]), &json!([1]))
        );
        assert_eq!((&status(0)["resources"], &status(1)["resources"][0]["reason"]), (&Value::Null, &json!("NotUp")));
    }

    #[test]
    fn five_hundred_nodes_are_a_document_of_bounded_size() {
        let object = |vni: u32, state: &RouterState| ResourceState {
            name: format!("vrf-{vni}"),
            vni: Some(vni),
            ..state.resources[0].clone()
        };
        let of_index = |index| {
            let state = node("a", 20, true).state.unwrap();
            let resources = (100..150).map(|vni| object(vni, &state)).collect();
            let state = Some(RouterState { index, vtep: None, resources, ..state });
            NodeReport { node: format!("worker-{index}"), state }
        };
        let reports: Vec<NodeReport> = (0..500).map(of_index).collect();
        let (text, _) = cluster_page(&reports, NOW, &[]).unwrap();
        assert!(text.len() < 400_000, "{}", text.len());
    }
}
