//! `docs/architecture.md` as data. In: its text. Out: [`Document`]: the entries of the code map, the allow-list, and the
//! paths that it names, each with its line. Knows no tree.

/// A value of the document and the line that it is on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Line, from 1.
    pub line: usize,
}

/// `MODULE: may use NAMES`; several modules of one line are as many permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// The module, by its names from the root. `*` stands for each module that no other line names.
    pub module: Vec<String>,
    /// What it may use of the folder that it is in: siblings, or parts of them. `mod`: the folder's own `mod.rs`.
    pub names: Vec<Vec<String>>,
}

/// `crate PATH: only in MODULES` or `crate PATH: anywhere`; several paths of one line are as many rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CrateRule {
    /// A crate or a path in it. The longest that fits decides.
    pub path: Vec<String>,
    /// Modules with all that is in them. `None`: anywhere.
    pub modules: Option<Vec<Vec<String>>>,
}

/// The fenced block of the section `Layers`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AllowList {
    /// In the order of the lines: a line names only what is above it.
    pub permissions: Vec<Located<Permission>>,
    /// Rules for other crates.
    pub crates: Vec<Located<CrateRule>>,
    /// `pure modules:` modules in which every file says that it is pure.
    pub pure_modules: Vec<Located<Vec<String>>>,
    /// `pure code: may use`, with `not` before what an allowed path must not lead to. The longest that fits decides.
    pub pure_code: Vec<(Vec<String>, bool)>,
    /// `pure code but for the clock: may also use`.
    pub clock: Vec<Vec<String>>,
    /// Lines that are none of these.
    pub malformed: Vec<Located<String>>,
}

/// What the test needs of the document.
#[derive(Debug, Default)]
pub struct Document {
    /// The modules of the code map, as paths below `src/`; a folder ends with `/`.
    pub code_map: Vec<Located<String>>,
    /// The allow-list.
    pub allowed: AllowList,
    /// Paths of the repository that it names in code spans; `<kind>` and the like stand for any name.
    pub paths: Vec<Located<String>>,
    /// The targets of `make` that it names in code spans.
    pub targets: Vec<Located<String>>,
    /// Its number of lines.
    pub lines: usize,
}

/// Top-level names of the repository by which a code span is known to be a path.
const ROOTS: [&str; 13] = [
    "CHANGELOG.md",
    "Cargo.toml",
    "Dockerfile",
    "README.md",
    "benches/",
    "clab/",
    "crds/",
    "deploy/",
    "docs/",
    "examples/",
    "hack/",
    "src/",
    "tests/",
];

impl Document {
    /// Reads the document.
    pub fn read(text: &str) -> Self {
        let mut document = Self { lines: text.lines().count(), ..Self::default() };
        let (mut section, mut fence, mut block) = (String::new(), false, String::new());
        for (index, line) in text.lines().enumerate() {
            let line_number = index + 1;
            if line.starts_with("```") {
                fence = !fence;
            } else if fence && section == "Layers" {
                document.allowed.line(line, line_number, &mut block);
            } else if fence {
                // A drawing.
            } else if let Some(title) = line.strip_prefix("## ") {
                title.clone_into(&mut section);
            } else {
                document.prose(line, line_number, &section);
            }
        }
        document.allowed.flush(&mut block);
        document
    }

    fn prose(&mut self, line: &str, line_number: usize, section: &str) {
        let located = |value: &str| Located { value: value.to_owned(), line: line_number };
        let spans = line.split('`').skip(1).step_by(2);
        self.targets.extend(spans.clone().filter_map(|span| span.strip_prefix("make ")).map(located));
        self.paths.extend(spans.filter(|span| ROOTS.iter().any(|root| span.starts_with(root))).map(located));
        let entry = line.strip_prefix("### `").or_else(|| line.strip_prefix("* `"));
        let path = entry.and_then(|rest| rest.split('`').next()?.strip_prefix("src/"));
        if section == "Code map" {
            self.code_map.extend(path.map(located));
        }
    }
}

impl AllowList {
    /// Takes a line of the block. One that begins with a space goes on with the one before, which is in `open`.
    fn line(&mut self, line: &str, line_number: usize, open: &mut String) {
        if line.starts_with(' ') {
            open.push(' ');
            open.push_str(line.trim());
            return;
        }
        self.flush(open);
        if !line.is_empty() && !line.starts_with('#') {
            *open = format!("{line_number} {line}");
        }
    }

    fn flush(&mut self, open: &mut String) {
        let rule = std::mem::take(open);
        if let Some((number, text)) = rule.split_once(' ') {
            let line = number.parse().unwrap_or(0);
            if self.rule(text, line).is_none() {
                self.malformed.push(Located { value: text.to_owned(), line });
            }
        }
    }

    fn rule(&mut self, text: &str, line: usize) -> Option<()> {
        let (subject, rest) = text.split_once(": ")?;
        match subject {
            "pure modules" => {
                self.pure_modules.extend(list(rest, "/").into_iter().map(|value| Located { value, line }));
            }
            "pure code" => {
                let rest = rest.strip_prefix("may use ")?;
                let (allowed, denied) = rest.split_once(", but not ").unwrap_or((rest, ""));
                self.pure_code.extend(list(allowed, "::").into_iter().map(|path| (path, true)));
                self.pure_code.extend(list(denied, "::").into_iter().map(|path| (path, false)));
            }
            "pure code but for the clock" => self.clock = list(rest.strip_prefix("may also use ")?, "::"),
            _ if subject.starts_with("crate ") => {
                let modules = if rest == "anywhere" { None } else { Some(list(rest.strip_prefix("only in ")?, "/")) };
                let paths = list(subject.strip_prefix("crate ")?, "::").into_iter();
                let rules = paths.map(|path| CrateRule { path, modules: modules.clone() });
                self.crates.extend(rules.map(|value| Located { value, line }));
            }
            _ => {
                let names = rest.strip_prefix("may use ")?;
                let names = if names == "nothing" { Vec::new() } else { list(names, "/") };
                let modules = list(subject, "/").into_iter();
                let permissions = modules.map(|module| Permission { module, names: names.clone() });
                self.permissions.extend(permissions.map(|value| Located { value, line }));
            }
        }
        Some(())
    }
}

fn list(text: &str, separator: &str) -> Vec<Vec<String>> {
    text.split(", ").filter(|name| !name.is_empty()).map(|name| split(name, separator)).collect()
}

fn split(name: &str, separator: &str) -> Vec<String> {
    name.split(separator).map(ToOwned::to_owned).collect()
}
