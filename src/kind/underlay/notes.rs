//! Accepted Underlays whose VTEPs the fabric does not learn. In: a valid Underlay. Out: fields and messages. It must not reject
//! anything. Pure.

use super::validate::ValidUnderlay;
use crate::types::Family;

/// VTEPs of a family that no neighbor carries.
pub(super) fn not_advertised(underlay: &ValidUnderlay) -> Vec<(String, String)> {
    if underlay.neighbors.is_empty() {
        return vec![];
    }
    let peers: Vec<_> = underlay.neighbors.iter().filter(|(_, neighbor)| neighbor.has_unicast()).collect();
    if peers.is_empty() {
        let message = "the session with each neighbor starts from the VTEP and carries L2VPN EVPN alone, so that the VTEP is not \
                       advertised: add the leaf of this node as a neighbor on its link, have the fabric route vtepcidr to it, or \
                       set `updateSource: NIC` for a neighbor that has the address of the NIC";
        return vec![("spec.neighbors".to_owned(), message.to_owned())];
    }
    let is_carried = |family: Family| peers.iter().any(|(peer, _)| peer.carries(family));
    let of_pool = |(pool, field): (&ipnet::IpNet, &&str)| {
        let is_lost = !is_carried(Family::of(pool));
        let message = "no neighbor carries IPv6 routes, so that the IPv6 VTEP is not advertised: add a neighbor with an IPv6 \
                       address or an interface";
        is_lost.then(|| ((*field).to_owned(), message.to_owned()))
    };
    underlay.vtep_pools.iter().filter_map(of_pool).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::frr::release::FRR_10_7;
    use crate::kind::underlay::NeighborSpec;
    use crate::plan::tests::{edit_underlay, facts, snapshot};
    use crate::plan::{NodeFacts, plan};

    #[rstest]
    #[case("100.65.0.0/24", None, &["192.168.11.2"], &[])]
    #[case("100.65.0.0/24", Some("2001:db8:65::/64"), &["192.168.11.2"], &["spec.vtepcidr6"])]
    #[case("2001:db8:65::/64", None, &["192.168.11.2"], &["spec.vtepcidr"])]
    #[case("100.65.0.0/24", Some("2001:db8:65::/64"), &["192.168.11.2", "2001:db8:11::2"], &[])]
    #[case("100.65.0.0/24", Some("2001:db8:65::/64"), &[], &[])]
    fn a_vtep_that_no_neighbor_carries_is_named(
        #[case] pool: &str,
        #[case] pool6: Option<&str>,
        #[case] neighbors: &[&str],
        #[case] fields: &[&str],
    ) {
        let mut snapshot = snapshot(vec![]);
        let neighbor = |address: &&str| -> NeighborSpec {
            serde_json::from_value(json!({"asn": 64512, "address": address, "ebgpMultiHop": {}, "updateSource": "NIC"}))
                .unwrap()
        };
        edit_underlay(&mut snapshot, |spec| {
            (spec.vtepcidr, spec.vtepcidr6) = (pool.to_owned(), pool6.map(str::to_owned));
            spec.neighbors = neighbors.iter().map(neighbor).collect();
        });
        let plan = plan(&snapshot, &NodeFacts { release: FRR_10_7, ..facts() });
        assert_eq!(plan.rejected, vec![]);
        let found: Vec<_> = plan.notes.iter().filter(|note| note.message.contains("carries IPv6")).collect();
        assert!(found.iter().map(|note| note.field.as_str()).eq(fields.iter().copied()), "{:#?}", plan.notes);
        let underlay = plan.frr.underlay.unwrap();
        assert_eq!(underlay.networks.len(), 1 + usize::from(pool6.is_some()));
    }

    #[rstest]
    #[case::loopbacks_alone(&[json!({"asn": 64612, "address": "100.64.0.254", "ebgpMultiHop": {}})], true)]
    #[case::from_the_nic(&[json!({"asn": 64612, "address": "100.64.0.254", "ebgpMultiHop": {}, "updateSource": "NIC"})], false)]
    #[case::of_the_other_family(&[json!({"asn": 64612, "address": "2001:db8:64::254", "ebgpMultiHop": {}})], false)]
    #[case::beside_the_leaf(
        &[json!({"asn": 64512, "address": "192.168.11.2"}), json!({"asn": 64612, "address": "100.64.0.254", "ebgpMultiHop": {}})],
        false
    )]
    fn without_a_neighbor_on_a_link_the_vtep_is_not_advertised(
        #[case] neighbors: &[serde_json::Value],
        #[case] is_noted: bool,
    ) {
        let mut snapshot = snapshot(vec![]);
        edit_underlay(&mut snapshot, |spec| {
            spec.neighbors =
                neighbors.iter().map(|neighbor| serde_json::from_value(neighbor.clone()).unwrap()).collect();
        });
        let plan = plan(&snapshot, &facts());
        assert_eq!(plan.rejected, vec![]);
        let found: Vec<_> =
            plan.notes.iter().filter(|note| note.message.contains("carries L2VPN EVPN alone")).collect();
        assert_eq!(
            found.iter().map(|note| note.field.as_str()).collect::<Vec<_>>(),
            vec!["spec.neighbors"; is_noted.into()]
        );
    }
}
