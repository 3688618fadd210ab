//! Everything that the watches have told, put together. In: [`News`] of the watches and of the claim. Out: a snapshot once
//! all of it is known, the Secrets to watch, and the UIDs. No calls, no clock.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use kube::core::DynamicObject;
use kube::runtime::watcher::Event;
use serde_json::Value;

use super::object::{self, Judged};
use super::store::Table;
use crate::kind::{Kind, Spec};
use crate::snapshot::{ApiIdentities, NodeIdentity, Object, ObjectRef, SecretKey, Snapshot};
use crate::source::schema::Schemas;
use crate::source::secret;
use crate::types::Secret;

/// A Secret by namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SecretName {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What one watch is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Topic {
    /// All objects of a kind.
    Objects(Kind),
    /// The own Node.
    Node,
    /// One Secret.
    Secret(SecretName),
}

/// What a view takes.
pub(crate) enum News {
    /// A watch tells.
    Event(Topic, Box<Event<DynamicObject>>),
    /// A watch has failed and is tried again.
    Failed(Topic, String),
    /// The node has claimed its index.
    Index(u32),
}

/// The own Node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SeenNode {
    uid: String,
    labels: BTreeMap<String, String>,
}

/// The words of a Secret by key.
type Words = BTreeMap<String, Result<Secret, String>>;

#[derive(Debug, Default)]
struct SecretView {
    table: Table<(), Words>,
    /// Why it could never be read.
    failed: Option<String>,
}

/// What is known of the cluster.
#[derive(Debug)]
pub(crate) struct View {
    node_name: String,
    schemas: Schemas,
    objects: BTreeMap<Kind, Table<ObjectRef, Judged>>,
    node: Table<String, SeenNode>,
    secrets: BTreeMap<SecretName, SecretView>,
    index: Option<u32>,
    /// The last good objects of a former process.
    kept: BTreeMap<ObjectRef, (Option<i64>, i64, Spec)>,
    /// The words of a former process, of Secrets that this one has not read yet.
    kept_words: BTreeMap<SecretKey, Secret>,
}

impl View {
    pub(crate) fn new(node_name: &str, schemas: Schemas) -> Self {
        Self {
            node_name: node_name.to_owned(),
            schemas,
            objects: Kind::ALL.iter().map(|kind| (*kind, Table::default())).collect(),
            node: Table::default(),
            secrets: BTreeMap::new(),
            index: None,
            kept: BTreeMap::new(),
            kept_words: BTreeMap::new(),
        }
    }

    /// Remembers the good objects of a former process, for those that are bad now, and its words, for Secrets that cannot
    /// be read now.
    pub(crate) fn remember(&mut self, kept: &Snapshot) {
        let versions = |found: &Object| (found.created, found.generation, found.spec.clone());
        self.kept = kept.objects.iter().map(|(key, found)| (key.clone(), versions(found))).collect();
        let words = kept.secrets.iter().filter_map(|(key, word)| Some((key.clone(), word.as_ref().ok()?.clone())));
        self.kept_words = words.collect();
    }

    /// Takes news; `true` if the snapshot may be another now.
    pub(crate) fn take(&mut self, news: News) -> bool {
        match news {
            News::Event(Topic::Objects(kind), event) => self.take_object(kind, *event),
            News::Event(Topic::Node, event) => self.node.take(keyed(*event, seen_node)),
            News::Event(Topic::Secret(name), event) => {
                let Some(view) = self.secrets.get_mut(&name) else { return false };
                let differs = view.table.take(keyed(*event, |object| ((), words(&name, object))));
                let first = view.table.objects().is_some() && view.failed.take().is_some();
                if view.table.objects().is_some() {
                    self.kept_words.retain(|key, _| key.namespace != name.namespace || key.name != name.name);
                }
                differs || first
            }
            News::Failed(Topic::Secret(name), why) => {
                let Some(view) = self.secrets.get_mut(&name) else { return false };
                // What was read once stays in force.
                let first = view.table.objects().is_none() && view.failed.is_none();
                if first {
                    view.failed = Some(why);
                }
                first
            }
            News::Failed(..) => false,
            News::Index(index) => self.index.replace(index) != Some(index),
        }
    }

