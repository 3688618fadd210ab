//! Checks of what a host advertises and what it does with the fabric's routes. In: [`Facts`]. Out: [`Finding`]s, one for each
//! session. Pure.

use std::collections::BTreeMap;

use super::facts::{Facts, HostRoute};
use super::filtered::{FilterReason, Filtered};
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use super::node_checks::count;
use crate::frr::show::session::SessionKey;

/// Routes of the host that are filtered.
pub(super) fn filtered(facts: &Facts) -> Vec<Finding> {
    let mut by_session: BTreeMap<(&SessionKey, FilterReason), Vec<&Filtered>> = BTreeMap::new();
    for (session, route) in &facts.filtered {
        by_session.entry((session, route.reason)).or_default().push(route);
    }
    let finding = |(((vrf, peer), reason), routes): ((&SessionKey, FilterReason), Vec<&Filtered>)| {
        let first = routes.first()?;
        let more = match routes.len() {
            1 => String::new(),
            many => format!("; {} in all", count(many, "route is filtered", "routes are filtered")),
        };
        let object = facts.object_of(vrf.as_ref());
        let (severity, kind, remedy, field) = match reason {
            // By intent, or a protected prefix.
            FilterReason::Prefix => (
                FindingSeverity::Info,
                FindingKind::PrefixFiltered,
                "if it is meant to be advertised: allow it in fromHost.allowedPrefixes, unless protectedPrefixes has it",
                "spec.fromHost.allowedPrefixes",
            ),
            FilterReason::NextHop => {
                (FindingSeverity::Warning, FindingKind::ThirdPartyNextHop, "set next-hop-self on the host", "")
            }
        };
        let place = Place { prefix: Some(first.prefix), ..Place::session(vrf.as_ref(), peer) };
        let next_hop = first.next_hop.map(|next_hop| format!(" with the next hop {next_hop}")).unwrap_or_default();
        let why = match reason {
            FilterReason::Prefix => "which spec.fromHost or spec.protectedPrefixes filters",
            FilterReason::NextHop => "which is no address of the host, so that it is filtered",
        };
        let what = match reason {
            FilterReason::Prefix => format!("{peer} advertises {}, {why}{more}", first.prefix),
            FilterReason::NextHop => format!("{peer} advertises {}{next_hop}, {why}{more}", first.prefix),
        };
        let finding = Finding::new(severity, Area::Host, kind, what);
        Some(finding.at(place).remedied_by(remedy).of(object, field))
    };
    by_session.into_iter().filter_map(finding).collect()
}

/// The host has no route to prefixes that are advertised to it, or another one.
pub(super) fn return_routes(facts: &Facts) -> Vec<Finding> {
    let mut by_session: BTreeMap<(&str, &str, bool), Vec<&HostRoute>> = BTreeMap::new();
    for route in &facts.host {
        if route.link.as_ref() != Some(&route.wanted) {
            let is_loop = loops(facts, route).is_some();
            by_session.entry((route.vrf.as_str(), route.peer.as_str(), is_loop)).or_default().push(route);
        }
    }
    let finding = |((_, peer, is_loop), routes): ((&str, &str, bool), Vec<&HostRoute>)| {
        let first = *routes.first()?;
        let more = if routes.len() > 1 { format!(" and {} more", routes.len() - 1) } else { String::new() };
        let by = match &first.link {
            Some(link) => format!("reaches it over {link}, not {}", first.wanted),
            None => "has no route to it".to_owned(),
        };
        let object = facts.object_of(Some(&first.vrf));
        let place = Place { prefix: Some(first.prefix), ..Place::session(Some(&first.vrf), peer) };
        let shown = format!("{} is advertised to {peer}; the node {by}", first.prefix);
        let finding = if is_loop {
            let asn = loops(facts, first).unwrap_or_default();
            let what = format!("the host rejects {}{more} as an AS-path loop: AS {asn} is its own", first.prefix);
            // Most hosts need no routes of each other.
            Finding::new(FindingSeverity::Info, Area::Host, FindingKind::AsPathLoop, what)
                .remedied_by("set spec.toHost.asOverride (eBGP), or allowas-in on the host")
                .of(object, "spec.toHost.asOverride")
        } else {
            let what = format!("replies of the node to {}{more} do not enter VRF {}", first.prefix, first.vrf);
            // A policy by source, which is not looked up, may lead there all the same.
            let severity = if first.link.is_some() { FindingSeverity::Warning } else { FindingSeverity::Error };
            Finding::new(severity, Area::Host, FindingKind::NoReturnRoute, what)
                .remedied_by(
                    "have the speaker of the host accept and install the routes of this session (FRR-K8s: toReceive)",
                )
                .of(object, "spec.toHost")
        };
        Some(finding.at(place).shown_by(shown))
    };
    by_session.into_iter().filter_map(finding).collect()
}

