//! A topology after its file was read, and the names in it.
//!
//! In: values that the parser has checked. Out: [`Topology`] and its parts. It must not know YAML or the machine.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::image::Image;

/// MTU of a link that does not name one: containerlab's own default for veth links.
pub const DEFAULT_LINK_MTU: u32 = 9500;

/// A topology file after merging defaults, kinds and groups into its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The file as named by the caller.
    pub file: PathBuf,
    /// Its folder: relative bind sources start here.
    pub folder: PathBuf,
    /// `name:` of the file, or the name with which the caller replaced it.
    pub lab: LabName,
    /// `prefix:` of the file.
    pub prefix: Prefix,
    /// Nodes by name.
    pub nodes: BTreeMap<NodeName, NodeSpec>,
    /// Links in the order of the file.
    pub links: Vec<VethLink>,
    /// Fields of containerlab's schema that this runner ignores.
    pub warnings: Vec<Warning>,
}

/// A lab's name: letters, digits, `-`, `_` and `.`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LabName(String);

/// A node's short name, as in the file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeName(String);

/// An interface's name: 1 to 15 characters, no `/`, no white space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct InterfaceName(String);

/// How the long name of a node is composed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prefix {
    /// `<prefix>-<lab>-<node>`; `clab` unless the file sets another word.
    Word(String),
    /// `prefix: __lab-name`: `<lab>-<node>`.
    LabName,
    /// `prefix: ""`: the node's short name alone.
    Nothing,
}

/// Kind of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A container: here a set of namespaces.
    Linux,
    /// A container that runs already under containerlab; here an empty machine with its own root file system.
    ExtContainer,
    /// A bridge that connects its endpoints; here in its own network namespace.
    Bridge,
}

/// A node after merging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSpec {
    /// Line of the node in the file.
    pub line: u64,
    /// Its kind.
    pub kind: NodeKind,
    /// Its image; only kind `linux` has one.
    pub image: Option<Image>,
    /// Bind mounts, the least specific layer first.
    pub binds: Vec<Bind>,
    /// Commands to run once the links are up, split into words as containerlab does it: there is no shell.
    pub exec: Vec<Vec<String>>,
    /// Environment of `exec`, `cmd` and the daemons.
    pub env: BTreeMap<String, String>,
    /// Command that replaces the image's own.
    pub cmd: Option<Vec<String>>,
    /// Group, for `topology.groups` and the graph.
    pub group: Option<String>,
}

/// One entry of `binds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// Line in the file.
    pub line: u64,
    /// Path on the machine; relative paths start at the topology's folder.
    pub source: PathBuf,
    /// Absolute path in the node.
    pub target: PathBuf,
    /// `:ro` was given.
    pub read_only: bool,
}

/// A veth pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VethLink {
    /// Line in the file.
    pub line: u64,
    /// The two ends.
    pub ends: [Endpoint; 2],
    /// MTU of both ends.
    pub mtu: u32,
}

/// One end of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The node.
    pub node: NodeName,
    /// The interface in it.
    pub interface: InterfaceName,
    /// MAC address, when the file sets one.
    pub mac: Option<String>,
}

/// A field that has no effect here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The file.
    pub file: PathBuf,
    /// Line in the file.
    pub line: u64,
    /// The field.
    pub field: String,
}

impl Topology {
    /// The long name of a node: its network namespace in /run/netns.
    pub fn long_name(&self, node: &NodeName) -> String {
        match &self.prefix {
            Prefix::Word(word) => format!("{word}-{}-{node}", self.lab),
            Prefix::LabName => format!("{}-{node}", self.lab),
            Prefix::Nothing => node.to_string(),
        }
    }
}

impl LabName {
    /// A name that can be part of a path and of a namespace's name; none otherwise.
    pub fn new(name: &str) -> Option<Self> {
        plain_name(name, 64).then(|| Self(name.to_owned()))
    }
}

impl NodeName {
    /// A name that can be part of a path, a namespace's name and a host name; none otherwise.
    pub fn new(name: &str) -> Option<Self> {
        plain_name(name, 63).then(|| Self(name.to_owned()))
    }
}

impl InterfaceName {
    /// A name that the kernel accepts; none otherwise.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=15).contains(&name.len()) && name != "." && name != "..";
        (fits && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace())).then(|| Self(name.to_owned()))
    }
}

fn plain_name(name: &str, longest: usize) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    first && name.len() <= longest && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

macro_rules! display_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}
display_as_text!(LabName, NodeName, InterfaceName);

impl NodeKind {
    /// Every kind that this runner supports.
    pub const ALL: [Self; 3] = [Self::Linux, Self::ExtContainer, Self::Bridge];

    /// The kind as in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::ExtContainer => "ext-container",
            Self::Bridge => "bridge",
        }
    }

    /// The kind with this name, if this runner supports it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for NodeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: `{}` has no effect in this runner", self.file.display(), self.line, self.field)
    }
}
