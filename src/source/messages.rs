//! Words for what is wrong. In: an error of the schema, of a CEL rule or of a list type. Out: the field and a sentence
//! that ends with the remedy. No judgement here.

use jsonschema::ValidationError;
use jsonschema::error::{TypeKind, ValidationErrorKind};
use kube::core::cel;
use serde_json::Value;

use super::schema::Violation;
use super::yaml::join;

/// What a structural error says; `schema` is the one that the validator was compiled from.
pub(crate) fn of_structure(error: &ValidationError<'_>, schema: &Value) -> Vec<Violation> {
    let field = path_of_pointer(error.instance_path().as_str());
    let keyword = error.schema_path().as_str();
    let node = keyword.rsplit_once('/').and_then(|(parent, _)| schema.pointer(parent)).unwrap_or(schema);
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| Violation { field: join(&field, name), message: unknown_field(name, node) })
            .collect(),
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            let about =
                node.pointer(&format!("/properties/{name}/description")).and_then(Value::as_str).unwrap_or("set it");
            let message = format!("is missing: {}", about.trim_end_matches('.'));
            vec![Violation { field: join(&field, name), message }]
        }
        kind => vec![Violation { field, message: of_value(kind, error, node) }],
    }
}

fn of_value(kind: &ValidationErrorKind, error: &ValidationError<'_>, node: &Value) -> String {
    let value = error.instance();
    match kind {
        ValidationErrorKind::Maximum { limit } => format!("{value} is greater than {limit}: {}", range(node)),
        ValidationErrorKind::Minimum { limit } => format!("{value} is less than {limit}: {}", range(node)),
        ValidationErrorKind::MaxLength { limit } => {
            let length = value.as_str().map_or(0, |text| text.chars().count());
            format!("{value} has {length} characters: use at most {limit}")
        }
        ValidationErrorKind::MinLength { .. } => "is empty: give a value or remove the field".to_owned(),
        ValidationErrorKind::MaxItems { limit } => {
            format!("has {} items: use at most {limit}", value.as_array().map_or(0, Vec::len))
        }
        ValidationErrorKind::MinItems { limit } => {
            format!("has {} items: give at least {limit}", value.as_array().map_or(0, Vec::len))
        }
        ValidationErrorKind::MaxProperties { limit } => {
            format!("has {} entries: use at most {limit}", value.as_object().map_or(0, serde_json::Map::len))
        }
        ValidationErrorKind::Enum { options } => {
            let options: Vec<String> = options.as_array().into_iter().flatten().map(Value::to_string).collect();
            format!("{value} is not allowed: use {}", options.join(", "))
        }
        ValidationErrorKind::Type { kind } => wrong_type(kind, value),
        _ => error.to_string(),
    }
}

fn range(node: &Value) -> String {
    match (node.get("minimum"), node.get("maximum")) {
        (Some(least), Some(most)) => format!("use {least} to {most}"),
        (Some(least), None) => format!("use {least} or more"),
        (None, Some(most)) => format!("use {most} or less"),
        (None, None) => "use a value in range".to_owned(),
    }
}

fn wrong_type(wanted: &TypeKind, value: &Value) -> String {
    let wanted = match wanted {
        TypeKind::Single(wanted) => wanted.to_string(),
        TypeKind::Multiple(_) => String::new(),
    };
    let found = match value {
        Value::Null => "nothing".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        scalar => scalar.to_string(),
    };
    let (noun, remedy) = match (wanted.as_str(), value) {
        ("string", Value::Number(_) | Value::Bool(_)) => ("a string", "put it in quotes"),
        ("string", _) => ("a string", "write one word"),
        ("integer", Value::String(text)) if text.parse::<i64>().is_ok() => ("a whole number", "remove the quotes"),
        ("integer" | "number", _) => ("a whole number", "write digits only"),
        ("boolean", _) => ("a truth value", "use true or false"),
        ("array", Value::Object(_)) => ("a list", "begin each item with '- '"),
        ("array", _) => ("a list", "write '- ' before each item, or put them in square brackets"),
        ("object", _) => ("a mapping", "write its fields below it, one `name: value` on each line"),
        _ => ("of the right type", "see the description of the field"),
    };
    format!("{found} is not {noun}: {remedy}")
}

/// What a CEL rule says. Messages that begin with `is` speak of the value, which goes before them.
pub(crate) fn of_rule(error: &cel::ValidationError, object: &Value) -> Violation {
    let field = error.field_path.trim_start_matches('.').to_owned();
    let value = at(object, &field).filter(|value| !value.is_object() && !value.is_array());
    let message = match value {
        Some(value) if error.message.starts_with("is ") || error.message.starts_with("has bits") => {
            format!("{value} {}", error.message)
        }
        _ => error.message.clone(),
    };
    Violation { field, message }
}

/// What an item that is there twice says.
pub(crate) fn of_repetition(path: &str, index: usize, first: usize, key: Option<&Value>) -> Violation {
    let key = match key {
        Some(Value::Array(parts)) => parts.iter().map(Value::to_string).collect::<Vec<_>>().join(", "),
        Some(key) => key.to_string(),
        None => String::new(),
    };
    Violation {
        field: format!("{path}[{index}]"),
        message: format!("{key} is already at {path}[{first}]: remove one of the two"),
    }
}

fn unknown_field(name: &str, node: &Value) -> String {
    let known: Vec<&str> = node
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    let near = known
        .iter()
        .map(|other| (distance(name, other), *other))
        .min()
        .filter(|(edits, other)| *edits <= 2.max(other.len() / 4));
    match near {
        Some((_, near)) => format!("is not a field: did you mean {near}?"),
        None => format!("is not a field: remove it or use one of {}", known.join(", ")),
    }
}

/// Edits between two names (Levenshtein), ignoring case.
fn distance(a: &str, b: &str) -> usize {
    strsim::levenshtein(&a.to_lowercase(), &b.to_lowercase())
}

/// `/spec/neighbors/0/asn` as `spec.neighbors[0].asn`. Names of ours are never digits alone.
fn path_of_pointer(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, part| {
        let part = part.replace("~1", "/").replace("~0", "~");
        if part.bytes().all(|b| b.is_ascii_digit()) { format!("{path}[{part}]") } else { join(&path, &part) }
    })
}

/// The value at a path of ours.
fn at<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    path.split(['.', '[']).try_fold(object, |value, part| match part.strip_suffix(']') {
        Some(index) => value.get(index.parse::<usize>().ok()?),
        None => value.get(part),
    })
}
