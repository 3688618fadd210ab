//! The API of `L2VNI`. In: nothing. Out: the spec, whose doc comments are the descriptions that `kubectl explain` shows, and the
//! CEL rules of its fields. It must not refer to another object. Pure.

#![allow(clippy::duplicated_attributes)] // false positive: the columns of the derive

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::Rule;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::kind::cel;
use crate::kind::vni_fields::{AddressFamily, RouteTargets, default_vxlanport};

/// A segment on the selected nodes: one broadcast domain over all of them.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "openpe.openperouter.github.io",
    version = "v1alpha1",
    kind = "L2VNI",
    plural = "l2vnis",
    namespaced,
    doc = "L2VNI is a segment on the selected nodes, stretched over the fabric by EVPN Type-2 and Type-3 routes (RFC 7432, RFC 8365) over VXLAN.",
    shortname = "l2v",
    category = "openpe",
    printcolumn(name = "VNI", type_ = "integer", json_path = ".spec.vni"),
    printcolumn(
        name = "L3VNI",
        type_ = "string",
        json_path = ".spec.routingDomain.l3vni.name",
        description = "empty: no gateway, no routing"
    ),
    printcolumn(name = "Gateways", type_ = "string", json_path = ".spec.gatewayIPs"),
    printcolumn(
        name = "Bridge",
        type_ = "string",
        json_path = ".spec.hostMaster.linuxBridge.lifecycle",
        description = "who makes the bridge on the host"
    ),
    printcolumn(
        name = "Bridge name",
        type_ = "string",
        json_path = ".spec.hostMaster.linuxBridge.name",
        description = "empty: br-hs-<VNI> where it is managed",
        priority = 1
    ),
    printcolumn(
        name = "OVS bridge",
        type_ = "string",
        json_path = ".spec.hostMaster.ovsBridge.lifecycle",
        description = "who makes the bridge in Open vSwitch",
        priority = 1
    ),
    printcolumn(
        name = "OVS bridge name",
        type_ = "string",
        json_path = ".spec.hostMaster.ovsBridge.name",
        description = "empty: br-hs-<VNI> where it is managed",
        priority = 1
    ),
    printcolumn(
        name = "Underlay",
        type_ = "string",
        json_path = ".spec.underlayAddressFamily",
        description = "address family of the VTEPs",
        priority = 1
    ),
    printcolumn(name = "VXLAN port", type_ = "integer", json_path = ".spec.vxlanport", priority = 1),
    printcolumn(name = "MTU", type_ = "integer", json_path = ".spec.mtu", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(validation = gateways_need_domain())]
#[serde(deny_unknown_fields)]
pub struct L2VNISpec {
    /// VXLAN network identifier (RFC 7348), 1 to 16777215. No other L2VNI or L3VNI of the node has it.
    #[schemars(range(min = 1, max = 16_777_215))]
    pub vni: u32,
    /// UDP port of VXLAN, 1 to 65535. Default: 4789.
    #[serde(default = "default_vxlanport")]
    #[schemars(range(min = 1, max = 65535))]
    pub vxlanport: u16,
    /// Labels of the nodes that have this segment. Absent: all nodes.
    #[serde(default, rename = "nodeSelector", skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "cel::node_selector")]
    pub node_selector: Option<LabelSelector>,
    /// The IP-VRF in which the segment is routed. Absent: it is not routed, and its frames reach nothing but the segment.
    #[serde(default, rename = "routingDomain", skip_serializing_if = "Option::is_none")]
    pub routing_domain: Option<RoutingDomain>,
    /// Addresses of the router in the segment, the same on all nodes, with the prefix length of the subnet, such as
    /// `192.0.2.1/24`: at most one of each address family. Requires `routingDomain`.
    #[serde(default, rename = "gatewayIPs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::gateways")]
    pub gateway_ips: Vec<String>,
    /// What the host end of the segment, `host-<VNI>`, is a port of. Absent: it is up and of no bridge, for others to attach it.
    #[serde(default, rename = "hostMaster", skip_serializing_if = "Option::is_none")]
    pub host_master: Option<HostMasterSpec>,
    /// Route targets (RFC 4360) in place of those that FRR derives from AS number and VNI (RFC 8365).
    #[serde(default, rename = "routeTargets", skip_serializing_if = "Option::is_none")]
    pub route_targets: Option<RouteTargets>,
    /// Address family of the VTEPs between which frames of this VNI are sent, the same on all nodes and leaves that have it.
    /// Requires a pool of that family on the Underlay. Default: that of the pool; `IPv4` where there are both.
    #[serde(default, rename = "underlayAddressFamily", skip_serializing_if = "Option::is_none")]
    pub underlay_address_family: Option<AddressFamily>,
    /// MTU of the segment in bytes, 1280 to 65485, the same on all nodes. Default: the most that the NICs of the node carry, which
    /// is their MTU less 50 over IPv4 and less 70 over IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1280, max = 65485))]
    pub mtu: Option<u32>,
}

