use super::*;
use crate::kind::L3VNISpec;
use crate::kind::NodeIndexSpec;
use crate::source::kube::claim::claim;
use crate::source::kube::fake::FakeApi;
use serde_json::{Value, json};
use std::sync::Arc;

/// Long against [`COALESCE`], short against the time limits of a test run.
const LIMIT: Duration = Duration::from_secs(10);

/// A running source on a fake API server.
struct ClusterCase {
    api: FakeApi,
    snapshots: watch::Receiver<Snapshot>,
    stop: CancellationToken,
    dir: tempfile::TempDir,
}

impl Drop for ClusterCase {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl ClusterCase {
    fn start(api: FakeApi) -> Self {
        Self::start_in(api, tempfile::tempdir().unwrap())
    }

    fn start_in(api: FakeApi, dir: tempfile::TempDir) -> Self {
        Self::start_with(api, dir, IndexChoice::Free)
    }

    fn start_with(api: FakeApi, dir: tempfile::TempDir, index: IndexChoice) -> Self {
        let cluster = Cluster {
            client: api.client(),
            namespace: None,
            node: "n1".into(),
            index,
            disk_cache: dir.path().join("snapshot.json"),
            health: Arc::default(),
        };
        let (sender, snapshots) = watch::channel(Snapshot::default());
        let stop = CancellationToken::new();
        let token = stop.clone();
        tokio::spawn(async move {
            super::watch(cluster, sender, watch::channel(ApiIdentities::default()).0, token).await.unwrap();
        });
        Self { api, snapshots, stop, dir }
    }

    /// Waits for a snapshot that satisfies `wanted`.
    async fn until(&mut self, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let found = timeout(LIMIT, self.snapshots.wait_for(|snapshot| wanted(snapshot))).await;
        found.expect("no such snapshot").unwrap().clone()
    }

    async fn until_vnis(&mut self, wanted: &[u32]) -> Snapshot {
        self.until(|snapshot| vnis(snapshot) == wanted && !snapshot.node.name.is_empty()).await
    }

    /// Asserts that nothing is sent within `ms`.
    async fn quiet(&mut self, ms: u64) {
        self.snapshots.borrow_and_update();
        let sent = timeout(Duration::from_millis(ms), self.snapshots.changed()).await;
        assert!(sent.is_err(), "sent: {:?}", self.snapshots.borrow());
    }

