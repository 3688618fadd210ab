//! Prefix lists and route maps. Their names contain a digest of their content, see [`super::policy_names`]. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use serde::Serialize;

use super::policy_names::{self, PolicyUse};
use super::rule::{Group, Rule};
use crate::frr::model::{HostSession, IpVrf, PrefixListEntry, UnderlayInstance};
use crate::frr::release::Release;
use crate::scope::Scope;
use crate::types::{Community, Family};

pub(super) const TEMPLATE: &str = include_str!("policy.tera");

pub(super) const RULES: &[Rule] = &[
    Rule::value(Group::PrefixList, "ip prefix-list * seq * .."),
    Rule::value(Group::PrefixList, "ipv6 prefix-list * seq * .."),
    Rule::stanza(Group::RouteMap, "route-map * permit *"),
    Rule::value(Group::RouteMapClause, "match ip address prefix-list ="),
    Rule::value(Group::RouteMapClause, "match ipv6 address prefix-list ="),
    Rule::line(Group::RouteMapClause, "set extcommunity none"),
    Rule::value(Group::RouteMapClause, "set local-preference ="),
    Rule::value(Group::RouteMapClause, "set community .."),
];

/// Removes the extended communities of a route. A host that could attach the route target of another IP-VRF would have its
/// route imported there by every leaf, together with our router MAC. FRR adds the targets of the IP-VRF to the Type-5 route
/// only later, so they stay.
const NO_EXTENDED_COMMUNITIES: &str = "set extcommunity none";

#[derive(Clone, Serialize)]
pub(super) struct PrefixListView {
    command: &'static str,
    name: String,
    entries: Vec<String>,
}

#[derive(Clone, Serialize)]
pub(super) struct RouteMapView {
    name: String,
    clauses: Vec<String>,
}

/// The policies that IP-VRFs share. They are in the scope of the underlay; the host sessions of IP-VRFs name them. Made once
/// for a configuration: a name contains a digest of all lines.
pub(super) struct SharedPolicies<'a> {
    underlay: Option<&'a UnderlayInstance>,
    /// What hosts of a family advertise but the protected prefixes.
    without_protected: BTreeMap<Family, (PrefixListView, RouteMapView)>,
    /// What hosts advertise that accept all that their prefix list permits.
    every_host: RouteMapView,
}

impl<'a> SharedPolicies<'a> {
    /// Those of a configuration.
    pub(super) fn of(underlay: Option<&'a UnderlayInstance>) -> Self {
        let instance = underlay.into_iter();
        let families = instance.flat_map(|instance| instance.protected_prefixes.keys().map(move |f| (instance, *f)));
        Self {
            underlay,
            without_protected: families.map(|(instance, f)| (f, without_protected(instance, f))).collect(),
            every_host: every_host(),
        }
    }
}

/// The policies of the default instance, those that IP-VRFs share among them.
pub(super) struct UnderlayPolicies {
    pub prefix_lists: Vec<PrefixListView>,
    pub route_maps: Vec<RouteMapView>,
    /// The name of the prefix list of what the fabric receives.
    pub advertised: BTreeMap<Family, String>,
}

/// The policies of the default instance. A node is no transit between its leaves: it advertises its VTEP and nothing that it
/// received.
pub(super) fn underlay(instance: &UnderlayInstance, shared: &SharedPolicies<'_>) -> UnderlayPolicies {
    let (mut prefix_lists, mut route_maps): (Vec<_>, Vec<_>) = shared.without_protected.values().cloned().unzip();
    route_maps.push(shared.every_host.clone());
    let mut advertised = BTreeMap::new();
    for family in instance.networks.iter().map(Family::of).collect::<BTreeSet<_>>() {
        let own = instance.networks.iter().filter(|prefix| Family::of(prefix) == family);
        let rules: Vec<_> = own.map(|prefix| format!("permit {prefix}")).collect();
        let list = prefix_list(&Scope::Underlay, PolicyUse::Out(family), &rules);
        advertised.insert(family, list.name.clone());
        prefix_lists.push(list);
    }
    UnderlayPolicies { prefix_lists, route_maps, advertised }
}

