//! Checks of what a host advertises and what it does with the fabric's routes. In: [`Facts`]. Out: [`Finding`]s, one for each
//! session. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::facts::{Facts, HostRoute};
use super::filtered::{FilterReason, Filtered};
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use super::node_checks::{count, few};
use crate::frr::show::family;
use crate::frr::show::session::{SessionKey, SessionPhase, SessionState};

const INSTALL: &str = "have the speaker of the host accept and install the routes of this session (FRR-K8s: toReceive)";

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

/// Nothing is advertised to a host although the VRF has routes of the fabric.
fn nothing_advertised(facts: &Facts) -> Vec<Finding> {
    let of_session = |session: &SessionState| {
        let vrf = session.vrf.as_ref().filter(|_| session.phase == SessionPhase::Established)?;
        let prefixes = facts.imported.get(vrf).filter(|_| facts.has_settled(session))?;
        let is_carried = |family: &str, prefix: &IpNet| {
            let is_negotiated = facts.neighbors.get(&session.key()).and_then(|reset| reset.families.get(family));
            let is_empty = session.prefixes.get(family).is_some_and(|counts| counts.sent == 0);
            is_empty
                && is_negotiated.is_some_and(|sides| sides.is_done())
                && prefix.addr().is_ipv4() == (family == family::IPV4)
        };
        let families = [family::IPV4, family::IPV6];
        let family =
            families.into_iter().find(|family| prefixes.iter().any(|(prefix, _)| is_carried(family, prefix)))?;
        let of_family: BTreeSet<String> =
            prefixes.iter().filter(|(prefix, _)| is_carried(family, prefix)).map(|(net, _)| net.to_string()).collect();
        let what = format!(
            "no {} route is advertised to {}: spec.toHost filters all of VRF {vrf}, so that the node has no route for replies",
            family::name(family),
            session.peer
        );
        let finding = Finding::new(FindingSeverity::Warning, Area::Host, FindingKind::NoReturnRoute, what)
            .at(Place::session(Some(vrf), &session.peer))
            .shown_by(format!("in VRF {vrf}: {}", few(of_family.into_iter())))
            .remedied_by("allow the prefixes of clients in spec.toHost.allowedPrefixes, or a default route")
            .of(facts.object_of(Some(vrf)), "spec.toHost.allowedPrefixes");
        Some(finding)
    };
    facts.sessions.iter().filter_map(of_session).collect()
}

/// The host has no route to prefixes that are advertised to it, or another one, or nothing is advertised to it.
pub(super) fn return_routes(facts: &Facts) -> Vec<Finding> {
    let mut found = nothing_advertised(facts);
    found.extend(missing_routes(facts));
    found
}

fn missing_routes(facts: &Facts) -> Vec<Finding> {
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
            None => "has no route to it, or one that discards packets".to_owned(),
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
            // A policy by source, which is not looked up, may lead there all the same; workloads reach the fabric without the host.
            let is_lost = first.link.is_none() && !routes.iter().all(|route| route.is_segment);
            let severity = if is_lost { FindingSeverity::Error } else { FindingSeverity::Warning };
            Finding::new(severity, Area::Host, FindingKind::NoReturnRoute, what)
                .remedied_by(INSTALL)
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
    use crate::frr::show::neighbor::{Negotiation, SessionReset};
    use crate::frr::show::session::Prefixes;
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
            is_segment: false,
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

    #[rstest]
    #[case::nothing(0, None, 1)]
    #[case::some(1, None, 0)]
    #[case::established_a_moment_ago(0, Some(95), 0)]
    #[case::established_a_minute_ago(0, Some(40), 1)]
    fn a_host_to_which_nothing_is_advertised_has_no_return_route(
        #[case] sent: u64,
        #[case] since: Option<u64>,
        #[case] expected: usize,
    ) {
        let mut facts = facts(route("64512", Some("host-100")));
        facts.now = 100;
        facts.sessions[0].since = since;
        let both = Negotiation { advertised: true, received: true };
        let reset = SessionReset { families: [(family::IPV4.to_owned(), both)].into(), ..SessionReset::default() };
        facts.neighbors = [(facts.sessions[0].key(), reset)].into();
        facts.sessions[0].prefixes = [(family::IPV4.to_owned(), Prefixes { received: 1, sent })].into();
        let imported =
            ["192.168.20.0/24", "2001:db8::/64"].map(|net| (net.parse().unwrap(), "100.64.0.1".parse().unwrap()));
        facts.imported = [("red".parse().unwrap(), imported.into())].into();
        let found = return_routes(&facts);
        assert_eq!(found.len(), expected, "{found:#?}");
        for finding in found {
            let what = "no IPv4 unicast route is advertised to 192.169.10.2: spec.toHost filters all of VRF red, so that the \
                        node has no route for replies";
            assert_eq!((finding.what.as_str(), finding.evidence.as_str()), (what, "in VRF red: 192.168.20.0/24"));
        }
    }

    #[rstest]
    #[case::of_the_fabric(false, FindingSeverity::Error)]
    #[case::of_a_segment(true, FindingSeverity::Warning)]
    fn a_host_without_a_route_to_a_segment_is_a_warning(#[case] is_segment: bool, #[case] expected: FindingSeverity) {
        let found = return_routes(&facts(HostRoute { is_segment, ..route("64512", None) }));
        assert_eq!(found.iter().map(|finding| finding.severity).collect::<Vec<_>>(), [expected]);
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
