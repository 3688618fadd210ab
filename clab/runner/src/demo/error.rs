//! Why the demo failed.
//!
//! In: nothing. Out: [`DemoError`], the failed step, and [`StepError`], its cause. It must not know the steps.

use std::io;
use std::path::PathBuf;

use crate::host_side::HostSideError;
use crate::kubernetes::KubernetesError;
use crate::lab::LabError;
use crate::metallb::ManifestError;
use crate::node::NodeError;
use crate::topology::TopologyError;
use crate::wait::TimedOut;
use crate::workload::SocketError;

/// A step failed; the lab is left as it is.
#[derive(Debug, thiserror::Error)]
#[error("step {number} of {of} failed: {title}")]
pub struct DemoError {
    /// Number of the step.
    pub number: usize,
    /// Number of all steps.
    pub of: usize,
    /// Title of the step.
    pub title: &'static str,
    /// Folder of the logs.
    pub logs: PathBuf,
    /// Arguments of this program that show more about the failure.
    pub inspect: String,
    /// The cause.
    #[source]
    pub source: StepError,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A program does not exist.
    #[error("{} does not exist; run `cargo build --workspace --bins`", path.display())]
    NoProgram {
        /// Its path.
        path: PathBuf,
    },
    /// The topology is invalid.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The manifests are invalid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The lab could not be deployed or destroyed.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A command in a node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The host side could not be started.
    #[error(transparent)]
    HostSide(#[from] HostSideError),
    /// The Kubernetes cluster failed.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// The control plane's folder could not be kept or removed.
    #[error("cannot access {}", path.display())]
    Folder {
        /// The folder or the link to it.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A state was not reached in time.
    #[error("{waited}; last state: {last}")]
    NotReached {
        /// What was waited for.
        waited: TimedOut,
        /// The state at the end.
        last: String,
    },
    /// The router exited.
    #[error("perouter on {node} exited with {status}; end of its log: {log}")]
    RouterExited {
        /// The node.
        node: String,
        /// Its exit status.
        status: String,
        /// End of its log.
        log: String,
    },
    /// The state of a process could not be read.
    #[error("cannot supervise a process")]
    Supervise(#[source] io::Error),
    /// A socket of a Pod could not be opened.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The probe could not be started.
    #[error("cannot send requests from {host}")]
    Probe {
        /// Its host.
        host: &'static str,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A ping should have no reply.
    #[error("{address} should not be reachable from {from}, but {replies} of 3 pings are answered")]
    Reached {
        /// Who pings.
        from: &'static str,
        /// The address.
        address: &'static str,
        /// Number of replies.
        replies: usize,
    },
    /// A request should have timed out.
    #[error("http://{address}/ from {host} should time out, but curl exited with {code}: {output}")]
    NotIsolated {
        /// Host of the client.
        host: &'static str,
        /// The address.
        address: &'static str,
        /// curl's exit code.
        code: String,
        /// curl's output.
        output: String,
    },
}
