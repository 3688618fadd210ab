//! Prefix lists and route maps. Their names contain a digest of their content, see [`super::policy_names`]. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::policy_names::{self, PolicyUse, SharedList};
use super::rule::{Group, Rule};
use crate::frr::model::{HostSession, HostSessions, IpVrf, PrefixListEntry, RouterConfig, UnderlayInstance};
use crate::frr::release::Release;
use crate::scope::Scope;
use crate::types::{Community, Family};

pub(super) const TEMPLATE: &str = include_str!("policy.tera");

pub(super) const RULES: &[Rule] = &[
    Rule::value(Group::PrefixList, "ip prefix-list * seq * .."),
    Rule::value(Group::PrefixList, "ipv6 prefix-list * seq * .."),
    Rule::stanza(Group::RouteMap, "route-map * permit *"),
    Rule::stanza(Group::RouteMap, "route-map * deny *"),
    Rule::value(Group::RouteMapClause, "match ip address prefix-list ="),
    Rule::value(Group::RouteMapClause, "match ipv6 address prefix-list ="),
    Rule::value(Group::RouteMapClause, "match ip next-hop prefix-list ="),
    Rule::value(Group::RouteMapClause, "match ipv6 next-hop prefix-list ="),
    Rule::value(Group::RouteMapClause, "match ipv6 next-hop address ="),
    Rule::line(Group::RouteMapClause, "set ipv6 next-hop prefer-global"),
    Rule::line(Group::RouteMapClause, "set extcommunity none"),
    Rule::value(Group::RouteMapClause, "set local-preference ="),
    Rule::value(Group::RouteMapClause, "set community .."),
];

/// Removes the extended communities of a route. A host that could attach the route target of another IP-VRF would have its
/// route imported there by every leaf, together with our router MAC. FRR adds the targets of the IP-VRF to the Type-5 route
/// only later, so they stay.
const NO_EXTENDED_COMMUNITIES: &str = "set extcommunity none";

/// An IPv4 route without a next hop of IPv6 (RFC 8950). FRR accepts one also where the capability is not negotiated, and
/// prefers it to the attribute `NEXT_HOP`.
const NO_IPV6_NEXT_HOP: &str = "match ipv6 next-hop address ::";

/// FRR forwards to the link-local address of two next hops (RFC 2545 section 3), which no filter knows, unless set to use the
/// global one.
const GLOBAL_NEXT_HOP: &str = "set ipv6 next-hop prefer-global";

#[derive(Clone, Serialize)]
pub(super) struct PrefixListView {
    command: &'static str,
    name: String,
    entries: Vec<String>,
}

#[derive(Clone, Serialize)]
pub(super) struct RouteMapView {
    name: String,
    entries: Vec<RouteMapEntryView>,
}

/// An entry of a route map; the first one that matches decides.
#[derive(Clone, Serialize)]
struct RouteMapEntryView {
    action: &'static str,
    seq: u32,
    clauses: Vec<String>,
}

/// The policies that IP-VRFs share. They are in the scope of the underlay; the host sessions of IP-VRFs name them. Made once
/// for a configuration: a name contains a digest of all lines.
pub(super) struct SharedPolicies {
    sessions: BTreeMap<Family, HostSessions>,
    /// What hosts of a family may advertise where nothing is listed.
    default: BTreeMap<Family, FromHosts>,
    /// The same where their prefixes are listed.
    allowed: BTreeMap<Family, FromHosts>,
}

/// A list of prefixes, and the route map that names it.
struct FromHosts {
    list: PrefixListView,
    map: RouteMapView,
}

impl SharedPolicies {
    /// Those of a configuration.
    pub(super) fn of(config: &RouterConfig) -> Self {
        let sessions = config.host_sessions();
        let underlay = config.underlay.as_ref();
        let of = |used: fn(Family) -> PolicyUse| {
            sessions.keys().map(|family| (*family, from_hosts(underlay, used(*family), *family))).collect()
        };
        Self { default: of(PolicyUse::In), allowed: of(PolicyUse::Allowed), sessions }
    }

