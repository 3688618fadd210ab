//! A session as it is listed, with the reason why it is not established. In: what FRR shows of it. Out: the one shape of `perouter
//! sessions` and of the page. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::cause::{Cause, last_error};
use super::facts::Facts;
use super::filtered::Filtered;
use super::finding::rfc3339;
use super::session_checks;
use crate::frr::show::neighbor::{Negotiation, SessionReset};
use crate::frr::show::session::{Prefixes, SessionPhase, SessionState};
use crate::types::{Asn, VrfName};

/// A session with its cause.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedSession {
    /// Its VRF; absent of one with the fabric.
    pub vrf: Option<VrfName>,
    /// Address or interface.
    pub peer: String,
    /// Host name that the peer sent in its OPEN.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// AS number of the peer.
    pub remote_as: Option<Asn>,
    /// State.
    pub state: SessionPhase,
    /// When it was established; only while it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// When it went down; absent while it is established, and before it was for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub down_since: Option<String>,
    /// How often it was established since the neighbor was configured.
    pub established: u64,
    /// Our address on the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_address: Option<String>,
    /// BGP router id of the peer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote_router_id: Option<String>,
    /// Address families that either side offers, while it is established.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub families: BTreeMap<String, Negotiation>,
    /// Other capabilities that either side has advertised.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub capabilities: BTreeMap<String, Negotiation>,
    /// By address family.
    pub prefixes: BTreeMap<String, Prefixes>,
    /// Why it is not established.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// How the last session or attempt ended, also of one that is established now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// Routes that are filtered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub filtered: Vec<Filtered>,
    /// Seconds since it went up or down.
    #[serde(skip)]
    pub age: Option<u64>,
}

/// How a session or an attempt ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// As a word of the closed list of findings.
    pub kind: &'static str,
    /// As a sentence.
    pub text: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// Seconds since then.
    #[serde(skip)]
    pub age: Option<u64>,
}

impl ListedSession {
    /// A session with what is known of its neighbor; `now` is in seconds since the epoch.
    pub fn new(state: SessionState, reset: Option<SessionReset>, cause: Option<String>, now: u64) -> Self {
        let error = reset.as_ref().and_then(|reset| last_error(&state, reset));
        let is_down = state.phase != SessionPhase::Established && state.established > 0;
        let reset = reset.unwrap_or_default();
        let before = |age: u64| now.saturating_sub(age);
        let last_error = error.map(|Cause { kind, text, .. }| LastError {
            kind: kind.as_str(),
            text,
            time: reset.reset_age.map(before).map(rfc3339),
            age: reset.reset_age,
        });
        let down_for = reset.reset_age.filter(|_| is_down);
        Self {
            vrf: state.vrf,
            peer: state.peer,
            hostname: reset.hostname,
            remote_as: state.remote_as,
            state: state.phase,
            since: state.since.map(rfc3339),
            down_since: down_for.map(before).map(rfc3339),
            established: state.established,
            local_address: reset.local_address,
            remote_router_id: reset.remote_router_id,
            families: reset.families,
            capabilities: reset.capabilities,
            prefixes: state.prefixes,
            cause,
            last_error,
            filtered: vec![],
            age: state.since.map(|since| now.saturating_sub(since)).or(down_for),
        }
    }

    /// All sessions of the facts.
    pub fn all(facts: &Facts) -> Vec<Self> {
        let listed = |state: &SessionState| {
            let (key, reset) = (state.key(), facts.neighbors.get(&state.key()));
            let cause = session_checks::cause(state, facts);
            let of_session = facts.filtered.iter().filter(|(of, _)| *of == key);
            let filtered = of_session.map(|(_, route)| route.clone()).collect();
            Self { filtered, ..Self::new(state.clone(), reset.cloned(), cause, facts.now) }
        };
        facts.sessions.iter().map(listed).collect()
    }

    /// Its VRF, `default` for the default instance as in FRR.
    pub fn vrf_name(&self) -> &str {
        self.vrf.as_ref().map_or("default", VrfName::as_str)
    }
}
