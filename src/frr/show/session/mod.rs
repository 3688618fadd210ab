//! BGP sessions in bgpd's summaries. In: the JSON of [`SHOW_SESSIONS`] and [`SHOW_DOWN_SESSIONS`]. Out: sessions, and the
//! counters of those that are not established. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::MapAccess;
use serde::{Deserialize, Serialize};

use super::family;
use super::json::{Fields, JsonObject, JsonTable, Number, ShowError, Word, read};
use crate::types::{Asn, Family, VrfName};

/// bgpd: sessions of all VRFs.
pub const SHOW_SESSIONS: &str = "show bgp vrf all summary json";
/// bgpd: the sessions of all VRFs that are not established. While all are established it costs a fifth of
/// [`SHOW_SESSIONS`], and the output is the same every time.
pub const SHOW_DOWN_SESSIONS: &str = "show bgp vrf all summary failed json";

/// State of the BGP finite state machine (RFC 4271 section 8.2.2) as FRR prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum SessionPhase {
    /// Routes are exchanged.
    Established,
    /// Any other state, as FRR names it.
    Down(String),
}

impl From<String> for SessionPhase {
    fn from(word: String) -> Self {
        if word == "Established" { Self::Established } else { Self::Down(word) }
    }
}

impl From<SessionPhase> for String {
    fn from(phase: SessionPhase) -> Self {
        phase.to_string()
    }
}

impl fmt::Display for SessionPhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Established => f.write_str("Established"),
            Self::Down(state) => f.write_str(state),
        }
    }
}

/// Prefixes on a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefixes {
    /// Accepted from the peer.
    pub received: u64,
    /// Sent to the peer.
    pub sent: u64,
}

/// A BGP session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionState {
    /// Its VRF; `None` is the default instance.
    pub vrf: Option<VrfName>,
    /// Address or interface.
    pub peer: String,
    /// AS number of the peer; `None` where FRR does not know it yet.
    pub remote_as: Option<Asn>,
    /// State.
    #[serde(rename = "state")]
    pub phase: SessionPhase,
    /// Seconds since the epoch at which it was established, only while it is.
    pub since: Option<u64>,
    /// How often it was established since the neighbor was configured: more than one is a flap.
    pub established: u64,
    /// BGP messages received from the peer so far. Between two reads without one, its routes are the same.
    #[serde(skip)]
    pub messages: u64,
    /// By address family, as FRR names them (`ipv4Unicast`, `l2VpnEvpn`).
    pub prefixes: BTreeMap<String, Prefixes>,
}

impl SessionState {
    /// Address families of unicast routes that it carries.
    pub fn families(&self) -> Vec<Family> {
        let known = [(family::IPV4, Family::Ipv4), (family::IPV6, Family::Ipv6)].into_iter();
        known.filter_map(|(name, family)| self.prefixes.contains_key(name).then_some(family)).collect()
    }

    /// Which session it is.
    pub fn key(&self) -> SessionKey {
        (self.vrf.clone(), self.peer.clone())
    }

    /// Its VRF, `default` for the default instance as in FRR.
    pub fn vrf_name(&self) -> &str {
        self.vrf.as_ref().map_or("default", VrfName::as_str)
    }
}

/// Reads [`SHOW_SESSIONS`].
///
/// # Errors
/// If the text is not JSON.
pub fn sessions(summary: &str) -> Result<Vec<SessionState>, ShowError> {
    let mut found: BTreeMap<SessionKey, SessionState> = BTreeMap::new();
    for (key, family, peer) in peers(SHOW_SESSIONS, summary)? {
        let prefixes =
            Prefixes { received: peer.received.0.unwrap_or_default(), sent: peer.sent.0.unwrap_or_default() };
        let session = found.entry(key).or_insert_with_key(|key| session(key, peer));
        session.prefixes.insert(family, prefixes);
    }
    Ok(found.into_values().collect())
}

/// How often a session was established and how often it went down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Times that it was established.
    pub established: u64,
    /// Times that it went down.
    pub dropped: u64,
}

