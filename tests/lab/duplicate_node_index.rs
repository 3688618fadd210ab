//! Two nodes with one node index, and without an API server that would have prevented it: which of them sees it in the fabric.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use perouter::diagnose::cluster_checks::{NodeReport, findings};
use perouter::diagnose::finding::{Finding, FindingKind};
use perouter::runtime::Daemon;
use perouter::status::router_state::router_state;
use serde_json::Value;

use super::fabric_sessions::configure;
use super::fixture::{Fixture, NODES, Setup, until_true};
use super::router::Router;

const ADDRESSES: [&str; 2] = ["192.168.11.3", "192.168.11.4"];

/// What a node finds of its VTEP address.
fn duplicates(router: &Router) -> Vec<Finding> {
    let (output, findings) = router.checked();
    assert!(matches!(output.code, Some(0 | 1)), "{output:?}");
    findings.into_iter().filter(|finding| finding.kind == FindingKind::DuplicateVtep).collect()
}

/// The address of the other node in each finding, or the whole finding where it names none.
fn others(router: &Router) -> Vec<String> {
    let prefix = "another router, ";
    let other = |finding: &Finding| finding.what.strip_prefix(prefix)?.split(',').next().map(str::to_owned);
    duplicates(router).iter().map(|finding| other(finding).unwrap_or_else(|| finding.what.clone())).collect()
}

/// The AS path of the route to a VTEP address that the leaf advertises to a node.
fn received(router: &Router, vtep: &str) -> String {
    let command = "show bgp ipv4 unicast neighbors 192.168.11.2 filtered-routes json";
    let shown: Value =
        serde_json::from_str(&router.try_show(Daemon::Bgpd, command).unwrap_or_default()).unwrap_or_default();
    shown["receivedRoutes"][format!("{vtep}/32")]["path"].as_str().unwrap_or_default().to_owned()
}

fn leaf(fixture: &Fixture, lines: &[&str]) {
    configure(fixture.node("leafkind"), 64512, lines);
}

fn deployed(name: &str, indexes: [u32; 2]) -> Option<Fixture> {
    let mut fixture = Fixture::deploy(name, &[0, 1], &Setup::example())?;
    for (router, index) in fixture.routers.iter_mut().zip(indexes) {
        router.index = index;
        router.start();
    }
    fixture.start_hosts();
    fixture.routers.iter().for_each(|router| router.await_ready(&[100, 200]));
    Some(fixture)
}

#[test]
fn two_nodes_with_one_index_are_seen_by_one_of_them() {
    let Some(mut fixture) = deployed("same-index", [0, 0]) else { return };
    // The leaf advertises one of the two paths, to both. To the node that it comes from it has its own address as the next hop.
    let seen = |fixture: &Fixture| {
        let found: Vec<Vec<String>> = fixture.routers.iter().map(others).collect();
        [0, 1].into_iter().find(|node| found[*node] == [ADDRESSES[1 - node]] && found[1 - node].is_empty())
    };
    let mut first = None;
    until_true("a finding on one of the two nodes", || {
        first = seen(&fixture);
        first.is_some()
    });
    let first = first.unwrap();
    println!("# perouter check on {}\n{}", NODES[first], fixture.routers[first].perouter(&["check"]).stdout);
    println!("# perouter check on {}\n{}", NODES[1 - first], fixture.routers[1 - first].perouter(&["check"]).stdout);

    // The other one sees it where its path is not the best: here the path of the first is then the older one.
    leaf(&fixture, &[&format!("neighbor {} shutdown", ADDRESSES[1 - first])]);
    until_true("no finding", || fixture.routers.iter().all(|router| duplicates(router).is_empty()));
    leaf(&fixture, &[&format!("no neighbor {} shutdown", ADDRESSES[1 - first])]);
    until_true("a finding on the other node", || seen(&fixture) == Some(1 - first));

    // In one subnet, and without a next hop that is known to be another node: neither can tell it from its own path.
    leaf(&fixture, &["address-family ipv4 unicast", "neighbor nodes next-hop-self"]);
    until_true("the path of the leaf on both nodes", || {
        fixture.routers.iter().all(|router| received(router, "100.65.0.1") == "64512 64514")
    });
    until_true("no finding without a next hop", || fixture.routers.iter().all(|router| duplicates(router).is_empty()));

    // `perouter check --all-nodes` has the documents of both, and sees it whatever the fabric advertises.
    let now = Timestamp::now();
    let report = |router: &Router| {
        let state = router_state(&router.status().unwrap(), None, &Time(now));
        NodeReport { node: router.node.name().to_string(), state: Some(state) }
    };
    let reports: Vec<NodeReport> = fixture.routers.iter().map(report).collect();
    let found = findings(&reports, now.as_second().try_into().unwrap());
    for (node, other) in NODES.into_iter().zip(NODES.into_iter().rev()) {
        let duplicates: Vec<&str> =
            found[node].iter().filter(|finding| finding.what.starts_with(other)).map(|f| f.what.as_str()).collect();
        let expected = ["VTEP address 100.65.0.1", "router id 10.0.0.1"];
        assert_eq!(duplicates, expected.map(|what| format!("{other} has the {what} of this node")), "{found:#?}");
    }
    fixture.routers.iter_mut().for_each(Router::terminate);
}

/// A leaf returns the path also to the node from which it has it.
#[test]
fn the_path_of_a_node_that_its_leaf_returns_is_no_duplicate() {
    let Some(mut fixture) = deployed("returned-vtep", [0, 1]) else { return };
    leaf(&fixture, &["address-family ipv4 unicast", "neighbor nodes next-hop-self"]);
    until_true("its own path on each node", || {
        fixture.routers.iter().all(|router| received(router, &router.vtep()) == "64512 64514")
    });
    for router in &fixture.routers {
        assert_eq!(duplicates(router), []);
    }
    fixture.await_services();
    fixture.routers.iter_mut().for_each(Router::terminate);
}
