//! The last snapshot on disk. In: a snapshot. Out: a file that is always complete, and the snapshot again. The file must not
//! be readable for others, since it contains passwords. A file of another format version or another node counts as none.

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

/// Why the cache cannot be written or read.
#[derive(Debug, Error)]
pub enum DiskCacheError {
    /// The file cannot be read.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
    /// The file cannot be written.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// The content is not a snapshot.
    #[error("the content is not a snapshot")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct CacheFile {
    version: u32,
    #[serde(flatten)]
    body: Value,
}

#[derive(Serialize, Deserialize)]
struct CachedSnapshot {
    node: String,
    index: u32,
    labels: BTreeMap<String, String>,
    secrets: Vec<CachedSecret>,
    rejected: Vec<CachedRejection>,
    /// The objects of each kind, by its plural name.
    #[serde(flatten)]
    objects: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct CachedObject {
    key: ObjectRef,
    generation: i64,
    created: Option<i64>,
    spec: Value,
}

#[derive(Serialize, Deserialize)]
struct CachedSecret {
    namespace: String,
    name: String,
    key: String,
    /// The password, or why it is not available.
    word: Result<String, String>,
}

#[derive(Serialize, Deserialize)]
struct CachedRejection {
    object: ObjectRef,
    reason: Reason,
    field: String,
    message: String,
}

/// Replaces the file.
pub(crate) fn write(path: &Path, snapshot: &Snapshot) -> Result<(), DiskCacheError> {
    Ok(atomic_file::replace(path, 0o600, &content(snapshot)?)?)
}

/// The content of the file of a snapshot.
///
/// # Errors
/// If a value has no JSON form, which is not the case for any spec.
pub fn content(snapshot: &Snapshot) -> Result<Vec<u8>, DiskCacheError> {
    let file = CacheFile { version: VERSION, body: serde_json::to_value(body_of(snapshot)?)? };
    Ok(serde_json::to_vec(&file)?)
}

/// The snapshot of `node`; `None` if there is none.
pub(crate) fn read(path: &Path, node: &str) -> Result<Option<Snapshot>, DiskCacheError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    Ok(parse(&bytes)?.filter(|snapshot| snapshot.node.name == node))
}

/// The snapshot in the content of a file; `None` for another format version.
///
/// # Errors
/// If it is not a snapshot.
pub fn parse(content: &[u8]) -> Result<Option<Snapshot>, DiskCacheError> {
    let file: CacheFile = serde_json::from_slice(content)?;
    if file.version != VERSION {
        return Ok(None);
    }
    snapshot_of(serde_json::from_value(file.body)?).map(Some)
}

fn body_of(snapshot: &Snapshot) -> Result<CachedSnapshot, serde_json::Error> {
    let mut objects = BTreeMap::new();
    for kind in Kind::ALL {
        let of_kind = snapshot.objects.iter().filter(|(key, _)| key.kind == *kind);
        let cached: Result<Vec<CachedObject>, _> = of_kind.map(|(key, object)| cached_object(key, object)).collect();
        objects.insert(kind.plural(), serde_json::to_value(cached?)?);
    }
    Ok(CachedSnapshot {
        node: snapshot.node.name.clone(),
        index: snapshot.node.index,
        labels: snapshot.node.labels.clone(),
        secrets: snapshot.secrets.iter().map(|(key, secret)| cached_secret(key, secret)).collect(),
        rejected: snapshot.rejected.iter().map(cached_rejection).collect(),
        objects,
    })
}

fn snapshot_of(mut body: CachedSnapshot) -> Result<Snapshot, DiskCacheError> {
    let mut objects = BTreeMap::new();
    for kind in Kind::ALL {
        // Written by a release without this kind.
        let Some(cached) = body.objects.remove(&kind.plural()) else { continue };
        for CachedObject { key, generation, created, spec } in serde_json::from_value::<Vec<CachedObject>>(cached)? {
            let spec = Spec::from_json(*kind, spec)?;
            objects.insert(key, Object { generation, created, location: None, spec });
        }
    }
    let secret = |cached: CachedSecret| {
        let key = SecretKey { namespace: cached.namespace, name: cached.name, key: cached.key };
        (key, cached.word.map(Secret::new))
    };
    let rejection = |cached: CachedRejection| Rejection {
        object: cached.object,
        reason: cached.reason,
        location: None,
        field: cached.field,
        message: cached.message,
    };
    Ok(Snapshot {
        node: NodeIdentity { name: body.node, index: body.index, labels: body.labels },
        objects,
        secrets: body.secrets.into_iter().map(secret).collect(),
        rejected: body.rejected.into_iter().map(rejection).collect(),
    })
}

fn cached_object(key: &ObjectRef, object: &Object) -> Result<CachedObject, serde_json::Error> {
    let spec = object.spec.to_json()?;
    Ok(CachedObject { key: key.clone(), generation: object.generation, created: object.created, spec })
}

fn cached_secret(key: &SecretKey, secret: &Result<Secret, String>) -> CachedSecret {
    let word = secret.as_ref().map(|secret| secret.expose().to_owned()).map_err(Clone::clone);
    CachedSecret { namespace: key.namespace.clone(), name: key.name.clone(), key: key.key.clone(), word }
}

fn cached_rejection(rejection: &Rejection) -> CachedRejection {
    CachedRejection {
        object: rejection.object.clone(),
        reason: rejection.reason,
        field: rejection.field.clone(),
        message: rejection.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_file::tests::assert_replaced_durably;
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
    fn a_snapshot_reads_back_the_same_and_the_file_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        assert_eq!(read(&path, "n1").unwrap(), None);
        let snapshot = snapshot();
        write(&path, &Snapshot { node: snapshot.node.clone(), ..Snapshot::default() }).unwrap();
        write(&path, &snapshot).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path, "n1").unwrap(), Some(snapshot));
        assert_eq!(read(&path, "n2").unwrap(), None);
    }

    /// A node that loses its power after a change starts with that change, or with what was before, also without API server.
    #[test]
    fn the_snapshot_is_on_disk_when_it_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("perouter/snapshot.json");
        let snapshot = snapshot();
        assert_replaced_durably(&path, || write(&path, &snapshot).unwrap());
        let other = Snapshot { node: snapshot.node.clone(), ..Snapshot::default() };
        assert_replaced_durably(&path, || write(&path, &other).unwrap());
    }

    #[test]
    fn another_version_counts_as_none_and_a_broken_file_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snapshot.json");
        fs::write(&path, r#"{"version": 2, "nodes": []}"#).unwrap();
        assert_eq!(read(&path, "n1").unwrap(), None);
        fs::write(&path, "{").unwrap();
        assert!(read(&path, "n1").is_err());
    }
}
