//! `RouterNodeStatus` and events, as kubectl shows them. Writing them changes no snapshot, and an unchanged status is not written.

use std::collections::BTreeMap;
use std::time::Duration;

use perouter::frr::show::session::{SessionPhase, SessionState};
use perouter::snapshot::{Kind, ObjectRef};
use perouter::status::NodeStatus;
use perouter::status::model::{ObjectState, PassSummary, Resource};
use perouter::types::VrfMode;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::environment::{Environment, GROUP, LIMIT, NAMESPACE, l3vni, until, until_within};
use super::snapshots::Source;

fn status(rejected: Option<&str>, session_is_up: bool) -> NodeStatus {
    let resource = Resource {
        kind: Kind::L3VNI,
        namespace: NAMESPACE.into(),
        name: "v100".into(),
        vrf: Some("red".parse().unwrap()),
        vni: Some(100.try_into().unwrap()),
        generation: Some(1),
        state: if rejected.is_some() { ObjectState::Rejected } else { ObjectState::Ready },
        reason: if rejected.is_some() { "PoolTooSmall" } else { "Applied" }.into(),
        message: rejected.unwrap_or_default().into(),
        location: None,
        last_accepted_in_force: false,
    };
    let session = SessionState {
        vrf: None,
        peer: "192.168.11.2".into(),
        remote_as: None,
        phase: if session_is_up { SessionPhase::Established } else { SessionPhase::Down("Active".into()) },
        since: None,
        established: 1,
        messages: 0,
        prefixes: BTreeMap::new(),
    };
    NodeStatus {
        kept_ports: BTreeMap::new(),
        silent_daemons: vec![],
        notes: vec![],
        session_causes: [].into(),
        findings: [].into(),
        filtered: [].into(),
        node: "n1".into(),
        index: 0,
        vtep: Some("100.65.0.1".parse().unwrap()),
        vtep6: None,
        router_id: Some("10.0.0.1".parse().unwrap()),
        vrf_mode: VrfMode::Netns,
        frr_version: "8.4.4".into(),
        frr_warning: None,
        observed_time: 0,
        ready: true,
        resources: vec![resource],
        vnis: BTreeMap::new(),
        sessions: vec![session],
        foreign_lines: Vec::new(),
        last_change: PassSummary::default(),
    }
}

/// A running publisher, and a source of the same objects.
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
    pub(crate) async fn start(environment: &Environment) -> Self {
        // Garbage collection does not delete a status without an owner: the controller replaces it.
        let orphan = json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "RouterNodeStatus", "metadata": { "name": "n1" },
            "spec": {} });
        environment.apply(&[l3vni(100), orphan]);
        let mut source = Source::start(environment, "n1").await;
        source.until("start", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == 1).await;
        let v100 = ObjectRef { kind: Kind::L3VNI, namespace: NAMESPACE.into(), name: "v100".into() };
        let known = source.identities.wait_for(|known| known.objects.contains_key(&v100));
        timeout(LIMIT, known).await.unwrap().unwrap();
        let statuses = watch::Sender::new(None);
        let stop = CancellationToken::new();
        let (receiver, known) = (statuses.subscribe(), source.identities.clone());
        let client = environment.controller_of("n1").await;
        tokio::spawn(perouter::status::kubernetes::publish(client, "n1".into(), receiver, known, stop.clone()));
        Self { statuses, source, stop }
    }

    fn publish(&self, status: NodeStatus) {
        self.statuses.send_replace(Some(status));
    }
}

fn written(environment: &Environment) -> Value {
    environment.get(&["rns", "n1"])["status"].clone()
}

pub(crate) async fn kubectl_shows_the_router(environment: &Environment, publisher: &Publisher) {
    publisher.publish(status(Some("no address for index 0"), true));
    let rows =
        || environment.admin.run(&["get", "rns", "n1", "-o", "wide"]).map(|output| output.stdout).unwrap_or_default();
    until("no status", || rows().contains("8.4.4")).await;
    let table = rows();
    let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    let header =
        "NAME READY FABRIC DEGRADED INDEX VTEP MODE FRR SESSIONS OBSERVED AGE VTEP IPV6 ROUTER ID VNIS REASON MESSAGE";
    assert_eq!(lines[0].join(" "), header);
    let (row, age) = (&lines[1], lines[1][10]);
    assert!(age.ends_with('s'), "{age}");
    assert_eq!(row[..9], ["n1", "True", "True", "True", "0", "100.65.0.1", "netns", "8.4.4", "1/1"]);
    assert_eq!(row[11..].join(" "), format!("10.0.0.1 0 Rejected L3VNI {NAMESPACE}/v100"));
    let narrow = environment.admin.check(&["get", "routernodestatuses"]).unwrap();
    assert_eq!(narrow.lines().next().unwrap().split_whitespace().last(), Some("AGE"));
    let resource = &written(environment)["resources"][0];
    let fields = ["kind", "name", "state", "reason", "message"].map(|field| resource[field].as_str().unwrap());
    assert_eq!(fields, ["L3VNI", "v100", "Rejected", "PoolTooSmall", "no address for index 0"]);
    assert_eq!(resource["observedGeneration"], 1);
    let owner = &environment.get(&["rns", "n1"])["metadata"]["ownerReferences"][0];
    assert_eq!(owner["uid"], environment.get(&["node", "n1"])["metadata"]["uid"]);
}

