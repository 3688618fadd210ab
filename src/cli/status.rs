//! `perouter status`: the state of the router on this node. In: the status file and FRR. Out: a table, JSON or YAML.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde::ser::Error as _;
use serde::{Serialize, Serializer};
use serde_json::Value;
use tokio::time::Instant;

use super::exit_status::ExitStatus;
use super::facts::{STALE, now};
use super::frr_client::routing;
use super::lock;
use super::options::RuntimeOptions;
use super::show::{Look, ShowOptions, Shown, WatchOptions};
use super::tone::Tone;
use crate::diagnose::cause::short_age;
use crate::diagnose::check;
use crate::diagnose::finding::rfc3339;
use crate::frr::client::port::Routing as _;
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::frr::show::vni::{PlaceCounts, VniState, VniType};
use crate::kind::node_status::{ConditionReason, ConditionStatus, ConditionType};
use crate::kind::note::Loss;
use crate::runtime::Runtime;
use crate::status::model::{NodeStatus, ObjectState};
use crate::status::publish;
use crate::status::router_state::conditions;
use crate::types::{Vni, VrfName};

/// Arguments of `perouter status`.
#[derive(Debug, Args)]
#[command(
    after_help = "READY is that of `RouterNodeStatus`: every object is in place, a session with the fabric carries L2VPN EVPN, and all VNIs\n\
    are up.\n\n\
    Exit status: 0 the router is ready, 1 it is not, an object is rejected, FRR does not answer, or no controller runs,\n\
    2 no controller has written a status.\n\nExamples:\n  \
    perouter status\n  perouter status -o json | jq .sessions"
)]
pub struct StatusArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    watch: WatchOptions,
}

/// The status, and what is known of it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownStatus {
    #[serde(serialize_with = "with_times", flatten)]
    status: NodeStatus,
    /// Whether the router works, as in `RouterNodeStatus`; `None` where nobody observes it.
    ready: Option<bool>,
    /// The conditions of `RouterNodeStatus`, without their times.
    conditions: Vec<ShownCondition>,
    /// Sessions and VNIs are those that FRR has now, not those that the controller has read.
    frr_answers: bool,
    /// A controller runs on this node.
    controller_runs: bool,
}

/// A condition.
#[derive(Debug, Serialize)]
struct ShownCondition {
    #[serde(rename = "type")]
    condition: ConditionType,
    status: ConditionStatus,
    reason: ConditionReason,
    message: String,
}

impl ShownCondition {
    fn all(status: &NodeStatus) -> Vec<Self> {
        let condition = |(condition, status, reason, message)| Self { condition, status, reason, message };
        conditions(status).into_iter().map(condition).collect()
    }
}

/// Times as RFC 3339 has them.
fn with_times<S: Serializer>(status: &NodeStatus, serializer: S) -> Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(status).map_err(S::Error::custom)?;
    let convert = |time: &mut Value| {
        if let Some(seconds) = time.as_u64() {
            *time = rfc3339(seconds).into();
        }
    };
    convert(&mut value["observedTime"]);
    // Of the objects alone: the conditions have the rest.
    value.as_object_mut().map(|fields| fields.remove("ready"));
    for session in value["sessions"].as_array_mut().into_iter().flatten() {
        convert(&mut session["since"]);
    }
    value.serialize(serializer)
}

/// The controller observes within two seconds that a session is established or lost, and needs a moment for the findings.
const OBSERVED: Duration = Duration::from_secs(4);
/// Time between two reads of the status file while a new one is awaited.
const POLL: Duration = Duration::from_millis(100);

/// Prints the status, with sessions and VNIs as FRR has them now: the controller updates the file when a session or a
/// VNI goes up or down, and counts of prefixes at intervals only.
pub async fn execute(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    args.show.watch(&args.watch, async || read(args).await).await
}

