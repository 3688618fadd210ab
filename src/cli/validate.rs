//! `perouter validate`: the checks of source and plan. In: files and directories of objects. Out: rejections, notes and warnings.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::diagnostic::{Diagnostic, DiagnosticLevel, Validation, github, sarif, snippet};
use super::exit_status::ExitStatus;
use super::{options, output};
use crate::frr::daemons::{self, Installation};
use crate::frr::release::FRR_10_7;
use crate::kernel::{host_nics, netns};
use crate::kind::API_VERSION;
use crate::plan::{NodeFacts, Plan, plan};
use crate::snapshot::{Kind, NodeIdentity, Rejection, Snapshot};
use crate::source::given::{self, Given};
use crate::source::survey::{self, Survey};
use crate::types::{Secret, VrfMode};

/// Bytes of standard input, at most.
const MAX_STDIN: u64 = 16 << 20;
/// How standard input is called in messages.
const STDIN: &str = "<stdin>";

/// Arguments of `perouter validate`.
#[derive(Debug, Args)]
#[command(
    after_help = "A note names routes that are lost although all objects are valid, a warning what may not be meant. Objects of other API\n\
    groups are skipped and counted; passwords of `kind: Secret` are used.\n\n\
    Exit status: 0 all objects are valid, 1 some are not, 2 they cannot be read.\n\nExamples:\n  \
    perouter validate examples/metallb\n  perouter validate red.yaml blue.yaml --ignore-secrets\n  \
    helm template . | perouter validate - -o github\n  \
    perouter validate /etc/perouter --node-index 17 --node-label rack=a"
)]
pub struct ValidateArgs {
    /// Files and directories of the objects (YAML or JSON); `-`: standard input
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Directory of the passwords that objects refer to: `passwordSecret: {name: N, key: K}` is the file `SECRETS_DIR/N/K`
    /// [default: `secrets` in the first directory]
    #[arg(long, value_name = "SECRETS_DIR")]
    secrets_dir: Option<PathBuf>,
    /// Passwords are where this command does not see them
    #[arg(long)]
    ignore_secrets: bool,
    /// Index of the node to validate for: every pool must have an address for it
    #[arg(long, value_name = "N", default_value_t = 0)]
    node_index: u32,
    /// Label of the node to validate for; can be repeated
    #[arg(long = "node-label", value_name = "KEY=VALUE", value_delimiter = ',', value_parser = options::label)]
    node_labels: Vec<(String, String)>,
    /// The objects are for the node on which this command runs: its NICs and its release of FRR count. Needs root
    #[arg(long)]
    this_node: bool,
    /// Output format
    #[arg(short, long, value_name = "FORMAT", value_enum, default_value = "table")]
    output: ValidateFormat,
}

/// The format of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ValidateFormat {
    /// Human-readable text, with the lines
    Table,
    /// The same
    Wide,
    /// JSON
    Json,
    /// YAML
    Yaml,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// Annotations of a workflow of GitHub
    Github,
}

/// Validates the objects.
pub async fn execute(args: &ValidateArgs) -> anyhow::Result<ExitCode> {
    let stdin = args.paths.iter().filter(|path| *path == Path::new("-")).count();
    anyhow::ensure!(stdin <= 1, "`-` is named {stdin} times: standard input can be read once");
    let mut given = Given::default();
    for path in &args.paths {
        if path == Path::new("-") {
            given.files.insert(STDIN.into(), Ok(standard_input()?));
        } else {
            given.add(path)?;
        }
    }
    let surveys: Vec<(String, Survey)> = given
        .files
        .iter()
        .filter_map(|(path, text)| Some((path.display().to_string(), survey::survey(text.as_ref().ok()?))))
        .collect();
    let (snapshot, plan) = planned(args, &given, &surveys).await?;
    let mut diagnostics: Vec<Diagnostic> = plan.rejected.iter().map(Diagnostic::rejection).collect();
    diagnostics.extend(plan.notes.iter().map(|note| {
        let location = snapshot.objects.get(&note.object).and_then(|found| found.location.clone());
        Diagnostic::note(note, location)
    }));
    for diagnostic in &mut diagnostics {
        diagnostic.move_to_field(|file, line, field| {
            surveys.iter().find(|(of, _)| of == file).and_then(|(_, survey)| survey.line_of(line, field))
        });
    }
    diagnostics.extend(warnings(&given, &surveys, &snapshot));
    let files = ValidatedFiles { given: &given, surveys: &surveys };
    let columns: Vec<_> = diagnostics.iter().map(|d| d.column_in(files.text(d, &diagnostics))).collect();
    for (diagnostic, column) in diagnostics.iter_mut().zip(columns) {
        diagnostic.set_column(column);
    }
    let objects = snapshot.objects.len() + count(&snapshot.rejected);
    let names = args.paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
    let validation = Validation { objects, rejected: count(&plan.rejected), diagnostics };
    print(args.output, &validation, &files, &names)?;
    Ok(ExitStatus::of_problem(!plan.rejected.is_empty()).into())
}

