//! Pure modules. In: the headers and uses of a tree, and what the allow-list has of pure code. Out: what is wrong, as
//! sentences with file and line. Which modules are pure is said by their headers alone.

use super::document::AllowList;
use super::tree::{Module, Target, Tree, Use};

/// What the header of a module promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purity {
    /// A sentence that begins with `Pure`.
    Pure,
    /// `Pure but for the clock.`
    Clock,
}

/// What `header` promises. `Pure: [`a`], …` lists submodules and promises nothing of the file.
pub fn purity(header: &str) -> Option<Purity> {
    let sentences = header.match_indices("Pure").filter(|(at, _)| {
        let before = header[..*at].trim_end();
        before.is_empty() || before.ends_with(['.', ':', '*'])
    });
    sentences.map(|(at, word)| &header[at + word.len()..]).find_map(|rest| {
        if rest.starts_with(" but for the clock.") {
            return Some(Purity::Clock);
        }
        let plain = rest.is_empty() || rest.starts_with(['.', ';', ',']) || rest.starts_with(" data");
        (plain || rest.starts_with(": ") && !rest.starts_with(": [")).then_some(Purity::Pure)
    })
}

fn of(module: &Module) -> Option<Purity> {
    purity(&module.header)
}

/// Files of the pure modules that do not say so.
pub fn unmarked(tree: &Tree, allowed: &AllowList) -> Vec<String> {
    let mut problems = Vec::new();
    for listed in &allowed.pure_modules {
        let mut below = tree.modules.iter().filter(|(path, _)| path.starts_with(&listed.value)).peekable();
        if below.peek().is_none() {
            problems.push(format!(
                "docs/architecture.md:{}: there is no module {}",
                listed.line,
                listed.value.join("/")
            ));
        }
        for (_, module) in below.filter(|(_, module)| of(module).is_none()) {
            let (file, listed) = (module.file.display(), listed.value.join("/"));
            problems.push(format!("{file}:1: {listed} is pure, and this header does not say `Pure.`"));
        }
    }
    problems
}

/// What pure modules use that may have effects: other crates that the list does not have, and functions of modules that
/// are not pure.
pub fn effects(tree: &Tree, uses: &[Use], allowed: &AllowList) -> Vec<String> {
    let mut problems = Vec::new();
    for used in uses {
        let Some(purity) = of(&tree.modules[&used.from]) else { continue };
        let module = used.from.join("/");
        match &used.target {
            Target::Module(target) if used.function && of(&tree.modules[target]).is_none() => {
                let target = target.join("/");
                problems
                    .push(format!("{}: {module} is pure and calls a function of {target}, which is not", used.place));
            }
            Target::External(path) if !external(path, purity, allowed) => {
                problems.push(format!("{}: {module} is pure and uses {}", used.place, path.join("::")));
            }
            _ => {}
        }
    }
    problems
}

fn external(path: &[String], purity: Purity, allowed: &AllowList) -> bool {
    let clock = purity == Purity::Clock && allowed.clock.iter().any(|allowed| path.starts_with(allowed));
    let rules = allowed.pure_code.iter().filter(|(rule, _)| path.starts_with(rule));
    clock || rules.max_by_key(|(rule, _)| rule.len()).is_some_and(|(_, allowed)| *allowed)
}
