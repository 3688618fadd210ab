//! `perouter crds`: the custom resource definitions. In: where to write. Out: YAML.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::output;
use crate::kind::crds::crds;

/// Arguments of `perouter crds`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  perouter crds | kubectl apply -f -\n  perouter crds --out-dir crds")]
pub struct CrdsArgs {
    /// Write one file per kind to this directory instead of standard output
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

/// Prints or writes the CRDs.
pub fn execute(args: &CrdsArgs) -> anyhow::Result<ExitCode> {
    for (file, yaml) in crds()? {
        match &args.out_dir {
            None => output::out(&format!("---\n{yaml}"))?,
            Some(dir) => {
                let path = dir.join(file);
                std::fs::write(&path, yaml).with_context(|| format!("write {}", path.display()))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
