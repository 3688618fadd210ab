//! What the checks read. In: what the controller wrote last, and what FRR, the kernel and the host show now. Out: [`Facts`]. What was
//! not read is `None`: a check that needs it says nothing. Pure data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::cause::SessionCause;
use super::filtered::Filtered;
use crate::frr::show::bfd::BfdPeer;
use crate::frr::show::family::EVPN;
use crate::frr::show::interface::Interface;
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::route::{InstalledHop, ReceivedRoute};
use crate::frr::show::session::{SessionKey, SessionPhase, SessionState};
use crate::frr::show::type5::Type5Route;
use crate::frr::show::vni::VniState;
use crate::kernel::nftables::others::DroppingTable;
use crate::kernel::segment_ports::SegmentPort;
use crate::kind::note::Note;
use crate::kind::object::{Kind, Location, ObjectRef};
use crate::types::{MacAddr, Vni, VrfName};

/// Seconds in which routes are exchanged on a session that has just been established.
const SETTLES: u64 = 30;

/// Addresses that nobody answers for, by ARP or Neighbor Discovery, each with the link.
pub type Unresolved = BTreeSet<(IpAddr, String)>;

/// What became of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ObjectOutcome {
    /// It is in place.
    Ready,
    /// It is accepted, and a part of it is not in place.
    Failed,
    /// It is not accepted.
    Rejected,
}

/// An object of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedObject {
    /// The object.
    pub object: ObjectRef,
    /// The VRF that it is, if it is one.
    pub vrf: Option<VrfName>,
    /// Its VNI, if it has one.
    pub vni: Option<Vni>,
    /// What became of it.
    pub outcome: ObjectOutcome,
    /// What is wrong, one mistake per line.
    pub message: String,
    /// File and line of the first mistake.
    pub location: Option<Location>,
    /// The last accepted version is in force.
    pub last_accepted_in_force: bool,
}

/// Whether the controller works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ControllerState {
    /// It runs, and its status is fresh.
    #[default]
    Running,
    /// No controller runs on the node.
    Stopped,
    /// It runs, and its status is this many seconds old.
    Stale(u64),
}

/// What is known of the router of a node.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Seconds since the epoch.
    pub now: u64,
    /// The controller.
    pub controller: ControllerState,
    /// FRR's daemons that do not answer, each with the error.
    pub silent: BTreeMap<String, String>,
    /// Why this version of FRR may behave differently.
    pub frr_warning: Option<String>,
    /// Lines in FRR that are not ours.
    pub foreign_lines: Vec<String>,
    /// The ports of others of the managed bridges of segments that this node does not have, by their VNI.
    pub kept_ports: BTreeMap<Vni, BTreeSet<String>>,
    /// The objects of this node; `None` where no controller has written a status.
    pub objects: Option<Vec<CheckedObject>>,
    /// What accepted objects lose.
    pub notes: Vec<Note>,
    /// VTEP addresses of this node.
    pub vteps: BTreeSet<IpAddr>,
    /// Router id of this node.
    pub router_id: Option<Ipv4Addr>,
    /// Sessions.
    pub sessions: Vec<SessionState>,
    /// Details of sessions: of those with the fabric, and of those that are not established at least.
    pub neighbors: BTreeMap<SessionKey, SessionReset>,
    /// What the kernel shows of sessions.
    pub tcp_causes: Vec<SessionCause>,
    /// VNIs of both types.
    pub vnis: BTreeMap<Vni, VniState>,
    /// Routes that host sessions filter.
    pub filtered: Vec<(SessionKey, Filtered)>,
    /// Links of the router by name, those of its VRFs included.
    pub links: Option<BTreeMap<String, Interface>>,
    /// Tables of others that may drop packets in the namespace of the router (`None`) and in those of VRFs.
    pub packet_filters: BTreeMap<Option<VrfName>, PacketFilters>,
    /// Addresses of the underlay that nobody answers for, by ARP or Neighbor Discovery, each with the link.
    pub unresolved: Unresolved,
    /// The same in the namespaces of VRFs, of each VRF that has one: addresses of hosts.
    pub unresolved_in: BTreeMap<VrfName, Unresolved>,
    /// Installed routes of the default instance, with their next hops; `None` where they were not read.
    pub underlay: Option<BTreeMap<IpNet, Vec<InstalledHop>>>,
    /// BFD sessions.
    pub bfd: Vec<BfdPeer>,
    /// The VTEPs for which the kernel has a router MAC, by VRF; those that were not read are absent.
    pub forwarded: BTreeMap<VrfName, BTreeSet<IpAddr>>,
    /// Routes that the filter of a fabric session rejects, each with the peer: to VTEPs, NICs and neighbors of this node.
    pub fabric_filtered: Vec<(String, ReceivedRoute)>,
    /// Type-5 routes in bgpd with all their paths.
    pub type5: Option<Vec<Type5Route>>,
    /// By VRF, prefixes and VTEPs of the valid paths from the fabric; of the VRFs that were read.
    pub imported: BTreeMap<VrfName, BTreeSet<(IpNet, IpAddr)>>,
    /// Prefixes that are advertised to the host and that it has no route to, by VRF, as [`super::host`] finds them.
    pub host: Vec<HostRoute>,
    /// The host ends of L2 segments that are ports of a bridge.
    pub segment_ports: Vec<SegmentPort>,
    /// Addresses that several workloads have, by L2VNI; no L2VNI without any.
    pub duplicates: BTreeMap<Vni, DuplicateAddresses>,
}

