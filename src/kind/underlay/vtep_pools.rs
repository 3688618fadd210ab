//! Which pools VTEPs may be taken from. In: pools, neighbors, and what the node has of the NICs. Out: why a pool cannot be used: the
//! VTEP of this node would be the address of a neighbor. Or what is to be known about it: the VTEP is in the subnet of a NIC, where a
//! leaf or another host may have it. A pool may have the subnets of links beyond the addresses that nodes take from its begin, as
//! 10.0.0.0/8 may. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::spec::UnderlaySpec;
use crate::kind::check::Check;
use crate::kind::ipam;
use crate::kind::object::Reason;
use crate::types::IfName;

/// Rejects pools of which this node would take the address of a neighbor, with their fields. Returns what is to be known about the
/// others: of this node the subnets of its NICs, and where the node is not at hand the neighbors of which another node would take the
/// address.
pub(super) fn examine(
    spec: &UnderlaySpec,
    pools: &BTreeMap<IpNet, &'static str>,
    check: &mut Check<'_>,
) -> Vec<(String, String)> {
    let (mut notes, own) = (Vec::new(), check.node.index);
    for (pool, field) in pools {
        let (of_this_node, of_others): (Vec<_>, Vec<_>) =
            with_neighbors(spec, pool, own).into_iter().partition(|(index, _)| *index == own);
        let noted = with_nic(spec, pool, check).or_else(|| {
            let other = of_others.into_iter().next().filter(|_| check.node.nics.is_none());
            other.map(|(_, why)| why)
        });
        match of_this_node.into_iter().next() {
            Some((_, why)) => check.reject(Reason::Conflict, field, why),
            None => notes.extend(noted.map(|why| ((*field).to_owned(), why))),
        }
    }
    notes
}

/// Why the VTEP of this node may be that of somebody else: it is in the subnet of a NIC.
fn with_nic(spec: &UnderlaySpec, pool: &IpNet, check: &Check<'_>) -> Option<String> {
    let (observed, vtep) = (check.node.nics?, ipam::vtep(pool, check.node.index).ok()?);
    let named = spec.nics.iter().enumerate();
    let mut found = named.filter_map(|(place, name)| Some((place, observed.get(&name.parse::<IfName>().ok()?)?)));
    found.find_map(|(place, nic)| {
        let subnet = nic.addresses.iter().find(|address| address.contains(&vtep))?.trunc();
        let (name, remedy) = (&nic.name, remedy(pool));
        Some(format!(
            "the VTEP {vtep} is in {subnet}, the subnet of NIC {name} (spec.nics[{place}]), where a leaf or another host may have it: \
             {remedy}"
        ))
    })
}

/// The neighbors whose address a node would take, each with the index of that node, this one first, and the reason.
fn with_neighbors(spec: &UnderlaySpec, pool: &IpNet, own: u32) -> Vec<(u32, String)> {
    let addresses = spec.neighbors.iter().map(|neighbor| neighbor.address.as_ref()?.parse::<IpAddr>().ok());
    let of_neighbor = |(place, address): (usize, Option<IpAddr>)| {
        let address = address?;
        let (index, remedy) = (ipam::first_vtep_in(&address.into(), pool, own)?, remedy(pool));
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

    /// What is found of the pools of the node with index 1: the field, whether it is rejected, and a part of the message.
    #[rstest]
    #[case::free(["100.65.0.0/24", ""], "192.168.11.2", &["192.168.11.4/24", "fe80::1/64"], None)]
    #[case::the_leaf(["192.168.12.0/24", ""], "192.168.12.2", &["192.168.11.4/24"], Some(("vtepcidr", true, LEAF)))]
    #[case::of_another_node(["192.168.12.0/24", ""], "192.168.12.9", &["192.168.11.4/24"], None)]
    #[case::ipv6_neighbor(["2001:db8:11::/64", ""], "2001:db8:11::2", &["192.168.11.4/24"], Some(("vtepcidr", true, LEAF)))]
    #[case::subnet_of_the_nic(["192.168.11.0/24", ""], "192.168.11.9", &["10.0.0.1/24", "192.168.11.4/24"], Some(("vtepcidr", false, NIC)))]
    #[case::part_of_the_subnet(["192.168.11.128/25", ""], "192.168.11.2", &["192.168.11.4/24"], Some(("vtepcidr", false, NIC)))]
    #[case::larger(["192.168.0.0/16", ""], "192.168.11.2", &["192.168.11.4/24"], None)]
    #[case::both_families(
        ["100.65.0.0/24", "2001:db8:11::/64"], "2001:db8:11::9", &["2001:db8:11::4/64"], Some(("vtepcidr6", false, NIC)),
    )]
    fn a_vtep_that_others_may_have_is_found(
        #[case] pools: [&str; 2],
        #[case] leaf: &str,
        #[case] addresses: &[&str],
        #[case] expected: Option<(&str, bool, &str)>,
    ) {
        let facts = NodeFacts { release: FRR_10_7, ..node(addresses) };
        let plan = plan(&objects(pools, leaf), &facts);
        // A NIC without an address in the subnet of the neighbor is another rejection.
        let rejected = plan.rejected.iter().map(|r| (r.field.as_str(), true, r.message.as_str()));
        let noted = plan.notes.iter().map(|note| (note.field.as_str(), false, note.message.as_str()));
        let found: Vec<_> = rejected.chain(noted).filter(|(field, ..)| field.starts_with("spec.vtepcidr")).collect();
        let Some((field, is_rejected, part)) = expected else { return assert_eq!(found, []) };
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].0, found[0].1), (format!("spec.{field}").as_str(), is_rejected), "{found:?}");
        assert!(found[0].2.contains(part), "{found:?}");
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
}
