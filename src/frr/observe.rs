//! What FRR says of itself, typed. In: the texts of `show` commands. Out: VRFs, VNIs, sessions. Fields that a release
//! does not print are `None`; unknown ones are ignored. Pure; [`super::port`] fetches the texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::types::{Asn, Family, IfName, MacAddr, Vni, VrfMode, VrfName};

/// FRR printed something else than the JSON that was asked for.
#[derive(Debug, Error)]
#[error("reading `{command}`")]
pub struct ObserveError {
    /// The command.
    pub command: &'static str,
    /// Cause.
    #[source]
    pub source: serde_json::Error,
}

/// zebra: VRFs.
pub const SHOW_VRF: &str = "show vrf";
/// zebra: VNIs with their state.
pub const SHOW_ZEBRA_VNI: &str = "show evpn vni detail json";
/// bgpd: VNIs with route distinguisher and targets.
pub const SHOW_BGP_VNI: &str = "show bgp l2vpn evpn vni json";
/// bgpd: sessions of all VRFs.
pub const SHOW_SESSIONS: &str = "show bgp vrf all summary json";

/// zebra: how it was started, among others.
pub const SHOW_ZEBRA: &str = "show zebra";

/// Reads the VRF mode of [`SHOW_ZEBRA`]: ` VRF    Namespaces` or ` VRF    l3mdev Available`.
pub fn mode(text: &str) -> Option<VrfMode> {
    text.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>()[..] {
        ["VRF", "Namespaces"] => Some(VrfMode::Netns),
        ["VRF", "l3mdev", _] => Some(VrfMode::Vrf),
        _ => None,
    })
}

/// Whether zebra has a VRF's device or namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum VrfState {
    /// It is there.
    Active,
    /// Only its configuration is left.
    Inactive,
}

/// Reads `show vrf`: `vrf red id 5 table 1001`, `vrf red id 1 netns /run/netns/red (configured)`, `vrf red inactive`.
pub fn vrfs(text: &str) -> BTreeMap<VrfName, VrfState> {
    let one = |line: &str| {
        let mut words = line.split_whitespace();
        let name = (words.next() == Some("vrf")).then(|| words.next()).flatten()?;
        let state = if words.next() == Some("id") { VrfState::Active } else { VrfState::Inactive };
        Some((name.parse().ok()?, state))
    };
    text.lines().filter_map(one).collect()
}

/// zebra: links of a VRF.
pub fn show_links(vrf: &VrfName) -> String {
    format!("show interface vrf {vrf} brief")
}

/// Reads [`show_links`]: a table with a head and a rule of dashes, the name in the first column.
pub fn links(text: &str) -> BTreeSet<IfName> {
    let rows = text.lines().skip_while(|line| !line.trim_start().starts_with("---")).skip(1);
    rows.filter_map(|row| row.split_whitespace().next()?.parse().ok()).collect()
}

/// An L3VNI as zebra and bgpd know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VniState {
    /// Its VRF.
    pub vrf: String,
    /// zebra: "Up".
    pub up: bool,
    /// zebra: MAC of the bridge.
    pub router_mac: Option<MacAddr>,
    /// zebra: the bridge.
    pub svi: Option<String>,
    /// bgpd has taken the VNI up and makes Type-5 routes for it.
    pub in_bgp: bool,
    /// bgpd: route distinguisher.
    pub rd: Option<String>,
    /// bgpd: import route targets.
    pub import: Vec<String>,
    /// bgpd: export route targets.
    pub export: Vec<String>,
}

impl VniState {
    /// Type-5 routes flow: zebra says Up with a router MAC and bgpd knows the VNI.
    pub fn is_ready(&self) -> bool {
        self.up && self.router_mac.is_some() && self.in_bgp
    }

    /// bgpd has it from a former zebra and has not come to this one, which tells of no VNI before.
    pub fn is_only_in_bgp(&self) -> bool {
        self.in_bgp && self.vrf.is_empty()
    }
}

/// Merges what zebra ([`SHOW_ZEBRA_VNI`]) and bgpd ([`SHOW_BGP_VNI`]) say of L3VNIs.
///
/// # Errors
/// If one of the texts is not JSON.
pub fn vnis(zebra: &str, bgpd: &str) -> Result<BTreeMap<Vni, VniState>, ObserveError> {
    let mut states: BTreeMap<Vni, VniState> = BTreeMap::new();
    for entry in entries(json(SHOW_ZEBRA_VNI, zebra)?) {
        let Some(vni) = vni_of(&entry) else { continue };
        let state = states.entry(vni).or_default();
        // FRR 8 says `vrf`, FRR 10 `tenantVrf`.
        state.vrf = text(&entry, "vrf").or_else(|| text(&entry, "tenantVrf")).unwrap_or_default();
        state.up = text(&entry, "state").as_deref() == Some("Up");
        state.router_mac = text(&entry, "routerMac").and_then(|mac| mac.parse().ok());
        state.svi = text(&entry, "sviIntf").filter(|name| name != "None");
    }
    for entry in entries(json(SHOW_BGP_VNI, bgpd)?) {
        let Some(vni) = vni_of(&entry) else { continue };
        let state = states.entry(vni).or_default();
        state.in_bgp = text(&entry, "inKernel").as_deref() != Some("False");
        state.rd = text(&entry, "rd");
        state.import = texts(&entry, &["importRTs", "importRts"]);
        state.export = texts(&entry, &["exportRTs", "exportRts"]);
    }
    Ok(states)
}

