//! Source, node index and status on a real etcd and kube-apiserver with RBAC, with the rights of the table in
//! `source::kube` and no other. Left out, with the reason, where the programs are not built; an error where `CI=true`.
//! The steps share one control plane: starting it takes longer than all of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use perouter::snapshot::{ApiIdentities, Kind, NodeIdentity, ObjectRef, Snapshot};
use perouter::source::kube::{Cluster, watch as watch_cluster};
use perouter::status::NodeStatus;
use perouter::status::model::{PassSummary, Resource, State};
use perouter::types::VrfMode;
use perouter_lab::kubernetes::{Assets, ControlPlane, Kubectl, Options};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "openperouter-system";
const GROUP: &str = "openpe.openperouter.github.io";
const LIMIT: Duration = Duration::from_secs(90);

/// The control plane, or `None` where there are no programs for it.
fn control_plane() -> Option<ControlPlane> {
    let assets = match Assets::control_plane(Path::new(env!("CARGO_MANIFEST_DIR"))) {
        Ok(assets) => assets,
        Err(reason) => {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
            eprintln!("left out: {reason}");
            return None;
        }
    };
    let controllers = vec!["garbage-collector-controller".to_owned()];
    Some(ControlPlane::start(assets, Options { controllers, ..Options::on_machine() }).unwrap())
}

/// A source at work.
struct Source {
    snapshots: watch::Receiver<Snapshot>,
    identities: watch::Receiver<ApiIdentities>,
    stop: CancellationToken,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Source {
    fn start(client: &Client, node: &str, dir: &Path) -> Self {
        let cluster = Cluster {
            client: client.clone(),
            namespace: Some(NAMESPACE.to_owned()),
            node: node.to_owned(),
            index: None,
            kept: dir.join(format!("{node}.json")),
        };
        let (sender, snapshots) = watch::channel(Snapshot::default());
        let (tell, identities) = watch::channel(ApiIdentities::default());
        let stop = CancellationToken::new();
        let token = stop.clone();
        tokio::spawn(async move { watch_cluster(cluster, sender, tell, token).await.unwrap() });
        Self { snapshots, identities, stop }
    }

    async fn until(&mut self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let known = |snapshot: &Snapshot| !snapshot.node.name.is_empty() && wanted(snapshot);
        let found = timeout(LIMIT, self.snapshots.wait_for(known)).await.map(|found| found.unwrap().clone());
        found.unwrap_or_else(|_| panic!("{what}: at last {:#?}", self.snapshots.borrow()))
    }
}

async fn client(kubectl: &Kubectl) -> Client {
    let file = Kubeconfig::read_from(kubectl.kubeconfig()).unwrap();
    let config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

fn node(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": { "rack": "a" } } })
}

fn l3vni(vni: u32) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "L3VNI",
        "metadata": { "name": format!("v{vni}"), "namespace": NAMESPACE }, "spec": { "asn": 64514, "vni": vni },
    })
}

