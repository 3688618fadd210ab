//! From manifests to an [`Announcer`].
//!
//! In: a text of YAML documents. Out: the announcer, or the object at fault. Kinds that do not concern BGP are ignored.
//! It must not know FRR.

use perouter::source::yaml::{self, YamlNode};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

use super::advertise::{aliases, announced, pools};
use super::announcer::{Announcement, Announcer, PeerSession, Service};
use super::error::ManifestError;
use super::nodes::NodeSelectors;
use super::spec::{
    AdvertisementSpec, CommunitySpec, FrrAllowed, FrrNeighbor, FrrReceive, FrrRouter, FrrSpec, PeerSpec, PoolSpec,
    ReceiveMode, ServiceSpec,
};

/// Time between connection attempts where the peer does not set it: FRR's default, which FRR-K8s leaves as it is.
const CONNECT_SECONDS: u64 = 120;

/// Reads the manifests of a file.
pub fn read_manifests(file: &Path) -> Result<Announcer, ManifestError> {
    let text = std::fs::read_to_string(file).map_err(ManifestError::Unreadable);
    text.and_then(|text| parse_manifests(&text))
        .map_err(|source| ManifestError::File { file: file.to_owned(), source: Box::new(source) })
}

/// Reads manifests from a text of one or more documents.
pub fn parse_manifests(text: &str) -> Result<Announcer, ManifestError> {
    let documents = yaml::parse(text).map_err(ManifestError::Yaml)?;
    let documents: Vec<Value> = documents.iter().map(YamlNode::to_value).collect();
    let pools = pools(&specs::<PoolSpec>(&documents, "metallb.io", "IPAddressPool")?)?;
    let aliases = aliases(&specs::<CommunitySpec>(&documents, "metallb.io", "Community")?)?;
    let peers = specs::<PeerSpec>(&documents, "metallb.io", "BGPPeer")?;
    let advertisements = specs::<AdvertisementSpec>(&documents, "metallb.io", "BGPAdvertisement")?;
    let routers = specs::<FrrSpec>(&documents, "frrk8s.metallb.io", "FRRConfiguration")?;
    let services = services(&documents)?;
    let mut announced = announced(&advertisements, &peers, (&pools, &aliases), &services)?;
    let own = routers.values().flat_map(|spec| &spec.bgp.routers).map(|router| router.asn);
    let asn = one_asn(peers.values().map(|peer| peer.my_asn).chain(own))?;
    let mut sessions: BTreeMap<_, PeerSession> = BTreeMap::new();
    for (name, peer) in &peers {
        let session = session(name, peer, announced.remove(name).unwrap_or_default())?;
        if let Some(other) = sessions.insert(peer.peer_address, session) {
            let (first, second) = (other.name, name.clone());
            return Err(ManifestError::SameAddress { first, second, address: peer.peer_address });
        }
    }
    for (object, spec) in &routers {
        let nodes = NodeSelectors::one(spec.node_selector.clone());
        for (router, neighbor) in spec.bgp.routers.iter().flat_map(|r| r.neighbors.iter().map(move |n| (r, n))) {
            add_frr_k8s(&mut sessions, object, &nodes, (router, neighbor))?;
        }
    }
    for (name, service) in &services {
        let without_pool = |address: &&_| !pools.values().flatten().any(|range| range.contains(**address));
        if let Some(address) = service.addresses.iter().find(without_pool) {
            return Err(ManifestError::NoPool { service: name.clone(), address: *address });
        }
    }
    Ok(Announcer { asn, sessions, services })
}

/// Adds the FRR-K8s settings of a neighbor to its session, or creates the session.
fn add_frr_k8s(
    sessions: &mut BTreeMap<std::net::IpAddr, PeerSession>,
    object: &str,
    nodes: &NodeSelectors,
    (router, neighbor): (&FrrRouter, &FrrNeighbor),
) -> Result<(), ManifestError> {
    let address = neighbor.address;
    let connect_seconds = connect_seconds(&format!("neighbor {address}"), neighbor.connect_time.as_ref())?;
    let new = || PeerSession {
        name: address.to_string(),
        asn: neighbor.asn,
        connect_seconds,
        vrf: router.vrf.clone(),
        nodes: nodes.clone(),
        ..PeerSession::default()
    };
    let session = sessions.entry(address).or_insert_with(new);
    if session.connect_seconds != connect_seconds {
        let (first, second) = (session.connect_seconds, connect_seconds);
        return Err(ManifestError::ConflictingConnectTimes { address, first, second });
    }
    if session.nodes != *nodes || session.vrf != router.vrf {
        let (object, peer) = (object.to_owned(), session.name.clone());
        return Err(ManifestError::OtherNodes { object, peer, address });
    }
    session.receive_all |=
        matches!(neighbor.to_receive, Some(FrrReceive { allowed: FrrAllowed { mode: ReceiveMode::All } }));
    Ok(())
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

fn session(name: &str, peer: &PeerSpec, announced: Vec<Announcement>) -> Result<PeerSession, ManifestError> {
    let object = format!("BGPPeer/{name}");
    let read = |text: &Option<String>| text.as_deref().map(|text| seconds(&object, text)).transpose();
    let timers = match (read(&peer.hold_time)?, read(&peer.keepalive_time)?) {
        (Some(hold), keepalive) => Some((keepalive.unwrap_or(hold / 3), hold)),
        (None, Some(keepalive)) => Some((keepalive, 3 * keepalive)),
        (None, None) => None,
    };
    let of_family = |announcement: &Announcement| announcement.prefix.addr().is_ipv4() == peer.peer_address.is_ipv4();
    Ok(PeerSession {
        name: name.to_owned(),
        asn: peer.peer_asn,
        port: peer.peer_port.filter(|port| *port != 179),
        source: peer.source_address,
        timers,
        connect_seconds: connect_seconds(&object, peer.connect_time.as_ref())?,
        multihop: peer.ebgp_multi_hop,
        vrf: peer.vrf.clone(),
        receive_all: false,
        nodes: peer.node_selectors.clone(),
        announced: announced.into_iter().filter(of_family).collect(),
    })
}

fn connect_seconds(object: &str, time: Option<&String>) -> Result<u64, ManifestError> {
    Ok(time.map(|text| seconds(object, text)).transpose()?.unwrap_or(CONNECT_SECONDS))
}

fn one_asn(mut asns: impl Iterator<Item = u32>) -> Result<u32, ManifestError> {
    let first = asns.next().ok_or(ManifestError::NoSession)?;
    match asns.find(|asn| *asn != first) {
        Some(second) => Err(ManifestError::TwoAsns { first, second }),
        None => Ok(first),
    }
}

/// A duration of Go in whole hours, minutes and seconds, the units of BGP timers.
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
