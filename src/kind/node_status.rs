//! `RouterNodeStatus`: the router of one node, for `kubectl get rns`. Written by the controller of the node alone; nobody
//! reads it to configure anything. Pure data.

#![allow(clippy::duplicated_attributes)] // the lint takes the columns of the derive for repetitions

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Empty: everything is observed.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "openpe.openperouter.github.io",
    version = "v1alpha1",
    kind = "RouterNodeStatus",
    plural = "routernodestatuses",
    status = "RouterState",
    derive = "PartialEq",
    doc = "RouterNodeStatus is the router of one node as its controller sees it. It has the name of the Node and goes with it.",
    shortname = "rns",
    category = "openpe",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Degraded", type_ = "string", json_path = ".status.conditions[?(@.type==\"Degraded\")].status"),
    printcolumn(name = "Index", type_ = "integer", json_path = ".status.index"),
    printcolumn(name = "VTEP", type_ = "string", json_path = ".status.vtep"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.vrfMode"),
    printcolumn(name = "FRR", type_ = "string", json_path = ".status.frrVersion"),
    printcolumn(
        name = "Sessions",
        type_ = "string",
        json_path = ".status.sessions.summary",
        description = "established sessions of all"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Router ID", type_ = "string", json_path = ".status.routerID", priority = 1),
    printcolumn(
        name = "VNIs",
        type_ = "integer",
        json_path = ".status.vnis.ready",
        priority = 1,
        description = "VNIs that FRR has up"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Degraded\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Degraded\")].message",
        priority = 1
    )
)]
pub struct RouterNodeStatusSpec {}

/// The router of one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouterState {
    /// `Ready` and `Degraded`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<RouterCondition>,
    /// Node index.
    pub index: u32,
    /// VTEP address; absent without an Underlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtep: Option<String>,
    /// BGP router id; absent without an Underlay.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// How IP-VRFs are kept apart: `vrf` or `netns`.
    pub vrf_mode: String,
    /// Version of FRR; empty while FRR does not answer.
    #[serde(default)]
    pub frr_version: String,
    /// BGP sessions.
    #[serde(default)]
    pub sessions: SessionCount,
    /// L3VNIs in FRR.
    #[serde(default)]
    pub vnis: VniCount,
    /// Sessions that are not established, at most 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub sessions_down: Vec<SessionDown>,
    /// Every object of this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub resources: Vec<ResourceState>,
    /// When this was last written, which is only done if something changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<Time>,
}

/// BGP sessions, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionCount {
    /// Established.
    pub up: u32,
    /// Configured.
    pub total: u32,
    /// `UP/TOTAL`, for people.
    #[serde(default)]
    pub summary: String,
}

/// L3VNIs, by number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VniCount {
    /// Up with a router MAC, and known to bgpd.
    pub ready: u32,
    /// Configured.
    pub total: u32,
}

/// A session that is not established.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SessionDown {
    /// Its VRF; absent for the underlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Address or interface of the peer.
    pub peer: String,
}

/// An object on this node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceState {
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The generation that was judged; absent where the object could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Failed` or `Rejected`.
    pub state: String,
    /// `Applied`, `ApplyFailed`, or why it is rejected.
    pub reason: String,
    /// What is wrong and what to do; absent if nothing is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The last accepted version is in force although the present one is rejected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouterCondition {
    /// Which one.
    #[serde(rename = "type")]
    pub type_: ConditionType,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// Why.
    pub reason: ConditionReason,
    /// Which objects or sessions, and what to do; empty if nothing is wrong.
    #[serde(default)]
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Time,
}

/// The conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// There is an Underlay, and every accepted object is in place.
    Ready,
    /// Something is rejected, failed or down.
    Degraded,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It does.
    True,
    /// It does not.
    False,
}

/// Why a condition is what it is: a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionReason {
    /// Every accepted object is in place.
    Applied,
    /// Nothing is rejected, failed or down.
    AsExpected,
    /// No Underlay is accepted for this node.
    NoUnderlay,
    /// An accepted object could not be put in place; it is tried again.
    ApplyFailed,
    /// An object is not accepted.
    Rejected,
    /// A session is not established.
    SessionsDown,
    /// FRR does not answer.
    RouterUnreachable,
}
