//! `Underlay`: how the node meets the fabric.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bgp::{BfdSettings, EbgpMultiHop, GracefulRestart, SecretKeyRef};

/// The connection of the selected nodes to the fabric: NICs, BGP neighbors and VTEP pool. One for each node.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "openpe.openperouter.github.io", version = "v1alpha1", kind = "Underlay", namespaced)]
#[serde(deny_unknown_fields)]
pub struct UnderlaySpec {
    /// AS number of the router, 1 to 4294967295.
    pub asn: u32,
    /// Pool of VTEP addresses. Node index n takes address n+1.
    pub vtepcidr: String,
    /// Fabric NICs, moved into the router network namespace.
    pub nics: Vec<String>,
    /// BGP neighbors in the fabric.
    #[serde(default)]
    pub neighbors: Vec<Neighbor>,
    /// Pool of BGP router ids. Node index n takes address n+1.
    #[serde(default = "default_routeridcidr")]
    pub routeridcidr: String,
    /// Graceful restart towards the fabric.
    #[serde(default, rename = "gracefulRestart", skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestart>,
    /// Nodes that this underlay is for; all if absent.
    #[serde(default, rename = "nodeSelector", skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<LabelSelector>,
}

fn default_routeridcidr() -> String {
    "10.0.0.0/24".to_owned()
}

/// Relation of the peer's AS to ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NeighborType {
    /// Any other AS (eBGP).
    External,
    /// Our AS (iBGP).
    Internal,
}

/// A BGP neighbor in the fabric. Exactly one of `asn` and `type`, exactly one of `address` and `interface`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Neighbor {
    /// AS number of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asn: Option<u32>,
    /// Relation of the AS numbers where the number itself is not given.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<NeighborType>,
    /// IP address of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// NIC behind which the peer is (BGP unnumbered, RFC 8950).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// TCP port of the peer, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Hold time in seconds: 0, or 3 to 65535. Together with `keepaliveTimeSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_time_seconds: Option<u16>,
    /// Keepalive interval in seconds, at most the hold time. Together with `holdTimeSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time_seconds: Option<u16>,
    /// Time between connection attempts in seconds, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_time_seconds: Option<u16>,
    /// TCP MD5 password (RFC 2385).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKeyRef>,
    /// The peer is not on a connected subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<EbgpMultiHop>,
    /// BFD for the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<BfdSettings>,
    /// Wait for the peer to connect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passive: bool,
}
