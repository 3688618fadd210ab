//! Messages of violations. In: an error of the structural schema, of a CEL rule or of a list type. Out: the field and a sentence
//! that ends with the remedy. It must not decide whether something is a violation.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use serde_json::Value;

use super::yaml::join_path;

/// Violations of an object that are reported, at most.
pub(crate) const MAX_VIOLATIONS: usize = 50;
/// Characters of a value that a message shows.
const MAX_SHOWN: usize = 100;

/// How the message of a field that does not exist begins.
pub const NO_FIELD: &str = "is not a field";

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// Path of the field, such as `spec.neighbors[0].asn`.
    pub field: String,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// The violations of a structural error; `schema` is the one that the validator was compiled from.
pub(crate) fn structural(error: &ValidationError<'_>, schema: &Value) -> Vec<Violation> {
    let field = path_of_pointer(error.instance_path().as_str());
    let keyword = error.schema_path().as_str();
    let node = keyword.rsplit_once('/').and_then(|(parent, _)| schema.pointer(parent)).unwrap_or(schema);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .take(MAX_VIOLATIONS + 1)
            .map(|name| Violation {
                field: join_path(&field, &shortened(name)),
                message: unknown_field(&field, name, node),
            })
            .collect(),
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let property = node.get("properties").and_then(|properties| properties.get(name));
            let message = format!("is missing: {}", property.map_or_else(|| "set it".to_owned(), how_to_set));
            vec![Violation { field: join_path(&field, name), message }]
        }
        // The first item that is too many.
        ValidationErrorKind::MaxItems { limit } => {
            let items = error.instance().as_array().map_or(0, Vec::len);
            let message = format!("the list has {items} items: use at most {limit}");
            vec![Violation { field: format!("{field}[{limit}]"), message }]
        }
        kind => {
            let value = shown(&field, error.instance());
            vec![Violation { message: invalid_value(kind, error, &value, node), field }]
        }
    }
}

/// What stands for the violations after the first [`MAX_VIOLATIONS`].
pub(crate) fn more() -> Violation {
    let message = format!("has more than {MAX_VIOLATIONS} mistakes: fix these first, the others are not listed");
    Violation { field: String::new(), message }
}

/// The violation of an object whose file is too large to validate it.
pub(crate) fn too_much() -> Violation {
    let message = "is in a file with more objects and lists than are validated at once: move it to a file of its own, without \
                   aliases";
    Violation { field: String::new(), message: message.to_owned() }
}

/// The violation of an IPv4 address with a leading zero.
pub(crate) fn leading_zero(path: &str, text: &str) -> Violation {
    let message = format!("{} has a leading zero: write each part of an IPv4 address without", shortened(text));
    Violation { field: path.to_owned(), message }
}

/// A value as JSON, not longer than people read. What is written in the place of a reference to a Secret may be the password.
fn shown(field: &str, value: &Value) -> String {
    let names_a_secret = field.to_ascii_lowercase();
    if names_a_secret.contains("password") || names_a_secret.contains("secret") {
        return "the value".to_owned();
    }
    let text = match value {
        Value::Null => "nothing".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        scalar => scalar.to_string(),
    };
    shortened(&text)
}

/// The beginning of a text that is longer than people read.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// What to write: the fields that must be there, or what the field is.
fn how_to_set(property: &Value) -> String {
    let required = property.get("required").and_then(Value::as_array).into_iter().flatten();
    let required: Vec<&str> = required.filter_map(Value::as_str).collect();
    if !required.is_empty() {
        return format!("set at least {}", required.join(", "));
    }
    let description = property.get("description").and_then(Value::as_str);
    description.map_or("set it", first_sentence).to_owned()
}

/// Without its period.
fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

/// `shown`: the value as it may be shown.
fn invalid_value(kind: &ValidationErrorKind, error: &ValidationError<'_>, shown: &str, node: &Value) -> String {
    let value = error.instance();
    match kind {
        ValidationErrorKind::Maximum { limit } => format!("{shown} is greater than {limit}: {}", range(node)),
        ValidationErrorKind::Minimum { limit } => format!("{shown} is less than {limit}: {}", range(node)),
        ValidationErrorKind::MaxLength { limit } => {
            let length = value.as_str().map_or(0, |text| text.chars().count());
            format!("{shown} has {length} characters: use at most {limit}")
        }
        ValidationErrorKind::MinLength { .. } => "is empty: set a value or remove the field".to_owned(),
        ValidationErrorKind::MinItems { limit } => {
            format!("has {} items: use at least {limit}", value.as_array().map_or(0, Vec::len))
        }
        ValidationErrorKind::MaxProperties { limit } => {
            format!("has {} entries: use at most {limit}", value.as_object().map_or(0, serde_json::Map::len))
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<&Value> = options.as_array().into_iter().flatten().collect();
            if let Some(nearest) = nearest_option(value, &options) {
                return format!("{shown} is not allowed: did you mean {nearest}?");
            }
            let options: Vec<String> = options.into_iter().map(Value::to_string).collect();
            format!("{shown} is not allowed: use {}", options.join(", "))
        }
        ValidationErrorKind::Type { kind } => wrong_type(kind, value, shown),
        _ => shortened(&error.to_string()),
    }
}

/// The one of the options that a value nearly is.
fn nearest_option<'a>(value: &Value, options: &[&'a Value]) -> Option<&'a str> {
    let text = value.as_str()?;
    let mut by_edits: Vec<_> =
        options.iter().filter_map(|option| option.as_str()).map(|o| (distance(text, o), o)).collect();
    by_edits.sort_unstable();
    let (edits, nearest) = *by_edits.first()?;
    let is_alone = by_edits.get(1).is_none_or(|(next, _)| *next > edits);
    (is_alone && edits <= 2 && 2 * edits < nearest.len()).then_some(nearest)
}

