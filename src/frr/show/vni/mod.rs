//! VNIs as zebra and bgpd have them. In: the JSON of [`SHOW_ZEBRA_VNI`] and [`SHOW_BGP_VNI`], or of single VNIs. Out: one
//! [`VniState`] for each VNI, with its type. Pure.

mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::entry::VniType;
use self::entry::vni_entries;
use super::json::ShowError;
use super::vrf_binding::{Instances, Unbound, VrfIds, unbound};
use crate::types::{MacAddr, Vni, VrfName};

/// zebra: VNIs with their state.
pub const SHOW_ZEBRA_VNI: &str = "show evpn vni detail json";
/// bgpd: VNIs with route distinguisher and targets.
pub const SHOW_BGP_VNI: &str = "show bgp l2vpn evpn vni json";

/// A VNI as zebra and bgpd have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VniState {
    /// Its type. A status without it is of a version that read L3VNIs only.
    #[serde(default, rename = "type")]
    pub vni_type: VniType,
    /// Its VRF; for an L2VNI that of its bridge.
    pub vrf: String,
    /// zebra: the state of an L3VNI is `Up`. An L2VNI has no state: it is up if zebra has its VXLAN device.
    pub up: bool,
    /// zebra: the VTEP of this node for the VNI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtep: Option<IpAddr>,
    /// zebra: MAC of the bridge of an L3VNI.
    pub router_mac: Option<MacAddr>,
    /// zebra: the bridge.
    pub svi: Option<String>,
    /// bgpd has the VNI and originates routes for it.
    pub in_bgp: bool,
    /// bgpd: the router MAC of the Type-5 routes of an L3VNI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertised_mac: Option<MacAddr>,
    /// bgpd: route distinguisher.
    pub rd: Option<String>,
    /// bgpd: import route targets.
    pub import: Vec<String>,
    /// bgpd: export route targets.
    pub export: Vec<String>,
    /// Why bgpd's instance of its VRF is not bound to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unbound: Option<Unbound>,
    /// zebra: MAC addresses of an L2VNI, local and remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs: Option<u64>,
    /// zebra: neighbors (IP addresses with their MAC address) of an L2VNI, local and remote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub neighbors: Option<u64>,
    /// zebra: how many of both are of workloads of this node, as they were last read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<LocalCounts>,
    /// zebra: the VTEPs to which an L2VNI floods.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remote_vteps: Vec<IpAddr>,
}

/// What of an L2VNI is of workloads of this node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalCounts {
    /// MAC addresses.
    pub macs: u64,
    /// Neighbors.
    pub neighbors: u64,
}

/// How many there are at each place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlaceCounts {
    /// Of workloads of this node.
    pub local: u64,
    /// Of workloads behind other VTEPs.
    pub remote: u64,
}

impl PlaceCounts {
    /// `local` was read after `all`, and may count what was not there before.
    fn of(all: Option<u64>, local: u64) -> Option<Self> {
        Some(Self { local, remote: all?.saturating_sub(local) })
    }
}

/// Why a VNI is not in service in its VRF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VniFault {
    /// Neither daemon lists it, or not in this VRF.
    #[error("FRR does not list the L3VNI in the VRF")]
    NotListed,
    /// zebra has it down.
    #[error("zebra has the L3VNI down")]
    Down,
    /// bgpd does not have it.
    #[error("bgpd does not have the L3VNI")]
    NotInBgp,
    /// zebra does not list it, or not as an L2VNI.
    #[error("zebra does not list the L2VNI")]
    SegmentNotListed,
    /// zebra has the bridge in another VRF.
    #[error("zebra has the bridge of the L2VNI in another VRF")]
    SegmentElsewhere,
    /// zebra does not have the VXLAN device.
    #[error("zebra does not have the VXLAN device of the L2VNI")]
    SegmentDown,
    /// bgpd does not have the L2VNI, and sends no multicast route for it.
    #[error("bgpd does not have the L2VNI")]
    SegmentNotInBgp,
    /// What bgpd has of it is of another VRF, or of none.
    #[error(transparent)]
    Unbound(Unbound),
}

impl VniState {
    /// Its routes are exchanged: zebra has it up, an L3VNI with a router MAC, and bgpd has it.
    pub fn is_ready(&self) -> bool {
        self.up && self.in_bgp && self.unbound.is_none() && (self.vni_type == VniType::L2 || self.router_mac.is_some())
    }

    /// The MAC addresses of an L2VNI, once they were read.
    pub fn mac_counts(&self) -> Option<PlaceCounts> {
        PlaceCounts::of(self.macs, self.local?.macs)
    }

    /// The neighbors of an L2VNI, once they were read.
    pub fn neighbor_counts(&self) -> Option<PlaceCounts> {
        PlaceCounts::of(self.neighbors, self.local?.neighbors)
    }

    /// bgpd's instance has a VRF that is gone.
    pub fn stale_instance(&self) -> Option<Unbound> {
        self.unbound.filter(|unbound| matches!(unbound, Unbound::OtherId { .. }))
    }

    /// Why it is not in service as the L3VNI of a VRF; `None` where it is.
    pub fn fault(&self, vrf: &VrfName) -> Option<VniFault> {
        match self.unbound {
            _ if !self.is_l3_of(vrf) => Some(VniFault::NotListed),
            Some(unbound) => Some(VniFault::Unbound(unbound)),
            None if !self.up || self.router_mac.is_none() => Some(VniFault::Down),
            None if !self.in_bgp => Some(VniFault::NotInBgp),
            None => None,
        }
    }

