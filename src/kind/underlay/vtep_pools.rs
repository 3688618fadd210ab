//! Which pools VTEPs may be taken from. In: pools, neighbors, and what the node has of the NICs. Out: why a pool cannot be used: a VTEP
//! would be the address of a neighbor, or in the subnet of a NIC, where a leaf or another host may have it. A pool may have the
//! subnets of links beyond the addresses that nodes take from its begin, as 10.0.0.0/8 may. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::spec::UnderlaySpec;
use crate::kind::check::{Check, Standing};
use crate::kind::ipam;
use crate::kind::object::Reason;
use crate::types::IfName;

/// Rejects pools with their fields. Returns what is to be known about those of an object in force, which no upgrade and no address that
/// the node gets later takes down.
pub(super) fn examine(
    spec: &UnderlaySpec,
    pools: &BTreeMap<IpNet, &'static str>,
    check: &mut Check<'_>,
) -> Vec<(String, String)> {
    let mut notes = Vec::new();
    for (pool, field) in pools {
        let Some(why) = with_nic(spec, pool, check).or_else(|| with_neighbor(spec, pool, check.node.index)) else {
            continue;
        };
        if check.node.standing == Standing::InForce {
            notes.push(((*field).to_owned(), why));
        } else {
            check.reject(Reason::Conflict, field, why);
        }
    }
    notes
}

/// Why a pool cannot be used beside the subnets of the NICs.
fn with_nic(spec: &UnderlaySpec, pool: &IpNet, check: &Check<'_>) -> Option<String> {
    let observed = check.node.nics?;
    let named = spec.nics.iter().enumerate();
    let mut found = named.filter_map(|(place, name)| Some((place, observed.get(&name.parse::<IfName>().ok()?)?)));
    found.find_map(|(place, nic)| {
        let subnets: BTreeSet<IpNet> = nic.addresses.iter().map(IpNet::trunc).collect();
        let with_index = |subnet: IpNet| Some((subnet, ipam::first_vtep_in(&subnet, pool, check.node.index)?));
        let (subnet, index) = subnets.into_iter().find_map(with_index)?;
        let (name, remedy) = (&nic.name, remedy(pool));
        Some(format!(
            "{pool} overlaps {subnet}, the subnet of NIC {name} (spec.nics[{place}]), so that a leaf or another host may have the \
             VTEP of the node with index {index}: {remedy}"
        ))
    })
}

/// Why a pool cannot be used beside the neighbors. `own`: the index of this node.
fn with_neighbor(spec: &UnderlaySpec, pool: &IpNet, own: u32) -> Option<String> {
    let addresses = spec.neighbors.iter().map(|neighbor| neighbor.address.as_ref()?.parse::<IpAddr>().ok());
    addresses.enumerate().find_map(|(place, address)| {
        let address = address?;
        let (index, remedy) = (ipam::first_vtep_in(&address.into(), pool, own)?, remedy(pool));
        Some(format!(
            "{pool} has {address}, the address of spec.neighbors[{place}], which would be the VTEP of the node with index {index}: \
             {remedy}"
        ))
    })
}

