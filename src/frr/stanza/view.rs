//! What the templates see: the typed configuration turned into FRR's words, with names of policies and with FRR's
//! defaults left out. In: the model. Out: serialisable values, which hold passwords in the clear and so have no `Debug`.
//! Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use serde::Serialize;

use super::communities;
use super::policies::{
    NO_EXTENDED_COMMUNITIES, PrefixList, RouteMap, every_host, kept, parts, prefix_list, route_map, rule, shared,
};
use super::policy_names::{self, Use};
use crate::frr::model::{
    Bfd, GracefulRestart, HostSession, IpVrf, Neighbor, Peer, PrefixListEntry, RemoteAs, UnderlayInstance,
};
use crate::scope::Scope;
use crate::types::{Asn, Family, VrfName};

// Defaults of FRR 8.4 (`frr defaults traditional`) which it does not print.
const PORT: u16 = 179;
const RESTART_TIME: u16 = 120;
const STALE_PATH_TIME: u16 = 360;
const BFD_INTERVAL: u32 = 300;
const BFD_MULTIPLIER: u8 = 3;
const BFD_MINIMUM_TTL: u8 = 254;
const EBGP_TTL: u8 = 1;

#[derive(Serialize)]
pub(crate) struct View {
    bgp: Bgp,
    vni: Option<u32>,
    routes: Vec<Route>,
    prefix_lists: Vec<PrefixList>,
    route_maps: Vec<RouteMap>,
    profiles: Vec<Profile>,
}

#[derive(Serialize)]
struct Route {
    command: &'static str,
    prefix: IpNet,
    next_hop: IpAddr,
}

#[derive(Serialize)]
struct Bgp {
    asn: Asn,
    vrf: Option<String>,
    router_id: Ipv4Addr,
    graceful_restart: Option<Restart>,
    neighbors: Vec<Session>,
    families: Vec<AddressFamily>,
}

#[derive(Serialize)]
struct Restart {
    restart_time: Option<u16>,
    stale_path_time: Option<u16>,
}

#[derive(Serialize)]
struct Session {
    name: String,
    interface: bool,
    remote_as: String,
    bfd: Option<String>,
    password: Option<String>,
    port: Option<u16>,
    passive: bool,
    multihop: Option<u8>,
    timers: Option<Timers>,
    connect: Option<u16>,
    extended_nexthop: bool,
}

#[derive(Serialize)]
struct Timers {
    keepalive: u16,
    hold: u16,
}

#[derive(Serialize)]
struct AddressFamily {
    name: &'static str,
    networks: Vec<IpNet>,
    aggregates: Vec<Aggregate>,
    neighbors: Vec<Activation>,
    evpn: Option<Evpn>,
}

#[derive(Serialize)]
struct Aggregate {
    prefix: IpNet,
    summary_only: bool,
}

#[derive(Serialize, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a line of the template")]
struct Activation {
    name: String,
    /// The other end is an iBGP host. The next hop of a fabric route is a VTEP that it cannot reach (eBGP puts ourselves there
    /// anyway), and it gets what an iBGP fabric told as one of our clients only (RFC 4456).
    internal_host: bool,
    /// The other end is the host: its routes come before the same ones of other nodes, which an iBGP fabric tells with
    /// equal paths, so that a node uses and announces its own.
    host: bool,
    as_override: bool,
    max_prefixes: Option<u32>,
    allowas_in: bool,
    accepted: Option<String>,
    /// A host has one always; a fabric neighbor none.
    inbound: Option<String>,
    outbound: Option<String>,
}

#[derive(Serialize, Default)]
struct Evpn {
    all_vni: bool,
    advertise: Vec<Advertise>,
    import: Vec<String>,
    export: Vec<String>,
}

/// A family whose routes become Type-5 routes.
#[derive(Serialize)]
struct Advertise {
    family: Family,
    route_map: Option<String>,
}

#[derive(Serialize)]
struct Profile {
    name: String,
    detect_multiplier: Option<u8>,
    transmit_interval: Option<u32>,
    receive_interval: Option<u32>,
    passive: bool,
    minimum_ttl: Option<u8>,
}

