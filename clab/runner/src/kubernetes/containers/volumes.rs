//! Volumes of a Pod as paths of its node.
//!
//! In: volumes of a manifest, and what the API server has for them. Out: a path for each. It must not write outside of the Pod's
//! folder, except that it creates the directory of a `hostPath`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::manifest::{HostPathType, Projected, ProjectedSource, Volume};
use crate::kubernetes::error::{KubernetesError, at};
use crate::node::Node;

/// What a kubelet reads from the API server for the volumes of one Pod.
pub trait Secrets {
    /// A token of the Pod's account, bound to the Pod, valid for this number of seconds.
    fn token(&self, seconds: u64) -> Result<String, KubernetesError>;
    /// The data of a `ConfigMap` in the Pod's namespace.
    fn config_map(&self, name: &str) -> Result<BTreeMap<String, String>, KubernetesError>;
    /// A field of the Pod by its path.
    fn field(&self, path: &str) -> Option<String>;
}

/// Creates the volumes; `folder` is the Pod's in the node.
pub(super) fn create(
    node: &Node,
    folder: &Path,
    volumes: &[Volume],
    secrets: &dyn Secrets,
) -> Result<BTreeMap<String, PathBuf>, KubernetesError> {
    let mut paths = BTreeMap::new();
    for volume in volumes {
        let path = match (&volume.host_path, &volume.projected) {
            (Some(host), None) => {
                let create = host.kind == HostPathType::DirectoryOrCreate;
                let words = ["install", "-d", "-m", "755"].map(str::as_ref);
                let exists = node.file(&host.path).is_dir();
                if create && !exists {
                    node.check(&[&words[..], &[host.path.as_os_str()]].concat())?;
                }
                host.path.clone()
            }
            (None, Some(projected)) => {
                let path = folder.join("volumes").join(&volume.name);
                project(node, &path, projected, secrets)?;
                path
            }
            _ => return Err(KubernetesError::VolumeType { volume: volume.name.clone() }),
        };
        paths.insert(volume.name.clone(), path);
    }
    Ok(paths)
}

/// A tmpfs, as a token must not be written to a disk.
fn project(node: &Node, path: &Path, projected: &Projected, secrets: &dyn Secrets) -> Result<(), KubernetesError> {
    node.check(&[Path::new("mkdir"), Path::new("-p"), path])?;
    let words = ["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs"].map(str::as_ref);
    node.check(&[&words[..], &[path.as_os_str()]].concat())?;
    let write = |file: &Path, text: &str| {
        let outside = node.file(path.join(file));
        fs::write(&outside, text).map_err(at(&outside))?;
        fs::set_permissions(&outside, fs::Permissions::from_mode(projected.default_mode)).map_err(at(&outside))
    };
    let missing = |key: &str| KubernetesError::NoValue { key: key.to_owned() };
    for source in &projected.sources {
        match source {
            ProjectedSource::ServiceAccountToken { expiration_seconds, path } => {
                write(path, &secrets.token(*expiration_seconds)?)?;
            }
            ProjectedSource::ConfigMap { name, items } => {
                let data = secrets.config_map(name)?;
                for item in items {
                    write(&item.path, data.get(&item.key).ok_or_else(|| missing(&item.key))?)?;
                }
            }
            ProjectedSource::DownwardApi { items } => {
                for item in items {
                    let field = item.field_ref["fieldPath"].as_str().unwrap_or_default();
                    write(&item.path, &secrets.field(field).ok_or_else(|| missing(field))?)?;
                }
            }
        }
    }
    Ok(())
}
