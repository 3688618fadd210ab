use super::*;
use crate::frr::show::vni::{LocalCounts, VniState, VniType};
use crate::snapshot::{Kind, ObjectRef};
use crate::source::kube::fake::FakeApi;
use crate::status::model::ObjectState;
use crate::status::router_state::tests::{resource, session, status};
use serde_json::Value;

/// A publisher on a fake API server. Time is paused.
struct Case {
    api: FakeApi,
    statuses: watch::Sender<Option<NodeStatus>>,
    identities: watch::Sender<ApiIdentities>,
    stop: CancellationToken,
}

impl Drop for Case {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Case {
    fn start() -> Self {
        let (statuses, of_status) = watch::channel(None);
        let (identities, known) = watch::channel(ApiIdentities::default());
        let (api, stop) = (FakeApi::new(), CancellationToken::new());
        tokio::spawn(publish(api.client(), "n1".into(), of_status, known, stop.clone()));
        Self { api, statuses, identities, stop }
    }

    fn known(&self, uid: &str) {
        let red = ObjectRef { kind: Kind::L3VNI, namespace: "default".into(), name: "red".into() };
        let objects = [(red, "uid-red".to_owned())].into();
        self.identities.send_replace(ApiIdentities { node_uid: Some(uid.into()), objects });
    }

    async fn publish(&self, status: NodeStatus) {
        self.statuses.send_replace(Some(status));
        self.seconds(5).await;
    }

    async fn seconds(&self, seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn object(&self) -> Value {
        self.api.get("routernodestatuses", "", "n1").unwrap_or_default()
    }

    fn writes(&self) -> usize {
        self.api.count("PATCH routernodestatuses/status") + self.api.count("POST routernodestatuses")
    }

    fn events(&self) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let mut events: Vec<(String, String)> = self
            .api
            .objects("events")
            .iter()
            .map(|event| {
                let shown = [
                    &event["type"],
                    &event["reason"],
                    &event["regarding"]["kind"],
                    &event["regarding"]["name"],
                    &event["note"],
                ];
                (text(&event["eventTime"]), shown.map(text).join(" "))
            })
            .collect();
        events.sort();
        events.into_iter().map(|(_, shown)| shown).collect()
    }
}

fn good() -> NodeStatus {
    status(vec![resource("red", ObjectState::Ready, "")], vec![session("a", true, 1)])
}

#[tokio::test(start_paused = true)]
async fn the_object_belongs_to_the_node() {
    let case = Case::start();
    case.publish(good()).await;
    assert_eq!(case.writes(), 0);
    case.known("uid-n1");
    case.seconds(5).await;
    let object = case.object();
    assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "uid-n1");
    assert_eq!(object["status"]["resources"][0]["observedGeneration"], 2);
    assert_eq!(object["status"]["sessions"]["summary"], "1/1");
    assert!(object["status"]["observedTime"].is_string());
}

