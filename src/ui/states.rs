//! The state of each part of a router, for the timeline of the page. In: facts and findings. Out: states by what they are of, without
//! counts and times, so that two reads of a router in which nothing happened are equal. Pure.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::diagnose::Finding;
use crate::diagnose::check::AreaState;
use crate::diagnose::facts::{Facts, ObjectOutcome};
use crate::diagnose::finding::{FindingKind, FindingSeverity, Place};
use crate::diagnose::type5_use::type5_use;
use crate::frr::show::session::SessionPhase;
use crate::kind::object::ObjectRef;

/// What a state is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// The router as a whole, or the API server: whether it can be read.
    Router,
    /// A node of a cluster.
    Node,
    /// A problem that the checks find.
    Finding,
    /// An object of this node.
    Object,
    /// A link of the router.
    Link,
    /// A BGP session.
    Session,
    /// A VNI.
    Vni,
    /// The Type-5 routes of a VTEP in a VRF.
    Vtep,
    /// A Type-5 route of this node.
    Prefix,
}

/// Which one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StateKey {
    /// The node, where the page shows several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// What it is.
    pub subject: Subject,
    /// Where.
    #[serde(rename = "where")]
    pub place: Place,
    /// Of a finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<FindingKind>,
    /// The object, of a finding too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectRef>,
}

impl StateKey {
    /// Something at a place.
    pub fn new(subject: Subject, place: Place) -> Self {
        Self { node: None, subject, place, kind: None, object: None }
    }
}

/// A state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartState {
    /// How good it is.
    pub state: AreaState,
    /// In some words.
    pub text: String,
}

impl PartState {
    /// A state in these words.
    pub fn new(state: AreaState, text: impl Into<String>) -> Self {
        Self { state, text: text.into() }
    }

    fn of(is_good: bool, good: &str, bad: &str) -> Self {
        if is_good { Self::new(AreaState::Ok, good) } else { Self::new(AreaState::Fail, bad) }
    }
}

/// The states of a router.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States {
    /// Those that were read.
    pub known: BTreeMap<StateKey, PartState>,
    /// What could not be read: that one of these is missing does not mean that it is gone.
    pub unread: BTreeSet<Subject>,
    /// Nodes of which nothing else is known now.
    pub unread_nodes: BTreeSet<String>,
}

impl States {
    /// Of facts with these findings.
    pub fn new(facts: &Facts, findings: &[Finding]) -> Self {
        let mut known = of_findings(findings);
        known.extend(of_objects(facts));
        known.extend(of_links(facts));
        known.extend(of_sessions(facts));
        known.extend(of_vnis(facts));
        known.extend(of_routes(facts));
        let of_bgpd = [Subject::Finding, Subject::Session, Subject::Vni, Subject::Vtep, Subject::Prefix];
        let mut unread: BTreeSet<Subject> = of_bgpd.into_iter().filter(|_| facts.is_routing_silent()).collect();
        unread.extend(facts.links.is_none().then_some(Subject::Link));
        unread.extend(facts.objects.is_none().then_some(Subject::Object));
        Self { known, unread, unread_nodes: BTreeSet::new() }
    }
}

type StateEntry = (StateKey, PartState);

/// Several findings may be of one key, such as one for each set of route targets that is not imported: they are one state, the worst,
/// with all texts.
pub(super) fn of_findings(findings: &[Finding]) -> BTreeMap<StateKey, PartState> {
    let mut found: Vec<_> = findings.iter().filter_map(of_finding).collect();
    // By text, not by the order of the findings: the texts of two reads in which nothing happened are equal.
    found.sort_by(|(_, a), (_, b)| b.state.cmp(&a.state).then_with(|| a.text.cmp(&b.text)));
    let mut joined: BTreeMap<StateKey, PartState> = BTreeMap::new();
    for (key, state) in found {
        match joined.entry(key) {
            Entry::Vacant(entry) => {
                entry.insert(state);
            }
            Entry::Occupied(mut entry) => {
                let text = &mut entry.get_mut().text;
                text.push_str("; ");
                text.push_str(&state.text);
            }
        }
    }
    joined
}

/// Those by intent are not changes of state.
fn of_finding(finding: &Finding) -> Option<StateEntry> {
    let state = match finding.severity {
        FindingSeverity::Error => AreaState::Fail,
        FindingSeverity::Warning => AreaState::Warning,
        FindingSeverity::Info => return None,
    };
    let key = StateKey {
        kind: Some(finding.kind),
        object: finding.object.clone(),
        ..StateKey::new(Subject::Finding, finding.place.clone())
    };
    Some((key, PartState::new(state, finding.what.clone())))
}

fn of_objects(facts: &Facts) -> impl Iterator<Item = StateEntry> {
    facts.objects.iter().flatten().map(|checked| {
        let place = Place { vrf: checked.vrf.clone(), ..Place::default() };
        let key = StateKey { object: Some(checked.object.clone()), ..StateKey::new(Subject::Object, place) };
        let state = match checked.outcome {
            ObjectOutcome::Ready => PartState::new(AreaState::Ok, "in place"),
            ObjectOutcome::Failed => PartState::new(AreaState::Fail, "not in place"),
            ObjectOutcome::Rejected => PartState::new(AreaState::Fail, "rejected"),
        };
        (key, state)
    })
}

