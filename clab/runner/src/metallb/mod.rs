//! `MetalLB` with FRR-K8s, as far as one node's BGP goes.
//!
//! In: the manifests that a user applies to a cluster. Out: an [`Announcer`]: sessions, and what each is told and may
//! tell; and that as FRR configuration. It must not touch the machine, and a field that it does not play is an error:
//! a lab that leaves something out in silence proves nothing.

mod advertise;
mod error;
mod nodes;
mod read;
mod render;
mod spec;
#[cfg(test)]
mod tests;

pub use error::ManifestError;
pub use nodes::{Labels, NodeSelectors};
pub use read::{parse_manifests, read_manifests};
pub use render::{frr_conf, router_id};

use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What `MetalLB` and FRR-K8s would have the nodes do; [`Announcer::on`] is what they would have one of them do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcer {
    /// AS number of the nodes.
    pub asn: u32,
    /// Sessions by address of the neighbor.
    pub sessions: BTreeMap<IpAddr, Session>,
    /// Services of type `LoadBalancer` by name.
    pub services: BTreeMap<String, Service>,
}

impl Announcer {
    /// The sessions and announcements of the node with this name and these labels. Its `kubernetes.io/hostname` need not
    /// be among them.
    #[must_use]
    pub fn on(&self, node: &str, labels: &Labels) -> Self {
        let mut labels = labels.clone();
        labels.entry("kubernetes.io/hostname".to_owned()).or_insert_with(|| node.to_owned());
        let mut mine = self.clone();
        mine.sessions.retain(|_, session| session.nodes.select(&labels));
        for session in mine.sessions.values_mut() {
            session.announced.retain(|announcement| announcement.nodes.select(&labels));
        }
        mine
    }

    /// VRF devices in which the nodes have sessions; `None` for those outside of any.
    pub fn vrfs(&self) -> BTreeSet<Option<&str>> {
        self.sessions.values().map(|session| session.vrf.as_deref()).collect()
    }

    /// Prefixes in a VRF that go when this service goes: those that stand for its addresses and for no other service's.
    pub fn prefixes_of(&self, service: &str, vrf: Option<&str>) -> BTreeSet<IpNet> {
        let has = |prefix: &IpNet, service: &Service| service.addresses.iter().any(|address| prefix.contains(address));
        let shared = |prefix: &IpNet| self.services.iter().any(|(name, other)| name != service && has(prefix, other));
        let sessions = self.sessions.values().filter(|session| session.vrf.as_deref() == vrf);
        let announced = sessions.flat_map(|session| &session.announced).map(|told| told.prefix);
        let own = |prefix: &IpNet| self.services.get(service).is_some_and(|service| has(prefix, service));
        announced.filter(|prefix| own(prefix) && !shared(prefix)).collect()
    }
}

/// A BGP session of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// Name of the `BGPPeer`; the address where only FRR-K8s knows the neighbor.
    pub name: String,
    /// AS number of the neighbor.
    pub asn: u32,
    /// TCP port, when it is not 179.
    pub port: Option<u16>,
    /// Own address of the session, when it is not that of the link.
    pub source: Option<IpAddr>,
    /// Keepalive and hold time in seconds.
    pub timers: Option<(u64, u64)>,
    /// Seconds between attempts.
    pub connect_seconds: u64,
    /// The neighbor may be more than one hop away.
    pub multihop: bool,
    /// VRF device of the node in which the neighbor is.
    pub vrf: Option<String>,
    /// Take every route of the neighbor; none otherwise.
    pub receive_all: bool,
    /// Nodes that have this session.
    pub nodes: NodeSelectors,
    /// What this session announces.
    pub announced: Vec<Announcement>,
}

/// A prefix that a session announces because a service has an address in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The prefix.
    pub prefix: IpNet,
    /// Local preference; 0 leaves it out.
    pub local_pref: u32,
    /// Communities, `ASN:VALUE` or `large:ASN:VALUE:VALUE`.
    pub communities: BTreeSet<String>,
    /// Nodes that announce it.
    pub nodes: NodeSelectors,
}

impl From<IpNet> for Announcement {
    /// The prefix without attributes, from every node.
    fn from(prefix: IpNet) -> Self {
        Self { prefix, local_pref: 0, communities: BTreeSet::new(), nodes: NodeSelectors::default() }
    }
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
