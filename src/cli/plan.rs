//! `perouter plan`: what the next reconcile pass would do, step by step. In: the objects of a directory and the node. Out:
//! the steps of the schedule that the controller would execute. Changes nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::frr_client::routing;
use super::options::{ModeChoice, Output, RuntimeOptions, SourceOptions, api_servers};
use super::output;
use crate::control::accepted_file;
use crate::frr::daemons::{self, Installation, InstallationError};
use crate::frr::release::{FrrVersion, Release};
use crate::kernel::{NetlinkKernel, host_nics, netns};
use crate::kind::note::Loss;
use crate::reconcile::schedule::{Schedule, ScheduleStep};
use crate::reconcile::{Preview, Reconciler};
use crate::source;

/// Arguments of `perouter plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads the node and changes nothing. Passwords are masked. Without a router on this node, all\n\
    steps of the first reconcile pass are printed, for the installed release of FRR.\n\n\
    Exit status: 0 nothing to do, 2 there are changes, 1 an error.\n\nExamples:\n  \
    perouter plan --config-dir examples/metallb --node-index 0\n  \
    perouter plan --node-index 0 -o json | jq -r '.steps[].lines[]?'"
)]
pub struct PlanArgs {
    #[command(flatten)]
    source: SourceOptions,
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// VRF mode to plan for
    #[arg(long, env = "PEROUTER_VRF_MODE", value_name = "MODE", value_enum, default_value = "auto")]
    vrf_mode: ModeChoice,
    /// Directory of the FRR daemons
    #[arg(long, env = "PEROUTER_FRR_DIR", value_name = "DIR", default_value = daemons::FRR_DIR)]
    frr_dir: PathBuf,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    output: Output,
}

/// Exit status where there is something to do.
const CHANGES: u8 = 2;

/// What is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Printed<'a> {
    /// The release of FRR that the steps are for.
    frr_version: String,
    /// Where that is not the release of a running or installed FRR: why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    kernel_ops: usize,
    frr_lines: usize,
    #[serde(serialize_with = "steps")]
    steps: &'a [ScheduleStep],
}

/// A step as data: what it is, and what is in it.
#[derive(Debug, Serialize)]
struct PrintedStep {
    step: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<String>,
}

fn steps<S: serde::Serializer>(steps: &[ScheduleStep], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(steps.iter().map(|step| {
        let text = step.to_string();
        let (first, rest) = text.split_once('\n').unwrap_or((&text, ""));
        let lines = rest.lines().map(|line| line.strip_prefix("  ").unwrap_or(line).to_owned()).collect();
        PrintedStep { step: first.to_owned(), lines }
    }))
}

/// Prints the plan.
pub async fn execute(args: PlanArgs) -> anyhow::Result<ExitCode> {
    let runtime = args.runtime.paths();
    let index = args.source.index.choice(&args.source.node_labels, &runtime).await?;
    let node = args.source.node(&index)?;
    let snapshot = Arc::new(source::dir::read(&args.source.config_dir, &args.source.secrets(), &node)?);
    let mode = args.vrf_mode.resolve()?;
    let (preview, frr) = if netns::is_netns(runtime.router_netns())? {
        let kernel = NetlinkKernel::open(runtime.clone(), netns::open_host()?).await?;
        let kernel = kernel.observing_routes_to(api_servers(None).await);
        let mut reconciler = Reconciler::new(kernel, routing(&runtime), mode, accepted_file::read(&runtime.accepted()));
        let preview = reconciler.preview(&snapshot).await?;
        (preview, PlannedRelease { version: reconciler.frr_version().await?, note: None })
    } else {
        let frr = PlannedRelease::installed(&args.frr_dir).await?;
        let nics = snapshot.nics().filter_map(|nic| nic.parse().ok()).collect();
        let nics = host_nics::observe(netns::open_host()?, &nics, &api_servers(None).await).await;
        // Planning needs no privileges, reading the host does.
        let unread = |error| eprintln!("note: the NICs of this node are not checked: {:#}", anyhow::Error::from(error));
        let nics = nics.map_err(unread).ok();
        (Preview::without_router(&snapshot, mode, Release::of(&frr.version)?, nics)?, frr)
    };
    for rejection in &preview.plan.rejected {
        output::error_line(&rejection.to_string());
    }
    for note in preview.plan.notes.iter().filter(|note| note.loss != Loss::BetweenHosts) {
        eprintln!("note: {note}");
    }
    let Schedule { steps, .. } = &preview.schedule;
    let printed = Printed {
        frr_version: frr.version.to_string(),
        note: frr.note,
        kernel_ops: preview.schedule.kernel_ops().count(),
        frr_lines: preview.schedule.frr_lines(),
        steps,
    };
    let note = printed.note.as_ref().map(|note| format!("# {note}\n")).unwrap_or_default();
    args.output.print(&printed, || format!("{note}{}", preview.schedule))?;
    Ok(if preview.schedule.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) })
}

/// The release of FRR to plan for.
struct PlannedRelease {
    version: FrrVersion,
    note: Option<String>,
}

impl PlannedRelease {
    /// The installed one; where there is none, the newest that is known.
    async fn installed(frr_dir: &Path) -> anyhow::Result<Self> {
        match Installation::read(frr_dir).await {
            Ok(Installation { version, .. }) => Ok(Self { version, note: None }),
            Err(error @ InstallationError::NotInstalled { .. }) => {
                let version = FrrVersion::newest_known();
                let note = format!("{error}; planned for FRR {version}");
                Ok(Self { version, note: Some(note) })
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn without_an_installed_frr_the_newest_release_is_planned_for_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let frr = PlannedRelease::installed(dir.path()).await.unwrap();
        let note = format!(
            "FRR is not installed: apt-get install frr (looked in {} for zebra); planned for FRR 10.7",
            dir.path().display()
        );
        assert_eq!((frr.version, frr.note), (FrrVersion::newest_known(), Some(note)));
    }

    #[test]
    fn json_has_the_lines_of_each_step() {
        let step = ScheduleStep::AwaitPolicies;
        let printed = Printed { frr_version: "8.4.4".into(), note: None, kernel_ops: 0, frr_lines: 0, steps: &[step] };
        let expected = serde_json::json!({
            "frrVersion": "8.4.4", "kernelOps": 0, "frrLines": 0, "steps": [{"step": "wait for the policies"}],
        });
        assert_eq!(serde_json::to_value(printed).unwrap(), expected);
    }
}
