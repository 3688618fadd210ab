//! `RouterNodeStatus` and events, as kubectl shows them. What is written changes no snapshot, and nothing is written that
//! is there.

use std::collections::BTreeMap;
use std::time::Duration;

use perouter::frr::show::session::{SessionPhase, SessionState};
use perouter::snapshot::{Kind, ObjectRef};
use perouter::status::NodeStatus;
use perouter::status::model::{PassSummary, Resource, State};
use perouter::types::VrfMode;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::place::{LIMIT, NAMESPACE, Place, l3vni, until};
use super::snapshots::Source;

fn status(rejected: Option<&str>, session_is_up: bool) -> NodeStatus {
    let resource = Resource {
        kind: Kind::L3VNI,
        namespace: NAMESPACE.into(),
        name: "v100".into(),
        generation: Some(1),
        state: if rejected.is_some() { State::Rejected } else { State::Ready },
        reason: if rejected.is_some() { "PoolTooSmall" } else { "Applied" }.into(),
        message: rejected.unwrap_or_default().into(),
        location: None,
        held: false,
    };
    let session = SessionState {
        vrf: None,
        peer: "192.168.11.2".into(),
        remote_as: None,
        phase: if session_is_up { SessionPhase::Established } else { SessionPhase::Down("Active".into()) },
        since: None,
        established: 1,
        prefixes: BTreeMap::new(),
    };
    NodeStatus {
        notes: vec![],
        session_causes: [].into(),
        node: "n1".into(),
        index: 0,
        vtep: Some("100.65.0.1".parse().unwrap()),
        router_id: Some("10.0.0.1".parse().unwrap()),
        vrf_mode: VrfMode::Netns,
        frr_version: "8.4.4".into(),
        observed_time: 0,
        ready: true,
        resources: vec![resource],
        vnis: BTreeMap::new(),
        sessions: vec![session],
        foreign_lines: Vec::new(),
        last_change: PassSummary::default(),
    }
}

