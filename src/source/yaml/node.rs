//! A YAML value with line numbers. In: what the parser finds. Out: plain values, and the line of a field by its path. Pure.

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

/// A syntax error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// Line in the text that was parsed, counted from 1.
    pub line: u64,
    /// The parser's message, without the line.
    pub message: String,
    /// Line of the first of two keys, where the second is the error.
    pub first: Option<u64>,
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
        match &self.content {
            Content::Scalar(value) => value.clone(),
            Content::List(items) => Value::Array(items.iter().map(Self::to_value).collect()),
            Content::Map(fields) => {
                let fields = fields.iter().map(|field| (field.key.clone(), field.value.to_value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
        }
    }

    /// The line of the field at `path`, such as `spec.neighbors[0].asn`, or of its nearest ancestor in the text. Looked for when it
    /// is needed: the paths of all fields are many times as long as the text.
    pub(crate) fn line_of(&self, path: &str) -> u64 {
        let (mut node, mut line, mut path) = (self, self.line, path);
        while !path.is_empty()
            && let Some((value, at, rest)) = node.step(path)
        {
            (node, line, path) = (value, at, rest);
        }
        line
    }

    /// The value with which a path begins, the line of its key or item, and the rest of the path.
    fn step<'a>(&self, path: &'a str) -> Option<(&Self, u64, &'a str)> {
        match &self.content {
            Content::Scalar(_) => None,
            Content::List(items) => {
                let (index, rest) = path.strip_prefix('[')?.split_once(']')?;
                let item = items.get(index.parse::<usize>().ok()?)?;
                Some((item, item.line, rest))
            }
            Content::Map(fields) => fields.iter().find_map(|YamlField { key, line, value }| {
                let rest = if is_bracketed(key) {
                    path.strip_prefix('[')?.strip_prefix(key.as_str())?.strip_prefix(']')?
                } else {
                    path.strip_prefix('.').unwrap_or(path).strip_prefix(key.as_str())?
                };
                (rest.is_empty() || rest.starts_with(['.', '['])).then_some((value, *line, rest))
            }),
        }
    }
}

/// The path of a field as Kubernetes writes it: a key that contains a dot is in brackets.
pub(crate) fn join_path(parent: &str, key: &str) -> String {
    if is_bracketed(key) {
        format!("{parent}[{key}]")
    } else if parent.is_empty() {
        key.to_owned()
    } else {
        format!("{parent}.{key}")
    }
}

fn is_bracketed(key: &str) -> bool {
    key.contains(['.', '/', '['])
}
