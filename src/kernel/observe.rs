//! From what the namespaces hold to the state of the router. In: [`Seen`] by namespace and the record of moved NICs.
//! Out: [`KernelState`] and [`NodeFacts`]. Links without our mark never appear. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::In6AddrGenMode;
use rtnetlink::packet_route::route::{RouteAttribute, RouteType};

use super::model::{KernelState, Link, LinkKey, LinkKind, Netns};
use super::op::UNREACHABLE_METRIC;
use super::record::{Phase, Record};
use super::seen::{Seen, SeenLink, Shape, is_link_local};
use super::{NicFacts, NodeFacts};
use crate::names::{OwnedName, Role};
use crate::types::{Family, IfName, TableId};

/// What all namespaces hold.
pub type Views = BTreeMap<Netns, Arc<Seen>>;

/// The state of the router, but for [`KernelState::unreachable`].
pub fn state(views: &Views, asked: &BTreeSet<IfName>, record: &Record) -> KernelState {
    let ends = veth_ends(views);
    let mut state = KernelState { nics: nics(views, asked, record), ..KernelState::default() };
    for (netns, seen) in views {
        if let Netns::Vrf(vrf) = netns {
            state.vrf_netns.insert(vrf.clone());
        }
        for (index, link) in &seen.links {
            if let Some(name) = &link.owned {
                let key = LinkKey { netns: netns.clone(), name: name.clone() };
                let kind = kind_of(&key, *index, link, &ends);
                state.links.insert(key, link_of(kind, link, seen));
            }
        }
        state.sysctls.extend(seen.sysctls.iter().map(|(sysctl, value)| ((netns.clone(), *sysctl), *value)));
    }
    if let Some((_, lo)) = views.get(&Netns::Router).and_then(|seen| seen.by_name("lo")) {
        let nets = lo.addresses.iter().map(|address| address.net);
        state.loopback = nets.filter(|net| !net.addr().is_loopback() && !is_link_local(net)).collect();
    }
    state
}

/// What a plan needs to know of NICs.
pub fn facts(views: &Views, asked: &BTreeSet<IfName>) -> NodeFacts {
    let find = |name: &IfName| {
        [Netns::Router, Netns::Host].into_iter().find_map(|netns| {
            let (_, link) = views.get(&netns)?.by_name(name.as_str())?;
            let addresses = link.addresses.iter().map(|address| address.net).collect();
            Some((name.clone(), NicFacts { mtu: link.mtu, netns, addresses }))
        })
    };
    NodeFacts { nics: asked.iter().filter_map(find).collect() }
}

/// A move that was cut short counts as not done, and so does a return: the op for the whole completes it.
fn nics(views: &Views, asked: &BTreeSet<IfName>, record: &Record) -> BTreeMap<IfName, Netns> {
    let has = |netns: &Netns, name: &IfName| views.get(netns).is_some_and(|seen| seen.by_name(name.as_str()).is_some());
    let place = |name: &IfName| {
        let phase = record.nics.get(name).map(|nic| nic.phase);
        let (in_router, in_host) = (has(&Netns::Router, name), has(&Netns::Host, name));
        let taken = if asked.contains(name) { in_router && phase.is_none_or(|p| p == Phase::Taken) } else { true };
        (in_router || in_host).then_some(if taken { Netns::Router } else { Netns::Host })
    };
    let names: BTreeSet<&IfName> = asked.iter().chain(record.nics.keys()).collect();
    names.into_iter().filter_map(|name| Some((name.clone(), place(name)?))).collect()
}

/// A veth end by its own ifindex and that of the other end.
type Ends = BTreeMap<(u32, u32), Vec<LinkKey>>;

fn veth_ends(views: &Views) -> Ends {
    let mut ends = Ends::new();
    for (netns, seen) in views {
        for (index, link) in &seen.links {
            if let (Some(name), Some(lower), Shape::Veth) = (&link.owned, link.lower, &link.shape) {
                let key = LinkKey { netns: netns.clone(), name: name.clone() };
                ends.entry((*index, lower)).or_default().push(key);
            }
        }
    }
    ends
}

fn kind_of(key: &LinkKey, index: u32, link: &SeenLink, ends: &Ends) -> LinkKind {
    match (&link.shape, &key.name) {
        (Shape::Vrf(table), OwnedName::Vrf(_)) => LinkKind::Vrf { table: *table },
        (Shape::Bridge, OwnedName::Vni(Role::Bridge, _)) => LinkKind::Bridge,
        (Shape::Vxlan(vni, local, port), OwnedName::Vni(Role::Vxlan, _)) => {
            LinkKind::Vxlan { vni: *vni, local: *local, port: *port }
        }
        (Shape::Veth, OwnedName::Vni(role @ (Role::PeVeth | Role::HostVeth), _)) => {
            // Ifindexes repeat between namespaces; among several candidates the one of our VNI is the other end.
            let candidates = link.lower.and_then(|lower| ends.get(&(lower, index))).map_or(&[][..], Vec::as_slice);
            let ends = candidates.iter().filter(|end| is_other_end(*role, end));
            match ends.max_by_key(|end| end.name.vni() == key.name.vni()) {
                Some(peer) => LinkKind::Veth { peer: Box::new(peer.clone()) },
                None => LinkKind::Other,
            }
        }
        _ => LinkKind::Other,
    }
}

fn is_other_end(role: Role, end: &LinkKey) -> bool {
    match role {
        Role::HostVeth => end.netns != Netns::Host && matches!(end.name, OwnedName::Vni(Role::PeVeth, _)),
        _ => end.netns == Netns::Host && matches!(end.name, OwnedName::Vni(Role::HostVeth, _)),
    }
}

fn link_of(kind: LinkKind, link: &SeenLink, seen: &Seen) -> Link {
    let quiet = matches!(kind, LinkKind::Bridge | LinkKind::Vxlan { .. });
    Link {
        master: link.master.and_then(|index| seen.links.get(&index)?.owned.clone()),
        mtu: (!matches!(kind, LinkKind::Vrf { .. })).then_some(link.mtu),
        mac: link.mac.filter(|_| kind == LinkKind::Bridge),
        up: link.up,
        // A kernel without IPv6 gives no link-local address to anything.
        addrgen_none: link.addrgen.map_or(quiet, |mode| mode == In6AddrGenMode::None),
        addresses: link
            .addresses
            .iter()
            .filter(|address| address.permanent && !is_link_local(&address.net))
            .map(|address| address.net)
            .collect(),
        port: link.port.filter(|_| matches!(kind, LinkKind::Vxlan { .. })),
        kind,
    }
}

/// Tables among `routes` that have our unreachable default route.
pub fn unreachable_tables(family: Family, routes: &[RouteNetlinkMessage]) -> BTreeSet<(TableId, Family)> {
    let table_of = |message: &RouteNetlinkMessage| {
        let RouteNetlinkMessage::NewRoute(route) = message else { return None };
        let ours = route.header.kind == RouteType::Unreachable
            && route.header.destination_prefix_length == 0
            && route.attributes.contains(&RouteAttribute::Priority(UNREACHABLE_METRIC));
        let table = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Table(table) => Some(TableId(*table)),
            _ => None,
        })?;
        (ours && table.vni().is_some()).then_some((table, family))
    };
    routes.iter().filter_map(table_of).collect()
}
