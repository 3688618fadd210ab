//! What a user does with kubectl, as leafA and FRR see it.

use std::fs;

use perouter::status::model::ObjectState;
use serde_json::{Value, json};

use super::outage::the_api_server_goes_away;
use super::place::{NAMESPACE, Place, green, has_password, object, path, step};
use crate::lab::fabric::{CURL_TIMED_OUT, fetch, type5_of};
use crate::lab::fixture::{BLUE, NODES, RED, SETTLE, until, until_true};

#[test]
fn the_router_does_what_kubectl_says() {
    let Some(mut place) = Place::start("kubernetes") else { return };
    step("apply", || objects_are_applied(&mut place));
    step("edit", || an_edit_reaches_the_leaf(&place));
    step("conflict", || the_older_of_two_wins(&place));
    step("Secret", || a_rotated_secret_touches_its_session_only(&place));
    step("200 L3VNIs", || two_hundred_objects_are_one_pass_or_two(&place));
    step("API server away", || the_api_server_goes_away(&mut place));
    step("delete", || deleted_objects_leave_nothing(&place));
}

fn objects_are_applied(place: &mut Place) {
    let said = place.kubectl(&["apply", "-f", &path("examples/metallb/openpe.yaml")]);
    assert_eq!(said.lines().filter(|line| line.ends_with(" created")).count(), 3, "{said}");
    place.learn_indexes();
    place.fixture.start_hosts();
    place.fixture.await_services();
    for (host, address, answers) in [("hostA_red", RED, true), ("hostB_blue", BLUE, true), ("hostA_blue", RED, false)] {
        if answers {
            until(&format!("{address} at {host}"), SETTLE, || fetch(place.fixture.node(host), address, 3).ok());
        } else {
            assert_eq!(fetch(place.fixture.node(host), address, 2), Err(CURL_TIMED_OUT), "{host} reaches {address}");
        }
    }
    place.await_column("status.sessions.summary", "3/3");
    eprint!("{}", place.kubectl(&["get", "rns", "-o", "wide"]));
}

fn an_edit_reaches_the_leaf(place: &Place) {
    let leaf = place.fixture.node("leafA");
    let before = place.established(None);
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
    let said = place.apply(&edited);
    assert!(said.contains("l3vni.openpe.openperouter.github.io/red configured"), "{said}");
    targets(&["64514:100", "64514:999"]);
    place.apply(&example);
    targets(&["64514:100"]);
    assert_eq!(place.established(None), before, "an edit of route targets touches no session");
}

fn the_older_of_two_wins(place: &Place) {
    let before = place.established(None);
    // Its name is first in every order of names.
    place.apply(&object("a-red", 100, &json!({"vrf": "a-red"})).to_string());
    for loser in place.await_l3vni("a-red", ObjectState::Rejected) {
        assert!(loser.message.contains("red"), "{loser:?}");
        assert_eq!(loser.reason, "Conflict", "{loser:?}");
    }
    place.await_l3vni("red", ObjectState::Ready);
    for node in NODES {
        let told = || {
            let status = place.get(&["rns", node]);
            let resources = status["status"]["resources"].as_array()?.clone();
            let of = |name: &str| resources.iter().find(|resource| resource["name"] == name).cloned();
            let (winner, loser) = (of("red")?, of("a-red")?);
            (winner["state"] == "Ready" && loser["state"] == "Rejected").then(|| loser["message"].clone())
        };
        let message = until(&format!("the conflict in the RouterNodeStatus of {node}"), SETTLE, told);
        eprintln!("{node}: {message}");
    }
    place.kubectl(&["--namespace", NAMESPACE, "delete", "l3vni", "a-red"]);
    until_true("the loser gone", || {
        let has_it = |router: &crate::lab::router::Router| {
            router.status().is_some_and(|status| status.resources.iter().any(|resource| resource.name == "a-red"))
        };
        !place.fixture.routers.iter().any(has_it)
    });
    assert_eq!(place.established(None), before);
}

