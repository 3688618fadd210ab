//! `L3VNI`: an IP-VRF that the fabric knows by its VNI, and the host's BGP session in it. Pure data.

#![allow(clippy::duplicated_attributes)] // the lint takes the columns of the derive for repetitions

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::bgp::{BfdSettings, EbgpMultiHop, GracefulRestart, PrefixRule, SecretKeyRef};
use crate::kind::cel;

/// An IP-VRF on the selected nodes, joined to the fabric by EVPN Type-5 routes (RFC 9136) over VXLAN.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "openpe.openperouter.github.io",
    version = "v1alpha1",
    kind = "L3VNI",
    plural = "l3vnis",
    namespaced,
    doc = "L3VNI is an IP-VRF on the selected nodes, joined to the fabric by EVPN Type-5 routes (RFC 9136) over VXLAN.",
    shortname = "l3v",
    category = "openpe",
    printcolumn(name = "VNI", type_ = "integer", json_path = ".spec.vni"),
    printcolumn(name = "VRF", type_ = "string", json_path = ".spec.vrf", description = "the name of the object if empty"),
    printcolumn(name = "ASN", type_ = "integer", json_path = ".spec.asn"),
    printcolumn(name = "Host ASN", type_ = "integer", json_path = ".spec.hostasn", description = "ASN if empty"),
    printcolumn(name = "Local IPv4", type_ = "string", json_path = ".spec.localcidr.ipv4"),
    printcolumn(name = "Local IPv6", type_ = "string", json_path = ".spec.localcidr.ipv6"),
    printcolumn(name = "VXLAN port", type_ = "integer", json_path = ".spec.vxlanport", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = name_is_vrf()
)]
#[x_kube(validation = needs_localcidr("hostSession"), validation = needs_localcidr("fromHost"))]
#[x_kube(validation = needs_localcidr("toHost"), validation = multihop_is_ebgp())]
#[x_kube(validation = source_has_localcidr("ipv4"), validation = source_has_localcidr("ipv6"))]
#[x_kube(validation = as_override_is_ebgp())]
#[serde(deny_unknown_fields)]
pub struct L3VNISpec {
    /// AS number of the router in this VRF, 1 to 4294967295.
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub asn: u32,
    /// VXLAN network identifier, 1 to 16777215.
    #[schemars(range(min = 1, max = 16_777_215))]
    pub vni: u32,
    /// Name of the VRF; the name of the object if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::vrf")]
    pub vrf: Option<String>,
    /// Subnets of the veth pair to the host. Without it the VRF has no host session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localcidr: Option<LocalCidr>,
    /// AS number of the host; `asn` (iBGP) if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub hostasn: Option<u32>,
    /// UDP port of VXLAN, 1 to 65535.
    #[serde(default = "default_vxlanport")]
    #[schemars(range(min = 1, max = 65535))]
    pub vxlanport: u16,
    /// Nodes that this VNI is for; all if absent.
    #[serde(default, rename = "nodeSelector", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::node_selector")]
    pub node_selector: Option<LabelSelector>,
    /// Route targets in place of those that FRR derives from AS number and VNI.
    #[serde(default, rename = "routeTargets", skip_serializing_if = "Option::is_none")]
    pub route_targets: Option<RouteTargets>,
    /// Properties of the host session.
    #[serde(default, rename = "hostSession", skip_serializing_if = "Option::is_none")]
    pub host_session: Option<HostSession>,
    /// What is taken from the host.
    #[serde(default, rename = "fromHost", skip_serializing_if = "Option::is_none")]
    pub from_host: Option<FromHost>,
    /// What is sent to the fabric.
    #[serde(default, rename = "toFabric", skip_serializing_if = "Option::is_none")]
    pub to_fabric: Option<ToFabric>,
    /// What is sent to the host.
    #[serde(default, rename = "toHost", skip_serializing_if = "Option::is_none")]
    pub to_host: Option<ToHost>,
}

fn default_vxlanport() -> u16 {
    4789
}

/// Subnets of the veth pair. The router takes the first host address on every node, the host of node index n the
/// address 1+n above.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = one_family_at_least())]
#[serde(deny_unknown_fields)]
pub struct LocalCidr {
    /// IPv4 subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::subnet_v4")]
    pub ipv4: Option<String>,
    /// IPv6 subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::subnet_v6")]
    pub ipv6: Option<String>,
}

/// Route targets, `ASN:NUMBER` or `IPV4:NUMBER`. An empty list keeps the derived one of its direction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTargets {
    /// Routes with one of these are taken into the VRF.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cel::route_targets")]
    pub import: Vec<String>,
    /// Routes of the VRF carry these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cel::route_targets")]
    pub export: Vec<String>,
}

/// Properties of the BGP session with the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = cel::timers_together(), validation = cel::timers_order(), validation = cel::timers_zero())]
#[x_kube(validation = minimum_ttl_is_multihop(), validation = listen_port_is_unsigned())]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSession {
    /// TCP MD5 password (RFC 2385).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKeyRef>,
    /// BFD for the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<BfdSettings>,
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
    /// Time between connection attempts in seconds, 1 to 65535; 1 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub connect_time_seconds: Option<u16>,
    /// Wait for the host to connect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passive: bool,
    /// TCP port on which the host listens, 1 to 65535; 179 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// A second TCP port on which the router answers this host, 1 to 65535: for a host that does not dial 179. The kernel
    /// must have nftables. Not with `passwordSecret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub listen_port: Option<u16>,
    /// Addresses from which the host speaks, in place of that of its veth end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<SourceAddress>,
    /// Hops that an eBGP host may be away. Where `sourceAddress` is not in `localcidr`, 2 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multihop: Option<EbgpMultiHop>,
    /// Graceful restart on the host session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestart>,
    /// VRF device of the host (`ip link add … type vrf`) in which the host's BGP speaker runs: the host end of the veth
    /// pair is put into it and kept there. The device is the host's own and must be there. Absent: the host end is left
    /// where it is, also in a VRF device into which somebody else put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::host_vrf")]
    pub vrf: Option<String>,
}

