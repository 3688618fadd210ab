//! What FRR says of itself, typed. In: the texts of `show` commands. Out: VRFs, VNIs, sessions. Fields that a release
//! does not print are `None`; unknown ones are ignored. Pure; [`crate::frr::client::port`] fetches the texts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::MapAccess;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::json::{Fields, JsonObject, List, Number, Word};
pub use super::session::{SHOW_DOWN, SHOW_SESSIONS, SessionCounters, SessionKey, down, sessions};
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

/// zebra: one VNI.
pub fn show_zebra_vni(vni: Vni) -> String {
    format!("show evpn vni {vni} json")
}

/// bgpd: one VNI.
pub fn show_bgp_vni(vni: Vni) -> String {
    format!("show bgp l2vpn evpn vni {vni} json")
}

/// The answers to [`show_zebra_vni`] or [`show_bgp_vni`] as the list that [`vnis`] reads. For a VNI that it does not have
/// bgpd prints two empty objects.
pub fn listed(answers: &[String]) -> String {
    let are_there = answers.iter().map(|answer| answer.trim());
    let are_there = are_there.filter(|answer| answer.starts_with('{') && !answer.starts_with("{}"));
    format!("[{}]", are_there.collect::<Vec<_>>().join(","))
}

/// Merges what zebra ([`SHOW_ZEBRA_VNI`]) and bgpd ([`SHOW_BGP_VNI`]) say of L3VNIs.
///
/// # Errors
/// If one of the texts is not JSON.
pub fn vnis(zebra: &str, bgpd: &str) -> Result<BTreeMap<Vni, VniState>, ObserveError> {
    let mut states: BTreeMap<Vni, VniState> = BTreeMap::new();
    for (vni, entry) in vni_entries(SHOW_ZEBRA_VNI, zebra)? {
        let state = states.entry(vni).or_default();
        state.vrf = entry.vrf.unwrap_or_default();
        state.up = entry.state.as_deref() == Some("Up");
        state.router_mac = entry.router_mac.and_then(|mac| mac.parse().ok());
        state.svi = entry.svi.filter(|name| name != "None");
    }
    for (vni, entry) in vni_entries(SHOW_BGP_VNI, bgpd)? {
        let state = states.entry(vni).or_default();
        state.in_bgp = entry.in_kernel.as_deref() != Some("False");
        state.rd = entry.rd;
        state.import = entry.import;
        state.export = entry.export;
    }
    Ok(states)
}

/// A VNI as zebra or bgpd tells it.
#[derive(Default)]
struct VniEntry {
    kind: Option<String>,
    vni: Option<u64>,
    vrf: Option<String>,
    state: Option<String>,
    router_mac: Option<String>,
    svi: Option<String>,
    in_kernel: Option<String>,
    rd: Option<String>,
    import: Vec<String>,
    export: Vec<String>,
}

impl Fields for VniEntry {
    // FRR 8 says `vrf` and `importRTs`, FRR 10 `tenantVrf` and `importRts`.
    const NAMES: &'static [&'static str] = &[
        "type",
        "vni",
        "vrf",
        "tenantVrf",
        "state",
        "routerMac",
        "sviIntf",
        "inKernel",
        "rd",
        "importRTs",
        "importRts",
        "exportRTs",
        "exportRts",
    ];

    fn take<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<(), A::Error> {
        match name {
            "vni" => self.vni = from.next_value::<Number>()?.0,
            "importRTs" | "importRts" => self.import = words(from.next_value()?),
            "exportRTs" | "exportRts" => self.export = words(from.next_value()?),
            _ => {
                let word = from.next_value::<Word>()?.0;
                match name {
                    "type" => self.kind = word,
                    "vrf" | "tenantVrf" => self.vrf = word,
                    "state" => self.state = word,
                    "routerMac" => self.router_mac = word,
                    "sviIntf" => self.svi = word,
                    "inKernel" => self.in_kernel = word,
                    _ => self.rd = word,
                }
            }
        }
        Ok(())
    }
}

fn words(list: List<Word>) -> Vec<String> {
    list.0.into_iter().filter_map(|word| word.0).collect()
}

/// The L3VNIs of a list, or of the values of an object.
fn vni_entries(command: &'static str, text: &str) -> Result<Vec<(Vni, VniEntry)>, ObserveError> {
    let Some(List(entries)) = read::<List<JsonObject<VniEntry>>>(command, text)? else { return Ok(vec![]) };
    let of_l3 = |entry: VniEntry| {
        let raw = entry.vni.filter(|_| entry.kind.as_deref() == Some("L3"))?;
        let vni = u32::try_from(raw).ok().and_then(|raw| Vni::try_from(raw).ok())?;
        Some((vni, entry))
    };
    Ok(entries.into_iter().filter_map(|entry| entry.0.and_then(of_l3)).collect())
}

pub(crate) fn text(entry: &Value, key: &str) -> Option<String> {
    entry.get(key)?.as_str().map(str::to_owned)
}

/// State of the BGP machine (RFC 4271 section 8.2.2) as FRR prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum SessionPhase {
    /// Routes may flow.
    Established,
    /// Any other, in FRR's word.
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

/// Without an instance FRR prints nothing or a line with `%` in place of JSON.
pub(crate) fn read<T: serde::de::DeserializeOwned>(
    command: &'static str,
    text: &str,
) -> Result<Option<T>, ObserveError> {
    let text = text.trim();
    if text.is_empty() || text.starts_with('%') {
        return Ok(None);
    }
    serde_json::from_str(text).map(Some).map_err(|source| ObserveError { command, source })
}

/// As a tree of all that was printed.
pub(crate) fn json(command: &'static str, text: &str) -> Result<Value, ObserveError> {
    Ok(read(command, text)?.unwrap_or(Value::Null))
}

#[cfg(test)]
mod tests;
