//! From manifests to an [`Announcer`].
//!
//! In: a text of YAML documents. Out: the announcer, or the object at fault. Kinds that have no part in BGP are passed
//! over. It must not know FRR.

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{AddrParseError, IpAddr};
use std::path::{Path, PathBuf};

use super::spec::{
    AdvertisementSpec, FrrAllowed, FrrNeighbor, FrrReceive, FrrSpec, PeerSpec, PoolSpec, ReceiveMode, ServiceSpec,
};
use super::{Announcer, Service, Session, host_prefix};

/// Manifests that cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the kernel says.
        #[source]
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("not valid YAML")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// An object has a field that is unknown, missing or of the wrong type.
    #[error("{object}")]
    Object {
        /// Kind and name.
        object: String,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A pool's entry is neither a range nor a prefix.
    #[error("IPAddressPool/{pool}: `{entry}` is neither FIRST-LAST nor a prefix")]
    Range {
        /// The pool.
        pool: String,
        /// The entry.
        entry: String,
    },
    /// A service asks for something that is no address.
    #[error("Service/{service}: `{text}` is no address")]
    Address {
        /// The service.
        service: String,
        /// The text.
        text: String,
        /// What the parser says.
        #[source]
        source: AddrParseError,
    },
    /// A service asks for no address.
    #[error("Service/{service}: no address; add the annotation metallb.io/loadBalancerIPs (none is assigned here)")]
    NoAddress {
        /// The service.
        service: String,
    },
    /// A service asks for an address that no pool has.
    #[error("Service/{service}: no IPAddressPool has {address}; add it to one or ask for another")]
    NoPool {
        /// The service.
        service: String,
        /// The address.
        address: IpAddr,
    },
    /// A name that no object has.
    #[error("BGPAdvertisement/{advertisement}: there is no {kind} `{name}`; correct the name or add it")]
    NoSuch {
        /// The advertisement.
        advertisement: String,
        /// `BGPPeer` or `IPAddressPool`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// FRR-K8s takes no neighbor that two objects tell differently.
    #[error("FRR-K8s refuses {address}: connectTime is {first} s in one object and {second} s in another")]
    TwoTimes {
        /// The neighbor.
        address: IpAddr,
        /// One of them.
        first: u64,
        /// The other.
        second: u64,
    },
    /// A duration that cannot be read.
    #[error("{object}: `{text}` is no duration in whole seconds like 1s, 90s or 1m30s")]
    Duration {
        /// The object.
        object: String,
        /// The text.
        text: String,
    },
    /// More than one AS number for one node.
    #[error("the nodes would be in AS {first} and AS {second}; one is possible")]
    TwoAsns {
        /// One of them.
        first: u32,
        /// The other.
        second: u32,
    },
    /// Nothing that makes a session.
    #[error("no BGPPeer and no FRRConfiguration: there is no session to set up")]
    NoSession,
}

/// Time between attempts when the peer does not say: FRR-K8s leaves it to FRR.
const CONNECT_SECONDS: u64 = 120;

/// Reads the manifests of a file.
pub fn read_manifests(file: &Path) -> Result<Announcer, ManifestError> {
    let unreadable = |source| ManifestError::Unreadable { file: file.to_owned(), source };
    parse_manifests(&std::fs::read_to_string(file).map_err(unreadable)?)
}

/// Reads manifests from a text of one or more documents.
pub fn parse_manifests(text: &str) -> Result<Announcer, ManifestError> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|source| ManifestError::Yaml(Box::new(source)))?;
    let pools = specs::<PoolSpec>(&documents, "metallb.io", "IPAddressPool")?;
    let peers = specs::<PeerSpec>(&documents, "metallb.io", "BGPPeer")?;
    let advertisements = specs::<AdvertisementSpec>(&documents, "metallb.io", "BGPAdvertisement")?;
    let routers = specs::<FrrSpec>(&documents, "frrk8s.metallb.io", "FRRConfiguration")?;
    let services = services(&documents)?;
    let ranges = pools.iter().map(|(name, pool)| Ok((name.clone(), ranges(name, pool)?)));
    let ranges = ranges.collect::<Result<BTreeMap<_, _>, ManifestError>>()?;
    let mut announced = announced(&advertisements, &peers, &ranges)?;
    let asn = one_asn(peers.values().map(|peer| peer.my_asn).chain(own_asns(&routers)))?;
    let mut sessions = BTreeMap::new();
    for (name, peer) in &peers {
        let pools = announced.remove(name).unwrap_or_default();
        sessions.insert(peer.peer_address, session(name, peer, in_use(&services, &ranges, &pools))?);
    }
    for neighbor in routers.values().flat_map(|spec| &spec.bgp.routers).flat_map(|router| &router.neighbors) {
        let connect_seconds =
            connect_seconds(&format!("neighbor {}", neighbor.address), neighbor.connect_time.as_ref())?;
        let session = sessions.entry(neighbor.address).or_insert_with(|| of_frr_k8s(neighbor, connect_seconds));
        if session.connect_seconds != connect_seconds {
            let (first, second) = (session.connect_seconds, connect_seconds);
            return Err(ManifestError::TwoTimes { address: neighbor.address, first, second });
        }
        session.receive_all |=
            matches!(neighbor.to_receive, Some(FrrReceive { allowed: FrrAllowed { mode: ReceiveMode::All } }));
    }
    for (name, service) in &services {
        let homeless = |address: &&IpAddr| !ranges.values().flatten().any(|range| range.contains(**address));
        if let Some(address) = service.addresses.iter().find(homeless) {
            return Err(ManifestError::NoPool { service: name.clone(), address: *address });
        }
    }
    Ok(Announcer { asn, sessions, services })
}

