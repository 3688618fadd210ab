//! Claims of node indexes: each is one node's, for as long as there is its Node.

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};

use super::place::{GROUP, Place, node, until};
use super::snapshots::Source;

/// The index that a node has claimed, with the UID of the Node that it is for.
fn claim(place: &Place, name: &str) -> Option<(u32, String)> {
    let claims = place.get(&["nodeindexes"]);
    let claim = claims["items"].as_array()?.iter().find(|claim| claim["spec"]["nodeName"] == name)?;
    Some((claim["metadata"]["name"].as_str()?.parse().ok()?, claim["spec"]["nodeUID"].as_str()?.to_owned()))
}

async fn index_of(source: &mut Source) -> u32 {
    source.until("no index", |_| true).await.node.index
}

pub(crate) async fn of_many_nodes(place: &Place) {
    fifty_nodes_get_fifty_indexes(place).await;
    an_index_is_the_same_after_a_restart(place).await;
    an_index_goes_with_its_node(place).await;
    a_node_made_anew_has_its_index_again(place).await;
    claims_are_guarded(place);
}

async fn fifty_nodes_get_fifty_indexes(place: &Place) {
    let names: Vec<String> = (0..50).map(|n| format!("race-{n}")).collect();
    let nodes: Vec<Value> = names.iter().map(|name| node(name)).collect();
    place.apply(&nodes);
    let mut sources: Vec<Source> = names.iter().map(|name| Source::start(place, name)).collect();
    let mut indexes = BTreeSet::new();
    for source in &mut sources {
        indexes.insert(index_of(source).await);
    }
    // Index 0 is that of n1.
    assert_eq!(indexes, (1..=50).collect());
}

async fn an_index_is_the_same_after_a_restart(place: &Place) {
    let (before, _) = claim(place, "race-7").unwrap();
    assert_eq!(index_of(&mut Source::start(place, "race-7")).await, before);
    // Without anything kept, its claim is adopted.
    fs::remove_file(place.kept("race-7")).unwrap();
    assert_eq!(index_of(&mut Source::start(place, "race-7")).await, before);
}

async fn an_index_goes_with_its_node(place: &Place) {
    let (before, _) = claim(place, "race-7").unwrap();
    place.admin.check(&["delete", "node", "race-7"]).unwrap();
    until("the claim outlives its Node", || claim(place, "race-7").is_none()).await;
    place.apply(&[node("late")]);
    assert_eq!(index_of(&mut Source::start(place, "late")).await, before);
}

/// As `kubectl delete node` and the kubelet's registration do under a controller that runs.
async fn a_node_made_anew_has_its_index_again(place: &Place) {
    let (index, uid) = claim(place, "race-8").unwrap();
    let mut source = Source::start(place, "race-8");
    index_of(&mut source).await;
    place.admin.check(&["delete", "node", "race-8"]).unwrap();
    place.apply(&[node("race-8")]);
    until("the claim is not that of the new Node", || claim(place, "race-8").is_some_and(|(_, new)| new != uid)).await;
    assert_eq!(claim(place, "race-8").unwrap().0, index);
    assert_eq!(source.snapshots.borrow().node.index, index);
}

fn claims_are_guarded(place: &Place) {
    let claim = |name: &str| {
        json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "NodeIndex", "metadata": { "name": name },
            "spec": { "nodeName": "x", "nodeUID": "y" } })
    };
    let refused = place.admin.apply(&claim("seven").to_string()).unwrap_err().to_string();
    assert!(refused.contains("the name is no index: use a whole number"), "{refused}");
    let words = ["patch", "nodeindex", "0", "--type=merge", "-p", r#"{"spec":{"nodeName":"thief"}}"#];
    let refused = place.admin.run(&words).unwrap().stderr;
    assert!(refused.contains("a claim does not change"), "{refused}");
}
