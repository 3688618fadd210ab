//! Configuration of a speaker, independent of its daemon.
//!
//! In: values of the caller. Out: [`SpeakerConfig`]. It must not know the syntax of any daemon.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

/// The daemon of a speaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// `bird` of the package bird2.
    Bird,
    /// `gobgpd`.
    Gobgp,
}

/// Configuration of a speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpeakerConfig {
    /// AS number.
    pub asn: u32,
    /// Router id.
    pub router_id: Ipv4Addr,
    /// Its sessions.
    pub peerings: Vec<Peering>,
    /// Prefixes that it advertises on all of them.
    pub announced: BTreeSet<IpNet>,
}

/// A session of a speaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peering {
    /// The neighbor.
    pub neighbor: IpAddr,
    /// Its AS number.
    pub remote_as: u32,
    /// Source address, on which it also listens.
    pub local: IpAddr,
    /// TCP port of the neighbor.
    pub port: u16,
    /// TCP port on which it listens; `None`: it only connects.
    pub listens: Option<u16>,
    /// It does not connect, it only listens.
    pub passive: bool,
    /// TCP MD5 password.
    pub password: Option<String>,
    /// The neighbor may be more than one hop away.
    pub multihop: bool,
    /// Graceful restart (RFC 4724).
    pub graceful_restart: bool,
    /// BFD: interval in milliseconds and multiplier. BIRD only.
    pub bfd: Option<(u32, u8)>,
    /// Hold time in seconds.
    pub hold: u16,
}

impl Peering {
    /// A session that uses port 179 at both ends, with default options.
    pub fn new(local: IpAddr, neighbor: IpAddr, remote_as: u32) -> Self {
        Self {
            neighbor,
            remote_as,
            local,
            port: 179,
            listens: Some(179),
            passive: false,
            password: None,
            multihop: false,
            graceful_restart: false,
            bfd: None,
            hold: 90,
        }
    }
}
