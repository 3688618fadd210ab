//! The state of the cluster as far as it concerns this node. In: [`ClusterEvent`]s of the watches and of the index claim. Out:
//! a snapshot once every initial list is complete and the index is claimed, the Secrets to watch, and UIDs. What was read
//! once must stay when a watch fails. No calls, no clock.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use serde_json::Value;
use thiserror::Error;

use super::object::{self, ApiObject};
use super::store::ObjectStore;
use crate::kind::Kind;
use crate::snapshot::{ApiIdentities, NodeIdentity, Object, ObjectRef, SecretKey, Snapshot};
use crate::source::schema::Schemas;
use crate::source::secret::{self, PasswordError};
use crate::types::Secret;

/// A Secret by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SecretName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What one watch is on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum WatchTarget {
    /// All objects of a kind.
    Objects(Kind),
    /// The own Node.
    Node,
    /// One Secret.
    Secret(SecretName),
}

/// A change of the state.
pub(crate) enum ClusterEvent {
    /// An event of a watch.
    Watch(WatchTarget, Box<Event<DynamicObject>>),
    /// A watch failed and is retried.
    WatchFailed(WatchTarget, String),
    /// The node has claimed its index.
    IndexClaimed(u32),
}

/// What is used of the own Node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NodeMetadata {
    uid: String,
    labels: BTreeMap<String, String>,
}

/// The passwords of a Secret by key.
type SecretData = BTreeMap<String, Result<Secret, PasswordError>>;

/// Why a password of a Secret is not available.
#[derive(Debug, Error)]
enum SecretError {
    #[error("Secret {secret} cannot be read: {cause}")]
    Unreadable { secret: String, cause: String },
    #[error("Secret {secret} does not exist: create Secret {secret} with the key {key}")]
    Missing { secret: String, key: String },
    #[error("Secret {secret} has no key {key}: add it with the password as its value")]
    KeyMissing { secret: String, key: String },
    #[error("key {key} of Secret {secret} {source}")]
    Password { secret: String, key: String, source: PasswordError },
}

/// What is known of a Secret.
#[derive(Debug, Default)]
struct SecretState {
    store: ObjectStore<(), SecretData>,
    /// Why it has never been read.
    failure: Option<String>,
}

/// The state of the cluster.
#[derive(Debug)]
pub(crate) struct ClusterState {
    node_name: String,
    schemas: Schemas,
    objects: BTreeMap<Kind, ObjectStore<ObjectRef, ApiObject>>,
    node: ObjectStore<String, NodeMetadata>,
    secrets: BTreeMap<SecretName, SecretState>,
    index: Option<u32>,
    /// The objects of the disk cache.
    cached_objects: BTreeMap<ObjectRef, Object>,
    /// The passwords of the disk cache, of Secrets that this process has not read yet.
    cached_secrets: BTreeMap<SecretKey, Secret>,
}

impl ClusterState {
    pub(crate) fn new(node_name: &str, schemas: Schemas) -> Self {
        Self {
            node_name: node_name.to_owned(),
            schemas,
            objects: Kind::ALL.iter().map(|kind| (*kind, ObjectStore::default())).collect(),
            node: ObjectStore::default(),
            secrets: BTreeMap::new(),
            index: None,
            cached_objects: BTreeMap::new(),
            cached_secrets: BTreeMap::new(),
        }
    }

    /// Takes objects and passwords from the disk cache, for objects that are invalid now and Secrets that cannot be read now.
    pub(crate) fn restore(&mut self, cached: &Snapshot) {
        self.cached_objects.clone_from(&cached.objects);
        let available = |(key, secret): (&SecretKey, &Result<Secret, String>)| {
            secret.as_ref().ok().map(|secret| (key.clone(), secret.clone()))
        };
        self.cached_secrets = cached.secrets.iter().filter_map(available).collect();
    }

    /// Applies an event; `true` if the snapshot may have changed.
    pub(crate) fn apply(&mut self, event: ClusterEvent) -> bool {
        match event {
            ClusterEvent::Watch(WatchTarget::Objects(kind), event) => self.apply_object(kind, *event),
            ClusterEvent::Watch(WatchTarget::Node, event) => self.node.apply(map_objects(*event, node_metadata)),
            ClusterEvent::Watch(WatchTarget::Secret(name), event) => self.apply_secret(&name, *event),
            ClusterEvent::WatchFailed(WatchTarget::Secret(name), cause) => {
                let Some(state) = self.secrets.get_mut(&name) else { return false };
                // What was read once stays in force.
                let first = state.store.objects().is_none() && state.failure.is_none();
                if first {
                    state.failure = Some(cause);
                }
                first
            }
            ClusterEvent::WatchFailed(..) => false,
            ClusterEvent::IndexClaimed(index) => self.index.replace(index) != Some(index),
        }
    }

    fn apply_object(&mut self, kind: Kind, event: Event<DynamicObject>) -> bool {
        let (schemas, cached_objects) = (&self.schemas, &self.cached_objects);
        let store = self.objects.entry(kind).or_default();
        let event = map_objects(event, |object| {
            let key = object::key(kind, object);
            let mut validated = ApiObject::validate(schemas, kind, object, store.latest(&key));
            if let Some(cached) = cached_objects.get(&key) {
                validated.restore(cached);
            }
            (key, validated)
        });
        store.apply(event)
    }

