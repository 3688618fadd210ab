//! A BGP instance: its settings, its neighbors, and the unicast address families. Its EVPN address family is in
//! [`super::evpn`]. What equals a default of FRR is left out. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;

use super::policy::{HostPolicies, UnderlayPolicies};
use super::policy_names;
use super::rule::{Group, Negation, Rule};
use crate::frr::model::{GracefulRestart, HostSession, IpVrf, Neighbor, Peer, RemoteAs, UnderlayInstance};
use crate::frr::release::{Defaults, Release};
use crate::types::{Asn, Family, VrfName};

pub(super) const TEMPLATE: &str = include_str!("bgp.tera");

pub(super) const RULES: &[Rule] = &[
    Rule::stanza(Group::Instance, "router bgp *"),
    Rule::stanza(Group::Instance, "router bgp * vrf *"),
    Rule::value(Group::InstanceSetting, "bgp router-id =").resetting(),
    Rule::line(Group::InstanceSetting, "no bgp ebgp-requires-policy"),
    Rule::line(Group::InstanceSetting, "no bgp default ipv4-unicast"),
    Rule::value(Group::InstanceSetting, "coalesce-time ="),
    Rule::value(Group::InstanceSetting, "bgp graceful-restart stalepath-time ="),
    Rule::value(Group::InstanceSetting, "bgp graceful-restart restart-time ="),
    Rule::value(Group::InstanceSetting, "bgp graceful-restart select-defer-time ="),
    Rule::line(Group::InstanceSetting, "bgp graceful-restart"),
    Rule::line(Group::InstanceSetting, "bgp graceful-restart preserve-fw-state"),
    Rule::line(Group::InstanceSetting, "bgp bestpath as-path multipath-relax"),
    Rule::line(Group::InstanceSetting, "no bgp network import-check"),
    Rule::value(Group::Neighbor, "neighbor * interface remote-as =").negated_by(Negation::No).resetting(),
    Rule::value(Group::Neighbor, "neighbor * remote-as =").negated_by(Negation::No).resetting(),
    Rule::line(Group::Neighbor, "neighbor * bfd"),
    Rule::value(Group::Neighbor, "neighbor * bfd profile ="),
    Rule::value(Group::Neighbor, "neighbor * password ..").resetting(),
    Rule::value(Group::Neighbor, "neighbor * port ="),
    Rule::line(Group::Neighbor, "neighbor * passive").resetting(),
    Rule::value(Group::Neighbor, "neighbor * ebgp-multihop =").resetting(),
    Rule::value(Group::Neighbor, "neighbor * update-source =").resetting(),
    Rule::value(Group::Neighbor, "neighbor * timers connect ="),
    Rule::value(Group::Neighbor, "neighbor * timers = =").resetting(),
    Rule::line(Group::Neighbor, "neighbor * capability extended-nexthop").resetting(),
    Rule::value(Group::Neighbor, "neighbor * path-attribute discard .."),
    Rule::stanza(Group::AddressFamily, "address-family ipv4 unicast").negated_by(Negation::Empty),
    Rule::stanza(Group::AddressFamily, "address-family ipv6 unicast").negated_by(Negation::Empty),
    Rule::line(Group::Network, "network *"),
    Rule::value(Group::Network, "aggregate-address * .."),
    Rule::line(Group::NeighborPolicy, "neighbor * route-reflector-client").resetting(),
    Rule::line(Group::NeighborPolicy, "neighbor * next-hop-self force"),
    Rule::line(Group::NeighborPolicy, "neighbor * as-override"),
    Rule::line(Group::NeighborPolicy, "neighbor * soft-reconfiguration inbound"),
    Rule::line(Group::NeighborPolicy, "no neighbor * send-community extended"),
    Rule::value(Group::NeighborPolicy, "neighbor * maximum-prefix .."),
    Rule::line(Group::NeighborPolicy, "neighbor * allowas-in"),
    Rule::value(Group::NeighborPolicy, "neighbor * weight ="),
    Rule::value(Group::NeighborPolicy, "neighbor * prefix-list = in").negated_by(Negation::No),
    Rule::value(Group::NeighborPolicy, "neighbor * prefix-list = out").negated_by(Negation::No),
    Rule::value(Group::NeighborPolicy, "neighbor * route-map = in").negated_by(Negation::No),
    Rule::value(Group::NeighborPolicy, "neighbor * route-map = out").negated_by(Negation::No),
    Rule::line(Group::Activation, "neighbor * activate").resetting(),
];

#[derive(Serialize)]
pub(super) struct BgpView {
    asn: Asn,
    vrf: Option<String>,
    router_id: Ipv4Addr,
    graceful_restart: Option<RestartView>,
    neighbors: Vec<NeighborView>,
    families: Vec<FamilyView>,
}

#[derive(Serialize)]
struct RestartView {
    restart_time: Option<u16>,
    stale_path_time: Option<u16>,
    selection_deferral: Option<u16>,
}

