//! README and book are true: links lead somewhere, examples are valid, commands exist and something runs them, the reference
//! follows from the types. Needs neither root nor a network. `PEROUTER_UPDATE=1` rewrites the reference.

#![allow(clippy::unwrap_used, reason = "a test file")]

mod docs {
    pub mod chart;
    pub mod commands;
    pub mod examples;
    pub mod links;
    pub mod markdown;
    pub mod reference;
    pub mod workflows;

    mod tests;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use docs::commands::{self, Known};
use docs::markdown::{Page, Shown};
use docs::{chart, examples, links, reference, workflows};
use perouter::cli::Cli;
use perouter::diagnose::finding::FindingKind;
use perouter::kind::crds::{Definition, definition};
use perouter::status::metrics::{METRICS, MetricInfo};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every page, by its path in the repository.
fn pages() -> BTreeMap<PathBuf, Page> {
    let mut paths: Vec<PathBuf> = ["README.md", "SECURITY.md", "CHANGELOG.md"].map(PathBuf::from).into();
    collect(Path::new("docs"), &mut paths);
    paths
        .into_iter()
        .map(|path| {
            let page = Page::read(&fs::read_to_string(root().join(&path)).unwrap());
            (path, page)
        })
        .collect()
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let path = folder.join(entry.unwrap().file_name());
        if root().join(&path).is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
}

#[track_caller]
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "the documentation is not true:\n{}", problems.join("\n"));
}

#[test]
fn every_link_leads_somewhere() {
    none(&links::broken(&root(), &pages()));
}

#[test]
fn every_screenshot_is_shown() {
    let found = fs::read_dir(root().join("docs/ui")).unwrap();
    let screenshots: Vec<PathBuf> = found.map(|entry| Path::new("docs/ui").join(entry.unwrap().file_name())).collect();
    assert!(screenshots.len() >= 12, "{screenshots:?}");
    none(&links::not_shown(&pages(), &screenshots));
}

#[test]
fn every_page_is_in_the_book() {
    none(&links::not_in_the_book(&pages()));
}

#[test]
fn every_command_is_run_or_says_why_not() {
    none(&commands::unaccounted(&pages(), &Known::read(&root())));
}

#[test]
fn every_value_of_the_chart_exists() {
    let values = perouter::source::yaml::parse(&read("deploy/helm/perouter/values.yaml")).unwrap()[0].to_value();
    let paths = pages().into_keys().chain(["deploy/helm/perouter/README.md".into()]);
    let unknown = |path: PathBuf| {
        let names = chart::unknown_values(&read(path.to_str().unwrap()), &values);
        names.into_iter().map(move |name| format!("{}: the chart has no value {name}", path.display()))
    };
    none(&paths.flat_map(unknown).collect::<Vec<_>>());
}

#[test]
fn the_nightly_workflow_runs_all_levels() {
    let in_makefile = workflows::levels_of_test_all(&read("Makefile"));
    assert!(in_makefile.len() > 5, "{in_makefile:?}");
    assert_eq!(workflows::levels_of_matrix(&read(".github/workflows/test.yaml")), in_makefile);
}

#[test]
fn workflows_run_what_exists() {
    let files = ["check", "test", "release"].map(|name| format!(".github/workflows/{name}.yaml"));
    none(&workflows::missing(&root(), &read("Makefile"), &files));
}

#[test]
fn every_command_and_option_exists() {
    none(&commands::wrong(&pages(), &Known::read(&root())));
}

#[test]
fn every_example_is_valid() {
    none(&examples::wrong(&root(), &pages()));
}

/// Blocks with `<!-- run -->`: in the repository, with the exit status and the output that the page shows.
#[test]
fn commands_that_need_nothing_work() {
    let mut problems = Vec::new();
    let mut count = 0;
    for (path, page) in pages() {
        for block in &page.blocks {
            let Some(status) = block.exit_status("run") else { continue };
            for shown in block.shown() {
                count += 1;
                let problem = run(&shown, status);
                problems.extend(
                    problem.map(|problem| format!("{}:{}: {}: {problem}", path.display(), block.line, shown.command)),
                );
            }
        }
    }
    assert!(count > 1);
    none(&problems);
}

