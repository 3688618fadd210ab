//! A crate's modules, and which uses which. In: the directory of its sources. Out: [`Tree`]: modules with their headers and
//! sizes, and the [`Use`]s between them and of other crates, each with its line. Judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::scan::{self, Source};

/// A module by its names from the root of the crate. Inline modules are part of their file.
pub type ModulePath = Vec<String>;

/// A file of the crate.
#[derive(Debug)]
pub struct Module {
    /// Where it is, from the directory of the crate's manifest.
    pub file: PathBuf,
    /// Its header comment as one line.
    pub header: String,
    /// Whether it is a folder with more in it than its tests.
    pub folder: bool,
    /// Its lines without its tests.
    pub lines: usize,
    source: Source,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A module of the crate.
    Module(ModulePath),
    /// A path in another crate; the first segment is that crate.
    External(Vec<String>),
}

/// One module uses another, or another crate.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// The module that uses.
    pub from: ModulePath,
    /// What it uses.
    pub target: Target,
    /// Whether it uses a function of that, which may have effects, and not a type, which has none by itself.
    pub function: bool,
    /// File and line, as `file:line`.
    pub place: String,
}

/// The modules of a crate that are not tests.
#[derive(Debug, Default)]
pub struct Tree {
    /// Its modules. The root is the empty path, a `main.rs` beside it is `main`.
    pub modules: BTreeMap<ModulePath, Module>,
    /// Modules that are compiled for tests alone, with their files.
    pub tests: BTreeMap<ModulePath, PathBuf>,
    crate_name: String,
    externals: BTreeSet<String>,
}

impl Tree {
    /// Reads the crate `crate_name` whose manifest is in `root`. `externals` are the crates that its code may name.
    pub fn read(root: &Path, crate_name: &str, externals: BTreeSet<String>) -> Self {
        let mut tree = Self { crate_name: crate_name.to_owned(), externals, ..Self::default() };
        tree.add(root, Vec::new(), PathBuf::from("src/lib.rs"), Path::new("src"));
        if root.join("src/main.rs").exists() {
            tree.add(root, vec!["main".to_owned()], PathBuf::from("src/main.rs"), Path::new("src"));
        }
        tree
    }

    /// Adds the module at `path` and all below it; `directory` holds its submodules.
    fn add(&mut self, root: &Path, path: ModulePath, file: PathBuf, directory: &Path) {
        let text = fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let source = scan::scan(&text);
        let module_file = |name: &str| {
            let (single, folder) = (directory.join(format!("{name}.rs")), directory.join(name).join("mod.rs"));
            if root.join(&single).exists() { single } else { folder }
        };
        for name in &source.test_modules {
            self.tests.insert(child(&path, name), module_file(name));
        }
        for name in &source.modules {
            self.add(root, child(&path, name), module_file(name), &directory.join(name));
        }
        let module = Module {
            header: header(&text),
            folder: file.ends_with("mod.rs") && !source.modules.is_empty(),
            lines: text.lines().count() - source.test_lines,
            file,
            source,
        };
        self.modules.insert(path, module);
    }

    /// What the modules use outside themselves, each pair once.
    pub fn uses(&self) -> Vec<Use> {
        let mut found = BTreeMap::new();
        for (from, module) in &self.modules {
            let imports = module.source.imports.iter().map(|import| {
                let face = import.public.then_some(from);
                (&import.path, &import.within, import.line, face)
            });
            let mentions =
                module.source.mentions.iter().map(|mention| (&mention.path, &mention.within, mention.line, None));
            for (path, within, line, face) in imports.chain(mentions) {
                let Some((target, item)) = self.resolve(from, within, path, 0) else { continue };
                // A module that re-exports what is below it does not use it.
                let inside =
                    matches!((&target, face), (Target::Module(target), Some(face)) if target.starts_with(face));
                if target != Target::Module(from.clone()) && !inside {
                    let function = item.is_some_and(|item| item.starts_with(char::is_lowercase));
                    let key = (from.clone(), target, function);
                    let first = found.entry(key).or_insert(line);
                    *first = line.min(*first);
                }
            }
        }
        let place = |from: &ModulePath, line| format!("{}:{line}", self.modules[from].file.display());
        found
            .into_iter()
            .map(|((from, target, function), line)| Use { place: place(&from, line), from, target, function })
            .collect()
    }

    /// Where `path` in `module` leads, and to which item there. `None`: to something of that file, or to a type's item.
    fn resolve(&self, module: &ModulePath, within: &[String], path: &[String], depth: usize) -> Option<Found> {
        let (first, rest) = path.split_first()?;
        let mut base = [module.as_slice(), within].concat();
        match first.as_str() {
            "crate" => Some(self.descend(Vec::new(), rest, depth)),
            "self" => Some(self.descend(base, rest, depth)),
            "super" => {
                base.pop();
                let above = rest.iter().take_while(|name| *name == "super").count();
                base.truncate(base.len() - above);
                Some(self.descend(base, &rest[above..], depth))
            }
            "" => Some((Target::External(rest.to_vec()), None)),
            name if name == self.crate_name => Some(self.descend(Vec::new(), rest, depth)),
            name if self.modules.contains_key(&child(module, name)) && module != &["main"] => {
                Some(self.descend(child(module, name), rest, depth))
            }
            name => {
                let import = self.import(module, name).filter(|import| import.as_slice() != path);
                if let Some(import) = import.filter(|import| depth < 8 && import.first() != path.first()) {
                    return self.resolve(module, within, &[import.as_slice(), rest].concat(), depth + 1);
                }
                self.externals.contains(name).then(|| (Target::External(path.to_vec()), None))
            }
        }
    }

    /// The path that `name` is imported by in `module`.
    fn import(&self, module: &ModulePath, name: &str) -> Option<Vec<String>> {
        let imports = &self.modules.get(module)?.source.imports;
        imports.iter().find(|import| import.name.as_deref() == Some(name)).map(|import| import.path.clone())
    }

    /// From `base` through `path`: down its modules, then to where the item is imported from, if it is.
    fn descend(&self, mut base: ModulePath, path: &[String], depth: usize) -> Found {
        // An inline module is part of its file.
        while !self.modules.contains_key(&base) {
            base.pop();
        }
        for (index, name) in path.iter().enumerate() {
            let below = child(&base, name);
            if self.modules.contains_key(&below) {
                base = below;
                continue;
            }
            if let Some(import) = self.import(&base, name).filter(|_| depth < 8) {
                let full = [import.as_slice(), &path[index + 1..]].concat();
                return self
                    .resolve(&base, &[], &full, depth + 1)
                    .unwrap_or((Target::Module(base), Some(name.clone())));
            }
            return (Target::Module(base), Some(name.clone()));
        }
        (Target::Module(base), None)
    }
}

/// A target, and the item of that module.
type Found = (Target, Option<String>);

fn child(module: &[String], name: &str) -> ModulePath {
    let mut path = module.to_vec();
    path.push(name.to_owned());
    path
}

/// The `//!` lines at the top of a file, joined.
fn header(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}
