//! What is known of an address in one VRF. Pure data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Serialize;

use crate::diagnose::facts::{ControllerState, Facts, PacketFilters, Unresolved};
use crate::diagnose::filtered::Filtered;
use crate::diagnose::finding::Finding;
use crate::diagnose::session_checks;
use crate::frr::show::family::EVPN;
use crate::frr::show::interface::Interface;
use crate::frr::show::mac::NeighborState;
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::route::{InstalledHop, Match, ReceivedRoute, Type5};
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::frr::show::type2::Type2;
use crate::frr::show::vni::VniState;
use crate::kernel::segment_ports::SegmentPort;
use crate::types::{Asn, Family, Vni, VrfName};

/// A session and, where it is not established, why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TracedSession {
    /// Address or interface.
    pub peer: String,
    /// Host name that it sent in its OPEN.
    pub hostname: Option<String>,
    /// Address families of unicast routes that it carries.
    pub families: Vec<Family>,
    /// AS number of the peer.
    pub remote_as: Option<Asn>,
    /// It gets our AS number in place of its own in AS paths.
    pub as_override: bool,
    /// State.
    pub state: SessionPhase,
    /// It carries L2VPN EVPN; `None` of a host session.
    pub evpn: Option<bool>,
    /// It starts from a VTEP of this node: it carries L2VPN EVPN alone.
    pub is_from_vtep: bool,
    /// Why it is not established, and the remedy.
    pub cause: Option<String>,
}

impl TracedSession {
    /// A session with what is known of its neighbor.
    pub fn new(state: &SessionState, reset: Option<&SessionReset>, facts: &Facts) -> Self {
        let carries_evpn = reset.and_then(|reset| reset.families.get(EVPN)).is_some_and(|families| families.is_done());
        Self {
            peer: state.peer.clone(),
            hostname: reset.and_then(|reset| reset.hostname.clone()),
            families: state.families(),
            remote_as: state.remote_as,
            evpn: state.vrf.is_none().then_some(carries_evpn),
            is_from_vtep: facts.is_from_vtep(state),
            as_override: reset.is_some_and(|reset| reset.as_override),
            state: state.phase.clone(),
            cause: session_checks::cause_with_remedy(state, facts),
        }
    }
}

/// From where packets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceSource {
    /// From the fabric, or from the host to the fabric.
    Unknown,
    /// From a workload of this node in this L2VNI: it needs no host session.
    Workload(Vni),
    /// From the host of this node.
    Host,
}

/// What is known of an address in one VRF.
#[derive(Debug, Clone)]
pub struct TraceFacts {
    /// The VRF.
    pub vrf: VrfName,
    /// Its VNI.
    pub vni: Vni,
    /// The VNI in FRR.
    pub state: VniState,
    /// Whether the controller works, which repairs links.
    pub controller: ControllerState,
    /// Longest match in bgpd.
    pub matched: Option<Match>,
    /// Where the kernel forwards to; empty if it has no such route.
    pub kernel: Vec<InstalledHop>,
    /// Our Type-5 route for the matched prefix.
    pub type5: Option<Type5>,
    /// Host sessions of the VRF.
    pub hosts: Vec<TracedSession>,
    /// Fabric sessions.
    pub fabric: Vec<TracedSession>,
    /// Routes that cover the address and are filtered, each with the host that advertises it.
    pub filtered: Vec<(String, Filtered)>,
    /// Routes that cover the address and are rejected, each with the host that advertises it: the AS number of this router is in their path.
    pub looped: Vec<(String, ReceivedRoute)>,
    /// Why routes of the fabric that cover the address are not in use.
    pub unused: Vec<Finding>,
    /// The workload of an L2 segment of the VRF that has the address.
    pub workload: Option<Workload>,
    /// The addresses of this node as the gateway of L2 segments of the VRF, by L2VNI.
    pub gateways: BTreeMap<Vni, Vec<IpNet>>,
    /// The host ends of L2 segments on bridges of the host; empty where they were not read.
    pub segment_ports: Vec<SegmentPort>,
    /// From where the packets come.
    pub from: TraceSource,
    /// The longest prefix of the underlay that covers the address, without a default route.
    pub in_underlay: Option<IpNet>,
    /// Links of the router; `None` where they were not read.
    pub links: Option<BTreeMap<String, Interface>>,
    /// Next hops of the underlay to each VTEP; `None` where they were not read.
    pub underlay: Option<BTreeMap<IpAddr, Vec<InstalledHop>>>,
    /// Tables of others that may drop packets in the namespace of the router (`None`) or in that of the VRF.
    pub packet_filters: BTreeMap<Option<VrfName>, PacketFilters>,
    /// The VTEPs for which the kernel has a router MAC; `None` where they were not read.
    pub forwarded: Option<BTreeSet<IpAddr>>,
    /// Addresses of the underlay that nobody answers for, each with the link.
    pub unresolved: Unresolved,
    /// The same in the namespace of the VRF: addresses of the host.
    pub unresolved_in_vrf: Unresolved,
    /// VTEPs that only a default route of the underlay covers.
    pub default_routed: BTreeSet<IpAddr>,
    /// VNIs with which each VTEP advertises the prefix, where the fabric does.
    pub sent_vnis: BTreeMap<IpAddr, BTreeSet<u32>>,
    /// The links over which the host sends packets to the address; `None` where that was not read or says nothing.
    pub host_links: Option<BTreeSet<String>>,
}

/// A workload of an L2 segment.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The L2VNI.
    pub vni: Vni,
    /// Its MAC address, and where it is.
    pub neighbor: NeighborState,
    /// Our MAC/IP route.
    pub type2: Option<Type2>,
}
