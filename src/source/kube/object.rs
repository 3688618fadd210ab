//! An object of the API, judged. In: the object as JSON. Out: its spec, or all that is wrong with it: an API server with
//! an older CRD stores what the present schema refuses. Pure.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::kind::{GROUP, Kind, ObjectRef, Reason, Rejection, Spec, VERSION};
use crate::snapshot::{Object, Snapshot};
use crate::source::schema::{Schemas, Violation};

/// An object of the API.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) uid: String,
    generation: i64,
    created: Option<i64>,
    /// It is being deleted and waits for somebody's finalizer.
    going: bool,
    spec: Result<Spec, Vec<Violation>>,
    /// The last good version, where the present one is bad.
    good: Option<(i64, Spec)>,
}

/// Which object it is.
pub(crate) fn key(kind: Kind, object: &DynamicObject) -> ObjectRef {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    ObjectRef { kind, namespace, name: object.metadata.name.clone().unwrap_or_default() }
}

/// Judges an object. `before` is what was known of it.
pub(crate) fn judge(schemas: &Schemas, kind: Kind, object: &DynamicObject, before: Option<&Judged>) -> Judged {
    let metadata = &object.metadata;
    let uid = metadata.uid.clone().unwrap_or_default();
    let generation = metadata.generation.unwrap_or_default();
    let before = before.filter(|before| before.uid == uid);
    let spec = match before {
        // The generation changes with everything but metadata and status.
        Some(before) if before.generation == generation && generation > 0 => before.spec.clone(),
        _ => schemas.judge(kind, &plain(kind, object)),
    };
    let good = before.filter(|_| spec.is_err()).and_then(Judged::last_good);
    let created = metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    Judged { uid, generation, created, going: metadata.deletion_timestamp.is_some(), spec, good }
}

/// The object as its schema knows it. Items of a list come without kind.
fn plain(kind: Kind, object: &DynamicObject) -> Value {
    let mut value = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": kind.as_str(),
        "metadata": { "name": object.metadata.name, "namespace": object.metadata.namespace },
    });
    if let (Value::Object(whole), Value::Object(data)) = (&mut value, &object.data) {
        whole.extend(data.iter().filter(|(field, _)| *field != "status").map(|(k, v)| (k.clone(), v.clone())));
    }
    value
}

impl Judged {
    fn last_good(&self) -> Option<(i64, Spec)> {
        match &self.spec {
            Ok(spec) => Some((self.generation, spec.clone())),
            Err(_) => self.good.clone(),
        }
    }

    /// Takes `spec` for the last good version where none is known and the present one is bad.
    pub(crate) fn remember(&mut self, created: Option<i64>, generation: i64, spec: Spec) {
        if self.spec.is_err() && self.good.is_none() && self.created == created {
            self.good = Some((generation, spec));
        }
    }

    /// Adds what the object is to the snapshot: nothing if it is being deleted.
    pub(crate) fn add_to(&self, snapshot: &mut Snapshot, key: &ObjectRef) {
        if self.going {
            return;
        }
        let (key, created) = (key.clone(), self.created);
        if let Err(violations) = &self.spec {
            let held = self.good.is_some();
            snapshot.rejected.extend(violations.iter().map(|violation| rejection(&key, violation, held)));
        }
        if let Some((generation, spec)) = self.last_good() {
            snapshot.objects.insert(key, Object { generation, created, location: None, spec });
        }
    }
}

fn rejection(key: &ObjectRef, violation: &Violation, held: bool) -> Rejection {
    let held = if held { format!("; {key} stays in force as it was") } else { String::new() };
    Rejection {
        object: key.clone(),
        reason: Reason::Invalid,
        location: None,
        field: violation.field.clone(),
        message: format!("{}{held}", violation.message),
    }
}
