//! What can be wrong with a topology file, each with its remedy.
//!
//! In: nothing. Out: [`TopologyError`]; with its source it reads `file:line: problem; remedy`. It must not know how a
//! file is read.

use std::path::{Path, PathBuf};

use crate::yaml::YamlError;

/// A topology file that cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("{}", place(file, *line))]
pub struct TopologyError {
    /// The file as it was named by the caller.
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
    Yaml(#[source] YamlError),
    /// A value of the wrong type.
    #[error("`{field}` must be {wanted}, but it is {found}")]
    WrongType {
        /// Path of the field.
        field: String,
        /// What the schema wants.
        wanted: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// A field that containerlab's schema does not have.
    #[error("unknown field `{field}` in {place}; known are {known}")]
    UnknownField {
        /// The field.
        field: String,
        /// Where it stands.
        place: String,
        /// The fields that could stand there.
        known: String,
    },
    /// A required field is not there.
    #[error("{place} has no `{field}`; add `{field}: {example}`")]
    MissingField {
        /// The field.
        field: &'static str,
        /// Where it should stand.
        place: String,
        /// A value that would do.
        example: &'static str,
    },
    /// A name that cannot be used.
    #[error("{what} `{name}` cannot be used; {rule}")]
    BadName {
        /// Lab, node, interface.
        what: &'static str,
        /// The name.
        name: String,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A kind that this runner does not play.
    #[error("node `{node}`: kind `{kind}` cannot run as namespaces; use linux, ext-container or bridge")]
    UnknownKind {
        /// The node.
        node: String,
        /// Its kind.
        kind: String,
    },
    /// An image whose contents this runner cannot play.
    #[error("node `{node}`: nothing is known of image `{image}`; {known}")]
    UnknownImage {
        /// The node.
        node: String,
        /// The image.
        image: String,
        /// What could be used.
        known: String,
    },
    /// A bind that cannot be taken apart.
    #[error("bind `{bind}` is not SOURCE:TARGET[:ro]; the target is an absolute path in the node")]
    BadBind {
        /// The entry.
        bind: String,
    },
    /// Text in quotes that do not end.
    #[error("the quotes in `{text}` do not end; close them")]
    OpenQuotes {
        /// The text.
        text: String,
    },
    /// A link type other than veth.
    #[error("link type `{link_type}` is not played by this runner; use veth")]
    UnknownLinkType {
        /// The type.
        link_type: String,
    },
    /// An endpoint that cannot be taken apart.
    #[error("endpoint `{endpoint}` is not NODE:INTERFACE; write it as \"leafA:eth1\"")]
    BadEndpoint {
        /// The endpoint.
        endpoint: String,
    },
    /// A link has not two ends.
    #[error("a link has two endpoints, this one has {count}")]
    EndpointCount {
        /// How many there are.
        count: usize,
    },
    /// A link to a node that is not there.
    #[error("endpoint `{endpoint}` names node `{node}`, which `topology.nodes` does not have; known are {known}")]
    UnknownNode {
        /// The endpoint.
        endpoint: String,
        /// Its node.
        node: String,
        /// The nodes of the file.
        known: String,
    },
    /// Two links use one interface.
    #[error("interface `{endpoint}` is already used by the link of line {first}; give one of them another name")]
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
        /// What is there.
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
