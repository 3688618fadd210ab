//! `perouter validate`: the checks of source and plan. In: a directory of objects. Out: rejections and notes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::plan::{NodeFacts, Plan, plan};
use crate::snapshot::NodeIdentity;
use crate::source;
use crate::types::VrfMode;

/// Arguments of `perouter validate`.
#[derive(Debug, Args)]
#[command(after_help = "A note names routes that are lost although all objects are valid.\n\n\
    Exit status: 0 all objects are valid, 1 some are not.\n\nExamples:\n  \
    perouter validate examples/metallb\n  perouter validate /etc/perouter --node-index 17 --node-label rack=a")]
pub struct ValidateArgs {
    /// Directory with Underlay and L3VNI objects
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Directory of the passwords that objects refer to, one file per key: SECRETS/SECRET/KEY [default: DIR/secrets]
    #[arg(long, value_name = "SECRETS")]
    secrets_dir: Option<PathBuf>,
    /// Index of the node to validate for: every pool must have an address for it
    #[arg(long, value_name = "N", default_value_t = 0)]
    node_index: u32,
    /// Label of the node to validate for; can be repeated
    #[arg(long = "node-label", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = super::options::label)]
    node_labels: Vec<(String, String)>,
}

/// Validates the directory.
pub fn execute(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let node = NodeIdentity {
        name: "validate".to_owned(),
        index: args.node_index,
        labels: args.node_labels.iter().cloned().collect(),
    };
    let secrets = args.secrets_dir.clone().unwrap_or_else(|| args.dir.join("secrets"));
    let snapshot = source::dir::read(&args.dir, &secrets, &node)?;
    // The mode decides where links are, not whether an object is valid.
    let facts = NodeFacts {
        mode: VrfMode::Netns,
        release: crate::frr::release::FRR_10_3,
        nic_mtu: std::collections::BTreeMap::new(),
    };
    let Plan { rejected, notes, .. } = plan(&snapshot, &facts);
    for rejection in &rejected {
        eprintln!("{rejection}");
    }
    for note in &notes {
        eprintln!("note: {note}");
    }
    let bad: std::collections::BTreeSet<_> = rejected.iter().map(|r| &r.object).collect();
    let read = snapshot.objects.len() + snapshot.rejected.len();
    println!("{}: {read} objects, {} rejected", args.dir.display(), bad.len());
    Ok(if rejected.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
