//! The API of `L3VNI`. In: nothing. Out: the spec, whose doc comments are the descriptions that `kubectl explain` shows, and the
//! CEL rules of its fields. It must not look outside one object. Pure.

#![allow(clippy::duplicated_attributes)] // false positive: the columns of the derive

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::kind::bgp::{BfdSettings, EbgpMultiHop, GracefulRestartSettings, PrefixRule, SecretKeyRef};
use crate::kind::cel;
use crate::kind::vni_fields::{AddressFamily, RouteTargets, default_vxlanport};
use crate::names;

/// An IP-VRF on the selected nodes and its BGP session with the host.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "openpe.openperouter.github.io",
    version = "v1alpha1",
    kind = "L3VNI",
    plural = "l3vnis",
    namespaced,
    doc = "L3VNI is an IP-VRF on the selected nodes, connected to the fabric by EVPN Type-5 routes (RFC 9136) over VXLAN.",
    shortname = "l3v",
    category = "openpe",
    printcolumn(name = "VNI", type_ = "integer", json_path = ".spec.vni"),
    printcolumn(name = "VRF", type_ = "string", json_path = ".spec.vrf", description = "empty: the name of the object"),
    printcolumn(name = "ASN", type_ = "integer", json_path = ".spec.asn"),
    printcolumn(name = "Host ASN", type_ = "integer", json_path = ".spec.hostasn", description = "empty: ASN"),
    printcolumn(name = "Local IPv4", type_ = "string", json_path = ".spec.localcidr.ipv4"),
    printcolumn(name = "Local IPv6", type_ = "string", json_path = ".spec.localcidr.ipv6"),
    printcolumn(name = "Underlay", type_ = "string", json_path = ".spec.underlayAddressFamily", description = "address family of the VTEPs", priority = 1),
    printcolumn(name = "VXLAN port", type_ = "integer", json_path = ".spec.vxlanport", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = name_is_vrf()
)]
#[x_kube(validation = needs_localcidr("hostSession"), validation = needs_localcidr("fromHost"))]
#[x_kube(validation = needs_localcidr("toHost"), validation = multihop_is_ebgp())]
#[x_kube(validation = source_has_localcidr("ipv4"), validation = source_has_localcidr("ipv6"))]
#[x_kube(validation = as_override_is_ebgp(), validation = needs_localcidr("hostReversePathFilter"))]
#[serde(deny_unknown_fields)]
pub struct L3VNISpec {
    /// AS number of the router in this VRF, 1 to 4294967295.
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub asn: u32,
    /// VXLAN network identifier (RFC 7348), 1 to 16777215.
    #[schemars(range(min = 1, max = 16_777_215))]
    pub vni: u32,
    /// Name of the VRF, at most 15 characters. Default: the name of the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::vrf")]
    pub vrf: Option<String>,
    /// Subnets of the veth pair between router and host, the same on all nodes. The router has the first host address, the
    /// host of node index n the address 1+n above it. Absent: the VRF has no host session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localcidr: Option<LocalCidr>,
    /// AS number of the host, 1 to 4294967295. Default: `asn` (iBGP).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub hostasn: Option<u32>,
    /// Address family of the VTEPs between which packets of this VNI are sent, the same on all nodes and leaves that have it.
    /// Requires a pool of that family on the Underlay. Default: that of the pool; `IPv4` where there are both.
    #[serde(default, rename = "underlayAddressFamily", skip_serializing_if = "Option::is_none")]
    pub underlay_address_family: Option<AddressFamily>,
    /// UDP port of VXLAN, 1 to 65535. Default: 4789.
    #[serde(default = "default_vxlanport")]
    #[schemars(range(min = 1, max = 65535))]
    pub vxlanport: u16,
    /// Labels of the nodes that have this VNI. Absent: all nodes.
    #[serde(default, rename = "nodeSelector", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::node_selector")]
    pub node_selector: Option<LabelSelector>,
    /// Route targets (RFC 4360) in place of those that FRR derives from AS number and VNI (RFC 8365).
    #[serde(default, rename = "routeTargets", skip_serializing_if = "Option::is_none")]
    pub route_targets: Option<RouteTargets>,
    /// Properties of the BGP session with the host.
    #[serde(default, rename = "hostSession", skip_serializing_if = "Option::is_none")]
    pub host_session: Option<HostSessionSpec>,
    /// Filters and attributes of routes received from the host.
    #[serde(default, rename = "fromHost", skip_serializing_if = "Option::is_none")]
    pub from_host: Option<FromHost>,
    /// Aggregates and attributes of routes advertised to the fabric.
    #[serde(default, rename = "toFabric", skip_serializing_if = "Option::is_none")]
    pub to_fabric: Option<ToFabric>,
    /// Which sources the host accepts on its end of the veth pair (RFC 3704). Default: `Loose`.
    #[serde(default, rename = "hostReversePathFilter", skip_serializing_if = "Option::is_none")]
    pub host_reverse_path_filter: Option<ReversePathFilter>,
    /// Filters and attributes of routes advertised to the host.
    #[serde(default, rename = "toHost", skip_serializing_if = "Option::is_none")]
    pub to_host: Option<ToHost>,
}

