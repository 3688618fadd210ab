//! The objects of one document of a file. In: its text. Out: objects of our kinds, each with its spec or with everything that
//! is wrong with it, and lines counted within the document. Objects of other API groups are ignored. It must not know other
//! documents or files.

use std::path::Path;

use serde::de::IgnoredAny;
use serde_json::Value;

use super::messages::{self, MAX_VIOLATIONS, Violation, distance, shortened};
use super::schema::Schemas;
use super::template;
use super::yaml::{self, SyntaxError, YamlNode};
use crate::kind::{GROUP, Kind, ObjectRef, Reason, Spec, VERSION};
use crate::printable::printable;

/// Calls in the CEL rules that are evaluated for the objects of a file that is not large, at most: half a second. An L3VNI has about
/// 130, and a larger file may have as many as its objects are written out.
const MAX_CALLS: usize = 400_000;
/// A smaller file may have this many for each byte, and [`MIN_CALLS`]. None that is written out has more, and with aliases many small
/// ones would take as long as many large ones.
const CALLS_PER_BYTE: usize = 4;
const MIN_CALLS: usize = 400;

/// A document takes as long as this many values beside those that it has. The smallest that a cluster accepts has seven values in
/// 48 bytes, and so fits.
const DOCUMENT_NODES: usize = 4;

/// What reading the documents of a file may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Values of YAML.
    nodes: usize,
    /// Calls in rules.
    calls: usize,
    /// Whether one of them was not enough.
    exceeded: bool,
}

impl ReadLimits {
    /// Those of a file with this many bytes: in proportion to them, so that a file of 1 MiB takes less than a second.
    pub fn of_file(bytes: usize) -> Self {
        let calls = bytes.saturating_mul(CALLS_PER_BYTE).saturating_add(MIN_CALLS);
        Self { nodes: yaml::nodes_of_file(bytes), calls: calls.min(MAX_CALLS.max(bytes / 2)), exceeded: false }
    }

    /// Whether a document was rejected because they were not enough.
    pub fn are_exceeded(self) -> bool {
        self.exceeded || self.calls == 0
    }

    /// Whether no further document of the file can be read.
    pub fn are_used_up(self) -> bool {
        self.nodes == 0
    }

    /// What was used of `before`.
    #[must_use]
    pub fn used_of(self, before: Self) -> Self {
        let (nodes, calls) = (before.nodes.saturating_sub(self.nodes), before.calls.saturating_sub(self.calls));
        Self { nodes, calls, exceeded: false }
    }

    /// Uses what a document needed that was read before; `false` if it is more than is left.
    pub fn use_again(&mut self, used: Self) -> bool {
        let fits = used.nodes <= self.nodes && used.calls <= self.calls;
        if fits {
            (self.nodes, self.calls) = (self.nodes - used.nodes, self.calls - used.calls);
        }
        fits
    }
}

/// How a file is written, for messages: JSON is read as the YAML that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
}

impl Notation {
    /// That of a file: JSON by its name, or by a brace and a key in quotes with which it begins.
    pub fn of(path: &Path, text: &str) -> Self {
        let begins_with_key =
            || text.trim_start().strip_prefix('{').is_some_and(|rest| rest.trim_start().starts_with('"'));
        let is_json = path.extension().is_some_and(|extension| extension == "json") || begins_with_key();
        if is_json { Self::Json } else { Self::Yaml }
    }
}

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
    /// Line of the first of two fields of one name, which the message of the second does not have.
    pub first: Option<u64>,
}

/// Reads the text of one document within what is `left` for its file.
pub fn read(text: &str, notation: Notation, schemas: &Schemas, left: &mut ReadLimits) -> Vec<Document> {
    let ReadLimits { nodes, calls, exceeded } = left;
    *nodes = nodes.saturating_sub(DOCUMENT_NODES);
    match yaml::parse_within(nodes, text) {
        Ok(found) => limited(found.iter().flat_map(|node| objects(node, schemas, calls)).collect()),
        Err(error) => {
            *exceeded |= error.message == yaml::TOO_MANY_FOR_FILE;
            if let Some((line, template)) = template::in_text(text) {
                return vec![unreadable(line, "", template.message())];
            }
            vec![syntax_error(text, notation, error)]
        }
    }
}

