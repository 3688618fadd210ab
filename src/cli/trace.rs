//! `perouter trace`: the path of an address through the router. In: FRR. Out: the steps, and where the path is incomplete.

use std::net::IpAddr;
use std::process::ExitCode;

use clap::Args;

use super::frr_client::{FrrQueries, unknown_vrf};
use super::options::{Output, RuntimeOptions};
use crate::diagnose::cause::cause;
use crate::diagnose::trace::{Trace, TraceFacts, TraceStep, TracedSession, follow};
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::session::SessionState;
use crate::types::{Family, VrfName};

/// Arguments of `perouter trace`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 the path is complete in at least one VRF, 1 it is not.\n\nExamples:\n  \
    perouter trace 172.30.0.10\n  perouter trace 172.30.0.10 --vrf red -o json")]
pub struct TraceArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Address of a service of this cluster, or of a host in the fabric
    #[arg(value_name = "ADDRESS")]
    address: IpAddr,
    /// Trace in this VRF only
    #[arg(long, value_name = "VRF")]
    vrf: Option<VrfName>,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    output: Output,
}

/// Prints the path.
pub async fn execute(args: &TraceArgs) -> anyhow::Result<ExitCode> {
    let mut frr = FrrQueries::of(&args.runtime.paths());
    let sessions = frr.sessions().await?;
    let of = |vrf: Option<&VrfName>| -> Vec<TracedSession> {
        sessions.iter().filter(|(state, _)| state.vrf.as_ref() == vrf).map(session).collect()
    };
    let family = Family::of(&args.address.into());
    let mut traces = Vec::new();
    let mut known = Vec::new();
    for (vrf, (vni, state)) in frr.l3vnis().await? {
        known.push(vrf.clone());
        if args.vrf.as_ref().is_some_and(|wanted| *wanted != vrf) {
            continue;
        }
        let matched = frr.matched(&vrf, args.address).await?;
        let prefix = matched.as_ref().map(|found| found.prefix);
        let mut kernel = frr.kernel(&vrf, family, Some(args.address)).await?;
        let mut type5 = frr.type5(&state).await?;
        let mut filtered = Vec::new();
        for (session, _) in sessions.iter().filter(|(session, _)| session.vrf.as_ref() == Some(&vrf)) {
            let routes = frr.filtered(session).await?;
            let covering = routes.into_iter().filter(|route| route.prefix.contains(&args.address));
            filtered.extend(covering.map(|route| (session.peer.clone(), route)));
        }
        let facts = TraceFacts {
            kernel: prefix.and_then(|prefix| kernel.remove(&prefix)).unwrap_or_default(),
            type5: prefix.and_then(|prefix| type5.remove(&prefix)),
            hosts: of(Some(&vrf)),
            fabric: of(None),
            filtered,
            vrf,
            vni,
            state,
            matched,
        };
        traces.push(follow(args.address, &facts));
    }
    if traces.is_empty() {
        let Some(vrf) = &args.vrf else { anyhow::bail!("FRR has no VRF: see `perouter status`") };
        return Err(unknown_vrf(vrf.as_str(), &known.iter().map(VrfName::as_str).collect()));
    }
    // VRFs that have the address come first.
    traces.sort_by_key(|trace| (trace.prefix.is_none(), trace.vrf.clone()));
    let found = traces.iter().any(|trace| trace.prefix.is_some());
    args.output.print(&traces, || traces.iter().map(|trace| text(trace, found)).collect::<Vec<_>>().join("\n"))?;
    Ok(if traces.iter().any(Trace::is_complete) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn session((state, reset): &(SessionState, Option<SessionReset>)) -> TracedSession {
    TracedSession {
        peer: state.peer.clone(),
        hostname: reset.as_ref().and_then(|reset| reset.hostname.clone()),
        families: state.families(),
        remote_as: state.remote_as,
        as_override: reset.as_ref().is_some_and(|reset| reset.as_override),
        state: state.phase.clone(),
        cause: cause(state, reset.as_ref()),
    }
}

/// `elsewhere`: some VRF has the address; others without it are not an error.
fn text(trace: &Trace, elsewhere: bool) -> String {
    if elsewhere && trace.prefix.is_none() {
        return format!("VRF {} (VNI {}): no route\n", trace.vrf, trace.vni);
    }
    let step = |step: &TraceStep| {
        let mark = if step.ok { "ok  " } else { "FAIL" };
        format!("  {mark}  {:<7} {}\n", step.at.to_string(), step.text)
    };
    format!("VRF {} (VNI {})\n", trace.vrf, trace.vni) + &trace.steps.iter().map(step).collect::<String>()
}
