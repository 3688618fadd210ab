//! What can be wrong with a topology file, each problem with its remedy.
//!
//! In: nothing. Out: [`TopologyError`]; with its source it reads `file:line: problem; remedy`. It must not know how a
//! file is parsed.

use std::path::{Path, PathBuf};

use perouter::source::yaml::SyntaxError;

/// A topology file that cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("{}", place(file, *line))]
pub struct TopologyError {
    /// The file as named by the caller.
    pub file: PathBuf,
    /// Line in the file, counted from 1; 0 when there is none.
    pub line: u64,
    /// What is wrong.
    #[source]
    pub problem: Box<Problem>,
}

/// What is wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read the file")]
    Unreadable(#[source] std::io::Error),
    /// The file is not YAML.
    #[error("not valid YAML")]
    Yaml(#[source] SyntaxError),
    /// The file has a second document.
    #[error("a second YAML document; a topology is one document: move it to another file")]
    SecondDocument,
    /// A value of the wrong type.
    #[error("`{field}` must be {wanted}, but it is {found}")]
    WrongType {
        /// Path of the field.
        field: String,
        /// The type that the schema requires.
        wanted: &'static str,
        /// The type found.
        found: &'static str,
    },
    /// A field that containerlab's schema does not have.
    #[error("unknown field `{field}` in {place}; known are {known}")]
    UnknownField {
        /// The field.
        field: String,
        /// The mapping that it is in.
        place: String,
        /// The fields that are allowed there.
        known: String,
    },
    /// A required field is missing.
    #[error("{place} has no `{field}`; add `{field}: {example}`")]
    MissingField {
        /// The field.
        field: &'static str,
        /// The mapping that it should be in.
        place: String,
        /// A valid value.
        example: &'static str,
    },
    /// A name that cannot be used.
    #[error("{what} `{name}` cannot be used; {rule}")]
    BadName {
        /// Lab, node, interface.
        what: &'static str,
        /// The name.
        name: String,
        /// The rule that it violates.
        rule: &'static str,
    },
    /// A kind that this runner does not support.
    #[error("node `{node}`: kind `{kind}` cannot run as namespaces; use linux, ext-container or bridge")]
    UnknownKind {
        /// The node.
        node: String,
        /// Its kind.
        kind: String,
    },
    /// An image that this runner does not know.
    #[error("node `{node}`: image `{image}` is not supported; {known}")]
    UnknownImage {
        /// The node.
        node: String,
        /// The image.
        image: String,
        /// What to use instead.
        known: String,
    },
    /// A bind of the wrong form.
    #[error("bind `{bind}` is not SOURCE:TARGET[:ro]; the target is an absolute path in the node")]
    BadBind {
        /// The entry.
        bind: String,
    },
    /// A quote that is not closed.
    #[error("unclosed quote in `{text}`; close it")]
    OpenQuotes {
        /// The text.
        text: String,
    },
    /// A link type other than veth.
    #[error("link type `{link_type}` is not supported by this runner; use veth")]
    UnknownLinkType {
        /// The type.
        link_type: String,
    },
    /// An endpoint of the wrong form.
    #[error("endpoint `{endpoint}` is not NODE:INTERFACE; write it as \"leafA:eth1\"")]
    BadEndpoint {
        /// The endpoint.
        endpoint: String,
    },
    /// A link does not have two ends.
    #[error("a link has two endpoints, this one has {count}")]
    EndpointCount {
        /// How many there are.
        count: usize,
    },
    /// A link to a node that does not exist.
    #[error("endpoint `{endpoint}` refers to node `{node}`, which is not in `topology.nodes`; known are {known}")]
    UnknownNode {
        /// The endpoint.
        endpoint: String,
        /// Its node.
        node: String,
        /// The nodes of the file.
        known: String,
    },
    /// Two links use one interface.
    #[error("interface `{endpoint}` is already used by the link in line {first}; rename one of them")]
    DuplicateInterface {
        /// The endpoint.
        endpoint: String,
        /// Line of the other link.
        first: u64,
    },
    /// A number out of its range.
    #[error("`{field}` is {value}; it must be from {least} to {most}")]
    OutOfRange {
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
        /// Least value.
        least: u32,
        /// Greatest value.
        most: u32,
    },
}

fn place(file: &Path, line: u64) -> String {
    match line {
        0 => file.display().to_string(),
        line => format!("{}:{line}", file.display()),
    }
}