fn remedy(pool: &IpNet) -> String {
    let example = match pool {
        IpNet::V4(_) => "100.65.0.0/24",
        IpNet::V6(_) => "2001:db8:65::/64",
    };
    format!("use a pool of addresses that nothing else in the fabric has, such as {example}")
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use crate::frr::release::FRR_10_7;
    use crate::kernel::model::NicFacts;
    use crate::kind::UnderlaySpec;
    use crate::kind::object::Reason;
    use crate::plan::last_accepted::{LastAccepted, plan_with_last_accepted};
    use crate::plan::tests::{edit_underlay, facts, snapshot};
    use crate::plan::{NodeFacts, plan};
    use crate::snapshot::Snapshot;

    const LEAF: &str = "spec.neighbors[0]";
    const NIC: &str = "the subnet of NIC toswitch (spec.nics[0])";

    fn objects(pools: [&str; 2], leaf: &str) -> Snapshot {
        let mut snapshot = snapshot(vec![]);
        let neighbor = json!({"asn": 64512, "address": leaf});
        edit_underlay(&mut snapshot, |spec: &mut UnderlaySpec| {
            spec.vtepcidr = pools[0].to_owned();
            spec.vtepcidr6 = Some(pools[1].to_owned()).filter(|pool| !pool.is_empty());
            spec.neighbors = vec![serde_json::from_value(neighbor).unwrap()];
        });
        snapshot
    }

    fn node(addresses: &[&str]) -> NodeFacts {
        let name: crate::types::IfName = "toswitch".parse().unwrap();
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let nic = NicFacts { addresses, ..NicFacts::unused(name.clone(), 9000) };
        NodeFacts { nics: Some([(name, nic)].into()), ..facts() }
    }

    /// The pools, the neighbor, the addresses of the NIC, and of the rejection the field, a part and the index of the node.
    #[rstest]
    #[case::free(["100.65.0.0/24", ""], "192.168.11.2", Some(vec!["192.168.11.4/24", "fe80::1/64"]), None)]
    #[case::subnet_of_the_nic(["192.168.11.0/24", ""], "192.168.11.2", Some(vec!["192.168.11.4/24"]), Some(("vtepcidr", NIC, 0)))]
    #[case::without_the_node(["192.168.11.0/24", ""], "192.168.11.2", None, Some(("vtepcidr", LEAF, 1)))]
    #[case::part_of_the_subnet(["192.168.11.128/25", ""], "192.168.11.2", Some(vec!["192.168.11.4/24"]), Some(("vtepcidr", NIC, 0)))]
    #[case::larger(["192.168.0.0/16", ""], "192.168.11.2", Some(vec!["192.168.11.4/24"]), Some(("vtepcidr", NIC, 2815)))]
    #[case::links_beyond_the_nodes(["192.0.0.0/8", ""], "192.168.11.2", Some(vec!["192.168.11.4/24"]), None)]
    #[case::reflector(["100.65.0.0/24", ""], "100.65.0.250", None, Some(("vtepcidr", LEAF, 249)))]
    #[case::both_families(
        ["100.65.0.0/24", "2001:db8:11::/64"], "2001:db8:11::2", Some(vec!["2001:db8:11::4/64"]), Some(("vtepcidr6", NIC, 0)),
    )]
    #[case::ipv6_neighbor(["2001:db8:11::/64", ""], "2001:db8:11::2", None, Some(("vtepcidr", LEAF, 1)))]
    fn no_node_has_a_vtep_that_others_have(
        #[case] pools: [&str; 2],
        #[case] leaf: &str,
        #[case] addresses: Option<Vec<&str>>,
        #[case] expected: Option<(&str, &str, u32)>,
    ) {
        let facts = addresses.map_or_else(|| NodeFacts { nics: None, ..facts() }, |addresses| node(&addresses));
        let facts = NodeFacts { release: FRR_10_7, ..facts };
        let plan = plan(&objects(pools, leaf), &facts);
        let found: Vec<_> = plan.rejected.iter().map(|r| (r.reason, r.field.as_str(), r.message.as_str())).collect();
        let Some((field, part, index)) = expected else { return assert_eq!(found, []) };
        assert_eq!(found.len(), 1, "{found:?}");
        let (reason, found_field, message) = found[0];
        assert_eq!((reason, found_field), (Reason::Conflict, format!("spec.{field}").as_str()));
        assert!(message.contains(part) && message.contains(&format!("the node with index {index}: use")), "{message}");
    }

    #[test]
    fn what_is_in_force_stays() {
        let (mut accepted, objects) = (LastAccepted::default(), objects(["192.168.11.0/24", ""], "192.168.11.2"));
        let rejected = plan_with_last_accepted(&objects, &node(&["192.168.11.4/24"]), &mut accepted);
        assert_eq!(
            rejected.rejected.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "Underlay openperouter-system/underlay: spec.vtepcidr: 192.168.11.0/24 overlaps 192.168.11.0/24, the subnet of NIC \
                 toswitch (spec.nics[0]), so that a leaf or another host may have the VTEP of the node with index 0: use a pool \
                 of addresses that nothing else in the fabric has, such as 100.65.0.0/24"
            ]
        );
        let other = self::objects(["192.168.11.0/24", ""], "192.168.12.2");
        let before = plan_with_last_accepted(&other, &node(&["192.168.12.4/24"]), &mut accepted);
        assert_eq!(before.rejected, []);
        let after = plan_with_last_accepted(&other, &node(&["192.168.12.4/24", "192.168.11.4/24"]), &mut accepted);
        assert_eq!((after.rejected.as_slice(), after.kernel), ([].as_slice(), before.kernel));
        assert!(after.notes.iter().any(|note| note.field == "spec.vtepcidr"), "{:?}", after.notes);
    }
}
