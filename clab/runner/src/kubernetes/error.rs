//! Why a control plane or a cluster failed: one enum for the whole folder.
//!
//! In: nothing. Out: [`KubernetesError`]. It must not know how anything is started.

use std::io;
use std::path::PathBuf;

use perouter::source::yaml::SyntaxError;

use crate::node::NodeError;
use crate::wait::TimedOut;
use crate::web::WebError;
use crate::wiring::WiringError;

/// The control plane, a cluster or a program of them failed.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    /// The programs are missing; the reason includes the remedy.
    #[error("{reason}")]
    NoAssets {
        /// The error message of `hack/kubernetes/assets.sh`.
        reason: String,
    },
    /// A file could not be accessed or a program not be started.
    #[error("cannot access {}", path.display())]
    File {
        /// The file or program.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A program on the machine failed.
    #[error("`{command}` exited with {code}: {output}")]
    Failed {
        /// The command line.
        command: String,
        /// The exit code, or that it was a signal.
        code: String,
        /// Its output.
        output: String,
    },
    /// A command in a node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The management network could not be created.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// A web server could not be started.
    #[error(transparent)]
    Web(#[from] WebError),
    /// kubectl did not print JSON.
    #[error("cannot parse the output of kubectl")]
    Json(#[source] serde_json::Error),
    /// A Pod has an unexpected form.
    #[error("cannot parse a Pod")]
    Pod(#[source] serde_json::Error),
    /// A manifest is not YAML.
    #[error("{}:{}: not valid YAML", path.display(), source.line)]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: SyntaxError,
    },
    /// A variable has a source that is not supported.
    #[error("Pod {pod}: container {container}: the source of {variable} is not supported")]
    Variable {
        /// The Pod.
        pod: String,
        /// The container.
        container: String,
        /// The variable.
        variable: String,
    },
    /// A field of a Pod has an effect and is not implemented for containers.
    #[error("Pod {pod}: a field of its manifest is not implemented by the lab")]
    NotImplemented {
        /// The Pod.
        pod: String,
        /// The field.
        #[source]
        source: serde_json::Error,
    },
    /// A Pod with containers has a network of its own.
    #[error("Pod {pod}: containers with a network of their own are not implemented by the lab")]
    OwnNetwork {
        /// The Pod.
        pod: String,
    },
    /// There is no such image.
    #[error("there is no image {image}")]
    NoImage {
        /// Its name in the manifest.
        image: String,
    },
    /// An exported image cannot be read.
    #[error("{}: not the description of an image", path.display())]
    Image {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: serde_json::Error,
    },
    /// A container mounts a volume that the Pod does not have.
    #[error("container {container}: there is no volume {volume}")]
    NoVolume {
        /// The container.
        container: String,
        /// The volume.
        volume: String,
    },
    /// A volume has another type.
    #[error("volume {volume}: its type is not implemented by the lab")]
    VolumeType {
        /// The volume.
        volume: String,
    },
    /// A projected volume contains a value that does not exist.
    #[error("there is no value for {key}")]
    NoValue {
        /// The key or the field.
        key: String,
    },
    /// A quantity has a form that is not supported.
    #[error("`{text}` is not a supported quantity")]
    Quantity {
        /// The quantity.
        text: String,
    },
    /// A Pod is bound to a Node that is not in the lab.
    #[error("there is no node {name}")]
    NoNode {
        /// The name.
        name: String,
    },
    /// No such Pod runs.
    #[error("no Pod of {workload} runs on {node}")]
    NoPod {
        /// Name of the workload that it belongs to.
        workload: String,
        /// The Node.
        node: String,
    },
    /// A process of a Pod exited unexpectedly.
    #[error("Pod {pod}: a process exited with {status}; end of its log: {log}")]
    PodExited {
        /// The Pod.
        pod: String,
        /// Its exit status.
        status: String,
        /// End of its log.
        log: String,
    },
    /// A process of the control plane exited unexpectedly.
    #[error("{program} exited with {status}; end of its log: {log}")]
    Exited {
        /// The program.
        program: &'static str,
        /// Its exit status.
        status: String,
        /// End of its log.
        log: String,
    },
    /// A state was not reached in time.
    #[error("{waited}; last state: {last}")]
    NotReady {
        /// What was waited for.
        waited: TimedOut,
        /// The state at the end.
        last: String,
    },
}

/// Maps an I/O error of this file or program.
pub(super) fn at(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> KubernetesError {
    let path = path.into();
    move |source| KubernetesError::File { path, source }
}