/// A publisher at work, and a source on the same objects.
pub(crate) struct Publisher {
    statuses: watch::Sender<Option<NodeStatus>>,
    source: Source,
    stop: CancellationToken,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Publisher {
    pub(crate) async fn start(place: &Place) -> Self {
        place.apply(&[l3vni(100)]);
        let mut source = Source::start(place, "n1");
        source.until("start", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == 1).await;
        let v100 = ObjectRef { kind: Kind::L3VNI, namespace: NAMESPACE.into(), name: "v100".into() };
        let known = source.identities.wait_for(|known| known.objects.contains_key(&v100));
        timeout(LIMIT, known).await.unwrap().unwrap();
        let statuses = watch::Sender::new(None);
        let stop = CancellationToken::new();
        let (receiver, known) = (statuses.subscribe(), source.identities.clone());
        let client = place.controller.clone();
        tokio::spawn(perouter::status::kubernetes::publish(client, "n1".into(), receiver, known, stop.clone()));
        Self { statuses, source, stop }
    }

    fn tell(&self, status: NodeStatus) {
        self.statuses.send_replace(Some(status));
    }
}

fn written(place: &Place) -> Value {
    place.get(&["rns", "n1"])["status"].clone()
}

pub(crate) async fn kubectl_shows_the_router(place: &Place, publisher: &Publisher) {
    publisher.tell(status(Some("no address for index 0"), true));
    let rows = || place.admin.run(&["get", "rns", "n1", "-o", "wide"]).map(|output| output.stdout).unwrap_or_default();
    until("no status", || rows().contains("8.4.4")).await;
    let table = rows();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let header = "NAME READY DEGRADED INDEX VTEP MODE FRR SESSIONS AGE ROUTER ID VNIS REASON MESSAGE";
    assert_eq!(lines[0].join(" "), header);
    let (row, age) = (&lines[1], lines[1][8]);
    assert!(age.ends_with('s'), "{age}");
    assert_eq!(row[..8], ["n1", "True", "True", "0", "100.65.0.1", "netns", "8.4.4", "1/1"]);
    assert_eq!(row[9..].join(" "), format!("10.0.0.1 0 Rejected L3VNI {NAMESPACE}/v100"));
    let narrow = place.admin.check(&["get", "routernodestatuses"]).unwrap();
    assert_eq!(narrow.lines().next().unwrap().split_whitespace().last(), Some("AGE"));
    let resource = &written(place)["resources"][0];
    let told = ["kind", "name", "state", "reason", "message"].map(|field| resource[field].as_str().unwrap());
    assert_eq!(told, ["L3VNI", "v100", "Rejected", "PoolTooSmall", "no address for index 0"]);
    assert_eq!(resource["observedGeneration"], 1);
    let owner = &place.get(&["rns", "n1"])["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], place.get(&["node", "n1"])["metadata"]["uid"]);
}

/// Events on an object, the latest last, as `REASON NOTE`.
fn events(place: &Place, namespace: &str, kind: &str) -> Vec<String> {
    let found = place.get(&["-n", namespace, "events.v1.events.k8s.io"]);
    let mut events: Vec<&Value> = found["items"].as_array().unwrap().iter().collect();
    events.retain(|event| event["regarding"]["kind"] == kind);
    events.sort_by_key(|event| event["eventTime"].to_string());
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| format!("{} {} {}", word(&event["type"]), word(&event["reason"]), word(&event["note"])))
        .collect()
}

pub(crate) async fn rejection_recovery_and_session_loss_are_events(place: &Place, publisher: &Publisher) {
    let of_object = || events(place, NAMESPACE, "L3VNI");
    let of_router = || events(place, "default", "RouterNodeStatus");
    until("no rejection", || of_object().len() == 1).await;
    publisher.tell(status(None, true));
    until("no recovery", || of_object().len() == 2).await;
    publisher.tell(status(None, false));
    until("no loss", || of_router().len() == 1).await;
    until("session counted", || written(place)["sessions"]["summary"] == "0/1").await;
    publisher.tell(status(None, true));
    until("session not back", || of_router().len() == 2).await;
    assert_eq!(
        of_object(),
        ["Warning Rejected node n1: PoolTooSmall: no address for index 0", "Normal Recovered node n1: in place",]
    );
    assert_eq!(
        of_router(),
        [
            "Warning SessionLost node n1: BGP session with 192.168.11.2 is not established any more",
            "Normal SessionUp node n1: BGP session with 192.168.11.2 is established again",
        ]
    );
    // Once more, with the same words: counted, not told anew.
    publisher.tell(status(Some("no address for index 0"), false));
    let counted = |namespace: &str| {
        let found = place.get(&["-n", namespace, "events.v1.events.k8s.io"]);
        found["items"].as_array().unwrap().iter().any(|event| event["series"]["count"] == 2)
    };
    until("not counted", || counted(NAMESPACE) && counted("default")).await;
    assert_eq!((of_object().len(), of_router().len()), (2, 2));
    publisher.tell(status(None, true));
    until("no second recovery", || written(place)["resources"][0]["state"] == "Ready").await;
    let shown = place.admin.check(&["-n", NAMESPACE, "describe", "l3vni", "v100"]).unwrap();
    assert!(shown.contains("Rejected") && shown.contains("Recovered"), "{shown}");
}

/// Half a minute in which the kubelet beats and people label things.
pub(crate) async fn in_quiet_nothing_is_written(place: &Place, publisher: &mut Publisher) {
    publisher.tell(status(None, true));
    until("conditions settle", || written(place)["conditions"][1]["status"] == "False").await;
    let version = || place.get(&["rns", "n1"])["metadata"]["resourceVersion"].clone();
    let (before, writes) = (version(), place.audit.count("patch", "routernodestatuses"));
    publisher.source.snapshots.borrow_and_update();
    for time in 1..=30 {
        publisher.tell(NodeStatus { observed_time: time, ..status(None, true) });
        if time % 10 == 0 {
            let beat = json!({ "status": { "conditions": [
                { "type": "Ready", "status": "True", "reason": "KubeletReady", "message": time.to_string() } ] } });
            let beat = beat.to_string();
            place.admin.check(&["patch", "node", "n1", "--subresource=status", "--type=merge", "-p", &beat]).unwrap();
            let label = format!("seen={time}");
            place.admin.check(&["-n", NAMESPACE, "label", "l3vni", "v100", "--overwrite", &label]).unwrap();
            place.admin.check(&["-n", NAMESPACE, "annotate", "l3vni", "v100", "--overwrite", &label]).unwrap();
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(version(), before);
    assert_eq!(place.audit.count("patch", "routernodestatuses"), writes);
    assert!(!publisher.source.snapshots.has_changed().unwrap(), "a status, a heartbeat or a label is no configuration");
}

/// A mistake that hits many objects does not flood the cluster with events.
pub(crate) async fn events_are_rate_limited(place: &Place, publisher: &Publisher) {
    let sent = || place.audit.count("create", "events") + place.audit.count("patch", "events");
    let before = sent();
    let mut many = status(Some("no address for index 0"), true);
    let one = many.resources[0].clone();
    many.resources = (0..100).map(|n| Resource { name: format!("v{n}"), ..one.clone() }).collect();
    publisher.tell(many);
    until("not written", || written(place)["resources"].as_array().is_some_and(|resources| resources.len() == 100))
        .await;
    until("no events", || sent() > before).await;
    sleep(Duration::from_secs(3)).await;
    let events = sent() - before;
    assert!((10..=26).contains(&events), "{events} events for 100 rejections");
}

pub(crate) async fn the_status_goes_with_its_node(place: &Place) {
    place.admin.check(&["delete", "node", "n1"]).unwrap();
    let there = || place.admin.run(&["get", "rns", "n1"]).unwrap().success();
    until("the status outlives its Node", || !there()).await;
}
