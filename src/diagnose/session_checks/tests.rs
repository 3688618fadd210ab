use std::collections::BTreeMap;

use super::super::cause::SessionCause;
use super::super::established_checks;
use super::super::facts::{CheckedObject, ObjectOutcome, PacketFilters, Unresolved};
use super::*;
use crate::frr::show::bfd::BfdPeer;
use crate::frr::show::family::EVPN;
use crate::frr::show::neighbor::Negotiation;
use crate::frr::show::session::SessionKey;
use crate::kernel::nftables::others::DroppingTable;
use crate::kind::object::{Kind, ObjectRef};
use crate::types::VrfName;
use rstest::rstest;

const LEAF: &str = "192.168.11.2";
const HOST: &str = "192.169.10.2";

/// Those of sessions in either state.
fn findings(facts: &Facts) -> Vec<Finding> {
    [established_checks::findings(facts), super::findings(facts)].concat()
}

fn state(vrf: Option<&str>, peer: &str) -> SessionState {
    SessionState {
        vrf: vrf.map(|vrf| vrf.parse().unwrap()),
        peer: peer.into(),
        remote_as: Some(if vrf.is_some() { 64515 } else { 64512 }.try_into().unwrap()),
        phase: SessionPhase::Established,
        since: None,
        established: 1,
        messages: 0,
        prefixes: BTreeMap::new(),
    }
}

fn both(families: &[&str]) -> BTreeMap<String, Negotiation> {
    let sides = Negotiation { advertised: true, received: true };
    families.iter().map(|family| ((*family).to_owned(), sides)).collect()
}

fn reset(local: &str, families: &[&str]) -> SessionReset {
    SessionReset {
        families: both(families),
        local_address: Some(local.into()),
        local_as: Some(64514),
        ..SessionReset::default()
    }
}

fn good() -> Facts {
    let object = |kind, name: &str, vrf: Option<&str>| CheckedObject {
        object: ObjectRef::new(kind, "ns", name),
        vrf: vrf.map(|vrf| vrf.parse().unwrap()),
        vni: None,
        outcome: ObjectOutcome::Ready,
        message: String::new(),
        location: None,
        last_accepted_in_force: false,
    };
    let (leaf, host) = (state(None, LEAF), state(Some("red"), HOST));
    let neighbors = [
        (leaf.key(), reset("192.168.11.3", &["ipv4Unicast", EVPN])),
        (host.key(), reset("192.169.10.1", &["ipv4Unicast"])),
    ];
    Facts {
        now: 1000,
        objects: Some(vec![object(Kind::Underlay, "u", None), object(Kind::L3VNI, "red", Some("red"))]),
        vteps: ["100.65.0.1".parse().unwrap()].into(),
        sessions: vec![leaf, host],
        neighbors: neighbors.into(),
        links: Some(nic("192.168.11.3/24")),
        ..Facts::default()
    }
}

fn filter(facts: &mut Facts, vrf: Option<&str>) {
    let tables = [DroppingTable { family: "inet", name: "mine".into() }].into();
    if let Some(vrf) = vrf {
        facts.unresolved_in.insert(vrf.parse().unwrap(), Unresolved::new());
    }
    facts.packet_filters = [(vrf.map(|vrf| vrf.parse().unwrap()), PacketFilters { netns: "/n".into(), tables })].into();
}

fn silent(peer: &str, link: &str) -> BTreeMap<VrfName, Unresolved> {
    [("red".parse().unwrap(), [(peer.parse().unwrap(), link.to_owned())].into())].into()
}

fn nic(address: &str) -> BTreeMap<String, Interface> {
    link("eth1", address)
}

fn link(name: &str, address: &str) -> BTreeMap<String, Interface> {
    let addresses = address.parse().into_iter().collect();
    [(name.to_owned(), Interface { addresses, ..Interface::default() })].into()
}

fn key(n: usize) -> SessionKey {
    good().sessions[n].key()
}

fn take_down(facts: &mut Facts, n: usize, phase: &str, due_to: &str, notification: Option<&str>) {
    facts.sessions[n].phase = phase.to_owned().into();
    let reset = facts.neighbors.get_mut(&key(n)).unwrap();
    (reset.due_to, reset.notification) = (Some(due_to.into()), notification.map(str::to_owned));
    (reset.reset_age, reset.families) = (Some(60), BTreeMap::new());
}

fn offers(facts: &mut Facts, n: usize, family: &str, advertised: bool, received: bool) {
    let families = &mut facts.neighbors.get_mut(&key(n)).unwrap().families;
    families.insert(family.into(), Negotiation { advertised, received });
}

