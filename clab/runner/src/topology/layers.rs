//! Merging of `defaults`, `kinds`, `groups` and a node's own fields.
//!
//! In: the trees of these sections. Out: one [`NodeSpec`] per node. It must not read links or look at the machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::links::interface_name;
use super::read::{Reader, list, text};
use super::{Bind, Kind, NodeName, NodeSpec, Problem, TopologyError};
use crate::image::Image;
use crate::yaml::{Tree, Value};

/// Fields of a node that have no meaning where there is no container, no registry and no management network.
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

/// Fields of a node that would change it under containerlab and are not acted upon here: each use is a warning.
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

/// Fields of a node that are acted upon.
const ACTED_UPON: [&str; 7] = ["binds", "cmd", "env", "exec", "group", "image", "kind"];

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
    pub(super) fn read(reader: &mut Reader, place: &str, tree: &Tree) -> Result<Self, TopologyError> {
        let mut layer = Self::default();
        let entries = match &tree.value {
            Value::Null => return Ok(layer),
            Value::Map(entries) => entries,
            other => return Err(reader.wrong_type(tree.line, place, "a mapping", other)),
        };
        for (key, value) in entries {
            let field = format!("{place}.{}", key.name);
            match key.name.as_str() {
                "kind" => layer.kind = Some((value.line, text(reader, &field, value)?)),
                "image" => layer.image = Some((value.line, text(reader, &field, value)?)),
                "group" => layer.group = Some((value.line, text(reader, &field, value)?)),
                "cmd" => layer.cmd = Some(reader.words(value.line, &text(reader, &field, value)?)?),
                "binds" => layer.binds = binds(reader, &field, value)?,
                "exec" => layer.exec = commands(reader, &field, value)?,
                "env" => layer.env = environment(reader, &field, value)?,
                name if MEANINGLESS.contains(&name) => {}
                name if WITHOUT_EFFECT.contains(&name) => reader.warn(key.line, &field),
                name => {
                    let known: Vec<_> = ACTED_UPON.into_iter().chain(WITHOUT_EFFECT).chain(MEANINGLESS).collect();
                    return Err(reader.unknown_field(key.line, name, place, &known));
                }
            }
        }
        Ok(layer)
    }
}

impl Sections {
    /// The node after merging: its own fields win over its group's, these over its kind's, these over the defaults.
    /// Lists go together, the least specific first; of two binds to one target the more specific wins.
    pub(super) fn merge(
        &self,
        reader: &Reader,
        name: &NodeName,
        line: u64,
        own: &Layer,
    ) -> Result<NodeSpec, TopologyError> {
        let group = own.group.clone().or_else(|| self.defaults.group.clone());
        // A group is free text for the graph; that `groups` has an entry for it is not required.
        let of_group = group.as_ref().and_then(|(_, group)| self.groups.get(group));
        let nearest = |pick: fn(&Layer) -> Option<&(u64, String)>, of_kind: Option<&Layer>| {
            [Some(own), of_group, of_kind, Some(&self.defaults)].into_iter().flatten().find_map(pick).cloned()
        };
        let Some((kind_line, kind_name)) = nearest(|layer| layer.kind.as_ref(), None) else {
            let place = format!("node `{name}`");
            return Err(reader.error(line, Problem::MissingField { field: "kind", place, example: "linux" }));
        };
        let kind = match kind_name.as_str() {
            "linux" => Kind::Linux,
            "ext-container" => Kind::ExtContainer,
            "bridge" => Kind::Bridge,
            _ => {
                return Err(reader.error(kind_line, Problem::UnknownKind { node: name.to_string(), kind: kind_name }));
            }
        };
        if kind == Kind::Bridge {
            // The bridge has the node's name.
            interface_name(reader, line, "bridge", name.as_str())?;
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
    reader: &Reader,
    node: &NodeName,
    line: u64,
    kind: Kind,
    image: Option<(u64, String)>,
) -> Result<Option<Image>, TopologyError> {
    match (kind, image) {
        (Kind::Bridge | Kind::ExtContainer, _) => Ok(None),
        (Kind::Linux, Some((line, image))) => Image::named(&image).map(Some).ok_or_else(|| {
            let known = format!("use one of {}", Image::known());
            reader.error(line, Problem::UnknownImage { node: node.to_string(), image, known })
        }),
        (Kind::Linux, None) => Err(reader.error(
            line,
            Problem::MissingField {
                field: "image",
                place: format!("node `{node}`"),
                example: "quay.io/frrouting/frr:9.1.0",
            },
        )),
    }
}

fn binds(reader: &Reader, field: &str, tree: &Tree) -> Result<Vec<Bind>, TopologyError> {
    list(reader, field, tree)?.iter().map(|item| bind(reader, field, item)).collect()
}

fn bind(reader: &Reader, field: &str, item: &Tree) -> Result<Bind, TopologyError> {
    let whole = text(reader, field, item)?;
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

fn commands(reader: &Reader, field: &str, tree: &Tree) -> Result<Vec<Vec<String>>, TopologyError> {
    list(reader, field, tree)?.iter().map(|item| reader.words(item.line, &text(reader, field, item)?)).collect()
}

fn environment(reader: &Reader, field: &str, tree: &Tree) -> Result<BTreeMap<String, String>, TopologyError> {
    let Value::Map(entries) = &tree.value else {
        return Err(reader.wrong_type(tree.line, field, "a mapping", &tree.value));
    };
    let entry = |(key, value): &(crate::yaml::Key, Tree)| match &value.value {
        Value::Text(text) | Value::Number(text) => Ok((key.name.clone(), text.clone())),
        other => Err(reader.wrong_type(value.line, &format!("{field}.{}", key.name), "a string or a number", other)),
    };
    entries.iter().map(entry).collect()
}
