//! Commands on the pages. In: pages. Out: blocks of which nothing says whether they are run, and commands that name options,
//! targets or files that do not exist. It runs nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory, Parser};
use perouter::cli::Cli;

use super::markdown::{Block, Page, words};

/// Languages of blocks with commands.
pub const SHELL: [&str; 3] = ["console", "bash", "sh"];

/// Top-level folders by which a word of a command is known as a path of the repository.
const FOLDERS: [&str; 7] = ["clab", "crds", "deploy", "docs", "examples", "hack", "tests"];

/// What the tree has.
pub struct Known {
    root: PathBuf,
    makefile: String,
    /// `hack/test.sh` and what CI runs.
    levels: String,
    /// The source of the lab runner's command line.
    runner: String,
    functions: BTreeSet<String>,
}

impl Known {
    /// Reads the tree.
    pub fn read(root: &Path) -> Self {
        let text = |path: &str| fs::read_to_string(root.join(path)).unwrap();
        let mut functions = BTreeSet::new();
        for folder in ["src", "tests", "clab/runner"] {
            collect_functions(&root.join(folder), &mut functions);
        }
        Self {
            root: root.to_owned(),
            makefile: text("Makefile"),
            levels: text("hack/test.sh") + &text(".ci/run"),
            runner: text("clab/runner/src/cli.rs"),
            functions,
        }
    }
}

fn collect_functions(folder: &Path, functions: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect_functions(&path, functions);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
            functions.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
}

/// Blocks that nothing runs and that do not say why, and notes that are wrong.
pub fn unaccounted(pages: &BTreeMap<PathBuf, Page>, known: &Known) -> Vec<String> {
    let blocks = pages.iter().flat_map(|(path, page)| page.blocks.iter().map(move |block| (path, block)));
    blocks
        .filter_map(|(path, block)| {
            let problem = match block.language.as_str() {
                language if SHELL.contains(&language) => of_commands(block, known),
                "frr" => of_configuration(block),
                "" | "text" | "yaml" => None,
                other => Some(format!("nothing checks blocks of {other}: use text, or teach tests/docs")),
            };
            problem.map(|problem| format!("{}:{}: {problem}", path.display(), block.line))
        })
        .collect()
}

fn of_commands(block: &Block, known: &Known) -> Option<String> {
    if block.exit_status("run").is_some() || block.exit_status("lab").is_some() {
        return None;
    }
    if let Some(tests) = block.noted("test") {
        let missing: Vec<&str> = tests.split(", ").filter(|test| !known.functions.contains(*test)).collect();
        return (!missing.is_empty()).then(|| format!("there is no test {}", missing.join(", ")));
    }
    if block.note.as_deref() == Some("level") {
        let missing = block.shown().into_iter().map(|shown| shown.command);
        let missing: Vec<String> = missing.filter(|command| !known.levels.contains(command.as_str())).collect();
        return (!missing.is_empty()).then(|| format!("hack/test.sh and .ci/run do not have {}", missing.join(", ")));
    }
    if block.noted("not run").is_some_and(|reason| reason.len() > 10) {
        return None;
    }
    Some(
        "write above it <!-- run -->, <!-- lab -->, <!-- level -->, <!-- test: NAME --> or <!-- not run: REASON -->"
            .to_owned(),
    )
}

fn of_configuration(block: &Block) -> Option<String> {
    let accounted =
        block.noted("part of").is_some() || block.noted("not tested").is_some_and(|reason| reason.len() > 10);
    (!accounted).then(|| "write above it <!-- part of: FILE --> or <!-- not tested: REASON -->".to_owned())
}

/// Commands and code spans with an option, target or path that does not exist.
pub fn wrong(pages: &BTreeMap<PathBuf, Page>, known: &Known) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, page) in pages {
        let mut report = |line: usize, problem: Option<String>| {
            problems.extend(problem.map(|problem| format!("{}:{line}: {problem}", path.display())));
        };
        for block in page.blocks.iter().filter(|block| SHELL.contains(&block.language.as_str())) {
            for shown in block.shown() {
                for part in parts(&shown.command) {
                    report(block.line, wrong_command(&part, known));
                }
            }
        }
        for (line, span) in &page.spans {
            report(*line, wrong_span(span, known));
        }
    }
    problems
}

