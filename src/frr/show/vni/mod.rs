//! VNIs as zebra and bgpd have them. In: the JSON of [`SHOW_ZEBRA_VNI`] and [`SHOW_BGP_VNI`], or of single VNIs. Out: one
//! [`VniState`] for each L3VNI. Pure.

use std::collections::BTreeMap;

use serde::de::MapAccess;
use serde::{Deserialize, Serialize};

use super::json::{Fields, JsonObject, List, Number, ShowError, Word, read};
use crate::types::{MacAddr, Vni};

/// zebra: VNIs with their state.
pub const SHOW_ZEBRA_VNI: &str = "show evpn vni detail json";
/// bgpd: VNIs with route distinguisher and targets.
pub const SHOW_BGP_VNI: &str = "show bgp l2vpn evpn vni json";

/// An L3VNI as zebra and bgpd have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VniState {
    /// Its VRF.
    pub vrf: String,
    /// zebra: its state is `Up`.
    pub up: bool,
    /// zebra: MAC of the bridge.
    pub router_mac: Option<MacAddr>,
    /// zebra: the bridge.
    pub svi: Option<String>,
    /// bgpd has the VNI and originates Type-5 routes for it.
    pub in_bgp: bool,
    /// bgpd: route distinguisher.
    pub rd: Option<String>,
    /// bgpd: import route targets.
    pub import: Vec<String>,
    /// bgpd: export route targets.
    pub export: Vec<String>,
}

impl VniState {
    /// Type-5 routes are exchanged: zebra has it up with a router MAC, and bgpd has it.
    pub fn is_ready(&self) -> bool {
        self.up && self.router_mac.is_some() && self.in_bgp
    }

    /// bgpd has it from an earlier zebra and is not connected to the present one, which reports no VNI until then.
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

/// The outputs of [`show_zebra_vni`] or [`show_bgp_vni`] as the list that [`vnis`] reads. For a VNI that it does not have
/// bgpd prints two empty objects.
pub fn listed(outputs: &[String]) -> String {
    let trimmed = outputs.iter().map(|output| output.trim());
    let known = trimmed.filter(|output| output.starts_with('{') && !output.starts_with("{}"));
    format!("[{}]", known.collect::<Vec<_>>().join(","))
}

/// Merges what zebra ([`SHOW_ZEBRA_VNI`]) and bgpd ([`SHOW_BGP_VNI`]) print for L3VNIs.
///
/// # Errors
/// If one of the texts is not JSON.
pub fn vnis(zebra: &str, bgpd: &str) -> Result<BTreeMap<Vni, VniState>, ShowError> {
    let mut states: BTreeMap<Vni, VniState> = BTreeMap::new();
    for (vni, entry) in vni_entries(SHOW_ZEBRA_VNI, zebra)? {
        let state = states.entry(vni).or_default();
        state.vrf = entry.vrf.0.unwrap_or_default();
        state.up = entry.state.0.as_deref() == Some("Up");
        state.router_mac = entry.router_mac.0.and_then(|mac| mac.parse().ok());
        state.svi = entry.svi.0.filter(|name| name != "None");
    }
    for (vni, entry) in vni_entries(SHOW_BGP_VNI, bgpd)? {
        let state = states.entry(vni).or_default();
        state.in_bgp = entry.in_kernel.0.as_deref() != Some("False");
        state.rd = entry.rd.0;
        state.import = entry.import;
        state.export = entry.export;
    }
    Ok(states)
}

/// A VNI as zebra or bgpd prints it.
#[derive(Default)]
struct VniEntry {
    kind: Word,
    vni: Number,
    vrf: Word,
    state: Word,
    router_mac: Word,
    svi: Word,
    in_kernel: Word,
    rd: Word,
    import: Vec<String>,
    export: Vec<String>,
}

#[derive(Clone, Copy)]
enum VniField {
    Kind,
    Vni,
    Vrf,
    State,
    RouterMac,
    Svi,
    InKernel,
    Rd,
    Import,
    Export,
}

impl Fields for VniEntry {
    type Field = VniField;

    const KEYS: &'static [(&'static str, VniField)] = &[
        ("type", VniField::Kind),
        ("vni", VniField::Vni),
        // FRR 8.4, FRR 10.
        ("vrf", VniField::Vrf),
        ("tenantVrf", VniField::Vrf),
        ("state", VniField::State),
        ("routerMac", VniField::RouterMac),
        ("sviIntf", VniField::Svi),
        ("inKernel", VniField::InKernel),
        ("rd", VniField::Rd),
        // FRR 8.4, FRR 10.
        ("importRTs", VniField::Import),
        ("importRts", VniField::Import),
        ("exportRTs", VniField::Export),
        ("exportRts", VniField::Export),
    ];

    fn set<'de, A: MapAccess<'de>>(&mut self, field: VniField, object: &mut A) -> Result<(), A::Error> {
        match field {
            VniField::Kind => self.kind = object.next_value()?,
            VniField::Vni => self.vni = object.next_value()?,
            VniField::Vrf => self.vrf = object.next_value()?,
            VniField::State => self.state = object.next_value()?,
            VniField::RouterMac => self.router_mac = object.next_value()?,
            VniField::Svi => self.svi = object.next_value()?,
            VniField::InKernel => self.in_kernel = object.next_value()?,
            VniField::Rd => self.rd = object.next_value()?,
            VniField::Import => self.import = words(object.next_value()?),
            VniField::Export => self.export = words(object.next_value()?),
        }
        Ok(())
    }
}

fn words(list: List<Word>) -> Vec<String> {
    list.0.into_iter().filter_map(|word| word.0).collect()
}

/// The L3VNIs of a list, or of the values of an object.
fn vni_entries(command: &'static str, text: &str) -> Result<Vec<(Vni, VniEntry)>, ShowError> {
    let Some(List(entries)) = read::<List<JsonObject<VniEntry>>>(command, text)? else { return Ok(vec![]) };
    let of_l3 = |entry: VniEntry| {
        let raw = entry.vni.0.filter(|_| entry.kind.0.as_deref() == Some("L3"))?;
        let vni = u32::try_from(raw).ok().and_then(|raw| Vni::try_from(raw).ok())?;
        Some((vni, entry))
    };
    Ok(entries.into_iter().filter_map(|entry| entry.0.and_then(of_l3)).collect())
}

#[cfg(test)]
mod tests;
