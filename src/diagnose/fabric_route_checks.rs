//! Checks of what the fabric sends in L2VPN EVPN: nothing, nothing for a VRF, routes that FRR cannot forward along. In: [`Facts`]. Out:
//! [`Finding`]s, one for each VRF, VTEP or node. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::evpn_checks::received;
use super::facts::Facts;
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use super::link_checks::is_on_nic;
use super::node_checks::{count, few};
use crate::frr::show::session::SessionState;
use crate::frr::show::type5::{Type5Path, Type5Route};
use crate::frr::show::vni::VniType;
use crate::types::{Vni, VrfName};

/// All of them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let Some(routes) = &facts.type5 else { return vec![] };
    let mut found = without_routes(routes, facts);
    found.extend(other_vni(routes, facts));
    found.extend(changed_next_hops(routes, facts));
    found
}

/// The VRFs whose VNIs are up.
fn vrfs(facts: &Facts) -> Vec<(Vni, VrfName)> {
    let l3vnis = facts.vnis.iter().filter(|(_, state)| state.vni_type == VniType::L3 && state.is_ready());
    l3vnis.filter_map(|(vni, state)| Some((*vni, state.vrf.parse().ok()?))).collect()
}

/// No route of the fabric is received, or none for a VRF while there are some for VNIs that this node does not have. Both are normal for
/// the first node of a fabric or of a VRF.
fn without_routes(routes: &[Type5Route], facts: &Facts) -> Vec<Finding> {
    let (vrfs, received) = (vrfs(facts), received(routes, facts));
    let has_settled = |session: &&SessionState| facts.carries_evpn(session) && facts.has_settled(session);
    let peers: Vec<&str> = facts.fabric_sessions().filter(has_settled).map(|session| session.peer.as_str()).collect();
    if vrfs.is_empty() || peers.is_empty() {
        return vec![];
    }
    if received.is_empty() {
        let has_import = facts.imported.values().any(|imported| !imported.is_empty());
        return if has_import { vec![] } else { vec![nothing_received(routes, &peers, facts)] };
    }
    let unknown = unknown_vnis(&received, facts);
    let is_without = |(vni, vrf): &(Vni, VrfName)| {
        let has_vni = received.iter().any(|(_, path, _)| path.vni == Some(vni.get()));
        !has_vni && facts.imported.get(vrf).is_none_or(BTreeSet::is_empty)
    };
    let finding = |(vni, vrf): (Vni, VrfName)| {
        let import = facts.vnis.get(&vni).map(|state| state.import.join(" ")).unwrap_or_default();
        let object = facts.object_of(Some(&vrf)).cloned();
        let what = format!(
            "VRF {vrf} has no route of the fabric: none has VNI {vni} or a route target that it imports, {import}"
        );
        Finding::new(FindingSeverity::Info, Area::Evpn, FindingKind::NoFabricRoutes, what)
            .at(Place { vrf: Some(vrf), vni: Some(vni), ..Place::default() })
            .shown_by(format!("received, and of no VRF of this node: {}", few(unknown.iter().cloned())))
            .remedied_by("if another node or leaf has the VRF: set the VNI that it has there")
            .of(object.as_ref(), "spec.vni")
    };
    if unknown.is_empty() { vec![] } else { vrfs.into_iter().filter(is_without).map(finding).collect() }
}

fn nothing_received(routes: &[Type5Route], peers: &[&str], facts: &Facts) -> Finding {
    let peers = peers.join(", ");
    let what = format!("no EVPN route of the fabric is received from {peers}");
    let count = count(routes.len(), "Type-5 route is", "Type-5 routes are");
    Finding::new(FindingSeverity::Warning, Area::Evpn, FindingKind::NoFabricRoutes, what)
        .shown_by(format!("{count} in the EVPN table, all of this node"))
        .remedied_by(format!(
            "check the outbound filters of {peers} in L2VPN EVPN, unless no other node or leaf advertises routes yet"
        ))
        .of(facts.object_of(None), "spec.neighbors")
}

/// VNIs that no VRF of this node has, each with a route target.
fn unknown_vnis(received: &[(&Type5Route, &Type5Path, IpAddr)], facts: &Facts) -> BTreeSet<String> {
    let of_path = |(_, path, _): &(&Type5Route, &Type5Path, IpAddr)| {
        let vni = path.vni.filter(|vni| Vni::try_from(*vni).is_ok_and(|vni| !facts.vnis.contains_key(&vni)))?;
        Some(format!("VNI {vni} with the route target {}", targets(path)))
    };
    received.iter().filter_map(of_path).collect()
}

