//! The status as data: what `perouter status` prints and `status.json` holds. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::diagnose::facts::{CheckedObject, Facts, ObjectOutcome};
use crate::diagnose::filtered::FilteredCount;
use crate::diagnose::{Finding, SessionCause};
use crate::frr::show::session::SessionState;
use crate::frr::show::vni::{VniState, VniType};
use crate::kind::note::Note;
use crate::snapshot::{Kind, Location, ObjectRef};
use crate::types::{Vni, VrfMode, VrfName};

/// The router of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Name of the node.
    pub node: String,
    /// Node index.
    pub index: u32,
    /// VTEP address, the IPv4 one where the node has both; absent without an Underlay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vtep: Option<IpAddr>,
    /// The IPv6 VTEP address beside an IPv4 one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vtep6: Option<IpAddr>,
    /// BGP router id; absent without an Underlay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router_id: Option<Ipv4Addr>,
    /// VRF mode.
    pub vrf_mode: VrfMode,
    /// Version of FRR as it prints it; empty while FRR does not answer.
    pub frr_version: String,
    /// Why this version may behave differently than those with which perouter was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frr_warning: Option<String>,
    /// Seconds since the epoch.
    pub observed_time: u64,
    /// FRR's daemons that do not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent_daemons: Vec<String>,
    /// Every accepted object is in place.
    pub ready: bool,
    /// Accepted objects that lose routes, and the remedy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
    /// Every object of this node.
    pub resources: Vec<Resource>,
    /// VNIs of both types as FRR has them. Those that it should have and does not list are down.
    pub vnis: BTreeMap<Vni, VniState>,
    /// BGP sessions.
    pub sessions: Vec<SessionState>,
    /// Causes that only the kernel shows: wrong passwords, second speakers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub session_causes: Vec<SessionCause>,
    /// What is wrong as far as the controller reads it, the worst first. `perouter check` reads more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<Finding>,
    /// Host sessions that filter routes, and how many.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filtered: Vec<FilteredCount>,
    /// Lines in FRR that are not ours: reported, left alone.
    pub foreign_lines: Vec<String>,
    /// The ports of others of the managed bridges of segments that this node does not have, by their VNI: each stays for its ports.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub kept_ports: BTreeMap<Vni, BTreeSet<String>>,
    /// The last reconcile pass that changed something.
    pub last_change: PassSummary,
}

impl NodeStatus {
    /// The VTEP addresses, that of IPv4 first.
    pub fn vteps(&self) -> impl Iterator<Item = IpAddr> {
        self.vtep.into_iter().chain(self.vtep6)
    }

    /// Calls `check` with what the checks need of it. Sessions and VNIs, of which there may be hundreds, are not copied: they are
    /// moved there and back.
    pub fn with_facts<T>(&mut self, check: impl FnOnce(&mut Facts) -> T) -> T {
        let mut facts = Facts {
            now: self.observed_time,
            silent: self.silent_daemons.iter().map(|daemon| (daemon.clone(), String::new())).collect(),
            frr_warning: self.frr_warning.clone(),
            foreign_lines: self.foreign_lines.clone(),
            kept_ports: self.kept_ports.clone(),
            objects: Some(self.resources.iter().map(Resource::checked).collect()),
            notes: self.notes.clone(),
            vteps: self.vteps().collect(),
            router_id: self.router_id,
            sessions: std::mem::take(&mut self.sessions),
            tcp_causes: self.session_causes.clone(),
            vnis: std::mem::take(&mut self.vnis),
            ..Facts::default()
        };
        let result = check(&mut facts);
        (self.sessions, self.vnis) = (facts.sessions, facts.vnis);
        result
    }

    /// The L2VNIs.
    pub fn l2vnis(&self) -> impl Iterator<Item = (Vni, &VniState)> {
        let l2vnis = self.vnis.iter().filter(|(_, state)| state.vni_type == VniType::L2);
        l2vnis.map(|(vni, state)| (*vni, state))
    }

    /// The L3VNIs. Host sessions are in their VRFs; the VRF of an L2VNI is that of its bridge.
    pub fn l3vnis(&self) -> impl Iterator<Item = (Vni, &VniState)> {
        let l3vnis = self.vnis.iter().filter(|(_, state)| state.vni_type == VniType::L3);
        l3vnis.map(|(vni, state)| (*vni, state))
    }
}

/// State of an object on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ObjectState {
    /// In place.
    Ready,
    /// Accepted, but a part of it is not in place; it is tried again.
    Failed,
    /// Not accepted.
    Rejected,
}

impl ObjectState {
    /// As in the status, the API and tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Failed => "Failed",
            Self::Rejected => "Rejected",
        }
    }
}

/// An object on this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Kind.
    pub kind: Kind,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The VRF that it is on this node, or in which its segment is routed; absent of an object that has none, or is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vrf: Option<VrfName>,
    /// The VNI that it is on this node; absent where it is none, or is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// Generation that was judged; absent where the document could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// State.
    pub state: ObjectState,
    /// From a closed list: that of the rejection, `ApplyFailed`, `NotUp`, or `Applied`.
    pub reason: String,
    /// What is wrong and what to do; empty if nothing is.
    pub message: String,
    /// File and line of the first mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// The last accepted version is in force although the present one is rejected.
    #[serde(default, rename = "held", skip_serializing_if = "std::ops::Not::not")]
    pub last_accepted_in_force: bool,
}

impl Resource {
    /// The object.
    pub fn object(&self) -> ObjectRef {
        ObjectRef { kind: self.kind, namespace: self.namespace.clone(), name: self.name.clone() }
    }

    fn checked(&self) -> CheckedObject {
        let outcome = match self.state {
            ObjectState::Ready => ObjectOutcome::Ready,
            ObjectState::Failed => ObjectOutcome::Failed,
            ObjectState::Rejected => ObjectOutcome::Rejected,
        };
        CheckedObject {
            object: self.object(),
            vrf: self.vrf.clone().filter(|_| self.kind == Kind::L3VNI),
            vni: self.vni,
            outcome,
            message: self.message.clone(),
            location: self.location.clone(),
            last_accepted_in_force: self.last_accepted_in_force,
        }
    }
}

/// What a reconcile pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PassSummary {
    /// Kernel operations done.
    pub kernel_ops: usize,
    /// FRR lines accepted.
    pub frr_lines: usize,
    /// IP-VRFs rebuilt because FRR did not bring them up.
    pub rebuilt: Vec<VrfName>,
    /// Milliseconds.
    pub duration_ms: u64,
}

impl PassSummary {
    /// Nothing was changed.
    pub fn is_quiet(&self) -> bool {
        self.kernel_ops == 0 && self.frr_lines == 0
    }
}
