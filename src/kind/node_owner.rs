//! The owner reference of what a controller writes for its Node, with which it is deleted. In: name and UID of the Node. Out: the
//! reference. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

/// The metadata of a cluster-wide object that a Node owns.
pub fn owned_by_node(object: String, node: &str, uid: &str) -> ObjectMeta {
    let owner = OwnerReference {
        api_version: "v1".to_owned(),
        kind: NODE.to_owned(),
        name: node.to_owned(),
        uid: uid.to_owned(),
        ..OwnerReference::default()
    };
    ObjectMeta { name: Some(object), owner_references: Some(vec![owner]), ..ObjectMeta::default() }
}

/// The UID of the Node that owns an object.
pub fn node_owner(metadata: &ObjectMeta) -> Option<&str> {
    let mut owners = metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.kind == NODE).map(|owner| owner.uid.as_str())
}

const NODE: &str = "Node";
