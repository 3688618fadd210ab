//! `perouter cleanup`: the node as it was before.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::options::RuntimeOptions;
use crate::frr::daemons;
use crate::kernel::port::NetlinkKernel;

/// Arguments of `perouter cleanup`.
#[derive(Debug, Args)]
#[command(
    after_help = "End `perouter run` (or router and controller) first: a running one would build the router again.\n\
    Safe to repeat, also after a crash half way."
)]
pub struct CleanupArgs {
    #[command(flatten)]
    runtime: RuntimeOptions,
}

/// Removes everything.
pub async fn execute(args: CleanupArgs) -> anyhow::Result<ExitCode> {
    let runtime = args.runtime.paths();
    daemons::stop_all(&runtime).await?;
    let removed = NetlinkKernel::remove_all(&runtime).await.context("give the node back")?;
    for line in removed {
        println!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}
