//! The layers. In: the uses of a tree and the allow-list. Out: what is wrong, as sentences with file and line. Each check
//! is a function of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::document::{AllowList, CrateRule, Located, Permission};
use super::tree::{Target, Tree, Use};

/// The document, for messages.
const DOCUMENT: &str = "docs/architecture.md";

/// One module uses another, seen from the folder that both are in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge<'a> {
    /// The folder. Empty: the top level.
    folder: &'a [String],
    /// Which of its modules uses. `mod`: the folder's own `mod.rs`.
    from: &'a str,
    /// What is used, from the folder.
    to: Vec<&'a str>,
    /// `file:line`.
    place: &'a str,
}

impl Edge<'_> {
    /// The module that uses, from the root.
    fn module(&self) -> Vec<&str> {
        self.folder.iter().map(String::as_str).chain([self.from]).collect()
    }
}

fn edges(uses: &[Use]) -> Vec<Edge<'_>> {
    let edges: BTreeSet<Edge<'_>> = uses.iter().filter_map(edge).collect();
    edges.into_iter().collect()
}

fn edge(used: &Use) -> Option<Edge<'_>> {
    let Target::Module(target) = &used.target else { return None };
    let common = used.from.iter().zip(target).take_while(|(a, b)| a == b).count();
    // The front of the top level is `lib.rs`, a list of modules.
    if used.from.is_empty() {
        return None;
    }
    let to: Vec<&str> = target[common..].iter().map(String::as_str).collect();
    Some(Edge {
        folder: &used.from[..common],
        from: used.from.get(common).map_or("mod", String::as_str),
        to: if to.is_empty() { vec!["mod"] } else { to },
        place: &used.place,
    })
}

/// The permission for a module: its own line, else one with `*`.
fn permission<'a>(allowed: &'a AllowList, module: &[&str]) -> Option<&'a Permission> {
    let all = || allowed.permissions.iter().map(|line| &line.value);
    let own = all().find(|permission| permission.module == module);
    own.or_else(|| all().find(|permission| covers(&permission.module, module)))
}

/// Whether a pattern with `*` is for a module. A `mod.rs` has a line of its own.
fn covers(pattern: &[String], module: &[&str]) -> bool {
    let fits = |(part, name): (&String, &&str)| part == name || (part == "*" && *name != "mod");
    pattern.len() == module.len() && pattern.iter().zip(module).all(fits)
}

/// Whether a name of the list is for what is used: the same, or a folder that it is in.
fn names(name: &[String], used: &[&str]) -> bool {
    used.get(..name.len()).is_some_and(|used| covers(name, used))
}

/// Imports that nothing allows, and after them the lines that the tree as it stands would need, in their order.
pub fn forbidden_imports(uses: &[Use], allowed: &AllowList) -> Vec<String> {
    let edges = edges(uses);
    let (mut problems, mut modules) = (Vec::new(), BTreeSet::new());
    for edge in &edges {
        let module = edge.module();
        let permission = permission(allowed, &module);
        // A `mod.rs` without a line is a front: it may use all of its folder, and nothing of the folder may use it.
        let front = permission.is_none() && edge.from == "mod";
        if front || permission.is_some_and(|permission| permission.names.iter().any(|name| names(name, &edge.to))) {
            continue;
        }
        let (place, used) = (edge.place, edge.to.join("/"));
        problems.push(format!("{place}: {DOCUMENT} does not let {} use {used}", module.join("/")));
        modules.insert((edge.folder, edge.from));
    }
    let graphs = graphs(&edges);
    let mut lines: Vec<_> =
        modules.into_iter().map(|(folder, from)| (folder, height(&graphs[folder], from), from)).collect();
    lines.sort_unstable();
    problems.extend((!lines.is_empty()).then(|| "as the tree stands:".to_owned()));
    problems.extend(lines.into_iter().map(|(folder, _, from)| {
        let module: Vec<&str> = folder.iter().map(String::as_str).chain([from]).collect();
        let used: Vec<&str> = graphs[folder][from].keys().copied().collect();
        format!("{}: may use {}", module.join("/"), used.join(", "))
    }));
    problems
}

/// Who uses whom in one folder, with the place of each use.
type Graph<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>;

fn graphs<'a>(edges: &[Edge<'a>]) -> BTreeMap<&'a [String], Graph<'a>> {
    let mut folders: BTreeMap<&[String], Graph<'_>> = BTreeMap::new();
    for edge in edges {
        let used = folders.entry(edge.folder).or_default().entry(edge.from).or_default();
        used.entry(edge.to[0]).or_insert(edge.place);
    }
    folders
}

/// How far above the ground of its folder a module is. In a circle, about.
fn height(graph: &Graph<'_>, module: &str) -> usize {
    fn of(graph: &Graph<'_>, module: &str, limit: usize) -> usize {
        let used = graph.get(module).filter(|_| limit > 0).into_iter().flat_map(BTreeMap::keys);
        used.map(|used| 1 + of(graph, used, limit - 1)).max().unwrap_or(0)
    }
    of(graph, module, 12)
}

