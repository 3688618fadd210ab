//! The claims of accepted objects. In: claims of an object. Out: its conflicts with accepted objects, as rejections that name both
//! objects. It must not know a kind, nor decide which object wins: the one whose claims are added first does. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::kind::claim::{Claim, Claimed};
use crate::kind::object::{Location, ObjectRef, Reason, Rejection};
use crate::types::VrfName;

/// Conflicts of a claim that are reported, at most: where subnets of half of the objects contain those of the other half, all
/// would be many more than there are objects.
const MAX_CONFLICTS: usize = 8;

/// An object with claims.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claimant<'a> {
    pub(super) object: &'a ObjectRef,
    pub(super) location: Option<&'a Location>,
}

/// The claims of the accepted objects.
#[derive(Debug, Default)]
pub(super) struct Claims<'a> {
    /// What is claimed, by which object and which of its fields.
    claimed: BTreeMap<Claimed, (Claimant<'a>, String)>,
    /// Subnets by their first address. No two of them overlap.
    subnets: BTreeMap<IpAddr, IpNet>,
    /// The same of the gateways of each IP-VRF.
    gateways: BTreeMap<VrfName, BTreeMap<IpAddr, IpNet>>,
    /// Prefixes in which no object may have a subnet: few.
    reserved: BTreeSet<IpNet>,
}

impl<'a> Claims<'a> {
    /// Adds the claims of an object without conflicts.
    pub(super) fn add(&mut self, claimant: Claimant<'a>, claims: Vec<Claim>) {
        for Claim { claimed, field } in claims {
            match &claimed {
                Claimed::Subnet(subnet) => drop(self.subnets.insert(subnet.network(), *subnet)),
                Claimed::Reserved(prefix) => drop(self.reserved.insert(*prefix)),
                Claimed::GatewaySubnet(vrf, subnet) => {
                    self.gateways.entry(vrf.clone()).or_default().insert(subnet.network(), *subnet);
                }
                Claimed::Fabric | Claimed::Vni(_) | Claimed::Vrf(_) | Claimed::Nic(_) | Claimed::HostBridge(_) => {}
            }
            self.claimed.insert(claimed, (claimant, field));
        }
    }

    /// A rejection for each accepted object with which a claim conflicts, for the first [`MAX_CONFLICTS`] of a claim.
    pub(super) fn conflicts(&self, claimant: Claimant<'_>, claims: &[Claim]) -> Vec<Rejection> {
        let mut found = Vec::new();
        for claim in claims {
            for (claimed, (other, other_field)) in self.conflicting(&claim.claimed).take(MAX_CONFLICTS) {
                found.push(Rejection {
                    object: claimant.object.clone(),
                    reason: Reason::Conflict,
                    location: claimant.location.cloned(),
                    field: claim.field.clone(),
                    message: message(&claim.claimed, claimed, other_field, &named(*other)),
                });
            }
        }
        found
    }

