//! README and book are true: links lead somewhere, examples are valid, commands exist and something runs them, the reference
//! follows from the types. Needs neither root nor a network. `PEROUTER_UPDATE=1` rewrites the reference.

#![allow(clippy::unwrap_used, reason = "a test file")]

mod docs {
    pub mod commands;
    pub mod examples;
    pub mod links;
    pub mod markdown;
    pub mod reference;

    mod tests;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::CommandFactory;
use docs::commands::{self, Known};
use docs::markdown::{Page, Shown};
use docs::{examples, links, reference};
use perouter::cli::Cli;
use perouter::kind::crds::{Definition, definition};

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
fn every_page_is_in_the_book() {
    none(&links::not_in_the_book(&pages()));
}

#[test]
fn every_command_is_run_or_says_why_not() {
    none(&commands::unaccounted(&pages(), &Known::read(&root())));
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

/// The metrics that are registered, without the suffixes of `OpenMetrics`.
#[test]
fn every_metric_is_documented() {
    let source = read("src/status/metrics/mod.rs");
    let calls = source.split("registry.register").skip(1).filter_map(|rest| rest.split_once('"')?.1.split_once('"'));
    let registered: BTreeSet<String> = calls.map(|(name, _)| format!("perouter_{name}")).collect();
    let page = read("docs/operations/monitoring.md");
    let rows = page.lines().filter(|line| line.starts_with("| `perouter_"));
    let spans = rows.flat_map(|row| row.split(" | ").next().unwrap().split('`').skip(1).step_by(2));
    let bare = |name: &str| {
        ["_total", "_seconds"].iter().fold(name.to_owned(), |name, end| name.trim_end_matches(end).to_owned())
    };
    let documented: BTreeSet<String> = spans.map(bare).collect();
    assert_eq!(documented, registered);
    let used = page.split("perouter_").skip(1).map(|rest| {
        let end = rest.find(|letter: char| !letter.is_ascii_lowercase() && letter != '_').unwrap_or(rest.len());
        bare(&format!("perouter_{}", &rest[..end]))
    });
    let unknown: Vec<String> = used.filter(|name| !registered.contains(name)).collect();
    none(&unknown);
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
