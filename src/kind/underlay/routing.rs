//! The FRR configuration of an Underlay. In: a valid Underlay. Out: the default BGP instance as typed values, and the prefixes
//! that neither a host nor the fabric may advertise. It must not contain FRR syntax. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use super::validate::ValidUnderlay;
use crate::frr::model::{Peer, PrefixListEntry, UnderlayInstance};
use crate::types::Family;

/// The default BGP instance.
pub(super) fn instance(underlay: &ValidUnderlay) -> UnderlayInstance {
    UnderlayInstance {
        asn: underlay.asn,
        router_id: underlay.router_id,
        neighbors: underlay.neighbors.clone(),
        networks: underlay.vteps.values().copied().map(IpNet::from).collect(),
        own_prefixes: own_prefixes(underlay),
        protected_prefixes: widest(protected(underlay).into_keys()),
        l2vnis: BTreeMap::new(),
        graceful_restart: underlay.graceful_restart.clone(),
    }
}

/// Prefixes that no IP-VRF may have, each with the field that protects it: the VTEPs, the links to the fabric, its BGP neighbors,
/// and what the user lists.
pub(super) fn protected(underlay: &ValidUnderlay) -> BTreeMap<IpNet, String> {
    let listed = underlay.protected_prefixes.iter().enumerate();
    let listed = listed.map(|(i, prefix)| (*prefix, format!("spec.protectedPrefixes[{i}]")));
    let peers = fabric_peers(underlay).map(|address| (IpNet::from(address), "spec.neighbors".to_owned()));
    let links = underlay.nic_addresses.iter().map(|address| (address.trunc(), "spec.nics".to_owned()));
    let vteps = underlay.vtep_pools.iter().map(|(pool, field)| (*pool, (*field).to_owned()));
    listed.chain(peers).chain(links).chain(vteps).collect()
}

/// Without those that another one covers.
fn widest(prefixes: impl Iterator<Item = IpNet>) -> BTreeSet<IpNet> {
    let all: BTreeSet<IpNet> = prefixes.collect();
    let covered = |prefix: &IpNet| all.iter().any(|other| other != prefix && other.contains(prefix));
    all.iter().filter(|prefix| !covered(prefix)).copied().collect()
}

/// The addresses of the neighbors.
fn fabric_peers(underlay: &ValidUnderlay) -> impl Iterator<Item = IpAddr> {
    underlay.neighbors.keys().filter_map(|peer| match peer {
        Peer::Address(address) => Some(*address),
        Peer::Interface(_) => None,
    })
}

/// What the fabric may not advertise in the default instance: our VTEPs, the subnets of our NICs, and in them our own addresses
/// and those of neighbors. Other single addresses in such a subnet may be loopbacks of the fabric.
fn own_prefixes(underlay: &ValidUnderlay) -> BTreeMap<Family, Vec<PrefixListEntry>> {
    let links = &underlay.nic_addresses;
    let on_link = |address: &IpAddr| links.iter().any(|link| link.contains(address));
    let peers = fabric_peers(underlay).filter(on_link);
    let addresses = links.iter().map(IpNet::addr).chain(peers).chain(underlay.vteps.values().copied());
    let addresses: BTreeSet<IpNet> = addresses.map(IpNet::from).collect();
    // The subnet of a single address is among the addresses.
    let subnets = links.iter().filter(|link| link.prefix_len() < link.max_prefix_len());
    let subnets: BTreeSet<IpNet> = subnets.map(IpNet::trunc).collect();
    let entries = subnets.into_iter().map(PrefixListEntry::within_but_hosts);
    let mut own: BTreeMap<Family, Vec<PrefixListEntry>> = BTreeMap::new();
    for entry in entries.chain(addresses.into_iter().map(PrefixListEntry::exactly)) {
        own.entry(Family::of(&entry.prefix)).or_default().push(entry);
    }
    own
}
