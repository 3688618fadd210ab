//! `perouter plan`: what the next reconcile pass would do, step by step. In: the objects of a directory, of an API server or of
//! both, and the node. Out: the steps of the schedule that the controller would execute. Changes nothing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use super::exit_status::ExitStatus;
use super::frr_client::{mode_of_router, routing};
use super::node_index;
use super::options::{ApiOptions, ModeChoice, RuntimeOptions, SourceOptions};
use super::output;
use super::plan_changes::{ObjectChange, changes};
use super::show::{ShowOptions, Shown};
use super::sources;
use crate::control::accepted_file;
use crate::diagnose::check::counted;
use crate::frr::client::port::Routing as _;
use crate::frr::daemons::{self, Installation, InstallationError};
use crate::frr::release::{FrrVersion, Release};
use crate::frr::show::session::SessionState;
use crate::kernel::{NetlinkKernel, host_nics, netns};
use crate::kind::note::Loss;
use crate::reconcile::schedule::ScheduleStep;
use crate::reconcile::{Preview, Reconciler};
use crate::runtime::Runtime;
use crate::snapshot::{Rejection, Snapshot};
use crate::status::model::Resource;
use crate::status::publish;

/// Arguments of `perouter plan`.
#[derive(Debug, Args)]
#[command(
    after_help = "Reads the node and the objects once and changes nothing: no node index is claimed. Passwords are masked.\n\
    Without a router on this node, all steps of the first reconcile pass are printed, for the installed release of FRR.\n\
    Changes are shown by object; `-o wide` has the steps in the order in which they run.\n\n\
    Exit status: 0 nothing to do, 1 an object is rejected, 2 the objects or the node cannot be read, 3 there are changes.\n\nExamples:\n  \
    perouter plan --config-dir examples/metallb --node-index 0\n  \
    perouter plan --source kubernetes --node-name worker-1\n  \
    perouter plan --node-index 0 -o json | jq -r '.steps[].lines[]?'"
)]
pub struct PlanArgs {
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    source: SourceOptions,
    #[command(flatten)]
    runtime: RuntimeOptions,
    /// VRF mode to plan for; a running router has its own, which this must not contradict
    #[arg(long, env = "PEROUTER_VRF_MODE", value_name = "MODE", value_enum, default_value = "auto")]
    vrf_mode: ModeChoice,
    /// Directory of the FRR daemons
    #[arg(long, env = "PEROUTER_FRR_DIR", value_name = "DIR", default_value = daemons::FRR_DIR)]
    frr_dir: PathBuf,
    #[command(flatten)]
    show: ShowOptions,
}

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
    /// Objects that are not applied.
    rejected: &'a [Rejection],
    /// What of it belongs to which object.
    objects: Vec<ObjectChange>,
    /// In the order in which they run.
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

/// What the pass would do, and what is there.
struct Planned {
    snapshot: Arc<Snapshot>,
    preview: Preview,
    frr: PlannedRelease,
    sessions: Vec<SessionState>,
    /// The objects of the last status.
    known: Vec<Resource>,
}

/// Prints the plan.
pub async fn execute(args: PlanArgs) -> anyhow::Result<ExitCode> {
    let Planned { snapshot, preview, frr, sessions, known } = read(&args).await?;
    for rejection in &preview.plan.rejected {
        output::error_line(&rejection.to_string());
    }
    for note in preview.plan.notes.iter().filter(|note| note.loss != Loss::BetweenHosts) {
        output::error_line(&format!("note: {note}"));
    }
    if let Some(nothing) = no_object(&snapshot, &preview) {
        output::error_line(&format!("note: {nothing}"));
    }
    let schedule = &preview.schedule;
    let printed = Printed {
        frr_version: frr.version.to_string(),
        note: frr.note,
        kernel_ops: schedule.kernel_ops().count(),
        frr_lines: schedule.frr_lines(),
        rejected: &preview.plan.rejected,
        objects: changes(&preview.plan, schedule, &sessions, &known),
        steps: &schedule.steps,
    };
    let note = printed.note.as_ref().map(|note| format!("# {note}\n")).unwrap_or_default();
    let by_object = || {
        let groups: String = printed.objects.iter().map(|change| change.to_string() + "\n").collect();
        let (ops, lines) = (counted(printed.kernel_ops, "kernel operation"), counted(printed.frr_lines, "FRR line"));
        format!("{groups}{ops}, {lines}\n")
    };
    let text = args.show.render("PlanReport", &printed, |look| {
        let steps = if look.is_wide { schedule.to_string() } else { by_object() };
        format!("{note}{steps}")
    })?;
    let status = match (preview.plan.rejected.is_empty(), schedule.is_empty()) {
        (false, _) => ExitStatus::Problem,
        (true, false) => ExitStatus::Changes,
        (true, true) => ExitStatus::Ok,
    };
    args.show.show(&Shown { text, status })
}

/// Why there is nothing to do for this node, if no object concerns it.
fn no_object(snapshot: &Snapshot, preview: &Preview) -> Option<String> {
    if !preview.plan.objects.is_empty() || !preview.plan.rejected.is_empty() {
        return None;
    }
    let node = &snapshot.node;
    let labels: Vec<String> = node.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Some(match (snapshot.objects.len(), labels.is_empty()) {
        (0, _) => format!("there are no objects for node {}", node.name),
        (_, true) => format!("no object selects this node, {}, which has no labels: set --node-label", node.name),
        (_, false) => format!("no object selects this node, {}, with the labels {}", node.name, labels.join(", ")),
    })
}

