//! The policies of `deploy/base/admission.yaml`: the token of a node's controller writes the objects of this node only.

use serde_json::{Value, json};

use super::environment::{Environment, GROUP, NAMESPACE, node, until};

fn claim(environment: &Environment, index: u32, name: &str, owners: &Value) -> String {
    let node = environment.get(&["node", name]);
    json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "NodeIndex",
        "metadata": { "name": index.to_string(), "ownerReferences": owners },
        "spec": { "nodeName": name, "nodeUID": node["metadata"]["uid"] } })
    .to_string()
}

fn state(name: &str, owners: &Value) -> String {
    json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "RouterNodeStatus", "spec": {},
        "metadata": { "name": name, "ownerReferences": owners } })
    .to_string()
}

fn owner(environment: &Environment, name: &str) -> Value {
    let uid = environment.get(&["node", name])["metadata"]["uid"].clone();
    json!([{ "apiVersion": "v1", "kind": "Node", "name": name, "uid": uid }])
}

pub(crate) async fn a_controller_writes_the_objects_of_its_node(environment: &Environment) {
    environment.apply(&[node("mine"), node("other")]);
    let account = environment.kubectl_of("mine");
    let unbound = environment.plane.kubectl_of(NAMESPACE, "controller").unwrap();
    let create = ["create", "-f", "-"];
    let response = |object: &str| account.run_with_input(&create, object).unwrap().stderr;
    let (mine, other) = (owner(environment, "mine"), owner(environment, "other"));

    // A policy is in force some time after it is created.
    let foreign = claim(environment, 900, "other", &other);
    until("the policies are not in force", || {
        let output = account.run_with_input(&["create", "--dry-run=server", "-f", "-"], &foreign).unwrap();
        output.stderr.contains("may claim an index for this node only, not for other")
    })
    .await;
    let rejected = [
        (foreign, "the controller of node mine may claim an index for this node only, not for other"),
        (claim(environment, 900, "mine", &json!([])), "the Node of the claim must be its only owner"),
        (claim(environment, 900, "mine", &other), "the Node of the claim must be its only owner"),
        (state("other", &other), "the controller of node mine may write the status of this node only, not of other"),
        (state("mine", &json!([])), "the Node must be the only owner of its status"),
        (state("mine", &other), "the Node must be the only owner of its status"),
    ];
    for (object, message) in rejected {
        let found = response(&object);
        assert!(found.contains(message), "{object}: {found}");
    }
    for object in [claim(environment, 900, "mine", &mine), state("mine", &mine)] {
        let without_node = unbound.run_with_input(&create, &object).unwrap().stderr;
        assert!(without_node.contains("the token of the controller names no node"), "{object}: {without_node}");
        assert_eq!(response(&object), "", "{object}");
    }

    // The administrator may write all of them.
    environment.admin.apply(&claim(environment, 901, "other", &other)).unwrap();
    environment.admin.apply(&state("other", &other)).unwrap();
    for resource in ["nodeindexes/901", "routernodestatuses/other"] {
        let found = account.run(&["delete", resource]).unwrap().stderr;
        assert!(found.contains("the controller of node mine may"), "{resource}: {found}");
    }
    let apply = ["apply", "--server-side", "--subresource=status", "--validate=false", "-f", "-"];
    let status = json!({ "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "RouterNodeStatus", "metadata": { "name": "other" },
        "status": { "index": 7, "vrfMode": "vrf" } });
    let found = account.run_with_input(&apply, &status.to_string()).unwrap().stderr;
    assert!(found.contains("the controller of node mine may"), "{found}");
    account.check(&["delete", "--wait=false", "nodeindexes/900", "routernodestatuses/mine"]).unwrap();
    environment.admin.check(&["delete", "node", "mine", "other"]).unwrap();
}
