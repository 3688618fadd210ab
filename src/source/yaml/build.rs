//! Makes nodes of a parser's events. In: text. Out: one node for each document, with aliases and merge keys expanded, or the
//! line and the reason. What kubectl reads in another way is an error: tags, a key that occurs twice, and a merge key after a
//! field that it would replace. Pure.

use std::collections::BTreeMap;

use serde_json::Value;
use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, Tag};

use super::node::{Content, SyntaxError, YamlField, YamlNode};
use super::scalar;

/// Lists and mappings inside each other.
const MAX_DEPTH: usize = 64;
/// Values of a text, those that aliases repeat included, at most.
const MAX_NODES: usize = 250_000;
/// More values than are left for the file.
pub(crate) const TOO_MANY_FOR_FILE: &str =
    "with the repeated ones, more values than are read of a file of this size: split the file or remove aliases";

/// `left`: the values that texts may have together, which these reduce.
pub(super) fn documents(text: &str, left: &mut usize) -> Result<Vec<YamlNode>, SyntaxError> {
    let mut builder = Builder { max: MAX_NODES.min(*left), ..Builder::default() };
    let result = parse(text, &mut builder);
    *left = left.saturating_sub(builder.nodes);
    result.map(|()| builder.documents)
}

fn parse(text: &str, builder: &mut Builder) -> Result<(), SyntaxError> {
    for next in Parser::new_from_str(text) {
        match next {
            Ok((event, span)) => builder.event(event, &span)?,
            Err(error) => {
                return Err(self::error(line(error.marker().line()), error.info().clone()));
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Builder {
    documents: Vec<YamlNode>,
    /// The lists and mappings that are not complete, the innermost last.
    open: Vec<Open>,
    /// Complete nodes with an anchor, and how many nodes each contains.
    anchors: BTreeMap<usize, (YamlNode, usize)>,
    nodes: usize,
    /// Nodes, at most.
    max: usize,
}

struct Open {
    line: u64,
    /// 0: none.
    anchor: usize,
    /// Nodes before this one.
    before: usize,
    collection: Collection,
}

enum Collection {
    List(Vec<YamlNode>),
    Map(OpenMap),
}

#[derive(Default)]
struct OpenMap {
    fields: Vec<YamlField>,
    /// Where each field is, and whether it is from a merge key.
    index: BTreeMap<String, (usize, bool)>,
    /// The key whose value is next.
    key: Option<(FieldKey, u64)>,
    /// Line of the merge key.
    merged: Option<u64>,
}

enum FieldKey {
    Merge,
    Field(String),
}

fn line(from_parser: usize) -> u64 {
    u64::try_from(from_parser).unwrap_or(u64::MAX).max(1)
}

fn error(line: u64, message: impl Into<String>) -> SyntaxError {
    SyntaxError { line, message: message.into(), first: None }
}

/// Which of the two values counts is nobody's to guess.
fn duplicate(key: &str, first: u64, line: u64) -> SyntaxError {
    SyntaxError { first: Some(first), ..error(line, format!("the key {key} occurs twice in one mapping")) }
}

impl Builder {
    fn event(&mut self, event: Event<'_>, span: &Span) -> Result<(), SyntaxError> {
        let at = line(span.start.line());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tagged = tag.as_deref().map(|tag| string_tag(tag, at)).transpose()?.is_some();
                let plain = style == ScalarStyle::Plain && !tagged;
                if plain && text == "<<" && self.map_without_key().is_some() {
                    return self.merge_key(at);
                }
                let value = if plain { scalar::resolve(&text) } else { Some(text.into_owned().into()) };
                let value = value.ok_or_else(|| error(at, "JSON has no such number"))?;
                self.count(at, 1)?;
                self.complete(YamlNode { line: at, content: Content::Scalar(value) }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, tag) => self.begin(at, anchor, tag.as_deref(), Collection::List(vec![])),
            Event::MappingStart(_, anchor, tag) => {
                self.begin(at, anchor, tag.as_deref(), Collection::Map(OpenMap::default()))
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            Event::Alias(anchor) => {
                // Counted before it is copied.
                let size = self.anchors.get(&anchor).map_or(0, |(_, size)| *size);
                self.count(at, size)?;
                let (node, size) = self
                    .anchors
                    .get(&anchor)
                    .cloned()
                    .ok_or_else(|| error(at, "an anchor contains an alias of itself"))?;
                self.complete(YamlNode { line: at, ..node }, 0, size)
            }
            // kubectl splits a file at its markers, and the directive is a document without content.
            Event::DocumentStart(_, Some(_)) => Err(error(at, "a %YAML directive is not supported: remove it")),
            _ => Ok(()),
        }
    }

    fn count(&mut self, at: u64, nodes: usize) -> Result<(), SyntaxError> {
        let counted = self.nodes.saturating_add(nodes);
        if counted > self.max {
            return Err(match self.max {
                MAX_NODES => error(at, format!("more than {MAX_NODES} values: split the file or remove aliases")),
                _ => error(at, TOO_MANY_FOR_FILE),
            });
        }
        self.nodes = counted;
        Ok(())
    }

    fn begin(&mut self, at: u64, anchor: usize, tag: Option<&Tag>, collection: Collection) -> Result<(), SyntaxError> {
        if tag.is_some() {
            return Err(error(at, "a tag on a list or mapping is not supported: remove it"));
        }
        if self.open.len() >= MAX_DEPTH {
            return Err(error(at, format!("lists and mappings are nested deeper than {MAX_DEPTH} levels")));
        }
        self.count(at, 1)?;
        self.open.push(Open { line: at, anchor, before: self.nodes - 1, collection });
        Ok(())
    }

    fn end(&mut self) -> Result<(), SyntaxError> {
        let Some(Open { line, anchor, before, collection }) = self.open.pop() else { return Ok(()) };
        let content = match collection {
            Collection::List(items) => Content::List(items),
            Collection::Map(map) => Content::Map(map.fields),
        };
        let size = self.nodes - before;
        self.complete(YamlNode { line, content }, anchor, size)
    }

    fn map_without_key(&mut self) -> Option<&mut OpenMap> {
        match &mut self.open.last_mut()?.collection {
            Collection::Map(map) if map.key.is_none() => Some(map),
            _ => None,
        }
    }

    fn merge_key(&mut self, at: u64) -> Result<(), SyntaxError> {
        let Some(map) = self.map_without_key() else { return Ok(()) };
        if let Some(first) = map.merged.replace(at) {
            return Err(duplicate("<<", first, at));
        }
        map.key = Some((FieldKey::Merge, at));
        Ok(())
    }

    /// Puts a complete node of `size` nodes where it belongs.
    fn complete(&mut self, node: YamlNode, anchor: usize, size: usize) -> Result<(), SyntaxError> {
        if anchor != 0 {
            // The copy for the aliases counts as well.
            self.count(node.line, size)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut().map(|open| &mut open.collection) {
            None => self.documents.push(node),
            Some(Collection::List(items)) => items.push(node),
            Some(Collection::Map(map)) => match map.key.take() {
                None => map.key = Some((FieldKey::Field(key_of(&node)?), node.line)),
                Some((FieldKey::Field(key), line)) => map.insert(YamlField { key, line, value: node })?,
                Some((FieldKey::Merge, line)) => map.merge(node, line)?,
            },
        }
        Ok(())
    }
}

impl OpenMap {
    fn insert(&mut self, field: YamlField) -> Result<(), SyntaxError> {
        match self.index.get(&field.key).copied() {
            Some((at, true)) => {
                self.index.insert(field.key.clone(), (at, false));
                if let Some(merged) = self.fields.get_mut(at) {
                    *merged = field;
                }
            }
            Some((at, false)) => {
                let first = self.fields.get(at).map_or(field.line, |first| first.line);
                return Err(duplicate(&field.key, first, field.line));
            }
            None => {
                self.index.insert(field.key.clone(), (self.fields.len(), false));
                self.fields.push(field);
            }
        }
        Ok(())
    }

    /// The merge key type of YAML 1.1: of several mappings the first has precedence.
    fn merge(&mut self, node: YamlNode, line: u64) -> Result<(), SyntaxError> {
        let no_mapping = || error(line, "the value of << is neither a mapping nor a list of mappings");
        let maps = match node.content {
            Content::Map(fields) => vec![fields],
            Content::List(items) => {
                let fields = |item: YamlNode| match item.content {
                    Content::Map(fields) => Ok(fields),
                    _ => Err(no_mapping()),
                };
                items.into_iter().map(fields).collect::<Result<_, _>>()?
            }
            Content::Scalar(_) => return Err(no_mapping()),
        };
        for field in maps.into_iter().flatten() {
            match self.index.get(&field.key) {
                Some((_, true)) => {}
                // kubectl would replace the field; YAML says that it stays.
                Some((_, false)) => return Err(error(line, format!("<< after {}: write << first", field.key))),
                None => {
                    self.index.insert(field.key.clone(), (self.fields.len(), true));
                    self.fields.push(field);
                }
            }
        }
        Ok(())
    }
}

/// Accepts the one tag that makes a string of every scalar.
fn string_tag(tag: &Tag, at: u64) -> Result<(), SyntaxError> {
    match tag.core_suffix() {
        Some("str") => Ok(()),
        Some(_) => Err(error(at, format!("the tag {} is not supported: remove it", tag.original()))),
        // It may be a password without quotes.
        None => Err(error(at, "a tag that begins with ! is not supported: remove it, or put the value in quotes")),
    }
}

/// The key of a JSON object.
fn key_of(node: &YamlNode) -> Result<String, SyntaxError> {
    match &node.content {
        Content::Scalar(Value::String(text)) => Ok(text.clone()),
        Content::Scalar(value @ (Value::Bool(_) | Value::Number(_))) => Ok(value.to_string()),
        Content::Scalar(_) => Err(error(node.line, "null is not a key")),
        Content::List(_) | Content::Map(_) => Err(error(node.line, "a key must be a scalar")),
    }
}
