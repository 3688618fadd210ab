//! Claims of node indexes: each belongs to one node, as long as its Node exists.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::environment::{Environment, GROUP, node, until};
use super::snapshots::Source;

/// The index that a node has claimed, with the UID of the Node of the claim.
fn claim(environment: &Environment, name: &str) -> Option<(u32, String)> {
    let claims = environment.get(&["nodeindexes"]);
    let claim = claims["items"].as_array()?.iter().find(|claim| claim["spec"]["nodeName"] == name)?;
    Some((claim["metadata"]["name"].as_str()?.parse().ok()?, claim["spec"]["nodeUID"].as_str()?.to_owned()))
}

async fn index_of(source: &mut Source) -> u32 {
    source.until("no index", |_| true).await.node.index
}

pub(crate) async fn of_many_nodes(environment: &Environment) {
    fifty_nodes_get_fifty_indexes(environment).await;
    an_index_is_the_same_after_a_restart(environment).await;
    a_claim_is_deleted_with_its_node(environment).await;
    a_recreated_node_has_its_index_again(environment).await;
    claims_are_validated_and_immutable(environment);
}

async fn fifty_nodes_get_fifty_indexes(environment: &Environment) {
    let names: Vec<String> = (0..50).map(|n| format!("race-{n}")).collect();
    let nodes: Vec<Value> = names.iter().map(|name| node(name)).collect();
    environment.apply(&nodes);
    let mut sources = Vec::new();
    for name in &names {
        sources.push(Source::start(environment, name).await);
    }
    let mut indexes = BTreeSet::new();
    for source in &mut sources {
        indexes.insert(index_of(source).await);
    }
    // Index 0 is that of n1.
    assert_eq!(indexes, (1..=50).collect());
}

async fn an_index_is_the_same_after_a_restart(environment: &Environment) {
    let (before, _) = claim(environment, "race-7").unwrap();
    assert_eq!(index_of(&mut Source::start(environment, "race-7").await).await, before);
    // Without a disk cache its claim is adopted.
    fs::remove_file(environment.disk_cache("race-7")).unwrap();
    assert_eq!(index_of(&mut Source::start(environment, "race-7").await).await, before);
}

async fn a_claim_is_deleted_with_its_node(environment: &Environment) {
    let (before, _) = claim(environment, "race-7").unwrap();
    environment.admin.check(&["delete", "node", "race-7"]).unwrap();
    until("the claim outlives its Node", || claim(environment, "race-7").is_none()).await;
    environment.apply(&[node("late")]);
    assert_eq!(index_of(&mut Source::start(environment, "late").await).await, before);
}

/// As with `kubectl delete node` and a new registration by the kubelet, while the controller runs.
async fn a_recreated_node_has_its_index_again(environment: &Environment) {
    let (index, uid) = claim(environment, "race-8").unwrap();
    let mut source = Source::start(environment, "race-8").await;
    index_of(&mut source).await;
    environment.admin.check(&["delete", "node", "race-8"]).unwrap();
    environment.apply(&[node("race-8")]);
    until("the claim does not belong to the new Node", || {
        claim(environment, "race-8").is_some_and(|(_, new)| new != uid)
    })
    .await;
    assert_eq!(claim(environment, "race-8").unwrap().0, index);
    assert_eq!(source.snapshots.borrow().node.index, index);
}

fn claims_are_validated_and_immutable(environment: &Environment) {
    let claim = |name: &str| {
        json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "NodeIndex", "metadata": { "name": name },
            "spec": { "nodeName": "x", "nodeUID": "y" } })
    };
    let message = environment.admin.apply(&claim("seven").to_string()).unwrap_err().to_string();
    assert!(message.contains("the name is not an index: use a whole number"), "{message}");
    let args = ["patch", "nodeindex", "0", "--type=merge", "-p", r#"{"spec":{"nodeName":"thief"}}"#];
    let message = environment.admin.run(&args).unwrap().stderr;
    assert!(message.contains("a claim is immutable"), "{message}");
}
