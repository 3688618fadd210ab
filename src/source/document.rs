//! The objects of one document of a file. In: its text. Out: objects of our kinds, each with its spec or with everything that
//! is wrong with it, and lines counted within the document. Objects of other API groups are ignored. It must not know other
//! documents or files.

use serde_json::Value;

use super::messages::{self, MAX_VIOLATIONS, Violation, shortened};
use super::schema::Schemas;
use super::yaml::{self, FieldLines, YamlNode};
use crate::kind::{GROUP, Kind, ObjectRef, Reason, Spec, VERSION};
use crate::printable::printable;

/// CEL rules that are evaluated for the objects of a document, at most: less than a second. An L3VNI has about 40.
const MAX_EVALUATIONS: usize = 50_000;

/// An object of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The object; of kind [`Kind::Document`] where the text does not say which one it is.
    pub object: ObjectRef,
    /// Whether kind, namespace and name are all valid.
    pub identified: bool,
    /// Line of its name.
    pub line: u64,
    /// Its spec, or everything that is wrong with it.
    pub spec: Result<Spec, Vec<DocumentError>>,
}

/// What is wrong with a document, and where.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DocumentError {
    /// Line of the field.
    pub line: u64,
    /// Path of the field; empty for the document as a whole.
    pub field: String,
    /// The class of the mistake.
    pub reason: Reason,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// Reads the text of one document.
pub fn read(text: &str, schemas: &Schemas) -> Vec<Document> {
    read_within(MAX_EVALUATIONS, text, schemas)
}

fn read_within(mut budget: usize, text: &str, schemas: &Schemas) -> Vec<Document> {
    match yaml::parse(text) {
        Ok(nodes) => limited(nodes.iter().flat_map(|node| objects(node, schemas, &mut budget)).collect()),
        Err(error) => {
            let message = format!("not YAML: {}: check quotes, brackets and indentation here and above", error.message);
            vec![unreadable(error.line, "", message)]
        }
    }
}

/// The same with at most [`MAX_VIOLATIONS`] errors and a note: a list may have any number of items. An object without its errors
/// is still known to be invalid.
fn limited(mut documents: Vec<Document>) -> Vec<Document> {
    let mut left = MAX_VIOLATIONS;
    documents.retain_mut(|document| {
        let Err(errors) = &mut document.spec else { return true };
        let had = errors.len();
        if had > left {
            errors.truncate(left);
            errors.extend((left > 0).then(|| {
                let Violation { field, message } = messages::more();
                DocumentError { line: document.line, field, reason: Reason::Invalid, message }
            }));
        }
        left = left.saturating_sub(had);
        document.identified || !errors.is_empty()
    });
    documents
}

/// A document that does not say which object it is.
fn unreadable(line: u64, field: &str, message: String) -> Document {
    let error = DocumentError { line, field: field.to_owned(), reason: Reason::Unreadable, message };
    let object = ObjectRef { kind: Kind::Document, namespace: "?".to_owned(), name: "?".to_owned() };
    Document { object, identified: false, line, spec: Err(vec![error]) }
}

fn objects(node: &YamlNode, schemas: &Schemas, budget: &mut usize) -> Vec<Document> {
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
        return items.iter().flat_map(|item| objects(item, schemas, budget)).collect();
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
        let message = format!("{} is not served: use {GROUP}/{VERSION}", shortened(api_version));
        return vec![unreadable(line_of("apiVersion"), "apiVersion", message)];
    }
    let Some(ours) = Kind::named(kind) else {
        let message = format!("{:?} is not a kind of {api_version}: use {}", shortened(kind), Kind::alternatives());
        return vec![unreadable(line_of("kind"), "kind", message)];
    };
    vec![object(ours, node, schemas, budget)]
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

