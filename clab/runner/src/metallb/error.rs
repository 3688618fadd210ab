//! Why manifests cannot be played: one enum for all of their readers.

use ipnet::IpNet;
use std::net::{AddrParseError, IpAddr};
use std::path::PathBuf;

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
    /// Two peers with one address.
    #[error("BGPPeer/{first} and BGPPeer/{second} both have the address {address}; one session is possible")]
    SameAddress {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// Their address.
        address: IpAddr,
    },
    /// A community is neither a value nor an alias.
    #[error(
        "{object}: `{text}` is neither ASN:VALUE, large:ASN:VALUE:VALUE nor an alias of a \
         Community object; add it to one or correct it"
    )]
    Community {
        /// The object.
        object: String,
        /// The text.
        text: String,
    },
    /// Two objects give one alias.
    #[error("Community/{object}: the alias `{alias}` is there already; give it another name")]
    Alias {
        /// The object.
        object: String,
        /// The alias.
        alias: String,
    },
    /// An aggregate that is longer than its address has bits.
    #[error("BGPAdvertisement/{advertisement}: aggregation length {length} is longer than an address of {family}")]
    Length {
        /// The advertisement.
        advertisement: String,
        /// The length.
        length: u8,
        /// IPv4 or IPv6.
        family: &'static str,
    },
    /// An aggregate that would reach beyond its pool.
    #[error(
        "BGPAdvertisement/{advertisement}: aggregation length {length} is shorter than any prefix of {entry} in \
         IPAddressPool/{pool}: the aggregate would have addresses of others"
    )]
    BeyondPool {
        /// The advertisement.
        advertisement: String,
        /// The length.
        length: u8,
        /// The pool.
        pool: String,
        /// Its entry.
        entry: String,
    },
    /// One prefix with two preferences to one peer.
    #[error("BGPAdvertisement/{first} gives {prefix} the local preference {one}, BGPAdvertisement/{second} {other}")]
    TwoPreferences {
        /// One of them.
        first: String,
        /// Its preference.
        one: u32,
        /// The other.
        second: String,
        /// Its preference.
        other: u32,
        /// The prefix.
        prefix: IpNet,
    },
    /// FRR-K8s would set the session up on other nodes than `MetalLB`.
    #[error(
        "FRRConfiguration/{object} has {address} for other nodes than BGPPeer/{peer}; give it a nodeSelector like that \
         of the peer"
    )]
    OtherNodes {
        /// The object of FRR-K8s.
        object: String,
        /// The peer.
        peer: String,
        /// Its address.
        address: IpAddr,
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