/// Which sources are accepted on a link (RFC 3704).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReversePathFilter {
    /// Those to which the host has a route, through any of its links.
    Loose,
    /// Those to which the best route of the host leads through the veth pair. Not where replies leave the node another way.
    Strict,
}

/// Subnets of the veth pair between router and host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = one_family_at_least())]
#[serde(deny_unknown_fields)]
pub struct LocalCidr {
    /// IPv4 subnet, such as `192.168.10.0/24`, with a prefix length of at most 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::subnet_v4")]
    pub ipv4: Option<String>,
    /// IPv6 subnet, such as `2001:db8:10::/64`, with a prefix length of at most 126.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::subnet_v6")]
    pub ipv6: Option<String>,
}

/// Properties of the BGP session with the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = cel::timers_together(), validation = cel::timers_order(), validation = cel::timers_zero())]
#[x_kube(validation = minimum_ttl_is_multihop(), validation = listen_port_is_unsigned())]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostSessionSpec {
    /// Password for TCP MD5 authentication (RFC 2385).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKeyRef>,
    /// BFD for the session (RFC 5880). Absent: no BFD.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bfd: Option<BfdSettings>,
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
    /// Time between attempts to connect in seconds, 1 to 65535. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub connect_time_seconds: Option<u16>,
    /// Wait for the host to connect instead of connecting to it. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passive: bool,
    /// TCP port on which the host listens, 1 to 65535. Default: 179.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// TCP port, 1 to 65535, on which the router accepts the session besides 179, for a host that connects to another port.
    /// Requires nftables in the kernel. Not allowed with `passwordSecret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub listen_port: Option<u16>,
    /// Addresses of the host in its sessions, in place of those of its veth end. The host configures its address on an interface
    /// such as `lo`. The router routes an address outside `localcidr` via the veth address of the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_address: Option<SourceAddress>,
    /// Allows an eBGP host that is not on the veth subnet. Default: a TTL of 2 where `sourceAddress` is not in `localcidr`, else
    /// one hop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multihop: Option<EbgpMultiHop>,
    /// Graceful restart (RFC 4724) on the host session. Absent: helper mode, in
    /// which the router keeps the routes of a restarting peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestartSettings>,
    /// VRF device of the host (`ip link add NAME type vrf`) in which the host's BGP speaker runs: the host end of the veth
    /// pair is put into it and kept there. The device belongs to the host and must exist. Absent: the host end is not moved,
    /// also out of a VRF device into which somebody else has put it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::host_vrf")]
    pub vrf: Option<String>,
}

/// Addresses of the host in its BGP sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = one_family_at_least())]
#[serde(deny_unknown_fields)]
pub struct SourceAddress {
    /// IPv4 address of the host in the session over `localcidr.ipv4`: a prefix, of which the host of node index n has host
    /// address n+1, or one address, for an L3VNI of one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::pool_or_address_v4")]
    pub ipv4: Option<String>,
    /// IPv6 address of the host in the session over `localcidr.ipv6`: a prefix, of which the host of node index n has host
    /// address n+1, or one address, for an L3VNI of one node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::pool_or_address_v6")]
    pub ipv6: Option<String>,
}

/// Filters and attributes of routes received from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FromHost {
    /// Prefixes that are accepted from the host, at most 512. Absent: all but the default route, the prefixes in `localcidr` and
    /// those of the underlay. An empty list accepts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub allowed_prefixes: Option<Vec<PrefixRule>>,
    /// Maximum number of prefixes for each address family, 1 to 4294967295. With one more the session is closed, and connected
    /// again after a minute. Absent: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4_294_967_295_u32))]
    pub max_prefixes: Option<u32>,
    /// Local preference of the host's routes, 0 to 4294967295. Default: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 4_294_967_295_u32))]
    pub local_pref: Option<u32>,
}

