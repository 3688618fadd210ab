//! A snapshot: what both sources deliver and `plan` reads. In: objects of a source. Out: comparable values. It must not depend on
//! which source it comes from. Pure data.

use std::collections::BTreeMap;

use crate::kind::Spec;
use crate::kind::check::Secrets;
pub use crate::kind::object::{Kind, Location, ObjectRef, Reason, Rejection, SecretKey};

/// An object as a source delivers it: valid by its schema and CEL rules, with defaults.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// `metadata.generation`; for files the number of changes of the spec that were read, from 1.
    pub generation: i64,
    /// `metadata.creationTimestamp` in seconds since the epoch. Objects of files have none and count as older than any object of
    /// the API server.
    pub created: Option<i64>,
    /// File and line of its name, for objects of a directory.
    pub location: Option<Location>,
    /// The spec.
    pub spec: Spec,
}

impl Object {
    /// The first version of an object, without location and time of creation.
    pub fn new(spec: impl Into<Spec>) -> Self {
        Self { generation: 1, created: None, location: None, spec: spec.into() }
    }
}

/// The identity of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeIdentity {
    /// Name of the node.
    pub name: String,
    /// Node index, from 0, from which every address of the node is derived.
    pub index: u32,
    /// Labels, for node selectors.
    pub labels: BTreeMap<String, String>,
}

/// The UIDs of the node and the objects at the API server, for owner references and events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiIdentities {
    /// UID of the Node; `None` while it is not known.
    pub node_uid: Option<String>,
    /// UIDs of the objects, also of rejected ones.
    pub objects: BTreeMap<ObjectRef, String>,
}

/// Everything `plan` needs from a source.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// The node.
    pub node: NodeIdentity,
    /// The objects, also those that apply to other nodes.
    pub objects: BTreeMap<ObjectRef, Object>,
    /// The passwords that objects name; `Err` is the message why one is not available.
    pub secrets: Secrets,
    /// The rejections of the source.
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
