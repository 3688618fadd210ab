//! The API of `Underlay`. In: nothing. Out: the spec, whose doc comments are the descriptions that `kubectl explain` shows, and
//! the CEL rules of its fields. It must not look outside one object. Pure.

#![allow(clippy::duplicated_attributes)] // false positive: the columns of the derive

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

use crate::kind::bgp::{BfdSettings, EbgpMultiHop, GracefulRestartSettings, SecretKeyRef};
use crate::kind::cel;

/// How the selected nodes are connected to the fabric.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "openpe.openperouter.github.io",
    version = "v1alpha1",
    kind = "Underlay",
    namespaced,
    doc = "Underlay connects the selected nodes to the fabric: NICs, BGP neighbors and the pool of VTEP addresses. Each node uses at most one Underlay.",
    shortname = "ul",
    category = "openpe",
    printcolumn(name = "ASN", type_ = "integer", json_path = ".spec.asn"),
    printcolumn(name = "VTEP CIDR", type_ = "string", json_path = ".spec.vtepcidr"),
    printcolumn(name = "VTEP CIDR IPv6", type_ = "string", json_path = ".spec.vtepcidr6", priority = 1),
    printcolumn(name = "NICs", type_ = "string", json_path = ".spec.nics"),
    printcolumn(name = "Router IDs", type_ = "string", json_path = ".spec.routeridcidr", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = neighbors_unique(), validation = multihop_is_ebgp(), validation = minimum_ttl_is_multihop())]
#[x_kube(validation = second_pool_is_of_the_other_family(), validation = source_has_the_family_of_the_neighbor())]
#[serde(deny_unknown_fields)]
pub struct UnderlaySpec {
    /// AS number of the router in the fabric, 1 to 4294967295.
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub asn: u32,
    /// Pool of VTEP addresses, a prefix such as `100.65.0.0/24`. The VTEP of node index n is host address n+1 of the pool. An
    /// IPv6 pool requires FRR 10.6 or later.
    #[schemars(schema_with = "cel::pool")]
    pub vtepcidr: String,
    /// Pool of IPv6 VTEP addresses besides an IPv4 pool in `vtepcidr`, a prefix such as `2001:db8:65::/64`, with FRR 10.6 or
    /// later. The node has a VTEP of each family; an L3VNI uses that of its `underlayAddressFamily`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::pool_v6")]
    pub vtepcidr6: Option<String>,
    /// NICs that are connected to the fabric, 1 to 16, by their names or alternative names. They are moved into the network
    /// namespace of the router with their addresses and routes. A NIC that the node needs otherwise is rejected, see
    /// `nicOverrides`.
    #[schemars(schema_with = "cel::nics")]
    pub nics: Vec<String>,
    /// Reasons not to take a NIC that do not count for these NICs. `DefaultRoute`: the node's only default route goes over it.
    /// `APIServerRoute`: it is the way to the API server. `StackedDevices`: VLAN, VXLAN, macvlan or other devices send through
    /// it. `Master`: it is a port of a bridge or has another master. `NoAddress`: it has no address in the subnet of a neighbor.
    /// What a NIC had on the host is restored when it returns.
    #[serde(default, rename = "nicOverrides", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "nic_overrides")]
    pub nic_overrides: Vec<NicOverride>,
    /// BGP neighbors in the fabric, at most 64.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub neighbors: Vec<NeighborSpec>,
    /// Pool of BGP router IDs (RFC 6286), an IPv4 prefix. The router ID of node index n is host address n+1 of the pool.
    /// Default: `10.0.0.0/24`.
    #[serde(default = "default_routeridcidr")]
    #[schemars(schema_with = "cel::router_id_pool")]
    pub routeridcidr: String,
    /// Prefixes that no VRF of the node may have from a host or the fabric, such as those of nodes, Pods and services, at most
    /// 64: routes to them and to parts of them are filtered, from the fabric with FRR 10, also those that
    /// `fromHost.allowedPrefixes` of an L3VNI allows. The subnets of the NICs, `vtepcidr`, `vtepcidr6`, the addresses of
    /// `neighbors` and `localcidr` of every L3VNI are always protected.
    #[serde(default, rename = "protectedPrefixes", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cel::protected_prefixes")]
    pub protected_prefixes: Vec<String>,
    /// Graceful restart (RFC 4724) on the sessions with the fabric. Absent: helper mode, in
    /// which the router keeps the routes of a restarting peer.
    #[serde(default, rename = "gracefulRestart", skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestartSettings>,
    /// Labels of the nodes that use this Underlay. Absent: all nodes.
    #[serde(default, rename = "nodeSelector", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::node_selector")]
    pub node_selector: Option<LabelSelector>,
}

