use super::*;
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
        router_id: Some("10.0.0.4".parse().unwrap()),
        vrf_mode: VrfMode::Netns,
        frr_version: "8.4.4".into(),
        observed_time: 7,
        ready: resources.iter().all(|resource| resource.state != State::Failed),
        resources,
        vnis: BTreeMap::new(),
        sessions,
        session_causes: Vec::new(),
        foreign_lines: Vec::new(),
        last_change: PassSummary::default(),
    }
}

pub(crate) fn resource(name: &str, state: State, message: &str) -> Resource {
    let reason = match state {
        State::Ready => "Applied",
        State::Failed => "ApplyFailed",
        State::Rejected => "Conflict",
    };
    Resource {
        kind: Kind::L3VNI,
        namespace: "default".into(),
        name: name.into(),
        generation: Some(2),
        state,
        reason: reason.into(),
        message: message.into(),
        location: None,
        held: false,
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
#[case::good(status(vec![resource("red", State::Ready, "")], vec![session("a", true, 1)]), ["Ready=True Applied", "Degraded=False AsExpected"])]
#[case::no_underlay(NodeStatus { vtep: None, ..status(vec![], vec![]) },
    ["Ready=False NoUnderlay no Underlay is accepted for this node", "Degraded=False AsExpected"])]
#[case::failed(status(vec![resource("red", State::Failed, "no")], vec![]),
    ["Ready=False ApplyFailed L3VNI default/red", "Degraded=True ApplyFailed L3VNI default/red"])]
#[case::rejected(status(vec![resource("red", State::Rejected, "no")], vec![session("a", false, 0)]),
    ["Ready=True Applied", "Degraded=True Rejected L3VNI default/red"])]
#[case::session_down(status(vec![], vec![session("a", false, 0), session("b", true, 1)]),
    ["Ready=True Applied", "Degraded=True SessionsDown a"])]
#[case::no_frr(NodeStatus { frr_version: String::new(), ..status(vec![], vec![]) },
    ["Ready=True Applied", "Degraded=True RouterUnreachable FRR does not answer"])]
fn conditions_tell_the_worst(#[case] status: NodeStatus, #[case] wanted: [&str; 2]) {
    assert_eq!(conditions(&router_state(&status, None, &at(0))), wanted);
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
    assert_eq!(times, [1, 2]);
    assert_eq!(bad.sessions.summary, "0/1");
}

#[test]
fn objects_are_told_when_they_turn_bad_and_good() {
    let reasons = |before: Option<&NodeStatus>, now: &NodeStatus| -> Vec<(String, EventReason)> {
        let before = before.map(|status| router_state(status, None, &at(0)));
        let happenings = of_objects(before.as_ref(), now);
        happenings.into_iter().map(|h| (h.object.unwrap().name, h.reason)).collect()
    };
    let good = status(vec![resource("a", State::Ready, ""), resource("b", State::Ready, "")], vec![]);
    let bad = status(vec![resource("a", State::Rejected, "x"), resource("b", State::Failed, "y")], vec![]);
    let worse = status(vec![resource("a", State::Rejected, "z"), resource("b", State::Failed, "y")], vec![]);
    let told = |list: &[(&str, EventReason)]| list.iter().map(|(n, r)| ((*n).to_owned(), *r)).collect::<Vec<_>>();
    assert_eq!(reasons(None, &good), told(&[]));
    assert_eq!(reasons(Some(&good), &bad), told(&[("a", EventReason::Rejected), ("b", EventReason::ApplyFailed)]));
    assert_eq!(reasons(None, &bad), told(&[("a", EventReason::Rejected), ("b", EventReason::ApplyFailed)]));
    assert_eq!(reasons(Some(&bad), &bad), told(&[]));
    assert_eq!(reasons(Some(&bad), &worse), told(&[("a", EventReason::Rejected)]));
    assert_eq!(reasons(Some(&bad), &good), told(&[("a", EventReason::Recovered), ("b", EventReason::Recovered)]));
}

#[test]
fn sessions_are_told_when_they_are_lost_and_when_they_come_back() {
    let mut watch = SessionWatch::default();
    let mut look = |sessions: Vec<SessionState>| -> Vec<EventReason> {
        watch.look(&status(vec![], sessions)).into_iter().map(|happening| happening.reason).collect()
    };
    assert_eq!(look(vec![session("a", false, 0)]), []);
    assert_eq!(look(vec![session("a", true, 1)]), []);
    assert_eq!(look(vec![session("a", false, 1)]), [EventReason::SessionLost]);
    assert_eq!(look(vec![session("a", false, 1)]), []);
    assert_eq!(look(vec![session("a", true, 2)]), [EventReason::SessionUp]);
    assert_eq!(look(vec![session("a", true, 3)]), [EventReason::SessionLost]);
    assert_eq!(look(vec![]), []);
}

#[test]
fn while_frr_does_not_answer_no_session_is_lost() {
    let mut watch = SessionWatch::default();
    let up = status(vec![], vec![session("a", true, 1)]);
    watch.look(&up);
    assert_eq!(watch.look(&NodeStatus { frr_version: String::new(), ..status(vec![], vec![]) }), []);
    assert_eq!(watch.look(&up), []);
}

#[test]
fn events_are_a_handful_and_then_one_from_time_to_time() {
    let mut budget = EventBudget::new(0);
    let taken = |budget: &mut EventBudget, now| (0..100).filter(|_| budget.take(now)).count();
    assert_eq!(taken(&mut budget, 0), 25);
    assert_eq!(taken(&mut budget, 9), 0);
    assert_eq!(taken(&mut budget, 25), 2);
    assert_eq!(taken(&mut budget, 30), 1);
    assert_eq!(taken(&mut budget, 100_000), 25);
}