    fn conflicting(&self, wanted: &Claimed) -> impl Iterator<Item = (&Claimed, &(Claimant<'a>, String))> {
        let subnets = |subnet| overlapping(&self.subnets, subnet).take(MAX_CONFLICTS).map(Claimed::Subnet);
        let wanted = match wanted {
            Claimed::Subnet(subnet) => subnets(*subnet).chain(self.reserved(*subnet)).collect(),
            Claimed::GatewaySubnet(vrf, subnet) => {
                let gateways = self.gateways.get(vrf).into_iter().flat_map(|of_vrf| overlapping(of_vrf, *subnet));
                let gateways = gateways.map(|other| Claimed::GatewaySubnet(vrf.clone(), other));
                gateways.chain(subnets(*subnet)).chain(self.reserved(*subnet)).collect()
            }
            Claimed::Reserved(prefix) => subnets(*prefix).collect(),
            // One may be in the namespace of the other. NICs of two Underlays are no conflict of their own.
            Claimed::Vrf(vrf) => {
                let nic = vrf.as_str().parse().ok().map(Claimed::Nic);
                nic.into_iter().chain([Claimed::Vrf(vrf.clone())]).collect()
            }
            Claimed::Nic(nic) => nic.as_str().parse().ok().map(Claimed::Vrf).into_iter().collect(),
            other => vec![other.clone()],
        };
        wanted.into_iter().filter_map(|claimed| self.claimed.get_key_value(&claimed))
    }

    fn reserved(&self, subnet: IpNet) -> impl Iterator<Item = Claimed> {
        self.reserved.iter().filter(move |prefix| overlap(prefix, &subnet)).copied().map(Claimed::Reserved)
    }
}

/// Those of `subnets` that contain `subnet` or are contained in it.
fn overlapping(subnets: &BTreeMap<IpAddr, IpNet>, subnet: IpNet) -> impl Iterator<Item = IpNet> {
    let around = subnets.range(..subnet.network()).next_back();
    let within = subnets.range(subnet.network()..=subnet.broadcast());
    let candidates = around.into_iter().chain(within).map(|(_, claimed)| *claimed);
    candidates.filter(move |other| overlap(other, &subnet))
}

/// Whether one of them contains the other.
fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn named(claimant: Claimant<'_>) -> String {
    claimant.location.map_or_else(|| claimant.object.to_string(), |at| format!("{} ({at})", claimant.object))
}

fn message(wanted: &Claimed, claimed: &Claimed, field: &str, other: &str) -> String {
    match (wanted, claimed) {
        (Claimed::Fabric, _) => {
            format!("{other} already applies to this node: delete one, or select different nodes with nodeSelector")
        }
        (Claimed::Vni(vni), _) => format!("VNI {vni} belongs to {other}: use another VNI"),
        (Claimed::Vrf(vrf), Claimed::Nic(_)) => {
            format!("{vrf} is also the name of a NIC, {field} of {other}: use another name")
        }
        (Claimed::Vrf(vrf), _) => format!("VRF {vrf} belongs to {other}: use another name"),
        (Claimed::HostBridge(name), _) => {
            format!("bridge {name} belongs to {other}, and one bridge would join both segments: use another bridge")
        }
        (Claimed::Nic(name), _) => format!("{name} is also the name of a VRF, of {other}: rename the VRF"),
        (
            Claimed::Subnet(subnet) | Claimed::Reserved(subnet) | Claimed::GatewaySubnet(_, subnet),
            Claimed::Subnet(other_subnet) | Claimed::Reserved(other_subnet) | Claimed::GatewaySubnet(_, other_subnet),
        ) => format!("{subnet} overlaps {other_subnet}, {field} of {other}: use another subnet"),
        (Claimed::Subnet(subnet) | Claimed::Reserved(subnet) | Claimed::GatewaySubnet(_, subnet), _) => {
            format!("{subnet} belongs to {other}: use another subnet")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::object::Kind;

    fn object(name: &str) -> ObjectRef {
        ObjectRef { kind: Kind::L3VNI, namespace: "default".into(), name: name.into() }
    }

    fn subnet(text: &str) -> Claim {
        Claim::new(Claimed::Subnet(text.parse().unwrap()), "spec.localcidr.ipv4")
    }

    #[test]
    fn a_conflict_names_both_objects_and_their_locations() {
        let (red, blue) = (object("red"), object("blue"));
        let at = |line| Location { file: "a.yaml".into(), line };
        let (first, second) = (at(3), at(20));
        let mut claims = Claims::default();
        claims.add(Claimant { object: &red, location: Some(&first) }, vec![subnet("10.0.0.0/8")]);
        let claimant = Claimant { object: &blue, location: Some(&second) };
        let found: Vec<String> =
            claims.conflicts(claimant, &[subnet("10.1.0.0/16")]).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            ["a.yaml:20: L3VNI default/blue: spec.localcidr.ipv4: 10.1.0.0/16 overlaps 10.0.0.0/8, \
              spec.localcidr.ipv4 of L3VNI default/red (a.yaml:3): use another subnet"]
        );
    }

    #[test]
    fn a_subnet_conflicts_with_reserved_prefixes_which_may_overlap_each_other() {
        let (underlay, red) = (object("underlay"), object("red"));
        let reserved = |text: &str| Claim::new(Claimed::Reserved(text.parse().unwrap()), "spec.protectedPrefixes");
        let mut claims = Claims::default();
        let claimant = Claimant { object: &underlay, location: None };
        claims.add(claimant, vec![reserved("10.0.0.0/8"), reserved("10.96.0.0/12"), reserved("fd00::/16")]);
        let claimant = Claimant { object: &red, location: None };
        let count = |claim: Claim| claims.conflicts(claimant, &[claim]).len();
        assert_eq!(count(subnet("10.97.0.0/24")), 2);
        assert_eq!(count(subnet("10.1.0.0/24")), 1);
        assert_eq!(count(subnet("11.0.0.0/24")), 0);
        assert_eq!(count(reserved("10.0.0.0/9")), 0);
    }

    #[test]
    fn gateway_subnets_are_disjoint_within_a_vrf_and_from_session_subnets() {
        let (underlay, red, blue) = (object("underlay"), object("red"), object("blue"));
        let gateway = |vrf: &str, text: &str| {
            Claim::new(Claimed::GatewaySubnet(vrf.parse().unwrap(), text.parse().unwrap()), "spec.gatewayIPs[0]")
        };
        let mut claims = Claims::default();
        let reserved = Claim::new(Claimed::Reserved("10.96.0.0/12".parse().unwrap()), "spec.protectedPrefixes[0]");
        claims.add(Claimant { object: &underlay, location: None }, vec![reserved]);
        claims.add(
            Claimant { object: &red, location: None },
            vec![subnet("192.168.0.0/24"), gateway("red", "10.1.0.0/24")],
        );
        let claimant = Claimant { object: &blue, location: None };
        let count = |claim: Claim| claims.conflicts(claimant, &[claim]).len();
        assert_eq!(count(gateway("red", "10.1.0.0/16")), 1);
        assert_eq!(count(gateway("blue", "10.1.0.0/16")), 0, "of another VRF");
        assert_eq!(count(gateway("blue", "192.168.0.0/16")), 1, "the hosts of all VRFs are one node");
        assert_eq!(count(gateway("blue", "10.97.0.0/24")), 1, "protected");
        assert_eq!(count(gateway("red", "10.2.0.0/24")), 0);
        let message = &claims.conflicts(claimant, &[gateway("red", "10.1.0.0/16")])[0].message;
        assert_eq!(
            message,
            "10.1.0.0/16 overlaps 10.1.0.0/24, spec.gatewayIPs[0] of L3VNI default/red: use another subnet"
        );
    }

    #[test]
    fn of_many_conflicts_of_a_claim_a_few_are_reported() {
        let red = object("red");
        let claimant = Claimant { object: &red, location: None };
        let mut claims = Claims::default();
        claims.add(claimant, (0..200).map(|n| subnet(&format!("10.0.{n}.0/24"))).collect());
        let found = claims.conflicts(claimant, &[subnet("10.0.0.0/8"), subnet("10.0.0.0/16")]);
        assert_eq!(found.len(), 2 * MAX_CONFLICTS);
        assert!(found[0].message.contains(" overlaps 10.0.0.0/24"), "{found:?}");
    }

    #[test]
    fn a_subnet_conflicts_with_the_one_around_it_and_with_all_within_it() {
        let red = object("red");
        let claimant = Claimant { object: &red, location: None };
        let mut claims = Claims::default();
        claims.add(claimant, vec![subnet("10.1.0.0/16"), subnet("10.2.0.0/16"), subnet("10.4.0.0/16")]);
        let count = |text: &str| claims.conflicts(claimant, &[subnet(text)]).len();
        assert_eq!(count("10.0.0.0/14"), 2);
        assert_eq!(count("10.2.3.0/24"), 1);
        assert_eq!(count("10.2.0.0/16"), 1);
        assert_eq!(count("10.3.0.0/16"), 0);
    }
}