/// The commands that pipes and the like join.
fn parts(command: &str) -> Vec<Vec<String>> {
    let words = words(command);
    words.split(|word| ["|", "&&", ";"].contains(&word.as_str())).map(<[String]>::to_vec).collect()
}

fn wrong_command(words: &[String], known: &Known) -> Option<String> {
    let is_setting =
        |word: &&String| word.split_once('=').is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_uppercase()));
    let words: Vec<&str> = words.iter().skip_while(is_setting).map(String::as_str).collect();
    // What a command runs elsewhere is a command too.
    let inner = match words.as_slice() {
        ["ip", "netns", "exec", _, inner @ ..] => Some(inner.to_vec()),
        ["kubectl", "exec", rest @ ..] => rest.iter().position(|word| *word == "--").map(|at| rest[at + 1..].to_vec()),
        _ => None,
    };
    if let Some(inner) = inner {
        let inner: Vec<String> = inner.into_iter().map(str::to_owned).collect();
        return wrong_command(&inner, known);
    }
    let problem = match words.as_slice() {
        ["perouter" | "target/debug/perouter", rest @ ..] => unparsable(rest),
        ["kubectl", "perouter", rest @ ..] => unparsable(&without_plugin_options(rest)),
        ["perouter-lab" | "target/debug/perouter-lab", subcommand, ..] => wrong_lab_subcommand(subcommand, known),
        ["make", rest @ ..] => {
            let mut targets = rest.iter().filter(|word| !word.contains('='));
            targets.find_map(|target| missing_target(target, known))
        }
        _ => None,
    };
    problem.or_else(|| words.iter().find_map(|word| missing_path(word, known)))
}

/// Without what `kubectl perouter` takes for itself.
fn without_plugin_options<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    let mut words = arguments.iter().copied();
    let mut left = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "--node" | "--namespace" | "-n" | "--context" | "--kubeconfig" => drop(words.next()),
            "--all-nodes" => {}
            other => left.push(other),
        }
    }
    left
}

fn unparsable(arguments: &[&str]) -> Option<String> {
    let error = Cli::try_parse_from(std::iter::once("perouter").chain(arguments.iter().copied())).err()?;
    error.use_stderr().then(|| format!("perouter {}: {error}", arguments.join(" ")))
}

fn wrong_lab_subcommand(subcommand: &str, known: &Known) -> Option<String> {
    let mut letters = subcommand.chars();
    let first = letters.next()?;
    let variant = format!("\n    {}{}", first.to_ascii_uppercase(), letters.as_str());
    (!known.runner.contains(&variant)).then(|| format!("perouter-lab has no subcommand {subcommand}"))
}

fn missing_target(target: &str, known: &Known) -> Option<String> {
    (!known.makefile.contains(&format!("\n{target}:"))).then(|| format!("the Makefile has no target {target}"))
}

fn missing_path(word: &str, known: &Known) -> Option<String> {
    let folder = word.split('/').next()?;
    let is_path = FOLDERS.contains(&folder) && (word.contains('/') || word == "deploy" || word == "crds");
    (is_path && !known.root.join(word).exists()).then(|| format!("there is no {word}"))
}

/// `perouter SUBCOMMAND --option` and `make TARGET` in prose: arguments may be missing, and placeholders in capitals.
fn wrong_span(span: &str, known: &Known) -> Option<String> {
    let words: Vec<&str> = span.split_whitespace().collect();
    match words.as_slice() {
        ["make", target, ..] if !target.contains('=') => missing_target(target, known),
        ["perouter", subcommand, rest @ ..] => {
            let cli = Cli::command();
            let Some(command) = cli.find_subcommand(subcommand) else {
                let placeholder = subcommand.chars().all(|c| !c.is_ascii_lowercase());
                return (!placeholder).then(|| format!("perouter has no subcommand {subcommand}"));
            };
            rest.iter().find_map(|word| unknown_option(command, word))
        }
        _ => None,
    }
}

fn unknown_option(command: &Command, word: &str) -> Option<String> {
    let option = word.strip_prefix("--")?.split('=').next()?;
    let known = command.get_arguments().any(|argument| argument.get_long() == Some(option));
    (!known).then(|| format!("perouter {} has no option --{option}", command.get_name()))
}
