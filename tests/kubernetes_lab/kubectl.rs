//! Operations of a user with kubectl, and their effect on leafA and FRR.

use std::fs;

use perouter::status::model::ObjectState;
use serde_json::{Value, json};

use super::api_server_outage::api_server_outage;
use super::cluster_fixture::{ClusterFixture, NAMESPACE, green, has_password, object, path, step};
use crate::lab::fabric::{CURL_TIMED_OUT, fetch, type5_of};
use crate::lab::fixture::{BLUE, NODES, RED, SETTLE, until, until_true};

#[test]
fn the_router_applies_changes_made_with_kubectl() {
    let Some(mut lab) = ClusterFixture::start("kubernetes") else { return };
    step("apply", || objects_are_applied(&mut lab));
    step("plugin", || the_plugin_finds_the_pods(&lab));
    step("edit", || an_edit_reaches_the_leaf(&lab));
    step("conflict", || the_older_of_two_conflicting_objects_wins(&lab));
    step("Secret", || a_rotated_secret_affects_only_its_session(&lab));
    step("200 L3VNIs", || two_hundred_objects_take_at_most_two_passes(&lab));
    step("API server outage", || api_server_outage(&mut lab));
    step("delete", || deleted_objects_leave_no_state(&lab));
}

fn objects_are_applied(lab: &mut ClusterFixture) {
    let output = lab.kubectl(&["apply", "-f", &path("examples/metallb/openpe.yaml")]);
    assert_eq!(output.lines().filter(|line| line.ends_with(" created")).count(), 3, "{output}");
    lab.read_indexes();
    lab.fixture.start_hosts();
    lab.fixture.await_services();
    for (host, address, reachable) in [("hostA_red", RED, true), ("hostB_blue", BLUE, true), ("hostA_blue", RED, false)]
    {
        if reachable {
            until(&format!("{address} at {host}"), SETTLE, || fetch(lab.fixture.node(host), address, 3).ok());
        } else {
            assert_eq!(fetch(lab.fixture.node(host), address, 2), Err(CURL_TIMED_OUT), "{host} reaches {address}");
        }
    }
    lab.await_column("status.sessions.summary", "3/3");
    nothing_is_planned(lab);
    eprint!("{}", lab.kubectl(&["get", "rns", "-o", "wide"]));
}

/// What the API server has is what the nodes have.
pub fn nothing_is_planned(lab: &ClusterFixture) {
    let kubectl = lab.cluster.kubectl();
    let options = ["--source", "kubernetes", "--watch-namespace", NAMESPACE];
    for router in &lab.fixture.routers {
        let node = ["--node-name", router.node.name().as_str(), "--kubeconfig", kubectl.kubeconfig().to_str().unwrap()];
        let words = [&[env!("CARGO_BIN_EXE_perouter"), "plan"], &options[..], &node].concat();
        let output = router.node.run(&words).unwrap();
        assert!(output.success(), "{}{}", output.stdout, output.stderr);
        assert_eq!(output.stdout, "0 kernel operations, 0 FRR lines\n");
    }
}

/// The Pods of the lab are processes, in which `kubectl exec` runs nothing: how the plugin calls it is in `tests/kubectl_plugin.rs`.
fn the_plugin_finds_the_pods(lab: &ClusterFixture) {
    let kubectl = lab.cluster.kubectl();
    let folder = kubectl.program().parent().unwrap();
    let search = std::env::var("PATH").unwrap();
    let search = format!("PATH={}:{}:{search}", folder.display(), path("deploy/kubectl"));
    let kubeconfig = kubectl.kubeconfig().to_str().unwrap();
    let words = ["env", &search, "kubectl", "perouter", "--kubeconfig", kubeconfig, "status"];
    let output = lab.fixture.node(NODES[0]).run(&words).unwrap();
    let mut nodes = NODES;
    nodes.sort_unstable();
    let expected = format!("kubectl perouter: set --node or --all-nodes; nodes: {}\n", nodes.join(" "));
    assert_eq!((output.stdout.as_str(), output.stderr), ("", expected));
}

fn an_edit_reaches_the_leaf(lab: &ClusterFixture) {
    let leaf = lab.fixture.node("leafA");
    let before = lab.established(None);
    let example = fs::read_to_string(path("examples/metallb/openpe.yaml")).unwrap();
    let targets = |wanted: &[&str]| {
        until_true(&format!("route targets {wanted:?} of red"), || {
            let routes = type5_of(leaf, &format!("{RED}/32"));
            routes.len() == NODES.len()
                && routes.iter().all(|route| {
                    let mut targets: Vec<&str> = route.route_targets.iter().map(String::as_str).collect();
                    targets.sort_unstable();
                    targets == wanted
                })
        });
    };
    targets(&["64514:100"]);
    let edited =
        example.replace("  vni: 100\n", "  vni: 100\n  routeTargets:\n    export: [\"64514:100\", \"64514:999\"]\n");
    let output = lab.apply(&edited);
    assert!(output.contains("l3vni.openpe.openperouter.github.io/red configured"), "{output}");
    targets(&["64514:100", "64514:999"]);
    lab.apply(&example);
    targets(&["64514:100"]);
    assert_eq!(lab.established(None), before, "an edit of route targets reset a session");
}

