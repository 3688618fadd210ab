//! Check of packet filters: tables of others that drop packets in the namespaces of the router. Which packets is not judged: it is a
//! warning. In: [`Facts`]. Out: [`Finding`]s. Pure.

use super::facts::Facts;
use super::finding::{Area, Finding, FindingKind, FindingSeverity, Place};
use crate::kernel::nftables::others::DroppingTable;
use crate::types::VrfName;

/// What to do about one.
const REMEDY: &str = "remove the table, or have it accept VXLAN (UDP 4789), BGP (TCP 179), BFD (UDP 3784 and 4784), ARP and ICMP, and what \
                      the VRFs forward";

/// All of them.
pub(super) fn findings(facts: &Facts) -> Vec<Finding> {
    let all = facts.packet_filters.iter();
    all.flat_map(|(vrf, tables)| tables.iter().map(move |table| finding(vrf.as_ref(), table))).collect()
}

fn finding(vrf: Option<&VrfName>, table: &DroppingTable) -> Finding {
    Finding::new(FindingSeverity::Warning, Area::Links, FindingKind::PacketFilter, what(vrf, table))
        .at(Place { vrf: vrf.cloned(), ..Place::default() })
        .shown_by(evidence(table))
        .remedied_by(REMEDY)
}

/// What is there.
pub(super) fn what(vrf: Option<&VrfName>, table: &DroppingTable) -> String {
    let place =
        vrf.map_or_else(|| "the namespace of the router".to_owned(), |vrf| format!("the namespace of VRF {vrf}"));
    format!("the table {table} of nftables, which is not from perouter, drops packets in {place}")
}

/// The command that shows it, in its namespace.
pub(super) fn evidence(table: &DroppingTable) -> String {
    format!("nft list table {table}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_table_is_a_finding_of_its_namespace() {
        let table = |family, name: &str| DroppingTable { family, name: name.to_owned() };
        let of_router = (None, [table("inet", "firewall")].into());
        let of_vrf = ("red".parse().ok(), [table("ip", "filter"), table("ip6", "filter")].into());
        let facts = Facts { packet_filters: [of_router, of_vrf].into(), ..Facts::default() };
        let shown = |Finding { place, what, evidence, .. }: &Finding| format!("[{place}] {what}; {evidence}");
        let of = |family: &str| {
            format!(
                "[VRF red] the table {family} filter of nftables, which is not from perouter, drops packets in the namespace of VRF red; \
                 nft list table {family} filter"
            )
        };
        let router = "[] the table inet firewall of nftables, which is not from perouter, drops packets in the namespace of the router; nft \
                      list table inet firewall";
        let found: Vec<String> = findings(&facts).iter().map(shown).collect();
        assert_eq!(found, [router.to_owned(), of("ip"), of("ip6")]);
        assert!(findings(&facts).iter().all(|finding| finding.is_problem() && !finding.degrades()));
    }
}