fn bfd(vrf: &str, peer: &str, is_up: bool) -> BfdPeer {
    BfdPeer { vrf: vrf.into(), peer: peer.into(), interface: String::new(), is_up }
}

type FactsChange = fn(&mut Facts);

#[rstest]
#[case::asn_at_the_leaf(|facts: &mut Facts| take_down(facts, 0, "Idle", "BGP Notification received", Some("OPEN Message Error/Bad Peer AS")),
    &["error wrong-asn Underlay spec.asn: set the AS number of the neighbor 192.168.11.3 at 192.168.11.2", "error no-fabric-session"])]
#[case::asn_here(|facts: &mut Facts| take_down(facts, 0, "Idle", "BGP Notification send", Some("OPEN Message Error/Bad Peer AS")),
    &["error wrong-asn Underlay spec.neighbors[192.168.11.2].asn: set spec.neighbors[192.168.11.2].asn", "error no-fabric-session"])]
#[case::asn_of_the_host(|facts: &mut Facts| take_down(facts, 1, "Idle", "BGP Notification send", Some("OPEN Message Error/Bad Peer AS")),
    &["error wrong-asn L3VNI spec.hostasn: set spec.hostasn to the AS number of 192.169.10.2"])]
#[case::no_answer(|facts: &mut Facts| { take_down(facts, 1, "Active", "Waiting for peer OPEN", None); facts.sessions[1].established = 0; },
    &["error no-answer L3VNI spec.localcidr.ipv4: configure the neighbor 192.169.10.1, AS 64514, without a password, at 192.169.10.2"])]
#[case::no_answer_beside_a_packet_filter(|facts: &mut Facts| { take_down(facts, 1, "Active", "Waiting for peer OPEN", None); filter(facts, Some("red")); },
    &["error no-answer L3VNI spec.localcidr.ipv4: check first the packet filter in the namespace of VRF red of this router, tables of nftables: inet mine; "])]
#[case::no_answer_beside_a_packet_filter_that_all_vrfs_share(|facts: &mut Facts| { take_down(facts, 1, "Active", "Waiting for peer OPEN", None); filter(facts, None); },
    &["error no-answer L3VNI spec.localcidr.ipv4: check first the packet filter in the namespace of this router, tables of nftables: inet mine; "])]
#[case::no_answer_beside_a_packet_filter_of_another_namespace(|facts: &mut Facts| {
        take_down(facts, 1, "Active", "Waiting for peer OPEN", None); filter(facts, None);
        facts.unresolved_in.insert("red".parse().unwrap(), Unresolved::new()); },
    &["error no-answer L3VNI spec.localcidr.ipv4: check that a BGP speaker runs"])]
#[case::shut_down_beside_a_packet_filter(|facts: &mut Facts| {
        take_down(facts, 1, "Active", "BGP Notification received", Some("Cease/Administrative Shutdown")); filter(facts, None); },
    &["error shut-down L3VNI : enable"])]
#[case::silent_host(|facts: &mut Facts| { facts.unresolved_in = silent(HOST, "pe-100"); },
    &["warning not-resolved L3VNI spec.hostSession: check the host end of the veth pair"])]
#[case::silent_host_of_a_session_that_is_down(|facts: &mut Facts| { take_down(facts, 1, "Active", "Waiting for peer OPEN", None); facts.unresolved_in = silent(HOST, "pe-100"); },
    &["error not-resolved L3VNI spec.hostSession: check the host end of the veth pair"])]
#[case::no_answer_without_a_connection(|facts: &mut Facts| { take_down(facts, 1, "Active", "Waiting for peer OPEN", None); facts.sessions[1].established = 0;
        let reset = facts.neighbors.get_mut(&key(1)).unwrap();
        (reset.local_address, reset.has_password) = (None, true);
        facts.links.as_mut().unwrap().extend(link("pe-100", "192.169.10.1/24")); },
    &["error no-answer L3VNI spec.hostSession.passwordSecret: configure the neighbor 192.169.10.1, AS 64514, with the same password, at 192.169.10.2"])]
#[case::just_down(|facts: &mut Facts| { take_down(facts, 1, "OpenSent", "", None); facts.neighbors.get_mut(&key(1)).unwrap().reset_age = Some(5); },
    &["warning establishing L3VNI : wait"])]
#[case::down_for_long(|facts: &mut Facts| take_down(facts, 1, "OpenSent", "", None),
    &["error establishing L3VNI : wait"])]
