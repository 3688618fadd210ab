//! From the text of a file to a [`Topology`].
//!
//! In: a path or a text. Out: the topology, or the first error in it. It must not merge layers or check links itself.

use std::collections::BTreeMap;
use std::path::Path;

use perouter::source::yaml::{self, YamlNode};

use super::error::{Problem, TopologyError};
use super::layers::{Layer, Sections};
use super::links::read_links;
use super::model::{LabName, NodeName, NodeSpec, Prefix, Topology, VethLink};
use super::reader::{NAME_RULE, TopologyReader};

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
    let mut reader = TopologyReader { file: file.to_owned(), warnings: Vec::new() };
    let documents = yaml::parse(text).map_err(|source| reader.error(source.line, Problem::Yaml(source)))?;
    let document = match documents.as_slice() {
        [] => None,
        [document] => Some(document),
        [_, second, ..] => return Err(reader.error(second.line, Problem::SecondDocument)),
    };
    let (mut lab, mut prefix, mut topology) = (None, Prefix::Word("clab".into()), None);
    for field in document.map_or(Ok(&[][..]), |document| reader.mapping("the file", document))? {
        match field.key.as_str() {
            "name" => lab = Some(lab_name(&reader, &field.value)?),
            "prefix" => prefix = read_prefix(&reader, &field.value)?,
            "topology" => topology = Some(&field.value),
            // The management network and the settings of the tool have no counterpart without containers.
            "mgmt" | "settings" => {}
            name => {
                let known = ["mgmt", "name", "prefix", "settings", "topology"];
                return Err(reader.unknown_field(field.line, name, "the file", &known));
            }
        }
    }
    let missing = |field, example| Problem::MissingField { field, place: "the file".into(), example };
    let lab = lab.ok_or_else(|| reader.error(1, missing("name", "mylab")))?;
    let node = topology.ok_or_else(|| reader.error(1, missing("topology", "{nodes: {…}}")))?;
    let (nodes, links) = read_body(&mut reader, node)?;
    let folder = file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    Ok(Topology { file: file.to_owned(), folder, lab, prefix, nodes, links, warnings: reader.warnings })
}

type Body = (BTreeMap<NodeName, NodeSpec>, Vec<VethLink>);

fn read_body(reader: &mut TopologyReader, node: &YamlNode) -> Result<Body, TopologyError> {
    let mut sections = Sections::default();
    let (mut nodes, mut links) = (None, None);
    for field in reader.mapping("topology", node)? {
        match field.key.as_str() {
            "defaults" => sections.defaults = Layer::read(reader, "topology.defaults", &field.value)?,
            "kinds" => sections.kinds = read_layers(reader, "topology.kinds", &field.value)?,
            "groups" => sections.groups = read_layers(reader, "topology.groups", &field.value)?,
            "nodes" => nodes = Some(&field.value),
            "links" => links = Some(&field.value),
            name => {
                let known = ["defaults", "groups", "kinds", "links", "nodes"];
                return Err(reader.unknown_field(field.line, name, "topology", &known));
            }
        }
    }
    let missing = || Problem::MissingField { field: "nodes", place: "topology".into(), example: "{a: {kind: linux}}" };
    let nodes = nodes.ok_or_else(|| reader.error(node.line, missing()))?;
    let mut merged = BTreeMap::new();
    for field in reader.mapping("topology.nodes", nodes)? {
        let bad = || Problem::BadName { what: "node", name: field.key.clone(), rule: NAME_RULE };
        let name = NodeName::new(&field.key).ok_or_else(|| reader.error(field.line, bad()))?;
        let own = Layer::read(reader, &format!("topology.nodes.{name}"), &field.value)?;
        merged.insert(name.clone(), sections.merge(reader, &name, field.line, &own)?);
    }
    let links = links.map_or_else(|| Ok(Vec::new()), |node| read_links(reader, node, &merged))?;
    Ok((merged, links))
}

fn read_layers(
    reader: &mut TopologyReader,
    place: &str,
    node: &YamlNode,
) -> Result<BTreeMap<String, Layer>, TopologyError> {
    let mut layers = BTreeMap::new();
    for field in reader.mapping(place, node)? {
        layers.insert(field.key.clone(), Layer::read(reader, &format!("{place}.{}", field.key), &field.value)?);
    }
    Ok(layers)
}

fn lab_name(reader: &TopologyReader, node: &YamlNode) -> Result<LabName, TopologyError> {
    let name = reader.text("name", node)?;
    let bad = || Problem::BadName { what: "lab", name: name.clone(), rule: NAME_RULE };
    LabName::new(&name).ok_or_else(|| reader.error(node.line, bad()))
}

fn read_prefix(reader: &TopologyReader, node: &YamlNode) -> Result<Prefix, TopologyError> {
    let prefix = reader.text("prefix", node)?;
    match prefix.as_str() {
        "" => Ok(Prefix::Nothing),
        "__lab-name" => Ok(Prefix::LabName),
        word if LabName::new(word).is_some() => Ok(Prefix::Word(prefix)),
        _ => Err(reader.error(node.line, Problem::BadName { what: "prefix", name: prefix, rule: NAME_RULE })),
    }
}