    /// Those that are in use.
    fn used(&self) -> impl Iterator<Item = &FromHosts> {
        let lists_prefixes = |family: &&Family| self.sessions.get(family).is_some_and(|sessions| sessions.allowed);
        let allowed =
            self.allowed.iter().filter(move |(family, _)| lists_prefixes(family)).map(|(_, policies)| policies);
        self.default.values().chain(allowed)
    }
}

/// The policies of the default instance, those that IP-VRFs share among them.
pub(super) struct UnderlayPolicies {
    pub prefix_lists: Vec<PrefixListView>,
    pub route_maps: Vec<RouteMapView>,
    /// The name of the prefix list of what the fabric receives.
    pub advertised: BTreeMap<Family, String>,
    /// The name of the prefix list of what is accepted from the fabric.
    pub accepted: BTreeMap<Family, String>,
    /// The name of the route map of EVPN routes from the fabric, where FRR can filter them.
    pub evpn: Option<String>,
}

/// The policies of the default instance. A node is no transit between its leaves: it advertises its VTEP and nothing that it
/// received.
pub(super) fn underlay(instance: &UnderlayInstance, shared: &SharedPolicies, release: &Release) -> UnderlayPolicies {
    let scope = &Scope::Underlay;
    let (mut prefix_lists, mut route_maps): (Vec<_>, Vec<_>) =
        shared.used().map(|policies| (policies.list.clone(), policies.map.clone())).unzip();
    prefix_lists.extend(shared.sessions.iter().flat_map(|(family, sessions)| shared_lists(*family, sessions)));
    let evpn = release.matches_type5.then(|| from_fabric(instance, &shared.sessions)).map(|(lists, map)| {
        prefix_lists.extend(lists);
        let name = map.name.clone();
        route_maps.push(map);
        name
    });
    let (mut advertised, mut accepted) = (BTreeMap::new(), BTreeMap::new());
    for family in instance.networks.iter().map(Family::of).collect::<BTreeSet<_>>() {
        let own = instance.networks.iter().filter(|prefix| Family::of(prefix) == family);
        let rules: Vec<_> = own.map(|prefix| format!("permit {prefix}")).collect();
        let list = prefix_list(scope, PolicyUse::Out(family), &rules);
        advertised.insert(family, list.name.clone());
        prefix_lists.push(list);
        if let Some(own) = instance.own_prefixes.get(&family) {
            let list = all_but(PolicyUse::Own(family), family, own.iter().cloned());
            accepted.insert(family, list.name.clone());
            prefix_lists.push(list);
        }
    }
    UnderlayPolicies { prefix_lists, route_maps, advertised, accepted, evpn }
}

fn protected(underlay: Option<&UnderlayInstance>, family: Family) -> impl Iterator<Item = PrefixListEntry> {
    let all = underlay.into_iter().flat_map(|underlay| &underlay.protected_prefixes);
    all.filter(move |prefix| Family::of(prefix) == family).map(|prefix| PrefixListEntry::within(*prefix))
}

/// A list of the underlay that denies `denied` and permits all else.
fn all_but(used: PolicyUse, family: Family, denied: impl Iterator<Item = PrefixListEntry>) -> PrefixListView {
    let entries = denied.map(PrefixListEntry::denied).chain([PrefixListEntry::everything(family)]);
    prefix_list(&Scope::Underlay, used, &entries.map(|entry| rule(&entry)).collect::<Vec<_>>())
}

/// The lists with lines of each IP-VRF. A commit of bgpd takes the longer the more lines and the more route maps there are: with
/// route maps of each IP-VRF, 400 of them took a second for each line.
fn shared_lists(family: Family, sessions: &HostSessions) -> [PrefixListView; 2] {
    [
        numbered(family, SharedList::Subnets, sessions.subnets.iter().map(|subnet| PrefixListEntry::within(*subnet))),
        addresses(family, SharedList::Hosts, &sessions.hosts),
    ]
}

