//! A Kubernetes control plane: real etcd, kube-apiserver with RBAC, kube-controller-manager where asked for, kubectl.
//!
//! In: the programs, and a place: this machine's loopback, or a node of a lab. Out: a running API server, kubeconfigs of
//! the administrator and of service accounts. It must not fake anything of the API; kubelet, scheduler and kube-proxy are
//! not there at all.

mod assets;
mod certificates;
mod control_plane;
mod kubectl;

pub use assets::Assets;
pub use control_plane::{ControlPlane, Options, Place};
pub use kubectl::Kubectl;

use std::io;
use std::path::PathBuf;

use crate::node::NodeError;
use crate::wait::TimedOut;

/// The control plane could not be started or asked.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// The programs are not there; the reason says what to do.
    #[error("{reason}")]
    NoAssets {
        /// What `hack/kubernetes/assets.sh` says.
        reason: String,
    },
    /// A file cannot be written or a program not be started.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or program.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// A program of the machine failed.
    #[error("`{command}` ended with {code}: {said}")]
    Failed {
        /// The command line.
        command: String,
        /// Exit code, or the signal.
        code: String,
        /// What it said.
        said: String,
    },
    /// A command in a node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A process ended that should run.
    #[error("{program} ended with {status}; its last words: {words}")]
    Ended {
        /// The program.
        program: &'static str,
        /// How it ended.
        status: String,
        /// End of its log.
        words: String,
    },
    /// The API server did not get ready.
    #[error("{waited}; at last: {last}")]
    NotReady {
        /// What was waited for.
        waited: TimedOut,
        /// What was there instead.
        last: String,
    },
}

fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> KubernetesError {
    let path = path.into();
    move |source| KubernetesError::File { path, source }
}
