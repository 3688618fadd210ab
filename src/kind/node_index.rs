//! The API of `NodeIndex`: the claim of an index by a node. In: nothing. Out: the spec and its CEL rules. The name of the object
//! is the index, so that creating it is the claim: of several nodes the API server lets one succeed. It is owned by the Node, and
//! must not change. Pure data.

#![allow(clippy::duplicated_attributes)] // false positive: the columns of the derive

use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

/// The node that has claimed the index.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "openpe.openperouter.github.io",
    version = "v1alpha1",
    kind = "NodeIndex",
    plural = "nodeindexes",
    doc = "NodeIndex is the claim of an index by a node. The VTEP address, the router ID and the session addresses of the node are derived from it. The name of the object is the index. The controller of the node creates it, and it is deleted with the Node.",
    category = "openpe",
    printcolumn(name = "Node", type_ = "string", json_path = ".spec.nodeName"),
    printcolumn(name = "Node UID", type_ = "string", json_path = ".spec.nodeUID", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = name_is_index()
)]
#[x_kube(validation = is_immutable())]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NodeIndexSpec {
    /// Name of the Node.
    #[schemars(length(min = 1, max = 253))]
    pub node_name: String,
    /// UID of the Node. A Node that is deleted and created again under the same name has another UID.
    #[serde(rename = "nodeUID")]
    #[schemars(length(min = 1, max = 128))]
    pub node_uid: String,
}

fn name_is_index() -> Rule {
    Rule::new("self.metadata.name.matches('^(0|[1-9][0-9]{0,8})$')")
        .message("the name is not an index: use a whole number below 1000000000 without leading zeros")
}

fn is_immutable() -> Rule {
    Rule::new("self == oldSelf").message("a claim is immutable: delete it to free the index")
}
