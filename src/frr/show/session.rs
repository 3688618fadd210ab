//! Sessions as bgpd summarises them. In: the JSON of [`SHOW_SESSIONS`] and [`SHOW_DOWN`]. Out: sessions, and those that are
//! down. Pure.

use std::collections::BTreeMap;

use serde::de::MapAccess;

use super::json::{Fields, JsonObject, JsonTable, Number, Word};
use super::vni::{ObserveError, Prefixes, SessionPhase, SessionState, read};
use crate::types::{Asn, VrfName};

/// bgpd: sessions of all VRFs.
pub const SHOW_SESSIONS: &str = "show bgp vrf all summary json";
/// bgpd: the sessions of all VRFs that are not established. Where all are, it costs a fifth of [`SHOW_SESSIONS`], and prints
/// the same again and again.
pub const SHOW_DOWN: &str = "show bgp vrf all summary failed json";

/// Reads [`SHOW_SESSIONS`].
///
/// # Errors
/// If the text is not JSON.
pub fn sessions(summary: &str) -> Result<Vec<SessionState>, ObserveError> {
    let mut found: BTreeMap<SessionKey, SessionState> = BTreeMap::new();
    for (key, family, peer) in peers(SHOW_SESSIONS, summary)? {
        let prefixes = Prefixes { received: peer.received.unwrap_or_default(), sent: peer.sent.unwrap_or_default() };
        let session = found.entry(key).or_insert_with_key(|key| session(key, peer));
        session.prefixes.insert(family, prefixes);
    }
    Ok(found.into_values().collect())
}

/// How often a session was established, and how often that ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionCounters {
    /// Beginnings.
    pub established: u64,
    /// Ends.
    pub dropped: u64,
}

/// Reads [`SHOW_DOWN`].
///
/// # Errors
/// If the text is not JSON.
pub fn down(summary: &str) -> Result<BTreeMap<SessionKey, SessionCounters>, ObserveError> {
    let lives = |peer: PeerEntry| SessionCounters {
        established: peer.established.unwrap_or_default(),
        dropped: peer.dropped.unwrap_or_default(),
    };
    Ok(peers(SHOW_DOWN, summary)?.into_iter().map(|(key, _, peer)| (key, lives(peer))).collect())
}

/// A session: its VRF (`None`: the default instance) and its peer.
pub type SessionKey = (Option<VrfName>, String);

/// A peer in a summary.
#[derive(Default)]
struct PeerEntry {
    state: Option<String>,
    remote_as: Option<u64>,
    since: Option<u64>,
    established: Option<u64>,
    dropped: Option<u64>,
    received: Option<u64>,
    sent: Option<u64>,
}

impl Fields for PeerEntry {
    const NAMES: &'static [&'static str] = &[
        "state",
        "remoteAs",
        "peerUptimeEstablishedEpoch",
        "connectionsEstablished",
        "connectionsDropped",
        "pfxRcd",
        "pfxSnt",
    ];

    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<(), A::Error> {
        if name == "state" {
            self.state = from.next_value::<Word>()?.0;
            return Ok(());
        }
        let number = from.next_value::<Number>()?.0;
        match name {
            "remoteAs" => self.remote_as = number,
            "peerUptimeEstablishedEpoch" => self.since = number,
            "connectionsEstablished" => self.established = number,
            "connectionsDropped" => self.dropped = number,
            "pfxRcd" => self.received = number,
            _ => self.sent = number,
        }
        Ok(())
    }
}

/// The summary of one address family.
#[derive(Default)]
struct FamilyEntry {
    peers: Vec<(String, JsonObject<PeerEntry>)>,
}

impl Fields for FamilyEntry {
    const NAMES: &'static [&'static str] = &["peers"];

    fn take<'de, A: MapAccess<'de>>(&mut self, _: &str, from: &mut A) -> Result<(), A::Error> {
        self.peers = from.next_value::<JsonTable<_>>()?.0;
        Ok(())
    }
}

/// The peers of all VRFs and address families.
fn peers(command: &'static str, summary: &str) -> Result<Vec<(SessionKey, String, PeerEntry)>, ObserveError> {
    let mut found = Vec::new();
    let Some(JsonTable(vrfs)) = read::<JsonTable<JsonTable<JsonObject<FamilyEntry>>>>(command, summary)? else {
        return Ok(found);
    };
    for (name, JsonTable(families)) in vrfs {
        // "default" is no VRF name of ours, so it reads as the default instance.
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
    let phase = SessionPhase::from(entry.state.unwrap_or_default());
    let asn = entry.remote_as.and_then(|raw| u32::try_from(raw).ok());
    SessionState {
        vrf: vrf.clone(),
        peer: peer.clone(),
        remote_as: asn.and_then(|raw| Asn::try_from(raw).ok()),
        since: entry.since.filter(|_| phase == SessionPhase::Established),
        phase,
        established: entry.established.unwrap_or_default(),
        prefixes: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_sessions_that_are_down_are_told() {
        let told = r#"{"default":{"ipv4Unicast":{"failedPeersCount":0,"dynamicPeers":0,"totalPeers":1}},
            "red":{"ipv4Unicast":{"routerId":"10.0.0.1","as":64514,"peers":{"10.200.0.114":{"connectionsEstablished":2,
            "connectionsDropped":2,"peerUptime":"00:00:01","lastResetDueTo":"BGP Notification received","idType":"ipv4"}},
            "failedPeers":1,"totalPeers":1}}}"#;
        let key = (Some("red".parse().unwrap()), "10.200.0.114".to_owned());
        assert_eq!(down(told).unwrap(), [(key, SessionCounters { established: 2, dropped: 2 })].into());
        assert_eq!(down("% No BGP process is configured").unwrap(), [].into());
    }
}
