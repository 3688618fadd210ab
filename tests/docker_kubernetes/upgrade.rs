//! Upgrade, rollback and removal by the documented steps, each under a request every millisecond to each node and to a service
//! that both nodes advertise.
//!
//! The previous image is `PEROUTER_PREVIOUS_IMAGE`, or the same one with another label: then only what Kubernetes and the
//! nodes do is tested, not a change of perouter.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use perouter_lab::kubernetes::{ContainerPod, LabCluster};
use perouter_lab::node::Node;
use serde_json::{Value, json};

use super::losses::LossTable;
use super::pods::{self, BROKEN, DEPLOYED, PREVIOUS};
use super::rollout::{await_rollout, daemon_set_object, install_previous, roll_out, roll_out_image};
use crate::cluster_fixture::{ClusterFixture, NAMESPACE, path, step};
use crate::lab::fixture::{NODES, Setup, scaled, until_true};

/// Outage that is allowed while a router without graceful restart is replaced: 2.8 to 3.7 s on a machine with other work.
const RESTART: Duration = Duration::from_secs(20);
/// A field that the definitions of the previous release do not have.
const NEW_FIELD: &str = "routeTargets";

#[test]
fn upgrade_rollback_and_removal() {
    let setup = Setup::example();
    let Some(mut lab) = pods::cluster("upgrade", &setup, &[PREVIOUS, BROKEN]) else { return };
    let before = node_states(&lab);
    step("install the previous release", || install_previous(&mut lab, &setup, without_new_field));
    let installed = node_states(&lab);
    assert_ne!(installed, before);
    let mut table = LossTable::default();
    table.measure(&mut lab, "CRDs upgraded, with stored objects", upgrade_definitions).assert_none();
    table.measure(&mut lab, "controller upgraded", |lab| roll_out_image(lab, "controller", DEPLOYED)).assert_none();
    let upgraded = table.measure(&mut lab, "router upgraded, same FRR", |lab| roll_out_image(lab, "router", DEPLOYED));
    upgraded.assert_one_node_at_a_time();
    upgraded.assert_outage_of_at_most(scaled(RESTART));
    let broken = table.measure(&mut lab, "router image that exits at once, until it is undone", broken_router);
    broken.assert_one_node();
    let rolled_back = table.measure(&mut lab, "router rolled back", |lab| roll_out_image(lab, "router", PREVIOUS));
    rolled_back.assert_outage_of_at_most(scaled(RESTART));
    table
        .measure(&mut lab, "controller rolled back", |lab| {
            roll_out(lab, "controller", &["rollout", "undo", "daemonset/controller"]);
        })
        .assert_none();
    eprintln!("{}", table.lines.join("\n"));
    lab.fixture.hosts.iter().for_each(|host| host.stop().unwrap());
    step("removal", || remove(&mut lab));
    assert_eq!(node_states(&lab), before);
}

fn without_new_field(object: &mut Value) {
    if object["metadata"]["name"] == "l3vnis.openpe.openperouter.github.io" {
        let spec = &mut object["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        assert!(spec["properties"].as_object_mut().unwrap().remove(NEW_FIELD).is_some());
    }
}

fn upgrade_definitions(lab: &mut ClusterFixture) {
    let identity = |lab: &ClusterFixture| {
        let items = lab.get(&["underlays,l3vnis"])["items"].as_array().unwrap().clone();
        items.into_iter().map(|item| (item["metadata"]["uid"].clone(), item["spec"].clone())).collect::<Vec<_>>()
    };
    let before = identity(lab);
    lab.kubectl(&["apply", "--server-side", "-k", &path("crds")]);
    assert_eq!(identity(lab), before);
    // A controller of the previous release ignores the field or applies it; both are without loss.
    let target = json!({"spec": {NEW_FIELD: {"export": ["64514:100"]}}}).to_string();
    let patch = ["--namespace", NAMESPACE, "patch", "l3vni", "red", "--type=merge", "--patch", &target];
    until_true("the new field in the definition", || {
        lab.kubectl(&patch);
        lab.get(&["l3vni", "red"])["spec"].get(NEW_FIELD).is_some()
    });
}

/// The rollout stops at the first node, and goes no further.
fn broken_router(lab: &mut ClusterFixture) {
    lab.kubectl(&["--namespace", NAMESPACE, "set", "image", "daemonset/router", &format!("router={BROKEN}")]);
    let crashes = |cluster: &mut LabCluster| {
        let kubelet = cluster.kubelet();
        let pods = NODES.iter().filter_map(|node| kubelet.containers("router", node));
        pods.flat_map(ContainerPod::conditions).any(|container| container.restarts >= 2)
    };
    lab.cluster.sync_until("a router that exits again and again", crashes).unwrap();
    let since = Instant::now();
    let waited = |_: &mut LabCluster| since.elapsed() > Duration::from_secs(15);
    lab.cluster.sync_until("the rollout to stay where it is", waited).unwrap();
    let status = daemon_set_object(&lab.cluster.kubectl(), "router")["status"].clone();
    assert_eq!((&status["updatedNumberScheduled"], &status["numberReady"]), (&json!(1), &json!(1)), "{status}");
    roll_out(lab, "router", &["rollout", "undo", "daemonset/router"]);
}

/// As docs/operations/upgrade.md says.
fn remove(lab: &mut ClusterFixture) {
    lab.kubectl(&["--namespace", NAMESPACE, "delete", "daemonset", "controller", "router", "--wait=false"]);
    let no_pods = |cluster: &mut LabCluster| cluster.kubelet().running().next().is_none();
    lab.cluster.sync_until("no Pod of router and controller", no_pods).unwrap();
    lab.kubectl(&["apply", "--server-side", "-k", &path("deploy/removal")]);
    await_rollout(lab, "cleanup");
    lab.kubectl(&["delete", "--wait=false", "-k", &path("deploy/removal")]);
    lab.cluster.sync_until("no Pod of cleanup", no_pods).unwrap();
    lab.kubectl(&["delete", "--wait=false", "--ignore-not-found", "-k", &path("deploy")]);
    until_true("no definition", || lab.kubectl(&["get", "crds", "-o", "name"]).is_empty());
}

/// What perouter may change on a node: addresses and routes, namespaces, mounts, processes, files. An empty directory is none.
#[derive(Debug, PartialEq, Eq)]
struct NodeState {
    network: BTreeSet<String>,
    rest: BTreeSet<String>,
}

fn node_states(lab: &ClusterFixture) -> BTreeMap<&'static str, NodeState> {
    NODES.into_iter().map(|name| (name, node_state(lab.fixture.node(name)))).collect()
}

fn node_state(node: &Node) -> NodeState {
    let lines = |script: &str| -> BTreeSet<String> {
        let text = node.check(&["bash", "-c", script]).unwrap();
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    // Indexes and times differ.
    let network = lines(
        "ip -o address | sed 's/^[0-9]*: //; s/valid_lft.*//'; ip route show table all; ip -6 route show table all | \
         sed 's/ expires [0-9]*sec//'; ip -br link | sed 's/@[^ ]*//'",
    );
    let rest = lines(
        "ls /run/netns; ls -A /run/perouter /var/lib/perouter 2>/dev/null | grep -v ':$'; \
         grep -E '/run/(netns|perouter)' /proc/mounts; ps -e -o comm= | grep -E 'perouter|zebra|bgpd|bfdd|staticd|mgmtd'; true",
    );
    NodeState { network, rest }
}
