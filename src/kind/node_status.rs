//! The API of `RouterNodeStatus`: the state of the router on one node, for `kubectl get rns`. In: nothing. Out: the types. Only the
//! controller of the node writes it; nothing may be configured from it. Pure data.

#![allow(clippy::duplicated_attributes)] // false positive: the columns of the derive

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Empty: the object has only a status.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "openpe.openperouter.github.io",
    version = "v1alpha1",
    kind = "RouterNodeStatus",
    plural = "routernodestatuses",
    status = "RouterState",
    derive = "PartialEq",
    doc = "RouterNodeStatus is the state of the router on one node, as observed by its controller. It has the name of the Node and is deleted with it.",
    shortname = "rns",
    category = "openpe",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(
        name = "Fabric",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"FabricConnected\")].status"
    ),
    printcolumn(name = "Degraded", type_ = "string", json_path = ".status.conditions[?(@.type==\"Degraded\")].status"),
    printcolumn(name = "Index", type_ = "integer", json_path = ".status.index"),
    printcolumn(name = "VTEP", type_ = "string", json_path = ".status.vtep"),
    printcolumn(name = "Mode", type_ = "string", json_path = ".status.vrfMode"),
    printcolumn(name = "FRR", type_ = "string", json_path = ".status.frrVersion"),
    printcolumn(
        name = "Sessions",
        type_ = "string",
        json_path = ".status.sessions.summary",
        description = "established and configured BGP sessions"
    ),
    printcolumn(
        name = "Observed",
        type_ = "date",
        json_path = ".status.observedTime",
        description = "how long ago the controller has written the status: it does every minute"
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "VTEP IPv6", type_ = "string", json_path = ".status.vtep6", priority = 1),
    printcolumn(name = "Router ID", type_ = "string", json_path = ".status.routerID", priority = 1),
    printcolumn(
        name = "VNIs",
        type_ = "integer",
        json_path = ".status.vnis.ready",
        priority = 1,
        description = "L3VNIs that are up in FRR"
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

/// The state of the router on one node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouterState {
    /// Conditions `Ready`, `FabricConnected` and `Degraded`.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<RouterCondition>,
    /// Index of the node, from which its addresses are derived.
    pub index: u32,
    /// VTEP address of the node, the IPv4 one where it has both. Absent without an Underlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtep: Option<String>,
    /// IPv6 VTEP address of the node. Absent where `vtep` is the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtep6: Option<String>,
    /// BGP router ID of the node. Absent without an Underlay.
    #[serde(default, rename = "routerID", skip_serializing_if = "Option::is_none")]
    pub router_id: Option<String>,
    /// How IP-VRFs are isolated: `vrf` (VRF devices) or `netns` (network namespaces).
    pub vrf_mode: String,
    /// Version of FRR. Empty while FRR does not respond.
    #[serde(default)]
    pub frr_version: String,
    /// Why this version of FRR may behave differently than those with which perouter was measured. Absent for one of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frr_warning: Option<String>,
    /// Number of BGP sessions.
    #[serde(default)]
    pub sessions: SessionCount,
    /// Number of L3VNIs.
    #[serde(default)]
    pub vnis: VniCount,
    /// What is attached to the L2VNIs. A change of these numbers alone is written within a minute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub l2vnis: Vec<SegmentState>,
    /// BGP sessions that are not established, the first 64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub sessions_down: Vec<SessionDown>,
    /// The objects that apply to this node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub resources: Vec<ResourceState>,
    /// When the status was last written: when it changes, and every minute while the controller works. An older one is of a
    /// controller that does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_time: Option<Time>,
}

impl RouterState {
    /// Whether it is written at once in place of `before`: numbers of what is attached to L2VNIs alone are not, as they change with
    /// each Pod.
    pub fn is_news(&self, before: &Self) -> bool {
        let attached = |state: &SegmentState| state.vni;
        if !self.l2vnis.iter().map(attached).eq(before.l2vnis.iter().map(attached)) {
            return true;
        }
        RouterState { l2vnis: before.l2vnis.clone(), ..self.clone() } != *before
    }
}

