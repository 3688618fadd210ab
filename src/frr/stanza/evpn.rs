//! The L2VPN EVPN address family of a BGP instance. Pure.

use serde::Serialize;

use super::bgp::{has_family, in_frr_order, returns_our_as};
use super::policy::FabricPolicies;
use super::rule::{Group, Negation, Rule};
use crate::frr::model::{IpVrf, UnderlayInstance};
use crate::types::Family;

pub(super) const TEMPLATE: &str = include_str!("evpn.tera");

/// The lines of its neighbors have their rules in [`super::bgp`].
pub(super) const RULES: &[Rule] = &[
    Rule::stanza(Group::AddressFamily, "address-family l2vpn evpn").negated_by(Negation::Empty),
    Rule::line(Group::Evpn, "advertise-all-vni"),
    Rule::value(Group::Evpn, "advertise * unicast .."),
    // A stanza with the route targets of an L2VNI, only after `advertise-all-vni`. Below `vrf` it is a line, the L3VNI of the
    // IP-VRF, and at the top level that of the default VRF.
    Rule::line(Group::Evpn, "vni *"),
    Rule::line(Group::Evpn, "route-target import *"),
    Rule::line(Group::Evpn, "route-target export *"),
];

#[derive(Serialize, Default)]
pub(super) struct EvpnView {
    neighbors: Vec<EvpnNeighborView>,
    all_vni: bool,
    vnis: Vec<L2VniView>,
    advertise: Vec<AdvertiseView>,
    import: Vec<String>,
    export: Vec<String>,
}

/// The route targets of an L2VNI.
#[derive(Serialize)]
struct L2VniView {
    vni: u32,
    import: Vec<String>,
    export: Vec<String>,
}

#[derive(Serialize)]
struct EvpnNeighborView {
    name: String,
    allowas_in: bool,
    /// The name of the route map of what is accepted; `None`: all.
    accepted: Option<String>,
}

/// A family whose routes become Type-5 routes.
#[derive(Serialize)]
struct AdvertiseView {
    family: Family,
    route_map: Option<String>,
}

/// The default instance: the fabric sessions, and every VNI of the node. `accepted`: the route map of what the fabric advertises.
pub(super) fn underlay(instance: &UnderlayInstance, accepted: Option<&String>) -> EvpnView {
    let neighbors = in_frr_order(&instance.neighbors).map(|(peer, neighbor)| EvpnNeighborView {
        name: peer.to_string(),
        allowas_in: returns_our_as(neighbor),
        accepted: accepted.cloned(),
    });
    let vnis = instance.l2vnis.iter().map(|(vni, targets)| L2VniView {
        vni: vni.get(),
        import: targets.import.iter().map(ToString::to_string).collect(),
        export: targets.export.iter().map(ToString::to_string).collect(),
    });
    EvpnView { neighbors: neighbors.collect(), all_vni: true, vnis: vnis.collect(), ..EvpnView::default() }
}

/// The instance of an IP-VRF, with its routes as Type-5 routes.
pub(super) fn vrf(vrf: &IpVrf, policies: &FabricPolicies) -> EvpnView {
    let advertise = |family: Family| AdvertiseView { family, route_map: policies.route_map(family) };
    EvpnView {
        advertise: advertised(vrf).map(advertise).collect(),
        import: vrf.import.iter().map(ToString::to_string).collect(),
        export: vrf.export.iter().map(ToString::to_string).collect(),
        ..EvpnView::default()
    }
}

/// The families with something to advertise; both without any session, since the VRF then only imports from the fabric and
/// what it will advertise is not known.
pub(super) fn advertised(vrf: &IpVrf) -> impl Iterator<Item = Family> {
    let families = [Family::Ipv4, Family::Ipv6].into_iter();
    families.filter(|family| vrf.sessions.is_empty() || has_family(vrf, *family))
}