fn run(shown: &Shown, status: i32) -> Option<String> {
    let folder = Path::new(env!("CARGO_BIN_EXE_perouter")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let output =
        Command::new("bash").args(["-c", &shown.command]).current_dir(root()).env("PATH", path).output().unwrap();
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() != Some(status) {
        return Some(format!("{}: {error}", output.status));
    }
    (!shown.output.is_empty() && shown.output != out).then(|| format!("prints\n{out}"))
}

#[test]
fn the_reference_follows_from_types_and_command_line() {
    let folder = root().join("docs/reference");
    let rewrite = std::env::var_os("PEROUTER_UPDATE").is_some_and(|value| value == "1");
    for (name, text) in reference::pages() {
        let path = folder.join(name);
        if rewrite {
            fs::write(&path, &text).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        assert!(there == text, "{} does not follow from the types: run make docs-reference", path.display());
    }
}

#[test]
fn the_readme_is_one_screen() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 120, "{lines} lines");
}

#[test]
fn every_metric_is_documented_with_its_labels() {
    let page = read("docs/operations/monitoring.md");
    let spans = |cell: &str| cell.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect::<Vec<_>>();
    let is_metric = |line: &&str| line.starts_with("| `perouter_") || line.starts_with("| `process_");
    let rows = page.lines().filter(is_metric).map(|row| row.split(" | ").collect::<Vec<_>>());
    let documented: Vec<_> = rows.map(|row| (spans(row[0]).concat(), spans(row[1]))).collect();
    let labels = |info: &MetricInfo| info.labels.iter().map(ToString::to_string).collect();
    let expected: Vec<(String, Vec<String>)> =
        METRICS.iter().map(|info| (info.name.to_owned(), labels(info))).collect();
    assert_eq!(documented, expected);
}

#[test]
fn every_reason_of_a_condition_is_documented() {
    let definition = definition(Definition::RouterNodeStatus).unwrap();
    let reasons =
        "/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/conditions/items/properties/reason/enum";
    let page = read("docs/operations/monitoring.md");
    let reasons = definition.pointer(reasons).unwrap().as_array().unwrap();
    let missing =
        reasons.iter().filter_map(|reason| reason.as_str()).filter(|reason| !page.contains(&format!("`{reason}`")));
    none(&missing.map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn every_finding_is_documented() {
    let page = read("docs/operations/checks.md");
    let kinds = FindingKind::ALL.iter().map(|kind| format!("| `{kind}` |"));
    none(&kinds.filter(|row| !page.contains(row)).collect::<Vec<_>>());
}

/// Each subcommand has its exit status on the page.
#[test]
fn every_exit_status_is_documented() {
    let page = read("docs/operations/checks.md");
    let table = page.split("## Exit status").nth(1).unwrap();
    let cli = Cli::command();
    let missing =
        cli.get_subcommands().map(clap::Command::get_name).filter(|name| !table.contains(&format!("`{name}`")));
    none(&missing.map(str::to_owned).collect::<Vec<_>>());
}

/// Reasons of rejections are a closed list in one file.
#[test]
fn every_reason_of_a_rejection_is_documented() {
    let source = read("src/kind/object.rs");
    let page = read("docs/configuration/README.md");
    let list = source.split("impl Reason {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let reasons: Vec<&str> = list.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(reasons.len() > 5, "{reasons:?}");
    none(
        &reasons
            .into_iter()
            .filter(|reason| !page.contains(&format!("| `{reason}`")))
            .map(str::to_owned)
            .collect::<Vec<_>>(),
    );
}

#[test]
fn every_environment_variable_is_documented() {
    let cli = Cli::command();
    let page = read("docs/systemd.md");
    let arguments = cli.get_subcommands().flat_map(clap::Command::get_arguments);
    let variables: BTreeSet<String> =
        arguments.filter_map(|argument| Some(argument.get_env()?.to_str()?.to_owned())).collect();
    assert!(variables.len() > 5, "{variables:?}");
    none(&variables.into_iter().filter(|name| !page.contains(name.as_str())).collect::<Vec<_>>());
}
