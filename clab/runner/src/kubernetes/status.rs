//! The status of a Pod.
//!
//! In: what runs of it. Out: the object that a kubelet applies. It must not send it.

use serde_json::{Value, json};
use std::net::IpAddr;

use super::containers::{ContainerCondition, ContainerPod};
use super::pod::{Container, Pod};
use super::programs::Programs;

/// Condition of a Pod's containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodCondition {
    initialized: bool,
    containers: Vec<ContainerCondition>,
}

impl PodCondition {
    /// Of containers.
    pub(super) fn of_containers(pod: &ContainerPod) -> Self {
        Self { initialized: pod.initialized(), containers: pod.conditions() }
    }

    /// Of processes: one that is started is ready.
    pub(super) fn of_processes(pod: &Pod, programs: &Programs) -> Self {
        let is_single = pod.containers.len() == 1;
        let condition = |container: &Container| {
            let ready = is_single || programs.of(container).is_some();
            ContainerCondition { name: container.name.clone(), restarts: 0, running: true, started: ready, ready }
        };
        Self { initialized: true, containers: pod.containers.iter().map(condition).collect() }
    }

    fn is_ready(&self) -> bool {
        self.initialized && self.containers.iter().all(|container| container.ready)
    }
}

/// Whether a status says that the Pod is ready.
pub(super) fn is_ready(status: &Value) -> bool {
    let conditions = status["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// A status whose conditions have been so since this time: `minReadySeconds` of a workload counts from there.
pub(super) fn with_time(mut status: Value, since: &str) -> Value {
    for condition in status["status"]["conditions"].as_array_mut().into_iter().flatten() {
        condition["lastTransitionTime"] = since.into();
    }
    status
}

/// The status of a Pod. A Pod of processes is ready although a process is missing that the lab does not have.
pub(super) fn of(pod: &Pod, condition: &PodCondition, all_count: bool, own: IpAddr, host: IpAddr) -> Value {
    let ready = !all_count || condition.is_ready();
    let truth = |kind: &str, value: bool| json!({"type": kind, "status": if value { "True" } else { "False" }});
    let container = |container: &ContainerCondition| {
        let image = pod.containers.iter().find(|of| of.name == container.name).map_or("", |found| &*found.image);
        let state = match (container.running, container.restarts) {
            (true, _) => json!({"running": {}}),
            (false, 0) => json!({"waiting": {"reason": "ContainerCreating"}}),
            (false, _) => json!({"waiting": {"reason": "CrashLoopBackOff"}}),
        };
        json!({
            "name": container.name, "image": image, "imageID": "", "restartCount": container.restarts,
            "ready": container.ready, "started": container.started, "state": state,
        })
    };
    let conditions =
        [truth("Initialized", condition.initialized), truth("ContainersReady", ready), truth("Ready", ready)];
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": pod.namespace, "name": pod.name},
        "status": {
            "phase": if condition.initialized { "Running" } else { "Pending" },
            "hostIP": host,
            "podIP": own,
            "podIPs": [{"ip": own}],
            "conditions": conditions,
            "containerStatuses": condition.containers.iter().map(container).collect::<Vec<_>>(),
        },
    })
}