/// Reads [`SHOW_DOWN_SESSIONS`].
///
/// # Errors
/// If the text is not JSON.
pub fn down_sessions(summary: &str) -> Result<BTreeMap<SessionKey, SessionCounters>, ShowError> {
    let counters = |peer: PeerEntry| SessionCounters {
        established: peer.established.0.unwrap_or_default(),
        dropped: peer.dropped.0.unwrap_or_default(),
    };
    Ok(peers(SHOW_DOWN_SESSIONS, summary)?.into_iter().map(|(key, _, peer)| (key, counters(peer))).collect())
}

/// A session: its VRF (`None`: the default instance) and its peer.
pub type SessionKey = (Option<VrfName>, String);

/// A peer in a summary.
#[derive(Default)]
struct PeerEntry {
    state: Word,
    remote_as: Number,
    since: Number,
    established: Number,
    dropped: Number,
    messages: Number,
    received: Number,
    sent: Number,
}

#[derive(Clone, Copy)]
enum PeerField {
    State,
    RemoteAs,
    Since,
    Established,
    Dropped,
    Messages,
    Received,
    Sent,
}

impl Fields for PeerEntry {
    type Field = PeerField;

    const KEYS: &'static [(&'static str, PeerField)] = &[
        ("state", PeerField::State),
        ("remoteAs", PeerField::RemoteAs),
        ("peerUptimeEstablishedEpoch", PeerField::Since),
        ("connectionsEstablished", PeerField::Established),
        ("connectionsDropped", PeerField::Dropped),
        ("msgRcvd", PeerField::Messages),
        ("pfxRcd", PeerField::Received),
        ("pfxSnt", PeerField::Sent),
    ];

    fn set<'de, A: MapAccess<'de>>(&mut self, field: PeerField, object: &mut A) -> Result<(), A::Error> {
        match field {
            PeerField::State => self.state = object.next_value()?,
            PeerField::RemoteAs => self.remote_as = object.next_value()?,
            PeerField::Since => self.since = object.next_value()?,
            PeerField::Established => self.established = object.next_value()?,
            PeerField::Dropped => self.dropped = object.next_value()?,
            PeerField::Messages => self.messages = object.next_value()?,
            PeerField::Received => self.received = object.next_value()?,
            PeerField::Sent => self.sent = object.next_value()?,
        }
        Ok(())
    }
}

/// The summary of one address family.
#[derive(Default)]
struct FamilyEntry {
    peers: Vec<(String, JsonObject<PeerEntry>)>,
}

#[derive(Clone, Copy)]
enum FamilyField {
    Peers,
}

impl Fields for FamilyEntry {
    type Field = FamilyField;

    const KEYS: &'static [(&'static str, FamilyField)] = &[("peers", FamilyField::Peers)];

    fn set<'de, A: MapAccess<'de>>(&mut self, field: FamilyField, object: &mut A) -> Result<(), A::Error> {
        match field {
            FamilyField::Peers => self.peers = object.next_value::<JsonTable<_>>()?.0,
        }
        Ok(())
    }
}

/// The peers of all VRFs and address families.
fn peers(command: &'static str, summary: &str) -> Result<Vec<(SessionKey, String, PeerEntry)>, ShowError> {
    let mut found = Vec::new();
    let Some(JsonTable(vrfs)) = read::<JsonTable<JsonTable<JsonObject<FamilyEntry>>>>(command, summary)? else {
        return Ok(found);
    };
    for (name, JsonTable(families)) in vrfs {
        // "default" is not a valid [`VrfName`], so it reads as the default instance.
        let vrf: Option<VrfName> = name.parse().ok();
        for (family, JsonObject(body)) in families {
            for (peer, JsonObject(entry)) in body.unwrap_or_default().peers {
                found.extend(entry.map(|entry| ((vrf.clone(), peer), family.clone(), entry)));
            }
        }
    }
    Ok(found)
}

fn session((vrf, peer): &SessionKey, entry: PeerEntry) -> SessionState {
    let phase = SessionPhase::from(entry.state.0.unwrap_or_default());
    let asn = entry.remote_as.0.and_then(|raw| u32::try_from(raw).ok());
    SessionState {
        vrf: vrf.clone(),
        peer: peer.clone(),
        remote_as: asn.and_then(|raw| Asn::try_from(raw).ok()),
        since: entry.since.0.filter(|_| phase == SessionPhase::Established),
        phase,
        established: entry.established.0.unwrap_or_default(),
        messages: entry.messages.0.unwrap_or_default(),
        prefixes: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests;
