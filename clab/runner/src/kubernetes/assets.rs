//! The programs of the control plane.
//!
//! In: the root of the repository. Out: their folder, or the reason why they are missing. It must not build anything:
//! `make kubernetes-assets` does.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::error::{KubernetesError, at};

const FRR_RELOAD: &str = "/usr/lib/frr/frr-reload.py";

/// A folder of programs of one group of `hack/kubernetes/assets.sh`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// etcd, kube-apiserver, kube-controller-manager and kubectl.
    pub fn control_plane(root: &Path) -> Result<Self, KubernetesError> {
        Self::find(root, "control-plane")
    }

    /// `MetalLB`'s controller and speaker, FRR-K8s and its reloader, which runs FRR's reload script.
    pub fn metallb(root: &Path) -> Result<Self, KubernetesError> {
        if !Path::new(FRR_RELOAD).exists() {
            let reason = format!("FRR-K8s needs {FRR_RELOAD}: run `apt-get install frr-pythontools`");
            return Err(KubernetesError::NoAssets { reason });
        }
        Self::find(root, "metallb")
    }

    /// Multus and the manifest that installs it.
    pub fn multus(root: &Path) -> Result<Self, KubernetesError> {
        Self::find(root, "multus")
    }

    /// helm.
    pub fn helm(root: &Path) -> Result<Self, KubernetesError> {
        Self::find(root, "helm")
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The path of a program of the group.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn find(root: &Path, group: &str) -> Result<Self, KubernetesError> {
        let script = root.join("hack/kubernetes/assets.sh");
        let output = Command::new(&script).args(["--find", group]).output().map_err(at(&script))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() {
            return Ok(Self { folder: PathBuf::from(text(&output.stdout)) });
        }
        Err(KubernetesError::NoAssets { reason: text(&output.stderr) })
    }
}
