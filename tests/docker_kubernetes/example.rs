//! The `MetalLB` example with both `DaemonSets` from the image.

use std::collections::BTreeMap;

use perouter::frr::show::session::SessionPhase;
use perouter_lab::kubernetes::LabCluster;
use serde_json::Value;

use super::pods::{Confinement, cluster, confinement, process};
use crate::cluster_fixture::{ClusterFixture, NAMESPACE, path, step};
use crate::lab::fixture::{NODES, Setup, until_true};

/// Numbers of capabilities (capability.h).
const CAPABILITIES: [(&str, u64); 13] = [
    ("chown", 0),
    ("dac_override", 1),
    ("fowner", 3),
    ("kill", 5),
    ("setgid", 6),
    ("setuid", 7),
    ("setpcap", 8),
    ("net_bind_service", 10),
    ("net_admin", 12),
    ("net_raw", 13),
    ("sys_admin", 21),
    ("sys_resource", 24),
    ("setfcap", 31),
];

#[test]
fn the_example_works_with_pods_of_the_image() {
    let Some(mut lab) = cluster("docker", &Setup::example().with_leaf_b(), &[]) else { return };
    step("kubectl apply -k deploy/", || lab.cluster.install_router().unwrap());
    processes_are_confined_as_their_manifest_says(&lab);
    step("MetalLB", || lab.cluster.install_metallb().unwrap());
    step("kubectl apply -f examples/metallb/", || apply(&mut lab));
    step("traffic", || lab.services_are_reachable_only_from_their_vrf());
    step("Pods are ready", || await_ready_pods(&mut lab));
    step("a controller that exits is started again", || a_controller_that_exits_is_started_again(&mut lab));
}

/// The capabilities of `setpriv` in a manifest.
fn granted(daemon_set: &str) -> u64 {
    let text = std::fs::read_to_string(path(&format!("deploy/base/{daemon_set}.yaml"))).unwrap();
    let list = text.lines().find_map(|line| line.trim().strip_prefix("- --bounding-set=-all,")).unwrap();
    let bits = BTreeMap::from(CAPABILITIES);
    list.split(',').map(|name| 1 << bits[name.trim_start_matches('+')]).sum()
}

fn processes_are_confined_as_their_manifest_says(lab: &ClusterFixture) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
    let of_machine = u64::from_str_radix(bounding.trim(), 16).unwrap();
    for node in NODES.map(|name| lab.fixture.node(name)) {
        for name in ["router", "controller"] {
            let found = confinement(node, &process(node, &format!("perouter {name}")));
            let wanted = Confinement {
                capabilities: granted(name) & of_machine,
                no_new_privileges: true,
                read_only_root: true,
                own: BTreeMap::from([("mnt", true), ("net", false), ("pid", true), ("ipc", true)]),
            };
            assert_eq!(found, wanted, "{name} on {}", node.name());
        }
    }
}

fn apply(lab: &mut ClusterFixture) {
    lab.apply_example();
    for router in &lab.fixture.routers {
        assert_eq!(router.version().to_string().split('.').next(), Some("10"), "FRR of the image");
        // The routes may be those of the other node yet.
        until_true("all sessions of the node", || {
            let sessions = router.sessions();
            !sessions.is_empty() && sessions.iter().all(|session| session.phase == SessionPhase::Established)
        });
    }
}

/// By the probes of the manifests.
fn await_ready_pods(lab: &mut ClusterFixture) {
    let kubectl = lab.cluster.kubectl();
    let ready = |_: &mut LabCluster| {
        let words = ["--namespace", NAMESPACE, "get", "daemonsets", "-o", "jsonpath={.items[*].status.numberReady}"];
        kubectl.check(&words).unwrap() == "2 2"
    };
    lab.cluster.sync_until("both DaemonSets to be ready", ready).unwrap();
}

fn a_controller_that_exits_is_started_again(lab: &mut ClusterFixture) {
    let before = lab.established(None);
    let node = lab.fixture.node(NODES[1]).clone();
    let first = process(&node, "perouter controller");
    node.check(&["kill", "-9", &first]).unwrap();
    until_true("the container to exit", || !node.file(format!("/proc/{first}")).exists());
    let kubectl = lab.cluster.kubectl();
    let restarted = |_: &mut LabCluster| {
        let words = ["--namespace", NAMESPACE, "get", "pods", "-o", "json"];
        let pods: Value = serde_json::from_str(&kubectl.check(&words).unwrap()).unwrap();
        let status = |pod: &Value| {
            let container = &pod["status"]["containerStatuses"][0];
            (container["restartCount"].as_u64(), container["ready"].as_bool())
        };
        let mut all: Vec<_> = pods["items"].as_array().unwrap().iter().map(status).collect();
        all.sort_unstable();
        all == [(Some(0), Some(true)), (Some(0), Some(true)), (Some(0), Some(true)), (Some(1), Some(true))]
    };
    lab.cluster.sync_until("the controller to be ready after one restart", restarted).unwrap();
    assert_ne!(process(&node, "perouter controller"), first);
    assert_eq!(lab.established(None), before, "a session was reset");
}
