//! Why manifests are rejected: one enum for all of their readers.
//!
//! In: nothing. Out: [`ManifestError`], which names the object at fault. It must not know how manifests are read.

use ipnet::IpNet;
use std::net::{AddrParseError, IpAddr};
use std::path::PathBuf;

use perouter::source::yaml::SyntaxError;

/// Manifests that the lab cannot emulate, or that `MetalLB` or FRR-K8s would reject.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// An error in a file.
    #[error("{}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: Box<Self>,
    },
    /// The file could not be read.
    #[error("cannot read the file")]
    Unreadable(#[source] std::io::Error),
    /// The text is not YAML.
    #[error("line {}: not valid YAML", .0.line)]
    Yaml(#[source] SyntaxError),
    /// An object has a field that is unknown, missing or of the wrong type.
    #[error("{object}")]
    Object {
        /// Kind and name.
        object: String,
        /// The cause.
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
    /// A service requests something that is not an address.
    #[error("Service/{service}: `{text}` is not an address")]
    Address {
        /// The service.
        service: String,
        /// The text.
        text: String,
        /// The cause.
        #[source]
        source: AddrParseError,
    },
    /// A service requests no address.
    #[error("Service/{service}: no address; add the annotation metallb.io/loadBalancerIPs (none is assigned here)")]
    NoAddress {
        /// The service.
        service: String,
    },
    /// A service requests an address that is in no pool.
    #[error("Service/{service}: no IPAddressPool contains {address}; add it to one or request another")]
    NoPool {
        /// The service.
        service: String,
        /// The address.
        address: IpAddr,
    },
    /// A reference to an object that does not exist.
    #[error("BGPAdvertisement/{advertisement}: there is no {kind} `{name}`; correct the name or add it")]
    UnknownReference {
        /// The advertisement.
        advertisement: String,
        /// `BGPPeer` or `IPAddressPool`.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// Two peers with one address.
    #[error("BGPPeer/{first} and BGPPeer/{second} both have the address {address}; only one session is possible")]
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
    /// Two objects define one alias.
    #[error("Community/{object}: the alias `{alias}` is defined twice; rename one")]
    DuplicateAlias {
        /// The object.
        object: String,
        /// The alias.
        alias: String,
    },
    /// An aggregation length that is longer than an address.
    #[error("BGPAdvertisement/{advertisement}: aggregation length {length} is longer than an {family} address")]
    Length {
        /// The advertisement.
        advertisement: String,
        /// The length.
        length: u8,
        /// IPv4 or IPv6.
        family: &'static str,
    },
    /// An aggregate that would cover addresses outside its pool.
    #[error(
        "BGPAdvertisement/{advertisement}: aggregation length {length} is shorter than any prefix of {entry} in \
         IPAddressPool/{pool}: the aggregate would cover addresses outside the pool"
    )]
    ExceedsPool {
        /// The advertisement.
        advertisement: String,
        /// The length.
        length: u8,
        /// The pool.
        pool: String,
        /// Its entry.
        entry: String,
    },
    /// One prefix with two local preferences for one peer.
    #[error(
        "BGPAdvertisement/{first} sets local preference {one} for {prefix}, BGPAdvertisement/{second} sets {other}"
    )]
    ConflictingPreferences {
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
    /// FRR-K8s would configure the session on other nodes than `MetalLB`.
    #[error(
        "FRRConfiguration/{object} selects other nodes for {address} than BGPPeer/{peer}; use the nodeSelector of the peer"
    )]
    OtherNodes {
        /// The object of FRR-K8s.
        object: String,
        /// The peer.
        peer: String,
        /// Its address.
        address: IpAddr,
    },
    /// FRR-K8s rejects a neighbor that two objects configure differently.
    #[error("FRR-K8s rejects {address}: connectTime is {first} s in one object and {second} s in another")]
    ConflictingConnectTimes {
        /// The neighbor.
        address: IpAddr,
        /// One of them.
        first: u64,
        /// The other.
        second: u64,
    },
    /// A duration that cannot be parsed.
    #[error("{object}: `{text}` is not a duration in whole seconds such as 1s, 90s or 1m30s")]
    Duration {
        /// The object.
        object: String,
        /// The text.
        text: String,
    },
    /// More than one AS number for the nodes.
    #[error("the nodes would be in AS {first} and AS {second}; only one is possible")]
    TwoAsns {
        /// One of them.
        first: u32,
        /// The other.
        second: u32,
    },
    /// No object defines a session.
    #[error("no BGPPeer and no FRRConfiguration: no session is defined")]
    NoSession,
}
