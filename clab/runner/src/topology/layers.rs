//! Merging of `defaults`, `kinds`, `groups` and a node's own fields.
//!
//! In: the YAML of these sections. Out: one [`NodeSpec`] per node. It must not read links or access the machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use perouter::source::yaml::YamlNode;

use super::error::{Problem, TopologyError};
use super::model::{Bind, NodeKind, NodeName, NodeSpec};
use super::reader::{TopologyReader, plain_text};
use crate::image::Image;

/// Fields of a node that mean nothing without containers, a registry and a management network.
const MEANINGLESS: [&str; 9] = [
    "image-pull-policy",
    "labels",
    "mgmt-ipv4",
    "mgmt-ipv6",
    "mgmt_ipv4",
    "mgmt_ipv6",
    "certificate",
    "SANs",
    "auto-remove",
];

/// Fields of a node that have an effect under containerlab and none here: each use is a warning.
const WITHOUT_EFFECT: [&str; 26] = [
    "cap-add",
    "config",
    "cpu",
    "cpu-set",
    "devices",
    "dns",
    "enforce-startup-config",
    "entrypoint",
    "extras",
    "healthcheck",
    "kernel",
    "license",
    "memory",
    "network-mode",
    "ports",
    "publish",
    "restart-policy",
    "runtime",
    "sandbox",
    "shm-size",
    "stages",
    "startup-config",
    "startup-delay",
    "sysctls",
    "type",
    "user",
];

/// Fields of a node that this runner implements.
const SUPPORTED: [&str; 7] = ["binds", "cmd", "env", "exec", "group", "image", "kind"];

/// One section's fields, not yet merged.
#[derive(Debug, Clone, Default)]
pub(super) struct Layer {
    kind: Option<(u64, String)>,
    image: Option<(u64, String)>,
    group: Option<(u64, String)>,
    cmd: Option<Vec<String>>,
    binds: Vec<Bind>,
    exec: Vec<Vec<String>>,
    env: BTreeMap<String, String>,
}

/// The sections that nodes inherit from.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) defaults: Layer,
    pub(super) kinds: BTreeMap<String, Layer>,
    pub(super) groups: BTreeMap<String, Layer>,
}

impl Layer {
    /// Reads one section; `place` is its path in the file.
    pub(super) fn read(reader: &mut TopologyReader, place: &str, node: &YamlNode) -> Result<Self, TopologyError> {
        let mut layer = Self::default();
        if node.is_null() {
            return Ok(layer);
        }
        for entry in reader.mapping(place, node)? {
            let (field, value) = (format!("{place}.{}", entry.key), &entry.value);
            match entry.key.as_str() {
                "kind" => layer.kind = Some((value.line, reader.text(&field, value)?)),
                "image" => layer.image = Some((value.line, reader.text(&field, value)?)),
                "group" => layer.group = Some((value.line, reader.text(&field, value)?)),
                "cmd" => layer.cmd = Some(reader.words(value.line, &reader.text(&field, value)?)?),
                "binds" => layer.binds = binds(reader, &field, value)?,
                "exec" => layer.exec = commands(reader, &field, value)?,
                "env" => layer.env = environment(reader, &field, value)?,
                name if MEANINGLESS.contains(&name) => {}
                name if WITHOUT_EFFECT.contains(&name) => reader.warn(entry.line, &field),
                name => {
                    let known: Vec<_> = SUPPORTED.into_iter().chain(WITHOUT_EFFECT).chain(MEANINGLESS).collect();
                    return Err(reader.unknown_field(entry.line, name, place, &known));
                }
            }
        }
        Ok(layer)
    }
}