fn default_routeridcidr() -> String {
    "10.0.0.0/24".to_owned()
}

/// A reason not to take a NIC that an Underlay may override.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NicOverride {
    /// The node's only default route goes over it.
    DefaultRoute,
    /// The node reaches the API server over it.
    #[serde(rename = "APIServerRoute")]
    ApiServerRoute,
    /// VLAN, VXLAN, macvlan or other devices send through it.
    StackedDevices,
    /// It has a master, such as a bridge.
    Master,
    /// It has no address in the subnet of a neighbor.
    NoAddress,
}

impl NicOverride {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::DefaultRoute, Self::ApiServerRoute, Self::StackedDevices, Self::Master, Self::NoAddress];

    /// As in an object.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DefaultRoute => "DefaultRoute",
            Self::ApiServerRoute => "APIServerRoute",
            Self::StackedDevices => "StackedDevices",
            Self::Master => "Master",
            Self::NoAddress => "NoAddress",
        }
    }
}

impl fmt::Display for NicOverride {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn nic_overrides(_: &mut SchemaGenerator) -> Schema {
    cel::choices(&NicOverride::ALL.map(NicOverride::as_str))
}

/// Whether the peer is in the AS of the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NeighborType {
    /// In any other AS (eBGP).
    External,
    /// In the AS of the router (iBGP).
    Internal,
}

/// Address of the router on the session. `VTEP`: that of the family of `address`, for EVPN between loopbacks. Such a session
/// carries L2VPN EVPN alone, since it needs the routes that IPv4 or IPv6 unicast would bring. `NIC`: that of the NIC towards
/// the peer. Default: `VTEP` with `ebgpMultiHop` where the node has a VTEP of that family, else `NIC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UpdateSource {
    /// The VTEP of the family of the peer's address.
    #[serde(rename = "VTEP")]
    Vtep,
    /// That of the NIC towards the peer.
    #[serde(rename = "NIC")]
    Nic,
}

/// A BGP neighbor in the fabric. Set exactly one of `asn` and `type`, and exactly one of `address` and `interface`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = asn_or_type(), validation = address_or_interface())]
#[x_kube(validation = cel::timers_together(), validation = cel::timers_order(), validation = cel::timers_zero())]
#[x_kube(validation = unnumbered_is_one_hop(), validation = internal_is_no_ebgp(), validation = unnumbered_has_no_source())]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NeighborSpec {
    /// AS number of the peer, 1 to 4294967295.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub asn: Option<u32>,
    /// In place of `asn`: `external` for a peer in any other AS (eBGP), `internal` for one in the AS of the router (iBGP).
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<NeighborType>,
    /// IPv4 or IPv6 address of the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::address")]
    pub address: Option<String>,
    /// In place of `address`: the NIC on which the peer is found by its IPv6 link-local address (BGP unnumbered, RFC 8950).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::nic")]
    pub interface: Option<String>,
    /// TCP port on which the peer listens, 1 to 65535. Default: 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Hold time in seconds, 0 (no keepalives) or 3 to 65535 (RFC 4271). Requires `keepaliveTimeSeconds`. Default: 180.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    #[x_kube(validation = cel::hold_time())]
    pub hold_time_seconds: Option<u16>,
    /// Keepalive interval in seconds, 0 to 65535 and at most the hold time; FRR uses at most a third of the hold time. Requires
    /// `holdTimeSeconds`. Default: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 65535))]
    pub keepalive_time_seconds: Option<u16>,
    /// Time between attempts to connect in seconds, 1 to 65535. Default: 120.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub connect_time_seconds: Option<u16>,
    /// Password for TCP MD5 authentication (RFC 2385).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKeyRef>,
    /// Allows an eBGP peer that is not on a connected subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ebgp_multi_hop: Option<EbgpMultiHop>,
    /// The address of the router on the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update_source: Option<UpdateSource>,
    /// BFD for the session (RFC 5880). Absent: no BFD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<BfdSettings>,
    /// Wait for the peer to connect instead of connecting to it. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passive: bool,
}

