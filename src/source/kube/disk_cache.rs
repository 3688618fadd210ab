//! The last snapshot on disk. In: a snapshot. Out: a file for its owner alone, since it holds passwords, that is always
//! whole; and the snapshot again. A file of another version or another node counts as none.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::atomic_file::{self, ReplaceError};
use crate::kind::{Kind, ObjectRef, Reason, Rejection, SecretKey, Spec};
use crate::snapshot::{NodeIdentity, Object, Snapshot};
use crate::types::Secret;

const VERSION: u32 = 1;

/// Why the last snapshot cannot be kept or read.
#[derive(Debug, Error)]
pub(crate) enum KeptError {
    /// The file cannot be read.
    #[error("the file")]
    Io(#[from] io::Error),
    /// The file cannot be written.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// The file is no snapshot.
    #[error("the content")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct File {
    version: u32,
    #[serde(flatten)]
    body: Value,
}

#[derive(Serialize, Deserialize)]
struct Body {
    node: String,
    index: u32,
    labels: BTreeMap<String, String>,
    secrets: Vec<KeptSecret>,
    rejected: Vec<KeptRejection>,
    /// The objects of each kind, by its plural name.
    #[serde(flatten)]
    objects: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct KeptObject {
    key: ObjectRef,
    generation: i64,
    created: Option<i64>,
    spec: Value,
}

#[derive(Serialize, Deserialize)]
struct KeptSecret {
    namespace: String,
    name: String,
    key: String,
    word: Result<String, String>,
}

#[derive(Serialize, Deserialize)]
struct KeptRejection {
    object: ObjectRef,
    reason: Reason,
    field: String,
    message: String,
}

/// Replaces the file.
pub(crate) fn write(path: &Path, snapshot: &Snapshot) -> Result<(), KeptError> {
    let file = File { version: VERSION, body: serde_json::to_value(body_of(snapshot)?)? };
    Ok(atomic_file::replace(path, 0o600, &serde_json::to_vec(&file)?)?)
}

/// The snapshot of `node`; `None` if there is none.
pub(crate) fn read(path: &Path, node: &str) -> Result<Option<Snapshot>, KeptError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let file: File = serde_json::from_slice(&bytes)?;
    if file.version != VERSION {
        return Ok(None);
    }
    let body: Body = serde_json::from_value(file.body)?;
    if body.node == node { snapshot_of(body).map(Some) } else { Ok(None) }
}

fn body_of(snapshot: &Snapshot) -> Result<Body, serde_json::Error> {
    let mut objects = BTreeMap::new();
    for kind in Kind::ALL {
        let of_kind = snapshot.objects.iter().filter(|(key, _)| key.kind == *kind);
        let kept: Result<Vec<KeptObject>, _> = of_kind.map(|(key, object)| kept_object(key, object)).collect();
        objects.insert(kind.plural(), serde_json::to_value(kept?)?);
    }
    Ok(Body {
        node: snapshot.node.name.clone(),
        index: snapshot.node.index,
        labels: snapshot.node.labels.clone(),
        secrets: snapshot.secrets.iter().map(|(key, word)| kept_secret(key, word)).collect(),
        rejected: snapshot.rejected.iter().map(kept_rejection).collect(),
        objects,
    })
}

fn snapshot_of(mut body: Body) -> Result<Snapshot, KeptError> {
    let mut objects = BTreeMap::new();
    for kind in Kind::ALL {
        // A version without this kind has none of it.
        let Some(kept) = body.objects.remove(&kind.plural()) else { continue };
        for KeptObject { key, generation, created, spec } in serde_json::from_value::<Vec<KeptObject>>(kept)? {
            let spec = Spec::from_json(*kind, spec)?;
            objects.insert(key, Object { generation, created, location: None, spec });
        }
    }
    let secret = |kept: KeptSecret| {
        let key = SecretKey { namespace: kept.namespace, name: kept.name, key: kept.key };
        (key, kept.word.map(Secret::new))
    };
    let rejection = |kept: KeptRejection| Rejection {
        object: kept.object,
        reason: kept.reason,
        location: None,
        field: kept.field,
        message: kept.message,
    };
    Ok(Snapshot {
        node: NodeIdentity { name: body.node, index: body.index, labels: body.labels },
        objects,
        secrets: body.secrets.into_iter().map(secret).collect(),
        rejected: body.rejected.into_iter().map(rejection).collect(),
    })
}

fn kept_object(key: &ObjectRef, object: &Object) -> Result<KeptObject, serde_json::Error> {
    let spec = object.spec.to_json()?;
    Ok(KeptObject { key: key.clone(), generation: object.generation, created: object.created, spec })
}

fn kept_secret(key: &SecretKey, word: &Result<Secret, String>) -> KeptSecret {
    let word = word.as_ref().map(|secret| secret.expose().to_owned()).map_err(Clone::clone);
    KeptSecret { namespace: key.namespace.clone(), name: key.name.clone(), key: key.key.clone(), word }
}

fn kept_rejection(rejection: &Rejection) -> KeptRejection {
    KeptRejection {
        object: rejection.object.clone(),
        reason: rejection.reason,
        field: rejection.field.clone(),
        message: rejection.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn snapshot() -> Snapshot {
        let node = NodeIdentity { name: "n1".into(), index: 3, labels: [("a".into(), "b".into())].into() };
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/session-options");
        let mut snapshot = crate::source::read(&dir, &dir.join("secrets"), &node).unwrap();
        snapshot.objects.values_mut().for_each(|object| object.location = None);
        let key = snapshot.secrets.keys().next().unwrap().clone();
        snapshot.secrets.insert(key, Ok(Secret::new("hunter2".into())));
        snapshot
    }

    #[test]
    fn what_is_kept_comes_back_and_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        assert_eq!(read(&path, "n1").unwrap(), None);
        let snapshot = snapshot();
        write(&path, &snapshot).unwrap();
        write(&path, &snapshot).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path, "n1").unwrap(), Some(snapshot));
        assert_eq!(read(&path, "n2").unwrap(), None);
    }

    #[test]
    fn another_version_counts_as_none_and_a_broken_file_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        fs::write(&path, r#"{"version": 2, "nodes": []}"#).unwrap();
        assert_eq!(read(&path, "n1").unwrap(), None);
        fs::write(&path, "{").unwrap();
        assert!(read(&path, "n1").is_err());
    }
}
