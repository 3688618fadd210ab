//! Installation and rolling updates by kubectl. In: a lab without perouter, images. Out: the `DaemonSets` as they say.

use perouter_lab::kubernetes::{Kubectl, LabCluster};
use serde_json::{Value, json};

use super::pods::{DEPLOYED, PREVIOUS};
use crate::cluster_fixture::{ClusterFixture, NAMESPACE, path};
use crate::lab::fixture::{NODES, Setup};

/// `kubectl kustomize deploy` with the previous image, each object as `edit` leaves it, and the objects of `setup`; waits for the
/// services.
pub fn install_previous(lab: &mut ClusterFixture, setup: &Setup, edit: impl Fn(&mut Value)) {
    let text = lab.kubectl(&["kustomize", &path("deploy")]).replace(DEPLOYED, PREVIOUS);
    let mut objects: Vec<Value> =
        perouter::source::yaml::parse(&text).unwrap().iter().map(perouter::source::yaml::YamlNode::to_value).collect();
    objects.iter_mut().for_each(edit);
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    lab.cluster.kubectl().check_with_input(&["apply", "--server-side", "-f", "-"], &list).unwrap();
    lab.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
    setup.objects.values().for_each(|text| drop(lab.apply(text)));
    await_rollout(lab, "router");
    await_rollout(lab, "controller");
    lab.read_indexes();
    lab.fixture.start_hosts();
    lab.fixture.await_services();
}

/// Runs kubectl and waits until all Pods of the `DaemonSet` are as it says.
pub fn roll_out(lab: &mut ClusterFixture, daemon_set: &str, words: &[&str]) {
    lab.kubectl(&[&["--namespace", NAMESPACE], words].concat());
    await_rollout(lab, daemon_set);
}

/// Another image for a `DaemonSet` and its container of the same name.
pub fn roll_out_image(lab: &mut ClusterFixture, daemon_set: &str, image: &str) {
    let (object, container) = (format!("daemonset/{daemon_set}"), format!("{daemon_set}={image}"));
    roll_out(lab, daemon_set, &["set", "image", &object, &container]);
}

/// Waits until all Pods of the `DaemonSet` are as it says.
pub fn await_rollout(lab: &mut ClusterFixture, daemon_set: &str) {
    let kubectl = lab.cluster.kubectl();
    let is_done = |_: &mut LabCluster| {
        let object = daemon_set_object(&kubectl, daemon_set);
        let (status, nodes) = (&object["status"], json!(NODES.len()));
        status["observedGeneration"] == object["metadata"]["generation"]
            && status["updatedNumberScheduled"] == nodes
            && status["numberAvailable"] == nodes
    };
    lab.cluster.sync_until(&format!("the rollout of {daemon_set}"), is_done).unwrap();
}

/// A `DaemonSet` of perouter.
pub fn daemon_set_object(kubectl: &Kubectl, name: &str) -> Value {
    let words = ["--namespace", NAMESPACE, "get", "daemonset", name, "-o", "json"];
    serde_json::from_str(&kubectl.check(&words).unwrap()).unwrap()
}
