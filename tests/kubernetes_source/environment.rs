//! The environment of every step: a control plane with `deploy/` applied, and a client with the token and the rights of the
//! controller.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use perouter_lab::kubernetes::{ControlPlane, Kubectl, Options};
use serde_json::{Value, json};

use super::audit::Audit;
use crate::kubernetes::control_plane;

pub(crate) const NAMESPACE: &str = "openperouter-system";
pub(crate) const GROUP: &str = "openpe.openperouter.github.io";
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

pub(crate) struct Environment {
    pub(crate) plane: ControlPlane,
    pub(crate) admin: Kubectl,
    pub(crate) audit: Audit,
    controllers: Mutex<BTreeMap<String, Kubectl>>,
    state_dir: tempfile::TempDir,
}

impl Environment {
    /// `None` where the control plane is not built.
    pub(crate) fn new() -> Option<Self> {
        let start = Instant::now();
        let audit = Audit::new();
        // Every second, not every five minutes: no step may depend on the history of etcd.
        let mut flags = vec!["--etcd-compaction-interval=1s".to_owned()];
        flags.extend(audit.flags());
        let controllers = vec!["garbage-collector-controller".to_owned()];
        let plane = control_plane(Options { controllers, api_server: flags, ..Options::on_machine() })?;
        eprintln!("control plane: {:.1} s", start.elapsed().as_secs_f64());
        let admin = plane.kubectl();
        admin.check(&["apply", "--server-side", "-k", "deploy"]).unwrap();
        admin.check(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]).unwrap();
        Some(Self { plane, admin, audit, controllers: Mutex::default(), state_dir: tempfile::tempdir().unwrap() })
    }

    /// The client of the controller of a node, with the token of its Pod.
    pub(crate) async fn controller_of(&self, node: &str) -> Client {
        self.controller_via(node, &self.plane.url()).await
    }

    /// The same, connecting to another address of the API server.
    pub(crate) async fn controller_via(&self, node: &str, url: &str) -> Client {
        client(self.kubectl_of(node).kubeconfig(), url).await
    }

    /// kubectl with the token of the Pod of the controller of a node. The first call for a node needs the API server.
    pub(crate) fn kubectl_of(&self, node: &str) -> Kubectl {
        self.controllers.lock().unwrap().entry(node.to_owned()).or_insert_with(|| self.new_controller(node)).clone()
    }

    fn new_controller(&self, node: &str) -> Kubectl {
        let pod = format!("controller-{node}");
        let container = json!({ "name": "controller", "image": "perouter" });
        let spec = json!({ "serviceAccountName": "controller", "nodeName": node, "containers": [container] });
        let metadata = json!({ "name": pod, "namespace": NAMESPACE });
        let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec });
        self.admin.apply(&object.to_string()).unwrap();
        self.plane.kubectl_of_pod(NAMESPACE, "controller", &pod).unwrap()
    }

    /// The disk cache of the source of a node.
    pub(crate) fn disk_cache(&self, node: &str) -> PathBuf {
        self.state_dir.path().join(format!("{node}.json"))
    }

    /// Objects, read by the administrator.
    pub(crate) fn get(&self, args: &[&str]) -> Value {
        let args: Vec<&str> = ["get", "-o", "json"].iter().chain(args).copied().collect();
        serde_json::from_str(&self.admin.check(&args).unwrap()).unwrap()
    }

    pub(crate) fn apply(&self, objects: &[Value]) {
        self.admin.apply(&list(objects)).unwrap();
    }

    pub(crate) fn delete_l3vnis(&self) {
        self.admin.check(&["-n", NAMESPACE, "delete", "l3vni", "--all", "--wait=false"]).unwrap();
    }

    /// The response within two seconds to a watch of L3VNIs from a resource version on.
    pub(crate) fn watch_from(&self, version: &str) -> String {
        let query = format!("watch=1&resourceVersion={version}&timeoutSeconds=2");
        let path = format!("/apis/{GROUP}/v1alpha1/namespaces/{NAMESPACE}/l3vnis?{query}");
        let output = self.admin.run(&["get", "--raw", &path]).unwrap();
        output.stdout + &output.stderr
    }
}

async fn client(kubeconfig: &Path, url: &str) -> Client {
    let file = Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.unwrap();
    config.cluster_url = url.parse().unwrap();
    Client::try_from(config).unwrap()
}

pub(crate) fn node(name: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": { "rack": "a" } } })
}

pub(crate) fn l3vni(vni: u32) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "L3VNI",
        "metadata": { "name": format!("v{vni}"), "namespace": NAMESPACE }, "spec": { "asn": 64514, "vni": vni },
    })
}

pub(crate) fn list(items: &[Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": items }).to_string()
}

/// Files of the examples with objects of our group.
pub(crate) fn examples() -> Vec<PathBuf> {
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

pub(crate) async fn step<T>(name: &str, work: impl Future<Output = T>) -> T {
    let start = Instant::now();
    let done = work.await;
    eprintln!("{name}: {:.1} s", start.elapsed().as_secs_f64());
    done
}

pub(crate) async fn until(what: &str, condition: impl FnMut() -> bool) {
    until_within(LIMIT, what, condition).await;
}

pub(crate) async fn until_within(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < limit, "{what}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