    async fn until_counted(&self, request: &str, least: usize) {
        let counted = async {
            while self.api.count(request) < least {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(LIMIT, counted).await.unwrap();
    }
}

fn vnis(snapshot: &Snapshot) -> Vec<u32> {
    snapshot.objects.values().filter_map(|object| Some(L3VNISpec::of(&object.spec)?.vni)).collect()
}

fn l3vni(vni: u32) -> Value {
    json!({ "spec": { "asn": 64514, "vni": vni, "vxlanport": 4789 } })
}

fn with_password(secret: &str) -> Value {
    json!({ "spec": { "asn": 64514, "vni": 100, "vxlanport": 4789, "hostasn": 64515,
        "localcidr": { "ipv4": "192.169.10.0/24" }, "hostSession": { "passwordSecret": { "name": secret, "key": "password" } } } })
}

fn secret(password: &str) -> Value {
    let encoded = serde_json::to_value(k8s_openapi::ByteString(password.as_bytes().to_vec())).unwrap();
    json!({ "data": { "password": encoded } })
}

fn server() -> FakeApi {
    let api = FakeApi::new();
    api.apply("nodes", "", "n1", json!({ "metadata": { "labels": { "rack": "a" } } }));
    api.apply("l3vnis", "default", "red", l3vni(100));
    api
}

fn password(snapshot: &Snapshot) -> Option<Result<String, String>> {
    let password = snapshot.secrets.values().next()?;
    Some(password.as_ref().map(|secret| secret.expose().to_owned()).map_err(Clone::clone))
}

#[tokio::test]
async fn lists_then_watches() {
    let mut case = ClusterCase::start(server());
    let snapshot = case.until_vnis(&[100]).await;
    assert_eq!((snapshot.node.index, snapshot.node.labels["rack"].as_str()), (0, "a"));
    let (_, red) = snapshot.of_kind(Kind::L3VNI).next().unwrap();
    assert_eq!((red.generation, red.created), (1, Some(1_767_225_600)));
    case.api.apply("l3vnis", "default", "blue", l3vni(200));
    case.until_vnis(&[200, 100]).await;
    case.api.apply("l3vnis", "default", "red", l3vni(101));
    let changed = case.until_vnis(&[200, 101]).await;
    assert_eq!(changed.of_kind(Kind::L3VNI).nth(1).unwrap().1.generation, 2);
    case.api.delete("l3vnis", "default", "blue");
    case.until_vnis(&[101]).await;
}

#[tokio::test]
async fn the_index_is_that_of_a_label_of_the_node_as_it_was_first() {
    let label = |value: &str| json!({ "metadata": { "labels": { "example.com/index": value } } });
    let by_label = IndexChoice::NodeLabel("example.com/index".into());
    let mut case = ClusterCase::start_with(server(), tempfile::tempdir().unwrap(), by_label);
    for wrong in [None, Some("seven")] {
        if let Some(wrong) = wrong {
            case.api.apply("nodes", "", "n1", label(wrong));
        }
        case.quiet(200).await;
        assert!(case.api.names("nodeindexes").is_empty());
    }
    case.api.apply("nodes", "", "n1", label("7"));
    assert_eq!(case.until_vnis(&[100]).await.node.index, 7);
    case.api.apply("nodes", "", "n1", label("8"));
    let known = case.until(|snapshot| snapshot.node.labels["example.com/index"] == "8").await;
    assert_eq!((known.node.index, case.api.names("nodeindexes")), (7, vec!["7".to_owned()]));
}

#[tokio::test]
async fn a_burst_is_one_snapshot_or_two() {
    let mut case = ClusterCase::start(server());
    case.until_vnis(&[100]).await;
    let (api, mut sent) = (case.api.clone(), 0);
    let burst = tokio::spawn(async move {
        for vni in 1000..1200 {
            api.apply("l3vnis", "default", &format!("v{vni}"), l3vni(vni));
            tokio::task::yield_now().await;
        }
    });
    while vnis(&case.snapshots.borrow_and_update()).len() < 201 {
        timeout(LIMIT, case.snapshots.changed()).await.unwrap().unwrap();
        sent += 1;
    }
    burst.await.unwrap();
    assert!(sent <= 2, "{sent} snapshots");
}

#[rstest::rstest]
#[case::as_an_event(false)]
#[case::as_a_status(true)]
#[tokio::test]
async fn an_expired_watch_lists_again(#[case] gone_as_status: bool) {
    let mut case = ClusterCase::start(server());
    case.until_vnis(&[100]).await;
    case.until_counted("WATCH l3vnis", 1).await;
    case.api.compact(gone_as_status);
    case.api.apply("l3vnis", "default", "blue", l3vni(200));
    case.api.compact(gone_as_status);
    case.until_vnis(&[200, 100]).await;
    case.api.apply("l3vnis", "default", "green", l3vni(300));
    case.until_vnis(&[200, 300, 100]).await;
    assert!(case.api.count("LIST l3vnis") >= 2);
}

#[tokio::test]
async fn a_list_in_progress_deletes_nothing() {
    let mut case = ClusterCase::start(server());
    case.until_vnis(&[100]).await;
    case.until_counted("WATCH l3vnis", 1).await;
    case.api.set_gate(false);
    case.api.compact(false);
    case.until_counted("LIST l3vnis", 2).await;
    case.api.delete("l3vnis", "default", "red");
    case.quiet(300).await;
    assert_eq!(vnis(&case.snapshots.borrow()), [100]);
    case.api.set_gate(true);
    case.until_vnis(&[]).await;
}

#[tokio::test]
async fn nothing_is_sent_before_every_list_is_complete() {
    let api = server();
    api.set_gate(false);
    let mut case = ClusterCase::start(api);
    case.quiet(1500).await;
    case.api.set_gate(true);
    case.until_vnis(&[100]).await;
}

#[tokio::test]
async fn an_unreachable_server_changes_nothing() {
    let mut case = ClusterCase::start(server());
    case.until_vnis(&[100]).await;
    case.api.set_down(true);
    case.quiet(800).await;
    case.api.apply("l3vnis", "default", "blue", l3vni(200));
    case.api.set_down(false);
    case.until_vnis(&[200, 100]).await;
}

#[tokio::test]
async fn a_start_without_server_uses_the_disk_cache() {
    let mut case = ClusterCase::start(server());
    let before = case.until_vnis(&[100]).await;
    case.stop.cancel();
    case.api.set_down(true);
    let dir = std::mem::replace(&mut case.dir, tempfile::tempdir().unwrap());
    let mut again = ClusterCase::start_in(case.api.clone(), dir);
    assert_eq!(again.until_vnis(&[100]).await, before);
    again.api.apply("l3vnis", "default", "blue", l3vni(200));
    again.api.set_down(false);
    assert_eq!(again.until_vnis(&[200, 100]).await.node.index, 0);
    assert_eq!(again.api.names("nodeindexes"), ["0"]);
}

#[tokio::test]
async fn an_invalid_object_is_rejected_and_affects_no_other() {
    let api = server();
    api.apply("l3vnis", "default", "bad", json!({ "spec": { "asn": 0, "vni": 200, "surprise": true } }));
    let mut case = ClusterCase::start(api);
    let snapshot = case.until_vnis(&[100]).await;
    let messages: Vec<String> = snapshot.rejected.iter().map(ToString::to_string).collect();
    assert_eq!(
        messages,
        [
            "L3VNI default/bad: spec.asn: 0 is less than 1: use 1 to 4294967295",
            "L3VNI default/bad: spec.surprise: is not a field: remove it or use one of asn, fromHost, hostReversePathFilter, hostSession, hostasn, \
             localcidr, nodeSelector, routeTargets, toFabric, toHost, underlayAddressFamily, vni, vrf, vxlanport",
        ]
    );
    // The last valid version of an object stays in force.
    case.api.apply("l3vnis", "default", "red", json!({ "spec": { "asn": 64514, "vni": 0 } }));
    let snapshot = case.until(|snapshot| snapshot.rejected.len() == 3).await;
    assert_eq!(vnis(&snapshot), [100]);
    assert!(snapshot.rejected[2].message.contains("; the last valid version of L3VNI default/red stays in force: "));
}

#[tokio::test]
async fn secrets_are_watched_while_they_are_named() {
    let api = server();
    api.apply("l3vnis", "default", "red", with_password("bgp"));
    let mut case = ClusterCase::start(api);
    let missing = "Secret default/bgp does not exist: create Secret default/bgp with the key password";
    assert_eq!(password(&case.until_vnis(&[100]).await), Some(Err(missing.into())));
    case.api.apply("secrets", "default", "bgp", secret("first"));
    case.until(|snapshot| password(snapshot) == Some(Ok("first".into()))).await;
    case.api.apply("secrets", "default", "bgp", secret("second\n"));
    case.until(|snapshot| password(snapshot) == Some(Ok("second".into()))).await;
    case.api.apply("secrets", "default", "other", secret("x"));
    case.quiet(150).await;
    case.api.apply("l3vnis", "default", "red", with_password("other"));
    case.until(|snapshot| password(snapshot) == Some(Ok("x".into()))).await;
    case.api.apply("secrets", "default", "bgp", secret("unseen"));
    case.quiet(150).await;
    case.api.apply("l3vnis", "default", "red", l3vni(100));
    case.until(|snapshot| snapshot.secrets.is_empty()).await;
}

#[tokio::test]
async fn a_forbidden_secret_is_reported() {
    let api = server();
    api.apply("l3vnis", "default", "red", with_password("bgp"));
    api.forbid("secrets");
    let mut case = ClusterCase::start(api);
    let message = password(&case.until_vnis(&[100]).await).unwrap().unwrap_err();
    assert!(message.starts_with("Secret default/bgp cannot be read: ") && message.contains("forbidden"), "{message}");
}

#[tokio::test]
async fn the_password_of_a_secret_that_becomes_forbidden_survives_a_restart() {
    let api = server();
    api.apply("l3vnis", "default", "red", with_password("bgp"));
    api.apply("secrets", "default", "bgp", secret("first"));
    let mut case = ClusterCase::start(api);
    case.until(|snapshot| password(snapshot) == Some(Ok("first".into()))).await;
    case.stop.cancel();
    // An API server that has just started forbids what its roles allow.
    case.api.forbid("secrets");
    let dir = std::mem::replace(&mut case.dir, tempfile::tempdir().unwrap());
    let mut again = ClusterCase::start_in(case.api.clone(), dir);
    assert_eq!(password(&again.until_vnis(&[100]).await), Some(Ok("first".into())));
    again.api.permit("secrets");
    again.api.apply("secrets", "default", "bgp", secret("second"));
    again.until(|snapshot| password(snapshot) == Some(Ok("second".into()))).await;
    // A deletion is no failure of the watch.
    again.api.delete("secrets", "default", "bgp");
    again.until(|snapshot| password(snapshot).is_some_and(|password| password.is_err())).await;
}

#[tokio::test]
async fn a_change_of_metadata_or_status_sends_nothing() {
    let mut case = ClusterCase::start(server());
    case.until_vnis(&[100]).await;
    let heartbeat = json!({ "metadata": { "labels": { "rack": "a" } }, "status": { "beat": 2 } });
    case.api.apply("nodes", "", "n1", heartbeat);
    case.api.apply(
        "l3vnis",
        "default",
        "red",
        json!({ "metadata": { "labels": { "x": "y" } }, "spec": l3vni(100)["spec"] }),
    );
    case.api.cut_watches();
    case.quiet(500).await;
}

#[tokio::test]
async fn fifty_nodes_race_for_fifty_indexes() {
    let api = FakeApi::new();
    let claims = (0..50).map(|n| {
        let claims = Api::all(api.client());
        let node = NodeIndexSpec { node_name: format!("n{n}"), node_uid: format!("u{n}") };
        tokio::spawn(async move { claim(&claims, &node, IndexPreference::LowestFree).await })
    });
    let mut indexes: Vec<u32> = futures::future::join_all(claims).await.into_iter().map(Result::unwrap).collect();
    indexes.sort_unstable();
    assert_eq!(indexes, (0..50).collect::<Vec<_>>());
    let owners: std::collections::BTreeSet<String> = api
        .objects("nodeindexes")
        .iter()
        .map(|claim| claim["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(owners.len(), 50);
}

/// Its owner may never have existed, so that garbage collection never deletes it.
#[tokio::test(start_paused = true)]
async fn a_claim_of_a_former_node_is_replaced_and_the_index_stays() {
    let api = FakeApi::new();
    let node = |name: &str, uid: &str| NodeIndexSpec { node_name: name.into(), node_uid: uid.into() };
    let claims = || Api::all(api.client());
    assert_eq!(claim(&claims(), &node("n0", "u0"), IndexPreference::LowestFree).await, 0);
    assert_eq!(claim(&claims(), &node("n1", "old"), IndexPreference::LowestFree).await, 1);
    api.delete("nodeindexes", "", "0");
    for preference in [IndexPreference::LowestFree, IndexPreference::Previous(1), IndexPreference::Fixed(1)] {
        let uid = format!("{preference:?}");
        assert_eq!(claim(&claims(), &node("n1", &uid), preference).await, 1);
        let [claim] = &api.objects("nodeindexes")[..] else { panic!("not one claim") };
        assert_eq!(claim["metadata"]["ownerReferences"][0]["uid"], uid);
    }
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_another_node_is_never_deleted() {
    let api = FakeApi::new();
    let node = |name: &str| NodeIndexSpec { node_name: name.into(), node_uid: name.into() };
    assert_eq!(claim(&Api::all(api.client()), &node("n1"), IndexPreference::LowestFree).await, 0);
    let claims = Api::all(api.client());
    let other = tokio::spawn(async move { claim(&claims, &node("n2"), IndexPreference::Fixed(0)).await });
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(!other.is_finished());
    assert_eq!(api.count("DELETE nodeindexes"), 0);
    other.abort();
}
