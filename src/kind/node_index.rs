//! `NodeIndex`: the claim of a node to an index. Its name is the index, so that creating it is the claim: the API server
//! lets one of several nodes succeed. It belongs to the Node and goes with it. Pure data.

#![allow(clippy::duplicated_attributes)] // the lint takes the columns of the derive for repetitions

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The node that has the index.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "openpe.openperouter.github.io",
    version = "v1alpha1",
    kind = "NodeIndex",
    plural = "nodeindexes",
    doc = "NodeIndex is the claim of a node to an index: VTEP, router id and session addresses follow from it. Its name is the index. It is made by the controller and goes with the Node.",
    category = "openpe",
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.nodeName"),
    printcolumn(name = "Node UID", type_ = "string", json_path = ".spec.nodeUID", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = name_is_index()
)]
#[x_kube(validation = never_changes())]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeIndexSpec {
    /// Name of the Node.
    #[schemars(length(min = 1, max = 253))]
    pub node_name: String,
    /// UID of the Node: one that is made anew under the same name is another.
    #[serde(rename = "nodeUID")]
    #[schemars(length(min = 1, max = 128))]
    pub node_uid: String,
}

fn name_is_index() -> Rule {
    Rule::new("self.metadata.name.matches('^(0|[1-9][0-9]{0,8})$')").message("the name is no index: use a whole number")
}

fn never_changes() -> Rule {
    Rule::new("self == oldSelf").message("a claim does not change: delete it, and another node may take the index")
}
