//! `MetalLB` with FRR-K8s, as far as one node's BGP goes.
//!
//! In: the manifests that a user applies to a cluster. Out: an [`Announcer`]: sessions, and what each is told and may
//! tell; and that as FRR configuration. It must not touch the machine, and a field that it does not play is an error:
//! a lab that leaves something out in silence proves nothing.

mod read;
mod render;
mod spec;
#[cfg(test)]
mod tests;

pub use read::{ManifestError, parse_manifests, read_manifests};
pub use render::{frr_conf, router_id};

use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What `MetalLB` and FRR-K8s would have each node do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcer {
    /// AS number of the nodes.
    pub asn: u32,
    /// Sessions by address of the neighbor.
    pub sessions: BTreeMap<IpAddr, Session>,
    /// Services of type `LoadBalancer` by name.
    pub services: BTreeMap<String, Service>,
}

/// A BGP session of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Name of the `BGPPeer`; the address where only FRR-K8s knows the neighbor.
    pub name: String,
    /// AS number of the neighbor.
    pub asn: u32,
    /// TCP port, when it is not 179.
    pub port: Option<u16>,
    /// Hold and keepalive time in seconds.
    pub timers: Option<(u64, u64)>,
    /// Seconds between attempts.
    pub connect_seconds: u64,
    /// The neighbor may be more than one hop away.
    pub multihop: bool,
    /// Take every route of the neighbor; none otherwise.
    pub receive_all: bool,
    /// Addresses in use that this session announces.
    pub announced: BTreeSet<IpNet>,
}

/// A service with its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Addresses on which it answers.
    pub addresses: Vec<IpAddr>,
    /// First port of the service.
    pub port: u16,
}

/// The host route of an address.
pub fn host_prefix(address: IpAddr) -> IpNet {
    IpNet::from(address)
}
