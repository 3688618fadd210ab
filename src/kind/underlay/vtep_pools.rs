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

/// Rejects pools of which this node would take such a VTEP, with their fields. Returns what is to be known about those of an object in
/// force, which no upgrade and no address that the node gets later takes down, and where the node is not at hand about those of which
/// another node would.
pub(super) fn examine(
    spec: &UnderlaySpec,
    pools: &BTreeMap<IpNet, &'static str>,
    check: &mut Check<'_>,
) -> Vec<(String, String)> {
    let mut notes = Vec::new();
    for (pool, field) in pools {
        let found = with_nic(spec, pool, check).into_iter().chain(with_neighbors(spec, pool, check.node.index));
        let (own, others): (Vec<_>, Vec<_>) = found.partition(|(index, _)| *index == check.node.index);
        let is_in_force = check.node.standing == Standing::InForce;
        match (own.into_iter().next(), others.into_iter().next()) {
            (Some((_, why)), _) if !is_in_force => check.reject(Reason::Conflict, field, why),
            (Some((_, why)), _) => notes.push(((*field).to_owned(), why)),
            (None, Some((_, why))) if check.node.nics.is_none() => notes.push(((*field).to_owned(), why)),
            (None, _) => {}
        }
    }
    notes
}

/// The index of a node whose VTEP is in `subnet`, this node first.
fn index_in(subnet: &IpNet, pool: &IpNet, own: u32) -> Option<u32> {
    let is_own = ipam::vtep(pool, own).is_ok_and(|vtep| subnet.contains(&vtep));
    if is_own { Some(own) } else { ipam::first_vtep_in(subnet, pool, own) }
}

/// Why a pool cannot be used beside the subnets of the NICs, and the index of the node that cannot.
fn with_nic(spec: &UnderlaySpec, pool: &IpNet, check: &Check<'_>) -> Option<(u32, String)> {
    let observed = check.node.nics?;
    let named = spec.nics.iter().enumerate();
    let mut found = named.filter_map(|(place, name)| Some((place, observed.get(&name.parse::<IfName>().ok()?)?)));
    found.find_map(|(place, nic)| {
        let subnets: BTreeSet<IpNet> = nic.addresses.iter().map(IpNet::trunc).collect();
        let with_index = |subnet: IpNet| Some((subnet, index_in(&subnet, pool, check.node.index)?));
        let (subnet, index) = subnets.into_iter().find_map(with_index)?;
        let (name, remedy) = (&nic.name, remedy(pool));
        let why = format!(
            "{pool} overlaps {subnet}, the subnet of NIC {name} (spec.nics[{place}]), so that a leaf or another host may have the \
             VTEP of the node with index {index}: {remedy}"
        );
        Some((index, why))
    })
}