/// Lines of the list that do not fit the tree: names that do not exist, that stand below, or that nothing uses.
pub fn stale_permissions(tree: &Tree, uses: &[Use], allowed: &AllowList) -> Vec<String> {
    let mut problems: Vec<String> =
        allowed.malformed.iter().map(|line| format!("{DOCUMENT}:{}: not a rule: {}", line.line, line.value)).collect();
    let edges = edges(uses);
    let mut above: BTreeSet<Vec<String>> = BTreeSet::new();
    for line in &allowed.permissions {
        let (at, module) = (format!("{DOCUMENT}:{}", line.line), &line.value.module);
        let subject = module.join("/");
        let folder = &module[..module.len() - 1];
        if !exists(tree, module) {
            problems.push(format!("{at}: there is no module {subject}"));
        }
        for name in &line.value.names {
            let first = [folder, &name[..1]].concat();
            let mine = |edge: &&Edge<'_>| permission(allowed, &edge.module()) == Some(&line.value);
            if !stands_above(&above, allowed, &first) {
                problems.push(format!(
                    "{at}: {subject} may use only what stands above it, and {} does not",
                    name.join("/")
                ));
            } else if !exists(tree, &[folder, name].concat()) {
                problems.push(format!("{at}: there is no module {}", [folder, name].concat().join("/")));
            } else if !edges.iter().filter(mine).any(|edge| names(name, &edge.to)) {
                problems.push(format!("{at}: {subject} does not use {}", name.join("/")));
            }
        }
        if !above.insert(module.clone()) {
            problems.push(format!("{at}: a second line for {subject}"));
        }
    }
    problems
}

/// Whether the line of a module is above, its own or one with `*`, or it has none and so uses nothing of its folder.
fn stands_above(above: &BTreeSet<Vec<String>>, allowed: &AllowList, module: &[String]) -> bool {
    let words: Vec<&str> = module.iter().map(String::as_str).collect();
    let front = words.last() == Some(&"mod");
    let mut lines = allowed.permissions.iter().map(|line| &line.value.module);
    let own = lines.clone().any(|line| line == module);
    let line = own || lines.any(|line| covers(line, &words));
    above.contains(module) || !own && above.iter().any(|line| covers(line, &words)) || !line && !front
}

/// Whether a name of the list stands for a module that is there.
fn exists(tree: &Tree, name: &[String]) -> bool {
    let front = name.last().is_some_and(|last| last == "mod").then(|| &name[..name.len() - 1]);
    tree.modules.keys().any(|module| {
        let module: Vec<&str> = module.iter().map(String::as_str).collect();
        covers(name, &module) || front.is_some_and(|folder| covers(folder, &module))
    })
}

/// Circles among the modules of a folder, whatever the list allows.
pub fn circles(uses: &[Use]) -> Vec<String> {
    let mut problems = Vec::new();
    for (folder, graph) in graphs(&edges(uses)) {
        let mut reported = BTreeSet::new();
        for start in graph.keys() {
            let Some(circle) =
                circle(&graph, start).filter(|circle| !circle.iter().any(|name| reported.contains(name)))
            else {
                continue;
            };
            let steps: Vec<String> = (0..circle.len())
                .map(|index| {
                    let (from, to) = (circle[index], circle[(index + 1) % circle.len()]);
                    format!("  {}: {from} uses {to}", graph[from][to])
                })
                .collect();
            let place = if folder.is_empty() { "the top level".to_owned() } else { folder.join("/") };
            problems.push(format!("a circle in {place}: {}\n{}", circle.join(", "), steps.join("\n")));
            reported.extend(circle);
        }
    }
    problems
}

/// The shortest circle through `start`.
fn circle<'a>(graph: &Graph<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut ways = vec![vec![start]];
    let mut seen = BTreeSet::new();
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            for next in way.last().and_then(|last| graph.get(last)).into_iter().flat_map(BTreeMap::keys) {
                if *next == start {
                    return Some(way);
                }
                if seen.insert(*next) {
                    longer.push([way.as_slice(), &[*next]].concat());
                }
            }
        }
        ways = longer;
    }
    None
}

/// Other crates used where the list does not have them, and places in it that do not use theirs.
pub fn foreign_crates(uses: &[Use], allowed: &AllowList) -> Vec<String> {
    let mut problems = Vec::new();
    let (mut used_in, mut unnamed) = (BTreeSet::new(), BTreeSet::new());
    for (used, path) in externals(uses) {
        let fits = |(_, rule): &(usize, &Located<CrateRule>)| path.starts_with(&rule.value.path);
        let rule = allowed.crates.iter().enumerate().filter(fits).max_by_key(|(_, rule)| rule.value.path.len());
        let module = used.from.join("/");
        match rule {
            None if path[0] == "std" || path[0] == "core" => {}
            None => {
                let first = unnamed.insert((module.clone(), &path[0]));
                let problem = format!("{}: {module} uses {}, which {DOCUMENT} does not name", used.place, path[0]);
                problems.extend(first.then_some(problem));
            }
            Some((number, rule)) => {
                let Some(modules) = &rule.value.modules else { continue };
                let within = modules.iter().position(|module| used.from.starts_with(module));
                match within {
                    Some(index) => drop(used_in.insert((number, index))),
                    None => problems.push(format!(
                        "{}: {module} uses {}; {DOCUMENT}:{} has {} elsewhere only",
                        used.place,
                        path.join("::"),
                        rule.line,
                        rule.value.path.join("::")
                    )),
                }
            }
        }
    }
    for (number, rule) in allowed.crates.iter().enumerate() {
        for (index, module) in rule.value.modules.iter().flatten().enumerate() {
            if !used_in.contains(&(number, index)) {
                let (module, path) = (module.join("/"), rule.value.path.join("::"));
                problems.push(format!("{DOCUMENT}:{}: {module} does not use {path}", rule.line));
            }
        }
    }
    problems
}

fn externals(uses: &[Use]) -> impl Iterator<Item = (&Use, &[String])> {
    uses.iter().filter_map(|used| match &used.target {
        Target::External(path) => Some((used, path.as_slice())),
        Target::Module(_) => None,
    })
}