/// The addresses of an L2 segment that several workloads have, as zebra detects it (RFC 7432 section 15.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DuplicateAddresses {
    /// MAC addresses at several places. zebra takes their IP addresses for duplicates as well.
    pub macs: BTreeSet<MacAddr>,
    /// Other IP addresses, which several MAC addresses claim.
    pub ips: BTreeSet<IpAddr>,
}

/// The tables of others in a namespace that have a policy or rules that drop packets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PacketFilters {
    /// The path of the namespace.
    pub netns: String,
    /// The tables.
    pub tables: BTreeSet<DroppingTable>,
}

impl PacketFilters {
    /// Those that see packets of an address family; `None` without any.
    pub fn of_family(&self, is_ipv4: bool) -> Option<Self> {
        let others: &[&str] = if is_ipv4 { &["ip6"] } else { &["ip", "arp"] };
        let is_of_it = |table: &&DroppingTable| !others.contains(&table.family);
        let tables: BTreeSet<DroppingTable> = self.tables.iter().filter(is_of_it).cloned().collect();
        (!tables.is_empty()).then(|| Self { netns: self.netns.clone(), tables })
    }
}

/// What the host does with a prefix that is advertised to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRoute {
    /// VRF.
    pub vrf: VrfName,
    /// The session on which it is advertised.
    pub peer: String,
    /// The prefix.
    pub prefix: IpNet,
    /// AS path of the best path.
    pub as_path: String,
    /// The link over which the host reaches it; `None` where no route covers it.
    pub link: Option<String>,
    /// The link of the host that leads to the VRF.
    pub wanted: String,
    /// It is the subnet of an L2 segment.
    pub is_segment: bool,
}

impl Facts {
    /// The object to which a session or link belongs: the L3VNI of a VRF, or the Underlay.
    pub fn object_of(&self, vrf: Option<&VrfName>) -> Option<&ObjectRef> {
        let objects = self.objects.iter().flatten();
        let is_it = |checked: &&CheckedObject| match vrf {
            Some(vrf) => checked.vrf.as_ref() == Some(vrf),
            None => checked.object.kind == Kind::Underlay && checked.outcome != ObjectOutcome::Rejected,
        };
        objects.clone().find(is_it).map(|checked| &checked.object)
    }

