//! From the contents of the namespaces to the state of the router. In: [`NetnsContents`] by namespace and the record of moved
//! NICs. Out: [`KernelState`] and [`ObservedNics`]. Links without our mark never appear. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use super::model::{
    FixedLink, HostMaster, HostNetwork, HostPort, HostPorts, IpUse, KernelState, Link, LinkKey, LinkKind, LinkSetting,
    ListenPort, Netns, NicFacts, ObservedNics, RouteUse, SourceFilter, StackedDevice, Sysctl,
};
use super::netlink::contents::{AddrGenMode, NetnsContents, ObservedKind, ObservedLink, StaticRoute, is_link_local};
use super::netlink::saved_message::SavedMessage;
use super::nic_record::{MovePhase, NicRecord, Record};
use crate::names::{self, OwnedName, Role, SEGMENT_GROUP};
use crate::scope::Scope;
use crate::types::{IfName, TableId};

/// `RT_TABLE_MAIN`
const MAIN_TABLE: TableId = TableId(254);

/// The contents of all namespaces.
pub type NodeContents = BTreeMap<Netns, Arc<NetnsContents>>;

/// The state of the router.
pub fn state(node: &NodeContents, asked: &BTreeSet<IfName>, record: &Record) -> KernelState {
    let ends = veth_ends(node);
    let (nics, damaged_nics) = (nics(node, asked, record), damaged_nics(node, asked, record));
    let mut state = KernelState { nics, damaged_nics, ..KernelState::default() };
    for (netns, contents) in node {
        if let Netns::Vrf(vrf) = netns {
            state.vrf_netns.insert(vrf.clone());
        }
        for (index, link) in &contents.links {
            if let Some(name) = &link.owned {
                let key = LinkKey { netns: netns.clone(), name: name.clone() };
                let kind = kind_of(&key, *index, link, &ends);
                let link = link_of(&key, kind, link, contents);
                state.links.insert(key, link);
            }
        }
        state.listen_ports.extend(contents.listen_ports.iter().map(|(table, whole)| ListenPort {
            on: LinkKey { netns: netns.clone(), name: OwnedName::Vni(Role::PeVeth, table.vni) },
            port: table.port,
            whole: *whole,
        }));
        state.source_filters.extend(contents.source_filters.iter().map(|(table, whole)| SourceFilter {
            netns: netns.clone(),
            table: table.clone(),
            whole: *whole,
        }));
        state.sysctls.extend(contents.sysctls.iter().map(|(sysctl, value)| ((netns.clone(), *sysctl), *value)));
    }
    if let Some(router) = node.get(&Netns::Router) {
        state.unreachable.clone_from(&router.unreachable);
        state.local_last.clone_from(&router.local_last);
        let lo = router.by_name("lo").into_iter().flat_map(|(_, lo)| &lo.addresses).map(|address| address.net);
        state.loopback = lo.filter(|net| !net.addr().is_loopback() && !is_link_local(net)).collect();
    }
    let scopes: Vec<_> = state.links.keys().map(|key| state.scope_by_place(key)).collect();
    for (link, scope) in state.links.values_mut().zip(scopes) {
        link.scope = scope;
    }
    state.host_ports = node.get(&Netns::Host).map(|host| host_ports(host)).unwrap_or_default();
    state.compact()
}

/// The ifindexes of managed bridges.
pub fn host_bridges(host: &NetnsContents) -> BTreeSet<u32> {
    let is_bridge = |link: &ObservedLink| link.owned.as_ref().is_some_and(OwnedName::is_host_bridge);
    host.links.iter().filter(|(_, link)| is_bridge(link)).map(|(index, _)| *index).collect()
}

/// The ports of others that managed bridges have. A link that lost our mark is none of others.
fn host_ports(host: &NetnsContents) -> HostPorts {
    let (bridges, mut ports) = (host_bridges(host), HostPorts::default());
    if bridges.is_empty() {
        return ports;
    }
    for (index, link) in host.links.iter().filter(|(_, link)| link.owned.is_none() && link.alias.is_none()) {
        let bridge = link.master.filter(|master| bridges.contains(master)).and_then(|master| host.links.get(&master));
        if let Some(bridge) = bridge.and_then(|bridge| bridge.owned.as_ref()) {
            ports.attach(bridge, [HostPort { name: link.name.clone(), index: *index }]);
        }
    }
    ports
}

