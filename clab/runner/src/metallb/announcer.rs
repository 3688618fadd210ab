//! What the nodes announce, and over which sessions.
//!
//! In: values that the reader of the manifests has checked. Out: [`Announcer`], whole or reduced to one node. It must not
//! know manifests or FRR.

use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::nodes::{Labels, NodeSelectors};

/// Sessions and announcements that `MetalLB` and FRR-K8s configure on the nodes; [`Announcer::on`] reduces it to one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcer {
    /// AS number of the nodes.
    pub asn: u32,
    /// Sessions by address of the neighbor.
    pub sessions: BTreeMap<IpAddr, PeerSession>,
    /// Services of type `LoadBalancer` by name.
    pub services: BTreeMap<String, Service>,
}

impl Announcer {
    /// The sessions and announcements of the node with this name and these labels. The label `kubernetes.io/hostname` is
    /// added where it is missing.
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

    /// VRF devices in which the nodes have sessions; `None` stands for the default VRF.
    pub fn vrfs(&self) -> BTreeSet<Option<&str>> {
        self.sessions.values().map(|session| session.vrf.as_deref()).collect()
    }

    /// Prefixes in a VRF that are withdrawn with this service: those that contain an address of it and none of another.
    pub fn prefixes_of(&self, service: &str, vrf: Option<&str>) -> BTreeSet<IpNet> {
        let has = |prefix: &IpNet, service: &Service| service.addresses.iter().any(|address| prefix.contains(address));
        let shared = |prefix: &IpNet| self.services.iter().any(|(name, other)| name != service && has(prefix, other));
        let sessions = self.sessions.values().filter(|session| session.vrf.as_deref() == vrf);
        let announced = sessions.flat_map(|session| &session.announced).map(|announcement| announcement.prefix);
        let own = |prefix: &IpNet| self.services.get(service).is_some_and(|service| has(prefix, service));
        announced.filter(|prefix| own(prefix) && !shared(prefix)).collect()
    }
}

/// A BGP session of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PeerSession {
    /// Name of the `BGPPeer`; the address where only FRR-K8s knows the neighbor.
    pub name: String,
    /// AS number of the neighbor.
    pub asn: u32,
    /// TCP port, when it is not 179.
    pub port: Option<u16>,
    /// Source address of the session, when it is not the address of the link.
    pub source: Option<IpAddr>,
    /// Keepalive interval and hold time in seconds.
    pub timers: Option<(u64, u64)>,
    /// Seconds between connection attempts.
    pub connect_seconds: u64,
    /// The neighbor may be more than one hop away.
    pub multihop: bool,
    /// VRF device of the node in which the neighbor is reached.
    pub vrf: Option<String>,
    /// Every route of the neighbor is accepted; none otherwise.
    pub receive_all: bool,
    /// The nodes that have this session.
    pub nodes: NodeSelectors,
    /// Prefixes that are announced to this neighbor.
    pub announced: Vec<Announcement>,
}

/// A prefix that a session announces because a service has an address in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcement {
    /// The prefix.
    pub prefix: IpNet,
    /// Local preference; 0 sets none.
    pub local_pref: u32,
    /// Communities, `ASN:VALUE` or `large:ASN:VALUE:VALUE`.
    pub communities: BTreeSet<String>,
    /// The nodes that announce it.
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
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// First port of the service.
    pub port: u16,
}

/// The host route of an address.
pub fn host_prefix(address: IpAddr) -> IpNet {
    IpNet::from(address)
}
