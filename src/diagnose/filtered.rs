//! Routes that a host session filters, and why. In: the routes as FRR lists them, and the next hops that the host may use. Out:
//! the reason of each, and counts. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::frr::show::route::FilteredRoute;
use crate::types::VrfName;

/// Why a route of a host is filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilterReason {
    /// `spec.fromHost` does not allow its prefix, or the prefix is protected.
    Prefix,
    /// Its next hop is no address of the host.
    NextHop,
}

impl FilterReason {
    /// As in metrics, tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::NextHop => "next-hop",
        }
    }

    /// The reason of a route of a host whose addresses are `own`.
    pub fn of(route: &FilteredRoute, own: &BTreeSet<IpAddr>) -> Self {
        if route.next_hop.is_some_and(|next_hop| !own.contains(&next_hop)) { Self::NextHop } else { Self::Prefix }
    }
}

/// A route that is filtered, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Filtered {
    /// Its prefix.
    pub prefix: IpNet,
    /// Its next hop.
    pub next_hop: Option<IpAddr>,
    /// The reason.
    pub reason: FilterReason,
}

impl Filtered {
    /// A route of a host whose addresses are `own`.
    pub fn new(route: &FilteredRoute, own: &BTreeSet<IpAddr>) -> Self {
        Self { prefix: route.prefix, next_hop: route.next_hop, reason: FilterReason::of(route, own) }
    }
}

/// With the remedy: what follows the name of the host that advertises it.
impl fmt::Display for Filtered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, next_hop, .. } = self;
        match (self.reason, next_hop) {
            (FilterReason::NextHop, Some(next_hop)) => write!(
                f,
                "advertises {prefix} with the next hop {next_hop}, which is no address of the host, so that it is filtered: \
                 set next-hop-self on the host"
            ),
            _ => write!(
                f,
                "advertises {prefix}, which spec.fromHost filters: see its allowedPrefixes, and protectedPrefixes of the \
                 Underlay"
            ),
        }
    }
}

/// How many routes a host session filters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilteredCount {
    /// VRF of the session.
    pub vrf: VrfName,
    /// Peer of the session.
    pub peer: String,
    /// Routes by reason; a reason without routes is absent.
    pub routes: BTreeMap<FilterReason, u64>,
}

impl FilteredCount {
    /// Counts the routes of a session whose host has the addresses `own`.
    pub fn new(vrf: &VrfName, peer: &str, found: &[FilteredRoute], own: &BTreeSet<IpAddr>) -> Self {
        let mut routes = BTreeMap::new();
        for route in found {
            *routes.entry(FilterReason::of(route, own)).or_default() += 1;
        }
        Self { vrf: vrf.clone(), peer: peer.to_owned(), routes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_filtered_for_its_next_hop_only_if_that_is_not_the_hosts() {
        let own = ["192.169.10.3", "10.9.9.1"].map(|address| address.parse().unwrap()).into();
        let route = |next_hop: Option<&str>| FilteredRoute {
            prefix: "10.244.7.0/26".parse().unwrap(),
            next_hop: next_hop.map(|address| address.parse().unwrap()),
        };
        let routes = [Some("192.169.10.3"), Some("10.9.9.1"), Some("192.169.10.2"), None].map(route);
        let reasons = routes.clone().map(|route| FilterReason::of(&route, &own).as_str());
        assert_eq!(reasons, ["prefix", "prefix", "next-hop", "prefix"]);
        let count = FilteredCount::new(&"red".parse().unwrap(), "192.169.10.3", &routes, &own);
        assert_eq!(count.routes, [(FilterReason::Prefix, 3), (FilterReason::NextHop, 1)].into());
        assert_eq!(
            Filtered::new(&routes[2], &own).to_string(),
            "advertises 10.244.7.0/26 with the next hop 192.169.10.2, which is no address of the host, so that it is \
             filtered: set next-hop-self on the host"
        );
    }
}