/// The same beside each neighbor.
fn with_neighbors(spec: &UnderlaySpec, pool: &IpNet, own: u32) -> Vec<(u32, String)> {
    let addresses = spec.neighbors.iter().map(|neighbor| neighbor.address.as_ref()?.parse::<IpAddr>().ok());
    let of_neighbor = |(place, address): (usize, Option<IpAddr>)| {
        let address = address?;
        let (index, remedy) = (index_in(&address.into(), pool, own)?, remedy(pool));
        let why = format!(
            "{pool} has {address}, the address of spec.neighbors[{place}], which would be the VTEP of the node with index {index}: \
             {remedy}"
        );
        Some((index, why))
    };
    addresses.enumerate().filter_map(of_neighbor).collect()
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

    /// The pools, the neighbor, the addresses of the NIC of the node with index 1, and of the rejection the field and a part.
    #[rstest]
    #[case::free(["100.65.0.0/24", ""], "192.168.11.2", &["192.168.11.4/24", "fe80::1/64"], None)]
    #[case::subnet_of_the_nic(["192.168.11.0/24", ""], "192.168.11.3", &["192.168.11.4/24"], Some(("vtepcidr", NIC)))]
    #[case::the_leaf(["192.168.12.0/24", ""], "192.168.12.2", &["192.168.11.4/24"], Some(("vtepcidr", LEAF)))]
    #[case::of_another_node(["192.168.12.0/24", ""], "192.168.12.9", &["192.168.11.4/24"], None)]
    #[case::part_of_the_subnet(["192.168.11.128/25", ""], "192.168.11.2", &["192.168.11.4/24"], Some(("vtepcidr", NIC)))]
    #[case::larger(["192.168.0.0/16", ""], "192.168.11.2", &["192.168.11.4/24"], None)]
    #[case::both_families(
        ["100.65.0.0/24", "2001:db8:11::/64"], "2001:db8:11::2", &["2001:db8:11::4/64"], Some(("vtepcidr6", NIC)),
    )]
    #[case::ipv6_neighbor(["2001:db8:11::/64", ""], "2001:db8:11::2", &["192.168.11.4/24"], Some(("vtepcidr", LEAF)))]
    fn this_node_has_no_vtep_that_others_may_have(
        #[case] pools: [&str; 2],
        #[case] leaf: &str,
        #[case] addresses: &[&str],
        #[case] expected: Option<(&str, &str)>,
    ) {
        let facts = NodeFacts { release: FRR_10_7, ..node(addresses) };
        let plan = plan(&objects(pools, leaf), &facts);
        // A NIC without an address in the subnet of the neighbor is another rejection.
        let of_pools = plan.rejected.iter().filter(|r| r.field.starts_with("spec.vtepcidr"));
        let found: Vec<_> = of_pools.map(|r| (r.reason, r.field.as_str(), r.message.as_str())).collect();
        let has_note = plan.notes.iter().any(|note| note.field.starts_with("spec.vtepcidr"));
        let Some((field, part)) = expected else { return assert_eq!((found, has_note), (vec![], false)) };
        assert_eq!(found.len(), 1, "{found:?}");
        let (reason, found_field, message) = found[0];
        assert_eq!((reason, found_field), (Reason::Conflict, format!("spec.{field}").as_str()));
        assert!(message.contains(part) && message.contains("the node with index 1: use"), "{message}");
    }

    #[rstest]
    #[case::free("100.65.0.0/24", "192.168.11.2", None)]
    #[case::another_node("192.168.11.0/24", "192.168.11.3", Some(2))]
    #[case::reflector("100.65.0.0/24", "100.65.0.250", Some(249))]
    #[case::links_beyond_the_nodes("192.0.0.0/8", "192.168.11.2", None)]
    fn without_the_node_the_vteps_of_all_nodes_are_examined(
        #[case] pool: &str,
        #[case] leaf: &str,
        #[case] index: Option<u32>,
    ) {
        let plan = plan(&objects([pool, ""], leaf), &NodeFacts { nics: None, ..facts() });
        assert_eq!(plan.rejected, []);
        let notes = plan.notes.iter().filter(|note| note.field == "spec.vtepcidr");
        let notes: Vec<&str> = notes.map(|note| note.message.as_str()).collect();
        assert_eq!(notes.len(), usize::from(index.is_some()), "{notes:?}");
        assert!(index.is_none_or(|index| notes[0].contains(&format!("the node with index {index}: use"))), "{notes:?}");
    }

    #[test]
    fn what_is_in_force_stays() {
        let (mut accepted, objects) = (LastAccepted::default(), objects(["192.168.11.0/24", ""], "192.168.11.2"));
        let rejected = plan_with_last_accepted(&objects, &node(&["192.168.11.4/24"]), &mut accepted);
        assert_eq!(
            rejected.rejected.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                "Underlay openperouter-system/underlay: spec.vtepcidr: 192.168.11.0/24 overlaps 192.168.11.0/24, the subnet of NIC \
                 toswitch (spec.nics[0]), so that a leaf or another host may have the VTEP of the node with index 1: use a pool \
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