    /// Why it is not in service as an L2VNI with its bridge in this VRF; `None` where it is.
    pub fn fault_of_segment(&self, vrf: Option<&VrfName>) -> Option<VniFault> {
        match () {
            () if self.vni_type != VniType::L2 || self.vrf.is_empty() => Some(VniFault::SegmentNotListed),
            () if self.vrf != vrf.map_or(DEFAULT_VRF, VrfName::as_str) => Some(VniFault::SegmentElsewhere),
            () if !self.up => Some(VniFault::SegmentDown),
            () if !self.in_bgp => Some(VniFault::SegmentNotInBgp),
            () => None,
        }
    }

    /// Whether it is the L3VNI of a VRF.
    pub fn is_l3_of(&self, vrf: &VrfName) -> bool {
        self.vni_type == VniType::L3 && self.vrf == vrf.as_str()
    }

    /// bgpd has it from an earlier zebra and is not connected to the present one, which reports no VNI until then.
    pub fn is_only_in_bgp(&self) -> bool {
        self.in_bgp && self.vrf.is_empty()
    }
}

/// As FRR names the VRF of a link without one.
const DEFAULT_VRF: &str = "default";

/// zebra: one VNI.
pub fn show_zebra_vni(vni: Vni) -> String {
    format!("show evpn vni {vni} json")
}

/// bgpd: one VNI.
pub fn show_bgp_vni(vni: Vni) -> String {
    format!("show bgp l2vpn evpn vni {vni} json")
}

/// zebra: the router MACs of the VTEPs to which an L3VNI has routes.
pub fn show_router_macs(vni: Vni) -> String {
    format!("show evpn rmac vni {vni} json")
}

/// Reads [`show_router_macs`]: `{"numRmacs": 1, MAC: {"routerMac": MAC, "vtepIp": ADDRESS}}`. Empty for a VNI that zebra does not
/// know, which it prints as text.
pub fn router_macs(text: &str) -> BTreeSet<MacAddr> {
    let found: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).unwrap_or_default();
    found.values().filter_map(|entry| entry.get("routerMac")?.as_str()?.parse().ok()).collect()
}

/// The outputs of [`show_zebra_vni`] or [`show_bgp_vni`] as the list that [`vnis`] reads. For a VNI that it does not have
/// bgpd prints two empty objects.
pub fn listed(outputs: &[String]) -> String {
    let trimmed = outputs.iter().map(|output| output.trim());
    let known = trimmed.filter(|output| output.starts_with('{') && !output.starts_with("{}"));
    format!("[{}]", known.collect::<Vec<_>>().join(","))
}

/// Merges what zebra ([`SHOW_ZEBRA_VNI`]) and bgpd ([`SHOW_BGP_VNI`]) print. The type is that of zebra: where bgpd has the VNI
/// with another one, it has not processed the change yet, and does not have this VNI.
///
/// # Errors
/// If one of the texts is not JSON.
pub fn vnis(zebra: &str, bgpd: &str) -> Result<BTreeMap<Vni, VniState>, ShowError> {
    let mut states: BTreeMap<Vni, VniState> = BTreeMap::new();
    for (vni, vni_type, entry) in vni_entries(SHOW_ZEBRA_VNI, zebra)? {
        let up = match vni_type {
            VniType::L2 => entry.vxlan_interface.0.is_some_and(|name| name != "unknown"),
            VniType::L3 => entry.state.0.as_deref() == Some("Up"),
        };
        let state = VniState {
            vni_type,
            vrf: entry.vrf.0.unwrap_or_default(),
            up,
            vtep: entry.vtep.0.and_then(|vtep| vtep.parse().ok()).filter(|vtep: &IpAddr| !vtep.is_unspecified()),
            router_mac: entry.router_mac.0.and_then(|mac| mac.parse().ok()),
            svi: entry.svi.0.filter(|name| name != "None"),
            macs: entry.macs.0,
            neighbors: entry.neighbors.0,
            remote_vteps: entry.remote_vteps.iter().filter_map(|vtep| vtep.parse().ok()).collect(),
            ..VniState::default()
        };
        states.insert(vni, state);
    }
    for (vni, vni_type, entry) in vni_entries(SHOW_BGP_VNI, bgpd)? {
        let state = states.entry(vni).or_insert_with(|| VniState { vni_type, ..VniState::default() });
        if state.vni_type != vni_type {
            continue;
        }
        state.in_bgp = entry.in_kernel.0.as_deref() != Some("False");
        state.advertised_mac = entry.advertised_mac.0.and_then(|mac| mac.parse().ok());
        state.rd = entry.rd.0;
        state.import = entry.import;
        state.export = entry.export;
    }
    // A status is kept until the next one, and entries that are added one by one leave the nodes of a tree half empty.
    Ok(states.into_iter().collect())
}

/// Records of each L3VNI that zebra has up whether bgpd's instance of its VRF is bound to it.
pub fn bind(states: &mut BTreeMap<Vni, VniState>, zebra: &VrfIds, bgpd: &Instances) {
    for state in states.values_mut().filter(|state| state.vni_type == VniType::L3 && state.up) {
        state.unbound = unbound(&state.vrf, zebra, bgpd);
    }
}

#[cfg(test)]
mod tests;