/// Number of BGP sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionCount {
    /// Number of established sessions.
    pub up: u32,
    /// Number of configured sessions.
    pub total: u32,
    /// Both numbers as `UP/TOTAL`.
    #[serde(default)]
    pub summary: String,
}

/// Number of L3VNIs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VniCount {
    /// Number of L3VNIs that are up in FRR: zebra has a router MAC, and bgpd knows the VNI.
    pub ready: u32,
    /// Number of configured L3VNIs.
    pub total: u32,
}

/// What is attached to an L2VNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SegmentState {
    /// VXLAN network identifier.
    pub vni: u32,
    /// MAC addresses. Absent until they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs: Option<AttachedCount>,
    /// IP addresses whose MAC address is known. Absent until they are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbors: Option<AttachedCount>,
    /// Number of VTEPs to which broadcast is sent.
    pub remote_vteps: u32,
}

/// A number by place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AttachedCount {
    /// Number on this node.
    pub local: u64,
    /// Number behind other VTEPs.
    pub remote: u64,
}

/// A BGP session that is not established.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SessionDown {
    /// VRF of the session. Absent for a session of the underlay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Address or interface of the peer.
    pub peer: String,
    /// Why it is not established, as a word: `wrong-asn`, `no-answer` and so on. Absent while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Why it is not established.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The state of an object on this node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceState {
    /// Kind of the object.
    pub kind: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// VRF that the object is on this node, or in which its segment is routed. Absent where there is none, or the object is not in
    /// force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// VNI that the object is on this node. Absent where it is none, or is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<u32>,
    /// `metadata.generation` of the object that was observed. Absent if the object could not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`, `Failed` or `Rejected`.
    pub state: String,
    /// `Applied`, `ApplyFailed`, `NotUp`, or the reason of the rejection.
    pub reason: String,
    /// What is wrong, and the remedy. Absent if nothing is wrong.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Whether the last accepted version is in force because the present one is rejected.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
}

/// A condition of the router.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouterCondition {
    /// Type of the condition.
    #[serde(rename = "type")]
    pub type_: ConditionType,
    /// Status of the condition.
    pub status: ConditionStatus,
    /// Reason of the status.
    pub reason: ConditionReason,
    /// The objects or sessions concerned, and the remedy. Empty if nothing is wrong.
    #[serde(default)]
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Time,
}

/// Type of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum ConditionType {
    /// An Underlay is accepted, every accepted object is applied, a session with the fabric carries L2VPN EVPN, and every VNI is
    /// up.
    Ready,
    /// A session with the fabric carries L2VPN EVPN.
    FabricConnected,
    /// An object is rejected or failed, a session or a VNI is down, or another check finds a problem.
    Degraded,
}

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// It is met.
    True,
    /// It is not met.
    False,
}

/// Reason of a condition: a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionReason {
    /// Every accepted object is applied.
    Applied,
    /// Nothing is wrong.
    AsExpected,
    /// A session with the fabric carries L2VPN EVPN.
    EvpnSession,
    /// No session with the fabric is established.
    NoFabricSession,
    /// No session with the fabric carries L2VPN EVPN.
    NoEvpnSession,
    /// A VNI is not up in FRR.
    VniDown,
    /// A check finds a problem that is none of the others: `perouter check` on the node shows all.
    CheckFailed,
    /// No Underlay is accepted for this node.
    NoUnderlay,
    /// An accepted object could not be applied. It is retried.
    ApplyFailed,
    /// An object is rejected.
    Rejected,
    /// A session is not established.
    SessionsDown,
    /// FRR does not respond.
    RouterUnreachable,
}

impl ConditionReason {
    /// As the condition has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "Applied",
            Self::AsExpected => "AsExpected",
            Self::EvpnSession => "EvpnSession",
            Self::NoFabricSession => "NoFabricSession",
            Self::NoEvpnSession => "NoEvpnSession",
            Self::VniDown => "VniDown",
            Self::CheckFailed => "CheckFailed",
            Self::NoUnderlay => "NoUnderlay",
            Self::ApplyFailed => "ApplyFailed",
            Self::Rejected => "Rejected",
            Self::SessionsDown => "SessionsDown",
            Self::RouterUnreachable => "RouterUnreachable",
        }
    }
}
