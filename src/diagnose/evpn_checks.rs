//! Checks of the EVPN routes of the fabric: VTEPs that no route leads to, Type-5 routes that are not imported, and a router id of
//! this node that another one has. In: [`Facts`]. Out: [`Finding`]s, one for each VTEP or VNI. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::Facts;
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use super::next_hops::LostHops;
use super::node_checks::{count, few};
use crate::frr::show::type5::{Type5Path, Type5Route};
use crate::types::{Vni, VrfName};

/// What to do where no route leads to a VTEP.
const NO_ROUTE: &str = "have its leaf advertise the VTEP in the underlay, in the unicast family of the address, up to this node, or the \
                        leaf of this node a default route";

/// What to do where the next hop to a VTEP does not answer.
pub(super) const DEAD_NEXT_HOP: &str = "have the leaf of this node set its own address as the next hop of the route to the VTEP, and check that it answers";

/// All of them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let Some(routes) = &facts.type5 else { return vec![] };
    let mut found = other_family(routes, facts);
    found.extend(unreachable(routes, facts));
    found.extend(without_router_mac(facts));
    found.extend(not_imported(routes, facts));
    found.extend(duplicate_router_id(routes, facts));
    found
}

/// Paths that another node advertises.
pub(super) fn received<'a>(routes: &'a [Type5Route], facts: &Facts) -> Vec<(&'a Type5Route, &'a Type5Path, IpAddr)> {
    let of_route = |route: &'a Type5Route| route.paths.iter().map(move |path| (route, path));
    let paths = routes.iter().flat_map(of_route);
    // A path that this node originates has its own VTEP, and no AS path but that of its host.
    paths
        .filter_map(|(route, path)| Some((route, path, path.next_hop?)))
        .filter(|(.., vtep)| !facts.vteps.contains(vtep))
        .collect()
}

/// Those with a VNI of this node.
pub(super) fn ours<'a>(
    routes: &'a [Type5Route],
    facts: &Facts,
) -> Vec<(&'a Type5Route, &'a Type5Path, IpAddr, Vni, VrfName)> {
    let of_vni = |(route, path, vtep): (&'a Type5Route, &'a Type5Path, IpAddr)| {
        let vni = Vni::try_from(path.vni?).ok()?;
        Some((route, path, vtep, vni, facts.vnis.get(&vni)?.vrf.parse().ok()?))
    };
    received(routes, facts).into_iter().filter_map(of_vni).collect()
}

/// Whether a VTEP has another address family than that of this node for the VNI: the VXLAN device sends with its own only.
fn is_other_family(vtep: IpAddr, vni: Vni, facts: &Facts) -> bool {
    facts.vnis.get(&vni).and_then(|state| state.vtep).is_some_and(|own| own.is_ipv4() != vtep.is_ipv4())
}

fn other_family(routes: &[Type5Route], facts: &Facts) -> Vec<Finding> {
    let all = ours(routes, facts);
    let mut behind: BTreeMap<(Vni, VrfName, IpAddr), (BTreeSet<IpNet>, bool)> = BTreeMap::new();
    for (route, _, vtep, vni, vrf) in all.iter().filter(|(_, _, vtep, vni, _)| is_other_family(*vtep, *vni, facts)) {
        let has_other = all.iter().any(|(other, _, vtep, of, _)| {
            other.prefix == route.prefix && of == vni && !is_other_family(*vtep, *vni, facts)
        });
        let (prefixes, is_only) = behind.entry((*vni, vrf.clone(), *vtep)).or_default();
        prefixes.insert(route.prefix);
        *is_only |= !has_other;
    }
    let finding = |((vni, vrf, vtep), (prefixes, is_only)): (_, (BTreeSet<IpNet>, bool))| {
        let own = facts.vnis.get(&vni).and_then(|state| state.vtep);
        let own = own.map(|own| own.to_string()).unwrap_or_default();
        let what = format!("VTEP {vtep} and that of this node for VNI {vni}, {own}, have different address families");
        let severity = if is_only { FindingSeverity::Error } else { FindingSeverity::Warning };
        let object = facts.object_of(Some(&vrf)).cloned();
        Finding::new(severity, Area::Evpn, FindingKind::VtepFamily, what)
            .at(Place { vrf: Some(vrf), vni: Some(vni), vtep: Some(vtep), ..Place::default() })
            .shown_by(behind_it(&prefixes))
            .remedied_by("set spec.underlayAddressFamily to the family that all VTEPs of the VNI have")
            .of(object.as_ref(), "spec.underlayAddressFamily")
    };
    behind.into_iter().map(finding).collect()
}

