//! Check of packet filters: tables of others in the namespaces of the router that drop packets. Which packets is not judged: it is a
//! warning. In: [`Facts`]. Out: [`Finding`]s. Pure.

use super::facts::{Facts, PacketFilters};
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use crate::types::VrfName;

/// What to do about them.
const REMEDY: &str = "remove them, or have them accept VXLAN (UDP 4789, or spec.vxlanport), BGP (TCP 179), BFD (UDP 3784 and 4784), ARP, \
                      ICMP, ICMPv6 and what the VRFs forward";

/// One of each namespace.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    facts.packet_filters.iter().map(|(vrf, filters)| finding(vrf.as_ref(), filters)).collect()
}

fn finding(vrf: Option<&VrfName>, filters: &PacketFilters) -> Finding {
    Finding::new(FindingSeverity::Warning, Area::Links, FindingKind::PacketFilter, what(vrf, filters))
        .at(Place { vrf: vrf.cloned(), ..Place::default() })
        .shown_by(evidence(filters))
        .remedied_by(REMEDY)
}

/// What is there.
pub(super) fn what(vrf: Option<&VrfName>, filters: &PacketFilters) -> String {
    let place = vrf.map_or_else(|| "the router".to_owned(), |vrf| format!("VRF {vrf}"));
    format!(
        "tables of nftables that are not from perouter may drop packets in the namespace of {place}: {}",
        tables(filters)
    )
}

/// The same within a sentence.
pub(super) fn named(vrf: Option<&VrfName>, filters: &PacketFilters) -> String {
    let place = vrf.map_or_else(|| "this router".to_owned(), |vrf| format!("VRF {vrf} of this router"));
    format!("the packet filter in the namespace of {place}, tables of nftables: {}", tables(filters))
}

fn tables(filters: &PacketFilters) -> String {
    filters.tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The command that shows them.
pub(super) fn evidence(filters: &PacketFilters) -> String {
    format!("nsenter --net={} nft list ruleset", filters.netns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::nftables::others::DroppingTable;

    #[test]
    fn the_tables_of_a_namespace_are_one_finding() {
        let table = |family, name: &str| DroppingTable { family, name: name.to_owned() };
        let of_router = PacketFilters { netns: "/r".into(), tables: [table("inet", "firewall")].into() };
        let of_vrf =
            PacketFilters { netns: "/v".into(), tables: [table("ip", "filter"), table("ip6", "filter")].into() };
        let facts =
            Facts { packet_filters: [(None, of_router), ("red".parse().ok(), of_vrf)].into(), ..Facts::default() };
        let shown = |Finding { place, what, evidence, .. }: &Finding| format!("[{place}] {what}; {evidence}");
        let found = findings(&facts);
        let expected = [
            "[] tables of nftables that are not from perouter may drop packets in the namespace of the router: inet firewall; nsenter --net=/r \
             nft list ruleset",
            "[VRF red] tables of nftables that are not from perouter may drop packets in the namespace of VRF red: ip filter, ip6 filter; \
             nsenter --net=/v nft list ruleset",
        ];
        assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|finding| finding.is_problem() && !finding.degrades()));
    }
}
