//! What both sources deliver and `plan` reads: every object of this node's concern, and who the node is. Pure data.

use std::collections::BTreeMap;

use crate::kind::Spec;
use crate::kind::check::Secrets;
pub use crate::kind::object::{Kind, Location, ObjectRef, Reason, Rejection, SecretKey};

/// An object as a source delivers it: it fits the schema and its CEL rules.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// `metadata.generation`; for files the number of the last change seen, starting at 1.
    pub generation: i64,
    /// `metadata.creationTimestamp` in seconds since the epoch. Files have none and are older than any API object.
    pub created: Option<i64>,
    /// File and line of its name for a directory source.
    pub location: Option<Location>,
    /// The spec.
    pub spec: Spec,
}

impl Object {
    /// The first version of an object of unknown origin.
    pub fn new(spec: impl Into<Spec>) -> Self {
        Self { generation: 1, created: None, location: None, spec: spec.into() }
    }
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

/// Everything `plan` needs from a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The node.
    pub node: NodeIdentity,
    /// The objects, also those for other nodes.
    pub objects: BTreeMap<ObjectRef, Object>,
    /// Secret keys that objects name; `Err` says why one is not available.
    pub secrets: Secrets,
    /// Documents that the source could not accept.
    pub rejected: Vec<Rejection>,
}

impl Snapshot {
    /// The objects of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&ObjectRef, &Object)> {
        self.objects.iter().filter(move |(object, _)| object.kind == kind)
    }

    /// The keys of Secrets that the objects name.
    pub fn secret_keys(&self) -> impl Iterator<Item = SecretKey> + '_ {
        self.objects.iter().flat_map(|(object, found)| {
            found.spec.secrets().into_iter().map(|reference| SecretKey {
                namespace: object.namespace.clone(),
                name: reference.name.clone(),
                key: reference.key.clone(),
            })
        })
    }

    /// The NICs that the objects name.
    pub fn nics(&self) -> impl Iterator<Item = &str> {
        self.objects.values().flat_map(|object| object.spec.nics())
    }
}