/// The NICs among `asked` that exist, those of the router first, without what their routes are needed for.
pub fn observed_nics(node: &NodeContents, asked: &BTreeSet<IfName>, record: &Record) -> ObservedNics {
    let find = |asked: &IfName| {
        let named = [Netns::Router, Netns::Host].into_iter().find_map(|netns| {
            let contents = node.get(&netns)?;
            let (index, link) = contents.by_any_name(asked.as_str())?;
            Some((asked.clone(), nic_facts(netns, contents, index, link, record)?))
        });
        // Somebody has renamed it in the router.
        named.or_else(|| {
            let had = |(name, had): &(&IfName, &NicRecord)| *name == asked || had.altnames.contains(asked.as_str());
            let (name, _) = record.nics.iter().find(had)?;
            let (router, link) = (node.get(&Netns::Router)?, in_router(node, name, record)?);
            let facts = nic_facts(Netns::Router, router, 0, link, record)?;
            Some((asked.clone(), NicFacts { name: name.clone(), ..facts }))
        })
    };
    asked.iter().filter_map(find).collect()
}

/// The networks of the host. Loopback and link-local addresses are none, nor are routes in tables of others.
pub fn host_networks(host: &NetnsContents) -> BTreeSet<HostNetwork> {
    let vrf_of = |link: &ObservedLink| {
        let master = host.links.get(&link.master?)?;
        matches!(master.kind, ObservedKind::Vrf(_)).then(|| master.name.clone())
    };
    let networks = |link: &Arc<ObservedLink>| {
        let addresses = link.addresses.iter().map(|address| address.net);
        let counts = |net: &IpNet| !net.addr().is_loopback() && !is_link_local(net);
        let network = |address| HostNetwork { address, is_route: false, link: link.name.clone(), vrf: vrf_of(link) };
        addresses.filter(counts).map(network).collect::<Vec<_>>()
    };
    let of_links = host.links.values().filter(|link| link.owned.is_none() && link.up).flat_map(networks);
    of_links.chain(host.static_routes.iter().filter_map(|route| static_network(host, route))).collect()
}

/// The network of a static route in table `main` or that of a VRF. `None` also for a route over a link of ours.
fn static_network(host: &NetnsContents, route: &StaticRoute) -> Option<HostNetwork> {
    let vrf_with_table = |link: &&Arc<ObservedLink>| link.kind == ObservedKind::Vrf(route.table);
    let vrf = host.links.values().find(vrf_with_table).map(|link| link.name.clone());
    let devices: Vec<&Arc<ObservedLink>> = route.devices.iter().filter_map(|index| host.links.get(index)).collect();
    let is_ours = devices.iter().any(|link| link.owned.is_some());
    if is_ours || vrf.is_none() && route.table != MAIN_TABLE {
        return None;
    }
    let names: Vec<&str> = devices.iter().map(|link| link.name.as_str()).collect();
    let link = if names.is_empty() { "no link".to_owned() } else { names.join(", ") };
    Some(HostNetwork { address: route.prefix, is_route: true, link, vrf })
}

/// `None`: the name is none that an object can have.
fn nic_facts(
    netns: Netns,
    contents: &NetnsContents,
    index: u32,
    link: &ObservedLink,
    record: &Record,
) -> Option<NicFacts> {
    let name: IfName = link.name.parse().ok()?;
    let taken = netns == Netns::Router || record.nics.contains_key(&name);
    // What is on the host only.
    let untaken = || Some(contents).filter(|_| !taken);
    let stacked = untaken().into_iter().flat_map(|host| host.links.values()).filter(|link| link.is_stacked_on(index));
    let device = |link: &Arc<ObservedLink>| StackedDevice { name: link.name.clone(), kind: link.info_kind.clone() };
    let master = untaken().and_then(|host| Some(host.links.get(&link.master?)?.name.clone()));
    // In the router the addresses are without a lifetime.
    let had = record.nics.get(&name);
    let of_host = link.addresses.iter().filter(|_| !taken).copied();
    let saved = had.into_iter().flat_map(|had| &had.addresses).filter_map(SavedMessage::address);
    let leased = of_host.chain(saved).filter(|address| !address.permanent && !is_link_local(&address.net));
    let leased = leased.map(|address| address.net).collect();
    let fixed = match (&link.owned, link.immovable) {
        (Some(_), _) => Some(FixedLink::Ours),
        (None, true) => Some(FixedLink::Immovable),
        (None, false) => None,
    };
    let dhcp = had.is_some_and(|had| had.routes.iter().any(SavedMessage::is_route_of_dhcp));
    Some(NicFacts {
        altnames: link.altnames.iter().filter_map(|name| name.parse().ok()).collect(),
        netns,
        taken,
        kind: link.info_kind.clone(),
        fixed,
        master,
        stacked: stacked.map(device).collect(),
        addresses: link.addresses.iter().map(|address| address.net).collect(),
        leased,
        routes: RouteUse { dhcp, ..RouteUse::default() },
        ..NicFacts::unused(name, link.mtu)
    })
}