    fn apply_secret(&mut self, name: &SecretName, event: Event<DynamicObject>) -> bool {
        let Some(state) = self.secrets.get_mut(name) else { return false };
        let differs = state.store.apply(map_objects(event, |object| ((), secret_data(object))));
        let listed = state.store.objects().is_some();
        let recovered = listed && state.failure.take().is_some();
        if listed {
            self.cached_secrets.retain(|key, _| key.namespace != name.namespace || key.name != name.name);
        }
        differs || recovered
    }

    /// UID of the own Node; `None` while it is not known.
    pub(crate) fn node_uid(&self) -> Option<&str> {
        Some(self.node.objects()?.get(&self.node_name)?.uid.as_str())
    }

    /// The value of a label of the own Node.
    pub(crate) fn node_label(&self, key: &str) -> Option<&str> {
        Some(self.node.objects()?.get(&self.node_name)?.labels.get(key)?.as_str())
    }

    /// Whether the list of Nodes is complete and the own one is not in it.
    pub(crate) fn node_is_missing(&self) -> bool {
        self.node.objects().is_some_and(BTreeMap::is_empty)
    }

    /// UIDs for those who write to the API.
    pub(crate) fn identities(&self) -> ApiIdentities {
        let objects = self.objects.values().filter_map(ObjectStore::objects).flatten();
        ApiIdentities {
            node_uid: self.node_uid().map(str::to_owned),
            objects: objects.map(|(key, object)| (key.clone(), object.uid.clone())).collect(),
        }
    }

    /// The Secrets that objects name now, which are those to watch. The state of all others is dropped.
    pub(crate) fn track_named_secrets(&mut self) -> BTreeSet<SecretName> {
        let snapshot = self.objects();
        let keys = snapshot.iter().flat_map(Snapshot::secret_keys);
        let named: BTreeSet<SecretName> =
            keys.map(|key| SecretName { namespace: key.namespace, name: key.name }).collect();
        self.secrets.retain(|name, _| named.contains(name));
        for name in &named {
            self.secrets.entry(name.clone()).or_default();
        }
        named
    }

    /// The objects and rejections; `None` until the lists of all kinds are complete.
    fn objects(&self) -> Option<Snapshot> {
        let mut snapshot = Snapshot::default();
        for store in self.objects.values() {
            for (key, object) in store.objects()? {
                object.add_to(&mut snapshot, key);
            }
        }
        snapshot.rejected.sort();
        Some(snapshot)
    }

    /// The snapshot; `None` while a part of it is not known.
    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
        let node = self.node.objects()?.get(&self.node_name)?;
        let mut snapshot = self.objects()?;
        snapshot.node = NodeIdentity { name: self.node_name.clone(), index: self.index?, labels: node.labels.clone() };
        for key in snapshot.secret_keys().collect::<Vec<_>>() {
            let state = self.secrets.get(&SecretName { namespace: key.namespace.clone(), name: key.name.clone() })?;
            let secret = state.password(&key)?.map_err(|error| error.to_string());
            let cached = self.cached_secrets.get(&key).cloned();
            snapshot.secrets.insert(key, cached.map_or(secret, Ok));
        }
        Some(snapshot)
    }
}

impl SecretState {
    /// A password, or why it is not available; `None` while neither is known.
    fn password(&self, key: &SecretKey) -> Option<Result<Secret, SecretError>> {
        let secret = format!("{}/{}", key.namespace, key.name);
        let Some(objects) = self.store.objects() else {
            let cause = self.failure.clone()?;
            return Some(Err(SecretError::Unreadable { secret, cause }));
        };
        let key = key.key.clone();
        let Some(data) = objects.get(&()) else { return Some(Err(SecretError::Missing { secret, key })) };
        Some(match data.get(&key) {
            Some(Ok(password)) => Ok(password.clone()),
            Some(Err(source)) => Err(SecretError::Password { secret, key, source: source.clone() }),
            None => Err(SecretError::KeyMissing { secret, key }),
        })
    }
}

fn map_objects<K, V>(event: Event<DynamicObject>, read: impl FnOnce(&DynamicObject) -> (K, V)) -> Event<(K, V)> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(read(&object)),
        Event::Apply(object) => Event::Apply(read(&object)),
        Event::Delete(object) => Event::Delete(read(&object)),
    }
}

fn node_metadata(object: &DynamicObject) -> (String, NodeMetadata) {
    let metadata = &object.metadata;
    let node = NodeMetadata {
        uid: metadata.uid.clone().unwrap_or_default(),
        labels: metadata.labels.clone().unwrap_or_default(),
    };
    (metadata.name.clone().unwrap_or_default(), node)
}

fn secret_data(object: &DynamicObject) -> SecretData {
    let data = object.data.get("data").and_then(Value::as_object);
    let password = |(key, value): (&String, &Value)| {
        // The cause is dropped, since it may quote the value.
        let bytes = serde_json::from_value::<ByteString>(value.clone()).map_err(|_| PasswordError::NotBase64);
        (key.clone(), bytes.and_then(|bytes| secret::password(&bytes.0)))
    };
    data.into_iter().flatten().map(password).collect()
}