fn targets(path: &Type5Path) -> String {
    if path.route_targets.is_empty() { "none".to_owned() } else { path.route_targets.join(" ") }
}

/// Why routes that cover an address are not in a VRF without any route of the fabric: this node does not have their VNI. The default
/// route of somebody else is no reason.
pub(super) fn of_unknown_vni(covering: &[Type5Route], vrf: &VrfName, facts: &Facts) -> Option<Finding> {
    if facts.imported.get(vrf).is_some_and(|imported| !imported.is_empty()) {
        return None;
    }
    let mut received = received(covering, facts);
    received.retain(|(route, ..)| route.prefix.prefix_len() > 0);
    let unknown = unknown_vnis(&received, facts);
    let (route, _, vtep) = received.first().filter(|_| !unknown.is_empty())?;
    let what = format!(
        "VTEP {vtep} advertises {} with {}, and no VRF of this node has that VNI",
        route.prefix,
        few(unknown.into_iter())
    );
    let finding = Finding::new(FindingSeverity::Warning, Area::Evpn, FindingKind::NotImported, what)
        .at(Place { vtep: Some(*vtep), ..Place::default() })
        .remedied_by(format!("if it is meant to be in VRF {vrf}: set that VNI in its L3VNI"));
    Some(finding)
}

/// Whether a VRF may import a path: the number of a route target is that of an import. FRR ignores the AS number of derived ones.
pub fn may_import(import: &[String], path: &Type5Path) -> bool {
    let number =
        |target: &str| target.rsplit_once(':').map_or_else(|| target.to_owned(), |(_, number)| number.to_owned());
    path.route_targets.iter().any(|target| import.iter().any(|import| number(import) == number(target)))
}

/// Imported routes of another VNI: FRR sends with the VNI of the importing VRF (frr#14259).
fn other_vni(routes: &[Type5Route], facts: &Facts) -> Vec<Finding> {
    let received = received(routes, facts);
    let mut wrong: BTreeMap<(Vni, VrfName, IpAddr, BTreeSet<u32>), BTreeSet<IpNet>> = BTreeMap::new();
    for (vni, vrf) in vrfs(facts) {
        let import = facts.vnis.get(&vni).map(|state| state.import.as_slice()).unwrap_or_default();
        // A MAC/IP route of the same address is of its own VNI.
        let mut vnis: BTreeMap<(IpNet, IpAddr), BTreeSet<u32>> = BTreeMap::new();
        for (route, path, vtep) in received.iter().filter(|(_, path, _)| may_import(import, path)) {
            vnis.entry((route.prefix, *vtep)).or_default().extend(path.vni);
        }
        for (prefix, vtep) in facts.imported.get(&vrf).into_iter().flatten() {
            let Some(sent) = vnis.get(&(*prefix, *vtep)).filter(|sent| is_other(sent, vni)) else { continue };
            wrong.entry((vni, vrf.clone(), *vtep, sent.clone())).or_default().insert(*prefix);
        }
    }
    let finding = |((vni, vrf, vtep, sent), prefixes): ((Vni, VrfName, IpAddr, BTreeSet<u32>), BTreeSet<IpNet>)| {
        let prefixes = few(prefixes.iter().map(ToString::to_string));
        let what = format!("VRF {vrf} imports {prefixes} of VTEP {vtep}: {}", forwards_with(vni, &sent));
        let object = facts.object_of(Some(&vrf)).cloned();
        Finding::new(FindingSeverity::Warning, Area::Evpn, FindingKind::VniMismatch, what)
            .at(Place { vrf: Some(vrf), vni: Some(vni), vtep: Some(vtep), ..Place::default() })
            .remedied_by("have the leaf export the route target of its own VNI, or do not import this one")
            .of(object.as_ref(), "spec.routeTargets.import")
    };
    wrong.into_iter().map(finding).collect()
}

/// Whether none of these VNIs of a prefix is that of the VRF.
pub(super) fn is_other(sent: &BTreeSet<u32>, vni: Vni) -> bool {
    !sent.is_empty() && !sent.contains(&vni.get())
}

/// What FRR does with a route of another VNI.
pub(super) fn forwards_with(vni: Vni, sent: &BTreeSet<u32>) -> String {
    let sent: Vec<String> = sent.iter().map(ToString::to_string).collect();
    format!(
        "it has VNI {}, and FRR sends with VNI {vni} of the VRF (frr#14259), so that no packet arrives",
        sent.join(", ")
    )
}

