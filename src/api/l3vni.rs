//! `L3VNI`: an IP-VRF that the fabric knows by its VNI, and the host's BGP session in it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bgp::{BfdSettings, EbgpMultiHop, GracefulRestart, SecretKeyRef};

/// An IP-VRF on the selected nodes, joined to the fabric by EVPN Type-5 routes (RFC 9136) over VXLAN.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(group = "openpe.openperouter.github.io", version = "v1alpha1", kind = "L3VNI", plural = "l3vnis", namespaced)]
#[serde(deny_unknown_fields)]
pub struct L3VNISpec {
    /// AS number of the router in this VRF, 1 to 4294967295.
    pub asn: u32,
    /// VXLAN network identifier, 1 to 16777215.
    pub vni: u32,
    /// Name of the VRF; the name of the object if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<String>,
    /// Subnets of the veth pair to the host. Without it the VRF has no host session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub localcidr: Option<LocalCidr>,
    /// AS number of the host; `asn` (iBGP) if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostasn: Option<u32>,
    /// UDP port of VXLAN.
    #[serde(default = "default_vxlanport")]
    pub vxlanport: u16,
    /// Nodes that this VNI is for; all if absent.
    #[serde(default, rename = "nodeSelector", skip_serializing_if = "Option::is_none")]
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LocalCidr {
    /// IPv4 subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<String>,
    /// IPv6 subnet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<String>,
}

/// Route targets, `ASN:NUMBER` or `IPV4:NUMBER`. An empty list keeps the derived one of its direction.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteTargets {
    /// Routes with one of these are taken into the VRF.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub import: Vec<String>,
    /// Routes of the VRF carry these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub export: Vec<String>,
}

/// Properties of the BGP session with the host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    pub hold_time_seconds: Option<u16>,
    /// Keepalive interval in seconds, at most the hold time. Together with `holdTimeSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keepalive_time_seconds: Option<u16>,
    /// Time between connection attempts in seconds, 1 to 65535.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_time_seconds: Option<u16>,
    /// Wait for the host to connect.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub passive: bool,
    /// The host speaks from another address than that of its veth end's subnet. eBGP only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multihop: Option<EbgpMultiHop>,
    /// Graceful restart on the host session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graceful_restart: Option<GracefulRestart>,
}

/// A prefix with the lengths it stands for, as in a prefix list. Without `ge` and `le` exactly the prefix.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrefixRule {
    /// The prefix.
    pub prefix: String,
    /// Least length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ge: Option<u8>,
    /// Greatest length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub le: Option<u8>,
}

/// What is taken from the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FromHost {
    /// Prefixes that the host may announce. Absent: everything but the default route, the session subnet and the
    /// underlay's own prefixes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_prefixes: Option<Vec<PrefixRule>>,
    /// Prefixes for each address family before the session is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_prefixes: Option<u32>,
    /// Local preference of the host's routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_pref: Option<u32>,
}

/// An aggregate of the host's routes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Aggregate {
    /// The aggregate.
    pub prefix: String,
    /// Announce the aggregate alone, without its parts.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub summary_only: bool,
}

/// What is sent to the fabric.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToFabric {
    /// Aggregates, announced while one of their parts is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aggregates: Vec<Aggregate>,
    /// Communities added to every route of the VRF, `ASN:NUMBER` or a well-known name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub communities: Vec<String>,
}

/// What is sent to the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToHost {
    /// Prefixes that the host gets. Absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_prefixes: Option<Vec<PrefixRule>>,
}
