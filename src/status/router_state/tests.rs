use super::*;
use crate::diagnose::finding::FindingSeverity;
use crate::snapshot::Kind;
use crate::status::model::PassSummary;
use crate::types::VrfMode;
use k8s_openapi::jiff::Timestamp;
use rstest::rstest;

pub(crate) fn status(resources: Vec<Resource>, sessions: Vec<SessionState>) -> NodeStatus {
    NodeStatus {
        notes: vec![],
        node: "n1".into(),
        index: 3,
        vtep: Some("100.65.0.4".parse().unwrap()),
        vtep6: Some("2001:db8:65::4".parse().unwrap()),
        router_id: Some("10.0.0.4".parse().unwrap()),
        vrf_mode: VrfMode::Netns,
        frr_version: "8.4.4".into(),
        frr_warning: None,
        observed_time: 7,
        silent_daemons: vec![],
        ready: resources.iter().all(|resource| resource.state != ObjectState::Failed),
        resources,
        vnis: BTreeMap::new(),
        sessions,
        session_causes: Vec::new(),
        findings: Vec::new(),
        filtered: Vec::new(),
        foreign_lines: Vec::new(),
        kept_ports: BTreeMap::new(),
        last_change: PassSummary::default(),
    }
}

pub(crate) fn resource(name: &str, state: ObjectState, message: &str) -> Resource {
    let reason = match state {
        ObjectState::Ready => "Applied",
        ObjectState::Failed => "ApplyFailed",
        ObjectState::Rejected => "Conflict",
    };
    Resource {
        kind: Kind::L3VNI,
        namespace: "default".into(),
        name: name.into(),
        vrf: None,
        vni: None,
        generation: Some(2),
        state,
        reason: reason.into(),
        message: message.into(),
        location: None,
        last_accepted_in_force: false,
    }
}

pub(crate) fn session(peer: &str, up: bool, established: u64) -> SessionState {
    SessionState {
        vrf: None,
        peer: peer.into(),
        remote_as: None,
        phase: if up { SessionPhase::Established } else { SessionPhase::Down("Active".into()) },
        since: up.then_some(established * 1000),
        established,
        messages: 0,
        prefixes: BTreeMap::new(),
    }
}

fn at(second: i64) -> Time {
    Time(Timestamp::from_second(second).unwrap())
}

fn conditions(state: &RouterState) -> Vec<String> {
    let shown = |c: &RouterCondition| format!("{:?}={:?} {:?} {}", c.type_, c.status, c.reason, c.message);
    state.conditions.iter().map(|condition| shown(condition).trim_end().to_owned()).collect()
}

#[rstest]
#[case::good(status(vec![resource("red", ObjectState::Ready, "")], vec![session("a", true, 1)]), ["Ready=True Applied", "Degraded=False AsExpected", "FabricConnected=True EvpnSession"])]
#[case::no_underlay(NodeStatus { vtep: None, ..status(vec![], vec![]) },
    ["Ready=False NoUnderlay no Underlay is accepted for this node", "Degraded=False AsExpected", "FabricConnected=False NoUnderlay no Underlay is accepted for this node"])]
#[case::failed(status(vec![resource("red", ObjectState::Failed, "no")], vec![]),
    ["Ready=False ApplyFailed L3VNI default/red", "Degraded=True ApplyFailed L3VNI default/red", "FabricConnected=True EvpnSession"])]
#[case::rejected(status(vec![resource("red", ObjectState::Rejected, "no")], vec![session("a", false, 0)]),
    ["Ready=True Applied", "Degraded=True Rejected L3VNI default/red", "FabricConnected=True EvpnSession"])]
#[case::session_down(status(vec![], vec![session("a", false, 0), session("b", true, 1)]),
    ["Ready=True Applied", "Degraded=True SessionsDown a", "FabricConnected=True EvpnSession"])]