/// Stands for a document that is not YAML, or not JSON.
fn syntax_error(text: &str, notation: Notation, error: SyntaxError) -> Document {
    let SyntaxError { line, message, first } = error;
    let is_json = first.is_none() && notation == Notation::Json;
    let of_json = is_json.then(|| serde_json::from_str::<IgnoredAny>(text).err()).flatten();
    let (line, message) = match (first, of_json) {
        (Some(_), _) => (line, shortened(&message)),
        (None, Some(error)) => {
            let what = error.to_string();
            let what = what.split(" at line ").next().unwrap_or(&what);
            let message = format!("not JSON: {what}: check quotes, commas and brackets here and above");
            (u64::try_from(error.line()).unwrap_or_default().max(1), message)
        }
        (None, None) if message.contains("found a tab") => (line, format!("not YAML: {message}: indent with spaces")),
        (None, None) => (line, format!("not YAML: {message}: check quotes, brackets and indentation here and above")),
    };
    unreadable_error(DocumentError { line, field: String::new(), reason: Reason::Unreadable, message, first })
}

/// Stands for the documents that are left when the limits of their file are used up.
pub fn not_read() -> Document {
    unreadable(1, "", "not read: this file has too many documents and values: split it".to_owned())
}

/// The kinds of `OpenPERouter`.
const OF_OPENPEROUTER: [&str; 6] = ["Underlay", "L2VNI", "L3VNI", "L3VPN", "L3Passthrough", "RawFRRConfig"];

/// Documents with at most [`MAX_VIOLATIONS`] errors and a note: a list may have any number of items. An object without its errors
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
                DocumentError { line: document.line, field, reason: Reason::Invalid, message, first: None }
            }));
        }
        left = left.saturating_sub(had);
        document.identified || !errors.is_empty()
    });
    documents
}

/// A document that does not say which object it is.
fn unreadable(line: u64, field: &str, message: String) -> Document {
    unreadable_error(DocumentError { line, field: field.to_owned(), reason: Reason::Unreadable, message, first: None })
}

fn unreadable_error(error: DocumentError) -> Document {
    let object = ObjectRef { kind: Kind::Document, namespace: "?".to_owned(), name: "?".to_owned() };
    Document { object, identified: false, line: error.line, spec: Err(vec![error]) }
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
    if is_meant_for_us(group, kind) {
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
        let near = Kind::ALL.iter().map(|known| (distance(kind, known.as_str()), known)).min();
        let message = match near.filter(|(edits, _)| *edits <= 1) {
            _ if OF_OPENPEROUTER.contains(&kind) => {
                format!("{kind} is a kind of OpenPERouter, and none of {api_version}: remove it")
            }
            Some((_, known)) => format!("{:?} is not a kind of {api_version}: did you mean {known}?", shortened(kind)),
            None => format!("{:?} is not a kind of {api_version}: use {}", shortened(kind), Kind::alternatives()),
        };
        return vec![unreadable(line_of("kind"), "kind", message)];
    };
    vec![object(ours, node, schemas, budget)]
}

/// Whether another group with this kind was meant to be ours: it is none, or nearly the same.
pub(super) fn is_meant_for_us(group: &str, kind: &str) -> bool {
    let is_misspelt = || group.is_empty() || strsim::levenshtein(group, GROUP) <= GROUP.len() / 4;
    group != GROUP && Kind::named(kind).is_some() && is_misspelt()
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
    let value = node.to_value();
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
            let of_template = |violation| template::explained(violation, &value);
            let all = metadata.into_iter().chain(of_schema).map(of_template);
            let mut errors: Vec<_> = all.map(|violation| located(violation, node)).collect();
            errors.sort();
            Err(errors)
        }
    };
    Document { object, identified, line: node.line_of("metadata.name"), spec }
}

