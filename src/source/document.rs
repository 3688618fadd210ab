//! The objects of one part of a file. In: the text between two document markers. Out: objects of our kinds, each with
//! its spec or with all that is wrong with it, and lines counted within the part. Objects of other groups are passed over.

use serde_json::Value;

use super::schema::Schemas;
use super::yaml::{self, Lines, YamlNode};
use crate::kind::{GROUP, Kind, ObjectRef, Reason, Spec, VERSION};

/// An object of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// The object, as far as the text tells.
    pub(crate) object: ObjectRef,
    /// Whether the text tells which object it is.
    pub(crate) known: bool,
    /// Line of its name.
    pub(crate) line: u64,
    /// Its spec, or what is wrong with it.
    pub(crate) spec: Result<Spec, Vec<Fault>>,
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    pub(crate) line: u64,
    pub(crate) field: String,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// Reads one part of a file.
pub(crate) fn read(part: &str, schemas: &Schemas) -> Vec<Document> {
    match yaml::parse(part) {
        Ok(nodes) => nodes.iter().flat_map(|node| objects(node, schemas)).collect(),
        Err(error) => {
            let message = format!("not YAML: {}: check quotes, brackets and indentation here and above", error.message);
            vec![nameless(error.line, "", Reason::Unreadable, message)]
        }
    }
}

fn nameless(line: u64, field: &str, reason: Reason, message: String) -> Document {
    let fault = Fault { line, field: field.to_owned(), reason, message };
    let object = ObjectRef { kind: Kind::Document, namespace: "?".to_owned(), name: "?".to_owned() };
    Document { object, known: false, line, spec: Err(vec![fault]) }
}

fn objects(node: &YamlNode, schemas: &Schemas) -> Vec<Document> {
    let api_version = node.get("apiVersion").and_then(YamlNode::text);
    let kind = node.get("kind").and_then(YamlNode::text);
    let (Some(api_version), Some(kind)) = (api_version, kind) else {
        return vec![not_an_object(node)];
    };
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let ours = group == GROUP;
    if kind == "List" && group.is_empty()
        || ours && kind.strip_suffix("List").is_some_and(|kind| Kind::named(kind).is_some())
    {
        let items = node.get("items").and_then(YamlNode::items).unwrap_or_default();
        return items.iter().flat_map(|item| objects(item, schemas)).collect();
    }
    if !ours {
        return Vec::new();
    }
    let line_of = |field| node.get(field).map_or(node.line, |value| value.line);
    if version != VERSION {
        let message = format!("{api_version} is not served: write {GROUP}/{VERSION}");
        return vec![nameless(line_of("apiVersion"), "apiVersion", Reason::Unreadable, message)];
    }
    let Some(ours) = Kind::named(kind) else {
        let message = format!("{kind:?} is no kind of {api_version}: use {}", Kind::alternatives());
        return vec![nameless(line_of("kind"), "kind", Reason::Unreadable, message)];
    };
    vec![object(ours, node, schemas)]
}

fn not_an_object(node: &YamlNode) -> Document {
    if node.fields().is_none() {
        let message = "is no Kubernetes object: begin it with apiVersion, kind and metadata".to_owned();
        return nameless(node.line, "", Reason::Unreadable, message);
    }
    let missing = if node.get("apiVersion").and_then(YamlNode::text).is_none() { "apiVersion" } else { "kind" };
    let remedy = if missing == "kind" { Kind::alternatives() } else { format!("{GROUP}/{VERSION}") };
    let message = format!("is missing: write {remedy}, or move what is no Kubernetes object out of this directory");
    nameless(node.line, missing, Reason::Unreadable, message)
}

fn object(kind: Kind, node: &YamlNode, schemas: &Schemas) -> Document {
    let (value, lines) = node.split();
    let name = value.pointer("/metadata/name").and_then(Value::as_str);
    let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str);
    let object =
        ObjectRef { kind, namespace: namespace.unwrap_or("default").to_owned(), name: name.unwrap_or("?").to_owned() };
    let mut faults = metadata_faults(&value, &lines);
    let known = faults.is_empty();
    // A name that is wrong in itself need not also be told to be no VRF name.
    let name_is_told =
        faults.iter().any(|fault| fault.field == "metadata.name") && value.pointer("/spec/vrf").is_none();
    let spec = match schemas.judge(kind, &value) {
        Ok(spec) if faults.is_empty() => Ok(spec),
        Ok(_) => Err(faults),
        Err(violations) => {
            let told = |field: &str| name_is_told && field == "spec.vrf";
            let more = violations.into_iter().filter(|violation| !told(&violation.field));
            faults.extend(more.map(|violation| fault(&lines, violation.field, violation.message)));
            faults.sort();
            Err(faults)
        }
    };
    Document { object, known, line: lines.of("metadata.name"), spec }
}

fn fault(lines: &Lines, field: String, message: String) -> Fault {
    Fault { line: lines.of(&field), field, reason: Reason::Invalid, message }
}

/// What the API server demands of names: a DNS subdomain for the object, a DNS label for the namespace (RFC 1123).
fn metadata_faults(object: &Value, lines: &Lines) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut wrong = |field: &str, message: String| faults.push(fault(lines, field.to_owned(), message));
    match object.pointer("/metadata/name") {
        None | Some(Value::Null) => wrong("metadata.name", "is missing: give the object a name".to_owned()),
        Some(Value::String(name)) if is_dns(name, 253, true) => {}
        Some(name) => wrong(
            "metadata.name",
            format!(
                "{name} is not a name: use lower case letters, digits, '-' and '.', starting and ending with a letter or digit"
            ),
        ),
    }
    match object.pointer("/metadata/namespace") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) if is_dns(name, 63, false) => {}
        Some(name) => wrong(
            "metadata.namespace",
            format!(
                "{name} is not a namespace: use lower case letters, digits and '-', starting and ending with a letter or digit"
            ),
        ),
    }
    faults
}

fn is_dns(name: &str, max_length: usize, dots: bool) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= max_length && if dots { name.split('.').all(label) } else { label(name) }
}
