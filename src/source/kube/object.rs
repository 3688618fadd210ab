//! An object of the API server and the result of its validation. In: the object as JSON, and what was known of it. Out: its
//! spec or every violation: an API server with an older CRD may have stored what the present schema rejects. A change of
//! metadata or status alone must not cost a validation. Pure.

use kube::core::DynamicObject;
use serde_json::{Value, json};

use crate::kind::{GROUP, Kind, ObjectRef, Reason, Rejection, Spec, VERSION};
use crate::printable::printable;
use crate::snapshot::{Object, Snapshot};
use crate::source::schema::{Schemas, Violation};

/// An object of the API server, validated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiObject {
    pub(crate) uid: String,
    generation: i64,
    created: Option<i64>,
    /// It has a deletion timestamp and waits for a finalizer.
    deleting: bool,
    spec: Result<Spec, Vec<Violation>>,
    /// Generation and spec of the last valid version, where the present one is invalid.
    last_valid: Option<(i64, Spec)>,
}

/// The reference of an object.
pub(crate) fn key(kind: Kind, object: &DynamicObject) -> ObjectRef {
    let namespace = object.metadata.namespace.clone().unwrap_or_default();
    ObjectRef { kind, namespace, name: object.metadata.name.clone().unwrap_or_default() }
}

/// The object as its schema expects it. Items of a list come without `kind`.
fn with_type_meta(kind: Kind, object: &DynamicObject) -> Value {
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

impl ApiObject {
    /// Validates an object. `before` is its previous version, if known.
    pub(crate) fn validate(schemas: &Schemas, kind: Kind, object: &DynamicObject, before: Option<&Self>) -> Self {
        let metadata = &object.metadata;
        let uid = metadata.uid.clone().unwrap_or_default();
        let generation = metadata.generation.unwrap_or_default();
        let before = before.filter(|before| before.uid == uid);
        let spec = match before {
            // The generation changes with everything but metadata and status.
            Some(before) if before.generation == generation && generation > 0 => before.spec.clone(),
            _ => schemas.validate(kind, &with_type_meta(kind, object)),
        };
        let last_valid = before.filter(|_| spec.is_err()).and_then(Self::valid_version);
        let created = metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
        Self { uid, generation, created, deleting: metadata.deletion_timestamp.is_some(), spec, last_valid }
    }

    /// Generation and spec of the present version or, if that is invalid, of the last valid one.
    fn valid_version(&self) -> Option<(i64, Spec)> {
        match &self.spec {
            Ok(spec) => Some((self.generation, spec.clone())),
            Err(_) => self.last_valid.clone(),
        }
    }

    /// Restores the last valid version from the disk cache, where the present one is invalid and no valid one is known.
    pub(crate) fn restore(&mut self, cached: &Object) {
        if self.spec.is_err() && self.last_valid.is_none() && self.created == cached.created {
            self.last_valid = Some((cached.generation, cached.spec.clone()));
        }
    }

    /// Adds the object and its rejections to a snapshot, unless it is being deleted.
    pub(crate) fn add_to(&self, snapshot: &mut Snapshot, key: &ObjectRef) {
        if self.deleting {
            return;
        }
        let (key, created) = (key.clone(), self.created);
        if let Err(violations) = &self.spec {
            let in_force = self.last_valid.is_some();
            snapshot.rejected.extend(violations.iter().map(|violation| rejection(&key, violation, in_force)));
        }
        if let Some((generation, spec)) = self.valid_version() {
            snapshot.objects.insert(key, Object { generation, created, location: None, spec });
        }
    }
}

/// `in_force`: the last valid version is.
fn rejection(key: &ObjectRef, violation: &Violation, in_force: bool) -> Rejection {
    let mut rejection = Rejection {
        object: key.clone(),
        reason: Reason::Invalid,
        location: None,
        field: printable(&violation.field).into_owned(),
        message: printable(&violation.message).into_owned(),
    };
    if in_force {
        rejection.add_version_in_force(&format!("last valid version of {key}"));
    }
    rejection
}
