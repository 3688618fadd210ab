//! YAML as a tree whose every node knows its line.
//!
//! In: the text of a file. Out: one [`Tree`] per document. It must not know what the document is about: meaning, and the
//! errors that go with it, belong to the reader of the tree.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;
use std::fmt;

/// A node of the document and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Line in the file, counted from 1.
    pub line: u64,
    /// What stands there.
    pub value: Value,
}

/// What a node of the document holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `~`, `null` or nothing at all.
    Null,
    /// A plain `true` or `false`.
    Bool(bool),
    /// A number, as text.
    Number(String),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// A mapping in the order of the file.
    Map(Vec<(Key, Tree)>),
}

/// The key of a mapping and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Line in the file, counted from 1.
    pub line: u64,
    /// The key.
    pub name: String,
}

/// The text is not YAML.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct YamlError {
    /// Line in the file, counted from 1; 0 when the parser does not know it.
    pub line: u64,
    cause: Box<serde_saphyr::Error>,
}

/// Parses a file of one document.
pub fn parse(text: &str) -> Result<Tree, YamlError> {
    serde_saphyr::from_str::<Spanned<Value>>(text).map(Tree::from).map_err(YamlError::from)
}

impl Value {
    /// What a reader of an error message calls this.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl From<Spanned<Value>> for Tree {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { line: spanned.referenced.line(), value: spanned.value }
    }
}

impl From<serde_saphyr::Error> for YamlError {
    fn from(cause: serde_saphyr::Error) -> Self {
        Self { line: cause.location().map_or(0, |location| location.line()), cause: Box::new(cause) }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Value>>()? {
            items.push(Tree::from(item));
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key::<Spanned<Value>>()? {
            let line = key.referenced.line();
            let (Value::Text(name) | Value::Number(name)) = key.value else {
                return Err(A::Error::custom("a key must be a string"));
            };
            entries.push((Key { line, name }, access.next_value::<Spanned<Value>>()?.into()));
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_node_knows_its_line() {
        let tree = parse("name: kind\ntopology:\n  nodes:\n    a:\n      binds:\n        - x:/x\n    b:\n").unwrap();
        let Value::Map(top) = tree.value else { panic!("not a mapping") };
        assert_eq!((top[0].0.line, top[0].1.line), (1, 1));
        let Value::Map(topology) = &top[1].1.value else { panic!("not a mapping") };
        let Value::Map(nodes) = &topology[0].1.value else { panic!("not a mapping") };
        assert_eq!(nodes[0].0, Key { line: 4, name: "a".into() });
        assert_eq!(nodes[1].0, Key { line: 7, name: "b".into() });
        assert_eq!(nodes[1].1.value, Value::Null);
        let Value::Map(a) = &nodes[0].1.value else { panic!("not a mapping") };
        assert_eq!(a[0].1.value, Value::List(vec![Tree { line: 6, value: Value::Text("x:/x".into()) }]));
    }

    #[test]
    fn a_syntax_error_has_a_line() {
        assert_eq!(parse("a: 1\nb: [\n").unwrap_err().line, 2);
    }
}