/// Contains a password in the clear, and so has no `Debug`.
#[derive(Serialize)]
struct NeighborView {
    name: String,
    interface: bool,
    remote_as: String,
    bfd: Option<String>,
    password: Option<String>,
    port: Option<u16>,
    passive: bool,
    multihop: Option<u8>,
    update_source: Option<IpAddr>,
    timers: Option<TimersView>,
    connect: Option<u16>,
    extended_nexthop: bool,
    /// Attributes that are removed from its routes.
    discarded: Option<String>,
}

#[derive(Serialize)]
struct TimersView {
    keepalive: u16,
    hold: u16,
}

#[derive(Serialize)]
struct FamilyView {
    name: &'static str,
    networks: Vec<IpNet>,
    aggregates: Vec<AggregateView>,
    neighbors: Vec<ActivationView>,
}

#[derive(Serialize)]
struct AggregateView {
    prefix: IpNet,
    summary_only: bool,
    /// The origin does not follow that of the parts: with another one FRR replaces the path of the aggregate.
    constant_origin: bool,
}

#[derive(Serialize, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a line of the template")]
struct ActivationView {
    name: String,
    /// An iBGP host. The next hop of a fabric route is a VTEP that it cannot reach (with eBGP the next hop is this router
    /// anyway), and it receives the routes of an iBGP fabric only as a route reflector client (RFC 4456).
    internal_host: bool,
    /// A host: its routes win over the same routes of other nodes, which an iBGP fabric advertises with equal paths, so that
    /// a node uses and advertises its own.
    host: bool,
    /// What the peer advertises and is filtered can be shown.
    keeps_filtered: bool,
    as_override: bool,
    max_prefixes: Option<u32>,
    allowas_in: bool,
    accepted: Option<String>,
    /// Always for a host, never for a fabric neighbor.
    inbound: Option<String>,
    outbound: Option<String>,
}

/// The default instance.
pub(super) fn underlay(instance: &UnderlayInstance, policies: &UnderlayPolicies, release: &Release) -> BgpView {
    let defaults = release.defaults;
    let vtep_families: BTreeSet<Family> = instance.networks.iter().map(Family::of).collect();
    // A path to our VTEP shows that somebody else has the address, and is filtered. At the end of a graceful restart each neighbor gets
    // a route refresh (`restart_end`), which this line replaces by a local evaluation.
    let keeps_filtered = instance.graceful_restart.is_none();
    let activation = |(peer, neighbor): (&Peer, &Neighbor), family| ActivationView {
        name: peer.to_string(),
        keeps_filtered,
        allowas_in: returns_our_as(neighbor),
        accepted: policies.accepted.get(&family).cloned(),
        outbound: policies.advertised.get(&family).cloned(),
        ..ActivationView::default()
    };
    let family = |family: &Family| FamilyView {
        name: unicast(*family),
        networks: of_family(&instance.networks, *family),
        aggregates: vec![],
        neighbors: in_frr_order(&instance.neighbors)
            .filter(|(peer, neighbor)| neighbor.has_unicast() && peer.carries(*family))
            .map(|entry| activation(entry, *family))
            .collect(),
    };
    let neighbors = in_frr_order(&instance.neighbors).map(|(peer, neighbor)| {
        // FRR offers RFC 8950 by itself to interface peers only. Without it an IPv6 session cannot carry an IPv4 VTEP.
        let extended_nexthop = matches!(peer, Peer::Address(IpAddr::V6(_)))
            && vtep_families.contains(&Family::Ipv4)
            && neighbor.has_unicast();
        let profile = policy_names::fabric_bfd(peer);
        NeighborView { extended_nexthop, ..session(peer, neighbor, profile, defaults) }
    });
    BgpView {
        asn: instance.asn,
        vrf: None,
        router_id: instance.router_id,
        graceful_restart: instance.graceful_restart.as_ref().map(|times| restart(times, release)),
        neighbors: neighbors.collect(),
        families: vtep_families.iter().map(family).collect(),
    }
}

/// All nodes are in one AS: an eBGP fabric returns their VTEPs and Type-5 routes with our AS number in the path.
pub(super) fn returns_our_as(neighbor: &Neighbor) -> bool {
    neighbor.external
}

/// FRR prints interface peers first.
pub(super) fn in_frr_order(neighbors: &BTreeMap<Peer, Neighbor>) -> impl Iterator<Item = (&Peer, &Neighbor)> {
    let is_interface = |(peer, _): &(&Peer, &Neighbor)| matches!(peer, Peer::Interface(_));
    neighbors.iter().filter(is_interface).chain(neighbors.iter().filter(move |entry| !is_interface(entry)))
}