fn addresses(family: Family, list: SharedList, addresses: &BTreeSet<IpAddr>) -> PrefixListView {
    numbered(family, list, addresses.iter().map(|address| PrefixListEntry::exactly(IpNet::from(*address))))
}

/// What hosts may advertise in any IP-VRF: no part of a session subnet, as all hosts are one node, nothing that is protected, no
/// default route where nothing is listed, and nothing whose next hop is no address of the host. An address of the host in
/// another IP-VRF passes; it is reached in no other.
fn from_hosts(underlay: Option<&UnderlayInstance>, used: PolicyUse, family: Family) -> FromHosts {
    let default = matches!(used, PolicyUse::In(_)).then(|| PrefixListEntry::default_route(family));
    let list = all_but(used, family, default.into_iter().chain(protected(underlay, family)));
    let map = route_map(&Scope::Underlay, used, host_entries(&list, family, None));
    FromHosts { list, map }
}

/// The entries of a route map for a host session. `list`: what is accepted besides.
fn host_entries(list: &PrefixListView, family: Family, local_pref: Option<u32>) -> Vec<RouteMapEntryView> {
    let command = command(Some(family));
    let shared = |list| policy_names::shared_list(list, family);
    let mut accepted = vec![
        matches(list),
        format!("match {command} next-hop prefix-list {}", shared(SharedList::Hosts)),
        if family == Family::Ipv4 { NO_IPV6_NEXT_HOP } else { GLOBAL_NEXT_HOP }.to_owned(),
        NO_EXTENDED_COMMUNITIES.to_owned(),
    ];
    accepted.extend(local_pref.map(|value| format!("set local-preference {value}")));
    let subnets = format!("match {command} address prefix-list {}", shared(SharedList::Subnets));
    entries([("deny", vec![subnets]), ("permit", accepted)])
}

/// EVPN routes of the fabric but those that no IP-VRF may have. A route map, as FRR has no prefix lists for EVPN sessions.
fn from_fabric(
    underlay: &UnderlayInstance,
    sessions: &BTreeMap<Family, HostSessions>,
) -> (Vec<PrefixListView>, RouteMapView) {
    let mut lists = Vec::new();
    let mut map = Vec::new();
    for family in [Family::Ipv4, Family::Ipv6] {
        let command = command(Some(family));
        let rules: Vec<_> = protected(Some(underlay), family).map(|entry| rule(&entry)).collect();
        if !rules.is_empty() {
            let list = prefix_list(&Scope::Underlay, PolicyUse::Protected(family), &rules);
            map.push(("deny", vec![matches(&list)]));
            lists.push(list);
        }
        if let Some(sessions) = sessions.get(&family) {
            // In a session subnet: the hosts of other nodes are found by their addresses.
            let shared =
                |list| vec![format!("match {command} address prefix-list {}", policy_names::shared_list(list, family))];
            let single = rule(&PrefixListEntry::addresses(family));
            let single = prefix_list(&Scope::Underlay, PolicyUse::Addresses(family), &[single]);
            map.extend([
                ("deny", shared(SharedList::Routers)),
                ("deny", shared(SharedList::Hosts)),
                ("permit", vec![matches(&single)]),
                ("deny", shared(SharedList::Subnets)),
            ]);
            lists.extend([single, addresses(family, SharedList::Routers, &sessions.routers)]);
        }
    }
    map.push(("permit", vec![]));
    (lists, route_map(&Scope::Underlay, PolicyUse::Evpn, entries(map)))
}

/// The policies of a host session.
pub(super) struct HostPolicies {
    pub prefix_lists: Vec<PrefixListView>,
    /// A route map of its own, only where it sets something.
    pub route_map: Option<RouteMapView>,
    /// The name of the prefix list of what the host may advertise, where that is listed.
    pub accepted: Option<String>,
    /// The name of the route map for what it advertises: of its own, or one that is shared.
    pub inbound: String,
    /// The name of the prefix list of what it receives.
    pub outbound: Option<String>,
}