/// The default instance.
pub(crate) fn underlay(instance: &UnderlayInstance) -> View {
    let vtep_families: BTreeSet<Family> = instance.networks.iter().map(Family::of).collect();
    let (mut prefix_lists, mut route_maps): (Vec<_>, Vec<_>) =
        instance.kept_from_hosts.keys().map(|family| shared(instance, *family)).unzip();
    route_maps.push(every_host());
    let mut families = Vec::new();
    for family in vtep_families.iter().copied() {
        let networks = of_family(&instance.networks, family);
        // A node is no transit between its leaves: it announces its VTEP and nothing that it heard.
        let own: Vec<_> = networks.iter().map(|prefix| format!("permit {prefix}")).collect();
        let list = prefix_list(&Scope::Underlay, Use::Out(family), &own);
        let mut neighbors = activations(instance);
        for neighbor in &mut neighbors {
            neighbor.outbound = Some(list.name.clone());
        }
        prefix_lists.push(list);
        families.push(AddressFamily { name: unicast(family), networks, aggregates: vec![], neighbors, evpn: None });
    }
    families.push(AddressFamily {
        name: "l2vpn evpn",
        networks: vec![],
        aggregates: vec![],
        neighbors: activations(instance),
        evpn: Some(Evpn { all_vni: true, ..Evpn::default() }),
    });
    let mut neighbors = Vec::new();
    let mut profiles = Vec::new();
    for (peer, neighbor) in in_frr_order(&instance.neighbors) {
        let name = policy_names::fabric_bfd(peer);
        profiles.extend(neighbor.bfd.as_ref().map(|bfd| profile(name.clone(), bfd)));
        let mut session = session(peer, neighbor, name);
        // FRR offers RFC 8950 by itself to interface peers only. Without it an IPv6 session cannot carry an IPv4 VTEP.
        session.extended_nexthop =
            matches!(peer, Peer::Address(IpAddr::V6(_))) && vtep_families.contains(&Family::Ipv4);
        neighbors.push(session);
    }
    let bgp = Bgp {
        asn: instance.asn,
        vrf: None,
        router_id: instance.router_id,
        graceful_restart: instance.graceful_restart.as_ref().map(restart),
        neighbors,
        families,
    };
    View { bgp, vni: None, routes: vec![], prefix_lists, route_maps, profiles }
}

/// All nodes share one AS: an eBGP fabric brings back their VTEPs and Type-5 routes with our AS in the path.
fn activations(instance: &UnderlayInstance) -> Vec<Activation> {
    let one = |(peer, neighbor): (&Peer, &Neighbor)| Activation {
        name: peer.to_string(),
        allowas_in: neighbor.external,
        ..Activation::default()
    };
    in_frr_order(&instance.neighbors).map(one).collect()
}

/// FRR prints interface peers first.
fn in_frr_order(neighbors: &BTreeMap<Peer, Neighbor>) -> impl Iterator<Item = (&Peer, &Neighbor)> {
    let is_interface = |(peer, _): &(&Peer, &Neighbor)| matches!(peer, Peer::Interface(_));
    neighbors.iter().filter(is_interface).chain(neighbors.iter().filter(move |entry| !is_interface(entry)))
}

/// An IP-VRF.
pub(crate) fn vrf(name: &VrfName, vrf: &IpVrf, underlay: Option<&UnderlayInstance>) -> View {
    let scope = Scope::Vrf(name.clone());
    let mut view = View {
        bgp: Bgp {
            asn: vrf.asn,
            vrf: Some(name.to_string()),
            router_id: vrf.router_id,
            graceful_restart: vrf.graceful_restart.as_ref().map(restart),
            neighbors: vec![],
            families: vec![],
        },
        vni: Some(vrf.vni.get()),
        routes: vrf.routes.iter().map(|(prefix, next_hop)| route(*prefix, *next_hop)).collect(),
        prefix_lists: vec![],
        route_maps: vec![],
        profiles: vec![],
    };
    for family in [Family::Ipv4, Family::Ipv6] {
        let networks = of_family(&vrf.networks, family);
        let aggregates: Vec<_> = vrf
            .aggregates
            .iter()
            .filter(|(prefix, _)| Family::of(prefix) == family)
            .map(|(prefix, summary_only)| Aggregate { prefix: *prefix, summary_only: *summary_only })
            .collect();
        let neighbors: Vec<_> = vrf
            .sessions
            .get(&family)
            .map(|session| host(&mut view, name, family, session, underlay))
            .into_iter()
            .collect();
        if !(networks.is_empty() && aggregates.is_empty() && neighbors.is_empty()) {
            let af = AddressFamily { name: unicast(family), networks, aggregates, neighbors, evpn: None };
            view.bgp.families.push(af);
        }
    }
    let evpn = type5(&mut view, &scope, vrf);
    view.bgp.families.push(evpn);
    view
}

