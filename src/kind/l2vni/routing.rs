//! The FRR configuration of an L2VNI. In: a valid L2VNI and the connection to the fabric. Out: its route targets in the default
//! instance, and its gateway subnets in the IP-VRF; all else FRR finds by itself. It must not contain FRR syntax. Pure.

use std::collections::BTreeSet;

use super::validate::ValidL2vni;
use crate::frr::model::{L2VniTargets, RouterConfig};
use crate::kind::definition::Fabric;
use crate::types::RouteTarget;

/// Adds the gateway subnets to what the IP-VRF advertises, to its host and as Type-5 routes, so that both have a route to
/// workloads without a MAC/IP route: those of the node itself, which bgpd does not import, and those that have sent nothing, for which
/// the gateway sends a request. Adds the route targets where they are not those that FRR derives.
pub(super) fn routing(l2vni: &ValidL2vni, fabric: &Fabric, config: &mut RouterConfig) {
    if let Some(ip_vrf) = l2vni.vrf.as_ref().and_then(|vrf| config.vrfs.get_mut(vrf)) {
        let advertised = l2vni.gateways.iter().filter(|(family, _)| !l2vni.not_advertised.contains_key(family));
        ip_vrf.networks.extend(advertised.map(|(_, gateway)| gateway.trunc()));
    }
    let derived = RouteTarget::derived(fabric.asn, l2vni.vni);
    // FRR does not keep the derived one as configuration where it is the only one.
    let own = |targets: &BTreeSet<RouteTarget>| {
        let is_derived = targets.len() == 1 && targets.iter().all(|target| target.to_string() == derived);
        if is_derived { BTreeSet::new() } else { targets.clone() }
    };
    let targets = L2VniTargets { import: own(&l2vni.import), export: own(&l2vni.export) };
    if let Some(underlay) = config.underlay.as_mut().filter(|_| targets != L2VniTargets::default()) {
        underlay.l2vnis.insert(l2vni.vni, targets);
    }
}