#[case::no_frr(NodeStatus { frr_version: String::new(), ..status(vec![], vec![]) },
    ["Ready=False RouterUnreachable FRR does not answer", "Degraded=True RouterUnreachable FRR does not answer", "FabricConnected=False RouterUnreachable FRR does not answer"])]
#[case::silent_bgpd(NodeStatus { silent_daemons: vec!["bgpd".into()], ..status(vec![], vec![]) },
    ["Ready=False RouterUnreachable FRR does not answer: bgpd", "Degraded=True RouterUnreachable FRR does not answer: bgpd",
     "FabricConnected=False RouterUnreachable FRR does not answer: bgpd"])]
#[case::silent_daemon(NodeStatus { silent_daemons: vec!["staticd".into()], ..status(vec![], vec![]) },
    ["Ready=True Applied", "Degraded=True RouterUnreachable FRR does not answer: staticd", "FabricConnected=True EvpnSession"])]
#[case::no_evpn(found(FindingKind::NoEvpnSession, Area::Fabric),
    ["Ready=False NoEvpnSession x", "Degraded=True CheckFailed x", "FabricConnected=False NoEvpnSession x"])]
#[case::vni_down(found(FindingKind::VniDown, Area::Evpn),
    ["Ready=False VniDown VNI 100", "Degraded=True VniDown VNI 100", "FabricConnected=True EvpnSession"])]
#[case::another_check(found(FindingKind::SecondSpeaker, Area::Host),
    ["Ready=True Applied", "Degraded=True CheckFailed x", "FabricConnected=True EvpnSession"])]
#[case::a_warning_of_the_network(warning(FindingKind::MtuSmall, Area::Links),
    ["Ready=True Applied", "Degraded=False AsExpected", "FabricConnected=True EvpnSession"])]
#[case::another_warning(warning(FindingKind::SecondSpeaker, Area::Host),
    ["Ready=True Applied", "Degraded=True CheckFailed x", "FabricConnected=True EvpnSession"])]
fn conditions_show_the_worst_state(#[case] status: NodeStatus, #[case] wanted: [&str; 3]) {
    assert_eq!(conditions(&router_state(&status, None, &at(0))), wanted);
}

/// A status in which a check finds this.
fn found(kind: FindingKind, area: Area) -> NodeStatus {
    let place = Place { vni: 100.try_into().ok(), ..Place::default() };
    let findings = vec![Finding::new(FindingSeverity::Error, area, kind, "x").at(place)];
    NodeStatus { findings, ..status(vec![], vec![]) }
}

fn warning(kind: FindingKind, area: Area) -> NodeStatus {
    let mut status = found(kind, area);
    status.findings[0].severity = FindingSeverity::Warning;
    status
}

#[test]
fn a_session_that_is_down_has_its_cause() {
    let place = Place::session(None, "a");
    let cause =
        Finding::new(FindingSeverity::Error, Area::Fabric, FindingKind::WrongAsn, "what").at(place).remedied_by("do");
    let mut watch = SessionWatch::default();
    watch.events(&status(vec![], vec![session("a", true, 1)]));
    let down = NodeStatus { findings: vec![cause], ..status(vec![], vec![session("a", false, 1)]) };
    let expected =
        SessionDown { vrf: None, peer: "a".into(), reason: Some("wrong-asn".into()), message: "what: do".into() };
    assert_eq!(router_state(&down, None, &at(0)).sessions_down, [expected]);
    let notes: Vec<String> = watch.events(&down).into_iter().map(|event| event.note).collect();
    assert_eq!(notes, ["BGP session with a is not established any more: what"]);
}

#[test]
fn times_and_counters_are_no_change() {
    let before = router_state(&status(vec![], vec![session("a", true, 1)]), None, &at(1));
    let later = NodeStatus { observed_time: 99, ..status(vec![], vec![session("a", true, 2)]) };
    assert_eq!(router_state(&later, Some(&before), &at(2)), before);
}