fn of_links(facts: &Facts) -> impl Iterator<Item = StateEntry> {
    let links = facts.links.iter().flatten().filter(|(name, _)| *name != "lo");
    links.map(|(name, link)| {
        let vrf = link.vrf.parse().ok();
        let place = Place { vrf, link: Some(name.clone()), ..Place::default() };
        let bad = if link.is_admin_up { "no carrier" } else { "set down" };
        (StateKey::new(Subject::Link, place), PartState::of(link.is_up(), "up", bad))
    })
}

fn of_sessions(facts: &Facts) -> impl Iterator<Item = StateEntry> {
    facts.sessions.iter().map(|session| {
        let key = StateKey::new(Subject::Session, Place::session(session.vrf.as_ref(), &session.peer));
        // One that went down and up between two reads shows by its number.
        let again = match session.established {
            0 | 1 => String::new(),
            times => format!(", {times} times so far"),
        };
        let is_up = session.phase == SessionPhase::Established;
        (key, PartState::of(is_up, &format!("established{again}"), "down"))
    })
}

fn of_vnis(facts: &Facts) -> impl Iterator<Item = StateEntry> {
    facts.vnis.iter().map(|(vni, state)| {
        let place = Place { vrf: state.vrf.parse().ok(), vni: Some(*vni), ..Place::default() };
        (StateKey::new(Subject::Vni, place), PartState::of(state.is_ready(), "up", "down"))
    })
}

fn of_routes(facts: &Facts) -> BTreeMap<StateKey, PartState> {
    let mut found = BTreeMap::new();
    for (vrf, routes) in type5_use(facts) {
        let at = |place| Place { vrf: Some(vrf.clone()), ..place };
        for (vtep, counts) in routes.received {
            let key = StateKey::new(Subject::Vtep, at(Place { vtep: Some(vtep), ..Place::default() }));
            let is_good = counts.imported == counts.routes;
            found.insert(key, PartState::of(is_good, "all routes imported", "not all routes imported"));
        }
        for (prefix, is_sent) in routes.own {
            let key = StateKey::new(Subject::Prefix, at(Place { prefix: Some(prefix), ..Place::default() }));
            let not_sent = "Type-5 route advertised to no session";
            found.insert(key, PartState::of(is_sent, "Type-5 route advertised", not_sent));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnose::check;
    use crate::diagnose::finding::Area;
    use crate::frr::show::interface::Interface;
    use crate::frr::show::session::SessionState;
    use crate::frr::show::vni::VniState;

    fn texts(states: &States) -> Vec<String> {
        let text = |(key, state): (&StateKey, &PartState)| {
            format!("{:?} {}: {} {}", key.subject, key.place, state.state.as_str(), state.text)
        };
        states.known.iter().map(text).collect()
    }

    #[test]
    fn each_part_has_its_state() {
        let session = SessionState {
            vrf: "red".parse().ok(),
            peer: "192.169.10.2".into(),
            remote_as: None,
            phase: SessionPhase::Established,
            since: Some(1),
            established: 3,
            messages: 9,
            prefixes: [].into(),
        };
        let link = Interface { vrf: "default".into(), is_admin_up: true, mtu: Some(1500), ..Interface::default() };
        let vni = VniState { vrf: "red".into(), ..VniState::default() };
        let facts = Facts {
            sessions: vec![session],
            links: Some([("eth1".to_owned(), link)].into()),
            vnis: [(100.try_into().unwrap(), vni)].into(),
            vteps: ["100.65.0.1".parse().unwrap()].into(),
            ..Facts::default()
        };
        let states = States::new(&facts, &check::findings(&facts));
        let expected = [
            "Finding : fail this node has no session with the fabric",
            "Finding VRF red, VNI 100: fail VNI 100 is not up",
            "Finding link eth1: fail NIC eth1 is down: no carrier",
            "Finding link eth1: warning NIC eth1 has MTU 1500: of a packet from the fabric only 1450 bytes fit, and hosts there send 1500",
            "Link link eth1: fail no carrier",
            "Session VRF red, peer 192.169.10.2: ok established, 3 times so far",
            "Vni VRF red, VNI 100: fail down",
        ];
        let mut found = texts(&states);
        found.sort();
        assert_eq!(found, expected);
        assert_eq!(states.unread, [Subject::Object].into());
        let later = Facts { now: 7, ..facts.clone() };
        assert_eq!(States::new(&later, &check::findings(&later)), states);
    }

    #[test]
    fn findings_of_one_key_are_one_state() {
        let place = Place { vrf: "red".parse().ok(), ..Place::default() };
        let finding = |severity, what: &str| {
            Finding::new(severity, Area::Evpn, FindingKind::NotImported, what.to_owned()).at(place.clone())
        };
        let findings = [
            finding(FindingSeverity::Warning, "64520:2 is not imported"),
            finding(FindingSeverity::Warning, "64520:1 is not imported"),
            finding(FindingSeverity::Error, "64520:3 is not imported"),
        ];
        let states = States::new(&Facts::default(), &findings);
        let text = "64520:3 is not imported; 64520:1 is not imported; 64520:2 is not imported";
        assert_eq!(texts(&states), [format!("Finding VRF red: fail {text}")]);
    }

    #[test]
    fn without_bgpd_its_states_are_not_read() {
        let facts = Facts { silent: [("bgpd".to_owned(), String::new())].into(), ..Facts::default() };
        let states = States::new(&facts, &check::findings(&facts));
        assert_eq!(texts(&states), ["Finding bgpd: fail bgpd does not answer"]);
        assert!(states.unread.contains(&Subject::Session) && states.unread.contains(&Subject::Link));
    }
}