/// A leaf that sets its own address as the next hop of routes of others: no VXLAN packet to it reaches their VTEP.
fn changed_next_hops(routes: &[Type5Route], facts: &Facts) -> Vec<Finding> {
    // The address of a loopback may be the VTEP of a leaf that advertises routes of others itself.
    let on_nic = |peer: &IpAddr| facts.links.as_ref().is_some_and(|links| is_on_nic(*peer, links));
    let peers: BTreeSet<IpAddr> =
        facts.fabric_sessions().filter_map(|session| session.peer.parse().ok()).filter(on_nic).collect();
    let mut changed: BTreeMap<IpAddr, BTreeSet<IpNet>> = BTreeMap::new();
    for (route, path, vtep) in received(routes, facts) {
        if peers.contains(&vtep) && is_of_another(&path.as_path) {
            changed.entry(vtep).or_default().insert(route.prefix);
        }
    }
    let finding = |(peer, prefixes): (IpAddr, BTreeSet<IpNet>)| {
        let what = format!(
            "{peer} sets its own address as the next hop of routes of others: {}",
            few(prefixes.iter().map(ToString::to_string))
        );
        Finding::new(FindingSeverity::Error, Area::Evpn, FindingKind::NextHopChanged, what)
            .at(Place::session(None, &peer.to_string()))
            .remedied_by(format!("have {peer} keep the next hop in L2VPN EVPN (FRR: `attribute-unchanged next-hop`, no `next-hop-self`, no `set ip next-hop`)"))
            .of(facts.object_of(None), &format!("spec.neighbors[{peer}]"))
    };
    changed.into_iter().map(finding).collect()
}

