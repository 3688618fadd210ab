//! The last snapshot on disk. In: a snapshot. Out: a file for its owner alone, since it holds passwords, that is always
//! whole; and the snapshot again. A file of another version or another node counts as none.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::atomic_file::{self, ReplaceError};
use crate::kind::{L3VNISpec, UnderlaySpec};
use crate::snapshot::{NodeIdentity, Object, ObjectRef, Reason, Rejection, SecretKey, Snapshot};
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
    body: serde_json::Value,
}

#[derive(Serialize, Deserialize)]
struct Body {
    node: String,
    index: u32,
    labels: BTreeMap<String, String>,
    underlays: Vec<KeptObject<UnderlaySpec>>,
    l3vnis: Vec<KeptObject<L3VNISpec>>,
    secrets: Vec<KeptSecret>,
    rejected: Vec<KeptRejection>,
}

#[derive(Serialize, Deserialize)]
struct KeptObject<S> {
    key: ObjectRef,
    generation: i64,
    created: Option<i64>,
    spec: S,
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
    let file = File { version: VERSION, body: serde_json::to_value(Body::from(snapshot))? };
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
    Ok((body.node == node).then(|| body.into()))
}

impl From<&Snapshot> for Body {
    fn from(snapshot: &Snapshot) -> Self {
        Self {
            node: snapshot.node.name.clone(),
            index: snapshot.node.index,
            labels: snapshot.node.labels.clone(),
            underlays: snapshot.underlays.iter().cloned().map(KeptObject::from).collect(),
            l3vnis: snapshot.l3vnis.iter().cloned().map(KeptObject::from).collect(),
            secrets: snapshot.secrets.iter().map(|(key, word)| kept_secret(key, word)).collect(),
            rejected: snapshot.rejected.iter().map(kept_rejection).collect(),
        }
    }
}

impl From<Body> for Snapshot {
    fn from(body: Body) -> Self {
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
        Self {
            node: NodeIdentity { name: body.node, index: body.index, labels: body.labels },
            underlays: body.underlays.into_iter().map(Object::from).collect(),
            l3vnis: body.l3vnis.into_iter().map(Object::from).collect(),
            secrets: body.secrets.into_iter().map(secret).collect(),
            rejected: body.rejected.into_iter().map(rejection).collect(),
        }
    }
}

impl<S: Clone> From<Object<S>> for KeptObject<S> {
    fn from(Object { key, generation, created, spec }: Object<S>) -> Self {
        Self { key, generation, created, spec: Arc::unwrap_or_clone(spec) }
    }
}

impl<S> From<KeptObject<S>> for Object<S> {
    fn from(KeptObject { key, generation, created, spec }: KeptObject<S>) -> Self {
        Self { key, generation, created, spec: Arc::new(spec) }
    }
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
