//! All checks. In: [`Facts`]. Out: every [`Finding`], and which areas have none. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::facts::{ControllerState, Facts};
use super::finding::{Area, Finding, FindingKind, FindingSeverity};
use super::{
    established_checks, evpn_checks, fabric_route_checks, host_checks, link_checks, node_checks, packet_filter_checks,
    segment_checks, session_checks, vtep_checks,
};
use crate::frr::show::session::SessionPhase;
use crate::frr::show::type5::Type5Route;
use crate::types::VrfName;

/// The state of an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AreaState {
    /// Nothing is wrong.
    Ok,
    /// Something may be.
    Warning,
    /// Something is.
    Fail,
    /// What shows it could not be read.
    Unknown,
}

impl AreaState {
    /// As in tables and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// Every finding, the worst first.
pub fn findings(facts: &Facts) -> Vec<Finding> {
    let mut found = node_checks::findings(facts);
    found.extend(session_checks::findings(facts));
    found.extend(established_checks::findings(facts));
    found.extend(host_checks::filtered(facts));
    found.extend(of_tables(facts));
    sort(&mut found);
    found
}

/// The worst first.
pub fn sort(findings: &mut [Finding]) {
    findings.sort_by(|a, b| (a.severity, a.area, a.kind, &a.place).cmp(&(b.severity, b.area, b.kind, &b.place)));
}

/// Those of the tables of FRR and of the host, which the controller does not read by itself: routes, VTEPs, links, packet filters, segments.
pub fn of_tables(facts: &Facts) -> Vec<Finding> {
    let mut found = link_checks::findings(facts);
    found.extend(packet_filter_checks::findings(facts));
    found.extend(evpn_checks::findings(facts));
    found.extend(fabric_route_checks::findings(facts));
    found.extend(vtep_checks::findings(facts));
    found.extend(host_checks::return_routes(facts));
    found.extend(segment_checks::findings(facts));
    found
}

/// Why routes of the fabric that cover an address are not in use in a VRF.
pub fn of_address(address: IpAddr, vrf: &VrfName, facts: &Facts) -> Vec<Finding> {
    let covering: Vec<Type5Route> =
        facts.type5.iter().flatten().filter(|route| route.prefix.contains(&address)).cloned().collect();
    let unknown = fabric_route_checks::of_unknown_vni(&covering, vrf, facts);
    let mut of_vrf = Facts { type5: Some(covering), ..facts.clone() };
    of_vrf.vnis.retain(|_, state| state.vrf == vrf.as_str());
    let mut found = evpn_checks::findings(&of_vrf);
    // Where one of several next hops loses packets, routes are in use.
    found.retain(|finding| finding.kind != FindingKind::VtepUnreachable || finding.severity == FindingSeverity::Error);
    found.extend(unknown);
    found
}

/// The state of each area. Without FRR nothing is known of what it does.
pub fn areas(facts: &Facts, findings: &[Finding]) -> BTreeMap<Area, AreaState> {
    let needs = |area: Area| match area {
        Area::Router => None,
        Area::Objects => facts.objects.is_none().then_some(()),
        Area::Links => facts.links.is_none().then_some(()),
        // Sessions, VNIs and routes are read of both or of none.
        Area::Fabric | Area::Host | Area::Evpn => facts.is_routing_silent().then_some(()),
    };
    let state = |area: Area| {
        let worst = findings.iter().filter(|finding| finding.area == area).map(|finding| finding.severity).min();
        match (worst, needs(area)) {
            (Some(FindingSeverity::Error), _) => AreaState::Fail,
            (_, Some(())) => AreaState::Unknown,
            (Some(FindingSeverity::Warning), None) => AreaState::Warning,
            (Some(FindingSeverity::Info) | None, None) => AreaState::Ok,
        }
    };
    Area::ALL.into_iter().map(|area| (area, state(area))).collect()
}

/// What was checked of an area, in some words.
pub fn checked(area: Area, facts: &Facts) -> String {
    match area {
        Area::Router => {
            let controller = match facts.controller {
                ControllerState::Running => "the controller runs",
                ControllerState::Stopped => "no controller runs",
                ControllerState::Stale(_) => "the controller writes no status",
            };
            let silent: Vec<&str> = facts.silent.keys().map(String::as_str).collect();
            let daemons = if silent.is_empty() {
                "all of FRR's daemons answer".to_owned()
            } else {
                format!("no answer of {}", silent.join(", "))
            };
            format!("{daemons}, {controller}")
        }
        Area::Objects => {
            facts.objects.as_ref().map_or_else(|| "no status".to_owned(), |all| counted(all.len(), "object"))
        }
        Area::Links => {
            let nics = facts.links.iter().flatten().filter(|(name, link)| link.is_nic(name));
            nics.map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
        }
        Area::Fabric | Area::Host | Area::Evpn if facts.is_routing_silent() => "not read".to_owned(),
        Area::Fabric => established(facts, true),
        Area::Host => established(facts, false),
        Area::Evpn => {
            let up = facts.vnis.values().filter(|state| state.is_ready()).count();
            let routes = facts.type5.iter().flatten().count();
            format!("{up} of {} up, {}", counted(facts.vnis.len(), "VNI"), counted(routes, "Type-5 route"))
        }
    }
}

fn established(facts: &Facts, is_fabric: bool) -> String {
    let all = || facts.sessions.iter().filter(|session| session.vrf.is_none() == is_fabric);
    let up = all().filter(|session| session.phase == SessionPhase::Established).count();
    format!("{up} of {} established", counted(all().count(), "session"))
}

/// `1 session`, `2 sessions`.
pub fn counted(number: usize, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}

/// Whether the fabric is reached: one of its sessions carries L2VPN EVPN.
pub fn without_fabric(findings: &[Finding]) -> Option<&Finding> {
    let kinds = [FindingKind::NoFabricSession, FindingKind::NoEvpnSession];
    findings.iter().find(|finding| kinds.contains(&finding.kind))
}

#[cfg(test)]
mod tests {
    use super::AreaState::{Fail, Unknown};
    use super::*;

    #[test]
    fn an_area_is_as_bad_as_its_worst_finding() {
        let mut facts = Facts { objects: Some(vec![]), links: Some([].into()), ..Facts::default() };
        facts.vteps.insert("100.65.0.1".parse().unwrap());
        facts.foreign_lines = vec!["x".into()];
        let found = findings(&facts);
        let expected = [AreaState::Ok, AreaState::Ok, AreaState::Ok, AreaState::Fail, AreaState::Ok, AreaState::Ok];
        assert_eq!(areas(&facts, &found).into_values().collect::<Vec<_>>(), expected);
        assert_eq!(without_fabric(&found).map(|finding| finding.kind), Some(FindingKind::NoFabricSession));
    }

    #[rstest::rstest]
    fn without_frr_nothing_is_known_of_sessions(#[values("zebra", "bgpd")] silent: &str) {
        let vteps = [std::net::IpAddr::from([100, 65, 0, 1])].into();
        let facts = Facts { silent: [(silent.to_owned(), "x".to_owned())].into(), vteps, ..Facts::default() };
        let found = findings(&facts);
        let states: Vec<AreaState> = areas(&facts, &found).into_values().collect();
        assert_eq!(states, [Fail, Unknown, Unknown, Unknown, Unknown, Unknown]);
        assert_eq!(found.len(), 1);
    }
}