fn a_rotated_secret_touches_its_session_only(place: &Place) {
    let password = |word: &str| {
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "host-bgp", "namespace": NAMESPACE},
            "stringData": {"red": word},
        });
        place.apply(&secret.to_string());
        for router in &place.fixture.routers {
            until_true(&format!("the password {word} in FRR"), || has_password(router, word));
        }
        for host in &place.fixture.hosts {
            let line = format!("neighbor 192.169.10.1 password {word}");
            host.vtysh(&["configure terminal", "router bgp 64515", &line]).unwrap();
        }
        for router in &place.fixture.routers {
            router.await_session("red", &format!("192.169.10.{}", 2 + router.index));
        }
        place.fixture.await_type5(&format!("{RED}/32"), 100);
    };
    let before = place.established(Some("red"));
    let session =
        json!({"hostSession": {"connectTimeSeconds": 1, "passwordSecret": {"name": "host-bgp", "key": "red"}}});
    let patch = json!({"spec": session}).to_string();
    place.kubectl(&["--namespace", NAMESPACE, "patch", "l3vni", "red", "--type=merge", "--patch", &patch]);
    password("first");
    password("second");
    assert_eq!(place.established(Some("red")), before, "the password of red touches red alone");
    let shown = place.kubectl(&["get", "rns", "-o", "yaml"]) + &place.kubectl(&["get", "events", "-A", "-o", "yaml"]);
    assert!(!shown.contains("second"), "{shown}");
    let none = json!({"spec": {"hostSession": Value::Null}}).to_string();
    place.kubectl(&["--namespace", NAMESPACE, "patch", "l3vni", "red", "--type=merge", "--patch", &none]);
    for host in &place.fixture.hosts {
        host.vtysh(&["configure terminal", "router bgp 64515", "no neighbor 192.169.10.1 password"]).unwrap();
    }
    for router in &place.fixture.routers {
        until_true("no password in FRR", || !has_password(router, ""));
        router.await_session("red", &format!("192.169.10.{}", 2 + router.index));
    }
    place.fixture.await_type5(&format!("{RED}/32"), 100);
}

/// All of them on one node.
fn two_hundred_objects_are_one_pass_or_two(place: &Place) {
    let [other, node] = NODES;
    let router = place.fixture.routers.iter().find(|router| router.node.name().as_str() == node).unwrap();
    let selector = json!({"nodeSelector": {"matchLabels": {"kubernetes.io/hostname": node}}});
    let objects: Vec<Value> = (1000..1200).map(|vni| object(&format!("v{vni}"), vni, &selector)).collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
    let passes = |node: &str| place.metric(node, "perouter_passes_total", "result=\"changed\"");
    let (before, of_other, sessions) = (passes(node), passes(other), place.established(None));
    place.cluster.kubectl().check_with_input(&["create", "-f", "-"], &list).unwrap();
    let all: Vec<u32> = [100, 200].into_iter().chain(1000..1200).collect();
    step("200 L3VNIs up", || router.await_ready(&all));
    let made = passes(node) - before;
    eprintln!("200 L3VNIs in one call of kubectl: {made} passes that changed something");
    assert!((1..=2).contains(&made), "{made} passes");
    assert_eq!(passes(other), of_other, "the other node has no part in it");
    assert_eq!(place.established(None), sessions);
    place.kubectl(&[
        "--namespace",
        NAMESPACE,
        "delete",
        "--wait=false",
        "l3vni",
        "--field-selector",
        "metadata.name!=red,metadata.name!=blue",
    ]);
    router.await_ready(&[100, 200]);
    assert_eq!(place.established(None), sessions);
}

fn deleted_objects_leave_nothing(place: &Place) {
    place.apply(&green());
    for router in &place.fixture.routers {
        place.fixture.await_type5_from(&format!("192.169.12.{}/32", 2 + router.index), 300, &[router.vtep()]);
    }
    place.kubectl(&["--namespace", NAMESPACE, "delete", "l3vni", "green"]);
    for router in &place.fixture.routers {
        place.fixture.await_type5_from(&format!("192.169.12.{}/32", 2 + router.index), 300, &[]);
    }
    place.kubectl(&["delete", "-f", &path("examples/metallb/openpe.yaml")]);
    for (address, vni) in [(RED, 100), (BLUE, 200)] {
        place.fixture.await_type5_from(&format!("{address}/32"), vni, &[]);
    }
    for node in NODES {
        until_true("the NIC back in the node", || {
            place.fixture.node(node).run(&["ip", "link", "show", "toswitch"]).unwrap().success()
        });
    }
}