/// Each list is made once and its items are searched by a function, since an item costs an expression in a comprehension.
fn neighbors_unique() -> Rule {
    let unique = |items: &str| format!("[{items}].all(found, found.all(x, found.indexOf(x) == found.lastIndexOf(x)))");
    let addresses = unique("self.neighbors.map(n, has(n.address) && isIP(n.address), ip(n.address))");
    let interfaces = unique("self.neighbors.map(n, has(n.interface), n.interface)");
    Rule::new(format!("!has(self.neighbors) || ({addresses} && {interfaces})"))
        .message("two neighbors have the same address or interface: remove one")
        .field_path(".neighbors")
}

fn second_pool_is_of_the_other_family() -> Rule {
    Rule::new("!has(self.vtepcidr6) || !isCIDR(self.vtepcidr) || cidr(self.vtepcidr).ip().family() == 4")
        .message("is a second IPv6 pool, as vtepcidr is one: write the IPv4 pool to vtepcidr, or remove this field")
        .field_path(".vtepcidr6")
}

fn source_has_the_family_of_the_neighbor() -> Rule {
    Rule::new(
        "!has(self.neighbors) || has(self.vtepcidr6) || !isCIDR(self.vtepcidr) || self.neighbors.all(n, \
         !has(n.updateSource) || n.updateSource != 'VTEP' || !has(n.address) || !isIP(n.address) || \
         ip(n.address).family() == cidr(self.vtepcidr).ip().family())",
    )
    .message(
        "`updateSource: VTEP` needs a VTEP of the address family of the neighbor: add a pool of that family, set the address of the \
         peer in the family of vtepcidr, or set `updateSource: NIC`",
    )
    .field_path(".neighbors")
}

fn multihop_is_ebgp() -> Rule {
    Rule::new("!has(self.neighbors) || self.neighbors.all(n, !has(n.ebgpMultiHop) || !has(n.asn) || n.asn != self.asn)")
        .message("ebgpMultiHop applies to eBGP only: remove it from neighbors whose asn is that of the Underlay")
        .field_path(".neighbors")
}

// FRR's bfdd uses the minimum TTL of multihop sessions only; single hop is always 255 (RFC 5881 section 5).
fn minimum_ttl_is_multihop() -> Rule {
    Rule::new(
        "!has(self.neighbors) || self.neighbors.all(n, !has(n.bfd) || !has(n.bfd.minimumTTL) || has(n.ebgpMultiHop) || \
         (!has(n.interface) && ((has(n.type) && n.type == 'internal') || (has(n.asn) && n.asn == self.asn))))",
    )
    .message("bfd.minimumTTL applies to multihop sessions only: set ebgpMultiHop as well or remove it")
    .field_path(".neighbors")
}

fn asn_or_type() -> Rule {
    Rule::new("has(self.asn) != has(self.type)")
        .message("set exactly one of asn and type: the AS number of the peer, or `type: external` or `type: internal`")
}

fn address_or_interface() -> Rule {
    Rule::new("has(self.address) != has(self.interface)").message(
        "set exactly one of address and interface: the IP address of the peer, or the NIC of an unnumbered session",
    )
}

fn unnumbered_is_one_hop() -> Rule {
    Rule::new("!has(self.interface) || !has(self.ebgpMultiHop)")
        .message("is not allowed with interface: an unnumbered session has one hop; set address instead")
        .field_path(".ebgpMultiHop")
}

fn unnumbered_has_no_source() -> Rule {
    Rule::new("!has(self.interface) || !has(self.updateSource) || self.updateSource != 'VTEP'")
        .message(
            "is not allowed with interface: an unnumbered session is between the link-local addresses of the link; set address, that \
             of the peer's loopback, in place of interface, or remove this field",
        )
        .field_path(".updateSource")
}

fn internal_is_no_ebgp() -> Rule {
    Rule::new("!has(self.ebgpMultiHop) || !has(self.type) || self.type != 'internal'")
        .message("is not allowed with `type: internal`: iBGP needs no multihop; remove it")
        .field_path(".ebgpMultiHop")
}
