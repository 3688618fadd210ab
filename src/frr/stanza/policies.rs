//! Prefix lists and route maps as the templates see them. Pure.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Serialize;

use crate::frr::model::{PrefixListEntry, UnderlayInstance};

use super::policy_names::{self, Use};
use crate::scope::Scope;
use crate::types::Family;

#[derive(Serialize)]
pub(crate) struct PrefixList {
    pub(crate) command: &'static str,
    pub(crate) name: String,
    pub(crate) entries: Vec<String>,
}

#[derive(Serialize)]
pub(crate) struct RouteMap {
    pub(crate) name: String,
    pub(crate) clauses: Vec<String>,
}

/// What of a family the fabric gets where it gets aggregates alone; `None` where it gets all. FRR before 10.0 makes Type-5
/// routes also of what `summary-only` suppresses (FRR pull request 15222), and later ones leave some behind (21992).
pub(crate) fn parts(scope: &Scope, family: Family, aggregates: &BTreeMap<IpNet, bool>) -> Option<PrefixList> {
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
    Some(prefix_list(scope, Use::Parts(family), &rules))
}

/// What hosts may not announce to any IP-VRF: the default route and what the underlay keeps.
pub(crate) fn kept(underlay: &UnderlayInstance, family: Family) -> Vec<PrefixListEntry> {
    let default = PrefixListEntry { permit: false, le: None, ..PrefixListEntry::everything(family) };
    let kept = underlay.kept_from_hosts.get(&family).into_iter().flatten();
    let kept = kept.map(|prefix| PrefixListEntry::nothing_within(*prefix));
    std::iter::once(default).chain(kept).collect()
}

/// Removes the extended communities of a route. A host that could attach the route target of another IP-VRF would have its
/// route imported there by every leaf, together with our router MAC. FRR puts the targets of the IP-VRF on the Type-5 route
/// only later, so they stay.
pub(crate) const NO_EXTENDED_COMMUNITIES: &str = "set extcommunity none";

/// The policy of host sessions that accept what their prefix list permits and nothing less: shared by all IP-VRFs.
pub(crate) fn every_host() -> RouteMap {
    route_map(&Scope::Underlay, Use::Host, vec![NO_EXTENDED_COMMUNITIES.to_owned()])
}

/// [`kept`] as a policy that all IP-VRFs share. FRR checks all policies of a daemon against all its neighbors at each
/// line of one, so that a list for each IP-VRF with as many lines takes the longer the more IP-VRFs there are.
pub(crate) fn shared(underlay: &UnderlayInstance, family: Family) -> (PrefixList, RouteMap) {
    let rules: Vec<_> = kept(underlay, family).iter().chain([&PrefixListEntry::everything(family)]).map(rule).collect();
    let list = prefix_list(&Scope::Underlay, Use::In(family), &rules);
    let clause = format!("match {} address prefix-list {}", list.command, list.name);
    let map = route_map(&Scope::Underlay, Use::In(family), vec![clause, NO_EXTENDED_COMMUNITIES.to_owned()]);
    (list, map)
}

pub(crate) fn rule(entry: &PrefixListEntry) -> String {
    let bound = |word: &str, bound: Option<u8>| bound.map_or_else(String::new, |n| format!(" {word} {n}"));
    let action = if entry.permit { "permit" } else { "deny" };
    // FRR prints both as they were given, and takes this one in a third of the time.
    if (PrefixListEntry { permit: true, ..entry.clone() }) == PrefixListEntry::everything(Family::of(&entry.prefix)) {
        return format!("{action} any");
    }
    format!("{action} {}{}{}", entry.prefix.trunc(), bound("ge", entry.ge), bound("le", entry.le))
}

/// An empty list is one that denies: FRR takes a list that does not exist for one that permits.
pub(crate) fn prefix_list(scope: &Scope, used: Use, rules: &[String]) -> PrefixList {
    let command = match used {
        Use::In(Family::Ipv6) | Use::Out(Family::Ipv6) | Use::Parts(Family::Ipv6) => "ipv6",
        _ => "ip",
    };
    let rules = if rules.is_empty() { vec!["deny any".to_owned()] } else { rules.to_vec() };
    let entries: Vec<_> = (1..).zip(rules).map(|(n, rule)| format!("seq {} {rule}", n * 5)).collect();
    PrefixList { command, name: policy_names::policy(scope, used, &entries.join("\n")), entries }
}

pub(crate) fn route_map(scope: &Scope, used: Use, clauses: Vec<String>) -> RouteMap {
    RouteMap { name: policy_names::policy(scope, used, &clauses.join("\n")), clauses }
}
