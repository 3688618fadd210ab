//! A YAML value with line numbers. In: what the parser finds. Out: plain values, and the line of each field by its path. Pure.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// A value with the line on which it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlNode {
    /// Line in the text that was parsed, counted from 1.
    pub line: u64,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    Scalar(Value),
    List(Vec<YamlNode>),
    Map(Vec<YamlField>),
}

/// A field of a mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlField {
    /// The key; a key that is not a string is its text.
    pub key: String,
    /// Line of the key.
    pub line: u64,
    /// The value.
    pub value: YamlNode,
}

/// Line of each field by its path, such as `spec.neighbors[0].asn`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FieldLines {
    start: u64,
    fields: BTreeMap<String, u64>,
}

impl FieldLines {
    /// The line of `path`, or of its nearest ancestor in the text.
    pub(crate) fn line(&self, path: &str) -> u64 {
        let mut path = path;
        loop {
            if let Some(line) = self.fields.get(path) {
                return *line;
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = path.get(..at).unwrap_or_default(),
                None => return self.start,
            }
        }
    }
}

/// A syntax error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Line in the text that was parsed, counted from 1.
    pub line: u64,
    /// The parser's message, without the line.
    pub message: String,
}

impl YamlNode {
    /// The value of a key; `None` if this is not a mapping or has no such key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.fields()?.iter().find(|field| field.key == key).map(|field| &field.value)
    }

    /// The text; `None` if this is not a string.
    pub fn text(&self) -> Option<&str> {
        self.scalar()?.as_str()
    }

    /// A null, boolean, number or string; `None` for a list or mapping.
    pub fn scalar(&self) -> Option<&Value> {
        match &self.content {
            Content::Scalar(value) => Some(value),
            _ => None,
        }
    }

    /// Whether this is `null`, also by having no value.
    pub fn is_null(&self) -> bool {
        matches!(self.scalar(), Some(Value::Null))
    }

    /// The items; `None` if this is not a list.
    pub fn items(&self) -> Option<&[Self]> {
        match &self.content {
            Content::List(items) => Some(items),
            _ => None,
        }
    }

    /// The fields of a mapping, in the order of the text.
    pub fn fields(&self) -> Option<&[YamlField]> {
        match &self.content {
            Content::Map(fields) => Some(fields),
            _ => None,
        }
    }

    /// The plain value, without lines.
    pub fn to_value(&self) -> Value {
        self.split().0
    }

    /// The plain value and the lines of its fields.
    pub(crate) fn split(&self) -> (Value, FieldLines) {
        let mut lines = FieldLines { start: self.line, fields: BTreeMap::new() };
        let value = self.collect("", &mut lines.fields);
        (value, lines)
    }

    fn collect(&self, path: &str, lines: &mut BTreeMap<String, u64>) -> Value {
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => {
                let items = items.iter().enumerate().map(|(i, item)| {
                    let path = format!("{path}[{i}]");
                    let value = item.collect(&path, lines);
                    lines.insert(path, item.line);
                    value
                });
                Value::Array(items.collect())
            }
            Content::Map(fields) => {
                let mut map = Map::new();
                for YamlField { key, line, value } in fields {
                    let path = join_path(path, key);
                    map.insert(key.clone(), value.collect(&path, lines));
                    lines.insert(path, *line);
                }
                Value::Object(map)
            }
        }
    }
}

/// The path of a field as Kubernetes writes it: a key that contains a dot is in brackets.
pub(crate) fn join_path(parent: &str, key: &str) -> String {
    if key.contains(['.', '/', '[']) {
        format!("{parent}[{key}]")
    } else if parent.is_empty() {
        key.to_owned()
    } else {
        format!("{parent}.{key}")
    }
}