/// The AS number of the host, if it is in the AS path and is not replaced.
fn loops(facts: &Facts, route: &HostRoute) -> Option<String> {
    let key = (Some(route.vrf.clone()), route.peer.clone());
    let session = facts.sessions.iter().find(|session| session.key() == key)?;
    let asn = session.remote_as?.to_string();
    let is_replaced = facts.neighbors.get(&key).is_some_and(|reset| reset.as_override);
    let has = route.as_path.split(|c: char| !c.is_ascii_digit()).any(|word| word == asn);
    (has && !is_replaced).then_some(asn)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::session::{SessionPhase, SessionState};
    use rstest::rstest;

    fn facts(route: HostRoute) -> Facts {
        let session = SessionState {
            vrf: Some(route.vrf.clone()),
            peer: route.peer.clone(),
            remote_as: Some(64515.try_into().unwrap()),
            phase: SessionPhase::Established,
            since: None,
            established: 1,
            messages: 1,
            prefixes: BTreeMap::new(),
        };
        Facts { sessions: vec![session], host: vec![route], ..Facts::default() }
    }

    fn route(as_path: &str, link: Option<&str>) -> HostRoute {
        HostRoute {
            vrf: "red".parse().unwrap(),
            peer: "192.169.10.2".into(),
            prefix: "192.168.20.0/24".parse().unwrap(),
            as_path: as_path.into(),
            link: link.map(str::to_owned),
            wanted: "host-100".into(),
        }
    }

    #[rstest]
    #[case::there("64512 64520", Some("host-100"), None)]
    #[case::none("64512 64520", None, Some((FindingKind::NoReturnRoute, "replies of the node to 192.168.20.0/24 do not enter VRF red")))]
    #[case::elsewhere("64512 64520", Some("eth0"), Some((FindingKind::NoReturnRoute, "replies of the node to 192.168.20.0/24 do not enter VRF red")))]
    #[case::as_loop("64512 64515", None, Some((FindingKind::AsPathLoop, "the host rejects 192.168.20.0/24 as an AS-path loop: AS 64515 is its own")))]
    fn the_return_route_leads_to_the_vrf(
        #[case] as_path: &str,
        #[case] link: Option<&str>,
        #[case] expected: Option<(FindingKind, &str)>,
    ) {
        let found = return_routes(&facts(route(as_path, link)));
        assert_eq!(found.first().map(|finding| (finding.kind, finding.what.as_str())), expected);
    }

    #[test]
    fn filtered_routes_are_one_finding_per_session_and_reason() {
        let key: SessionKey = (Some("red".parse().unwrap()), "192.169.10.2".into());
        let route = |prefix: &str, reason| {
            let next_hop = "192.169.10.9".parse().ok();
            (key.clone(), Filtered { prefix: prefix.parse().unwrap(), next_hop, reason })
        };
        let routes = vec![
            route("10.0.0.0/8", FilterReason::Prefix),
            route("11.0.0.0/8", FilterReason::Prefix),
            route("12.0.0.0/8", FilterReason::NextHop),
        ];
        let found = filtered(&Facts { filtered: routes, ..Facts::default() });
        let kinds: Vec<_> = found.iter().map(|finding| (finding.kind, finding.severity)).collect();
        let expected = [
            (FindingKind::PrefixFiltered, FindingSeverity::Info),
            (FindingKind::ThirdPartyNextHop, FindingSeverity::Warning),
        ];
        assert_eq!(kinds, expected);
        assert!(found[0].what.contains("10.0.0.0/8") && found[0].what.ends_with("2 routes are filtered in all"));
    }
}