/// The IP-VRF of a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = has_l3vni())]
#[serde(deny_unknown_fields)]
pub struct RoutingDomain {
    /// What describes the IP-VRF.
    #[serde(rename = "type")]
    pub type_: RoutingDomainType,
    /// The L3VNI. Required with type `L3VNI`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l3vni: Option<L3VNIReference>,
}

/// What describes an IP-VRF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RoutingDomainType {
    /// An L3VNI.
    L3VNI,
}

/// An L3VNI of the same namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct L3VNIReference {
    /// Name of the L3VNI, in the namespace of this object. It must apply to the same nodes.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What the host end of a segment is a port of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(
    validation = has_linux_bridge(),
    validation = has_ovs_bridge(),
    validation = no_linux_bridge(),
    validation = no_ovs_bridge()
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostMasterSpec {
    /// Its type.
    #[serde(rename = "type")]
    pub type_: HostMasterType,
    /// The bridge. Required with type `LinuxBridge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linux_bridge: Option<LinuxBridgeSpec>,
    /// The bridge in Open vSwitch. Required with type `OVSBridge`.
    #[serde(default, rename = "ovsBridge", skip_serializing_if = "Option::is_none")]
    pub ovs_bridge: Option<OVSBridgeSpec>,
}

/// Type of what the host end of a segment is a port of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum HostMasterType {
    /// A bridge of Linux.
    LinuxBridge,
    /// A bridge of Open vSwitch.
    OVSBridge,
}

/// A Linux bridge on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = external_has_name(), validation = managed_has_no_name())]
#[serde(deny_unknown_fields)]
pub struct LinuxBridgeSpec {
    /// Who makes the bridge.
    pub lifecycle: Lifecycle,
    /// Name of an `External` bridge. While the host has no bridge of this name, the segment waits for it and is `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::host_bridge")]
    pub name: Option<String>,
}

/// A bridge of Open vSwitch on the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = external_has_name(), validation = managed_has_no_name())]
#[serde(deny_unknown_fields)]
pub struct OVSBridgeSpec {
    /// Who makes the bridge.
    pub lifecycle: Lifecycle,
    /// Name of an `External` bridge. While Open vSwitch does not run or has no bridge of this name, the segment waits for it and is
    /// `Failed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::host_bridge")]
    pub name: Option<String>,
}

/// Who makes a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Lifecycle {
    /// The router: `br-hs-<VNI>`, deleted with the segment.
    Managed,
    /// The host. The router adds its port to it, removes its port from it, and changes nothing else.
    External,
}

fn gateways_need_domain() -> Rule {
    Rule::new("!has(self.gatewayIPs) || size(self.gatewayIPs) == 0 || has(self.routingDomain)")
        .message("requires routingDomain, the IP-VRF of the gateways: set routingDomain or remove this field")
        .field_path(".gatewayIPs")
}

fn has_l3vni() -> Rule {
    Rule::new("self.type != 'L3VNI' || has(self.l3vni)")
        .message("is missing: set l3vni.name to the L3VNI whose VRF routes the segment")
        .field_path(".l3vni")
}

fn has_linux_bridge() -> Rule {
    Rule::new("self.type != 'LinuxBridge' || has(self.linuxBridge)")
        .message("is missing: set linuxBridge.lifecycle to Managed, or to External with the name of a bridge")
        .field_path(".linuxBridge")
}

fn has_ovs_bridge() -> Rule {
    Rule::new("self.type != 'OVSBridge' || has(self.ovsBridge)")
        .message(
            "is missing: set ovsBridge.lifecycle to Managed, or to External with the name of a bridge of Open vSwitch",
        )
        .field_path(".ovsBridge")
}

fn no_linux_bridge() -> Rule {
    Rule::new("self.type == 'LinuxBridge' || !has(self.linuxBridge)")
        .message("is not allowed with type OVSBridge: remove it, or set type to LinuxBridge")
        .field_path(".linuxBridge")
}

fn no_ovs_bridge() -> Rule {
    Rule::new("self.type == 'OVSBridge' || !has(self.ovsBridge)")
        .message("is not allowed with type LinuxBridge: remove it, or set type to OVSBridge")
        .field_path(".ovsBridge")
}

fn external_has_name() -> Rule {
    Rule::new("self.lifecycle != 'External' || has(self.name)")
        .message("is missing: set the name of the bridge of the host, or lifecycle to Managed")
        .field_path(".name")
}

fn managed_has_no_name() -> Rule {
    Rule::new("self.lifecycle != 'Managed' || !has(self.name)")
        .message("is not allowed with lifecycle Managed, where it is br-hs- and the VNI: remove it, or set lifecycle to External")
        .field_path(".name")
}
