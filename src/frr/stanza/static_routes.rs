//! The static routes of an IP-VRF. Pure.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::rule::{Group, Rule};
use crate::frr::model::IpVrf;
use crate::types::VrfName;

pub(super) const TEMPLATE: &str = include_str!("static_routes.tera");

/// The `vrf` stanza that they are in has its rule in [`super::zebra`].
pub(super) const RULES: &[Rule] = &[Rule::line(Group::Vrf, "ip route * *"), Rule::line(Group::Vrf, "ipv6 route * *")];

#[derive(Serialize)]
pub(super) struct StaticRoutesView {
    vrf: String,
    routes: Vec<StaticRouteView>,
}

#[derive(Serialize)]
struct StaticRouteView {
    command: &'static str,
    prefix: IpNet,
    next_hop: IpAddr,
}

/// `None` for an IP-VRF without static routes.
pub(super) fn vrf(name: &VrfName, vrf: &IpVrf) -> Option<StaticRoutesView> {
    let route = |(prefix, next_hop): (&IpNet, &IpAddr)| StaticRouteView {
        command: if prefix.addr().is_ipv4() { "ip" } else { "ipv6" },
        prefix: *prefix,
        next_hop: *next_hop,
    };
    let routes: Vec<_> = vrf.routes.iter().map(route).collect();
    (!routes.is_empty()).then(|| StaticRoutesView { vrf: name.to_string(), routes })
}
