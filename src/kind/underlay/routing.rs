//! The FRR configuration of an Underlay. In: a valid Underlay. Out: the default BGP instance as typed values, and the prefixes
//! that no host may advertise. It must not contain FRR syntax. Pure.

use std::collections::BTreeMap;

use ipnet::IpNet;

use super::validate::ValidUnderlay;
use crate::frr::model::{Peer, UnderlayInstance};

/// The default BGP instance.
pub(super) fn instance(underlay: &ValidUnderlay) -> UnderlayInstance {
    UnderlayInstance {
        asn: underlay.asn,
        router_id: underlay.router_id,
        neighbors: underlay.neighbors.clone(),
        networks: [IpNet::from(underlay.vtep)].into(),
        kept_from_hosts: BTreeMap::new(),
        graceful_restart: underlay.graceful_restart.clone(),
    }
}

/// What the underlay depends on: the VTEPs and the addresses of its neighbors.
pub(super) fn protected(underlay: &ValidUnderlay) -> Vec<IpNet> {
    let fabric_peers = underlay.neighbors.keys().filter_map(|peer| match peer {
        Peer::Address(ip) => Some(IpNet::from(*ip)),
        Peer::Interface(_) => None,
    });
    std::iter::once(underlay.vtep_pool).chain(fabric_peers).collect()
}