/// Whether another router than the peer has originated a path: there are several AS numbers in it.
pub(super) fn is_of_another(as_path: &str) -> bool {
    let asns = as_path.split(|c: char| !c.is_ascii_digit()).filter(|asn| !asn.is_empty());
    asns.collect::<BTreeSet<&str>>().len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::family::EVPN;
    use crate::frr::show::interface::Interface;
    use crate::frr::show::neighbor::{Negotiation, SessionReset};
    use crate::frr::show::session::SessionPhase;
    use crate::frr::show::vni::VniState;
    use rstest::rstest;

    fn route(prefix: &str, vtep: &str, vni: u32, target: &str) -> Type5Route {
        let path = Type5Path {
            vni: Some(vni),
            route_targets: vec![target.into()],
            next_hop: vtep.parse().ok(),
            as_path: "64512 64520".into(),
            ..Type5Path::default()
        };
        Type5Route {
            prefix: prefix.parse().unwrap(),
            rd: "100.64.0.1:2".into(),
            advertised_to: vec![],
            paths: vec![path],
        }
    }

    /// VRF red, VNI 100, with a route of leafA, and one of this node.
    fn good() -> Facts {
        let vni = VniState {
            vrf: "red".into(),
            import: vec!["64514:100".into()],
            up: true,
            in_bgp: true,
            router_mac: "02:00:00:00:00:01".parse().ok(),
            ..VniState::default()
        };
        let session = SessionState {
            vrf: None,
            peer: "192.168.11.2".into(),
            remote_as: None,
            phase: SessionPhase::Established,
            since: None,
            established: 1,
            messages: 1,
            prefixes: [].into(),
        };
        let both = Negotiation { advertised: true, received: true };
        let reset = SessionReset { families: [(EVPN.to_owned(), both)].into(), ..SessionReset::default() };
        let nic = Interface { addresses: vec!["192.168.11.3/24".parse().unwrap()], ..Interface::default() };
        let imported = [("192.168.20.0/24".parse().unwrap(), "100.64.0.1".parse().unwrap())].into();
        Facts {
            vteps: ["100.65.0.1".parse().unwrap()].into(),
            vnis: [(100.try_into().unwrap(), vni)].into(),
            neighbors: [(session.key(), reset)].into(),
            sessions: vec![session],
            links: Some([("eth1".to_owned(), nic)].into()),
            type5: Some(vec![
                route("172.30.0.10/32", "100.65.0.1", 100, "64514:100"),
                route("192.168.20.0/24", "100.64.0.1", 100, "64520:100"),
            ]),
            imported: [("red".parse().unwrap(), imported)].into(),
            ..Facts::default()
        }
    }

    fn of_leaf(facts: &mut Facts) -> &mut Type5Path {
        &mut facts.type5.as_mut().unwrap()[1].paths[0]
    }

    type Change = fn(&mut Facts);

    #[rstest]
    #[case::nothing(|facts: &mut Facts| { facts.type5.as_mut().unwrap().pop(); facts.imported.clear(); },
        "warning no-fabric-routes : no EVPN route of the fabric is received from 192.168.11.2 [1 Type-5 route is in the EVPN table, all \
         of this node]")]
    #[case::other_vni_of_the_fabric(|facts: &mut Facts| { of_leaf(facts).vni = Some(101); facts.imported.clear(); },
        "info no-fabric-routes VRF red, VNI 100: VRF red has no route of the fabric: none has VNI 100 or a route target that it imports, \
         64514:100 [received, and of no VRF of this node: VNI 101 with the route target 64520:100]")]
    #[case::imported_with_another_vni(|facts: &mut Facts| { let path = of_leaf(facts); (path.vni, path.route_targets) = (Some(200), vec!["64520:100".into()]); },
        "warning vni-mismatch VRF red, VNI 100, VTEP 100.64.0.1: VRF red imports 192.168.20.0/24 of VTEP 100.64.0.1: it has VNI 200, and \
         FRR sends with VNI 100 of the VRF (frr#14259), so that no packet arrives []")]
    #[case::next_hop_of_the_leaf(|facts: &mut Facts| { of_leaf(facts).next_hop = "192.168.11.2".parse().ok(); facts.imported.clear(); },
        "error next-hop-changed peer 192.168.11.2: 192.168.11.2 sets its own address as the next hop of routes of others: 192.168.20.0/24 \
         []")]
    fn each_fault_is_found_and_nothing_else(#[case] change: Change, #[case] expected: &str) {
        let mut facts = good();
        assert_eq!(findings(&facts), []);
        change(&mut facts);
        let found = findings(&facts);
        let shown =
            |f: &Finding| format!("{} {} {}: {} [{}]", f.severity.as_str(), f.kind, f.place, f.what, f.evidence);
        assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), [expected]);
        assert!(found.iter().all(|finding| !finding.remedy.is_empty()));
    }

    #[rstest]
    #[case::vrfs_of_other_nodes(|facts: &mut Facts| facts.type5.as_mut().unwrap().push(route("10.0.0.0/8", "100.64.0.1", 300, "64520:300")))]
    #[case::vtep_of_the_leaf_is_that_of_the_session(|facts: &mut Facts| {
        let path = of_leaf(facts);
        (path.next_hop, path.as_path) = ("192.168.11.2".parse().ok(), "64512".into());
    })]
    #[case::loopback_of_a_leaf_that_has_routes_of_others(|facts: &mut Facts| {
        of_leaf(facts).next_hop = "192.168.11.2".parse().ok();
        facts.imported.clear();
        facts.links.as_mut().unwrap().get_mut("eth1").unwrap().addresses = vec!["192.0.2.1/24".parse().unwrap()];
    })]
    #[case::mac_ip_routes_alone(|facts: &mut Facts| drop(facts.type5.as_mut().unwrap().pop()))]
    #[case::mac_ip_route_of_the_same_address(|facts: &mut Facts| {
        let path = of_leaf(facts);
        (path.vni, path.route_targets) = (Some(200), vec!["64520:200".into()]);
    })]
    #[case::session_of_a_moment_ago(|facts: &mut Facts| {
        facts.type5.as_mut().unwrap().pop();
        facts.imported.clear();
        (facts.now, facts.sessions[0].since) = (100, Some(90));
    })]
    #[case::no_evpn(|facts: &mut Facts| { facts.type5.as_mut().unwrap().pop(); facts.neighbors.clear(); })]
    #[case::not_read(|facts: &mut Facts| facts.type5 = None)]
    fn what_is_normal_is_no_finding(#[case] change: Change) {
        let mut facts = good();
        change(&mut facts);
        assert_eq!(findings(&facts), []);
    }

    #[test]
    fn a_covering_route_of_an_unknown_vni_is_a_reason() {
        let (covering, red) = ([route("192.168.20.0/24", "100.64.0.1", 101, "64520:101")], "red".parse().unwrap());
        assert_eq!(of_unknown_vni(&covering, &red, &good()), None, "the VRF has routes of the fabric");
        let facts = Facts { imported: [].into(), ..good() };
        let found = of_unknown_vni(&covering, &red, &facts).unwrap();
        assert_eq!(
            found.what,
            "VTEP 100.64.0.1 advertises 192.168.20.0/24 with VNI 101 with the route target 64520:101, and no VRF of this node has that VNI"
        );
        assert_eq!(of_unknown_vni(&facts.type5.clone().unwrap(), &red, &facts), None);
        let default_route = [route("0.0.0.0/0", "100.64.0.1", 101, "64520:101")];
        assert_eq!(of_unknown_vni(&default_route, &red, &facts), None, "of somebody else");
    }
}
