//! `perouter plan`: what the next pass would do.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::frr_client::routing;
use super::options::{ModeChoice, RuntimeOptions, SourceOptions};
use crate::frr::client::fake::FakeRouting;
use crate::frr::config::diff::{Batch, Mode};
use crate::kernel::fake::FakeKernel;
use crate::kernel::model::KernelState;
use crate::kernel::{NetlinkKernel, netns};
use crate::plan::last_accepted::Accepted;
use crate::reconcile::{Preview, Reconciler};
use crate::scope::Scope;
use crate::source;

/// Arguments of `perouter plan`.
#[derive(Debug, Args)]
#[command(after_help = "Reads the node and changes nothing. Passwords are masked.\n\n\
    Exit status: 0 nothing to do, 2 there are changes, 1 an error.\n\nExamples:\n  \
    perouter plan --config-dir examples/metallb --node-index 0")]
pub struct PlanArgs {
    #[command(flatten)]
    source: SourceOptions,
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// VRF mode to plan for
    #[arg(long, env = "PEROUTER_VRF_MODE", value_enum, default_value = "auto")]
    vrf_mode: ModeChoice,
}

/// Exit status where there is something to do.
const CHANGES: u8 = 2;

/// Prints the plan.
pub async fn execute(args: PlanArgs) -> anyhow::Result<ExitCode> {
    let runtime = args.runtime.paths();
    let snapshot = Arc::new(source::dir::read(&args.source.config_dir, &args.source.secrets(), &args.source.node()?)?);
    let mode = args.vrf_mode.resolve()?;
    let preview = if netns::is_netns(runtime.router_netns())? {
        let kernel = NetlinkKernel::open(runtime.clone(), netns::open_host()?).await?;
        Reconciler::new(kernel, routing(&runtime), mode, Accepted::default()).preview(&snapshot).await?
    } else {
        let kernel = FakeKernel::new(KernelState::default(), BTreeMap::new());
        Reconciler::new(kernel, FakeRouting::default(), mode, Accepted::default()).preview(&snapshot).await?
    };
    for rejection in &preview.plan.rejected {
        eprintln!("{rejection}");
    }
    print!("{}", text(&preview));
    Ok(if preview.schedule.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) })
}

/// The steps in their order.
fn text(Preview { schedule, .. }: &Preview) -> String {
    let mut steps = Vec::new();
    for (scope, teardown) in &schedule.teardowns {
        steps.extend(batches(scope, &teardown.before));
    }
    steps.extend(schedule.release.iter().map(|op| format!("kernel  {op}")));
    for (scope, teardown) in &schedule.teardowns {
        steps.extend(batches(scope, &teardown.after));
    }
    steps.extend(schedule.build.iter().map(|op| format!("kernel  {op}")));
    for (scope, change) in &schedule.frr.scopes {
        steps.extend(batches(scope, change.batches()));
    }
    let ops = schedule.release.len() + schedule.build.len();
    steps.push(format!("{ops} kernel operations, {} FRR lines", schedule.frr_lines()));
    steps.join("\n") + "\n"
}

fn batches(scope: &Scope, batches: &[Batch]) -> Vec<String> {
    let lines = |batch: &Batch| {
        let mode = if batch.mode == Mode::Exec { " (exec)" } else { "" };
        let head = format!("{}  {scope}{mode}", batch.daemon);
        let commands = batch.commands.iter().map(|command| format!("  {command}"));
        std::iter::once(head).chain(commands).collect::<Vec<_>>()
    };
    batches.iter().flat_map(lines).collect()
}
