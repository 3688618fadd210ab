//! Accepted Underlays whose VTEPs the fabric does not learn. In: a valid Underlay. Out: fields and messages. It must not reject
//! anything. Pure.

use super::validate::ValidUnderlay;
use crate::types::Family;

/// VTEPs of a family that no neighbor carries.
pub(super) fn not_advertised(underlay: &ValidUnderlay) -> Vec<(String, String)> {
    let is_carried = |family: Family| underlay.neighbors.keys().any(|peer| peer.carries(family));
    let of_pool = |(pool, field): (&ipnet::IpNet, &&str)| {
        let is_lost = !underlay.neighbors.is_empty() && !is_carried(Family::of(pool));
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
            serde_json::from_value(json!({"asn": 64512, "address": address, "ebgpMultiHop": {}})).unwrap()
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
}