fn list(items: &[Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// The rights of the table in `source::kube`.
fn rights() -> String {
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({ "apiGroups": [group], "resources": resources, "verbs": verbs });
    let cluster = [
        rule("", &["nodes"], &["list", "watch"]),
        rule(GROUP, &["nodeindexes"], &["list", "create"]),
        rule(GROUP, &["routernodestatuses"], &["get", "create"]),
        rule(GROUP, &["routernodestatuses/status"], &["patch"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
    ];
    let namespaced =
        [rule(GROUP, &["underlays", "l3vnis"], &["list", "watch"]), rule("", &["secrets"], &["list", "watch"])];
    let rbac = "rbac.authorization.k8s.io";
    let subject = json!([{ "kind": "ServiceAccount", "name": "controller", "namespace": NAMESPACE }]);
    let version = format!("{rbac}/v1");
    list(&[
        json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "controller", "namespace": NAMESPACE } }),
        json!({ "apiVersion": version, "kind": "ClusterRole", "metadata": { "name": "perouter" }, "rules": cluster }),
        json!({ "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": { "name": "perouter" }, "subjects": subject,
            "roleRef": { "apiGroup": rbac, "kind": "ClusterRole", "name": "perouter" } }),
        json!({ "apiVersion": version, "kind": "Role", "metadata": { "name": "perouter", "namespace": NAMESPACE }, "rules": namespaced }),
        json!({ "apiVersion": version, "kind": "RoleBinding", "metadata": { "name": "perouter", "namespace": NAMESPACE },
            "subjects": subject, "roleRef": { "apiGroup": rbac, "kind": "Role", "name": "perouter" } }),
    ])
}

/// Everything that the steps share.
struct Place {
    plane: ControlPlane,
    admin: Kubectl,
    controller: Client,
    dir: tempfile::TempDir,
}

impl Place {
    async fn new(plane: ControlPlane) -> Self {
        let admin = plane.kubectl();
        let crds: Vec<String> = perouter::api::crds::crds().unwrap().into_iter().map(|(_, yaml)| yaml).collect();
        let said = admin.apply(&crds.join("---\n")).unwrap();
        assert!(!said.contains("Warning"), "{said}");
        admin.check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
        admin.check(&["create", "namespace", NAMESPACE]).unwrap();
        admin.apply(&rights()).unwrap();
        let controller = client(&plane.kubectl_of(NAMESPACE, "controller").unwrap()).await;
        Self { plane, admin, controller, dir: tempfile::tempdir().unwrap() }
    }

    fn source(&self, node: &str) -> Source {
        Source::start(&self.controller, node, self.dir.path())
    }

    fn get(&self, words: &[&str]) -> Value {
        let words: Vec<&str> = ["get", "-o", "json"].iter().chain(words).copied().collect();
        serde_json::from_str(&self.admin.check(&words).unwrap()).unwrap()
    }
}

async fn step<T>(name: &str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let done = work.await;
    eprintln!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_real_api_server() {
    let start = Instant::now();
    let Some(plane) = control_plane() else { return };
    eprintln!("control plane: {:.1} s", start.elapsed().as_secs_f64());
    let mut place = step("CRDs, namespace, rights", Place::new(plane)).await;
    step("parity of the examples", examples_are_the_same_from_both_sources(&place)).await;
    step("200 objects in one call", a_burst_is_one_snapshot_or_two(&place)).await;
    step("Secret rotated", a_rotated_secret_is_seen(&place)).await;
    step("status and events", the_status_is_for_kubectl(&place)).await;
    step("race of 50 nodes", fifty_nodes_get_fifty_indexes(&place)).await;
    claims_are_guarded(&place);
    step("API server away", the_server_goes_and_comes_back(&mut place)).await;
}

/// Files of the examples that hold objects of ours.
fn examples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut files: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .flat_map(|dir| fs::read_dir(dir.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.is_file() && fs::read_to_string(path).unwrap().contains(&format!("{GROUP}/")))
        .collect();
    files.sort();
    files
}

async fn examples_are_the_same_from_both_sources(place: &Place) {
    place.admin.apply(&node("n1").to_string()).unwrap();
    let mut source = place.source("n1");
    let files = examples();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(&file, dir.path().join("openpe.yaml")).unwrap();
        let identity = NodeIdentity { name: "n1".into(), index: 0, labels: [("rack".into(), "a".into())].into() };
        let secrets = dir.path().join("secrets");
        // Every Secret that an object names, the same for both.
        let named = perouter::source::read(dir.path(), &secrets, &identity).unwrap().secrets;
        let mut bodies: BTreeMap<String, Value> = BTreeMap::new();
        for (number, key) in named.keys().enumerate() {
            let word = format!("word-{number}");
            fs::create_dir_all(secrets.join(&key.name)).unwrap();
            let path = secrets.join(&key.name).join(&key.key);
            fs::write(&path, &word).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            bodies.entry(key.name.clone()).or_insert_with(|| {
                json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": key.name, "namespace": NAMESPACE }, "stringData": {} })
            })["stringData"][&key.key] = json!(word);
        }
        let bodies: Vec<Value> = bodies.into_values().collect();
        if !bodies.is_empty() {
            place.admin.apply(&list(&bodies)).unwrap();
        }
        let wanted = perouter::source::read(dir.path(), &secrets, &identity).unwrap();
        let file = file.to_str().unwrap();
        place.admin.check(&["apply", "-f", file]).unwrap();
        let same = |snapshot: &Snapshot| {
            let mut snapshot = snapshot.clone();
            assert!(snapshot.underlays.iter().all(|object| object.created.is_some()));
            snapshot.underlays.iter_mut().for_each(|object| object.created = None);
            snapshot.l3vnis.iter_mut().for_each(|object| object.created = None);
            snapshot == wanted
        };
        source.until(&format!("{file}, wanted {wanted:#?}"), same).await;
        place.admin.check(&["delete", "-f", file]).unwrap();
        source.until(file, |snapshot| snapshot.underlays.is_empty() && snapshot.l3vnis.is_empty()).await;
    }
}

async fn a_burst_is_one_snapshot_or_two(place: &Place) {
    let mut source = place.source("n1");
    source.until("start", |_| true).await;
    let objects: Vec<Value> = (1000..1200).map(l3vni).collect();
    let admin = place.admin.clone();
    let apply = tokio::task::spawn_blocking(move || admin.feed(&["create", "-f", "-"], &list(&objects)).unwrap());
    let (mut sent, start) = (0, Instant::now());
    while source.snapshots.borrow_and_update().l3vnis.len() < 200 {
        timeout(LIMIT, source.snapshots.changed()).await.unwrap().unwrap();
        sent += 1;
    }
    let took = start.elapsed();
    assert!(apply.await.unwrap().success());
    // One or two; on a busy machine kubectl pauses for longer than a burst may.
    assert!(sent <= 5, "{sent} snapshots");
    eprintln!("200 L3VNIs: {sent} snapshots within {:.1} s of kubectl's start", took.as_secs_f64());
    place.admin.check(&["-n", NAMESPACE, "delete", "l3vni", "--all", "--wait=false"]).unwrap();
    source.until("deletion", |snapshot| snapshot.l3vnis.is_empty()).await;
}

async fn a_rotated_secret_is_seen(place: &Place) {
    let mut source = place.source("n1");
    let mut object = l3vni(100);
    object["spec"]["localcidr"] = json!({ "ipv4": "192.169.10.0/24" });
    object["spec"]["hostSession"] = json!({ "passwordSecret": { "name": "rotated", "key": "password" } });
    place.admin.apply(&object.to_string()).unwrap();
    let word = |snapshot: &Snapshot| -> Option<Result<String, String>> {
        let word = snapshot.secrets.values().next()?;
        Some(word.as_ref().map(|secret| secret.expose().to_owned()).map_err(Clone::clone))
    };
    source
        .until("missing", |snapshot| matches!(word(snapshot), Some(Err(why)) if why.contains("does not exist")))
        .await;
    for value in ["first", "second"] {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "rotated", "namespace": NAMESPACE },
            "stringData": { "password": value } });
        place.admin.apply(&secret.to_string()).unwrap();
        source.until(value, |snapshot| word(snapshot) == Some(Ok(value.to_owned()))).await;
    }
    place.admin.check(&["-n", NAMESPACE, "delete", "l3vni", "--all", "--wait=false"]).unwrap();
    source.until("deletion", |snapshot| snapshot.l3vnis.is_empty()).await;
}

