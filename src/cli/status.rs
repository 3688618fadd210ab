//! `perouter status`: the state of the router on this node. In: the status file and FRR. Out: a table, JSON or YAML.

use std::process::ExitCode;

use clap::Args;

use super::frr_client::routing;
use super::options::{Output, RuntimeOptions};
use super::table;
use crate::frr::client::port::Routing as _;
use crate::frr::show::session::SessionState;
use crate::kind::note::Loss;
use crate::status::model::{NodeStatus, ObjectState};
use crate::status::publish;
use crate::types::VrfName;

/// Arguments of `perouter status`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 every accepted object is in place, 1 otherwise, or no router.\n\nExamples:\n  \
    perouter status\n  perouter status -o json | jq .sessions")]
pub struct StatusArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    output: Output,
}

/// Prints the status, with sessions and VNIs as FRR has them now: the controller updates the file when a session or a
/// VNI goes up or down, and counts of prefixes at intervals only.
pub async fn execute(args: &StatusArgs) -> anyhow::Result<ExitCode> {
    let path = args.runtime.paths().status();
    let Some(mut status) = publish::read(&path)? else {
        anyhow::bail!("no status at {}: is `perouter run` running on this node?", path.display());
    };
    let mut routing = routing(&args.runtime.paths());
    // Without an answer the last observation of the controller is printed.
    if let (Ok(vnis), Ok(sessions)) = (routing.vnis().await, routing.sessions().await) {
        (status.vnis, status.sessions) = (vnis, sessions);
    }
    args.output.print(&status, || text(&status))?;
    Ok(if status.ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(status: &NodeStatus) -> String {
    let or_none = |value: Option<String>| value.unwrap_or_else(|| "<none>".to_owned());
    let vteps = status.vteps().map(|vtep| vtep.to_string()).collect::<Vec<_>>().join(", ");
    let mut out = table::render(
        &["NODE", "INDEX", "VTEP", "ROUTER ID", "VRF MODE", "FRR", "READY"],
        [vec![
            status.node.clone(),
            status.index.to_string(),
            or_none((!vteps.is_empty()).then(|| vteps.clone())),
            or_none(status.router_id.map(|ip| ip.to_string())),
            status.vrf_mode.to_string(),
            status.frr_version.clone(),
            if status.ready { "True" } else { "False" }.to_owned(),
        ]],
    );
    out.extend(status.frr_warning.iter().map(|warning| format!("  {warning}\n")));
    out.extend(status.silent_daemons.iter().map(|daemon| format!("  {daemon} does not answer\n")));
    out.push('\n');
    let resources = status.resources.iter().map(|r| {
        let in_force = if r.last_accepted_in_force { " (last accepted in force)" } else { "" };
        let state = format!("{}{in_force}", r.state.as_str());
        vec![r.kind.to_string(), r.namespace.clone(), r.name.clone(), state, r.reason.clone()]
    });
    out += &table::render(&["KIND", "NAMESPACE", "NAME", "STATE", "REASON"], resources);
    for resource in status.resources.iter().filter(|r| r.state != ObjectState::Ready) {
        let at = resource.location.as_ref().map(|at| format!("{}:{}: ", at.file, at.line)).unwrap_or_default();
        out.extend(resource.message.lines().map(|line| format!("  {at}{}: {line}\n", resource.object())));
    }
    // Most hosts need no routes of each other.
    let lost = status.notes.iter().filter(|note| note.loss != Loss::BetweenHosts);
    out.extend(lost.map(|note| format!("  note: {note}\n")));
    out += &tail(status);
    out
}

/// How many routes of a session are filtered.
fn filtered(status: &NodeStatus, session: &SessionState) -> u64 {
    let mine =
        status.filtered.iter().filter(|found| Some(&found.vrf) == session.vrf.as_ref() && found.peer == session.peer);
    mine.flat_map(|found| found.routes.values()).sum()
}

fn tail(status: &NodeStatus) -> String {
    let mut out = String::new();
    if !status.vnis.is_empty() {
        let rows = status.vnis.iter().map(|(vni, state)| {
            let up = if state.is_ready() { "Up" } else { "Down" };
            let vtep = state.vtep.map(|vtep| vtep.to_string()).unwrap_or_default();
            let mac = state.router_mac.map(|mac| mac.to_string()).unwrap_or_default();
            let rd = state.rd.clone().unwrap_or_default();
            let vni_type = state.vni_type.as_str().to_owned();
            vec![state.vrf.clone(), vni.to_string(), vni_type, up.to_owned(), vtep, mac, rd, state.export.join(",")]
        });
        out.push('\n');
        out += &table::render(&["VRF", "VNI", "TYPE", "STATE", "VTEP", "ROUTER MAC", "RD", "EXPORT RT"], rows);
    }
    if !status.sessions.is_empty() {
        let rows = status.sessions.iter().map(|session| {
            vec![
                session.vrf_name().to_owned(),
                session.peer.clone(),
                session.remote_as.map(|asn| asn.to_string()).unwrap_or_default(),
                session.phase.to_string(),
                session.prefixes.values().map(|p| p.received).sum::<u64>().to_string(),
                filtered(status, session).to_string(),
                session.prefixes.values().map(|p| p.sent).sum::<u64>().to_string(),
            ]
        });
        out.push('\n');
        out += &table::render(&["VRF", "PEER", "AS", "STATE", "RECEIVED", "FILTERED", "SENT"], rows);
        out.extend(status.session_causes.iter().map(|found| {
            let vrf = found.vrf.as_ref().map_or("default", VrfName::as_str);
            format!("  {vrf} {}: {}\n", found.peer, found.cause)
        }));
    }
    if !status.foreign_lines.is_empty() {
        out += "\nLines in FRR that are not from perouter, left alone:\n";
        out.extend(status.foreign_lines.iter().map(|line| format!("  {line}\n")));
    }
    out
}