/// An interrupted move or return counts as not done: the same op completes it.
fn nics(node: &NodeContents, asked: &BTreeSet<IfName>, record: &Record) -> BTreeMap<IfName, Netns> {
    let has = |netns: &Netns, name: &IfName| {
        node.get(netns).is_some_and(|contents| contents.by_name(name.as_str()).is_some())
    };
    let netns_of = |name: &IfName| {
        let phase = record.nics.get(name).map(|nic| nic.phase);
        let (in_router, in_host) = (in_router(node, name, record).is_some(), has(&Netns::Host, name));
        let taken = if asked.contains(name) { in_router && phase.is_none_or(|p| p == MovePhase::Taken) } else { true };
        (in_router || in_host).then_some(if taken { Netns::Router } else { Netns::Host })
    };
    let names: BTreeSet<&IfName> = asked.iter().chain(record.nics.keys()).collect();
    names.into_iter().filter_map(|name| Some((name.clone(), netns_of(name)?))).collect()
}

/// The link in the router that was taken under this name, with or without that name.
fn in_router<'a>(node: &'a NodeContents, name: &IfName, record: &Record) -> Option<&'a ObservedLink> {
    let router = node.get(&Netns::Router)?;
    let renamed = || {
        let had = record.nics.get(name)?;
        router.links.get(&had.router_index?).map(|link| &**link).filter(|link| is_moved_nic(link, had))
    };
    router.by_name(name.as_str()).map(|(_, link)| link).or_else(renamed)
}

/// Whether a link with the recorded ifindex of the router is the recorded NIC.
pub fn is_moved_nic(link: &ObservedLink, had: &NicRecord) -> bool {
    link.owned.is_none() && link.name != "lo" && had.mac.is_some() && link.mac == had.mac
}

/// NICs that were taken and are not as they were taken. One on its way is not observed as taken.
fn damaged_nics(node: &NodeContents, asked: &BTreeSet<IfName>, record: &Record) -> BTreeSet<IfName> {
    let is_damaged = |name: &&IfName| {
        let had = record.nics.get(*name).filter(|had| had.phase == MovePhase::Taken);
        had.zip(in_router(node, name, record)).is_some_and(|(had, link)| {
            let has = |net: &IpNet| link.addresses.iter().any(|address| address.net == *net);
            let nets = had.addresses.iter().filter_map(|saved| Some(saved.address()?.net));
            let mut kept = nets.filter(|net| !is_link_local(net));
            link.name != name.as_str() || !link.up || !kept.all(|net| has(&net))
        })
    };
    asked.iter().filter(is_damaged).cloned().collect()
}

/// A veth end by its own ifindex and that of the other end.
type Ends = BTreeMap<(u32, u32), Vec<LinkKey>>;

fn veth_ends(node: &NodeContents) -> Ends {
    let mut ends = Ends::new();
    for (netns, contents) in node {
        for (index, link) in &contents.links {
            if let (Some(name), Some(lower), ObservedKind::Veth) = (&link.owned, link.lower, &link.kind) {
                let key = LinkKey { netns: netns.clone(), name: name.clone() };
                ends.entry((*index, lower)).or_default().push(key);
            }
        }
    }
    ends
}

