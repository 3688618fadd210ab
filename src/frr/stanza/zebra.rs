//! zebra's stanzas: the L3VNI of an IP-VRF, and the lines of the global settings. Pure.

use serde::Serialize;

use super::rule::{Group, Rule};
use crate::frr::model::IpVrf;
use crate::types::VrfName;

pub(super) const TEMPLATE: &str = include_str!("zebra.tera");

pub(super) const RULES: &[Rule] = &[
    // See `Release::zebra_settings`.
    Rule::line(Group::ZebraSetting, "zebra work-queue *"),
    Rule::line(Group::ZebraSetting, "zebra zapi-packets *"),
    Rule::line(Group::ZebraSetting, "no zebra nexthop kernel enable"),
    Rule::line(Group::ZebraSetting, "ip nht resolve-via-default"),
    Rule::line(Group::ZebraSetting, "ipv6 nht resolve-via-default"),
    // Printed where it was disabled by hand and is the default.
    Rule::line(Group::ZebraSetting, "no ip nht resolve-via-default"),
    Rule::line(Group::ZebraSetting, "no ipv6 nht resolve-via-default"),
    // The L3VNI in it has its rule in `evpn`.
    Rule::stanza(Group::Vrf, "vrf *"),
];

#[derive(Serialize)]
pub(super) struct ZebraView {
    vrf: String,
    vni: u32,
}

/// The L3VNI of an IP-VRF.
pub(super) fn vrf(name: &VrfName, vrf: &IpVrf) -> ZebraView {
    ZebraView { vrf: name.to_string(), vni: vrf.vni.get() }
}