/// A name that is invalid may be anything.
fn shown(name: &str) -> String {
    shortened(&printable(name))
}

fn located(violation: Violation, node: &YamlNode) -> DocumentError {
    let Violation { field, message } = violation;
    DocumentError { line: node.line_of(&field), field, reason: Reason::Invalid, message, first: None }
}

/// What the API server requires of names: a DNS subdomain for the object, a DNS label for the namespace (RFC 1123).
fn metadata_violations(object: &Value) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut reject = |field: &str, message: String| violations.push(Violation { field: field.to_owned(), message });
    match object.pointer("/metadata/name") {
        None | Some(Value::Null) => reject("metadata.name", "is missing: give the object a name".to_owned()),
        Some(Value::String(name)) if is_dns(name, 253, true) => {}
        Some(value @ (Value::Bool(_) | Value::Number(_))) => reject("metadata.name", not_text(value)),
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
        Some(value @ (Value::Bool(_) | Value::Number(_))) => reject("metadata.namespace", not_text(value)),
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

/// The message of a name that YAML does not read as text.
fn not_text(value: &Value) -> String {
    match value {
        Value::Bool(_) => {
            format!("{value} is not a string: put it in quotes, as y, yes, on, n, no and off are booleans without")
        }
        _ => format!("{} is not a string: put it in quotes", shortened(&value.to_string())),
    }
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
    const TOO_MUCH: &str = ": is in a file with more objects and lists";

    /// The document of a file that has no other.
    fn read_alone(text: &str) -> Vec<Document> {
        read(text, Notation::Yaml, &Schemas::new().unwrap(), &mut ReadLimits::of_file(text.len()))
    }

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
        let mut left = ReadLimits { calls: 1000, ..ReadLimits::of_file(text.len()) };
        let documents = read(text, Notation::Yaml, &schemas, &mut left);
        let (errors, seconds) = (errors(&documents), start.elapsed().as_secs());
        assert!(!errors.is_empty() && errors.len() <= MAX_VIOLATIONS + 1, "{}", errors.len());
        assert!(errors.iter().all(|error| error.len() < 4000), "{errors:?}");
        assert!(seconds < 30, "{seconds} s");
    }

    #[rstest]
    #[case::flow("spec: {{ .Values.spec }}\n", ": has template expressions ({{ … }}) that are not rendered")]
    #[case::block(
        "{{- if .Values.red }}\nspec: {}\n{{- end }}\n",
        ": has template expressions ({{ … }}) that are not rendered"
    )]
    #[case::jinja(
        "{% if red %}\nspec: {}\n{% endif %}\n",
        ": has template expressions ({% … %}) that are not rendered"
    )]
    #[case::none("# {{ x }}\nspec: [\n", ": not YAML: ")]
    #[case::quoted(
        "spec: {asn: 1, vni: \"{{ vni }}\"}\n",
        "spec.vni: has template expressions ({{ … }}) that are not rendered"
    )]
    #[case::shell(
        "spec: {asn: 1, vni: \"${VNI}\"}\n",
        "spec.vni: has template expressions (${…}) that are not rendered"
    )]
    #[case::variable("spec: {asn: $ASN, vni: 1}\n", "spec.asn: has template expressions ($NAME) that are not rendered")]
    #[case::no_value("spec: {asn: <no value>, vni: 1}\n", "spec.asn: <no value> is what a template gives for")]
    fn a_template_is_named(#[case] text: &str, #[case] words: &str) {
        let found = errors(&read_alone(&format!("{}{text}", header("L3VNI", "a"))));
        assert!(found.len() == 1 && found[0].starts_with(words), "{found:?}");
    }

    #[rstest]
    #[case::boolean(
        "name: a, namespace: n",
        "metadata.namespace: false is not a string: put it in quotes, as y, yes, on"
    )]
    #[case::number("name: 100", "metadata.name: 100 is not a string: put it in quotes")]
    fn a_name_that_is_no_text_belongs_in_quotes(#[case] metadata: &str, #[case] words: &str) {
        let text = header("L3VNI", "a").replace("name: a", metadata);
        let found = errors(&read_alone(&format!("{text}spec: {{asn: 1, vni: 1}}\n")));
        assert!(found.iter().any(|error| error.starts_with(words)), "{found:?}");
    }

    #[rstest]
    #[case::case(
        "L3Vni",
        "kind: \"L3Vni\" is not a kind of openpe.openperouter.github.io/v1alpha1: did you mean L3VNI?"
    )]
    #[case::letter(
        "Underlays",
        "kind: \"Underlays\" is not a kind of openpe.openperouter.github.io/v1alpha1: did you mean Underlay?"
    )]
    #[case::of_openperouter(
        "RawFRRConfig",
        "kind: RawFRRConfig is a kind of OpenPERouter, and none of openpe.openperouter.github.io/v1alpha1: remove it"
    )]
    fn a_kind_that_is_nearly_one_is_named(#[case] kind: &str, #[case] message: &str) {
        assert_eq!(errors(&read_alone(&header(kind, "a"))), [message]);
    }

    #[rstest]
    #[case(
        "L3VNI",
        "spec: {asn: 1, vni: 1, localcidr: {ipv4: 10.0.0.0/24}, hostSession: {asn: 1}}",
        "spec.hostSession.asn: is not a field, but one of OpenPERouter: set spec.asn"
    )]
    #[case(
        "L3VNI",
        "spec: {asn: 1, vni: 1, localcidr: {ipv4: 10.0.0.0/24}, hostSession: {hostasn: 1}}",
        "spec.hostSession.hostasn: is not a field, but one of OpenPERouter: set spec.hostasn"
    )]
    #[case(
        "L3VNI",
        "spec: {asn: 1, vni: 1, localcidr: {ipv4: 10.0.0.0/24}, hostSession: {localcidr: {}}}",
        "spec.hostSession.localcidr: is not a field, but one of OpenPERouter: set spec.localcidr"
    )]
    #[case(
        "Underlay",
        "spec: {asn: 1, vtepcidr: 100.65.0.0/24, nics: [e], evpn: {vtepcidr: 100.65.0.0/24}, neighbors: [{asn: 2, address: 10.0.0.1}]}",
        "spec.evpn: is not a field, but one of OpenPERouter: set spec.vtepcidr"
    )]
    fn a_field_of_openperouter_in_another_place_is_named(#[case] kind: &str, #[case] spec: &str, #[case] error: &str) {
        assert_eq!(errors(&read_alone(&format!("{}{spec}\n", header(kind, "a")))), [error]);
    }

    #[test]
    fn a_field_of_openperouter_is_named() {
        let found = errors(&read_alone(&format!(
            "{}spec: {{asn: 1, vni: 1, localcidr: {{ipv4: 10.0.0.0/24}}, exportRTs: [x]}}\n",
            header("L3VNI", "a")
        )));
        assert_eq!(found, ["spec.exportRTs: is not a field, but one of OpenPERouter: set spec.routeTargets.export"]);
    }

    #[test]
    fn of_a_list_that_is_too_long_the_first_items_are_validated() {
        let neighbors = repeated(20_000, |_| "{asn: 1, address: 10.0.0.1},".to_owned());
        let too_long =
            format!("spec.neighbors[64]: the list has {} items: use at most 64", neighbors.matches('{').count());
        let twice = "spec.neighbors: two neighbors have the same address or interface: remove one";
        assert_eq!(errors(&read_alone(&underlay(&neighbors))), [twice, &too_long]);
    }

    /// A small document that repeats much by aliases costs as much as one that is written out.
    #[test]
    fn the_rules_of_a_document_are_in_proportion_to_its_text() {
        let spec = "spec: {asn: 1, vni: 1, localcidr: {ipv4: 10.0.0.0/24}, fromHost: {allowedPrefixes: [&a {prefix: 1.0.0.0/8}";
        let l3vni = |item: &str| format!("{}{spec}{}]}}}}\n", header("L3VNI", "a"), format!(",{item}").repeat(511));
        assert_eq!(errors(&read_alone(&l3vni("{prefix: 1.0.0.0/8}"))), [""; 0]);
        assert!(errors(&read_alone(&l3vni("*a")))[0].starts_with(TOO_MUCH));
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
        let (before, mut left) = (ReadLimits::of_file(text.len()), ReadLimits::of_file(text.len()));
        assert!(errors(&read(&text, Notation::Yaml, &schemas, &mut left)).is_empty());
        let calls = left.used_of(before).calls;
        assert!(calls > 0 && calls.is_multiple_of(3), "{calls}");
        let documents = read(&text, Notation::Yaml, &schemas, &mut ReadLimits { calls: calls / 3 * 2, ..before });
        assert_eq!(documents.iter().map(|document| document.spec.is_ok()).collect::<Vec<_>>(), [true, true, false]);
        assert!(documents[2].identified && documents[2].object.name == "x3");
        assert!(errors(&documents)[0].starts_with(TOO_MUCH));
    }

    #[test]
    fn the_documents_of_a_file_share_its_limits() {
        let text = |n: usize| {
            format!("{}spec: {{asn: 1, vni: {n}, localcidr: {{ipv4: 10.0.{n}.0/24}}}}\n", header("L3VNI", "a"))
        };
        let (schemas, whole) = (Schemas::new().unwrap(), ReadLimits::of_file(1 << 20));
        let mut left = whole;
        assert!(errors(&read(&text(1), Notation::Yaml, &schemas, &mut left)).is_empty());
        let one = left.used_of(whole);
        let mut left = ReadLimits { nodes: one.nodes * 3, calls: one.calls * 2 + 1, exceeded: false };
        let valid = |left: &mut ReadLimits, n| read(&text(n), Notation::Yaml, &schemas, left)[0].spec.is_ok();
        assert!(valid(&mut left, 1) && left.use_again(one) && !left.are_exceeded());
        assert!(!left.use_again(one) && !valid(&mut left, 3) && left.are_exceeded());
        let mut left = ReadLimits { nodes: one.nodes * 2 - 1, ..whole };
        assert!(valid(&mut left, 1) && !valid(&mut left, 2) && left.are_exceeded());
    }

    /// Of an object of each kind of list that is written out, there is room for all in a file that has nothing else.
    #[rstest]
    #[case::route_targets("routeTargets: {import: [{}]}", |n| format!("'1:{n}',"), 64)]
    #[case::prefixes("localcidr: {ipv4: 10.0.0.0/24}, fromHost: {allowedPrefixes: [{}]}", |n| format!("{{prefix: {}.0.0.0/8}},", n % 200 + 1), 512)]
    fn an_object_that_is_written_out_is_within_the_limits_of_its_file(
        #[case] spec: &str,
        #[case] item: fn(usize) -> String,
        #[case] most: usize,
    ) {
        let items: String = (1..=most).map(item).collect();
        let spec = spec.replace("{}", &items);
        let text = format!("{}spec: {{asn: 1, vni: 1, {spec}}}\n", header("L3VNI", "a"));
        let found = errors(&read_alone(&text));
        assert!(found.iter().all(|error| !error.starts_with(TOO_MUCH)), "{found:?}");
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
        let errors = errors(&read_alone(&format!("{}{spec}", header("L3VNI", "a"))));
        assert!(!errors.is_empty() && errors.iter().all(|error| !error.contains("hunter2")), "{errors:?}");
    }
}
