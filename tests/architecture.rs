//! `docs/architecture.md` and the tree say the same: who may use whom, which modules are pure, the code map, the files that
//! checklists name, and the sizes of files. `hack/layers.sh` runs this.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test file")]

mod architecture {
    pub mod document;
    pub mod layers;
    pub mod lexer;
    pub mod map;
    pub mod pure;
    pub mod scan;
    pub mod tree;

    mod tests;
}

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use architecture::document::Document;
use architecture::tree::Tree;
use architecture::{layers, map, pure};

/// The repository. Set by cargo, so that the built test can judge another tree as well.
fn root() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap())
}

fn document() -> Document {
    Document::read(&fs::read_to_string(root().join("docs/architecture.md")).unwrap())
}

/// The crates that code may name: the dependencies of `Cargo.toml` and those of the compiler.
fn crates() -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let dependencies = manifest.split("\n[dependencies]\n").nth(1).unwrap().split("\n[").next().unwrap();
    let names = dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
    names
        .filter(|name| !name.is_empty())
        .map(|name| name.replace('-', "_"))
        .chain(["std", "core", "alloc"].map(str::to_owned))
        .collect()
}

fn tree() -> Tree {
    Tree::read(&root(), env!("CARGO_PKG_NAME"), crates())
}

#[track_caller]
fn none(problems: &[String]) {
    assert!(problems.is_empty(), "not as docs/architecture.md says:\n{}", problems.join("\n"));
}

#[test]
fn every_import_is_allowed() {
    none(&layers::forbidden_imports(&tree().uses(), &document().allowed));
}

#[test]
fn the_allow_list_has_no_more_than_the_tree() {
    let tree = tree();
    none(&layers::stale_permissions(&tree, &tree.uses(), &document().allowed));
}

#[test]
fn no_folder_has_a_circle() {
    none(&layers::circles(&tree().uses()));
}

#[test]
fn the_lab_runner_has_no_circle() {
    none(&layers::circles(&Tree::read(&root().join("clab/runner"), "perouter_lab", crates()).uses()));
}

#[test]
fn other_crates_are_used_where_they_belong() {
    none(&layers::foreign_crates(&tree().uses(), &document().allowed));
}

#[test]
fn pure_modules_say_so() {
    none(&pure::unmarked(&tree(), &document().allowed));
}

#[test]
fn pure_modules_have_no_effects() {
    let tree = tree();
    none(&pure::effects(&tree, &tree.uses(), &document().allowed));
}

#[test]
fn the_code_map_is_the_tree() {
    none(&map::code_map(&tree(), &document()));
}

#[test]
fn every_path_in_the_document_exists() {
    none(&map::paths(&root(), &document()));
}

#[test]
fn no_two_types_have_one_name() {
    none(&map::homonyms(&root(), &tree()));
}

#[test]
fn files_are_small() {
    none(&map::sizes(&root(), &tree()));
}

/// Each fault of docs/faults.md is backed by a test.
#[test]
fn every_fault_names_its_test() {
    fn read(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut code = String::new();
    for folder in ["src", "tests"] {
        read(&root().join(folder), &mut code);
    }
    let document = fs::read_to_string(root().join("docs/faults.md")).unwrap();
    let rows: Vec<&str> =
        document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault ")).collect();
    assert!(rows.len() > 15, "{}", rows.len());
    let mut problems = Vec::new();
    for row in rows {
        let tests: Vec<&str> =
            row.trim_end_matches(" |").rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            problems.push(format!("no test: {row}"));
        }
        problems.extend(
            tests
                .iter()
                .filter(|test| !code.contains(&format!("fn {test}(")))
                .map(|test| format!("no such test: {test}")),
        );
    }
    none(&problems);
}
