//! An image of a Docker engine as a folder.
//!
//! In: the name of an image, or a folder that `hack/image-root.sh` wrote. Out: [`ContainerImage`]. It must not build an image or
//! write to the folder.

use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kubernetes::error::{KubernetesError, at};

/// An exported image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerImage {
    folder: PathBuf,
    inspected: Inspected,
}

/// The fields of `docker image inspect`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    id: String,
    config: ImageConfig,
}

/// What an image says about the processes that run in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ImageConfig {
    #[serde(deserialize_with = "or_default", default)]
    pub(super) entrypoint: Vec<String>,
    #[serde(deserialize_with = "or_default", default)]
    pub(super) cmd: Vec<String>,
    #[serde(deserialize_with = "or_default", default)]
    pub(super) env: Vec<String>,
    #[serde(default)]
    pub(super) working_dir: PathBuf,
    #[serde(deserialize_with = "or_default", default)]
    labels: std::collections::BTreeMap<String, String>,
}

fn or_default<'de, T: Default + Deserialize<'de>, D: serde::Deserializer<'de>>(field: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(field)?.unwrap_or_default())
}

impl ContainerImage {
    /// Exports an image of the machine's Docker engine, once; an error with the remedy where there is no engine, no runc or no
    /// such image.
    pub fn export(root: &Path, name: &str) -> Result<Self, KubernetesError> {
        let script = root.join("hack/image-root.sh");
        let output = Command::new(&script).arg(name).output().map_err(at(&script))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !output.status.success() {
            return Err(KubernetesError::NoAssets { reason: text(&output.stderr) });
        }
        let folder = PathBuf::from(text(&output.stdout));
        let path = folder.join("image.json");
        let json = fs::read_to_string(&path).map_err(at(&path))?;
        let inspected = serde_json::from_str(&json).map_err(|source| KubernetesError::Image { path, source })?;
        Ok(Self { folder, inspected })
    }

    /// Its root file system.
    pub fn root(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// Its id and the commit of its label, shortened.
    pub fn describe(&self) -> String {
        let short = |text: &str| text.trim_start_matches("sha256:").chars().take(12).collect::<String>();
        let label = self.inspected.config.labels.get("org.opencontainers.image.revision");
        let revision = label.map_or_else(String::new, |revision| format!(", commit {}", short(revision)));
        format!("image {}{revision}", short(&self.inspected.id))
    }

    /// What it says about its processes.
    pub(super) fn config(&self) -> &ImageConfig {
        &self.inspected.config
    }
}
