//! From the tree of a file to a [`Topology`].
//!
//! In: a path or a text. Out: the topology or the first error in it. It must not merge layers or check links itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::layers::{Layer, Sections};
use super::links::read_links;
use super::{LabName, NodeName, Prefix, Problem, Topology, TopologyError, Warning};
use crate::words;
use crate::yaml::{self, Key, Tree, Value};

const NAME_RULE: &str = "use letters, digits, `-`, `_` and `.`, a letter or digit first, at most 63 characters";

/// The file under the reader, and what it has to say about it so far.
pub(super) struct Reader {
    file: PathBuf,
    warnings: Vec<Warning>,
}

/// Reads a topology from its file.
pub fn read_topology(file: &Path) -> Result<Topology, TopologyError> {
    let text = std::fs::read_to_string(file).map_err(|source| TopologyError {
        file: file.to_owned(),
        line: 0,
        problem: Box::new(Problem::Unreadable(source)),
    })?;
    parse_topology(file, &text)
}

/// Reads a topology from a text; `file` is for messages and for its folder.
pub fn parse_topology(file: &Path, text: &str) -> Result<Topology, TopologyError> {
    let mut reader = Reader { file: file.to_owned(), warnings: Vec::new() };
    let tree = yaml::parse(text).map_err(|source| reader.error(source.line, Problem::Yaml(source)))?;
    let (mut lab, mut prefix, mut topology) = (None, Prefix::Word("clab".into()), None);
    for (key, value) in map(&reader, "the file", &tree)? {
        match key.name.as_str() {
            "name" => lab = Some(lab_name(&reader, value)?),
            "prefix" => prefix = read_prefix(&reader, value)?,
            "topology" => topology = Some(value),
            // The management network and tool settings have no counterpart without containers.
            "mgmt" | "settings" => {}
            name => {
                let known = ["mgmt", "name", "prefix", "settings", "topology"];
                return Err(reader.unknown_field(key.line, name, "the file", &known));
            }
        }
    }
    let missing = |field, example| Problem::MissingField { field, place: "the file".into(), example };
    let lab = lab.ok_or_else(|| reader.error(1, missing("name", "mylab")))?;
    let tree = topology.ok_or_else(|| reader.error(1, missing("topology", "{nodes: {…}}")))?;
    let (nodes, links) = read_body(&mut reader, tree)?;
    let folder = file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    Ok(Topology { file: file.to_owned(), folder, lab, prefix, nodes, links, warnings: reader.warnings })
}

type Body = (BTreeMap<NodeName, super::NodeSpec>, Vec<super::Link>);

fn read_body(reader: &mut Reader, tree: &Tree) -> Result<Body, TopologyError> {
    let mut sections = Sections::default();
    let (mut nodes, mut links) = (None, None);
    for (key, value) in map(reader, "topology", tree)? {
        match key.name.as_str() {
            "defaults" => sections.defaults = Layer::read(reader, "topology.defaults", value)?,
            "kinds" => sections.kinds = read_layers(reader, "topology.kinds", value)?,
            "groups" => sections.groups = read_layers(reader, "topology.groups", value)?,
            "nodes" => nodes = Some(value),
            "links" => links = Some(value),
            name => {
                let known = ["defaults", "groups", "kinds", "links", "nodes"];
                return Err(reader.unknown_field(key.line, name, "topology", &known));
            }
        }
    }
    let missing = || Problem::MissingField { field: "nodes", place: "topology".into(), example: "{a: {kind: linux}}" };
    let nodes = nodes.ok_or_else(|| reader.error(tree.line, missing()))?;
    let mut merged = BTreeMap::new();
    for (key, value) in map(reader, "topology.nodes", nodes)? {
        let bad = || Problem::BadName { what: "node", name: key.name.clone(), rule: NAME_RULE };
        let name = NodeName::new(&key.name).ok_or_else(|| reader.error(key.line, bad()))?;
        let own = Layer::read(reader, &format!("topology.nodes.{name}"), value)?;
        merged.insert(name.clone(), sections.merge(reader, &name, key.line, &own)?);
    }
    let links = links.map_or_else(|| Ok(Vec::new()), |tree| read_links(reader, tree, &merged))?;
    Ok((merged, links))
}

