//! From the status of the node to `RouterNodeStatus` and events. In: the status, and what was written last. Out: what to
//! write, with the transition times of what did not change. Pure.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::model::{NodeStatus, ObjectState, Resource};
use crate::diagnose::check;
use crate::diagnose::finding::{Area, Finding, FindingKind, Place};
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::frr::show::vni::{PlaceCounts, VniState};
use crate::kind::node_status::{
    AttachedCount, ConditionReason, ConditionStatus, ConditionType, ResourceState, RouterCondition, RouterState,
    SegmentState, SessionCount, SessionDown, VniCount,
};
use crate::snapshot::ObjectRef;
use crate::types::{Vni, VrfName};

/// Further sessions are counted, not named.
const MOST_NAMED: usize = 64;
/// Further names are counted: a longer message is not readable.
const MOST_IN_MESSAGE: usize = 5;

/// The status object of a node. `before` is the one that was last written, `now` the transition time of conditions that changed.
pub fn router_state(status: &NodeStatus, before: Option<&RouterState>, now: &Time) -> RouterState {
    let down = sessions_down(status);
    let up = status.sessions.len() - down.len();
    let ready = status.l3vnis().filter(|(_, state)| state.is_ready()).count();
    RouterState {
        conditions: conditions(status).into_iter().map(|parts| condition(parts, before, now)).collect(),
        index: status.index,
        vtep: status.vtep.map(|ip| ip.to_string()),
        vtep6: status.vtep6.map(|ip| ip.to_string()),
        router_id: status.router_id.map(|ip| ip.to_string()),
        vrf_mode: status.vrf_mode.to_string(),
        frr_version: status.frr_version.clone(),
        frr_warning: status.frr_warning.clone(),
        sessions: SessionCount {
            up: number(up),
            total: number(status.sessions.len()),
            summary: format!("{up}/{}", status.sessions.len()),
        },
        vnis: VniCount { ready: number(ready), total: number(status.l3vnis().count()) },
        l2vnis: status.l2vnis().map(segment_state).collect(),
        sessions_down: down.into_iter().take(MOST_NAMED).collect(),
        resources: status.resources.iter().map(resource_state).collect(),
        observed_time: None,
    }
}