fn standard_input() -> anyhow::Result<String> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX_STDIN + 1).read_to_string(&mut text).context("read standard input")?;
    anyhow::ensure!(read as u64 <= MAX_STDIN, "standard input has more than {MAX_STDIN} bytes");
    Ok(text)
}

async fn planned(args: &ValidateArgs, given: &Given, surveys: &[(String, Survey)]) -> anyhow::Result<(Snapshot, Plan)> {
    let node = NodeIdentity {
        name: "validate".to_owned(),
        index: args.node_index,
        labels: args.node_labels.iter().cloned().collect(),
    };
    let directory = args.paths.iter().find(|path| path.is_dir());
    let secrets = args.secrets_dir.clone().or_else(|| Some(directory?.join("secrets"))).unwrap_or("secrets".into());
    let passwords = surveys.iter().flat_map(|(_, survey)| &survey.passwords);
    let passwords: BTreeMap<_, _> = passwords.map(|(key, password)| (key.clone(), password.clone())).collect();
    let mut snapshot = given::snapshot(given, &secrets, &passwords, &node)?;
    for (key, secret) in snapshot.secrets.iter_mut().filter(|(key, _)| !passwords.contains_key(*key)) {
        let secrets = surveys.iter().flat_map(|(_, survey)| &survey.secrets);
        if let (Err(error), Some(why)) = (&mut *secret, survey::why_no_password(key, secrets)) {
            *error = why;
        }
    }
    if args.ignore_secrets {
        for secret in snapshot.secrets.values_mut().filter(|secret| secret.is_err()) {
            *secret = Ok(Secret::new("ignored".to_owned()));
        }
    }
    let (mut release, mut nics) = (FRR_10_7, None);
    if args.this_node {
        release = Installation::read(Path::new(daemons::FRR_DIR)).await?.release;
        let asked = snapshot.nics().filter_map(|nic| nic.parse().ok()).collect();
        nics = Some(host_nics::observe(netns::open_host()?, &asked, &options::api_servers(None).await).await?);
    }
    // The mode decides where links are, not whether an object is valid.
    let facts = NodeFacts { nics, ..NodeFacts::unknown(VrfMode::Netns, release) };
    let plan = plan(&snapshot, &facts);
    Ok((snapshot, plan))
}