/// The plan as text, by object.
pub async fn text_of(
    (api, source): (ApiOptions, SourceOptions),
    runtime: RuntimeOptions,
    vrf_mode: ModeChoice,
) -> anyhow::Result<String> {
    let args =
        PlanArgs { api, source, runtime, vrf_mode, frr_dir: daemons::FRR_DIR.into(), show: ShowOptions::default() };
    let Planned { preview, sessions, known, .. } = read(&args).await?;
    let mut text = String::new();
    text.extend(preview.plan.rejected.iter().map(|rejection| format!("{rejection}\n")));
    let changes = changes(&preview.plan, &preview.schedule, &sessions, &known);
    text.extend(changes.iter().map(|change| format!("{change}\n")));
    Ok(text + &preview.schedule.to_string())
}

async fn read(args: &PlanArgs) -> anyhow::Result<Planned> {
    let runtime = args.runtime.paths();
    let mut index = args.source.index.clone();
    let recorded = node_index::recorded(&runtime);
    index.set_default(recorded);
    let index = index.choice(&args.source.node_labels, &runtime).await?;
    if let Some(warning) = other_index(recorded, index.fixed()) {
        output::error_line(&format!("note: {warning}"));
    }
    let (snapshot, notes) = sources::read(&args.api, &args.source, &index).await?;
    for note in notes {
        output::error_line(&format!("note: {:#}", anyhow::Error::from(note)));
    }
    let snapshot = Arc::new(snapshot);
    let servers = args.api.servers().await?;
    if netns::is_netns(runtime.router_netns())? {
        let mode = mode_of_router(args.vrf_mode, &runtime).await?;
        let kernel = NetlinkKernel::open(runtime.clone(), netns::open_host()?).await?;
        let kernel = kernel.observing_routes_to(servers);
        let mut reconciler = Reconciler::new(kernel, routing(&runtime), mode, accepted_file::read(&runtime.accepted()));
        let preview = reconciler.preview(&snapshot).await?;
        let frr = PlannedRelease { version: reconciler.frr_version().await?, note: None };
        let sessions = routing(&runtime).sessions().await?;
        return Ok(Planned { snapshot, preview, frr, sessions, known: known(&runtime) });
    }
    let mode = args.vrf_mode.resolve()?;
    let frr = PlannedRelease::installed(&args.frr_dir).await?;
    let nics = snapshot.nics().filter_map(|nic| nic.parse().ok()).collect();
    let nics = host_nics::observe(netns::open_host()?, &nics, &servers).await;
    // Planning needs no privileges, reading the host does.
    let unread = |error| {
        let error = anyhow::Error::from(error);
        output::error_line(&format!("note: the NICs of this node are not checked: {error:#}"));
    };
    let nics = nics.map_err(unread).ok();
    let preview = Preview::without_router(&snapshot, mode, Release::of(&frr.version)?, nics)?;
    Ok(Planned { snapshot, preview, frr, sessions: vec![], known: known(&runtime) })
}

/// What to say of another index than that of the router of this node.
fn other_index(recorded: Option<u32>, planned: Option<u32>) -> Option<String> {
    let (recorded, planned) = (recorded?, planned.filter(|index| recorded != Some(*index))?);
    Some(format!(
        "the router of this node has index {recorded}, and this plan is for index {planned}: `perouter run` and `controller` \
         start with it if --change-node-index is added"
    ))
}

fn known(runtime: &Runtime) -> Vec<Resource> {
    publish::read(&runtime.status()).ok().flatten().map(|status| status.resources).unwrap_or_default()
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
    use crate::reconcile::schedule::Schedule;

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
    fn a_node_that_no_object_selects_is_told_its_labels() {
        let mut snapshot = Snapshot::default();
        snapshot.node.name = "n1".into();
        let preview = Preview { plan: Arc::default(), schedule: Schedule::default() };
        assert_eq!(no_object(&snapshot, &preview).unwrap(), "there are no objects for node n1");
        let (object, found) =
            crate::plan::tests::snapshot(vec![crate::plan::tests::l3vni("red", 100, "192.169.10.0/24")])
                .objects
                .into_iter()
                .next()
                .unwrap();
        snapshot.objects.insert(object, found);
        let expected = "no object selects this node, n1, which has no labels: set --node-label";
        assert_eq!(no_object(&snapshot, &preview).unwrap(), expected);
        snapshot.node.labels.insert("rack".into(), "a".into());
        let expected = "no object selects this node, n1, with the labels rack=a";
        assert_eq!(no_object(&snapshot, &preview).unwrap(), expected);
    }

    #[test]
    fn json_has_the_lines_of_each_step() {
        let step = ScheduleStep::AwaitPolicies;
        let printed = Printed {
            frr_version: "8.4.4".into(),
            note: None,
            kernel_ops: 0,
            frr_lines: 0,
            rejected: &[],
            objects: vec![],
            steps: &[step],
        };
        let expected = serde_json::json!({
            "frrVersion": "8.4.4", "kernelOps": 0, "frrLines": 0, "rejected": [], "objects": [],
            "steps": [{"step": "wait for the policies"}],
        });
        assert_eq!(serde_json::to_value(printed).unwrap(), expected);
    }
}
