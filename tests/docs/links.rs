//! Links between pages. In: the pages of the repository. Out: links that lead nowhere, and pages that the book does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::markdown::Page;

/// Each relative link whose file or anchor does not exist. A link names a file: mdBook makes no page of a folder.
pub fn broken(root: &Path, pages: &BTreeMap<PathBuf, Page>) -> Vec<String> {
    let mut problems = Vec::new();
    for (path, page) in pages {
        for (line, link) in &page.links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) =
                link.split_once('#').map_or((link.as_str(), None), |(file, anchor)| (file, Some(anchor)));
            let target = if file.is_empty() { path.clone() } else { resolve(path, file) };
            let place = format!("{}:{line}", path.display());
            if !root.join(&target).is_file() {
                problems.push(format!("{place}: there is no file {}", target.display()));
            } else if let Some(anchor) = anchor
                && !pages.get(&target).is_some_and(|page| page.anchors.contains(anchor))
            {
                problems.push(format!("{place}: {} has no heading #{anchor}", target.display()));
            }
        }
    }
    problems
}

/// A path relative to the file that has the link, without `..`.
fn resolve(from: &Path, link: &str) -> PathBuf {
    let mut target = from.parent().unwrap_or(Path::new("")).to_owned();
    for part in Path::new(link).components() {
        match part {
            Component::ParentDir => {
                target.pop();
            }
            Component::Normal(name) => target.push(name),
            _ => {}
        }
    }
    target
}

/// Screenshots in `docs/ui/` that no page has a link to.
pub fn not_shown(pages: &BTreeMap<PathBuf, Page>, screenshots: &[PathBuf]) -> Vec<String> {
    let links = pages.iter().flat_map(|(path, page)| page.links.iter().map(|(_, link)| resolve(path, link)));
    let shown: BTreeSet<PathBuf> = links.collect();
    let unused = screenshots.iter().filter(|path| !shown.contains(*path));
    unused.map(|path| format!("no page shows {}", path.display())).collect()
}

/// Pages in `docs/` that `docs/SUMMARY.md` does not name, those that it names twice, and pages without a title.
pub fn not_in_the_book(pages: &BTreeMap<PathBuf, Page>) -> Vec<String> {
    let summary = Path::new("docs/SUMMARY.md");
    let listed: Vec<PathBuf> = pages[summary].links.iter().map(|(_, link)| resolve(summary, link)).collect();
    let mut problems = Vec::new();
    let mut seen = BTreeSet::new();
    problems.extend(
        listed
            .iter()
            .filter(|path| !seen.insert(*path))
            .map(|path| format!("twice in the summary: {}", path.display())),
    );
    for (path, page) in pages.iter().filter(|(path, _)| path.starts_with("docs")) {
        if path != summary && !seen.contains(path) {
            problems.push(format!("not in docs/SUMMARY.md: {}", path.display()));
        }
        if page.title.as_deref().is_none_or(str::is_empty) {
            problems.push(format!("{} does not begin with its title", path.display()));
        }
    }
    problems
}
