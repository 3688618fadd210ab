//! `perouter validate`: the checks of source and plan. In: a directory of objects. Out: rejections and notes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use super::{options, output};
use crate::frr::daemons::{self, Installation};
use crate::frr::release::FRR_10_7;
use crate::kernel::{host_nics, netns};
use crate::plan::{NodeFacts, Plan, plan};
use crate::snapshot::{Kind, NodeIdentity, Rejection};
use crate::source;
use crate::types::VrfMode;

/// Arguments of `perouter validate`.
#[derive(Debug, Args)]
#[command(
    after_help = "A note names routes that are lost although all objects are valid. Objects of other API groups are ignored.\n\n\
    Exit status: 0 all objects are valid, 1 some are not.\n\nExamples:\n  \
    perouter validate examples/metallb\n  perouter validate /etc/perouter --node-index 17 --node-label rack=a"
)]
pub struct ValidateArgs {
    /// Directory of the objects (YAML or JSON)
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Directory of the passwords that objects refer to: `passwordSecret: {name: N, key: K}` is the file `SECRETS_DIR/N/K`
    /// [default: DIR/secrets]
    #[arg(long, value_name = "SECRETS_DIR")]
    secrets_dir: Option<PathBuf>,
    /// Index of the node to validate for: every pool must have an address for it
    #[arg(long, value_name = "N", default_value_t = 0)]
    node_index: u32,
    /// Label of the node to validate for; can be repeated
    #[arg(long = "node-label", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = options::label)]
    node_labels: Vec<(String, String)>,
    /// The objects are for the node on which this command runs: its NICs and its release of FRR count. Needs root
    #[arg(long)]
    this_node: bool,
}

/// Validates the directory.
pub async fn execute(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let node = NodeIdentity {
        name: "validate".to_owned(),
        index: args.node_index,
        labels: args.node_labels.iter().cloned().collect(),
    };
    let secrets = args.secrets_dir.clone().unwrap_or_else(|| args.dir.join("secrets"));
    let snapshot = source::dir::read(&args.dir, &secrets, &node)?;
    let (mut release, mut nics) = (FRR_10_7, None);
    if args.this_node {
        release = Installation::read(Path::new(daemons::FRR_DIR)).await?.release;
        let asked = snapshot.nics().filter_map(|nic| nic.parse().ok()).collect();
        nics = Some(host_nics::observe(netns::open_host()?, &asked, &options::api_servers(None).await).await?);
    }
    // The mode decides where links are, not whether an object is valid.
    let facts = NodeFacts { nics, ..NodeFacts::unknown(VrfMode::Netns, release) };
    let Plan { rejected, notes, .. } = plan(&snapshot, &facts);
    for rejection in &rejected {
        output::error_line(&rejection.to_string());
    }
    for note in &notes {
        output::error_line(&format!("note: {note}"));
    }
    let (read, bad) = (snapshot.objects.len() + count(&snapshot.rejected), count(&rejected));
    let noun = if read == 1 { "object" } else { "objects" };
    output::out(&format!("{}: {read} {noun}, {bad} rejected\n", args.dir.display()));
    Ok(if rejected.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The number of objects with a rejection. Each mistake of an object is a rejection of its own. A document that does not say
/// which object it is has one, at its line.
fn count(rejected: &[Rejection]) -> usize {
    let object = |rejection: &Rejection| {
        let line = rejection.location.as_ref().filter(|_| rejection.object.kind == Kind::Document).map(|at| at.line);
        (rejection.object.clone(), rejection.location.as_ref().map(|at| at.file.clone()), line)
    };
    rejected.iter().map(object).collect::<BTreeSet<_>>().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_counted_once_and_documents_each() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let object = "apiVersion: openpe.openperouter.github.io/v1alpha1\nkind: L3VNI\nmetadata: {name: red}\n";
        // Two mistakes.
        write("a.yaml", &format!("{object}spec: {{asn: 0, vni: 0}}\n"));
        write("b.yaml", "text\n---\n[a, list]\n");
        let node = NodeIdentity::default();
        let snapshot = source::dir::read(dir.path(), &dir.path().join("secrets"), &node).unwrap();
        assert_eq!((snapshot.rejected.len(), count(&snapshot.rejected)), (4, 3));
    }
}