fn unreachable(routes: &[Type5Route], facts: &Facts) -> Vec<Finding> {
    let mut ways: BTreeMap<IpAddr, (bool, Option<LostHops>)> = BTreeMap::new();
    let mut behind: BTreeMap<IpAddr, (BTreeSet<IpNet>, bool)> = BTreeMap::new();
    for (route, _, vtep, vni, vrf) in ours(routes, facts) {
        let way = || (is_reached(vtep, facts), lost_hops(vtep, facts));
        let (is_reached, lost) = ways.entry(vtep).or_insert_with(way);
        // Also where bgpd has it as reachable: after a restart of zebra it does not track its next hops.
        let is_lost = !*is_reached || lost.is_some();
        if !is_other_family(vtep, vni, facts) && is_lost {
            let imported = facts.imported.get(&vrf).is_some_and(|imported| imported.contains(&(route.prefix, vtep)));
            let (prefixes, is_used) = behind.entry(vtep).or_default();
            prefixes.insert(route.prefix);
            *is_used |= imported;
        }
    }
    let finding = |(vtep, (prefixes, is_used)): (IpAddr, (BTreeSet<IpNet>, bool))| {
        let lost = ways.get(&vtep).and_then(|(_, lost)| lost.as_ref());
        let in_use = if is_used && lost.is_none() {
            ", and bgpd uses it: it does not track next hops after a restart of zebra"
        } else {
            ""
        };
        let severity = match lost {
            Some(lost) if !lost.are_all => FindingSeverity::Warning,
            _ => FindingSeverity::Error,
        };
        let (what, remedy) = lost.map_or_else(
            || (format!("no route leads to VTEP {vtep}"), NO_ROUTE),
            |lost| (lost.what.clone(), lost.remedy(DEAD_NEXT_HOP)),
        );
        Finding::new(severity, Area::Evpn, FindingKind::VtepUnreachable, what)
            .at(Place { vtep: Some(vtep), ..Place::default() })
            .shown_by(behind_it(&prefixes) + in_use)
            .remedied_by(remedy)
            .of(facts.object_of(None), "spec.neighbors")
    };
    behind.into_iter().map(finding).collect()
}

/// Imported routes along which the kernel cannot send: zebra of FRR 8 may lose a router MAC (frr#12391).
fn without_router_mac(facts: &Facts) -> Vec<Finding> {
    let mut behind: BTreeMap<(&VrfName, IpAddr), BTreeSet<IpNet>> = BTreeMap::new();
    for (vrf, imported) in &facts.imported {
        let (Some(known), Some(vni)) = (facts.forwarded.get(vrf), facts.vni_of(vrf)) else { continue };
        for (prefix, vtep) in imported {
            // What no route leads to is another finding.
            let is_reached = is_reached(*vtep, facts) && !is_other_family(*vtep, vni, facts);
            if is_reached && !known.contains(&vtep.to_canonical()) {
                behind.entry((vrf, *vtep)).or_default().insert(*prefix);
            }
        }
    }
    let finding = |((vrf, vtep), prefixes): ((&VrfName, IpAddr), BTreeSet<IpNet>)| {
        Finding::new(FindingSeverity::Error, Area::Evpn, FindingKind::RouterMacMissing, no_router_mac(vrf, vtep))
            .at(Place { vrf: Some(vrf.clone()), vni: facts.vni_of(vrf), vtep: Some(vtep), ..Place::default() })
            .shown_by(behind_it(&prefixes))
            .remedied_by(reset_router_mac(facts.fabric_sessions().map(|session| session.peer.as_str())))
            .of(facts.object_of(Some(vrf)), "")
    };
    behind.into_iter().map(finding).collect()
}