#[tokio::test(start_paused = true)]
async fn without_a_change_only_the_heartbeat_is_written() {
    let case = Case::start();
    case.known("uid-n1");
    case.publish(good()).await;
    let writes = case.writes();
    assert_eq!(writes, 2);
    for second in 0..100 {
        let sessions = vec![session("a", true, 1)];
        let same = NodeStatus { observed_time: second, ..status(good().resources, sessions) };
        case.publish(same).await;
    }
    assert_eq!(case.writes(), writes + 1, "one heartbeat in 100 s of observation");
    let writes = case.writes();
    // Without another observation: checked, but not written.
    case.seconds(400).await;
    assert_eq!(case.writes(), writes);
    assert!(case.api.count("GET routernodestatuses") >= 2);
    case.publish(status(vec![], vec![])).await;
    assert_eq!(case.writes(), writes + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_attached_to_a_segment_is_written_with_the_heartbeat() {
    let case = Case::start();
    case.known("uid-n1");
    let with_macs = |vni: u32, macs| {
        let local = Some(LocalCounts { macs, neighbors: 0 });
        let state = VniState { vni_type: VniType::L2, macs: Some(macs + 1), local, ..VniState::default() };
        NodeStatus { observed_time: 1000 + macs, vnis: [(vni.try_into().unwrap(), state)].into(), ..good() }
    };
    case.publish(with_macs(110, 0)).await;
    let writes = case.writes();
    let macs = || case.object()["status"]["l2vnis"][0]["macs"].clone();
    for second in 0..60 {
        case.publish(with_macs(110, second)).await;
    }
    assert_eq!((case.writes(), macs()), (writes, serde_json::json!({"local": 0, "remote": 1})));
    case.publish(with_macs(110, 60)).await;
    assert_eq!((case.writes(), macs()), (writes + 1, serde_json::json!({"local": 60, "remote": 1})));
    case.publish(with_macs(120, 60)).await;
    assert_eq!((case.writes(), case.object()["status"]["l2vnis"][0]["vni"].clone()), (writes + 2, 120.into()));
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_write_what_is_on_the_api() {
    let mut case = Case::start();
    case.known("uid-n1");
    case.publish(good()).await;
    let writes = case.writes();
    let (statuses, of_status) = watch::channel(Some(good()));
    let known = case.identities.subscribe();
    tokio::spawn(publish(case.api.client(), "n1".into(), of_status, known, case.stop.clone()));
    case.statuses = statuses;
    case.publish(good()).await;
    assert_eq!(case.writes(), writes);
}

#[tokio::test(start_paused = true)]
async fn writes_are_a_second_apart() {
    let case = Case::start();
    case.known("uid-n1");
    case.publish(good()).await;
    let writes = case.writes();
    for n in 0..100 {
        case.statuses.send_replace(Some(NodeStatus { index: n, ..good() }));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    case.seconds(2).await;
    let made = case.writes() - writes;
    assert!((8..=12).contains(&made), "{made} writes in ten seconds");
    assert_eq!(case.object()["status"]["index"], 99);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_was_unreachable_gets_the_last_status() {
    let case = Case::start();
    case.known("uid-n1");
    case.api.set_down(true);
    case.publish(good()).await;
    case.seconds(100).await;
    case.api.set_down(false);
    case.seconds(70).await;
    assert_eq!(case.object()["status"]["index"], 3);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_was_created_again_gets_an_object_of_its_own() {
    let case = Case::start();
    case.known("old");
    case.publish(good()).await;
    case.known("new");
    case.seconds(5).await;
    assert_eq!(case.object()["metadata"]["ownerReferences"][0]["uid"], "new");
}

#[tokio::test(start_paused = true)]
async fn rejection_recovery_and_session_loss_are_events() {
    let case = Case::start();
    case.known("uid-n1");
    case.publish(good()).await;
    assert_eq!(case.events(), Vec::<String>::new());
    case.publish(status(vec![resource("red", ObjectState::Rejected, "no room")], vec![session("a", true, 1)])).await;
    case.publish(status(vec![resource("red", ObjectState::Ready, "")], vec![session("a", false, 1)])).await;
    case.publish(status(vec![resource("x", ObjectState::Rejected, "of a file")], vec![session("a", true, 2)])).await;
    assert_eq!(
        case.events(),
        [
            "Warning Rejected L3VNI red node n1: Conflict: no room",
            "Normal Recovered L3VNI red node n1: in place",
            "Warning SessionLost RouterNodeStatus n1 node n1: BGP session with a is not established any more",
            "Warning Rejected RouterNodeStatus n1 node n1: L3VNI default/x: Conflict: of a file",
            "Normal SessionUp RouterNodeStatus n1 node n1: BGP session with a is established again",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_repeated_event_is_counted_and_another_one_is_sent() {
    let case = Case::start();
    case.known("uid-n1");
    let sessions = |a, b| status(vec![], vec![session("a", a, 1), session("b", b, 1)]);
    for (a, b) in [(true, true), (false, true), (true, true), (false, true), (false, false)] {
        case.publish(sessions(a, b)).await;
    }
    assert_eq!(
        case.events(),
        [
            "Warning SessionLost RouterNodeStatus n1 node n1: BGP session with a is not established any more",
            "Normal SessionUp RouterNodeStatus n1 node n1: BGP session with a is established again",
            "Warning SessionLost RouterNodeStatus n1 node n1: BGP session with b is not established any more",
        ]
    );
    let lost = case.api.objects("events").into_iter().find(|event| event["series"]["count"] == 2);
    assert!(lost.unwrap()["note"].as_str().unwrap().contains("with a is not"));
    // One that the API server has deleted is a new one.
    for event in case.api.names("events") {
        case.api.delete("events", "default", &event);
    }
    case.publish(sessions(true, false)).await;
    assert_eq!(case.events().len(), 1);
}

#[test]
fn a_long_note_is_cut_between_letters() {
    assert_eq!(cut("é".repeat(600)), "é".repeat(500));
    assert_eq!(cut("x".into()), "x");
}