#[test]
fn a_condition_has_the_time_of_its_last_change() {
    let good = router_state(&status(vec![], vec![]), None, &at(1));
    let bad = router_state(&status(vec![], vec![session("a", false, 0)]), Some(&good), &at(2));
    let times: Vec<i64> = bad.conditions.iter().map(|c| c.last_transition_time.0.as_second()).collect();
    assert_eq!(times, [1, 2, 1]);
    assert_eq!(bad.sessions.summary, "0/1");
}

#[test]
fn objects_have_an_event_when_they_fail_and_recover() {
    let reasons = |before: Option<&NodeStatus>, now: &NodeStatus| -> Vec<(String, EventReason)> {
        let before = before.map(|status| router_state(status, None, &at(0)));
        let events = object_events(before.as_ref(), now);
        events.into_iter().map(|h| (h.object.unwrap().name, h.reason)).collect()
    };
    let good = status(vec![resource("a", ObjectState::Ready, ""), resource("b", ObjectState::Ready, "")], vec![]);
    let bad = status(vec![resource("a", ObjectState::Rejected, "x"), resource("b", ObjectState::Failed, "y")], vec![]);
    let worse =
        status(vec![resource("a", ObjectState::Rejected, "z"), resource("b", ObjectState::Failed, "y")], vec![]);
    let expected = |list: &[(&str, EventReason)]| list.iter().map(|(n, r)| ((*n).to_owned(), *r)).collect::<Vec<_>>();
    assert_eq!(reasons(None, &good), expected(&[]));
    assert_eq!(reasons(Some(&good), &bad), expected(&[("a", EventReason::Rejected), ("b", EventReason::ApplyFailed)]));
    assert_eq!(reasons(None, &bad), expected(&[("a", EventReason::Rejected), ("b", EventReason::ApplyFailed)]));
    assert_eq!(reasons(Some(&bad), &bad), expected(&[]));
    assert_eq!(reasons(Some(&bad), &worse), expected(&[("a", EventReason::Rejected)]));
    assert_eq!(reasons(Some(&bad), &good), expected(&[("a", EventReason::Recovered), ("b", EventReason::Recovered)]));
}

#[test]
fn sessions_have_an_event_when_they_are_lost_and_when_they_are_established_again() {
    let mut watch = SessionWatch::default();
    let mut observe = |sessions: Vec<SessionState>| -> Vec<EventReason> {
        watch.events(&status(vec![], sessions)).into_iter().map(|event| event.reason).collect()
    };
    assert_eq!(observe(vec![session("a", false, 0)]), []);
    assert_eq!(observe(vec![session("a", true, 1)]), []);
    assert_eq!(observe(vec![session("a", false, 1)]), [EventReason::SessionLost]);
    assert_eq!(observe(vec![session("a", false, 1)]), []);
    assert_eq!(observe(vec![session("a", true, 2)]), [EventReason::SessionUp]);
    assert_eq!(observe(vec![session("a", true, 3)]), [EventReason::SessionLost]);
    assert_eq!(observe(vec![]), []);
}

#[test]
fn while_frr_does_not_answer_no_session_is_lost() {
    let mut watch = SessionWatch::default();
    let up = status(vec![], vec![session("a", true, 1)]);
    watch.events(&up);
    assert_eq!(watch.events(&NodeStatus { frr_version: String::new(), ..status(vec![], vec![]) }), []);
    assert_eq!(watch.events(&up), []);
}

#[test]
fn events_are_limited_to_a_burst_and_then_one_every_ten_seconds() {
    let mut budget = EventBudget::new(0);
    let taken = |budget: &mut EventBudget, now| (0..100).filter(|_| budget.take(now)).count();
    assert_eq!(taken(&mut budget, 0), 25);
    assert_eq!(taken(&mut budget, 9), 0);
    assert_eq!(taken(&mut budget, 25), 2);
    assert_eq!(taken(&mut budget, 30), 1);
    assert_eq!(taken(&mut budget, 100_000), 25);
}