/// What is wrong where the kernel cannot send to a VTEP.
pub(super) fn no_router_mac(vrf: &VrfName, vtep: IpAddr) -> String {
    format!("VRF {vrf} cannot send to VTEP {vtep}: the kernel has no router MAC of it")
}

/// What has zebra install a router MAC again: its routes have to be withdrawn and received again, from these peers.
pub(super) fn reset_router_mac<'a>(peers: impl Iterator<Item = &'a str>) -> String {
    let commands: Vec<String> = peers.map(|peer| format!("`clear bgp {peer}`")).collect();
    format!(
        "reset the sessions with the fabric, by {} in vtysh of this router: zebra installs the router MAC with the routes",
        commands.join(", ")
    )
}

/// The prefixes behind a VTEP.
fn behind_it(prefixes: &BTreeSet<IpNet>) -> String {
    let shown = few(prefixes.iter().map(ToString::to_string));
    format!("{} behind it: {shown}", count(prefixes.len(), "prefix", "prefixes"))
}

/// The next hops to a VTEP that lose packets.
fn lost_hops(vtep: IpAddr, facts: &Facts) -> Option<LostHops> {
    LostHops::of(&format!("VTEP {vtep}"), facts.underlay_hops(vtep), &facts.unresolved)
}

/// Whether FRR resolves a next hop, by the default route as well.
fn is_reached(vtep: IpAddr, facts: &Facts) -> bool {
    facts.underlay.as_ref().is_none_or(|underlay| underlay.keys().any(|prefix| prefix.contains(&vtep)))
}

fn not_imported(routes: &[Type5Route], facts: &Facts) -> Vec<Finding> {
    let mut missing: BTreeMap<(Vni, VrfName, IpAddr, Vec<String>), BTreeSet<IpNet>> = BTreeMap::new();
    for (route, path, vtep, vni, vrf) in ours(routes, facts) {
        let Some(imported) = facts.imported.get(&vrf) else { continue };
        // A VNI that is not up imports nothing, and is a finding itself.
        if facts.vnis.get(&vni).is_some_and(|state| !state.is_ready()) {
            continue;
        }
        // What has no next hop is not imported either.
        if is_reached(vtep, facts) && !is_other_family(vtep, vni, facts) && !imported.contains(&(route.prefix, vtep)) {
            let key = (vni, vrf, vtep, path.route_targets.clone());
            missing.entry(key).or_default().insert(route.prefix);
        }
    }
    // By a route that is imported it would be, had it the target.
    let has_path = |vrf: &VrfName, vtep: IpAddr, targets: &[String]| {
        ours(routes, facts).iter().any(|(route, path, other, _, of)| {
            of == vrf
                && *other == vtep
                && path.route_targets == targets
                && facts.imported.get(vrf).is_some_and(|imported| imported.contains(&(route.prefix, vtep)))
        })
    };
    let finding = |((vni, vrf, vtep, targets), prefixes): ((Vni, VrfName, IpAddr, Vec<String>), BTreeSet<IpNet>)| {
        if has_path(&vrf, vtep, &targets) {
            return None;
        }
        let import = facts.vnis.get(&vni).map(|state| state.import.join(" ")).unwrap_or_default();
        let what = format!(
            "VTEP {vtep} advertises {} with VNI {vni}, which VRF {vrf} does not import: they have the route target {}, and it imports \
             {import}",
            few(prefixes.iter().map(ToString::to_string)),
            if targets.is_empty() { "none".to_owned() } else { targets.join(" ") },
        );
        let place = Place { vrf: Some(vrf.clone()), vni: Some(vni), vtep: Some(vtep), ..Place::default() };
        let finding = Finding::new(FindingSeverity::Warning, Area::Evpn, FindingKind::NotImported, what)
            .at(place)
            .shown_by(format!(
                "{} in the EVPN table and not in VRF {vrf}",
                few(prefixes.iter().map(ToString::to_string))
            ))
            .remedied_by("import that target, or have the leaf export one that is imported")
            .of(facts.object_of(Some(&vrf)), "spec.routeTargets.import");
        Some(finding)
    };
    missing.into_iter().filter_map(finding).collect()
}

