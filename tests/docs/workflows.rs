//! The workflows of `.github`. In: their text and the Makefile. Out: levels of tests, and scripts and targets that do not exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The levels with which the target `test-all` calls `hack/test.sh`.
pub fn levels_of_test_all(makefile: &str) -> BTreeSet<String> {
    let recipe = makefile.split("\ntest-all:").nth(1).unwrap_or_default();
    let call = recipe.lines().find_map(|line| line.split_once("hack/test.sh ")).map_or("", |(_, levels)| levels);
    call.split_whitespace().map(str::to_owned).collect()
}

/// The levels in the strings of `levels:` in a matrix.
pub fn levels_of_matrix(workflow: &str) -> BTreeSet<String> {
    let lists = workflow.lines().filter_map(|line| line.split_once("levels: "));
    // `{levels: "…", options: "…"}` has only one of them.
    let strings = lists.flat_map(|(_, list)| {
        let list = list.split_once("options:").map_or(list, |(levels, _)| levels);
        list.split('"').skip(1).step_by(2)
    });
    strings.flat_map(str::split_whitespace).map(str::to_owned).collect()
}

/// `make TARGET` and `hack/FILE` in these files that do not exist.
pub fn missing(root: &Path, makefile: &str, files: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let mut report = |problem: String| problems.push(format!("{file}: {problem}"));
        targets(&text)
            .filter(|target| !makefile.contains(&format!("\n{target}:")))
            .for_each(|target| report(format!("the Makefile has no target {target}")));
        scripts(&text).filter(|path| !root.join(path).exists()).for_each(|path| report(format!("there is no {path}")));
    }
    problems
}

/// Targets where `make` is a command, and not a package.
fn targets(text: &str) -> impl Iterator<Item = &str> {
    let commands =
        text.lines().flat_map(|line| line.trim_start_matches([' ', '-']).trim_start_matches("run: ").split("&& "));
    commands.filter_map(|command| command.trim_start().strip_prefix("make ")?.split_whitespace().next())
}

fn scripts(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| letter.is_whitespace() || "\"'`$(){};:,".contains(letter))
        .filter(|word| word.starts_with("hack/"))
}