/// An aggregate of routes of the VRF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AggregateSpec {
    /// Prefix of the aggregate, such as `192.0.2.0/24`.
    #[schemars(schema_with = "cel::prefix")]
    pub prefix: String,
    /// Advertise only the aggregate, not the routes that it covers. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub summary_only: bool,
}

/// Aggregates and attributes of routes advertised to the fabric.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(deny_unknown_fields)]
pub struct ToFabric {
    /// Aggregates, at most 128, each advertised while the VRF has a route that it covers, from the host or from another node.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["prefix".to_owned()]))]
    pub aggregates: Vec<AggregateSpec>,
    /// Communities (RFC 1997) added to every route of the VRF, `ASN:NUMBER` or a well-known name, at most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cel::communities")]
    pub communities: Vec<String>,
}

/// Filters and attributes of routes advertised to the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToHost {
    /// Prefixes that are advertised to the host, at most 512. Absent: all. An empty list advertises none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub allowed_prefixes: Option<Vec<PrefixRule>>,
    /// Replace the AS number of the host by `asn` in AS paths (as-override), so that the host accepts routes of the hosts of
    /// other nodes, which have the same AS number. eBGP only. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub as_override: bool,
}

/// An object name that is used as VRF name must satisfy the rules of [`cel::vrf`].
fn name_is_vrf() -> Rule {
    Rule::new(
        format!(
            "has(self.spec.vrf) || (self.metadata.name.matches('^[a-z][a-z0-9-]{{0,14}}$') && {})",
            names::unreserved_rule("self.metadata.name")
        ),
    )
    .message(
        "is missing, and the name of the object is not a valid VRF name: \
         set 1 to 15 letters, digits, '-' or '_', starting with a letter, and no name of the kernel or of perouter (default, lo, sit0, pe-100)",
    )
    .field_path(".spec.vrf")
}

fn needs_localcidr(field: &str) -> Rule {
    Rule::new(format!("!has(self.{field}) || has(self.localcidr)"))
        .message("requires localcidr, without which there is no host session: set localcidr or remove this field")
        .field_path(format!(".{field}"))
}

fn multihop_is_ebgp() -> Rule {
    Rule::new(
        "!has(self.hostSession) || !has(self.hostSession.multihop) || (has(self.hostasn) && self.hostasn != self.asn)",
    )
    .message("applies to eBGP only: set hostasn to an AS number other than asn, or remove this field")
    .field_path(".hostSession.multihop")
}

fn as_override_is_ebgp() -> Rule {
    Rule::new(
        "!has(self.toHost) || !has(self.toHost.asOverride) || !self.toHost.asOverride || \
         (has(self.hostasn) && self.hostasn != self.asn)",
    )
    .message("applies to eBGP only: set hostasn to an AS number other than asn, or remove this field")
    .field_path(".toHost.asOverride")
}

fn source_has_localcidr(family: &str) -> Rule {
    Rule::new(format!(
        "!has(self.hostSession) || !has(self.hostSession.sourceAddress) || \
         !has(self.hostSession.sourceAddress.{family}) || (has(self.localcidr) && has(self.localcidr.{family}))"
    ))
    .message(
        "requires the localcidr subnet of the same family, over which the session runs: set it or remove this field",
    )
    .field_path(format!(".hostSession.sourceAddress.{family}"))
}

// RFC 2385 section 2.0: the digest covers the ports.
fn listen_port_is_unsigned() -> Rule {
    Rule::new("!has(self.listenPort) || self.listenPort == 179 || !has(self.passwordSecret)")
        .message(
            "is not allowed with passwordSecret, since TCP MD5 authenticates the destination port: let the host connect to \
             port 179 and remove this field, or remove the password",
        )
        .field_path(".listenPort")
}

// FRR's bfdd uses the minimum TTL of multihop sessions only; single hop is always 255 (RFC 5881 section 5).
fn minimum_ttl_is_multihop() -> Rule {
    Rule::new("!has(self.bfd) || !has(self.bfd.minimumTTL) || has(self.multihop)")
        .message("applies to multihop sessions only: set multihop as well or remove this field")
        .field_path(".bfd.minimumTTL")
}

fn one_family_at_least() -> Rule {
    Rule::new("has(self.ipv4) || has(self.ipv6)").message("is empty: set ipv4, ipv6 or both")
}
