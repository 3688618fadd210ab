//! The objects of one document of a file. In: its text. Out: objects of our kinds, each with its spec or with everything that
//! is wrong with it, and lines counted within the document. Objects of other API groups are ignored. It must not know other
//! documents or files.

use serde_json::Value;

use super::schema::{Schemas, Violation};
use super::yaml::{self, FieldLines, YamlNode};
use crate::kind::{GROUP, Kind, ObjectRef, Reason, Spec, VERSION};

/// An object of a file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Document {
    /// The object; of kind [`Kind::Document`] where the text does not say which one it is.
    pub(crate) object: ObjectRef,
    /// Whether kind, namespace and name are all valid.
    pub(crate) identified: bool,
    /// Line of its name.
    pub(crate) line: u64,
    /// Its spec, or everything that is wrong with it.
    pub(crate) spec: Result<Spec, Vec<DocumentError>>,
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DocumentError {
    pub(crate) line: u64,
    pub(crate) field: String,
    pub(crate) reason: Reason,
    pub(crate) message: String,
}

/// Reads the text of one document.
pub(crate) fn read(text: &str, schemas: &Schemas) -> Vec<Document> {
    match yaml::parse(text) {
        Ok(nodes) => nodes.iter().flat_map(|node| objects(node, schemas)).collect(),
        Err(error) => {
            let message = format!("not YAML: {}: check quotes, brackets and indentation here and above", error.message);
            vec![unreadable(error.line, "", message)]
        }
    }
}

/// A document that does not say which object it is.
fn unreadable(line: u64, field: &str, message: String) -> Document {
    let error = DocumentError { line, field: field.to_owned(), reason: Reason::Unreadable, message };
    let object = ObjectRef { kind: Kind::Document, namespace: "?".to_owned(), name: "?".to_owned() };
    Document { object, identified: false, line, spec: Err(vec![error]) }
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
    let line_of = |field| node.get(field).map_or(node.line, |value| value.line);
    if !ours && Kind::named(kind).is_some() && is_misspelt(group) {
        let message = format!("{api_version} has no kind {kind}: use {GROUP}/{VERSION}");
        return vec![unreadable(line_of("apiVersion"), "apiVersion", message)];
    }
    if !ours {
        return Vec::new();
    }
    if version != VERSION {
        let message = format!("{api_version} is not served: use {GROUP}/{VERSION}");
        return vec![unreadable(line_of("apiVersion"), "apiVersion", message)];
    }
    let Some(ours) = Kind::named(kind) else {
        let message = format!("{kind:?} is not a kind of {api_version}: use {}", Kind::alternatives());
        return vec![unreadable(line_of("kind"), "kind", message)];
    };
    vec![object(ours, node, schemas)]
}

/// Whether a group with a kind of ours was meant to be ours: it is none, or nearly the same.
fn is_misspelt(group: &str) -> bool {
    group.is_empty() || strsim::levenshtein(group, GROUP) <= GROUP.len() / 4
}

fn not_an_object(node: &YamlNode) -> Document {
    if node.fields().is_none() {
        let message = "is not a Kubernetes object: begin it with apiVersion, kind and metadata".to_owned();
        return unreadable(node.line, "", message);
    }
    let missing = if node.get("apiVersion").and_then(YamlNode::text).is_none() { "apiVersion" } else { "kind" };
    let remedy = if missing == "kind" { Kind::alternatives() } else { format!("{GROUP}/{VERSION}") };
    let message =
        format!("is missing: use {remedy}, or move files that are not Kubernetes objects out of this directory");
    unreadable(node.line, missing, message)
}

fn object(kind: Kind, node: &YamlNode, schemas: &Schemas) -> Document {
    let (value, lines) = node.split();
    let name = value.pointer("/metadata/name").and_then(Value::as_str);
    let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str);
    let object =
        ObjectRef { kind, namespace: namespace.unwrap_or("default").to_owned(), name: name.unwrap_or("?").to_owned() };
    let metadata = metadata_violations(&value);
    let identified = metadata.is_empty();
    // A name that is invalid in itself is not also reported as unusable for a VRF.
    let name_is_reported =
        metadata.iter().any(|violation| violation.field == "metadata.name") && value.pointer("/spec/vrf").is_none();
    let redundant = |violation: &Violation| name_is_reported && violation.field == "spec.vrf";
    let spec = match schemas.validate(kind, &value) {
        Ok(spec) if identified => Ok(spec),
        result => {
            let of_schema = result.err().into_iter().flatten().filter(|violation| !redundant(violation));
            let mut errors: Vec<_> = metadata.into_iter().chain(of_schema).map(|v| located(v, &lines)).collect();
            errors.sort();
            Err(errors)
        }
    };
    Document { object, identified, line: lines.line("metadata.name"), spec }
}

fn located(violation: Violation, lines: &FieldLines) -> DocumentError {
    let Violation { field, message } = violation;
    DocumentError { line: lines.line(&field), field, reason: Reason::Invalid, message }
}

/// What the API server requires of names: a DNS subdomain for the object, a DNS label for the namespace (RFC 1123).
fn metadata_violations(object: &Value) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut reject = |field: &str, message: String| violations.push(Violation { field: field.to_owned(), message });
    match object.pointer("/metadata/name") {
        None | Some(Value::Null) => reject("metadata.name", "is missing: give the object a name".to_owned()),
        Some(Value::String(name)) if is_dns(name, 253, true) => {}
        Some(name) => reject(
            "metadata.name",
            format!(
                "{name} is not a valid name: use lower case letters, digits, '-' and '.', starting and ending with a letter or digit"
            ),
        ),
    }
    match object.pointer("/metadata/namespace") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) if is_dns(name, 63, false) => {}
        Some(name) => reject(
            "metadata.namespace",
            format!(
                "{name} is not a valid namespace: use lower case letters, digits and '-', starting and ending with a letter or digit"
            ),
        ),
    }
    violations
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
