//! What becomes of Type-5 routes, by VRF: those of this node, and those of each VTEP. In: [`Facts`]. Out: counts. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use super::evpn_checks::ours;
use super::facts::Facts;
use crate::types::{Vni, VrfName};

/// Type-5 routes of a VRF.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Type5Use {
    /// Those that this node originates.
    pub originated: usize,
    /// Of them, those that are advertised to a session.
    pub sent: usize,
    /// Those with the VNI of the VRF, by VTEP.
    pub received: BTreeMap<IpAddr, Type5Received>,
    /// The prefixes of those that this node originates, and whether they are advertised.
    #[serde(skip)]
    pub own: BTreeMap<IpNet, bool>,
}

/// Type-5 routes of a VTEP.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Type5Received {
    /// All of them.
    pub routes: usize,
    /// Those that are in the VRF with a next hop that is resolved.
    pub imported: usize,
}

/// Those of each VRF with an L3VNI; empty where bgpd was not read.
pub fn type5_use(facts: &Facts) -> BTreeMap<VrfName, Type5Use> {
    let Some(routes) = &facts.type5 else { return BTreeMap::new() };
    let mut found: BTreeMap<VrfName, Type5Use> = BTreeMap::new();
    let l3vnis: BTreeMap<Vni, VrfName> = facts
        .vnis
        .iter()
        .filter_map(|(vni, state)| Some((*vni, state.vrf.parse().ok()?)))
        .filter(|(vni, vrf)| facts.vni_of(vrf) == Some(*vni))
        .collect();
    for vrf in l3vnis.values() {
        found.entry(vrf.clone()).or_default();
    }
    for (route, _, vtep, _, vrf) in ours(routes, facts) {
        let is_imported = facts.imported.get(&vrf).is_some_and(|imported| imported.contains(&(route.prefix, vtep)));
        let counts = found.entry(vrf).or_default().received.entry(vtep).or_default();
        counts.routes += 1;
        counts.imported += usize::from(is_imported);
    }
    for route in routes {
        let is_own = route.paths.iter().any(|path| path.next_hop.is_some_and(|vtep| facts.vteps.contains(&vtep)));
        let by_vni = || l3vnis.get(&route.paths.iter().find_map(|path| Vni::try_from(path.vni?).ok())?).cloned();
        let vrf = own_vrf(facts, &route.rd).or_else(by_vni).filter(|_| is_own);
        if let Some(counts) = vrf.and_then(|vrf| found.get_mut(&vrf)) {
            let is_sent = !route.advertised_to.is_empty();
            counts.originated += 1;
            counts.sent += usize::from(is_sent);
            counts.own.insert(route.prefix, is_sent);
        }
    }
    found
}

/// The VRF with this route distinguisher.
fn own_vrf(facts: &Facts, rd: &str) -> Option<VrfName> {
    facts.vnis.values().find(|state| state.rd.as_deref() == Some(rd))?.vrf.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::type5::{Type5Path, Type5Route};
    use crate::frr::show::vni::VniState;

    #[test]
    fn routes_are_counted_by_vrf_and_vtep() {
        let route = |prefix: &str, vtep: &str, vni, peers: &[&str]| Type5Route {
            prefix: prefix.parse().unwrap(),
            rd: format!("{vtep}:2"),
            advertised_to: peers.iter().map(ToString::to_string).collect(),
            paths: vec![Type5Path { vni: Some(vni), next_hop: vtep.parse().ok(), ..Type5Path::default() }],
        };
        let vni = |vrf: &str| VniState { vrf: vrf.into(), ..VniState::default() };
        let facts = Facts {
            vteps: ["100.65.0.1".parse().unwrap()].into(),
            vnis: [(100, "red"), (200, "blue")].map(|(id, vrf)| (id.try_into().unwrap(), vni(vrf))).into(),
            type5: Some(vec![
                route("172.30.0.10/32", "100.65.0.1", 100, &["192.168.11.2"]),
                route("172.30.0.11/32", "100.65.0.1", 100, &[]),
                route("192.168.20.0/24", "100.64.0.1", 100, &[]),
                route("192.168.21.0/24", "100.64.0.1", 100, &[]),
                // Of a VRF that this node does not have.
                route("10.0.0.0/8", "100.64.0.1", 300, &[]),
            ]),
            imported: [(
                "red".parse().unwrap(),
                [("192.168.20.0/24".parse().unwrap(), "100.64.0.1".parse().unwrap())].into(),
            )]
            .into(),
            ..Facts::default()
        };
        let own = [("172.30.0.10/32", true), ("172.30.0.11/32", false)];
        let red = Type5Use {
            originated: 2,
            sent: 1,
            received: [("100.64.0.1".parse().unwrap(), Type5Received { routes: 2, imported: 1 })].into(),
            own: own.map(|(prefix, sent)| (prefix.parse().unwrap(), sent)).into(),
        };
        let expected = [("blue".parse().unwrap(), Type5Use::default()), ("red".parse().unwrap(), red)].into();
        assert_eq!(type5_use(&facts), expected);
        assert_eq!(type5_use(&Facts::default()), BTreeMap::new());
    }
}