fn sessions_down(status: &NodeStatus) -> BTreeSet<SessionDown> {
    status.sessions.iter().filter(|s| !is_up(s)).map(|session| session_down(session, &status.findings)).collect()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn segment_state((vni, state): (Vni, &VniState)) -> SegmentState {
    let attached = |PlaceCounts { local, remote }| AttachedCount { local, remote };
    SegmentState {
        vni: vni.get(),
        macs: state.mac_counts().map(attached),
        neighbors: state.neighbor_counts().map(attached),
        remote_vteps: number(state.remote_vteps.len()),
    }
}

fn is_up(session: &SessionState) -> bool {
    session.phase == SessionPhase::Established
}

/// With the cause, as the checks found it.
fn session_down(session: &SessionState, findings: &[Finding]) -> SessionDown {
    let place = Place::session(session.vrf.as_ref(), &session.peer);
    let cause = findings.iter().find(|finding| finding.place == place);
    SessionDown {
        vrf: session.vrf.as_ref().map(ToString::to_string),
        peer: session.peer.clone(),
        reason: cause.map(|cause| cause.kind.as_str().to_owned()),
        message: cause.map(|cause| format!("{}: {}", cause.what, cause.remedy)).unwrap_or_default(),
    }
}

fn resource_state(resource: &Resource) -> ResourceState {
    ResourceState {
        kind: resource.kind.as_str().to_owned(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
        vrf: resource.vrf.as_ref().map(ToString::to_string),
        vni: resource.vni.map(Vni::get),
        observed_generation: resource.generation,
        state: resource.state.as_str().to_owned(),
        reason: resource.reason.clone(),
        message: resource.message.clone(),
        held: resource.last_accepted_in_force,
    }
}

/// A condition, its status, reason and message.
pub type ConditionParts = (ConditionType, ConditionStatus, ConditionReason, String);

/// The conditions of a node.
pub fn conditions(status: &NodeStatus) -> [ConditionParts; 3] {
    [ready_condition(status), degraded_condition(status), fabric_condition(status)]
}

fn ready_condition(status: &NodeStatus) -> ConditionParts {
    let (value, reason, message) = if status.vtep.is_none() {
        let message = "no Underlay is accepted for this node".to_owned();
        (ConditionStatus::False, ConditionReason::NoUnderlay, message)
    } else if !status.ready {
        (ConditionStatus::False, ConditionReason::ApplyFailed, objects(status, ObjectState::Failed))
    } else if let Some(message) = unreachable(status) {
        (ConditionStatus::False, ConditionReason::RouterUnreachable, message)
    } else if let Some((reason, message)) = fabric_problem(status) {
        (ConditionStatus::False, reason, message)
    } else if let Some(message) = vnis_down(status) {
        (ConditionStatus::False, ConditionReason::VniDown, message)
    } else {
        (ConditionStatus::True, ConditionReason::Applied, String::new())
    };
    (ConditionType::Ready, value, reason, message)
}

/// The daemons that have sessions and VNIs.
const ROUTING_DAEMONS: [&str; 2] = ["bgpd", "zebra"];

/// Nothing is known of sessions and VNIs.
fn unreachable(status: &NodeStatus) -> Option<String> {
    let silent: Vec<String> =
        status.silent_daemons.iter().filter(|daemon| ROUTING_DAEMONS.contains(&daemon.as_str())).cloned().collect();
    match (status.frr_version.is_empty(), silent.is_empty()) {
        (true, _) => Some("FRR does not answer".to_owned()),
        (false, false) => Some(format!("FRR does not answer: {}", few(silent.into_iter()))),
        (false, true) => None,
    }
}

/// Why no route is exchanged with the fabric.
fn fabric_problem(status: &NodeStatus) -> Option<(ConditionReason, String)> {
    let found = check::without_fabric(&status.findings)?;
    let reason = if found.kind == FindingKind::NoEvpnSession {
        ConditionReason::NoEvpnSession
    } else {
        ConditionReason::NoFabricSession
    };
    let of_sessions = status.findings.iter().filter(|f| f.area == Area::Fabric && f.place.peer.is_some());
    let causes = few(of_sessions.map(|finding| finding.what.clone()));
    Some((reason, if causes.is_empty() { found.what.clone() } else { causes }))
}

fn vnis_down(status: &NodeStatus) -> Option<String> {
    let down = status.findings.iter().filter(|finding| finding.kind == FindingKind::VniDown);
    let names = few(down.map(|finding| finding.place.to_string()));
    (!names.is_empty()).then_some(names)
}

fn fabric_condition(status: &NodeStatus) -> ConditionParts {
    let (value, reason, message) = if status.vtep.is_none() {
        let message = "no Underlay is accepted for this node".to_owned();
        (ConditionStatus::False, ConditionReason::NoUnderlay, message)
    } else if let Some(message) = unreachable(status) {
        (ConditionStatus::False, ConditionReason::RouterUnreachable, message)
    } else if let Some((reason, message)) = fabric_problem(status) {
        (ConditionStatus::False, reason, message)
    } else {
        (ConditionStatus::True, ConditionReason::EvpnSession, String::new())
    };
    (ConditionType::FabricConnected, value, reason, message)
}

fn degraded_condition(status: &NodeStatus) -> ConditionParts {
    let down = sessions_down(status);
    let any = |state| status.resources.iter().any(|resource| resource.state == state);
    let (value, reason, message) = if status.frr_version.is_empty() {
        (ConditionStatus::True, ConditionReason::RouterUnreachable, "FRR does not answer".to_owned())
    } else if !status.silent_daemons.is_empty() {
        let silent = few(status.silent_daemons.iter().cloned());
        (ConditionStatus::True, ConditionReason::RouterUnreachable, format!("FRR does not answer: {silent}"))
    } else if !status.ready {
        (ConditionStatus::True, ConditionReason::ApplyFailed, objects(status, ObjectState::Failed))
    } else if any(ObjectState::Rejected) {
        (ConditionStatus::True, ConditionReason::Rejected, objects(status, ObjectState::Rejected))
    } else if !down.is_empty() {
        (ConditionStatus::True, ConditionReason::SessionsDown, few(down.iter().map(session_name)))
    } else if let Some(message) = vnis_down(status) {
        (ConditionStatus::True, ConditionReason::VniDown, message)
    } else if let Some(problem) = status.findings.iter().find(|finding| finding.degrades()) {
        let problems = status.findings.iter().filter(|finding| finding.degrades()).count();
        let more = if problems > 1 { format!(" and {} more", problems - 1) } else { String::new() };
        (ConditionStatus::True, ConditionReason::CheckFailed, format!("{}{more}", problem.what))
    } else {
        (ConditionStatus::False, ConditionReason::AsExpected, String::new())
    };
    (ConditionType::Degraded, value, reason, message)
}

fn objects(status: &NodeStatus, state: ObjectState) -> String {
    few(status
        .resources
        .iter()
        .filter(|resource| resource.state == state)
        .map(|resource| resource.object().to_string()))
}

fn few(names: impl Iterator<Item = String>) -> String {
    let names: Vec<String> = names.collect();
    let shown = names.iter().take(MOST_IN_MESSAGE).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(MOST_IN_MESSAGE) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn session_name(session: &SessionDown) -> String {
    match &session.vrf {
        Some(vrf) => format!("{} in VRF {vrf}", session.peer),
        None => session.peer.clone(),
    }
}

fn condition(parts: ConditionParts, before: Option<&RouterState>, now: &Time) -> RouterCondition {
    let (type_, status, reason, message) = parts;
    let same = before.and_then(|before| before.conditions.iter().find(|c| c.type_ == type_ && c.status == status));
    let last_transition_time = same.map_or(now, |condition| &condition.last_transition_time).clone();
    RouterCondition { type_, status, reason, message, last_transition_time }
}

/// The reason of an event: a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventReason {
    /// An object is not accepted.
    Rejected,
    /// A part of an accepted object is not in place.
    ApplyFailed,
    /// A rejected or failed object is in place.
    Recovered,
    /// A session that was established is not.
    SessionLost,
    /// A session that was lost is established.
    SessionUp,
}

impl EventReason {
    /// As in the `reason` of the event.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "Rejected",
            Self::ApplyFailed => "ApplyFailed",
            Self::Recovered => "Recovered",
            Self::SessionLost => "SessionLost",
            Self::SessionUp => "SessionUp",
        }
    }

    /// Whether the event is a warning.
    pub fn is_warning(self) -> bool {
        matches!(self, Self::Rejected | Self::ApplyFailed | Self::SessionLost)
    }
}