/// The session of one family, with its policies, and its activation.
fn host(
    view: &mut View,
    vrf: &VrfName,
    family: Family,
    session_: &HostSession,
    underlay: Option<&UnderlayInstance>,
) -> Activation {
    let scope = &Scope::Vrf(vrf.clone());
    let peer = Peer::Address(session_.address);
    let bfd_name = policy_names::host_bfd(vrf, family);
    view.profiles.extend(session_.neighbor.bfd.as_ref().map(|bfd| profile(bfd_name.clone(), bfd)));
    view.bgp.neighbors.push(session(&peer, &session_.neighbor, bfd_name));
    let rules = |entries: &[PrefixListEntry]| entries.iter().map(rule).collect::<Vec<_>>();
    let underlay =
        underlay.filter(|underlay| session_.keeps_underlay && underlay.kept_from_hosts.contains_key(&family));
    // A route map of its own takes the place of the shared one.
    let own = underlay.filter(|_| session_.local_pref.is_some()).map(|underlay| kept(underlay, family));
    let accepted = [own.unwrap_or_default(), session_.inbound.clone()].concat();
    let accepted = prefix_list(scope, Use::In(family), &rules(&accepted));
    // A route map of its own only where it is needed: each line of a policy costs FRR the more time the more policies
    // there are.
    let inbound = session_.local_pref.map(|value| {
        let match_list = format!("match {} address prefix-list {}", accepted.command, accepted.name);
        let clauses = vec![match_list, NO_EXTENDED_COMMUNITIES.to_owned(), format!("set local-preference {value}")];
        route_map(scope, Use::In(family), clauses)
    });
    let of_all = || underlay.map_or_else(every_host, |underlay| shared(underlay, family).1);
    let outbound = session_.outbound.as_ref().map(|entries| prefix_list(scope, Use::Out(family), &rules(entries)));
    let activation = Activation {
        name: peer.to_string(),
        internal_host: !session_.neighbor.external,
        host: true,
        as_override: session_.as_override,
        max_prefixes: session_.max_prefixes,
        allowas_in: false,
        accepted: inbound.is_none().then(|| accepted.name.clone()),
        inbound: Some(inbound.as_ref().map_or_else(|| of_all().name, |map| map.name.clone())),
        outbound: outbound.as_ref().map(|list| list.name.clone()),
    };
    view.prefix_lists.push(accepted);
    view.prefix_lists.extend(outbound);
    view.route_maps.extend(inbound);
    activation
}

/// Families with something to announce; both without any session, since the VRF then only takes from the fabric and
/// what it will announce is not known.
fn type5(view: &mut View, scope: &Scope, vrf: &IpVrf) -> AddressFamily {
    let used = |family: Family| view.bgp.families.iter().any(|af| af.name == unicast(family));
    let advertise: Vec<_> =
        [Family::Ipv4, Family::Ipv6].into_iter().filter(|f| vrf.sessions.is_empty() || used(*f)).collect();
    let mut advertised: Vec<Advertise> = Vec::new();
    for family in advertise {
        let parts = parts(scope, family, &vrf.aggregates);
        let listed = parts.iter().map(|list| format!("match {} address prefix-list {}", list.command, list.name));
        let set = (!vrf.communities.is_empty())
            .then(|| format!("set community {} additive", communities::in_words(&vrf.communities)));
        let clauses: Vec<_> = listed.chain(set).collect();
        let map = (!clauses.is_empty()).then(|| route_map(scope, Use::Fabric, clauses));
        let name = map.as_ref().map(|map| map.name.clone());
        // Families without lists of their own share one.
        let shared = advertised.iter().any(|other| other.route_map == name);
        view.prefix_lists.extend(parts);
        view.route_maps.extend(map.filter(|_| !shared));
        advertised.push(Advertise { family, route_map: name });
    }
    let evpn = Evpn {
        all_vni: false,
        advertise: advertised,
        import: vrf.import.iter().map(ToString::to_string).collect(),
        export: vrf.export.iter().map(ToString::to_string).collect(),
    };
    AddressFamily { name: "l2vpn evpn", networks: vec![], aggregates: vec![], neighbors: vec![], evpn: Some(evpn) }
}

fn session(peer: &Peer, neighbor: &Neighbor, profile: String) -> Session {
    let direct = matches!(peer, Peer::Interface(_)) || !neighbor.external;
    Session {
        name: peer.to_string(),
        interface: matches!(peer, Peer::Interface(_)),
        remote_as: match neighbor.remote_as {
            RemoteAs::Asn(asn) => asn.to_string(),
            RemoteAs::External => "external".to_owned(),
            RemoteAs::Internal => "internal".to_owned(),
        },
        bfd: neighbor.bfd.as_ref().map(|_| profile),
        password: neighbor.password.as_ref().map(|secret| secret.expose().to_owned()),
        port: neighbor.port.filter(|port| *port != PORT),
        passive: neighbor.passive,
        // FRR refuses it on interface peers and ignores it on iBGP peers.
        multihop: neighbor.multihop.filter(|ttl| *ttl != EBGP_TTL && !direct),
        timers: neighbor.timers.map(|(keepalive, hold)| Timers { keepalive, hold }),
        connect: neighbor.connect,
        extended_nexthop: false,
    }
}

fn route(prefix: IpNet, next_hop: IpAddr) -> Route {
    let command = if prefix.addr().is_ipv4() { "ip" } else { "ipv6" };
    Route { command, prefix, next_hop }
}

fn restart(restart: &GracefulRestart) -> Restart {
    Restart {
        restart_time: restart.restart_time.filter(|s| *s != RESTART_TIME),
        stale_path_time: restart.stale_path_time.filter(|s| *s != STALE_PATH_TIME),
    }
}

fn profile(name: String, bfd: &Bfd) -> Profile {
    Profile {
        name,
        detect_multiplier: bfd.detect_multiplier.filter(|n| *n != BFD_MULTIPLIER),
        transmit_interval: bfd.transmit_interval.filter(|ms| *ms != BFD_INTERVAL),
        receive_interval: bfd.receive_interval.filter(|ms| *ms != BFD_INTERVAL),
        passive: bfd.passive,
        minimum_ttl: bfd.minimum_ttl.filter(|ttl| *ttl != BFD_MINIMUM_TTL),
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
