//! `Underlay`: how the node meets the fabric. Pure data.

#![allow(clippy::duplicated_attributes)] // the lint takes the columns of the derive for repetitions

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::bgp::{BfdSettings, EbgpMultiHop, GracefulRestart, SecretKeyRef};
use crate::kind::cel;

/// The connection of the selected nodes to the fabric: NICs, BGP neighbors and VTEP pool. One for each node.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "openpe.openperouter.github.io",
    version = "v1alpha1",
    kind = "Underlay",
    namespaced,
    doc = "Underlay tells how the selected nodes meet the fabric: NICs, BGP neighbors and VTEP pool. One for each node.",
    shortname = "ul",
    category = "openpe",
    printcolumn(name = "ASN", type_ = "integer", json_path = ".spec.asn"),
    printcolumn(name = "VTEP CIDR", type_ = "string", json_path = ".spec.vtepcidr"),
    printcolumn(name = "NICs", type_ = "string", json_path = ".spec.nics"),
    printcolumn(name = "Router IDs", type_ = "string", json_path = ".spec.routeridcidr", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = neighbors_unique(), validation = multihop_is_ebgp(), validation = minimum_ttl_is_multihop())]
#[serde(deny_unknown_fields)]
pub struct UnderlaySpec {
    /// AS number of the router, 1 to 4294967295.
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub asn: u32,
    /// Pool of VTEP addresses. Node index n takes address n+1.
    #[schemars(schema_with = "cel::pool")]
    pub vtepcidr: String,
    /// Fabric NICs, moved into the router network namespace.
    #[schemars(schema_with = "cel::nics")]
    pub nics: Vec<String>,
    /// BGP neighbors in the fabric.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub neighbors: Vec<Neighbor>,
    /// Pool of BGP router ids. Node index n takes address n+1.
    #[serde(default = "default_routeridcidr")]
    #[schemars(schema_with = "cel::router_id_pool")]
    pub routeridcidr: String,
    /// Graceful restart towards the fabric.
    #[serde(default, rename = "gracefulRestart", skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestart>,
    /// Nodes that this underlay is for; all if absent.
    #[serde(default, rename = "nodeSelector", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::node_selector")]
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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = asn_or_type(), validation = address_or_interface())]
#[x_kube(validation = cel::timers_together(), validation = cel::timers_order(), validation = cel::timers_zero())]
#[x_kube(validation = unnumbered_is_one_hop(), validation = internal_is_no_ebgp())]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Neighbor {
    /// AS number of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub asn: Option<u32>,
    /// Relation of the AS numbers where the number itself is not given.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<NeighborType>,
    /// IP address of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::address")]
    pub address: Option<String>,
    /// NIC behind which the peer is (BGP unnumbered, RFC 8950).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::nic")]
    pub interface: Option<String>,
    /// TCP port of the peer, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Hold time in seconds: 0, or 3 to 65535. Together with `keepaliveTimeSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    #[x_kube(validation = cel::hold_time())]
    pub hold_time_seconds: Option<u16>,
    /// Keepalive interval in seconds, at most the hold time; FRR uses a third of the hold time if that is less.
    /// Together with `holdTimeSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub keepalive_time_seconds: Option<u16>,
    /// Time between connection attempts in seconds, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
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

fn neighbors_unique() -> Rule {
    Rule::new(
        "!has(self.neighbors) || self.neighbors.all(a, \
         (!has(a.interface) || self.neighbors.exists_one(b, has(b.interface) && b.interface == a.interface)) && \
         (!has(a.address) || !isIP(a.address) || \
         self.neighbors.exists_one(b, has(b.address) && isIP(b.address) && ip(b.address) == ip(a.address))))",
    )
    .message("two neighbors have the same address or interface: keep one")
    .field_path(".neighbors")
}

fn multihop_is_ebgp() -> Rule {
    Rule::new(
        "!has(self.neighbors) || self.neighbors.all(n, !has(n.ebgpMultiHop) || !has(n.asn) || n.asn != self.asn)",
    )
    .message("ebgpMultiHop is for a neighbor of another AS: remove it where asn is the underlay's own, since iBGP needs none")
    .field_path(".neighbors")
}

// FRR's bfdd reads the minimum TTL of multihop sessions only; single hop is always 255 (RFC 5881 section 5).
fn minimum_ttl_is_multihop() -> Rule {
    Rule::new(
        "!has(self.neighbors) || self.neighbors.all(n, !has(n.bfd) || !has(n.bfd.minimumTTL) || has(n.ebgpMultiHop) || \
         (!has(n.interface) && ((has(n.type) && n.type == 'internal') || (has(n.asn) && n.asn == self.asn))))",
    )
    .message("bfd.minimumTTL is for sessions over several hops: set ebgpMultiHop as well or remove it")
    .field_path(".neighbors")
}

fn asn_or_type() -> Rule {
    Rule::new("has(self.asn) != has(self.type)").message(
        "give exactly one of asn and type: the number of the peer's AS, or `type: external` or `type: internal`",
    )
}

fn address_or_interface() -> Rule {
    Rule::new("has(self.address) != has(self.interface)").message(
        "give exactly one of address and interface: the IP address of the peer, or the NIC of an unnumbered session",
    )
}

fn unnumbered_is_one_hop() -> Rule {
    Rule::new("!has(self.interface) || !has(self.ebgpMultiHop)")
        .message("does not go with interface: an unnumbered session has one hop; give address instead")
        .field_path(".ebgpMultiHop")
}

fn internal_is_no_ebgp() -> Rule {
    Rule::new("!has(self.ebgpMultiHop) || !has(self.type) || self.type != 'internal'")
        .message("does not go with `type: internal`: iBGP needs no multihop; remove it")
        .field_path(".ebgpMultiHop")
}