/// A change that is reported as an event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusEvent {
    /// The object; `None`: the router as a whole.
    pub object: Option<ObjectRef>,
    /// Why.
    pub reason: EventReason,
    /// What.
    pub note: String,
}

/// The events of objects since `before` was written.
pub fn object_events(before: Option<&RouterState>, status: &NodeStatus) -> Vec<StatusEvent> {
    let known: BTreeMap<(&str, &str, &str), &ResourceState> = before
        .into_iter()
        .flat_map(|before| &before.resources)
        .map(|r| ((r.kind.as_str(), r.namespace.as_str(), r.name.as_str()), r))
        .collect();
    let mut events = Vec::new();
    for resource in &status.resources {
        let now = resource_state(resource);
        let before = known.get(&(now.kind.as_str(), now.namespace.as_str(), now.name.as_str()));
        let same = before.is_some_and(|before| before.state == now.state && before.message == now.message);
        let was_bad = before.is_some_and(|before| before.state != ObjectState::Ready.as_str());
        let (reason, note) = match resource.state {
            _ if same => continue,
            ObjectState::Rejected => (EventReason::Rejected, format!("{}: {}", now.reason, now.message)),
            ObjectState::Failed => (EventReason::ApplyFailed, now.message),
            ObjectState::Ready if was_bad => (EventReason::Recovered, "in place".to_owned()),
            ObjectState::Ready => continue,
        };
        events.push(StatusEvent { object: Some(resource.object()), reason, note });
    }
    events
}

/// The sessions at the last observation, and which of them are lost.
#[derive(Debug, Clone, Default)]
pub struct SessionWatch {
    last: BTreeMap<SessionDown, (bool, u64)>,
    lost: BTreeSet<SessionDown>,
}

impl SessionWatch {
    /// The events of sessions since the last call. While FRR does not answer, there are none.
    pub fn events(&mut self, status: &NodeStatus) -> Vec<StatusEvent> {
        if status.frr_version.is_empty() {
            return Vec::new();
        }
        let now: BTreeMap<SessionDown, (bool, u64)> =
            status.sessions.iter().map(|s| (session_down(s, &[]), (is_up(s), s.established))).collect();
        let mut events = Vec::new();
        for (session, (up, established)) in &now {
            let before = self.last.get(session);
            let flapped = before.is_some_and(|(was_up, times)| *was_up && times < established);
            let name = session_name(session);
            let mut report = |reason, note| events.push(StatusEvent { object: None, reason, note });
            if before.is_some_and(|(was_up, _)| *was_up) && !up {
                self.lost.insert(session.clone());
                let cause = cause_of(session, status).map(|cause| format!(": {cause}")).unwrap_or_default();
                report(EventReason::SessionLost, format!("BGP session with {name} is not established any more{cause}"));
            } else if *up && self.lost.remove(session) {
                report(EventReason::SessionUp, format!("BGP session with {name} is established again"));
            } else if *up && flapped {
                report(EventReason::SessionLost, format!("BGP session with {name} was lost and is established again"));
            }
        }
        self.lost.retain(|session| now.contains_key(session));
        self.last = now;
        events
    }
}

/// What the checks say of a session.
fn cause_of<'a>(session: &SessionDown, status: &'a NodeStatus) -> Option<&'a str> {
    let is_it = |finding: &&Finding| {
        finding.place.peer.as_ref() == Some(&session.peer)
            && finding.place.vrf.as_ref().map(VrfName::as_str) == session.vrf.as_deref()
    };
    status.findings.iter().find(is_it).map(|finding| finding.what.as_str())
}

/// How many events a node may send: a burst of 25, then one every ten seconds.
#[derive(Debug)]
pub struct EventBudget {
    left: u32,
    /// Seconds since any fixed moment.
    filled: u64,
}

impl EventBudget {
    const MOST: u32 = 25;
    /// Seconds for one more.
    const REFILL: u64 = 10;

    /// A full one.
    pub fn new(now: u64) -> Self {
        Self { left: Self::MOST, filled: now }
    }

    /// Takes one; `false` if there is none.
    pub fn take(&mut self, now: u64) -> bool {
        let more = now.saturating_sub(self.filled) / Self::REFILL;
        self.filled += more * Self::REFILL;
        self.left = self.left.saturating_add(u32::try_from(more).unwrap_or(u32::MAX)).min(Self::MOST);
        let some = self.left > 0;
        self.left = self.left.saturating_sub(1);
        some
    }
}

#[cfg(test)]
pub(crate) mod tests;