/// A route that another node advertises with a route distinguisher of this one: it has the router id in it.
fn duplicate_router_id(routes: &[Type5Route], facts: &Facts) -> Option<Finding> {
    let router_id = facts.router_id?;
    let is_own_rd =
        |rd: &str| rd.rsplit_once(':').is_some_and(|(administrator, _)| administrator == router_id.to_string());
    let (route, path, vtep) = received(routes, facts).into_iter().find(|(route, ..)| is_own_rd(&route.rd))?;
    let what = format!("another node has the router id {router_id} of this node");
    let finding = Finding::new(FindingSeverity::Error, Area::Evpn, FindingKind::DuplicateRouterId, what)
        .at(Place { vtep: Some(vtep), ..Place::default() })
        .shown_by(format!("VTEP {vtep} advertises {} with RD {}, AS path {}", route.prefix, route.rd, path.as_path))
        .remedied_by("give each node an index of its own, or this Underlay another routeridcidr")
        .of(facts.object_of(None), "spec.routeridcidr");
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::route::InstalledHop;
    use crate::frr::show::vni::VniState;
    use rstest::rstest;

    fn path(vtep: &str, target: &str) -> Type5Path {
        Type5Path {
            vni: Some(100),
            route_targets: vec![target.into()],
            next_hop: vtep.parse().ok(),
            as_path: "64512 64520".into(),
            ..Type5Path::default()
        }
    }

    fn route(prefix: &str, rd: &str, path: Type5Path) -> Type5Route {
        Type5Route { prefix: prefix.parse().unwrap(), rd: rd.into(), advertised_to: vec![], paths: vec![path] }
    }

    /// By one next hop.
    fn routes(prefixes: &[&str]) -> BTreeMap<IpNet, Vec<InstalledHop>> {
        let hop = InstalledHop { address: "192.168.11.2".parse().ok(), link: Some("toswitch".into()) };
        prefixes.iter().map(|prefix| (prefix.parse().unwrap(), vec![hop.clone()])).collect()
    }

    fn good() -> Facts {
        let (import, router_mac) = (vec!["64514:100".into()], "02:00:00:00:00:01".parse().ok());
        let vni = VniState { vrf: "red".into(), import, up: true, in_bgp: true, router_mac, ..VniState::default() };
        let prefix = "192.168.20.0/24";
        Facts {
            vteps: ["100.65.0.1".parse().unwrap()].into(),
            router_id: "10.0.0.1".parse().ok(),
            vnis: [(100.try_into().unwrap(), vni)].into(),
            underlay: Some(routes(&["100.64.0.1/32", "0.0.0.0/0"])),
            type5: Some(vec![
                route(prefix, "100.64.0.1:2", path("100.64.0.1", "64520:100")),
                route(
                    "172.30.0.10/32",
                    "10.0.0.1:3",
                    Type5Path { as_path: "64515".into(), ..path("100.65.0.1", "64514:100") },
                ),
            ]),
            imported: [("red".parse().unwrap(), [(prefix.parse().unwrap(), "100.64.0.1".parse().unwrap())].into())]
                .into(),
            ..Facts::default()
        }
    }

    type Change = fn(&mut Facts);

    fn add(facts: &mut Facts, added: Type5Route) {
        facts.type5.as_mut().unwrap().push(added);
    }

    #[rstest]
    #[case::dead_next_hop(|facts: &mut Facts| { facts.unresolved.insert(("192.168.11.2".parse().unwrap(), "toswitch".into())); }, FindingKind::VtepUnreachable,
        "packets to VTEP 100.64.0.1 are lost: the next hop 192.168.11.2 does not answer ARP on toswitch")]
    #[case::not_advertised(|facts: &mut Facts| { facts.underlay = Some([].into()); facts.imported.values_mut().next().unwrap().clear(); }, FindingKind::VtepUnreachable,
        "no route leads to VTEP 100.64.0.1")]
    #[case::default_route_of_the_other_family(|facts: &mut Facts| { facts.underlay = Some(routes(&["::/0"])); facts.imported.values_mut().next().unwrap().clear(); }, FindingKind::VtepUnreachable,
        "no route leads to VTEP 100.64.0.1")]
    #[case::not_imported_behind_a_default_route(|facts: &mut Facts| { facts.underlay = Some(routes(&["0.0.0.0/0"])); facts.imported.values_mut().next().unwrap().clear(); }, FindingKind::NotImported,
        "VTEP 100.64.0.1 advertises 192.168.20.0/24 with VNI 100, which VRF red does not import")]
    #[case::not_imported(|facts: &mut Facts| { facts.imported.values_mut().next().unwrap().clear(); }, FindingKind::NotImported,
        "VTEP 100.64.0.1 advertises 192.168.20.0/24 with VNI 100, which VRF red does not import: they have the route target \
         64520:100, and it imports 64514:100")]
    #[case::no_router_mac(|facts: &mut Facts| { facts.forwarded.insert("red".parse().unwrap(), ["100.64.0.2".parse().unwrap()].into()); },
        FindingKind::RouterMacMissing, "VRF red cannot send to VTEP 100.64.0.1: the kernel has no router MAC of it")]
    #[case::router_id(|facts: &mut Facts| add(facts, route("10.9.0.0/16", "10.0.0.1:7", Type5Path { vni: Some(7), ..path("100.65.0.9", "64514:7") })),
        FindingKind::DuplicateRouterId, "another node has the router id 10.0.0.1 of this node")]
    #[case::family(|facts: &mut Facts| facts.vnis.values_mut().next().unwrap().vtep = "2001:db8:65::1".parse().ok(), FindingKind::VtepFamily,
        "VTEP 100.64.0.1 and that of this node for VNI 100, 2001:db8:65::1, have different address families")]
    fn each_fault_is_found_and_nothing_else(#[case] change: Change, #[case] kind: FindingKind, #[case] words: &str) {
        let mut facts = good();
        assert_eq!(findings(&facts), []);
        change(&mut facts);
        let found = findings(&facts);
        assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [kind]);
        assert!(found[0].what.starts_with(words), "{}", found[0].what);
        assert!(!found[0].evidence.is_empty() && !found[0].remedy.is_empty());
    }

    #[test]
    fn a_vni_that_is_not_up_imports_nothing() {
        let mut facts = good();
        facts.imported.values_mut().next().unwrap().clear();
        facts.vnis.values_mut().next().unwrap().up = false;
        assert_eq!(findings(&facts), []);
    }

    #[test]
    fn a_default_route_leads_to_every_vtep() {
        let underlay = Some(routes(&["0.0.0.0/0"]));
        assert_eq!(findings(&Facts { underlay, ..good() }), []);
    }

    #[test]
    fn routes_of_vnis_that_this_node_does_not_have_are_no_concern() {
        let mut facts = good();
        add(
            &mut facts,
            route("10.9.0.0/16", "100.64.0.9:2", Type5Path { vni: Some(900), ..path("100.64.0.9", "1:900") }),
        );
        assert_eq!(findings(&facts), []);
    }

    #[test]
    fn a_next_hop_that_this_release_resolves_by_the_default_route_is_no_fault() {
        let facts = Facts { underlay: Some(routes(&["0.0.0.0/0"])), ..good() };
        assert_eq!(findings(&facts), []);
    }

    #[test]
    fn a_router_mac_of_an_ipv4_mapped_next_hop_is_that_of_the_vtep() {
        let mut facts = good();
        facts.forwarded.insert("red".parse().unwrap(), ["100.64.0.1".parse().unwrap()].into());
        facts.underlay.as_mut().unwrap().insert("::/0".parse().unwrap(), vec![]);
        let imported = facts.imported.values_mut().next().unwrap();
        imported.insert(("2001:db8::/64".parse().unwrap(), "::ffff:100.64.0.1".parse().unwrap()));
        assert_eq!(findings(&facts), []);
    }

    #[test]
    fn what_was_not_read_is_no_fault() {
        let facts = Facts { underlay: None, imported: BTreeMap::new(), ..good() };
        assert_eq!(findings(&facts), []);
    }
}