fn kind_of(key: &LinkKey, index: u32, link: &ObservedLink, ends: &Ends) -> LinkKind {
    match (&link.kind, &key.name) {
        (ObservedKind::Vrf(table), OwnedName::Vrf(_)) => LinkKind::Vrf { table: *table },
        (ObservedKind::Bridge, OwnedName::Vni(Role::Bridge | Role::HostBridge, _)) => LinkKind::Bridge,
        (ObservedKind::Vxlan(vni, local, port), OwnedName::Vni(Role::Vxlan, _)) => {
            LinkKind::Vxlan { vni: *vni, local: *local, port: *port }
        }
        (ObservedKind::Veth, OwnedName::Vni(role @ (Role::PeVeth | Role::HostVeth), _)) => {
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

fn link_of(key: &LinkKey, kind: LinkKind, link: &ObservedLink, contents: &NetnsContents) -> Link {
    let role = |role| matches!(&key.name, OwnedName::Vni(of, _) if *of == role);
    let segment = link.group == SEGMENT_GROUP;
    let quiet = (segment || matches!(kind, LinkKind::Bridge | LinkKind::Vxlan { .. })) && link.ip != IpUse::Gateway;
    let is_routed = !matches!(kind, LinkKind::Vxlan { .. } | LinkKind::Other);
    Link {
        // Derived when all links are known.
        scope: Scope::Underlay,
        segment,
        master: link.master.and_then(|index| contents.links.get(&index)?.owned.clone()),
        host_master: host_master_of(link, contents),
        mtu: (!matches!(kind, LinkKind::Vrf { .. })).then_some(link.mtu),
        mac: link.mac.filter(|_| kind == LinkKind::Bridge),
        up: link.up,
        // A kernel without IPv6 has no link-local addresses.
        addrgen_none: link.addrgen.map_or(quiet, |mode| mode == AddrGenMode::NONE),
        ip: if is_routed { link.ip } else { IpUse::Routed },
        rp_filter: link.rp_filter.filter(|_| is_routed),
        wrong_settings: if is_routed { wrong_settings(&key.netns, link, contents) } else { BTreeSet::new() },
        addresses: link
            .addresses
            .iter()
            .filter(|address| address.permanent && !is_link_local(&address.net))
            .map(|address| address.net)
            .collect(),
        port: link.port.filter(|_| matches!(kind, LinkKind::Vxlan { .. }) || role(Role::PeVeth)),
        kind,
    }
}

/// Those of a link that has IPv4. Where a setting for all devices is off, its repair repairs that of each.
fn wrong_settings(netns: &Netns, link: &ObservedLink, contents: &NetnsContents) -> BTreeSet<LinkSetting> {
    let is_off = |of_all: Sysctl| contents.sysctls.get(&of_all) == Some(&0);
    let is_wrong = |setting: &LinkSetting| {
        let is_checked = setting.of_all().is_none_or(|of_all| *netns != Netns::Host && !is_off(of_all));
        is_checked && link.rp_filter.is_some() && link.settings.contains(setting) != setting.is_needed_on()
    };
    LinkSetting::ALL.into_iter().filter(is_wrong).collect()
}

/// The device of the host that we set as master according to the alias, if it still is the master.
fn host_master_of(link: &ObservedLink, contents: &NetnsContents) -> Option<HostMaster> {
    let name = names::host_master_of(link.alias.as_deref()?)?;
    let master = contents.links.get(&link.master?).filter(|master| master.name == name.as_str())?;
    Some(if matches!(master.kind, ObservedKind::Vrf(_)) { HostMaster::Vrf(name) } else { HostMaster::Bridge(name) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::diff::generated::{World, world};
    use crate::kernel::model::RpFilter;
    use crate::kernel::netlink::contents::ObservedAddress;
    use crate::kernel::nic_setting::NicSettings;
    use crate::names::{LINK_GROUP, PortTable};
    use crate::types::{MacAddr, VrfMode};
    use proptest::prelude::*;

    /// `lo` of the router namespace.
    fn lo(state: &KernelState) -> ObservedLink {
        let kernel = ["127.0.0.1/8", "::1/128"].map(|net| net.parse().unwrap());
        let addresses = state.loopback.iter().copied().chain(kernel);
        ObservedLink {
            name: "lo".to_owned(),
            mtu: 65_536,
            up: true,
            immovable: true,
            addresses: addresses.map(|net| ObservedAddress { net, permanent: true }).collect(),
            ..ObservedLink::default()
        }
    }

    /// A link as it is observed in place, with the ifindexes of all links.
    fn observed_as(key: &LinkKey, link: &Link, indexes: &BTreeMap<&LinkKey, u32>) -> ObservedLink {
        let index_of = |name: &OwnedName| indexes[&LinkKey { netns: key.netns.clone(), name: name.clone() }];
        let (kind, lower) = match &link.kind {
            LinkKind::Vrf { table } => (ObservedKind::Vrf(*table), None),
            LinkKind::Bridge => (ObservedKind::Bridge, None),
            LinkKind::Vxlan { vni, local, port } => (ObservedKind::Vxlan(*vni, *local, *port), None),
            LinkKind::Veth { peer } => (ObservedKind::Veth, Some(indexes[&**peer])),
            LinkKind::Other => (ObservedKind::Other, None),
        };
        let addresses = link.addresses.iter().map(|net| ObservedAddress { net: *net, permanent: true });
        let noise = ["fe80::1/64", "2001:db8:ffff::1/64"].map(|net| net.parse().unwrap());
        let noise = noise.map(|net| ObservedAddress { net, permanent: is_link_local(&net) });
        let is_vxlan = matches!(link.kind, LinkKind::Vxlan { .. });
        ObservedLink {
            name: key.name.to_string(),
            owned: OwnedName::recognise(
                &key.name.to_string(),
                if link.segment { SEGMENT_GROUP } else { LINK_GROUP },
                matches!(kind, ObservedKind::Vrf(_)),
            ),
            altnames: BTreeSet::new(),
            info_kind: String::new(),
            group: if link.segment { SEGMENT_GROUP } else { LINK_GROUP },
            kind,
            alias: None,
            master: link.master.as_ref().map(index_of),
            lower,
            lower_netns: None,
            mtu: link.mtu.unwrap_or(65_575),
            mac: link.mac.or(Some(MacAddr([2; 6]))),
            up: link.up,
            addrgen: Some(if link.addrgen_none { AddrGenMode::NONE } else { AddrGenMode::EUI64 }),
            rp_filter: link.rp_filter.or(Some(RpFilter::Off)),
            ip: link.ip,
            drops_untracked: false,
            // Those of a VXLAN device do not matter, and neither does whether a link of the host forwards.
            settings: if is_vxlan {
                LinkSetting::OFF.into()
            } else {
                let forwards = [LinkSetting::Ipv4Forwarding, LinkSetting::Ipv6Forwarding].into();
                if key.netns == Netns::Host { BTreeSet::new() } else { forwards }
            },
            port: link.port,
            immovable: false,
            addresses: addresses.chain(noise).collect(),
        }
    }

    #[test]
    fn a_link_of_the_router_that_does_not_forward_is_wrong() {
        let forwards = [LinkSetting::Ipv4Forwarding, LinkSetting::Ipv6Forwarding];
        let link = |settings: &[LinkSetting], rp_filter| ObservedLink {
            settings: settings.iter().copied().collect(),
            rp_filter,
            ..ObservedLink::default()
        };
        let wrong = |netns: &Netns, link: &ObservedLink, of_all: u32| {
            let sysctls = [(Sysctl::Ipv4Forwarding, of_all), (Sysctl::Ipv6Forwarding, of_all)];
            let contents = NetnsContents { sysctls: Arc::new(sysctls.into()), ..NetnsContents::default() };
            wrong_settings(netns, link, &contents).into_iter().collect::<Vec<_>>()
        };
        let loose = Some(RpFilter::Loose);
        assert_eq!(wrong(&Netns::Router, &link(&forwards, loose), 1), []);
        assert_eq!(wrong(&Netns::Router, &link(&[], loose), 1), forwards);
        assert_eq!(wrong(&Netns::Router, &link(&[], loose), 0), [], "the repair of the namespace is that of the link");
        assert_eq!(wrong(&Netns::Host, &link(&[], loose), 1), [], "it is the host's own");
        assert_eq!(wrong(&Netns::Router, &link(&[], None), 1), [], "without IPv4");
        let with_redirects = link(&[LinkSetting::SendRedirects], loose);
        assert_eq!(wrong(&Netns::Host, &with_redirects, 1), [LinkSetting::SendRedirects]);
    }

    /// The contents of the namespaces where `wanted` is in place, in `vrf` mode too, which not every kernel has.
    fn contents_of(wanted: &KernelState) -> NodeContents {
        let mut node: BTreeMap<Netns, NetnsContents> = BTreeMap::new();
        node.insert(Netns::Host, NetnsContents::default());
        let (unreachable, local_last) = (wanted.unreachable.clone(), wanted.local_last.clone());
        node.insert(Netns::Router, NetnsContents { unreachable, local_last, ..NetnsContents::default() });
        node.extend(wanted.vrf_netns.iter().map(|vrf| (Netns::Vrf(vrf.clone()), NetnsContents::default())));
        // Ifindexes repeat between namespaces.
        let mut indexes: BTreeMap<&LinkKey, u32> = BTreeMap::new();
        let mut last: BTreeMap<&Netns, u32> = BTreeMap::new();
        for key in wanted.links.keys() {
            let next = last.entry(&key.netns).or_insert(1);
            *next += 1;
            indexes.insert(key, *next);
        }
        for (key, link) in &wanted.links {
            let observed = observed_as(key, link, &indexes);
            node.get_mut(&key.netns).unwrap().links.insert(indexes[key], Arc::new(observed));
        }
        node.get_mut(&Netns::Router).unwrap().links.insert(1, Arc::new(lo(wanted)));
        for opened in &wanted.listen_ports {
            let table = PortTable { vni: opened.on.name.vni().unwrap(), port: opened.port };
            node.get_mut(&opened.on.netns).unwrap().listen_ports.insert(table, opened.whole);
        }
        for SourceFilter { netns, table, whole } in &wanted.source_filters {
            node.get_mut(netns).unwrap().source_filters.insert(table.clone(), *whole);
        }
        for ((netns, sysctl), value) in &wanted.sysctls {
            Arc::make_mut(&mut node.get_mut(netns).unwrap().sysctls).insert(*sysctl, *value);
        }
        node.into_iter().map(|(netns, contents)| (netns, Arc::new(contents))).collect()
    }

    proptest! {
        #[test]
        fn a_wanted_state_in_place_is_observed_as_it_is(world in world(&[VrfMode::Vrf, VrfMode::Netns])) {
            let wanted = World::state(&world);
            prop_assert_eq!(state(&contents_of(&wanted), &BTreeSet::new(), &Record::default()), wanted);
        }
    }

    #[test]
    fn the_networks_of_the_host_are_those_of_links_that_are_up_and_not_ours() {
        let ours = OwnedName::Vni(Role::HostVeth, crate::types::Vni::try_from(100).unwrap());
        let link = |name: &str, up, owned, master, nets: &[&str]| ObservedLink {
            name: name.to_owned(),
            up,
            owned,
            master,
            addresses: nets.iter().map(|net| ObservedAddress { net: net.parse().unwrap(), permanent: false }).collect(),
            ..ObservedLink::default()
        };
        let vrf = ObservedLink { kind: ObservedKind::Vrf(TableId(7)), ..link("blue", true, None, None, &[]) };
        let links = [
            link("lo", true, None, None, &["127.0.0.1/8", "::1/128", "10.9.9.1/32"]),
            link("mgmt0", true, None, None, &["172.18.0.3/16", "fe80::1/64", "fd00::3/64"]),
            link("eth1", true, None, Some(6), &["10.1.0.3/24"]),
            link("docker0", false, None, None, &["172.17.0.1/16"]),
            link("host-100", true, Some(ours), None, &["192.169.10.3/24"]),
            vrf,
        ];
        let links: BTreeMap<u32, Arc<ObservedLink>> = (1..).zip(links.into_iter().map(Arc::new)).collect();
        let shown = |static_routes: BTreeSet<StaticRoute>| {
            let contents = NetnsContents { links: links.clone(), static_routes, ..NetnsContents::default() };
            let shown = |network: HostNetwork| {
                let vrf = network.vrf.as_deref().unwrap_or("-");
                let route = if network.is_route { " static" } else { "" };
                format!("{} {} {vrf}{route}", network.address, network.link)
            };
            host_networks(&contents).into_iter().map(shown).collect::<Vec<_>>()
        };
        let of_links = ["10.1.0.3/24 eth1 blue", "10.9.9.1/32 lo -", "172.18.0.3/16 mgmt0 -", "fd00::3/64 mgmt0 -"];
        assert_eq!(shown(BTreeSet::new()), of_links);
        let index_of = |name: &str| *links.iter().find(|(_, link)| link.name == name).unwrap().0;
        let route = |prefix: &str, table: u32, devices: &[&str]| StaticRoute {
            prefix: prefix.parse().unwrap(),
            table: TableId(table),
            devices: devices.iter().map(|name| index_of(name)).collect(),
        };
        let routes = [
            route("10.1.0.0/16", 254, &["mgmt0"]),
            route("10.2.0.0/16", 254, &[]),
            route("10.3.0.0/16", 7, &["eth1"]),
            route("10.4.0.0/16", 77, &["mgmt0"]),
            route("10.5.0.0/16", 254, &["host-100"]),
        ];
        let of_routes: BTreeSet<String> =
            shown(routes.into()).into_iter().filter(|text| text.ends_with("static")).collect();
        let expected = ["10.1.0.0/16 mgmt0 - static", "10.2.0.0/16 no link - static", "10.3.0.0/16 eth1 blue static"];
        assert_eq!(of_routes, expected.map(str::to_owned).into());
    }

    #[test]
    fn a_host_end_is_in_a_vrf_of_the_host_only_if_we_set_it() {
        let vrf: IfName = "hostvrf".parse().unwrap();
        let name = OwnedName::Vni(Role::HostVeth, crate::types::Vni::try_from(100).unwrap());
        let observed_in = |master: Option<u32>, alias_vrf: Option<&IfName>| {
            let blank = || ObservedLink::default();
            let alias = Some(names::alias(&name, alias_vrf));
            let end = ObservedLink { name: "host-100".into(), owned: Some(name.clone()), alias, master, ..blank() };
            let links = [
                (2, ObservedLink { name: vrf.to_string(), kind: ObservedKind::Vrf(TableId(7)), ..blank() }),
                (3, ObservedLink { name: "b".into(), ..blank() }),
            ];
            let contents = NetnsContents {
                links: links.into_iter().chain([(4, end)]).map(|(index, link)| (index, Arc::new(link))).collect(),
                ..NetnsContents::default()
            };
            let node = NodeContents::from([(Netns::Host, Arc::new(contents))]);
            let state = state(&node, &BTreeSet::new(), &Record::default());
            state.links.into_values().map(|link| (link.master, link.host_master)).collect::<Vec<_>>()
        };
        assert_eq!(observed_in(Some(2), None), [(None, None)], "set by others");
        assert_eq!(observed_in(Some(2), Some(&vrf)), [(None, Some(HostMaster::Vrf(vrf.clone())))]);
        assert_eq!(observed_in(Some(3), Some(&vrf)), [(None, None)], "changed by others");
        assert_eq!(observed_in(None, Some(&vrf)), [(None, None)], "the device was deleted");
    }

    #[test]
    fn an_interrupted_move_of_a_nic_counts_as_not_done() {
        let nic: IfName = "toswitch".parse().unwrap();
        let had = |phase| NicRecord {
            phase,
            index: 2,
            mtu: 1500,
            up: true,
            addrgen: None,
            mac: None,
            router_index: None,
            master: None,
            altnames: BTreeSet::new(),
            stacked: vec![],
            addresses: vec![],
            routes: vec![],
            settings: NicSettings::default(),
        };
        let view = |name: &str| {
            let link = ObservedLink { name: name.to_owned(), ..ObservedLink::default() };
            Arc::new(NetnsContents { links: BTreeMap::from([(2, Arc::new(link))]), ..NetnsContents::default() })
        };
        let netns_of = |in_router: bool, phase: Option<MovePhase>, asked: bool| {
            let (host, router) = if in_router { ("eth0", "toswitch") } else { ("toswitch", "eth0") };
            let node = NodeContents::from([(Netns::Host, view(host)), (Netns::Router, view(router))]);
            let mut record = Record::default();
            record.nics.extend(phase.map(|phase| (nic.clone(), had(phase))));
            let asked = BTreeSet::from_iter(asked.then(|| nic.clone()));
            state(&node, &asked, &record).nics.remove(&nic)
        };
        let (host, router) = (Some(Netns::Host), Some(Netns::Router));
        let cases = [
            (true, Some(MovePhase::Taken), true, &router),
            (true, Some(MovePhase::Taking), true, &host),
            (true, Some(MovePhase::Returning), true, &host),
            (true, None, true, &router),
            (false, None, true, &host),
            (false, Some(MovePhase::Returning), true, &host),
            (true, Some(MovePhase::Taken), false, &router),
            (false, Some(MovePhase::Returning), false, &router),
            (false, Some(MovePhase::Taken), false, &router),
            (true, None, false, &None),
        ];
        for (in_router, phase, asked, expected) in cases {
            assert_eq!(&netns_of(in_router, phase, asked), expected, "{in_router} {phase:?} {asked}");
        }
    }
}