fn range(node: &Value) -> String {
    match (node.get("minimum"), node.get("maximum")) {
        (Some(least), Some(most)) => format!("use {least} to {most}"),
        (Some(least), None) => format!("use {least} or more"),
        (None, Some(most)) => format!("use {most} or less"),
        (None, None) => "use a value in range".to_owned(),
    }
}

fn wrong_type(wanted: &TypeKind, value: &Value, shown: &str) -> String {
    let wanted = match wanted {
        TypeKind::Single(wanted) => wanted.to_string(),
        TypeKind::Multiple(_) => String::new(),
    };
    let (noun, remedy) = match (wanted.as_str(), value) {
        ("string", Value::Number(_) | Value::Bool(_)) => ("a string", "put it in quotes"),
        ("string", _) => ("a string", "write a single value"),
        ("integer", Value::String(text)) if text.parse::<i64>().is_ok() => ("a whole number", "remove the quotes"),
        ("integer" | "number", _) => ("a whole number", "write digits only"),
        ("boolean", _) => ("a boolean", "use true or false"),
        ("array", Value::Object(_)) => ("a list", "begin each item with '- '"),
        ("array", _) => ("a list", "write '- ' before each item, or put them in square brackets"),
        ("object", _) => ("a mapping", "write its fields below it, one `name: value` on each line"),
        _ => ("of the right type", "see the description of the field"),
    };
    format!("{shown} is not {noun}: {remedy}")
}

/// The violation of a CEL rule. A message whose subject is the value gets the value in front.
pub(crate) fn cel_rule(field: String, message: String, object: &Value) -> Violation {
    let value = value_at(object, &field).filter(|value| !value.is_object() && !value.is_array());
    let message = match value {
        Some(value) if message.starts_with("is ") || message.starts_with("has host bits") => {
            format!("{} {message}", shown(&field, value))
        }
        _ => message,
    };
    Violation { field, message }
}

/// The violation of an item that occurs twice in a list.
pub(crate) fn duplicate_item(path: &str, index: usize, first: usize, key: &Value) -> Violation {
    let key = match key {
        Value::Array(parts) => parts.iter().map(Value::to_string).collect::<Vec<_>>().join(", "),
        key => key.to_string(),
    };
    let key = shortened(&key);
    Violation {
        field: format!("{path}[{index}]"),
        message: format!("{key} is a duplicate of {path}[{first}]: remove one of the two"),
    }
}

/// Fields of `OpenPERouter` whose name is not nearly that of the field that has their meaning here.
const OF_OPENPEROUTER: [(&str, &str); 12] = [
    ("evpn", "set spec.vtepcidr"),
    ("interfaces", "list the names of the NICs in spec.nics"),
    ("tunnelEndpoint", "set spec.vtepcidr"),
    ("hostASN", "set spec.hostasn"),
    ("hostType", "leave it out: without spec.hostasn the session is internal"),
    ("localCIDR", "set spec.localcidr"),
    ("exportRTs", "set spec.routeTargets.export"),
    ("importRTs", "set spec.routeTargets.import"),
    ("password", "set passwordSecret: {name, key}"),
    (
        "properties",
        "set ebgpMultiHop in its place, and `updateSource: NIC` where the peer has the address of the NIC as its neighbor",
    ),
    ("listenRange", "name each neighbor by its address"),
    (
        "addressFamilies",
        "leave it out: IPv4 unicast and L2VPN EVPN are activated, L2VPN EVPN alone with `updateSource: VTEP`",
    ),
];

/// Fields of `OpenPERouter` in its host session, which perouter has beside the session.
const OF_ITS_HOST_SESSION: [(&str, &str); 3] =
    [("asn", "set spec.asn"), ("hostasn", "set spec.hostasn"), ("localcidr", "set spec.localcidr")];

fn unknown_field(parent: &str, name: &str, node: &Value) -> String {
    let known: Vec<&str> = node
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let is_spelling = known.iter().any(|field| field.eq_ignore_ascii_case(name));
    let of_session = if parent.ends_with(".hostSession") { &OF_ITS_HOST_SESSION[..] } else { &[] };
    let of_openperouter = of_session.iter().chain(&OF_OPENPEROUTER);
    if let Some((_, remedy)) = of_openperouter.filter(|_| !is_spelling).find(|(other, _)| *other == name) {
        return format!("{NO_FIELD}, but one of OpenPERouter: {remedy}");
    }
    let nearest = known
        .iter()
        .map(|other| (distance(name, other), *other))
        .min()
        .filter(|(edits, other)| *edits <= 2.max(other.len() / 4));
    match nearest {
        Some((_, nearest)) => format!("{NO_FIELD}: did you mean {nearest}?"),
        None => format!("{NO_FIELD}: remove it or use one of {}", known.join(", ")),
    }
}

/// Edits between two names (Levenshtein), ignoring case.
pub(crate) fn distance(a: &str, b: &str) -> usize {
    // A name is short, and the distance of a long text is expensive.
    if a.len() > 64 { usize::MAX } else { strsim::levenshtein(&a.to_lowercase(), &b.to_lowercase()) }
}

/// `/spec/neighbors/0/asn` as `spec.neighbors[0].asn`. No field name consists of digits.
fn path_of_pointer(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, part| {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.bytes().all(|b| b.is_ascii_digit()) { format!("{path}[{part}]") } else { join_path(&path, &part) }
    })
}

/// The value at a path such as `spec.neighbors[0].asn`.
pub(crate) fn value_at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split(['.', '[']).try_fold(object, |value, part| match part.strip_suffix(']') {
        Some(index) => value.get(index.parse::<usize>().ok()?),
        None => value.get(part),
    })
}
