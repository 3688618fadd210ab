//! YAML with line numbers. In: the text of a file. Out: its documents as JSON values with the line of every field, and for a
//! document that is not YAML the line and the reason. It must not know Kubernetes: the lab reads its topologies with it.
//!
//! `split_documents` splits a file before its documents are parsed, so that a syntax error invalidates its own document only.
//! That is safe: `---` at the start of a line is a document marker in every context (YAML 1.2.2, production
//! `c-forbidden`).

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

/// A value with the line on which it begins.
#[derive(Debug, Clone, PartialEq)]
pub struct YamlNode {
    /// Line in the text that was parsed, counted from 1.
    pub line: u64,
    content: Content,
}

#[derive(Debug, Clone, PartialEq)]
enum Content {
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

/// Splits a file at its document markers into the text of each document, with the number of lines before it.
pub(crate) fn split_documents(text: &str) -> Vec<(u64, &str)> {
    let mut documents = Vec::new();
    let (mut begin, mut begin_line, mut at, mut only_directives) = (0, 0, 0, true);
    for (number, line) in (0..).zip(text.split_inclusive('\n')) {
        let marker =
            line.strip_prefix("---").is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']));
        // Directives belong to the document after their marker (YAML 1.2.2 section 9.1.2).
        if marker && !only_directives {
            documents.push((begin_line, text.get(begin..at).unwrap_or_default()));
            (begin, begin_line) = (at, number);
        }
        let blank = line.trim_start().is_empty() || line.trim_start().starts_with('#') || line.starts_with('%');
        only_directives = only_directives && blank && !marker;
        at += line.len();
    }
    documents.push((begin_line, text.get(begin..).unwrap_or_default()));
    documents
}

/// Parses the text of one document or of a whole file. Documents without a value, such as a comment, are skipped.
///
/// # Errors
/// If the text is not YAML.
pub fn parse(text: &str) -> Result<Vec<YamlNode>, SyntaxError> {
    let mut options = serde_saphyr::Options::default();
    options.with_snippet = false;
    match serde_saphyr::from_str_multiple_with_options::<Spanned<Content>, Vec<_>>(text, options) {
        Ok(documents) => Ok(documents.into_iter().map(YamlNode::from).filter(|node| !node.is_null()).collect()),
        Err(error) => {
            let line = error.location().map_or(1, |at| at.line().max(1));
            Err(SyntaxError { line, message: parser_message(&error.without_snippet().to_string()) })
        }
    }
}

/// The parser's message without the line, which is reported separately, and without advice to programmers.
fn parser_message(message: &str) -> String {
    let message = message.split(" at line ").next().unwrap_or(message);
    message.split(", set ").next().unwrap_or(message).to_owned()
}

impl From<Spanned<Content>> for YamlNode {
    fn from(spanned: Spanned<Content>) -> Self {
        Self { line: spanned.referenced.line(), content: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_none<E>(self) -> Result<Content, E> {
        Ok(Content::Scalar(Value::Null))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        Content::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Content, E> {
        // 1e3 is a whole number, as for kubectl.
        let whole = format!("{value:.0}").parse::<i64>().ok().filter(|_| value.fract() == 0.0);
        let number = whole.map(Number::from).or_else(|| Number::from_f64(value));
        Ok(Content::Scalar(Value::Number(number.ok_or_else(|| E::custom("a number that JSON cannot represent"))?)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Scalar(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element::<Spanned<Content>>()? {
            items.push(item.into());
        }
        Ok(Content::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut fields = Vec::new();
        while let Some(key) = access.next_key::<Spanned<Content>>()? {
            let (line, key) = (key.referenced.line(), key.value);
            let key = match key {
                Content::Scalar(Value::String(text)) => text,
                Content::Scalar(value) => value.to_string(),
                Content::List(_) | Content::Map(_) => return Err(A::Error::custom("a key must be a scalar")),
            };
            fields.push(YamlField { key, line, value: access.next_value::<Spanned<Content>>()?.into() });
        }
        Ok(Content::Map(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use serde_json::json;

    fn values(text: &str) -> Vec<Value> {
        parse(text).unwrap().iter().map(|node| node.split().0).collect()
    }

    #[rstest]
    #[case::yaml("a: on\nb: 0x10\nc: 1e3\nd: 12:30:45\ne: ~\n", vec![json!({"a": true, "b": 16, "c": 1000, "d": "12:30:45", "e": null})])]
    #[case::json_with_tabs("{\n\t\"a\": 1,\n\t\"b\": [\n\t\t2\n\t]\n}\n", vec![json!({"a": 1, "b": [2]})])]
    #[case::merge_key("a: &x {q: 1}\nb: {<<: *x, r: 2}\n", vec![json!({"a": {"q": 1}, "b": {"q": 1, "r": 2}})])]
    #[case::byte_order_mark("\u{feff}a: 1\n", vec![json!({"a": 1})])]
    #[case::end_marker("a: 1\n...\nb: 2\n", vec![json!({"a": 1}), json!({"b": 2})])]
    #[case::comment("# only\n", vec![])]
    #[case::nothing("", vec![])]
    #[case::null("---\nnull\n", vec![])]
    fn values_are_those_of_kubectl(#[case] text: &str, #[case] wanted: Vec<Value>) {
        assert_eq!(values(text), wanted);
    }

    #[rstest]
    #[case("a: 1\na: 2\n", 2, "duplicate mapping key: a")]
    #[case("a: [1, 2\nb: 3\n", 2, "illegal placement of ':' indicator")]
    #[case("a:\n\t- x\n", 2, "tabs disallowed within this context (block indentation)")]
    #[case("spec:\n    vni: 1\n   vrf: x\n", 3, "while parsing a block mapping, did not find expected key")]
    #[case("a: *b\n", 1, "alias references unknown anchor")]
    #[case("a: 1\nb: [\n", 2, "unclosed bracket '['")]
    fn a_syntax_error_has_its_line(#[case] text: &str, #[case] line: u64, #[case] message: &str) {
        assert_eq!(parse(text).unwrap_err(), SyntaxError { line, message: message.to_owned() });
    }

    #[rstest]
    #[case("b[0].x", 3)]
    #[case("b[1]", 5)]
    #[case("b[0].w.k[9].z", 4)]
    #[case("c.q", 6)]
    #[case("labels[a.b/c]", 8)]
    #[case("labels[a.d/c]", 7)]
    #[case("nothing", 1)]
    fn a_missing_field_has_the_line_of_its_parent(#[case] path: &str, #[case] line: u64) {
        let text = "a: 1\nb:\n  - x: 1\n    w: {k: [1]}\n  - z\nc: {q: 1}\nlabels:\n  a.b/c: d\n";
        assert_eq!(parse(text).unwrap()[0].split().1.line(path), line);
    }

    #[test]
    fn a_node_has_its_line_and_a_field_that_of_its_key() {
        let nodes = parse("name: kind\ntopology:\n  nodes:\n    a:\n      binds:\n        - x:/x\n    b:\n").unwrap();
        let top = nodes[0].fields().unwrap();
        assert_eq!((top[0].line, top[0].value.line), (1, 1));
        let nodes = nodes[0].get("topology").and_then(|topology| topology.get("nodes")).unwrap();
        let fields = nodes.fields().unwrap();
        assert_eq!((fields[0].line, fields[0].key.as_str()), (4, "a"));
        assert_eq!((fields[1].line, fields[1].key.as_str()), (7, "b"));
        assert!(fields[1].value.is_null());
        let bind = &fields[0].value.get("binds").unwrap().items().unwrap()[0];
        assert_eq!((bind.line, bind.text()), (6, Some("x:/x")));
    }

    #[test]
    fn a_file_is_split_at_its_markers() {
        let text = "%YAML 1.2\n---\na: 1\n--- # x\nb: 2\n---\n---\nc: |\n  --- no\n----\n";
        let parts =
            [(0, "%YAML 1.2\n---\na: 1\n"), (3, "--- # x\nb: 2\n"), (5, "---\n"), (6, "---\nc: |\n  --- no\n----\n")];
        assert_eq!(split_documents(text), parts);
    }

    proptest::proptest! {
        #[test]
        fn the_documents_add_up_to_the_file(text in "(---\n|a: 1\n|%Y\n|# c\n|\n|--- b\r\n|x){0,12}") {
            let parts = split_documents(&text);
            proptest::prop_assert_eq!(parts.iter().map(|(_, part)| *part).collect::<String>(), text.clone());
            for (before, part) in parts {
                let at = part.as_ptr() as usize - text.as_ptr() as usize;
                proptest::prop_assert_eq!(text[..at].matches('\n').count() as u64, before);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-a: \n\t\\[\\]{}&*!|>'\"%#?,]{0,40}") {
            for (_, part) in split_documents(&text) {
                let _ = parse(part);
            }
        }
    }
}