/// What hosts may not advertise in any IP-VRF: the default route and the protected prefixes of the underlay.
fn protected(underlay: &UnderlayInstance, family: Family) -> Vec<PrefixListEntry> {
    let default = PrefixListEntry { permit: false, le: None, ..PrefixListEntry::everything(family) };
    let prefixes = underlay.protected_prefixes.get(&family).into_iter().flatten();
    let prefixes = prefixes.map(|prefix| PrefixListEntry::nothing_within(*prefix));
    std::iter::once(default).chain(prefixes).collect()
}

/// The route map of host sessions that accept all that their prefix list permits: shared by all IP-VRFs.
fn every_host() -> RouteMapView {
    route_map(&Scope::Underlay, PolicyUse::Host, vec![NO_EXTENDED_COMMUNITIES.to_owned()])
}

/// [`protected`] as a policy that all IP-VRFs share. At each line of a policy FRR checks all policies of a daemon against all
/// its neighbors, so that a list for each IP-VRF with as many lines takes the longer the more IP-VRFs there are.
fn without_protected(underlay: &UnderlayInstance, family: Family) -> (PrefixListView, RouteMapView) {
    let entries = protected(underlay, family);
    let rules: Vec<_> = entries.iter().chain([&PrefixListEntry::everything(family)]).map(rule).collect();
    let list = prefix_list(&Scope::Underlay, PolicyUse::In(family), &rules);
    let map =
        route_map(&Scope::Underlay, PolicyUse::In(family), vec![matches(&list), NO_EXTENDED_COMMUNITIES.to_owned()]);
    (list, map)
}

/// The policies of a host session.
pub(super) struct HostPolicies {
    pub prefix_lists: Vec<PrefixListView>,
    pub route_maps: Vec<RouteMapView>,
    /// The name of the prefix list of what the host may advertise, where no route map names it.
    pub accepted: Option<String>,
    /// The name of the route map for what it advertises: of its own, or one that is shared.
    pub inbound: String,
    /// The name of the prefix list of what it receives.
    pub outbound: Option<String>,
}

/// The policies of a host session of an IP-VRF. It has a route map of its own only where needed, instead of the shared one:
/// each line of a policy costs FRR the more time the more policies there are.
pub(super) fn host(scope: &Scope, family: Family, session: &HostSession, shared: &SharedPolicies<'_>) -> HostPolicies {
    let without_protected = shared.without_protected.get(&family).filter(|_| session.rejects_protected);
    let rules = |entries: &[PrefixListEntry]| entries.iter().map(rule).collect::<Vec<_>>();
    let mut entries = match (shared.underlay, without_protected, session.local_pref) {
        (Some(underlay), Some(_), Some(_)) => protected(underlay, family),
        _ => vec![],
    };
    entries.extend(session.inbound.iter().cloned());
    let accepted = prefix_list(scope, PolicyUse::In(family), &rules(&entries));
    let own = session.local_pref.map(|value| {
        let preference = format!("set local-preference {value}");
        let clauses = vec![matches(&accepted), NO_EXTENDED_COMMUNITIES.to_owned(), preference];
        route_map(scope, PolicyUse::In(family), clauses)
    });
    let shared = without_protected.map_or(&shared.every_host, |(_, map)| map);
    let outbound = session.outbound.as_ref().map(|entries| prefix_list(scope, PolicyUse::Out(family), &rules(entries)));
    HostPolicies {
        accepted: own.is_none().then(|| accepted.name.clone()),
        inbound: own.as_ref().unwrap_or(shared).name.clone(),
        outbound: outbound.as_ref().map(|list| list.name.clone()),
        prefix_lists: std::iter::once(accepted).chain(outbound).collect(),
        route_maps: own.into_iter().collect(),
    }
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
        let map = route_map(scope, PolicyUse::Fabric, clauses);
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
    let command = match used {
        PolicyUse::In(Family::Ipv6) | PolicyUse::Out(Family::Ipv6) | PolicyUse::Parts(Family::Ipv6) => "ipv6",
        _ => "ip",
    };
    let rules = if rules.is_empty() { vec!["deny any".to_owned()] } else { rules.to_vec() };
    let entries: Vec<_> = (1..).zip(rules).map(|(n, rule)| format!("seq {} {rule}", n * 5)).collect();
    PrefixListView { command, name: policy_names::policy(scope, used, &entries.join("\n")), entries }
}

fn route_map(scope: &Scope, used: PolicyUse, clauses: Vec<String>) -> RouteMapView {
    RouteMapView { name: policy_names::policy(scope, used, &clauses.join("\n")), clauses }
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