fn read_layers(reader: &mut Reader, place: &str, tree: &Tree) -> Result<BTreeMap<String, Layer>, TopologyError> {
    let mut layers = BTreeMap::new();
    for (key, value) in map(reader, place, tree)? {
        layers.insert(key.name.clone(), Layer::read(reader, &format!("{place}.{}", key.name), value)?);
    }
    Ok(layers)
}

fn lab_name(reader: &Reader, tree: &Tree) -> Result<LabName, TopologyError> {
    let name = text(reader, "name", tree)?;
    let bad = || Problem::BadName { what: "lab", name: name.clone(), rule: NAME_RULE };
    LabName::new(&name).ok_or_else(|| reader.error(tree.line, bad()))
}

fn read_prefix(reader: &Reader, tree: &Tree) -> Result<Prefix, TopologyError> {
    let prefix = text(reader, "prefix", tree)?;
    match prefix.as_str() {
        "" => Ok(Prefix::Nothing),
        "__lab-name" => Ok(Prefix::LabName),
        word if LabName::new(word).is_some() => Ok(Prefix::Word(prefix)),
        _ => Err(reader.error(tree.line, Problem::BadName { what: "prefix", name: prefix, rule: NAME_RULE })),
    }
}

impl Reader {
    pub(super) fn error(&self, line: u64, problem: Problem) -> TopologyError {
        TopologyError { file: self.file.clone(), line, problem: Box::new(problem) }
    }

    pub(super) fn wrong_type(&self, line: u64, field: &str, wanted: &'static str, found: &Value) -> TopologyError {
        self.error(line, Problem::WrongType { field: field.to_owned(), wanted, found: found.kind() })
    }

    pub(super) fn unknown_field(&self, line: u64, field: &str, place: &str, known: &[&str]) -> TopologyError {
        let mut known = known.to_vec();
        known.sort_unstable();
        let (field, place, known) = (field.to_owned(), place.to_owned(), known.join(", "));
        self.error(line, Problem::UnknownField { field, place, known })
    }

    pub(super) fn warn(&mut self, line: u64, field: &str) {
        self.warnings.push(Warning { file: self.file.clone(), line, field: field.to_owned() });
    }

    /// Splits a command as a container runtime does it: quotes join, nothing is expanded.
    pub(super) fn words(&self, line: u64, command: &str) -> Result<Vec<String>, TopologyError> {
        words::split(command).ok_or_else(|| self.error(line, Problem::OpenQuotes { text: command.to_owned() }))
    }
}

pub(super) fn text(reader: &Reader, field: &str, tree: &Tree) -> Result<String, TopologyError> {
    match &tree.value {
        Value::Text(text) | Value::Number(text) => Ok(text.clone()),
        other => Err(reader.wrong_type(tree.line, field, "a string", other)),
    }
}

pub(super) fn list<'t>(reader: &Reader, field: &str, tree: &'t Tree) -> Result<&'t [Tree], TopologyError> {
    match &tree.value {
        Value::List(items) if !items.is_empty() => Ok(items),
        Value::List(_) => Err(reader.wrong_type(tree.line, field, "a list with at least one entry", &Value::Null)),
        other => Err(reader.wrong_type(tree.line, field, "a list", other)),
    }
}

pub(super) fn map<'t>(reader: &Reader, field: &str, tree: &'t Tree) -> Result<&'t [(Key, Tree)], TopologyError> {
    match &tree.value {
        Value::Map(entries) => Ok(entries),
        other => Err(reader.wrong_type(tree.line, field, "a mapping", other)),
    }
}