/// The specs of all objects of a kind, by name.
fn specs<T: for<'de> Deserialize<'de>>(
    documents: &[Value],
    group: &str,
    kind: &str,
) -> Result<BTreeMap<String, T>, ManifestError> {
    let of_kind = documents.iter().filter(|document| {
        let version = document["apiVersion"].as_str().unwrap_or_default();
        document["kind"] == kind && version.split('/').next() == Some(group)
    });
    let read = |document: &Value| {
        let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let empty = Value::Object(serde_json::Map::new());
        let spec = Some(&document["spec"]).filter(|spec| !spec.is_null()).unwrap_or(&empty);
        let spec = T::deserialize(spec)
            .map_err(|source| ManifestError::Object { object: format!("{kind}/{name}"), source })?;
        Ok((name, spec))
    };
    of_kind.map(read).collect()
}

fn services(documents: &[Value]) -> Result<BTreeMap<String, Service>, ManifestError> {
    let mut services = BTreeMap::new();
    for (name, spec) in specs::<ServiceSpec>(documents, "v1", "Service")? {
        if spec.kind.as_deref() != Some("LoadBalancer") {
            continue;
        }
        let document = documents.iter().find(|d| d["kind"] == "Service" && d["metadata"]["name"] == name.as_str());
        let annotation = |key: &str| Some(document?["metadata"]["annotations"][key].as_str()?.to_owned());
        let wanted = annotation("metallb.io/loadBalancerIPs")
            .or_else(|| annotation("metallb.universe.tf/loadBalancerIPs"))
            .or(spec.load_balancer_ip)
            .ok_or_else(|| ManifestError::NoAddress { service: name.clone() })?;
        let address = |text: &str| {
            let text = text.trim();
            let wrong = |source| ManifestError::Address { service: name.clone(), text: text.to_owned(), source };
            text.parse().map_err(wrong)
        };
        let addresses = wanted.split(',').map(address).collect::<Result<_, _>>()?;
        let port = spec.ports.first().map_or(80, |port| port.port);
        services.insert(name, Service { addresses, port });
    }
    Ok(services)
}

struct Range {
    first: IpAddr,
    last: IpAddr,
}

impl Range {
    fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && (self.first..=self.last).contains(&address)
    }
}