    fn take_object(&mut self, kind: Kind, event: Event<DynamicObject>) -> bool {
        let (schemas, kept) = (&self.schemas, &self.kept);
        let table = self.objects.entry(kind).or_default();
        let event = keyed(event, |object| {
            let key = object::key(kind, object);
            let mut judged = object::judge(schemas, kind, object, table.find(&key));
            if let Some((created, generation, spec)) = kept.get(&key) {
                judged.remember(*created, *generation, spec.clone());
            }
            (key, judged)
        });
        table.take(event)
    }

    /// UID of the own Node; `None` while it is not known.
    pub(crate) fn node_uid(&self) -> Option<&str> {
        Some(self.node.objects()?.get(&self.node_name)?.uid.as_str())
    }

    /// The list of Nodes is there, and the own one is not in it.
    pub(crate) fn node_is_missing(&self) -> bool {
        self.node.objects().is_some_and(BTreeMap::is_empty)
    }

    /// UIDs for those who write to the API.
    pub(crate) fn identities(&self) -> ApiIdentities {
        let objects = self.objects.values().filter_map(Table::objects).flatten();
        ApiIdentities {
            node_uid: self.node_uid().map(str::to_owned),
            objects: objects.map(|(key, judged)| (key.clone(), judged.uid.clone())).collect(),
        }
    }

    /// The Secrets that objects name now: these are the ones to watch, and the only ones that are remembered.
    pub(crate) fn settle_secrets(&mut self) -> BTreeSet<SecretName> {
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

    /// The objects once the lists of all kinds are complete.
    fn objects(&self) -> Option<Snapshot> {
        let mut snapshot = Snapshot::default();
        for table in self.objects.values() {
            for (key, judged) in table.objects()? {
                judged.add_to(&mut snapshot, key);
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
            let word = self.secrets.get(&SecretName { namespace: key.namespace.clone(), name: key.name.clone() })?;
            let word = word.find(&key)?;
            let kept = self.kept_words.get(&key).cloned();
            snapshot.secrets.insert(key, kept.map_or(word, Ok));
        }
        Some(snapshot)
    }
}

impl SecretView {
    /// A word, or why it is not to be had; `None` while that is not known.
    fn find(&self, key: &SecretKey) -> Option<Result<Secret, String>> {
        let at = format!("Secret {}/{}", key.namespace, key.name);
        let Some(objects) = self.table.objects() else {
            let why = self.failed.as_ref()?;
            return Some(Err(format!("{at} cannot be read: {why}")));
        };
        Some(match objects.get(&()) {
            None => Err(format!("{at} does not exist: create it with the key {}", key.key)),
            Some(words) => words
                .get(&key.key)
                .cloned()
                .unwrap_or_else(|| Err(format!("{at} has no key {}: add it with the password as its value", key.key))),
        })
    }
}

fn keyed<K, V>(event: Event<DynamicObject>, read: impl FnOnce(&DynamicObject) -> (K, V)) -> Event<(K, V)> {
    match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(read(&object)),
        Event::Apply(object) => Event::Apply(read(&object)),
        Event::Delete(object) => Event::Delete(read(&object)),
    }
}

fn seen_node(object: &DynamicObject) -> (String, SeenNode) {
    let metadata = &object.metadata;
    let node =
        SeenNode { uid: metadata.uid.clone().unwrap_or_default(), labels: metadata.labels.clone().unwrap_or_default() };
    (metadata.name.clone().unwrap_or_default(), node)
}

fn words(name: &SecretName, object: &DynamicObject) -> Words {
    let data = object.data.get("data").and_then(Value::as_object);
    let word = |(key, value): (&String, &Value)| {
        let at = format!("key {key} of Secret {}/{}", name.namespace, name.name);
        let bytes = serde_json::from_value::<ByteString>(value.clone());
        // The cause is not told: it may quote the value.
        let word = bytes.map_err(|_| format!("{at} is not base64")).and_then(|bytes| secret::word(&at, &bytes.0));
        (key.clone(), word)
    };
    data.into_iter().flatten().map(word).collect()
}