/// Addresses of the host for its BGP sessions: a pool, of which node index n has address n+1, or one address without a
/// length, for an L3VNI of one node. The host puts the address on an interface of its own, such as `lo`; where it is not
/// in `localcidr`, the router has a route to it by way of the host's veth address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = one_family_at_least())]
#[serde(deny_unknown_fields)]
pub struct SourceAddress {
    /// IPv4 pool or address, of the session over `localcidr.ipv4`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::pool_or_address_v4")]
    pub ipv4: Option<String>,
    /// IPv6 pool or address, of the session over `localcidr.ipv6`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::pool_or_address_v6")]
    pub ipv6: Option<String>,
}

/// What is taken from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FromHost {
    /// Prefixes that the host may announce. Absent: everything but the default route, the session subnet and the
    /// underlay's own prefixes. An empty list allows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub allowed_prefixes: Option<Vec<PrefixRule>>,
    /// Prefixes for each address family; with one more the session is closed, and tried again after a minute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub max_prefixes: Option<u32>,
    /// Local preference of the host's routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_u32))]
    pub local_pref: Option<u32>,
}

/// An aggregate of the host's routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aggregate {
    /// The aggregate.
    #[schemars(schema_with = "cel::prefix")]
    pub prefix: String,
    /// Announce the aggregate alone, without its parts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub summary_only: bool,
}

/// What is sent to the fabric.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
pub struct ToFabric {
    /// Aggregates, announced while one of their parts is in the VRF: a route of the host, or one that another node sends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["prefix".to_owned()]))]
    pub aggregates: Vec<Aggregate>,
    /// Communities added to every route of the VRF, `ASN:NUMBER` or a well-known name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cel::communities")]
    pub communities: Vec<String>,
}

/// What is sent to the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToHost {
    /// Prefixes that the host gets. Absent: all. An empty list allows none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub allowed_prefixes: Option<Vec<PrefixRule>>,
    /// Put `asn` in place of the host's own AS number in AS paths (as-override), so that the host takes the routes of the
    /// other nodes' hosts, which have the same AS number. eBGP only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_override: bool,
}

/// An object name that serves as VRF name is bound by the rules of [`cel::vrf`].
fn name_is_vrf() -> Rule {
    Rule::new(
        "has(self.spec.vrf) || (self.metadata.name.matches('^[a-z][a-z0-9-]{0,14}$') && \
         !(self.metadata.name in ['default', 'all', 'lo']))",
    )
    .message(
        "is missing, and the name of the object cannot serve as VRF name: \
         give 1 to 15 letters, digits, '-' or '_', starting with a letter, other than default, all and lo",
    )
    .field_path(".spec.vrf")
}

fn needs_localcidr(field: &str) -> Rule {
    Rule::new(format!("!has(self.{field}) || has(self.localcidr)"))
        .message("needs localcidr, since without it there is no host session: set localcidr or remove this field")
        .field_path(format!(".{field}"))
}

fn multihop_is_ebgp() -> Rule {
    Rule::new(
        "!has(self.hostSession) || !has(self.hostSession.multihop) || (has(self.hostasn) && self.hostasn != self.asn)",
    )
    .message("is for eBGP: set hostasn to another AS number than asn or remove it")
    .field_path(".hostSession.multihop")
}

fn as_override_is_ebgp() -> Rule {
    Rule::new(
        "!has(self.toHost) || !has(self.toHost.asOverride) || !self.toHost.asOverride || \
         (has(self.hostasn) && self.hostasn != self.asn)",
    )
    .message("is for eBGP: set hostasn to another AS number than asn or remove it")
    .field_path(".toHost.asOverride")
}

fn source_has_localcidr(family: &str) -> Rule {
    Rule::new(format!(
        "!has(self.hostSession) || !has(self.hostSession.sourceAddress) || \
         !has(self.hostSession.sourceAddress.{family}) || (has(self.localcidr) && has(self.localcidr.{family}))"
    ))
    .message("needs the subnet of its family in localcidr, over which the session runs: set it or remove this field")
    .field_path(format!(".hostSession.sourceAddress.{family}"))
}

// RFC 2385 section 2.0: the digest covers the ports.
fn listen_port_is_unsigned() -> Rule {
    Rule::new("!has(self.listenPort) || self.listenPort == 179 || !has(self.passwordSecret)")
        .message(
            "does not go with passwordSecret, since TCP MD5 signs the port that the host dials: have the host dial 179 and \
             remove this field, or remove the password",
        )
        .field_path(".listenPort")
}

// FRR's bfdd reads the minimum TTL of multihop sessions only; single hop is always 255 (RFC 5881 section 5).
fn minimum_ttl_is_multihop() -> Rule {
    Rule::new("!has(self.bfd) || !has(self.bfd.minimumTTL) || has(self.multihop)")
        .message("is for sessions over several hops: set multihop as well or remove it")
        .field_path(".bfd.minimumTTL")
}

fn one_family_at_least() -> Rule {
    Rule::new("has(self.ipv4) || has(self.ipv6)").message("is empty: give ipv4, ipv6 or both")
}
