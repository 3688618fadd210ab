//! The fields of the objects that concern BGP.
//!
//! In: the `spec` of an object. Out: its fields. A field that the lab does not implement is unknown here, and thus an error.
//! It must not interpret any field.

use serde::Deserialize;
use serde_json::Value;
use std::net::IpAddr;

use super::nodes::{NodeSelectors, Selector};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PoolSpec {
    pub(super) addresses: Vec<String>,
    #[serde(rename = "autoAssign")]
    pub(super) _auto_assign: Option<bool>,
    #[serde(rename = "avoidBuggyIPs")]
    pub(super) _avoid_buggy_ips: Option<bool>,
    #[serde(rename = "serviceAllocation")]
    pub(super) _service_allocation: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct PeerSpec {
    #[serde(rename = "myASN")]
    pub(super) my_asn: u32,
    #[serde(rename = "peerASN")]
    pub(super) peer_asn: u32,
    pub(super) peer_address: IpAddr,
    pub(super) peer_port: Option<u16>,
    pub(super) hold_time: Option<String>,
    pub(super) keepalive_time: Option<String>,
    pub(super) connect_time: Option<String>,
    #[serde(default)]
    pub(super) ebgp_multi_hop: bool,
    pub(super) source_address: Option<IpAddr>,
    pub(super) vrf: Option<String>,
    #[serde(default)]
    pub(super) node_selectors: NodeSelectors,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommunitySpec {
    #[serde(default)]
    pub(super) communities: Vec<CommunityAlias>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CommunityAlias {
    pub(super) name: String,
    pub(super) value: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct AdvertisementSpec {
    #[serde(default)]
    pub(super) ip_address_pools: Vec<String>,
    #[serde(default)]
    pub(super) peers: Vec<String>,
    pub(super) aggregation_length: Option<u8>,
    pub(super) aggregation_length_v6: Option<u8>,
    #[serde(default)]
    pub(super) local_pref: u32,
    #[serde(default)]
    pub(super) communities: Vec<String>,
    #[serde(default)]
    pub(super) node_selectors: NodeSelectors,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct FrrSpec {
    pub(super) bgp: FrrBgp,
    pub(super) node_selector: Option<Selector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrrBgp {
    pub(super) routers: Vec<FrrRouter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrrRouter {
    pub(super) asn: u32,
    pub(super) vrf: Option<String>,
    pub(super) neighbors: Vec<FrrNeighbor>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct FrrNeighbor {
    pub(super) address: IpAddr,
    pub(super) asn: u32,
    pub(super) connect_time: Option<String>,
    pub(super) to_receive: Option<FrrReceive>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrrReceive {
    pub(super) allowed: FrrAllowed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FrrAllowed {
    pub(super) mode: ReceiveMode,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ReceiveMode {
    All,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceSpec {
    #[serde(rename = "type")]
    pub(super) kind: Option<String>,
    #[serde(rename = "loadBalancerIP")]
    pub(super) load_balancer_ip: Option<String>,
    pub(super) ports: Vec<ServicePort>,
}

#[derive(Deserialize)]
pub(super) struct ServicePort {
    pub(super) port: u16,
}