#[case::no_neighbors(|facts: &mut Facts| facts.sessions.retain(|session| session.vrf.is_some()),
    &["error no-fabric-session Underlay spec.neighbors: add its leaf to the neighbors"])]
#[case::password(|facts: &mut Facts| { take_down(facts, 1, "Active", "Waiting for peer OPEN", None);
        facts.tcp_causes.push(SessionCause { vrf: "red".parse().ok(), peer: HOST.into(), cause: "another password".into() }); },
    &["error wrong-password L3VNI spec.hostSession.passwordSecret: set the same password at both ends"])]
#[case::no_address(|facts: &mut Facts| { take_down(facts, 0, "Idle", "No path to specified Neighbor", None); facts.sessions[0].established = 0;
        facts.links = Some(nic("10.0.0.1/24")); },
    &["error nic-without-address Underlay spec.neighbors[192.168.11.2].address: give the NIC an address", "error no-fabric-session"])]
#[case::no_evpn(|facts: &mut Facts| offers(facts, 0, EVPN, true, false),
    &["error family-not-negotiated Underlay spec.neighbors[192.168.11.2]: activate the neighbor 192.168.11.3 in the address family L2VPN EVPN at 192.168.11.2",
      "error no-evpn-session"])]
#[case::no_unicast(|facts: &mut Facts| offers(facts, 0, "ipv4Unicast", true, false),
    &["error family-not-negotiated Underlay spec.neighbors[192.168.11.2]: activate the neighbor 192.168.11.3 in the address family IPv4 unicast"])]
#[case::a_family_of_the_leaf_alone(|facts: &mut Facts| offers(facts, 0, "ipv6Unicast", false, true), &[])]
#[case::ipv6_of_the_host(|facts: &mut Facts| offers(facts, 1, "ipv6Unicast", false, true),
    &["warning family-not-carried L3VNI spec.localcidr.ipv6: set spec.localcidr.ipv6"])]
#[case::no_ipv4_of_the_host(|facts: &mut Facts| offers(facts, 1, "ipv4Unicast", true, false),
    &["error family-not-negotiated L3VNI spec.hostSession: activate IPv4 unicast"])]
#[case::no_answer_of_one_that_was_established(|facts: &mut Facts| take_down(facts, 1, "Active", "Peer closed the session", None),
    &["error no-answer L3VNI spec.localcidr.ipv4: check that a BGP speaker runs at 192.169.10.2, and that no filter drops TCP port 179"])]
#[case::half_open(|facts: &mut Facts| { let reset = facts.neighbors.get_mut(&key(1)).unwrap(); (reset.silent_for, reset.hold_time) = (Some(109), Some(9)); },
    &["error hold-time-expired L3VNI : check what drops packets on the way to 192.169.10.2, a filter or TTL security there, and reset the session, by \
       `clear bgp vrf red 192.169.10.2`"])]
#[case::silent_for_less(|facts: &mut Facts| { let reset = facts.neighbors.get_mut(&key(1)).unwrap(); (reset.silent_for, reset.hold_time) = (Some(10), Some(9)); }, &[])]
#[case::without_hold_time(|facts: &mut Facts| { let reset = facts.neighbors.get_mut(&key(1)).unwrap(); (reset.silent_for, reset.hold_time) = (Some(999), Some(0)); }, &[])]
#[case::closed_by_this_router(|facts: &mut Facts| take_down(facts, 1, "Idle", "BGP Notification send", Some("Neighbor Events Error/Unspecific")),
    &["error session-down L3VNI : see the log of bgpd on this node"])]
#[case::no_bfd(|facts: &mut Facts| facts.bfd = vec![bfd("default", LEAF, false), bfd("red", HOST, true), bfd("red", LEAF, true)],
    &["warning bfd-down Underlay spec.neighbors[192.168.11.2].bfd: enable BFD for this router at 192.168.11.2"])]
#[case::no_bfd_of_the_host(|facts: &mut Facts| facts.bfd = vec![bfd("red", HOST, false)],
    &["warning bfd-down L3VNI spec.hostSession.bfd: enable BFD for this router at 192.169.10.2"])]
#[case::bfd_of_a_new_session(|facts: &mut Facts| { facts.bfd = vec![bfd("red", HOST, false)]; facts.sessions[1].since = Some(990); }, &[])]
#[case::second_speaker(|facts: &mut Facts| facts.tcp_causes.push(SessionCause { vrf: "red".parse().ok(), peer: HOST.into(), cause: "another speaker".into() }),
    &["warning second-speaker L3VNI spec.hostSession: run one speaker"])]
