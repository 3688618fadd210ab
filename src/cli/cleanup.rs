//! `perouter cleanup`: removes the router from the node. In: its paths. Out: the node as it was before.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;

use super::exit_status::ExitStatus;
use super::lock::{self, LockRole};
use super::options::{RuntimeOptions, StateOptions};
use super::output;
use crate::frr::daemons;
use crate::kernel::model::KernelState;
use crate::kernel::{self, Kernel, NetlinkKernel, Outcome, host_ports, netns};
use crate::names::{OwnedName, Role};
use crate::reconcile::remedy;

/// Arguments of `perouter cleanup`.
#[derive(Debug, Args)]
#[command(
    after_help = "Stop `perouter run` (or router and controller) first: while one is running, nothing is removed.\n\
    Can be repeated, also after an interruption.\n\nExamples:\n  perouter cleanup"
)]
pub struct CleanupArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
    #[command(flatten)]
    state: StateOptions,
}

/// Removes everything.
pub async fn execute(args: CleanupArgs) -> anyhow::Result<ExitCode> {
    let runtime = args.runtime.paths();
    let _locks = lock::take(&runtime, &LockRole::BOTH)?;
    daemons::stop_all(&runtime).await?;
    // Also where the namespace was lost: the NICs are restored all the same.
    netns::create(runtime.router_netns())?;
    let kernel = NetlinkKernel::open(runtime.clone(), netns::open_host()?).await?;
    let observed = kernel.observe(&BTreeSet::new()).await?;
    // Its ports and bridges of the router were not observed then, and remain.
    let unknown_ovs = kernel.unknown_ovs().await;
    // With those a bridge would stay until they have left it.
    let mut observed = Arc::unwrap_or_clone(observed);
    let host_ports = std::mem::take(&mut observed.host_ports);
    let steps = kernel::diff(&KernelState::default(), &observed);
    let mut failed = false;
    // Each of the steps would wait for RCU; those of links that are gone are done.
    kernel.delete_router_links().await;
    for (step, outcome) in steps.iter().zip(kernel.apply_all(&steps).await) {
        failed |= !outcome.is_done();
        match outcome {
            // The rest is removed all the same.
            Outcome::Done => failed |= output::out(&format!("{step}\n")).is_err(),
            Outcome::Skipped => {
                output::error_line(&format!("error: {step}: skipped, because an operation that it depends on failed"));
            }
            Outcome::Failed(error) => output::error_line(&format!("error: {:#}", anyhow::Error::from(error))),
        }
    }
    let are_deleted = !failed;
    for (vni, ports) in host_ports.iter().filter(|_| are_deleted) {
        let ports = host_ports::names(ports);
        let bridge = OwnedName::Vni(Role::HostBridge, vni);
        failed |=
            output::out(&format!("links of others that were ports of {bridge} and have no bridge: {ports}\n")).is_err();
    }
    if let Some(error) = unknown_ovs {
        failed = true;
        output::error_line(&format!(
            "error: what the router has in Open vSwitch is not removed: {:#}: run `perouter cleanup` again when Open vSwitch runs, \
             or delete {} if it never will",
            anyhow::Error::from(error),
            runtime.ovs_socket().display()
        ));
    }
    if failed {
        output::error_line("error: the router is not removed: fix the cause and run `perouter cleanup` again");
        return Ok(ExitStatus::Problem.into());
    }
    kernel.move_out_foreign_links().await.map_err(|error| anyhow::anyhow!(remedy::text(&error)))?;
    drop(kernel);
    netns::remove_all(&runtime)?;
    remove_run_dir(runtime.dir())?;
    forget(&args.state.snapshot())?;
    Ok(ExitCode::SUCCESS)
}

/// In a Pod the directory is a mount in a read-only root, which stays, empty.
fn remove_run_dir(dir: &Path) -> anyhow::Result<()> {
    let is_empty = || fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_none());
    let is_mount = |kind| matches!(kind, io::ErrorKind::ResourceBusy | io::ErrorKind::ReadOnlyFilesystem);
    match fs::remove_dir_all(dir) {
        Err(error) if is_mount(error.kind()) && is_empty() => Ok(()),
        result => result.with_context(|| format!("remove {}", dir.display())),
    }
}

/// The directory stays: it may be a mount.
fn forget(snapshot: &Path) -> anyhow::Result<()> {
    match fs::remove_file(snapshot) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", snapshot.display()))
        }
        _ => Ok(()),
    }
}
