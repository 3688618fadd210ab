//! Typed access to the YAML of a topology file.
//!
//! In: YAML nodes and the paths of their fields. Out: texts, lists, mappings, names and words, or a [`TopologyError`] with
//! the line at fault. It must not know which fields there are.

use std::path::PathBuf;

use perouter::source::yaml::{YamlField, YamlNode};
use serde_json::Value;

use super::error::{Problem, TopologyError};
use super::model::{InterfaceName, Warning};

/// The rule for names of labs and nodes.
pub(super) const NAME_RULE: &str =
    "use letters, digits, `-`, `_` and `.`, a letter or digit first, at most 63 characters";

/// The file that is read, and the warnings about it so far.
pub(super) struct TopologyReader {
    pub(super) file: PathBuf,
    pub(super) warnings: Vec<Warning>,
}

impl TopologyReader {
    pub(super) fn error(&self, line: u64, problem: Problem) -> TopologyError {
        TopologyError { file: self.file.clone(), line, problem: Box::new(problem) }
    }

    pub(super) fn wrong_type(&self, field: &str, wanted: &'static str, found: &YamlNode) -> TopologyError {
        self.error(found.line, Problem::WrongType { field: field.to_owned(), wanted, found: type_of(found) })
    }

    pub(super) fn unknown_field(&self, line: u64, field: &str, place: &str, known: &[&str]) -> TopologyError {
        let mut known = known.to_vec();
        known.sort_unstable();
        let (field, place, known) = (field.to_owned(), place.to_owned(), known.join(", "));
        self.error(line, Problem::UnknownField { field, place, known })
    }

    pub(super) fn warn(&mut self, line: u64, field: &str) {
        self.warnings.push(Warning { file: self.file.clone(), line, field: field.to_owned() });
    }

    /// A string, or a number as its text.
    pub(super) fn text(&self, field: &str, node: &YamlNode) -> Result<String, TopologyError> {
        plain_text(node).ok_or_else(|| self.wrong_type(field, "a string", node))
    }

    /// A list with at least one item.
    pub(super) fn list<'n>(&self, field: &str, node: &'n YamlNode) -> Result<&'n [YamlNode], TopologyError> {
        match node.items() {
            Some([]) => {
                let (wanted, found) = ("a list with at least one entry", NULL);
                Err(self.error(node.line, Problem::WrongType { field: field.to_owned(), wanted, found }))
            }
            Some(items) => Ok(items),
            None => Err(self.wrong_type(field, "a list", node)),
        }
    }

    pub(super) fn mapping<'n>(&self, field: &str, node: &'n YamlNode) -> Result<&'n [YamlField], TopologyError> {
        node.fields().ok_or_else(|| self.wrong_type(field, "a mapping", node))
    }

    /// Splits a command as a container runtime does it: quotes group words, nothing is expanded.
    pub(super) fn words(&self, line: u64, command: &str) -> Result<Vec<String>, TopologyError> {
        shlex::split(command).ok_or_else(|| self.error(line, Problem::OpenQuotes { text: command.to_owned() }))
    }

    /// The name of an interface; `what` is what the error message calls it.
    pub(super) fn interface_name(
        &self,
        line: u64,
        what: &'static str,
        name: &str,
    ) -> Result<InterfaceName, TopologyError> {
        let rule = "an interface name has 1 to 15 characters and no `/`, `:` or white space";
        InterfaceName::new(name).ok_or_else(|| self.error(line, Problem::BadName { what, name: name.to_owned(), rule }))
    }
}

/// The text of a string or a number.
pub(super) fn plain_text(node: &YamlNode) -> Option<String> {
    match node.scalar()? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

const NULL: &str = "nothing";

fn type_of(node: &YamlNode) -> &'static str {
    match node.scalar() {
        Some(Value::Bool(_)) => "a boolean",
        Some(Value::Number(_)) => "a number",
        Some(Value::String(_)) => "a string",
        Some(_) => NULL,
        None if node.items().is_some() => "a list",
        None => "a mapping",
    }
}