fn each_fault_is_found_at_the_right_side_and_nothing_else(#[case] change: FactsChange, #[case] expected: &[&str]) {
    let mut facts = good();
    assert_eq!(findings(&facts), []);
    change(&mut facts);
    assert_found(&facts, expected);
}

fn assert_found(facts: &Facts, expected: &[&str]) {
    let shown = |finding: &Finding| {
        let object = finding.object.as_ref().map(|object| format!(" {}", object.kind)).unwrap_or_default();
        let field = finding.field.as_deref().unwrap_or_default();
        format!("{} {}{object} {field}: {}", finding.severity.as_str(), finding.kind, finding.remedy)
    };
    let found: Vec<String> = findings(facts).iter().map(shown).collect();
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, words) in found.iter().zip(expected) {
        assert!(found.starts_with(words), "{found}\n{words}");
    }
}

/// One of two leaves is down: a warning, and since when.
#[test]
fn a_session_besides_one_with_evpn_is_a_warning() {
    let mut facts = good();
    let other = state(None, "192.168.12.2");
    facts.neighbors.insert(other.key(), reset("192.168.12.3", &["ipv4Unicast", EVPN]));
    facts.sessions.push(other);
    take_down(&mut facts, 0, "Active", "BGP Notification received", Some("Cease/Administrative Shutdown"));
    let found = findings(&facts);
    let shown: Vec<_> = found.iter().map(|finding| (finding.severity, finding.kind, finding.since)).collect();
    assert_eq!(shown, [(FindingSeverity::Warning, FindingKind::ShutDown, Some(940))]);
}

const SPINE: &str = "100.64.0.254";

/// EVPN with the spine between loopbacks, beside the leaf.
fn loopbacks() -> Facts {
    let mut facts = good();
    let spine = state(None, SPINE);
    let reset = SessionReset { update_source: Some("100.65.0.1".into()), ..reset("100.65.0.1", &[EVPN]) };
    facts.neighbors.insert(spine.key(), reset);
    facts.sessions.push(spine);
    facts
}

fn spine_is_down(facts: &mut Facts, due_to: &str) {
    take_down(facts, 0, "Established", "", None);
    facts.neighbors.get_mut(&key(0)).unwrap().families = both(&["ipv4Unicast"]);
    let reset = facts.neighbors.get_mut(&(None, SPINE.into())).unwrap();
    (reset.due_to, reset.families, reset.local_address) = (Some(due_to.into()), BTreeMap::new(), None);
    (facts.sessions[2].phase, facts.sessions[2].established) = ("Active".to_owned().into(), 0);
}

#[rstest]
#[case::leaf_without_evpn(|facts: &mut Facts| offers(facts, 0, EVPN, true, false),
    &["info family-not-negotiated Underlay spec.neighbors[192.168.11.2]"])]
#[case::spine_without_evpn(|facts: &mut Facts| facts.neighbors.get_mut(&(None, SPINE.into())).unwrap().families =
        [(EVPN.to_owned(), Negotiation { advertised: true, received: false })].into(),
    &["warning family-not-negotiated Underlay spec.neighbors[100.64.0.254]"])]
#[case::no_answer(|facts: &mut Facts| spine_is_down(facts, "Waiting for peer OPEN"),
    &["error no-answer Underlay spec.neighbors[100.64.0.254].updateSource: configure the neighbor 100.65.0.1, AS 64514, \
       without a password, at 100.64.0.254, with multihop and a route to 100.65.0.1", "error no-evpn-session"])]
#[case::no_route(|facts: &mut Facts| spine_is_down(facts, "Waiting for NHT"),
    &["error no-route-to-peer Underlay spec.neighbors[100.64.0.254].address: have the leaf of this node advertise 100.64.0.254",
      "error no-evpn-session"])]
fn a_session_between_loopbacks_needs_a_route_and_no_subnet(#[case] change: FactsChange, #[case] expected: &[&str]) {
    let mut facts = loopbacks();
    assert_eq!(findings(&facts), []);
    change(&mut facts);
    assert_found(&facts, expected);
}

/// IPv4 over a session with an IPv6 leaf is no need where another one has it.
#[test]
fn a_family_that_another_leaf_carries_is_not_missing() {
    let mut facts = good();
    let other = state(None, "2001:db8:11::2");
    facts.neighbors.insert(other.key(), reset("2001:db8:11::3", &["ipv6Unicast", EVPN]));
    facts
        .neighbors
        .get_mut(&other.key())
        .unwrap()
        .families
        .insert("ipv4Unicast".into(), Negotiation { advertised: true, received: false });
    facts.sessions.push(other);
    assert_eq!(findings(&facts), []);
}