/// What the controller has observed, and the VNIs and sessions that FRR has now, if it answers. A condition never contradicts a session
/// that is listed beside it: the observation that follows a change is waited for.
async fn observed(
    runtime: &Runtime,
) -> anyhow::Result<(NodeStatus, Option<(BTreeMap<Vni, VniState>, Vec<SessionState>)>)> {
    let path = runtime.status();
    let mut routing = routing(runtime);
    let deadline = Instant::now() + OBSERVED;
    loop {
        let Some(status) = publish::read(&path)? else {
            anyhow::bail!("no status at {}: is `perouter run` running on this node?", path.display());
        };
        let (Ok(vnis), Ok(sessions)) = (routing.vnis().await, routing.sessions().await) else {
            return Ok((status, None));
        };
        let is_observed = established(&status.sessions) == established(&sessions);
        if is_observed || Instant::now() >= deadline || !lock::has_controller(runtime)? {
            return Ok((status, Some((vnis, sessions))));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn established(sessions: &[SessionState]) -> BTreeSet<(Option<&VrfName>, &str)> {
    let is_up = |session: &&SessionState| session.phase == SessionPhase::Established;
    sessions.iter().filter(is_up).map(|session| (session.vrf.as_ref(), session.peer.as_str())).collect()
}

async fn read(args: &StatusArgs) -> anyhow::Result<Shown> {
    let runtime = args.runtime.paths();
    let (mut status, answer) = observed(&runtime).await?;
    // Without an answer the last observation of the controller is printed.
    let frr_answers = answer.is_some();
    if let Some((mut vnis, sessions)) = answer {
        keep_local_counts(&mut vnis, &status.vnis);
        (status.vnis, status.sessions) = (vnis, sessions);
    }
    let controller_runs = lock::has_controller(&runtime)?;
    let is_rejected = status.resources.iter().any(|resource| resource.state == ObjectState::Rejected);
    let conditions = ShownCondition::all(&status);
    let is_true =
        |found: &ShownCondition| found.condition == ConditionType::Ready && found.status == ConditionStatus::True;
    let age = now().saturating_sub(status.observed_time);
    let ready = (frr_answers && controller_runs && age <= STALE).then(|| conditions.iter().any(is_true));
    let has_problem = ready != Some(true) || is_rejected;
    let shown = ShownStatus { status, ready, conditions, frr_answers, controller_runs };
    let text = args.show.render("NodeStatus", &shown, |look| text(&shown, look))?;
    Ok(Shown { text, status: ExitStatus::of_problem(has_problem) })
}

/// The counts of this node are those of the controller, which counts a few L2VNIs at a time: zebra lists all MAC addresses and
/// neighbors of each for them.
fn keep_local_counts(vnis: &mut BTreeMap<Vni, VniState>, observed: &BTreeMap<Vni, VniState>) {
    for (vni, state) in vnis.iter_mut().filter(|(_, state)| state.vni_type == VniType::L2) {
        state.local = observed.get(vni).and_then(|observed| observed.local);
    }
}

fn text(shown: &ShownStatus, look: Look) -> String {
    let status = &shown.status;
    let seconds = now().saturating_sub(status.observed_time);
    let age = short_age(seconds);
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "<none>".to_owned());
    let vteps = status.vteps().map(|vtep| vtep.to_string()).collect::<Vec<_>>().join(", ");
    let mut out = look.table(
        &["NODE", "INDEX", "VTEP", "ROUTER ID", "VRF MODE", "FRR", "READY", "OBSERVED"],
        [vec![
            status.node.clone(),
            status.index.to_string(),
            or_none((!vteps.is_empty()).then(|| vteps.clone())),
            or_none(status.router_id.map(|ip| ip.to_string())),
            status.vrf_mode.to_string(),
            status.frr_version.clone(),
            Tone::of(shown.ready == Some(true)).mark(match shown.ready {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            }),
            age.clone(),
        ]],
    );
    let is_ready_condition = |found: &&ShownCondition| found.condition == ConditionType::Ready;
    let not_ready = shown.conditions.iter().find(is_ready_condition).filter(|_| shown.ready == Some(false));
    out.extend(not_ready.map(|found| format!("  not ready: {}: {}\n", found.reason.as_str(), found.message)));
    if !shown.controller_runs {
        out.extend(["  no controller runs on this node: what it has observed is ", &age, " old\n"]);
    } else if seconds > STALE {
        out.extend(["  the controller does not write its status, which is ", &age, " old: see `perouter check`\n"]);
    }
    if !shown.frr_answers {
        out.extend(["  FRR does not answer: sessions and VNIs are those of ", &age, " ago\n"]);
    }
    out.extend(status.frr_warning.iter().map(|warning| format!("  {warning}\n")));
    out.extend(status.silent_daemons.iter().map(|daemon| format!("  {daemon} does not answer\n")));
    out.push('\n');
    let resources = status.resources.iter().map(|r| {
        let in_force = if r.last_accepted_in_force { " (last accepted in force)" } else { "" };
        let state = Tone::of(r.state == ObjectState::Ready).mark(&format!("{}{in_force}", r.state.as_str()));
        let mut row = vec![r.kind.to_string(), r.namespace.clone(), r.name.clone(), state, r.reason.clone()];
        if look.is_wide {
            let at = r.location.as_ref().map(|at| format!("{}:{}", at.file, at.line)).unwrap_or_default();
            let vrf = r.vrf.as_ref().map(ToString::to_string).unwrap_or_default();
            row.extend([vrf, r.generation.map(|number| number.to_string()).unwrap_or_default(), at]);
        }
        row
    });
    let headers = ["KIND", "NAMESPACE", "NAME", "STATE", "REASON", "VRF", "GENERATION", "FILE"];
    out += &look.table(if look.is_wide { &headers } else { &headers[..5] }, resources);
    for resource in status.resources.iter().filter(|r| r.state != ObjectState::Ready) {
        let at = resource.location.as_ref().map(|at| format!("{}:{}: ", at.file, at.line)).unwrap_or_default();
        out.extend(resource.message.lines().map(|line| format!("  {at}{}: {line}\n", resource.object())));
    }
    // Most hosts need no routes of each other.
    let lost = status.notes.iter().filter(|note| note.loss != Loss::BetweenHosts);
    out.extend(lost.map(|note| format!("  note: {note}\n")));
    out += &tail(status, look);
    out
}

/// How many routes of a session are filtered.
fn filtered(status: &NodeStatus, session: &SessionState) -> u64 {
    let mine =
        status.filtered.iter().filter(|found| Some(&found.vrf) == session.vrf.as_ref() && found.peer == session.peer);
    mine.flat_map(|found| found.routes.values()).sum()
}

/// What is attached to the L2VNIs: here, and behind other VTEPs.
fn segments(status: &NodeStatus, look: Look) -> String {
    let row = |(vni, state): (Vni, &VniState)| {
        let places = |counts: Option<PlaceCounts>| {
            let shown = counts.map(|counts| [counts.local, counts.remote].map(|count| count.to_string()));
            shown.unwrap_or_default()
        };
        let ([local, remote], [local_neighbors, remote_neighbors]) =
            (places(state.mac_counts()), places(state.neighbor_counts()));
        let vteps = state.remote_vteps.len().to_string();
        vec![vni.to_string(), local, remote, local_neighbors, remote_neighbors, vteps]
    };
    let rows: Vec<_> = status.l2vnis().map(row).collect();
    if rows.is_empty() {
        return String::new();
    }
    let headers = ["L2VNI", "MACS HERE", "REMOTE", "NEIGHBORS HERE", "REMOTE", "REMOTE VTEPS"];
    format!("\n{}", look.table(&headers, rows))
}

fn tail(status: &NodeStatus, look: Look) -> String {
    let mut out = String::new();
    if !status.vnis.is_empty() {
        let rows = status.vnis.iter().map(|(vni, state)| {
            let up = Tone::of(state.is_ready()).mark(if state.is_ready() { "Up" } else { "Down" });
            let vtep = state.vtep.map(|vtep| vtep.to_string()).unwrap_or_default();
            let mac = state.router_mac.map(|mac| mac.to_string()).unwrap_or_default();
            let rd = state.rd.clone().unwrap_or_default();
            let vni_type = state.vni_type.as_str().to_owned();
            vec![state.vrf.clone(), vni.to_string(), vni_type, up, vtep, mac, rd, state.export.join(",")]
        });
        out.push('\n');
        out += &look.table(&["VRF", "VNI", "TYPE", "STATE", "VTEP", "ROUTER MAC", "RD", "EXPORT RT"], rows);
    }
    out += &segments(status, look);
    if !status.sessions.is_empty() {
        let rows = status.sessions.iter().map(|session| {
            vec![
                session.vrf_name().to_owned(),
                session.peer.clone(),
                session.remote_as.map(|asn| asn.to_string()).unwrap_or_default(),
                Tone::of(session.phase == SessionPhase::Established).mark(&session.phase.to_string()),
                session.prefixes.values().map(|p| p.received).sum::<u64>().to_string(),
                filtered(status, session).to_string(),
                session.prefixes.values().map(|p| p.sent).sum::<u64>().to_string(),
            ]
        });
        out.push('\n');
        out += &look.table(&["VRF", "PEER", "AS", "STATE", "RECEIVED", "FILTERED", "SENT"], rows);
        out.extend(status.session_causes.iter().map(|found| {
            let vrf = found.vrf.as_ref().map_or("default", VrfName::as_str);
            format!("  {vrf} {}: {}\n", found.peer, found.cause)
        }));
    }
    let problems = status.findings.iter().filter(|finding| finding.is_problem()).count();
    if problems > 0 {
        out.extend(["\n", &check::counted(problems, "problem"), ": see `perouter check`\n"]);
    }
    if !status.foreign_lines.is_empty() {
        out += "\nLines in FRR that are not from perouter, left alone:\n";
        out.extend(status.foreign_lines.iter().map(|line| format!("  {line}\n")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::show::vni::LocalCounts;

    #[test]
    fn the_counts_of_this_node_are_those_of_the_controller() {
        let vni = |number: u32| Vni::try_from(number).unwrap();
        let state = |vni_type, local| VniState { vni_type, local, ..VniState::default() };
        let counts = Some(LocalCounts { macs: 2, neighbors: 1 });
        let observed = BTreeMap::from([(vni(100), state(VniType::L3, counts)), (vni(110), state(VniType::L2, counts))]);
        let mut vnis: BTreeMap<Vni, VniState> = [(100, VniType::L3), (110, VniType::L2), (120, VniType::L2)]
            .map(|(number, of)| (vni(number), state(of, None)))
            .into();
        keep_local_counts(&mut vnis, &observed);
        let kept: Vec<Option<LocalCounts>> = vnis.values().map(|state| state.local).collect();
        assert_eq!(kept, [None, counts, None], "an L2VNI that the controller has not counted yet has none");
    }
}