/// The policies of a host session of an IP-VRF; `None` only where `shared` is of a configuration without it. It has those of its
/// own only where needed, besides the shared ones: each line of a policy costs FRR the more time the more policies there are.
pub(super) fn host(
    scope: &Scope,
    family: Family,
    session: &HostSession,
    shared: &SharedPolicies,
) -> Option<HostPolicies> {
    let list =
        |used, entries: &Vec<PrefixListEntry>| prefix_list(scope, used, &entries.iter().map(rule).collect::<Vec<_>>());
    let allowed = session.inbound.as_ref().map(|entries| list(PolicyUse::In(family), entries));
    let shared = if allowed.is_some() { &shared.allowed } else { &shared.default };
    let shared = shared.get(&family)?;
    let own = session
        .local_pref
        .map(|value| route_map(scope, PolicyUse::In(family), host_entries(&shared.list, family, Some(value))));
    let outbound = session.outbound.as_ref().map(|entries| list(PolicyUse::Out(family), entries));
    Some(HostPolicies {
        accepted: allowed.as_ref().map(|list| list.name.clone()),
        inbound: own.as_ref().unwrap_or(&shared.map).name.clone(),
        outbound: outbound.as_ref().map(|list| list.name.clone()),
        prefix_lists: allowed.into_iter().chain(outbound).collect(),
        route_map: own,
    })
}

/// The policies between an IP-VRF and its Type-5 routes.
#[derive(Default)]
pub(super) struct FabricPolicies {
    pub prefix_lists: Vec<PrefixListView>,
    pub route_maps: Vec<RouteMapView>,
    /// The name of the route map of a family that has one.
    of_family: BTreeMap<Family, String>,
}

impl FabricPolicies {
    /// The route map of a family.
    pub fn route_map(&self, family: Family) -> Option<String> {
        self.of_family.get(&family).cloned()
    }
}

/// The policies for the advertised families of an IP-VRF. Families without lists of their own share a route map.
pub(super) fn fabric(
    scope: &Scope,
    vrf: &IpVrf,
    families: impl Iterator<Item = Family>,
    release: &Release,
) -> FabricPolicies {
    let mut policies = FabricPolicies::default();
    for family in families {
        let list = release.advertises_suppressed.then(|| without_suppressed(scope, family, &vrf.aggregates)).flatten();
        let set = (!vrf.communities.is_empty())
            .then(|| format!("set community {} additive", community_words(&vrf.communities, release.communities)));
        let clauses: Vec<_> = list.as_ref().map(matches).into_iter().chain(set).collect();
        policies.prefix_lists.extend(list);
        if clauses.is_empty() {
            continue;
        }
        let map = route_map(scope, PolicyUse::Fabric, entries([("permit", clauses)]));
        let known = policies.of_family.values().any(|name| *name == map.name);
        policies.of_family.insert(family, map.name.clone());
        policies.route_maps.extend((!known).then_some(map));
    }
    policies
}

/// Everything but the routes that aggregates suppress; `None` where there are none of the family.
fn without_suppressed(scope: &Scope, family: Family, aggregates: &BTreeMap<IpNet, bool>) -> Option<PrefixListView> {
    let alone = aggregates.iter().filter(|(prefix, alone)| **alone && Family::of(prefix) == family);
    let within = |(prefix, _): (&IpNet, &bool)| {
        let longer = prefix.prefix_len() + 1;
        (longer <= prefix.max_prefix_len()).then(|| {
            // FRR prints no `le` of the greatest length beside `ge`.
            rule(&PrefixListEntry { permit: false, prefix: *prefix, ge: Some(longer), le: None })
        })
    };
    let mut rules: Vec<_> = alone.filter_map(within).collect();
    if rules.is_empty() {
        return None;
    }
    rules.push(rule(&PrefixListEntry::everything(family)));
    Some(prefix_list(scope, PolicyUse::Parts(family), &rules))
}