/// Events of a kind of objects, oldest first, as `TYPE REASON NOTE`.
fn events(environment: &Environment, namespace: &str, kind: &str) -> Vec<String> {
    let found = environment.get(&["-n", namespace, "events.v1.events.k8s.io"]);
    let mut events: Vec<&Value> = found["items"].as_array().unwrap().iter().collect();
    events.retain(|event| event["regarding"]["kind"] == kind);
    events.sort_by_key(|event| event["eventTime"].to_string());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    events
        .iter()
        .map(|event| format!("{} {} {}", text(&event["type"]), text(&event["reason"]), text(&event["note"])))
        .collect()
}

pub(crate) async fn rejection_recovery_and_session_loss_are_events(environment: &Environment, publisher: &Publisher) {
    let of_object = || events(environment, NAMESPACE, "L3VNI");
    let of_router = || events(environment, "default", "RouterNodeStatus");
    until("no rejection", || of_object().len() == 1).await;
    publisher.publish(status(None, true));
    until("no recovery", || of_object().len() == 2).await;
    publisher.publish(status(None, false));
    until("no session loss", || of_router().len() == 1).await;
    until("session counted", || written(environment)["sessions"]["summary"] == "0/1").await;
    publisher.publish(status(None, true));
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
    // The same once more: counted, not a new event.
    publisher.publish(status(Some("no address for index 0"), false));
    let counted = |namespace: &str| {
        let found = environment.get(&["-n", namespace, "events.v1.events.k8s.io"]);
        found["items"].as_array().unwrap().iter().any(|event| event["series"]["count"] == 2)
    };
    until("not counted", || counted(NAMESPACE) && counted("default")).await;
    assert_eq!((of_object().len(), of_router().len()), (2, 2));
    publisher.publish(status(None, true));
    until("no second recovery", || written(environment)["resources"][0]["state"] == "Ready").await;
    let shown = environment.admin.check(&["-n", NAMESPACE, "describe", "l3vni", "v100"]).unwrap();
    assert!(shown.contains("Rejected") && shown.contains("Recovered"), "{shown}");
}

/// Half a minute with heartbeats of the kubelet and changes of labels.
pub(crate) async fn nothing_is_written_in_steady_state(environment: &Environment, publisher: &mut Publisher) {
    publisher.publish(status(None, true));
    until("conditions settle", || written(environment)["conditions"][1]["status"] == "False").await;
    let version = || environment.get(&["rns", "n1"])["metadata"]["resourceVersion"].clone();
    let (before, writes) = (version(), environment.audit.count("patch", "routernodestatuses"));
    publisher.source.snapshots.borrow_and_update();
    for time in 1..=30 {
        publisher.publish(NodeStatus { observed_time: time, ..status(None, true) });
        if time % 10 == 0 {
            let beat = json!({ "status": { "conditions": [
                { "type": "Ready", "status": "True", "reason": "KubeletReady", "message": time.to_string() } ] } });
            let beat = beat.to_string();
            environment
                .admin
                .check(&["patch", "node", "n1", "--subresource=status", "--type=merge", "-p", &beat])
                .unwrap();
            let label = format!("seen={time}");
            environment.admin.check(&["-n", NAMESPACE, "label", "l3vni", "v100", "--overwrite", &label]).unwrap();
            environment.admin.check(&["-n", NAMESPACE, "annotate", "l3vni", "v100", "--overwrite", &label]).unwrap();
        }
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(version(), before);
    assert_eq!(environment.audit.count("patch", "routernodestatuses"), writes);
    assert!(
        !publisher.source.snapshots.has_changed().unwrap(),
        "a status, a heartbeat or a label is not configuration"
    );
}

/// The rejection of many objects does not flood the cluster with events.
pub(crate) async fn events_are_rate_limited(environment: &Environment, publisher: &Publisher) {
    let sent = || environment.audit.count("create", "events") + environment.audit.count("patch", "events");
    let before = sent();
    let mut many = status(Some("no address for index 0"), true);
    let one = many.resources[0].clone();
    many.resources = (0..100).map(|n| Resource { name: format!("v{n}"), ..one.clone() }).collect();
    publisher.publish(many);
    until("not written", || {
        written(environment)["resources"].as_array().is_some_and(|resources| resources.len() == 100)
    })
    .await;
    until("no events", || sent() > before).await;
    sleep(Duration::from_secs(3)).await;
    let events = sent() - before;
    assert!((10..=26).contains(&events), "{events} events for 100 rejections");
}

/// Kubernetes' garbage collector reads the list of resources again every 30 s and forgets those that an API server which has
/// just restarted does not serve yet; its watches reconnect after up to another 30 s.
const GARBAGE_COLLECTION: Duration = Duration::from_secs(240);

pub(crate) async fn the_status_is_deleted_with_its_node(environment: &Environment) {
    environment.admin.check(&["delete", "node", "n1"]).unwrap();
    let there = || environment.admin.run(&["get", "rns", "n1"]).unwrap().success();
    until_within(GARBAGE_COLLECTION, "the status outlives its Node", || !there()).await;
}
