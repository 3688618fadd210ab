//! Check of packet filters: tables of others in the namespaces of the router that drop packets. Which packets is not judged: it is a
//! warning. In: [`Facts`]. Out: [`Finding`]s. Pure.

use std::collections::BTreeSet;

use super::facts::Facts;
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use crate::kernel::nftables::others::DroppingTable;
use crate::types::VrfName;

/// What to do about them.
const REMEDY: &str = "remove them, or have them accept VXLAN (UDP 4789, or spec.vxlanport), BGP (TCP 179), BFD (UDP 3784 and 4784), ARP, \
                      ICMP, ICMPv6 and what the VRFs forward";

/// One of each namespace.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    facts.packet_filters.iter().map(|(vrf, tables)| finding(vrf.as_ref(), tables)).collect()
}

fn finding(vrf: Option<&VrfName>, tables: &BTreeSet<DroppingTable>) -> Finding {
    Finding::new(FindingSeverity::Warning, Area::Links, FindingKind::PacketFilter, what(vrf, tables))
        .at(Place { vrf: vrf.cloned(), ..Place::default() })
        .shown_by(format!("{EVIDENCE} in that namespace"))
        .remedied_by(REMEDY)
}

/// What is there.
pub(super) fn what(vrf: Option<&VrfName>, tables: &BTreeSet<DroppingTable>) -> String {
    let place = vrf.map_or_else(|| "the router".to_owned(), |vrf| format!("VRF {vrf}"));
    let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
    format!(
        "nftables that are not from perouter drop packets in the namespace of {place}: table {}",
        names.join(", table ")
    )
}

/// The command that shows them.
pub(super) const EVIDENCE: &str = "nft list ruleset";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_of_a_namespace_are_one_finding() {
        let table = |family, name: &str| DroppingTable { family, name: name.to_owned() };
        let of_router = (None, [table("inet", "firewall")].into());
        let of_vrf = ("red".parse().ok(), [table("ip", "filter"), table("ip6", "filter")].into());
        let facts = Facts { packet_filters: [of_router, of_vrf].into(), ..Facts::default() };
        let shown = |Finding { place, what, .. }: &Finding| format!("[{place}] {what}");
        let found = findings(&facts);
        let expected = [
            "[] nftables that are not from perouter drop packets in the namespace of the router: table inet firewall",
            "[VRF red] nftables that are not from perouter drop packets in the namespace of VRF red: table ip filter, table ip6 filter",
        ];
        assert_eq!(found.iter().map(shown).collect::<Vec<_>>(), expected);
        assert!(found.iter().all(|finding| finding.is_problem() && !finding.degrades()));
    }
}