fn ranges(pool: &str, spec: &PoolSpec) -> Result<Vec<Range>, ManifestError> {
    let range = |entry: &String| {
        let ends = entry.split_once('-').and_then(|(first, last)| {
            Some(Range { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
        });
        let prefix = || entry.parse::<IpNet>().ok().map(|net| Range { first: net.network(), last: net.broadcast() });
        let valid = ends.or_else(prefix).filter(|range| range.first.is_ipv4() == range.last.is_ipv4());
        valid.ok_or_else(|| ManifestError::Range { pool: pool.to_owned(), entry: entry.clone() })
    };
    spec.addresses.iter().map(range).collect()
}

/// Pools by the peer that announces them; an advertisement that names no pools or no peers means all of them.
fn announced(
    advertisements: &BTreeMap<String, AdvertisementSpec>,
    peers: &BTreeMap<String, PeerSpec>,
    pools: &BTreeMap<String, Vec<Range>>,
) -> Result<BTreeMap<String, BTreeSet<String>>, ManifestError> {
    let mut announced: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (advertisement, spec) in advertisements {
        let missing = |kind, name: &String| {
            let (advertisement, name) = (advertisement.clone(), name.clone());
            Err(ManifestError::NoSuch { advertisement, kind, name })
        };
        if let Some(name) = spec.peers.iter().find(|name| !peers.contains_key(*name)) {
            return missing("BGPPeer", name);
        }
        if let Some(name) = spec.ip_address_pools.iter().find(|name| !pools.contains_key(*name)) {
            return missing("IPAddressPool", name);
        }
        for peer in peers.keys().filter(|peer| spec.peers.is_empty() || spec.peers.contains(peer)) {
            let all = spec.ip_address_pools.is_empty();
            let of_peer = pools.keys().filter(|pool| all || spec.ip_address_pools.contains(pool)).cloned();
            announced.entry(peer.clone()).or_default().extend(of_peer);
        }
    }
    Ok(announced)
}

fn in_use(
    services: &BTreeMap<String, Service>,
    ranges: &BTreeMap<String, Vec<Range>>,
    pools: &BTreeSet<String>,
) -> BTreeSet<IpNet> {
    let addresses = services.values().flat_map(|service| service.addresses.iter().copied());
    let in_pools = |address: &IpAddr| {
        pools.iter().filter_map(|pool| ranges.get(pool)).flatten().any(|range| range.contains(*address))
    };
    addresses.filter(in_pools).map(host_prefix).collect()
}

fn session(name: &str, peer: &PeerSpec, announced: BTreeSet<IpNet>) -> Result<Session, ManifestError> {
    let object = format!("BGPPeer/{name}");
    let read = |text: &Option<String>| text.as_deref().map(|text| seconds(&object, text)).transpose();
    let (hold, keepalive) = (read(&peer.hold_time)?, read(&peer.keepalive_time)?);
    Ok(Session {
        name: name.to_owned(),
        asn: peer.peer_asn,
        port: peer.peer_port.filter(|port| *port != 179),
        timers: hold.map(|hold| (keepalive.unwrap_or(hold / 3), hold)),
        connect_seconds: connect_seconds(&object, peer.connect_time.as_ref())?,
        multihop: peer.ebgp_multi_hop,
        receive_all: false,
        announced: announced.into_iter().filter(|net| net.addr().is_ipv4() == peer.peer_address.is_ipv4()).collect(),
    })
}

fn connect_seconds(object: &str, time: Option<&String>) -> Result<u64, ManifestError> {
    Ok(time.map(|text| seconds(object, text)).transpose()?.unwrap_or(CONNECT_SECONDS))
}

fn of_frr_k8s(neighbor: &FrrNeighbor, connect_seconds: u64) -> Session {
    Session {
        name: neighbor.address.to_string(),
        asn: neighbor.asn,
        port: None,
        timers: None,
        connect_seconds,
        multihop: false,
        receive_all: false,
        announced: BTreeSet::new(),
    }
}

fn own_asns(routers: &BTreeMap<String, FrrSpec>) -> impl Iterator<Item = u32> {
    routers.values().flat_map(|spec| &spec.bgp.routers).map(|router| router.asn)
}

fn one_asn(mut asns: impl Iterator<Item = u32>) -> Result<u32, ManifestError> {
    let first = asns.next().ok_or(ManifestError::NoSession)?;
    match asns.find(|asn| *asn != first) {
        Some(second) => Err(ManifestError::TwoAsns { first, second }),
        None => Ok(first),
    }
}

/// Go's duration, as far as BGP has a use for it: whole hours, minutes and seconds.
fn seconds(object: &str, text: &str) -> Result<u64, ManifestError> {
    let wrong = || ManifestError::Duration { object: object.to_owned(), text: text.to_owned() };
    let (mut total, mut number) = (0_u64, String::new());
    for character in text.chars() {
        let unit = match character {
            '0'..='9' => {
                number.push(character);
                continue;
            }
            'h' => 3600,
            'm' => 60,
            's' => 1,
            _ => return Err(wrong()),
        };
        let count: u64 = number.parse().map_err(|_| wrong())?;
        total = count.checked_mul(unit).and_then(|part| total.checked_add(part)).ok_or_else(wrong)?;
        number.clear();
    }
    if text.is_empty() || !number.is_empty() { Err(wrong()) } else { Ok(total) }
}