    /// The object with this VNI.
    pub fn object_with(&self, vni: Vni) -> Option<&ObjectRef> {
        let is_it = |checked: &&CheckedObject| checked.vni == Some(vni) && checked.outcome != ObjectOutcome::Rejected;
        self.objects.iter().flatten().find(is_it).map(|checked| &checked.object)
    }

    /// The L3VNI of a VRF.
    pub fn vni_of(&self, vrf: &VrfName) -> Option<Vni> {
        self.vnis.iter().find_map(|(vni, state)| state.is_l3_of(vrf).then_some(*vni))
    }

    /// Whether sessions, VNIs and routes are not read: they are where both zebra and bgpd answer.
    pub fn is_routing_silent(&self) -> bool {
        self.silent.contains_key("zebra") || self.silent.contains_key("bgpd")
    }

    /// The packet filters in the namespace of a session that are of its address family: in that of its VRF, or of the router, where the VRF
    /// has none of its own.
    pub fn filters_of(&self, session: &SessionState) -> Option<(Option<&VrfName>, PacketFilters)> {
        let vrf = session.vrf.clone().filter(|vrf| self.unresolved_in.contains_key(vrf));
        let (vrf, filters) = self.packet_filters.get_key_value(&vrf)?;
        // A neighbor by its interface is reached by IPv6.
        let is_ipv4 = session.peer.parse().is_ok_and(|peer: IpAddr| peer.is_ipv4());
        Some((vrf.as_ref(), filters.of_family(is_ipv4)?))
    }

    /// The addresses in the namespace of a VRF that nobody answers for: that of the router, where it has none of its own.
    pub fn unresolved_of(&self, vrf: &VrfName) -> &Unresolved {
        self.unresolved_in.get(vrf).unwrap_or(&self.unresolved)
    }

    /// The sessions with the fabric.
    pub fn fabric_sessions(&self) -> impl Iterator<Item = &SessionState> {
        self.sessions.iter().filter(|session| session.vrf.is_none())
    }

    /// The next hops of the installed route to an address of the underlay; none without a route.
    pub fn underlay_hops(&self, address: IpAddr) -> &[InstalledHop] {
        let covering = self.underlay.iter().flatten().filter(|(prefix, _)| prefix.contains(&address));
        covering.max_by_key(|(prefix, _)| prefix.prefix_len()).map(|(_, hops)| hops.as_slice()).unwrap_or_default()
    }

    /// Whether a session was established long enough ago for its routes to be exchanged.
    pub fn has_settled(&self, session: &SessionState) -> bool {
        session.since.is_none_or(|since| self.now.saturating_sub(since) >= SETTLES)
    }

    /// Whether a session starts from a VTEP of this node: between loopbacks, for L2VPN EVPN alone.
    pub fn is_from_vtep(&self, session: &SessionState) -> bool {
        session.vrf.is_none() && self.neighbors.get(&session.key()).is_some_and(|reset| reset.update_source.is_some())
    }

    /// Whether a session carries L2VPN EVPN.
    pub fn carries_evpn(&self, session: &SessionState) -> bool {
        let negotiated = |reset: &SessionReset| reset.families.get(EVPN).is_some_and(|family| family.is_done());
        session.phase == SessionPhase::Established && self.neighbors.get(&session.key()).is_some_and(negotiated)
    }
}

/// What to do where a host does not answer ARP or Neighbor Discovery.
pub(super) const SILENT_HOST: &str = "check the host end of the veth pair on the node: that it is up and has its address, and what filters ARP \
                                      and Neighbor Discovery there";

/// The link on which nobody answers for an address.
pub(super) fn link_without(address: IpAddr, unresolved: &Unresolved) -> Option<&str> {
    unresolved.iter().find(|(found, _)| *found == address).map(|(_, link)| link.as_str())
}

/// The protocol that resolves an address of a link.
pub(super) fn resolution(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "ARP" } else { "Neighbor Discovery" }
}