fn status(rejected: bool) -> NodeStatus {
    let resource = Resource {
        kind: Kind::L3VNI,
        namespace: NAMESPACE.into(),
        name: "v100".into(),
        generation: Some(1),
        state: if rejected { State::Rejected } else { State::Ready },
        reason: if rejected { "PoolTooSmall" } else { "Applied" }.into(),
        message: if rejected { "no address for index 0".into() } else { String::new() },
        location: None,
        held: false,
    };
    NodeStatus {
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
        sessions: Vec::new(),
        foreign_lines: Vec::new(),
        last_change: PassSummary::default(),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LIMIT, "{what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn the_status_is_for_kubectl(place: &Place) {
    place.admin.apply(&l3vni(100).to_string()).unwrap();
    let mut source = place.source("n1");
    source.until("start", |snapshot| snapshot.l3vnis.len() == 1).await;
    let v100 = ObjectRef { kind: Kind::L3VNI, namespace: NAMESPACE.into(), name: "v100".into() };
    timeout(LIMIT, source.identities.wait_for(|known| known.objects.contains_key(&v100))).await.unwrap().unwrap();
    let statuses = watch::Sender::new(Some(status(true)));
    let stop = CancellationToken::new();
    let (receiver, known) = (statuses.subscribe(), source.identities.clone());
    let publisher =
        perouter::status::kubernetes::publish(place.controller.clone(), "n1".into(), receiver, known, stop.clone());
    tokio::spawn(publisher);
    statuses.send_replace(Some(status(true)));
    let row = || place.admin.run(&["get", "rns", "n1", "--no-headers"]).map(|output| output.stdout).unwrap_or_default();
    until("no status", || row().contains("8.4.4")).await;
    let words: Vec<String> = row().split_whitespace().map(str::to_owned).collect();
    assert_eq!(words[..8], ["n1", "True", "True", "0", "100.65.0.1", "netns", "8.4.4", "0/0"]);
    eprint!("{}", place.admin.check(&["get", "rns", "-o", "wide"]).unwrap());
    let describe = || place.admin.check(&["-n", NAMESPACE, "describe", "l3vni", "v100"]).unwrap();
    until("no event", || describe().contains("node n1: PoolTooSmall: no address for index 0")).await;
    statuses.send_replace(Some(status(false)));
    until("no recovery", || describe().contains("Recovered")).await;
    let version = || place.get(&["rns", "n1"])["metadata"]["resourceVersion"].clone();
    let before = version();
    for time in 1..10 {
        statuses.send_replace(Some(NodeStatus { observed_time: time, ..status(false) }));
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(version(), before);
    // The status of a router never concerns its configuration.
    assert!(!source.snapshots.has_changed().unwrap());
    stop.cancel();
    place.admin.check(&["-n", NAMESPACE, "delete", "l3vni", "--all", "--wait=false"]).unwrap();
}

async fn fifty_nodes_get_fifty_indexes(place: &Place) {
    let names: Vec<String> = (0..50).map(|n| format!("race-{n}")).collect();
    let nodes: Vec<Value> = names.iter().map(|name| node(name)).collect();
    place.admin.apply(&list(&nodes)).unwrap();
    let mut sources: Vec<Source> = names.iter().map(|name| place.source(name)).collect();
    let mut indexes = BTreeSet::new();
    for source in &mut sources {
        indexes.insert(source.until("no index", |_| true).await.node.index);
    }
    // Index 0 is that of n1.
    assert_eq!(indexes, (1..=50).collect());
    drop(sources);
    // Stable over a restart without anything kept.
    let index = |name: &str| -> Option<u32> {
        let claims = place.get(&["nodeindexes"]);
        let claim = claims["items"].as_array()?.iter().find(|claim| claim["spec"]["nodeName"] == name)?;
        claim["metadata"]["name"].as_str()?.parse().ok()
    };
    let before = index("race-7");
    fs::remove_file(place.dir.path().join("race-7.json")).unwrap();
    let again = place.source("race-7").until("no index again", |_| true).await;
    assert_eq!(Some(again.node.index), before);
    // Freed with the Node, and taken by the next one.
    place.admin.check(&["delete", "node", "race-7"]).unwrap();
    until("the claim outlives its Node", || index("race-7").is_none()).await;
    place.admin.apply(&node("late").to_string()).unwrap();
    let late = place.source("late").until("no index for the late node", |_| true).await;
    assert_eq!(Some(late.node.index), before);
}

fn claims_are_guarded(place: &Place) {
    let claim = |name: &str| {
        json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "NodeIndex", "metadata": { "name": name },
            "spec": { "nodeName": "x", "nodeUID": "y" } })
    };
    let refused = place.admin.apply(&claim("seven").to_string()).unwrap_err().to_string();
    assert!(refused.contains("the name is no index: use a whole number"), "{refused}");
    let words = ["patch", "nodeindex", "0", "--type=merge", "-p", r#"{"spec":{"nodeName":"thief"}}"#];
    let refused = place.admin.run(&words).unwrap().stderr;
    assert!(refused.contains("a claim does not change"), "{refused}");
}

async fn the_server_goes_and_comes_back(place: &mut Place) {
    place.admin.apply(&list(&[l3vni(100), l3vni(200)])).unwrap();
    let mut source = place.source("n1");
    let before = source.until("start", |snapshot| snapshot.l3vnis.len() == 2).await;
    place.plane.stop_api_server().unwrap();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(!source.snapshots.has_changed().unwrap());
    // A start without the server.
    let mut alone = place.source("n1");
    let kept = alone.until("nothing kept", |_| true).await;
    assert_eq!(kept, before);
    place.plane.start_api_server().unwrap();
    place.admin.apply(&l3vni(300).to_string()).unwrap();
    let start = Instant::now();
    for source in [&mut source, &mut alone] {
        source.until("did not come back", |snapshot| snapshot.l3vnis.len() == 3).await;
    }
    eprintln!("API server back: seen after {:.1} s", start.elapsed().as_secs_f64());
    assert_eq!(source.snapshots.borrow().node.index, 0);
}