/// The objects of a list, or those that are values of an object.
fn entries(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        Value::Object(map) => map.into_iter().map(|(_, value)| value).filter(Value::is_object).collect(),
        _ => vec![],
    }
}

fn vni_of(entry: &Value) -> Option<Vni> {
    let is_l3 = text(entry, "type").as_deref() == Some("L3");
    let raw = entry.get("vni")?.as_u64().filter(|_| is_l3)?;
    u32::try_from(raw).ok().and_then(|raw| Vni::try_from(raw).ok())
}

pub(super) fn text(entry: &Value, key: &str) -> Option<String> {
    entry.get(key)?.as_str().map(str::to_owned)
}

fn texts(entry: &Value, keys: &[&str]) -> Vec<String> {
    let list = keys.iter().find_map(|key| entry.get(key)?.as_array());
    list.into_iter().flatten().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

/// State of the BGP machine (RFC 4271 section 8.2.2) as FRR prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Phase {
    /// Routes may flow.
    Established,
    /// Any other, in FRR's word.
    Down(String),
}

impl From<String> for Phase {
    fn from(word: String) -> Self {
        if word == "Established" { Self::Established } else { Self::Down(word) }
    }
}

impl From<Phase> for String {
    fn from(phase: Phase) -> Self {
        phase.to_string()
    }
}

impl fmt::Display for Phase {
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
    pub phase: Phase,
    /// Seconds since the epoch at which it was established, only while it is.
    pub since: Option<u64>,
    /// How often it was established since the neighbor was configured: more than one is a flap.
    pub established: u64,
    /// By address family, in FRR's words (`ipv4Unicast`, `l2VpnEvpn`).
    pub prefixes: BTreeMap<String, Prefixes>,
}

impl SessionState {
    /// Address families of unicast routes that it carries.
    pub fn families(&self) -> Vec<Family> {
        let known = [("ipv4Unicast", Family::Ipv4), ("ipv6Unicast", Family::Ipv6)].into_iter();
        known.filter_map(|(name, family)| self.prefixes.contains_key(name).then_some(family)).collect()
    }

    /// Its VRF as FRR calls it.
    pub fn vrf_name(&self) -> &str {
        self.vrf.as_ref().map_or("default", VrfName::as_str)
    }
}

/// Reads [`SHOW_SESSIONS`].
///
/// # Errors
/// If the text is not JSON.
pub fn sessions(summary: &str) -> Result<Vec<SessionState>, ObserveError> {
    let mut found: BTreeMap<(Option<VrfName>, String), SessionState> = BTreeMap::new();
    let Value::Object(vrfs) = json(SHOW_SESSIONS, summary)? else { return Ok(vec![]) };
    for (name, families) in vrfs {
        // "default" is no VRF name of ours, so it reads as the default instance.
        let vrf: Option<VrfName> = name.parse().ok();
        for (family, body) in families.as_object().into_iter().flatten() {
            for (peer, entry) in body.get("peers").and_then(Value::as_object).into_iter().flatten() {
                let key = (vrf.clone(), peer.clone());
                let session = found.entry(key).or_insert_with(|| session(vrf.clone(), peer, entry));
                session.prefixes.insert(family.clone(), prefixes(entry));
            }
        }
    }
    Ok(found.into_values().collect())
}

fn session(vrf: Option<VrfName>, peer: &str, entry: &Value) -> SessionState {
    let number = |key: &str| entry.get(key).and_then(Value::as_u64);
    let phase = Phase::from(text(entry, "state").unwrap_or_default());
    let asn = number("remoteAs").and_then(|raw| u32::try_from(raw).ok());
    SessionState {
        vrf,
        peer: peer.to_owned(),
        remote_as: asn.and_then(|raw| Asn::try_from(raw).ok()),
        since: number("peerUptimeEstablishedEpoch").filter(|_| phase == Phase::Established),
        phase,
        established: number("connectionsEstablished").unwrap_or_default(),
        prefixes: BTreeMap::new(),
    }
}

fn prefixes(entry: &Value) -> Prefixes {
    let number = |key: &str| entry.get(key).and_then(Value::as_u64).unwrap_or_default();
    Prefixes { received: number("pfxRcd"), sent: number("pfxSnt") }
}

/// Without an instance FRR prints nothing or a line with `%` in place of JSON.
pub(super) fn json(command: &'static str, text: &str) -> Result<Value, ObserveError> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('%') {
        return Ok(Value::Null);
    }
    serde_json::from_str(text).map_err(|source| ObserveError { command, source })
}

#[cfg(test)]
#[path = "observe_tests.rs"]
mod tests;
