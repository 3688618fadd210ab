//! The map of the code and the size of its files. In: a tree, a document, the repository. Out: what is wrong, as sentences
//! with file and line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::document::Document;
use super::scan;
use super::tree::Tree;

/// The most lines of a file without its tests.
const FILE_LINES: usize = 400;

/// The most lines of the document.
const DOCUMENT_LINES: usize = 490;

/// Modules of the tree that the code map does not have, and the reverse. It has each module of the top level and each
/// folder; it may have more.
pub fn code_map(tree: &Tree, document: &Document) -> Vec<String> {
    let mut required = BTreeSet::new();
    let mut known = BTreeSet::new();
    let tests = tree.tests.iter().map(|(path, file)| (path, file, false));
    for (path, file, folder) in
        tree.modules.iter().map(|(path, module)| (path, &module.file, module.folder)).chain(tests)
    {
        let below = file.strip_prefix("src").unwrap_or(file).display().to_string();
        // A folder of a `mod.rs` and its tests is one module.
        let entry = below.strip_suffix("mod.rs").map_or(below.clone(), ToOwned::to_owned);
        if folder || path.len() == 1 {
            required.insert(entry.clone());
        }
        known.insert(entry);
    }
    let mapped = |entry: &str| document.code_map.iter().any(|mapped| stands_for(&mapped.value, entry));
    let missing = required.iter().filter(|entry| !mapped(entry) && *entry != "lib.rs");
    let missing = missing.map(|entry| format!("src/{entry}: docs/architecture.md does not have it in its code map"));
    let gone = document.code_map.iter().filter(|mapped| !known.iter().any(|entry| stands_for(&mapped.value, entry)));
    let gone = gone.map(|entry| format!("docs/architecture.md:{}: there is no src/{}", entry.line, entry.value));
    missing.chain(gone).collect()
}

/// Paths and targets of `make` that the document names and that are not there, and a document that is too long.
pub fn paths(root: &Path, document: &Document) -> Vec<String> {
    let missing = document.paths.iter().filter(|path| !exists(root, &path.value));
    let mut problems: Vec<String> =
        missing.map(|path| format!("docs/architecture.md:{}: there is no {}", path.line, path.value)).collect();
    let makefile = fs::read_to_string(root.join("Makefile")).unwrap_or_default();
    let missing = document.targets.iter().filter(|target| !makefile.contains(&format!("\n{}:", target.value)));
    problems
        .extend(missing.map(|target| {
            format!("docs/architecture.md:{}: the Makefile has no target {}", target.line, target.value)
        }));
    if document.lines > DOCUMENT_LINES {
        problems.push(format!("docs/architecture.md has {} lines, of at most {DOCUMENT_LINES}", document.lines));
    }
    problems
}

/// Whether something is at `path`. A part in angle brackets stands for any name, also within a longer one.
fn exists(root: &Path, path: &str) -> bool {
    let mut places = vec![root.to_owned()];
    for part in path.split('/').filter(|part| !part.is_empty()) {
        places = places.iter().flat_map(|place| matches(place, part)).collect();
    }
    !places.is_empty()
}

fn matches(place: &Path, part: &str) -> Vec<PathBuf> {
    if !part.contains('<') {
        return Some(place.join(part)).filter(|path| path.exists()).into_iter().collect();
    }
    let entries = fs::read_dir(place).into_iter().flatten().flatten();
    entries.filter(|entry| part_fits(part, &entry.file_name().to_string_lossy())).map(|entry| entry.path()).collect()
}

/// Whether a path of the document stands for `path`.
fn stands_for(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len() && pattern.iter().zip(path).all(|(pattern, part)| part_fits(pattern, part))
}

fn part_fits(pattern: &str, part: &str) -> bool {
    match pattern.split_once('<').and_then(|(before, rest)| Some((before, rest.split_once('>')?.1))) {
        None => pattern == part,
        Some((before, after)) => {
            part.len() > before.len() + after.len() && part.starts_with(before) && part.ends_with(after)
        }
    }
}

/// Types of one name in several modules of the crate, its tests included: a reader cannot tell them apart.
pub fn homonyms(root: &Path, tree: &Tree) -> Vec<String> {
    let files = tree.modules.values().map(|module| &module.file).chain(tree.tests.values());
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in files {
        let text = fs::read_to_string(root.join(file)).unwrap_or_default();
        for (name, line) in scan::types(&text) {
            places.entry(name).or_default().push(format!("{}:{line}", file.display()));
        }
    }
    let several = places.into_iter().filter(|(_, places)| places.len() > 1);
    several.map(|(name, places)| format!("{}: {name} is a type in each of them", places.join(", "))).collect()
}

/// Source files that are too long. Tests do not count; the lab runner's sources and the benchmarks do.
pub fn sizes(root: &Path, tree: &Tree) -> Vec<String> {
    let mut files: Vec<(PathBuf, usize)> =
        tree.modules.values().map(|module| (module.file.clone(), module.lines)).collect();
    for directory in ["clab/runner/src", "benches"] {
        collect(root, Path::new(directory), &mut files);
    }
    let long = files.into_iter().filter(|(_, lines)| *lines > FILE_LINES);
    long.map(|(file, lines)| format!("{}: {lines} lines without tests, of at most {FILE_LINES}", file.display()))
        .collect()
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<(PathBuf, usize)>) {
    for entry in fs::read_dir(root.join(directory)).into_iter().flatten().flatten() {
        let path = directory.join(entry.file_name());
        if entry.path().is_dir() {
            collect(root, &path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            files.push((path, text.lines().count() - scan::scan(&text).test_lines));
        }
    }
}
