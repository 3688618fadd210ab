//! What both sources deliver and `plan` reads: every object of this node's concern, and who the node is. Pure data.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::kind::{L3VNISpec, UnderlaySpec};
use crate::types::Secret;

/// Kind of an object that we read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// [`crate::kind::Underlay`]
    Underlay,
    /// [`crate::kind::L3VNI`]
    L3VNI,
    /// A document that does not tell which object it is; in a [`Rejection`] only.
    Document,
}

/// An object by kind, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Kind.
    pub kind: Kind,
    /// Namespace; `default` where the document names none.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Document => f.write_str("document"),
            Kind::Underlay | Kind::L3VNI => write!(f, "{:?} {}/{}", self.kind, self.namespace, self.name),
        }
    }
}

/// An object as a source delivers it: it fits the schema and its CEL rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Object<S> {
    /// Its identity.
    pub key: ObjectRef,
    /// `metadata.generation`; for files the number of the last change seen, starting at 1.
    pub generation: i64,
    /// `metadata.creationTimestamp` in seconds since the epoch. Files have none and are older than any API object.
    pub created: Option<i64>,
    /// The spec.
    pub spec: Arc<S>,
}

/// Who the node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Name of the node.
    pub name: String,
    /// Node index, 0 and up: every address of the node follows from it.
    pub index: u32,
    /// Labels, for node selectors.
    pub labels: BTreeMap<String, String>,
}

/// By what the API server knows the node and the objects: who owns what is made there, and whom its events are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiIdentities {
    /// UID of the Node; `None` while it is not known.
    pub node_uid: Option<String>,
    /// UIDs of the objects, also of those that are rejected.
    pub objects: BTreeMap<ObjectRef, String>,
}

/// A key of a Secret that an object names: namespace, name, key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretKey {
    /// Namespace of the Secret: that of the object that names it.
    pub namespace: String,
    /// Name of the Secret.
    pub name: String,
    /// Key within the Secret.
    pub key: String,
}

/// An object that is not applied, with the reason and the remedy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rejection {
    /// The object; its name is `?` where the document does not tell.
    pub object: ObjectRef,
    /// Closed reason.
    pub reason: Reason,
    /// File and line for a directory source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    /// Path of the field, such as `spec.localcidr.ipv4`; empty if the object as a whole.
    pub field: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.location {
            write!(f, "{}:{}: ", at.file, at.line)?;
        }
        write!(f, "{}: ", self.object)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Path of the file as the source was given it.
    pub file: String,
    /// Line, from 1.
    pub line: u64,
}

/// Why an object is not applied: a closed list, also used in status conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The document is not YAML or not an object of a kind that we know.
    Unreadable,
    /// A field breaks the schema, a CEL rule or a rule of its own.
    Invalid,
    /// Another object has what this one asks for.
    Conflict,
    /// A pool has no address for this node's index.
    PoolTooSmall,
    /// An object that this one needs is missing or rejected.
    DependencyFailed,
    /// A Secret or a key of it is missing or not readable.
    SecretMissing,
    /// The installed FRR or the kernel cannot do it.
    Unsupported,
}

/// Everything `plan` needs from a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The node.
    pub node: NodeIdentity,
    /// Underlays, also those for other nodes.
    pub underlays: Vec<Object<UnderlaySpec>>,
    /// L3VNIs, also those for other nodes.
    pub l3vnis: Vec<Object<L3VNISpec>>,
    /// Secret keys that objects name; `Err` tells why one is not to be had.
    pub secrets: BTreeMap<SecretKey, Result<Secret, String>>,
    /// Documents that the source could not take.
    pub rejected: Vec<Rejection>,
}