fn object(kind: Kind, node: &YamlNode, schemas: &Schemas, budget: &mut usize) -> Document {
    let (value, lines) = node.split();
    let name = value.pointer("/metadata/name").and_then(Value::as_str);
    let namespace = value.pointer("/metadata/namespace").and_then(Value::as_str);
    let object = ObjectRef { kind, namespace: shown(namespace.unwrap_or("default")), name: shown(name.unwrap_or("?")) };
    let metadata = metadata_violations(&value);
    let identified = metadata.is_empty();
    // A name that is invalid in itself is not also reported as unusable for a VRF.
    let name_is_reported =
        metadata.iter().any(|violation| violation.field == "metadata.name") && value.pointer("/spec/vrf").is_none();
    let redundant = |violation: &Violation| name_is_reported && violation.field == "spec.vrf";
    let spec = match schemas.validate_within(budget, kind, &value) {
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

/// A name that is invalid may be anything.
fn shown(name: &str) -> String {
    shortened(&printable(name))
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
                "{} is not a valid name: use lower case letters, digits, '-' and '.', starting and ending with a letter or digit",
                shortened(&name.to_string())
            ),
        ),
    }
    match object.pointer("/metadata/namespace") {
        None | Some(Value::Null) => {}
        Some(Value::String(name)) if is_dns(name, 63, false) => {}
        Some(name) => reject(
            "metadata.namespace",
            format!(
                "{} is not a valid namespace: use lower case letters, digits and '-', starting and ending with a letter or digit",
                shortened(&name.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use std::time::Instant;

    const MIB: usize = 1 << 20;

    fn header(kind: &str, name: &str) -> String {
        format!("apiVersion: {GROUP}/{VERSION}\nkind: {kind}\nmetadata: {{name: {name}}}\n")
    }

    fn underlay(neighbors: &str) -> String {
        let spec = "spec: {asn: 1, vtepcidr: 100.65.0.0/24, nics: [eth1], neighbors: [";
        format!("{}{spec}{neighbors}]}}\n", header("Underlay", "u"))
    }

    fn repeated(size: usize, part: impl Fn(usize) -> String) -> String {
        let mut text = String::new();
        for number in 0.. {
            if text.len() >= size {
                break;
            }
            text += &part(number);
        }
        text
    }

    fn errors(documents: &[Document]) -> Vec<String> {
        let errors = documents.iter().filter_map(|document| document.spec.as_ref().err()).flatten();
        errors.map(|error| format!("{}: {}", error.field, error.message)).collect()
    }

    /// Documents of 1 MiB whose parts are as many as possible. In time that is generous for a build without optimization.
    #[rstest]
    #[case::neighbors(&underlay(&repeated(MIB, |n| format!("{{asn: 2, address: 10.{}.{}.{}}},", n >> 16, (n >> 8) & 255, n & 255))))]
    #[case::same_neighbor(&underlay(&repeated(MIB, |_| "{asn: 1, address: 10.0.0.1},".to_owned())))]
    #[case::unknown_fields(&underlay(&format!("{{{}}}", repeated(MIB, |n| format!("f{n}: 1,")))))]
    #[case::wrong_types(&underlay(&repeated(MIB, |_| "1,".to_owned())))]
    #[case::long_name(&underlay(&format!("{{{}: 1}}", "x".repeat(1000))))]
    #[case::long_value(&underlay(&format!("{{asn: {}}}", "x".repeat(MIB))))]
    #[case::set(&format!("{}spec: {{asn: 1, vni: 1, routeTargets: {{import: [{}]}}}}\n", header("L3VNI", "a"), repeated(MIB, |n| format!("'1:{n}',"))))]
    #[case::no_objects(&format!("apiVersion: v1\nkind: List\nitems: [{}]\n", repeated(MIB, |_| "a,".to_owned())))]
    #[case::bad_objects(&format!("apiVersion: v1\nkind: List\nitems:\n{}", repeated(MIB, |n| format!("- {{apiVersion: {GROUP}/{VERSION}, kind: L3VNI, metadata: {{name: x{n}}}}}\n"))))]
    #[case::nested(&"[".repeat(MIB))]
    fn the_work_and_the_errors_of_a_document_are_limited(#[case] text: &str) {
        let (schemas, start) = (Schemas::new().unwrap(), Instant::now());
        let documents = read_within(1000, text, &schemas);
        let (errors, seconds) = (errors(&documents), start.elapsed().as_secs());
        assert!(!errors.is_empty() && errors.len() <= MAX_VIOLATIONS + 1, "{}", errors.len());
        assert!(errors.iter().all(|error| error.len() < 4000), "{errors:?}");
        assert!(seconds < 30, "{seconds} s");
    }

    #[test]
    fn the_rules_of_a_list_that_is_too_long_are_not_evaluated() {
        let neighbors = repeated(20_000, |_| "{asn: 1, address: 10.0.0.1},".to_owned());
        let wanted = format!("spec.neighbors: has {} items: use at most 64", neighbors.matches('{').count());
        assert_eq!(errors(&read(&underlay(&neighbors), &Schemas::new().unwrap())), [wanted]);
    }

    #[test]
    fn objects_after_the_budget_are_rejected_and_known() {
        let object = |n: usize| {
            format!(
                "- {{apiVersion: {GROUP}/{VERSION}, kind: L3VNI, metadata: {{name: x{n}}}, spec: {{asn: 1, vni: 1}}}}\n"
            )
        };
        let text = format!("apiVersion: v1\nkind: List\nitems:\n{}{}{}", object(1), object(2), object(3));
        let schemas = Schemas::new().unwrap();
        let all = read(&text, &schemas);
        assert!(errors(&all).is_empty());
        let mut cost = usize::MAX;
        read_one_cost(&mut cost, &object(1), &schemas);
        let documents = read_within(2 * (usize::MAX - cost), &text, &schemas);
        assert_eq!(documents.iter().map(|document| document.spec.is_ok()).collect::<Vec<_>>(), [true, true, false]);
        assert!(documents[2].identified && documents[2].object.name == "x3");
        assert!(errors(&documents)[0].starts_with(": is in a document with more objects and lists"));
    }

    fn read_one_cost(budget: &mut usize, item: &str, schemas: &Schemas) {
        let nodes = yaml::parse(item).unwrap();
        objects(&nodes[0].items().unwrap()[0], schemas, budget);
    }

    /// A password in the place of its reference is not repeated.
    #[rstest]
    #[case("passwordSecret: hunter2")]
    #[case("passwordSecret: [hunter2]")]
    #[case("passwordSecret: {name: hunter2!, key: x}")]
    #[case("passwordSecret: {name: x, key: 'hunter2!'}")]
    #[case("passwordSecret: {name: x, key: [hunter2]}")]
    #[case("password: hunter2")]
    fn a_password_in_an_object_is_not_shown(#[case] field: &str) {
        let spec = format!("spec: {{asn: 1, vni: 1, localcidr: {{ipv4: 10.0.0.0/24}}, hostSession: {{{field}}}}}\n");
        let errors = errors(&read(&format!("{}{spec}", header("L3VNI", "a")), &Schemas::new().unwrap()));
        assert!(!errors.is_empty() && errors.iter().all(|error| !error.contains("hunter2")), "{errors:?}");
    }
}