fn matches(list: &PrefixListView) -> String {
    format!("match {} address prefix-list {}", list.command, list.name)
}

fn rule(entry: &PrefixListEntry) -> String {
    let bound = |word: &str, bound: Option<u8>| bound.map_or_else(String::new, |n| format!(" {word} {n}"));
    let action = if entry.permit { "permit" } else { "deny" };
    // FRR prints both forms as they were entered, and processes this one in a third of the time.
    if (PrefixListEntry { permit: true, ..entry.clone() }) == PrefixListEntry::everything(Family::of(&entry.prefix)) {
        return format!("{action} any");
    }
    format!("{action} {}{}{}", entry.prefix.trunc(), bound("ge", entry.ge), bound("le", entry.le))
}

/// An empty list is rendered as one that denies: to FRR a list that does not exist permits.
fn prefix_list(scope: &Scope, used: PolicyUse, rules: &[String]) -> PrefixListView {
    let mut rules = if rules.is_empty() { vec!["deny any".to_owned()] } else { rules.to_vec() };
    // FRR drops a line that repeats another one.
    let mut known = BTreeSet::new();
    rules.retain(|rule| known.insert(rule.clone()));
    let entries: Vec<_> = (1..).zip(rules).map(|(n, rule)| format!("seq {} {rule}", n * 5)).collect();
    PrefixListView {
        command: command(used.family()),
        name: policy_names::policy(scope, used, &entries.join("\n")),
        entries,
    }
}

/// A list whose lines are numbered by their prefixes: a line has the same number, whatever other lines there are.
fn numbered(family: Family, list: SharedList, lines: impl Iterator<Item = PrefixListEntry>) -> PrefixListView {
    let mut by_number = BTreeMap::new();
    for entry in lines {
        let mut number = policy_names::line_number(&entry.prefix);
        // Numbers of IPv6 prefixes may be the same.
        while by_number.contains_key(&number) {
            number = number.checked_add(1).unwrap_or(1);
        }
        by_number.insert(number, rule(&entry));
    }
    let entries = by_number.into_iter().map(|(number, rule)| format!("seq {number} {rule}")).collect();
    PrefixListView { command: command(Some(family)), name: policy_names::shared_list(list, family), entries }
}

fn command(family: Option<Family>) -> &'static str {
    if family == Some(Family::Ipv6) { "ipv6" } else { "ip" }
}

fn entries(of: impl IntoIterator<Item = (&'static str, Vec<String>)>) -> Vec<RouteMapEntryView> {
    (1..).zip(of).map(|(n, (action, clauses))| RouteMapEntryView { action, seq: n * 10, clauses }).collect()
}

fn route_map(scope: &Scope, used: PolicyUse, entries: Vec<RouteMapEntryView>) -> RouteMapView {
    let text = |entry: &RouteMapEntryView| format!("{} {}\n{}", entry.action, entry.seq, entry.clauses.join("\n"));
    let content: Vec<String> = entries.iter().map(text).collect();
    RouteMapView { name: policy_names::policy(scope, used, &content.join("\n")), entries }
}

/// Communities as FRR prints them: sorted by value, the well-known ones by name.
fn community_words(communities: &BTreeSet<Community>, well_known: &[(u32, &str)]) -> String {
    let by_value: BTreeMap<u32, String> = communities.iter().map(|c| canonical(c.as_str(), well_known)).collect();
    by_value.into_values().collect::<Vec<_>>().join(" ")
}

fn canonical(raw: &str, well_known: &[(u32, &str)]) -> (u32, String) {
    if let Some((value, name)) = well_known.iter().find(|(_, name)| *name == raw) {
        return (*value, (*name).to_owned());
    }
    let (high, low) = raw.split_once(':').unwrap_or(("0", raw));
    let half = |text: &str| text.parse::<u32>().unwrap_or_default();
    let value = half(high) << 16 | half(low);
    let name = well_known.iter().find(|(known, _)| *known == value).map_or(raw, |(_, name)| name);
    (value, name.to_owned())
}
