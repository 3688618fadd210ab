//! From what the namespaces hold to the state of the router. In: [`Seen`] by namespace and the record of moved NICs.
//! Out: [`KernelState`] and [`NodeFacts`]. Links without our mark never appear. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rtnetlink::packet_route::link::In6AddrGenMode;

use super::model::{KernelState, Link, LinkKey, LinkKind, ListenPort, Netns};
use super::netlink::seen::{Seen, SeenLink, Shape, is_link_local};
use super::nic_record::{Phase, Record};
use super::{NicFacts, NodeFacts};
use crate::names::{self, OwnedName, Role};
use crate::scope::Scope;
use crate::types::IfName;

/// What all namespaces hold.
pub type Views = BTreeMap<Netns, Arc<Seen>>;

/// The state of the router.
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
        state.listen_ports.extend(seen.listen_ports.iter().map(|(table, whole)| ListenPort {
            on: LinkKey { netns: netns.clone(), name: OwnedName::Vni(Role::PeVeth, table.vni) },
            port: table.port,
            whole: *whole,
        }));
        state.sysctls.extend(seen.sysctls.iter().map(|(sysctl, value)| ((netns.clone(), *sysctl), *value)));
    }
    if let Some(router) = views.get(&Netns::Router) {
        state.unreachable.clone_from(&router.unreachable);
        state.local_last.clone_from(&router.local_last);
        let lo = router.by_name("lo").into_iter().flat_map(|(_, lo)| &lo.addresses).map(|address| address.net);
        state.loopback = lo.filter(|net| !net.addr().is_loopback() && !is_link_local(net)).collect();
    }
    let scopes: Vec<_> = state.links.keys().map(|key| state.scope_by_place(key)).collect();
    for (link, scope) in state.links.values_mut().zip(scopes) {
        link.scope = scope;
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
        // Known when all links are.
        scope: Scope::Underlay,
        master: link.master.and_then(|index| seen.links.get(&index)?.owned.clone()),
        host_vrf: host_vrf_of(link, seen),
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

/// The device that the alias says we put it into, if it is still there.
fn host_vrf_of(link: &SeenLink, seen: &Seen) -> Option<IfName> {
    let vrf = names::host_vrf_of(link.alias.as_deref()?)?;
    let master = seen.links.get(&link.master?)?;
    (master.name == vrf.as_str()).then_some(vrf)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::diff::generated::{World, world};
    use crate::kernel::netlink::seen::SeenAddress;
    use crate::kernel::nic_record::NicRecord;
    use crate::names::{LINK_GROUP, PortTable};
    use crate::types::{MacAddr, VrfMode};
    use proptest::prelude::*;
    use rtnetlink::packet_route::link::LinkMessage;

    /// What the kernel shows of `wanted`, in `vrf` mode too, which not every kernel can do.
    #[allow(clippy::too_many_lines, reason = "mostly the fields of links")]
    fn shown(wanted: &KernelState) -> Views {
        let mut views: BTreeMap<Netns, Seen> = BTreeMap::new();
        views.insert(Netns::Host, Seen::default());
        let (unreachable, local_last) = (wanted.unreachable.clone(), wanted.local_last.clone());
        views.insert(Netns::Router, Seen { unreachable, local_last, ..Seen::default() });
        views.extend(wanted.vrf_netns.iter().map(|vrf| (Netns::Vrf(vrf.clone()), Seen::default())));
        // Ifindexes repeat between namespaces.
        let mut indexes: BTreeMap<&LinkKey, u32> = BTreeMap::new();
        let mut last: BTreeMap<&Netns, u32> = BTreeMap::new();
        for key in wanted.links.keys() {
            let next = last.entry(&key.netns).or_insert(1);
            *next += 1;
            indexes.insert(key, *next);
        }
        for (key, link) in &wanted.links {
            let index_of = |name: &OwnedName| indexes[&LinkKey { netns: key.netns.clone(), name: name.clone() }];
            let (shape, lower) = match &link.kind {
                LinkKind::Vrf { table } => (Shape::Vrf(*table), None),
                LinkKind::Bridge => (Shape::Bridge, None),
                LinkKind::Vxlan { vni, local, port } => (Shape::Vxlan(*vni, *local, *port), None),
                LinkKind::Veth { peer } => (Shape::Veth, Some(indexes[&**peer])),
                LinkKind::Other => (Shape::Other, None),
            };
            let addresses = link.addresses.iter().map(|net| SeenAddress { net: *net, permanent: true });
            let noise = ["fe80::1/64", "2001:db8:ffff::1/64"].map(|net| net.parse().unwrap());
            let noise = noise.map(|net| SeenAddress { net, permanent: is_link_local(&net) });
            let seen = SeenLink {
                name: key.name.to_string(),
                owned: OwnedName::recognise(&key.name.to_string(), LINK_GROUP, matches!(shape, Shape::Vrf(_))),
                shape,
                alias: None,
                master: link.master.as_ref().map(index_of),
                lower,
                mtu: link.mtu.unwrap_or(65_575),
                mac: link.mac.or(Some(MacAddr([2; 6]))),
                up: link.up,
                addrgen: Some(if link.addrgen_none { In6AddrGenMode::None } else { In6AddrGenMode::Eui64 }),
                port: link.port,
                immovable: false,
                addresses: addresses.chain(noise).collect(),
            };
            views.get_mut(&key.netns).unwrap().links.insert(indexes[key], seen);
        }
        let lo = |state: &KernelState| SeenLink {
            name: "lo".to_owned(),
            owned: None,
            shape: Shape::Other,
            alias: None,
            master: None,
            lower: None,
            mtu: 65_536,
            mac: None,
            up: true,
            addrgen: None,
            port: None,
            immovable: true,
            addresses: (state.loopback.iter().copied())
                .chain(["127.0.0.1/8", "::1/128"].map(|net| net.parse().unwrap()))
                .map(|net| SeenAddress { net, permanent: true })
                .collect(),
        };
        views.get_mut(&Netns::Router).unwrap().links.insert(1, lo(wanted));
        for opened in &wanted.listen_ports {
            let table = PortTable { vni: opened.on.name.vni().unwrap(), port: opened.port };
            views.get_mut(&opened.on.netns).unwrap().listen_ports.insert(table, opened.whole);
        }
        for ((netns, sysctl), value) in &wanted.sysctls {
            views.get_mut(netns).unwrap().sysctls.insert(*sysctl, *value);
        }
        views.into_iter().map(|(netns, seen)| (netns, Arc::new(seen))).collect()
    }

    proptest! {
        #[test]
        fn what_the_kernel_shows_of_a_wanted_state_is_that_state(world in world(&[VrfMode::Vrf, VrfMode::Netns])) {
            let wanted = World::state(&world);
            prop_assert_eq!(state(&shown(&wanted), &BTreeSet::new(), &Record::default()), wanted);
        }
    }

    #[test]
    fn a_host_end_is_in_a_vrf_of_the_host_only_if_we_put_it_there() {
        let vrf: IfName = "hostvrf".parse().unwrap();
        let name = OwnedName::Vni(Role::HostVeth, crate::types::Vni::try_from(100).unwrap());
        let seen_in = |master: Option<u32>, noted: Option<&IfName>| {
            let blank = || SeenLink::new(&LinkMessage::default());
            let alias = Some(names::alias(&name, noted));
            let end = SeenLink { name: "host-100".into(), owned: Some(name.clone()), alias, master, ..blank() };
            let links =
                [(2, SeenLink { name: vrf.to_string(), ..blank() }), (3, SeenLink { name: "b".into(), ..blank() })];
            let seen = Seen { links: links.into_iter().chain([(4, end)]).collect(), ..Seen::default() };
            let views = Views::from([(Netns::Host, Arc::new(seen))]);
            let state = state(&views, &BTreeSet::new(), &Record::default());
            state.links.into_values().map(|link| (link.master, link.host_vrf)).collect::<Vec<_>>()
        };
        assert_eq!(seen_in(Some(2), None), [(None, None)], "somebody else's");
        assert_eq!(seen_in(Some(2), Some(&vrf)), [(None, Some(vrf.clone()))]);
        assert_eq!(seen_in(Some(3), Some(&vrf)), [(None, None)], "moved on by somebody else");
        assert_eq!(seen_in(None, Some(&vrf)), [(None, None)], "the device went");
    }

    #[test]
    fn a_nic_whose_move_was_cut_short_is_not_where_it_should_be() {
        let nic: IfName = "toswitch".parse().unwrap();
        let had = |phase| NicRecord {
            phase,
            index: 2,
            mtu: 1500,
            up: true,
            addrgen: None,
            addresses: vec![],
            routes: vec![],
            settings: BTreeMap::new(),
        };
        let view = |name: &str| {
            let link = SeenLink { name: name.to_owned(), ..SeenLink::new(&LinkMessage::default()) };
            Arc::new(Seen { links: BTreeMap::from([(2, link)]), ..Seen::default() })
        };
        let place = |in_router: bool, phase: Option<Phase>, asked: bool| {
            let (host, router) = if in_router { ("eth0", "toswitch") } else { ("toswitch", "eth0") };
            let views = Views::from([(Netns::Host, view(host)), (Netns::Router, view(router))]);
            let mut record = Record::default();
            record.nics.extend(phase.map(|phase| (nic.clone(), had(phase))));
            let asked = BTreeSet::from_iter(asked.then(|| nic.clone()));
            state(&views, &asked, &record).nics.remove(&nic)
        };
        let (host, router) = (Some(Netns::Host), Some(Netns::Router));
        let cases = [
            (true, Some(Phase::Taken), true, &router),
            (true, Some(Phase::Taking), true, &host),
            (true, Some(Phase::Returning), true, &host),
            (true, None, true, &router),
            (false, None, true, &host),
            (false, Some(Phase::Returning), true, &host),
            (true, Some(Phase::Taken), false, &router),
            (false, Some(Phase::Returning), false, &router),
            (false, Some(Phase::Taken), false, &router),
            (true, None, false, &None),
        ];
        for (in_router, phase, asked, expected) in cases {
            assert_eq!(&place(in_router, phase, asked), expected, "{in_router} {phase:?} {asked}");
        }
    }
}
