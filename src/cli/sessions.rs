//! `perouter sessions`: BGP sessions as FRR has them now, and why one is not established. In: FRR and the status file. Out:
//! a table, JSON or YAML.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;
use serde::Serialize;

use super::frr_client::{FrrQueries, unknown_vrf};
use super::options::{Output, RuntimeOptions};
use super::table;
use crate::diagnose::cause::cause;
use crate::diagnose::filtered::{FilterReason, Filtered};
use crate::frr::show::session::{SessionPhase, SessionState};
use crate::status::publish;
use crate::types::VrfName;

/// Arguments of `perouter sessions`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 all sessions are established, 1 some are not.\n\nExamples:\n  \
    perouter sessions\n  perouter sessions red\n  perouter sessions -o json | jq '.[] | select(.cause)'")]
pub struct SessionsArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Show only the sessions of this VRF; `default`: those with the fabric
    #[arg(value_name = "VRF")]
    vrf: Option<String>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    output: Output,
}

/// A session with its cause.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedSession {
    #[serde(flatten)]
    state: SessionState,
    hostname: Option<String>,
    cause: Option<String>,
    /// Routes that are filtered.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    filtered: Vec<Filtered>,
}

/// Prints the sessions.
pub async fn execute(args: &SessionsArgs) -> anyhow::Result<ExitCode> {
    // TCP counters are meaningful only over time: the controller watches them.
    let status = publish::read(&args.runtime.paths().status())?;
    let tcp_causes = status.map(|status| status.session_causes).unwrap_or_default();
    let tcp_cause = |state: &SessionState| {
        let mine = tcp_causes.iter().find(|found| found.vrf == state.vrf && found.peer == state.peer);
        mine.map(|found| found.cause.clone())
    };
    let mut frr = FrrQueries::of(&args.runtime.paths());
    let mut sessions = Vec::new();
    let all = frr.sessions().await?;
    if let Some(vrf) = &args.vrf {
        // One without a session is no mistake.
        let l3vnis = frr.l3vnis().await?;
        let of_sessions = all.iter().map(|(state, _)| state.vrf_name());
        let known: BTreeSet<&str> = l3vnis.keys().map(VrfName::as_str).chain(of_sessions).chain(["default"]).collect();
        if !known.contains(vrf.as_str()) {
            return Err(unknown_vrf(vrf, &known));
        }
    }
    for (state, reset) in all {
        if args.vrf.as_ref().is_some_and(|vrf| vrf != state.vrf_name()) {
            continue;
        }
        let filtered = frr.filtered(&state).await?;
        let cause = tcp_cause(&state).or_else(|| cause(&state, reset.as_ref()));
        sessions.push(ListedSession { state, hostname: reset.and_then(|reset| reset.hostname), cause, filtered });
    }
    args.output.print(&sessions, || text(&sessions))?;
    let all_up = sessions.iter().all(|session| session.state.phase == SessionPhase::Established);
    Ok(if all_up { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn text(sessions: &[ListedSession]) -> String {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let row = |session: &ListedSession| {
        let ListedSession { state, hostname, .. } = session;
        let up = state.since.map(|since| age(now.saturating_sub(Duration::from_secs(since)))).unwrap_or_default();
        let sum = |count: fn(&crate::frr::show::session::Prefixes) -> u64| {
            state.prefixes.values().map(count).sum::<u64>().to_string()
        };
        vec![
            state.vrf_name().to_owned(),
            state.peer.clone(),
            hostname.clone().unwrap_or_default(),
            state.remote_as.map(|asn| asn.to_string()).unwrap_or_default(),
            state.phase.to_string(),
            up,
            state.established.to_string(),
            sum(|prefixes| prefixes.received),
            session.filtered.len().to_string(),
            sum(|prefixes| prefixes.sent),
        ]
    };
    let head = ["VRF", "PEER", "HOST NAME", "AS", "STATE", "FOR", "ESTABLISHED", "RECEIVED", "FILTERED", "SENT"];
    let mut out = table::render(&head, sessions.iter().map(row));
    let cause = |session: &ListedSession| {
        let cause = session.cause.as_ref()?;
        Some(format!("{} {}: {cause}\n", session.state.vrf_name(), session.state.peer))
    };
    // Routes that `spec.fromHost` filters are so by intent.
    let third_party = |session: &ListedSession| {
        let of_session = session.filtered.iter().filter(|route| route.reason == FilterReason::NextHop);
        let text = |route: &Filtered| format!("{} {} {route}\n", session.state.vrf_name(), session.state.peer);
        of_session.map(text).collect::<String>()
    };
    let causes: String = sessions.iter().filter_map(cause).chain(sessions.iter().map(third_party)).collect();
    if !causes.is_empty() {
        out.push('\n');
    }
    out + &causes
}

/// `5s`, `3m12s`, `4h7m`, `12d3h`, as kubectl prints it.
fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, ..) => format!("{hours}h{}m", minutes % 60),
        _ => format!("{days}d{}h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(5, "5s")]
    #[case(192, "3m12s")]
    #[case(14_820, "4h7m")]
    #[case(1_047_600, "12d3h")]
    fn an_age_has_two_parts(#[case] seconds: u64, #[case] expected: &str) {
        assert_eq!(age(Duration::from_secs(seconds)), expected);
    }
}
