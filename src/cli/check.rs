//! `perouter check`: every check of the router on this node. In: FRR, the kernel, the routes of the host, and what the controller wrote
//! last. Out: what is wrong, what shows it and what to do, as text, JSON or YAML.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use super::check_nodes;
use super::exit_status::ExitStatus;
use super::facts;
use super::finding_text::entry;
use super::options::{ApiOptions, RuntimeOptions};
use super::show::{Look, ShowOptions, Shown, WatchOptions};
use super::tone::Tone;
use crate::diagnose::check::{AreaState, areas, checked, findings};
use crate::diagnose::facts::Facts;
use crate::diagnose::finding::{Area, Finding, rfc3339, with_times};

/// Arguments of `perouter check`.
#[derive(Debug, Args)]
#[command(after_help = "Exit status: 0 nothing is wrong, 1 something is, 2 there is no router on this node, or the\n\
    API server does not answer.\n\n\
    Examples:\n  perouter check\n  perouter check --all-nodes\n  perouter check -o json | jq '.findings[] | select(.severity == \"error\")'")]
pub struct CheckArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// Check every node of the cluster by what its controller writes to the API server, from anywhere. Needs a kubeconfig whose user
    /// may list `RouterNodeStatus`: the account of the Pods may not
    #[arg(long)]
    all_nodes: bool,
    /// Kubeconfig file of the API server, for --all-nodes [default: $KUBECONFIG, ~/.kube/config]
    #[arg(long, env = "PEROUTER_KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Show also what is by intent or of no effect now, as the formats but `table` do
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    show: ShowOptions,
    #[command(flatten)]
    watch: WatchOptions,
}

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CheckReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    time: String,
    areas: BTreeMap<Area, AreaState>,
    findings: Vec<Finding>,
}

/// Runs the checks and prints what they find.
pub async fn execute(args: &CheckArgs) -> anyhow::Result<ExitCode> {
    if args.all_nodes {
        let api = ApiOptions::of_cluster(args.kubeconfig.clone());
        return args.show.watch(&args.watch, async || check_nodes::read(&api, &args.show).await).await;
    }
    args.show.watch(&args.watch, async || read(args).await).await
}

async fn read(args: &CheckArgs) -> anyhow::Result<Shown> {
    let runtime = args.runtime.paths();
    let read = facts::read(&runtime).await?;
    read.warn();
    if !read.has_router {
        anyhow::bail!("there is no router in {}: is `perouter run` running on this node?", runtime.dir().display());
    }
    let mut found = findings(&read.facts);
    with_times(&mut found, &read.before, read.facts.now);
    let areas = areas(&read.facts, &found);
    let has_problem = found.iter().any(Finding::is_problem);
    if !args.show.is_wide() && !args.all {
        found.retain(Finding::is_problem);
    }
    let report = CheckReport { node: read.node, time: rfc3339(read.facts.now), areas, findings: found };
    let text = args.show.render("CheckReport", &report, |look| text(&report, &read.facts, look))?;
    Ok(Shown { text, status: ExitStatus::of_problem(has_problem) })
}

fn text(report: &CheckReport, facts: &Facts, look: Look) -> String {
    let rows = report.areas.iter().map(|(area, state)| {
        let tone = match state {
            AreaState::Ok => Tone::Good,
            AreaState::Warning | AreaState::Unknown => Tone::Warning,
            AreaState::Fail => Tone::Bad,
        };
        vec![area.as_str().to_owned(), tone.mark(state.as_str()), checked(*area, facts)]
    });
    let mut out = look.table(&["AREA", "STATE", "CHECKED"], rows);
    for finding in &report.findings {
        out += &entry(finding, facts.now);
    }
    if report.findings.is_empty() {
        out += "\nnothing is wrong\n";
    }
    out
}