/// The instance of an IP-VRF. `policies` are those of its host sessions.
pub(super) fn vrf(
    name: &VrfName,
    vrf: &IpVrf,
    policies: &BTreeMap<Family, HostPolicies>,
    release: &Release,
) -> BgpView {
    let defaults = release.defaults;
    let neighbor = |(family, host): (&Family, &Arc<HostSession>)| {
        let profile = policy_names::host_bfd(name, *family);
        let discarded = release.discards_attributes.then(host_discards);
        NeighborView { discarded, ..session(&Peer::Address(host.address), &host.neighbor, profile, defaults) }
    };
    let family = |family: Family| {
        let aggregates = vrf.aggregates.iter().filter(|(prefix, _)| Family::of(prefix) == family);
        let host = vrf.sessions.get(&family).zip(policies.get(&family));
        FamilyView {
            name: unicast(family),
            networks: of_family(&vrf.networks, family),
            aggregates: aggregates
                .map(|(prefix, summary_only)| AggregateView {
                    prefix: *prefix,
                    summary_only: *summary_only,
                    constant_origin: release.keeps_replaced_type5,
                })
                .collect(),
            neighbors: host.map(|(session, policies)| host_activation(session, policies)).into_iter().collect(),
        }
    };
    BgpView {
        asn: vrf.asn,
        vrf: Some(name.to_string()),
        router_id: vrf.router_id,
        graceful_restart: vrf.graceful_restart.as_ref().map(|times| restart(times, release)),
        neighbors: vrf.sessions.iter().map(neighbor).collect(),
        families: [Family::Ipv4, Family::Ipv6].into_iter().filter(|f| has_family(vrf, *f)).map(family).collect(),
    }
}

/// Whether the instance of an IP-VRF has anything in a unicast address family.
pub(super) fn has_family(vrf: &IpVrf, family: Family) -> bool {
    let mut prefixes = vrf.networks.iter().chain(vrf.aggregates.keys());
    vrf.sessions.contains_key(&family) || prefixes.any(|prefix| Family::of(prefix) == family)
}

fn host_activation(host: &HostSession, policies: &HostPolicies) -> ActivationView {
    ActivationView {
        name: host.address.to_string(),
        internal_host: !host.neighbor.external,
        host: true,
        keeps_filtered: true,
        as_override: host.as_override,
        max_prefixes: host.max_prefixes,
        allowas_in: false,
        accepted: policies.accepted.clone(),
        inbound: Some(policies.inbound.clone()),
        outbound: policies.outbound.clone(),
    }
}

fn session(peer: &Peer, neighbor: &Neighbor, profile: String, defaults: Defaults) -> NeighborView {
    let direct = matches!(peer, Peer::Interface(_)) || !neighbor.external;
    NeighborView {
        name: peer.to_string(),
        interface: matches!(peer, Peer::Interface(_)),
        remote_as: match neighbor.remote_as {
            RemoteAs::Asn(asn) => asn.to_string(),
            RemoteAs::External => "external".to_owned(),
            RemoteAs::Internal => "internal".to_owned(),
        },
        bfd: neighbor.bfd.as_ref().map(|_| profile),
        password: neighbor.password.as_ref().map(|secret| secret.expose().to_owned()),
        port: neighbor.port.filter(|port| *port != defaults.port),
        passive: neighbor.passive,
        // FRR rejects it on interface peers and ignores it on iBGP peers.
        multihop: neighbor.multihop.filter(|ttl| *ttl != defaults.ebgp_ttl && !direct),
        update_source: neighbor.update_source,
        timers: neighbor.timers.map(|(keepalive, hold)| TimersView { keepalive, hold }),
        connect: neighbor.connect,
        extended_nexthop: false,
        discarded: None,
    }
}

/// The attributes that a host may set, by type (IANA, BGP Path Attributes): `ORIGIN` to `CLUSTER_LIST`, `MP_REACH_NLRI` and
/// `MP_UNREACH_NLRI`, `EXTENDED COMMUNITIES` (which FRR does not discard, so that a route map removes them), `AS4_PATH`,
/// `AS4_AGGREGATOR`, and `LARGE_COMMUNITY`.
const HOST_ATTRIBUTES: [u8; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 15, 16, 17, 18, 32];

/// All other attributes, known or not: they would be in the Type-5 route.
fn host_discards() -> String {
    let others = (1..=u8::MAX).filter(|attribute| !HOST_ATTRIBUTES.contains(attribute));
    others.map(|attribute| attribute.to_string()).collect::<Vec<_>>().join(" ")
}

fn restart(times: &GracefulRestart, release: &Release) -> RestartView {
    let defaults = release.defaults;
    RestartView {
        restart_time: times.restart_time.filter(|seconds| *seconds != defaults.restart_time),
        stale_path_time: times.stale_path_time.filter(|seconds| *seconds != defaults.stale_path_time),
        selection_deferral: release.selection_deferral,
    }
}

fn unicast(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4 unicast",
        Family::Ipv6 => "ipv6 unicast",
    }
}

fn of_family(networks: &BTreeSet<IpNet>, family: Family) -> Vec<IpNet> {
    networks.iter().filter(|prefix| Family::of(prefix) == family).copied().collect()
}