impl Sections {
    /// The node after merging: its own fields take precedence over its group's, these over its kind's, these over the
    /// defaults. Lists are concatenated, the least specific first; of two binds to one target the more specific one remains.
    pub(super) fn merge(
        &self,
        reader: &TopologyReader,
        name: &NodeName,
        line: u64,
        own: &Layer,
    ) -> Result<NodeSpec, TopologyError> {
        let group = own.group.clone().or_else(|| self.defaults.group.clone());
        // A group is free text: `groups` need not have an entry for it.
        let of_group = group.as_ref().and_then(|(_, group)| self.groups.get(group));
        let nearest = |pick: fn(&Layer) -> Option<&(u64, String)>, of_kind: Option<&Layer>| {
            [Some(own), of_group, of_kind, Some(&self.defaults)].into_iter().flatten().find_map(pick).cloned()
        };
        let Some((kind_line, kind_name)) = nearest(|layer| layer.kind.as_ref(), None) else {
            let place = format!("node `{name}`");
            return Err(reader.error(line, Problem::MissingField { field: "kind", place, example: "linux" }));
        };
        let unknown = || Problem::UnknownKind { node: name.to_string(), kind: kind_name.clone() };
        let kind = NodeKind::named(&kind_name).ok_or_else(|| reader.error(kind_line, unknown()))?;
        if kind == NodeKind::Bridge {
            // The bridge has the node's name.
            reader.interface_name(line, "bridge", name.as_str())?;
        }
        let of_kind = self.kinds.get(&kind_name);
        let layers: Vec<&Layer> = [Some(&self.defaults), of_kind, of_group, Some(own)].into_iter().flatten().collect();
        let image = nearest(|layer| layer.image.as_ref(), of_kind);
        Ok(NodeSpec {
            line,
            kind,
            image: image_of(reader, name, line, kind, image)?,
            binds: merged_binds(&layers),
            exec: layers.iter().flat_map(|layer| layer.exec.iter().cloned()).collect(),
            env: layers.iter().flat_map(|layer| layer.env.clone()).collect(),
            cmd: layers.iter().rev().find_map(|layer| layer.cmd.clone()),
            group: group.map(|(_, group)| group),
        })
    }
}

fn merged_binds(layers: &[&Layer]) -> Vec<Bind> {
    let mut merged: Vec<Bind> = Vec::new();
    for bind in layers.iter().flat_map(|layer| &layer.binds) {
        merged.retain(|earlier| earlier.target != bind.target);
        merged.push(bind.clone());
    }
    merged
}

fn image_of(
    reader: &TopologyReader,
    node: &NodeName,
    line: u64,
    kind: NodeKind,
    image: Option<(u64, String)>,
) -> Result<Option<Image>, TopologyError> {
    match (kind, image) {
        (NodeKind::Bridge | NodeKind::ExtContainer, _) => Ok(None),
        (NodeKind::Linux, Some((line, image))) => Image::named(&image).map(Some).ok_or_else(|| {
            let known = format!("use one of {}", Image::known());
            reader.error(line, Problem::UnknownImage { node: node.to_string(), image, known })
        }),
        (NodeKind::Linux, None) => Err(reader.error(
            line,
            Problem::MissingField {
                field: "image",
                place: format!("node `{node}`"),
                example: "quay.io/frrouting/frr:9.1.0",
            },
        )),
    }
}

fn binds(reader: &TopologyReader, field: &str, node: &YamlNode) -> Result<Vec<Bind>, TopologyError> {
    reader.list(field, node)?.iter().map(|item| bind(reader, field, item)).collect()
}

fn bind(reader: &TopologyReader, field: &str, item: &YamlNode) -> Result<Bind, TopologyError> {
    let whole = reader.text(field, item)?;
    let bad = || reader.error(item.line, Problem::BadBind { bind: whole.clone() });
    let mut parts = whole.split(':');
    let (Some(source), Some(target), options, None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(bad());
    };
    let read_only = match options {
        None | Some("rw" | "z" | "Z") => false,
        Some("ro") => true,
        Some(_) => return Err(bad()),
    };
    if source.is_empty() || !target.starts_with('/') || target == "/" || target.contains("/..") {
        return Err(bad());
    }
    Ok(Bind { line: item.line, source: PathBuf::from(source), target: PathBuf::from(target), read_only })
}

fn commands(reader: &TopologyReader, field: &str, node: &YamlNode) -> Result<Vec<Vec<String>>, TopologyError> {
    reader.list(field, node)?.iter().map(|item| reader.words(item.line, &reader.text(field, item)?)).collect()
}

fn environment(
    reader: &TopologyReader,
    field: &str,
    node: &YamlNode,
) -> Result<BTreeMap<String, String>, TopologyError> {
    let mut variables = BTreeMap::new();
    for entry in reader.mapping(field, node)? {
        let wrong = || reader.wrong_type(&format!("{field}.{}", entry.key), "a string or a number", &entry.value);
        variables.insert(entry.key.clone(), plain_text(&entry.value).ok_or_else(wrong)?);
    }
    Ok(variables)
}