/// What is skipped, empty, or may not be meant. A password that an object needs is no warning.
fn warnings(given: &Given, surveys: &[(String, Survey)], snapshot: &Snapshot) -> Vec<Diagnostic> {
    let warning = |file: Option<(&str, u64)>, field: &str, message: String| {
        Diagnostic::new(DiagnosticLevel::Warning, file, field, message)
    };
    let mut found = Vec::new();
    for (file, survey) in surveys {
        let at = |line| Some((file.as_str(), line));
        found.extend(survey.is_empty.then(|| warning(at(1), "", "the file is empty".to_owned())));
        let kinds: BTreeSet<(&str, bool)> =
            survey.skipped.iter().map(|skipped| (skipped.what.as_str(), skipped.of_openperouter)).collect();
        for (what, of_openperouter) in kinds {
            let of_kind = || survey.skipped.iter().filter(|skipped| skipped.what == what);
            let line = of_kind().map(|skipped| skipped.line).next().unwrap_or(1);
            let message = survey::skipped_message(what, of_kind().count(), of_openperouter);
            found.push(warning(at(line), "", message));
        }
        let unneeded = survey.passwords.iter().filter(|(key, _)| !snapshot.secrets.contains_key(*key));
        let unusable = unneeded.filter_map(|(_, password)| password.as_ref().err());
        found.extend(unusable.map(|error| warning(at(1), "", error.clone())));
        found.extend(survey.warnings.iter().map(|w| warning(at(w.line), &w.field, w.message.clone())));
    }
    let specs: Vec<_> =
        surveys.iter().flat_map(|(file, survey)| survey.specs.iter().map(move |spec| (file, spec))).collect();
    let all: Vec<_> = specs.iter().map(|(_, spec)| (*spec).clone()).collect();
    for (place, w) in survey::subnets_with_neighbors(&all) {
        let file = specs.get(place).map(|(file, _)| (file.as_str(), w.line));
        found.push(warning(file, &w.field, w.message));
    }
    if !given.skipped.is_empty() {
        let names: Vec<String> = given.skipped.iter().map(|path| path.display().to_string()).collect();
        let message = format!("skipped, as the name ends with none of .yaml, .yml and .json: {}", names.join(", "));
        found.push(warning(None, "", message));
    }
    if given.files.is_empty() {
        found.push(warning(None, "", "there is no file to validate".to_owned()));
    }
    found
}

/// The files that were validated.
struct ValidatedFiles<'a> {
    given: &'a Given,
    surveys: &'a [(String, Survey)],
}

impl ValidatedFiles<'_> {
    /// The text of the file of a diagnostic, unless the line may have a password.
    fn text(&self, diagnostic: &Diagnostic, all: &[Diagnostic]) -> Option<&str> {
        let at = diagnostic.location.as_ref()?.line();
        let surveys = self.surveys.iter().filter(|(file, _)| *file == at.file);
        let is_secret = surveys.flat_map(|(_, survey)| &survey.secret_lines).any(|lines| lines.contains(&at.line));
        let mut of_line = all.iter().filter(|other| other.location.as_ref().is_some_and(|other| other.line() == at));
        if is_secret || !diagnostic.is_of_unknown_field() && of_line.any(Diagnostic::is_of_unknown_field) {
            return None;
        }
        self.given.files.get(Path::new(&at.file))?.as_deref().ok()
    }
}

fn print(
    format: ValidateFormat,
    validation: &Validation,
    sources: &ValidatedFiles<'_>,
    names: &str,
) -> anyhow::Result<()> {
    match format {
        ValidateFormat::Table | ValidateFormat::Wide => {
            for diagnostic in &validation.diagnostics {
                output::error_line(&snippet(diagnostic, sources.text(diagnostic, &validation.diagnostics)));
            }
            let noun = if validation.objects == 1 { "object" } else { "objects" };
            output::out(&format!("{names}: {} {noun}, {} rejected\n", validation.objects, validation.rejected))?;
        }
        ValidateFormat::Json | ValidateFormat::Yaml => {
            let mut document = serde_json::json!({ "apiVersion": API_VERSION, "kind": "ValidationReport" });
            let body = serde_json::to_value(validation)?;
            if let (Some(document), serde_json::Value::Object(body)) = (document.as_object_mut(), body) {
                document.extend(body);
            }
            output::out(&match format {
                ValidateFormat::Json => serde_json::to_string_pretty(&document)? + "\n",
                _ => serde_saphyr::to_string(&document)?,
            })?;
        }
        ValidateFormat::Sarif => output::out(&(serde_json::to_string_pretty(&sarif(validation))? + "\n"))?,
        ValidateFormat::Github => output::out(&validation.diagnostics.iter().map(github).collect::<String>())?,
    }
    Ok(())
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
        let mut given = Given::default();
        given.add(dir.path()).unwrap();
        let secrets = dir.path().join("secrets");
        let snapshot = given::snapshot(&given, &secrets, &[].into(), &NodeIdentity::default()).unwrap();
        assert_eq!((snapshot.rejected.len(), count(&snapshot.rejected)), (4, 3));
    }
}
