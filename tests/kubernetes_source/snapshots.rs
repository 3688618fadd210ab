//! Snapshots of a cluster: the same as those of a directory with the same objects, one for a burst, a new one for a changed
//! password.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Instant;

use kube::Client;
use perouter::kind::Kind;
use perouter::snapshot::{ApiIdentities, NodeIdentity, Snapshot};
use perouter::source::kube::{Cluster, IndexChoice, watch as watch_cluster};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::environment::{Environment, LIMIT, NAMESPACE, examples, l3vni, list, node, until};

/// A running source.
pub(crate) struct Source {
    pub(crate) snapshots: watch::Receiver<Snapshot>,
    pub(crate) identities: watch::Receiver<ApiIdentities>,
    stop: CancellationToken,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Source {
    /// Starts the source of a node with the client of the controller.
    pub(crate) async fn start(environment: &Environment, node: &str) -> Self {
        Self::start_with(environment, node, environment.controller_of(node).await)
    }

    pub(crate) fn start_with(environment: &Environment, node: &str, client: Client) -> Self {
        let cluster = cluster(environment, node, client);
        let (sender, snapshots) = watch::channel(Snapshot::default());
        let (identity_sender, identities) = watch::channel(ApiIdentities::default());
        let stop = CancellationToken::new();
        let token = stop.clone();
        tokio::spawn(async move { watch_cluster(cluster, sender, identity_sender, token).await.unwrap() });
        Self { snapshots, identities, stop }
    }

    pub(crate) async fn until(&mut self, what: &str, wanted: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let known = |snapshot: &Snapshot| !snapshot.node.name.is_empty() && wanted(snapshot);
        let found = timeout(LIMIT, self.snapshots.wait_for(known)).await.map(|found| found.unwrap().clone());
        found.unwrap_or_else(|_| panic!("{what}: last snapshot {:#?}", self.snapshots.borrow()))
    }
}

fn cluster(environment: &Environment, node: &str, client: Client) -> Cluster {
    Cluster {
        client,
        namespace: Some(NAMESPACE.to_owned()),
        node: node.to_owned(),
        index: IndexChoice::Free,
        disk_cache: environment.disk_cache(node),
        health: Arc::default(),
    }
}

/// What `perouter plan` reads of a node that no controller has run on: with the rights of a controller, and without a claim.
pub(crate) async fn one_read_claims_nothing(environment: &Environment) {
    environment.apply(&[node("n9")]);
    let cluster = cluster(environment, "n9", environment.controller_of("n9").await);
    let before = environment.get(&["nodeindexes"])["items"].clone();
    let read = perouter::source::kube::read(&cluster).await.unwrap().snapshot;
    let is_claimed =
        |index: u32| before.as_array().unwrap().iter().any(|claim| claim["metadata"]["name"] == *index.to_string());
    let lowest = (0..1000).find(|index| !is_claimed(*index)).unwrap();
    assert_eq!((read.node.name.as_str(), read.node.index, read.node.labels["rack"].as_str()), ("n9", lowest, "a"));
    assert_eq!(environment.get(&["nodeindexes"])["items"], before);
    assert!(!cluster.disk_cache.exists());
    environment.admin.check(&["delete", "node", "n9"]).unwrap();
}

pub(crate) async fn examples_are_the_same_from_both_sources(environment: &Environment) {
    environment.apply(&[node("n1")]);
    let mut source = Source::start(environment, "n1").await;
    let files = examples();
    assert!(files.len() >= 7, "{files:?}");
    for file in files {
        let dir = tempfile::tempdir().unwrap();
        fs::copy(&file, dir.path().join("openpe.yaml")).unwrap();
        let identity = NodeIdentity { name: "n1".into(), index: 0, labels: [("rack".into(), "a".into())].into() };
        let secrets = dir.path().join("secrets");
        // The Secrets that objects name, the same for both.
        let named = perouter::source::read(dir.path(), &secrets, &identity).unwrap().secrets;
        let mut bodies: BTreeMap<String, Value> = BTreeMap::new();
        for (number, key) in named.keys().enumerate() {
            let password = format!("password-{number}");
            fs::create_dir_all(secrets.join(&key.name)).unwrap();
            let path = secrets.join(&key.name).join(&key.key);
            fs::write(&path, &password).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            bodies.entry(key.name.clone()).or_insert_with(|| {
                json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": key.name, "namespace": NAMESPACE }, "stringData": {} })
            })["stringData"][&key.key] = json!(password);
        }
        let bodies: Vec<Value> = bodies.into_values().collect();
        if !bodies.is_empty() {
            environment.apply(&bodies);
        }
        let mut wanted = perouter::source::read(dir.path(), &secrets, &identity).unwrap();
        wanted.objects.values_mut().for_each(|object| object.location = None);
        let file = file.to_str().unwrap();
        environment.admin.check(&["apply", "-f", file]).unwrap();
        let same = |snapshot: &Snapshot| {
            let mut snapshot = snapshot.clone();
            assert!(snapshot.objects.values().all(|object| object.created.is_some()));
            snapshot.objects.values_mut().for_each(|object| object.created = None);
            snapshot == wanted
        };
        let watched = source.until(&format!("{file}, wanted {wanted:#?}"), same).await;
        let cluster = cluster(environment, "n1", environment.controller_of("n1").await);
        assert_eq!(perouter::source::kube::read(&cluster).await.unwrap().snapshot, watched, "one read of {file}");
        environment.admin.check(&["delete", "-f", file]).unwrap();
        source.until(file, |snapshot| snapshot.objects.is_empty()).await;
    }
}

pub(crate) async fn a_burst_is_one_snapshot_or_two(environment: &Environment) {
    let mut source = Source::start(environment, "n1").await;
    source.until("start", |_| true).await;
    let objects: Vec<Value> = (1000..1200).map(l3vni).collect();
    let admin = environment.admin.clone();
    let apply =
        tokio::task::spawn_blocking(move || admin.run_with_input(&["create", "-f", "-"], &list(&objects)).unwrap());
    let (mut sent, start) = (0, Instant::now());
    while source.snapshots.borrow_and_update().objects.len() < 200 {
        timeout(LIMIT, source.snapshots.changed()).await.unwrap().unwrap();
        sent += 1;
    }
    let took = start.elapsed();
    assert!(apply.await.unwrap().success());
    // One or two; on a busy machine kubectl may pause for longer than a burst lasts.
    assert!(sent <= 5, "{sent} snapshots");
    eprintln!("200 L3VNIs: {sent} snapshots within {:.1} s of kubectl's start", took.as_secs_f64());
    environment.delete_l3vnis();
    source.until("deletion", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == 0).await;
}

/// With the right to read this Secret and this Node only: the source lists and watches each by its name.
pub(crate) async fn a_changed_secret_is_read(environment: &Environment) {
    let rights = |role: &str, change: &str| {
        environment.admin.check(&["-n", NAMESPACE, "patch", role, "--type=json", "-p", change]).unwrap();
    };
    let may = |resource: &str| {
        let account = format!("--as=system:serviceaccount:{NAMESPACE}:controller");
        let output = environment.admin.run(&["-n", NAMESPACE, "auth", "can-i", "watch", resource, &account]).unwrap();
        output.stdout.trim() == "yes"
    };
    let (secrets, nodes) = ("role/controller", "clusterrole/perouter-controller");
    rights(secrets, r#"[{"op": "add", "path": "/rules/1/resourceNames", "value": ["rotated"]}]"#);
    rights(nodes, r#"[{"op": "add", "path": "/rules/0/resourceNames", "value": ["n1"]}]"#);
    until("the rights are not narrowed", || {
        may("secrets/rotated") && !may("secrets") && may("nodes/n1") && !may("nodes")
    })
    .await;
    with_the_right_to_read_it(environment).await;
    rights(secrets, r#"[{"op": "remove", "path": "/rules/1/resourceNames"}]"#);
    rights(nodes, r#"[{"op": "remove", "path": "/rules/0/resourceNames"}]"#);
    until("the rights are not widened", || may("secrets") && may("nodes")).await;
}

async fn with_the_right_to_read_it(environment: &Environment) {
    let mut source = Source::start(environment, "n1").await;
    let mut object = l3vni(100);
    object["spec"]["localcidr"] = json!({ "ipv4": "192.169.10.0/24" });
    object["spec"]["hostSession"] = json!({ "passwordSecret": { "name": "rotated", "key": "password" } });
    environment.apply(&[object]);
    let password = |snapshot: &Snapshot| -> Option<Result<String, String>> {
        let password = snapshot.secrets.values().next()?;
        Some(password.as_ref().map(|secret| secret.expose().to_owned()).map_err(Clone::clone))
    };
    source
        .until(
            "missing",
            |snapshot| matches!(password(snapshot), Some(Err(message)) if message.contains("does not exist")),
        )
        .await;
    for value in ["first", "second"] {
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "rotated", "namespace": NAMESPACE },
            "stringData": { "password": value } });
        environment.apply(&[secret]);
        source.until(value, |snapshot| password(snapshot) == Some(Ok(value.to_owned()))).await;
    }
    environment.delete_l3vnis();
    source.until("deletion", |snapshot| snapshot.of_kind(Kind::L3VNI).count() == 0).await;
}
