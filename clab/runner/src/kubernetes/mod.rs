//! A Kubernetes control plane: real etcd, kube-apiserver with RBAC, kube-controller-manager where asked for, kubectl.
//!
//! In: the programs, and a place: this machine's loopback, or a node of a lab. Out: a running API server, kubeconfigs of
//! the administrator and of service accounts; a [`Cluster`] of lab nodes, on which Pods run as plain processes. It must not
//! fake anything of the API; kubelet, scheduler and kube-proxy are played from outside, with kubectl.

mod assets;
mod certificates;
mod cluster;
mod control_plane;
mod kubectl;
mod kubelet;
mod pod;
mod proxy;

pub use assets::Assets;
pub use cluster::Cluster;
pub use control_plane::{ControlPlane, Options, Place};
pub use kubectl::Kubectl;
pub use kubelet::{Kubelet, Member, Programs};
pub use pod::{Container, Pod};

use std::io;
use std::path::PathBuf;

use crate::node::NodeError;
use crate::wait::TimedOut;
use crate::web::WebError;
use crate::wiring::WiringError;

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
    /// The management network could not be made.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// A web server could not be started.
    #[error(transparent)]
    Web(#[from] WebError),
    /// An answer of kubectl is no JSON.
    #[error("cannot read kubectl's answer")]
    Answer(#[source] serde_json::Error),
    /// A Pod is not what a Pod should be.
    #[error("cannot read a Pod")]
    Pod(#[source] serde_json::Error),
    /// A manifest is no YAML.
    #[error("cannot read a manifest")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// A variable comes from a place that is not played.
    #[error("Pod {pod}: container {container}: the value of {variable} is not known here")]
    Variable {
        /// The Pod.
        pod: String,
        /// The container.
        container: String,
        /// The variable.
        variable: String,
    },
    /// A Pod is bound to a Node that is none of ours.
    #[error("there is no node {name}")]
    NoNode {
        /// The name.
        name: String,
    },
    /// No such Pod runs.
    #[error("no Pod of {set} runs on {node}")]
    NoPod {
        /// What it is a copy of.
        set: String,
        /// The Node.
        node: String,
    },
    /// A process of a Pod ended that should run.
    #[error("Pod {pod}: a process ended with {status}; its last words: {words}")]
    PodEnded {
        /// The Pod.
        pod: String,
        /// How it ended.
        status: String,
        /// End of its log.
        words: String,
    },
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