fn the_older_of_two_conflicting_objects_wins(lab: &ClusterFixture) {
    let before = lab.established(None);
    // Its name sorts before red, so only its age decides.
    lab.apply(&object("a-red", 100, &json!({"vrf": "a-red"})).to_string());
    for loser in lab.await_l3vni("a-red", ObjectState::Rejected) {
        assert!(loser.message.contains("red"), "{loser:?}");
        assert_eq!(loser.reason, "Conflict", "{loser:?}");
    }
    lab.await_l3vni("red", ObjectState::Ready);
    for node in NODES {
        let conflict = || {
            let status = lab.get(&["rns", node]);
            let resources = status["status"]["resources"].as_array()?.clone();
            let of = |name: &str| resources.iter().find(|resource| resource["name"] == name).cloned();
            let (winner, loser) = (of("red")?, of("a-red")?);
            (winner["state"] == "Ready" && loser["state"] == "Rejected").then(|| loser["message"].clone())
        };
        let message = until(&format!("the conflict in the RouterNodeStatus of {node}"), SETTLE, conflict);
        eprintln!("{node}: {message}");
    }
    lab.kubectl(&["--namespace", NAMESPACE, "delete", "l3vni", "a-red"]);
    until_true("the loser removed", || {
        let has_it = |router: &crate::lab::router::Router| {
            router.status().is_some_and(|status| status.resources.iter().any(|resource| resource.name == "a-red"))
        };
        !lab.fixture.routers.iter().any(has_it)
    });
    assert_eq!(lab.established(None), before);
}

fn a_rotated_secret_affects_only_its_session(lab: &ClusterFixture) {
    let password = |word: &str| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "host-bgp", "namespace": NAMESPACE},
            "stringData": {"red": word},
        });
        lab.apply(&secret.to_string());
        for router in &lab.fixture.routers {
            until_true(&format!("the password {word} in FRR"), || has_password(router, word));
        }
        for host in &lab.fixture.hosts {
            let line = format!("neighbor 192.169.10.1 password {word}");
            host.vtysh(&["configure terminal", "router bgp 64515", &line]).unwrap();
        }
        for router in &lab.fixture.routers {
            router.await_session("red", &format!("192.169.10.{}", 2 + router.index));
        }
        lab.fixture.await_type5(&format!("{RED}/32"), 100);
    };
    let before = lab.established(Some("red"));
    let session =
        json!({"hostSession": {"connectTimeSeconds": 1, "passwordSecret": {"name": "host-bgp", "key": "red"}}});
    let patch = json!({"spec": session}).to_string();
    lab.kubectl(&["--namespace", NAMESPACE, "patch", "l3vni", "red", "--type=merge", "--patch", &patch]);
    password("first");
    password("second");
    assert_eq!(lab.established(Some("red")), before, "the password of red reset another session");
    let shown = lab.kubectl(&["get", "rns", "-o", "yaml"]) + &lab.kubectl(&["get", "events", "-A", "-o", "yaml"]);
    assert!(!shown.contains("second"), "{shown}");
    let none = json!({"spec": {"hostSession": Value::Null}}).to_string();
    lab.kubectl(&["--namespace", NAMESPACE, "patch", "l3vni", "red", "--type=merge", "--patch", &none]);
    for host in &lab.fixture.hosts {
        host.vtysh(&["configure terminal", "router bgp 64515", "no neighbor 192.169.10.1 password"]).unwrap();
    }
    for router in &lab.fixture.routers {
        until_true("no password in FRR", || !has_password(router, ""));
        router.await_session("red", &format!("192.169.10.{}", 2 + router.index));
    }
    lab.fixture.await_type5(&format!("{RED}/32"), 100);
}

/// All objects select the same node.
fn two_hundred_objects_take_at_most_two_passes(lab: &ClusterFixture) {
    let [other, node] = NODES;
    let router = lab.fixture.routers.iter().find(|router| router.node.name().as_str() == node).unwrap();
    let selector = json!({"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": node}}});
    let objects: Vec<Value> = (1000..1200).map(|vni| object(&format!("v{vni}"), vni, &selector)).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let passes = |node: &str| lab.metric(node, "perouter_passes_total", "result=\"changed\"");
    let (before, of_other, sessions) = (passes(node), passes(other), lab.established(None));
    lab.cluster.kubectl().check_with_input(&["create", "-f", "-"], &list).unwrap();
    let all: Vec<u32> = [100, 200].into_iter().chain(1000..1200).collect();
    step("200 L3VNIs up", || router.await_ready(&all));
    let count = passes(node) - before;
    eprintln!("200 L3VNIs in one call of kubectl: {count} passes that changed something");
    assert!((1..=2).contains(&count), "{count} passes");
    assert_eq!(passes(other), of_other, "the other node made a change");
    assert_eq!(lab.established(None), sessions);
    lab.kubectl(&[
        "--namespace",
        NAMESPACE,
        "delete",
        "--wait=false",
        "l3vni",
        "--field-selector",
        "metadata.name!=red,metadata.name!=blue",
    ]);
    router.await_ready(&[100, 200]);
    assert_eq!(lab.established(None), sessions);
}

fn deleted_objects_leave_no_state(lab: &ClusterFixture) {
    lab.apply(&green());
    for router in &lab.fixture.routers {
        lab.fixture.await_type5_from(&format!("192.169.12.{}/32", 2 + router.index), 300, &[router.vtep()]);
    }
    lab.kubectl(&["--namespace", NAMESPACE, "delete", "l3vni", "green"]);
    for router in &lab.fixture.routers {
        lab.fixture.await_type5_from(&format!("192.169.12.{}/32", 2 + router.index), 300, &[]);
    }
    lab.kubectl(&["delete", "-f", &path("examples/metallb/openpe.yaml")]);
    for (address, vni) in [(RED, 100), (BLUE, 200)] {
        lab.fixture.await_type5_from(&format!("{address}/32"), vni, &[]);
    }
    for node in NODES {
        until_true("the NIC back on the host", || {
            lab.fixture.node(node).run(&["ip", "link", "show", "toswitch"]).unwrap().success()
        });
    }
}
