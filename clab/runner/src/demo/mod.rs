//! The demo: a `MetalLB` service of the red VNI behind an EVPN fabric, shown step by step.
//!
//! In: where the files and programs are. Out: lines on a console, and a lab that is gone or kept. It must not prove
//! anything by itself: each step asks FRR or curl in a node.

mod console;
mod kubernetes;
mod metallb;

pub use console::Console;

use std::io;
use std::path::PathBuf;

use crate::cluster::ClusterError;
use crate::kubernetes::KubernetesError;
use crate::lab::{self, Destroyed, LabError};
use crate::metallb::ManifestError;
use crate::node::NodeError;
use crate::state;
use crate::topology::{LabName, TopologyError};
use crate::wait::TimedOut;

/// Where the demo finds what it needs.
#[derive(Debug, Clone)]
pub struct Demo {
    /// Root of the repository: clab/ and examples/ are below it.
    pub root: PathBuf,
    /// The router's program.
    pub perouter: PathBuf,
    /// This program: the web servers are processes of it.
    pub own_program: PathBuf,
    /// Where perouter has its objects from.
    pub source: Source,
    /// Name of the lab in place of the topology's.
    pub name: Option<LabName>,
    /// Leave the lab up at the end.
    pub keep: bool,
}

/// Where perouter has its objects from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    /// A directory; what a cluster would announce is played
    Directory,
    /// An API server, with all that runs in a cluster
    Kubernetes,
}

/// A step that failed; the lab is left as it is.
#[derive(Debug, thiserror::Error)]
#[error("step {number} of {of} failed: {title}")]
pub struct DemoError {
    /// Which step.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// What the step is about.
    pub title: &'static str,
    /// Folder of the logs.
    pub logs: PathBuf,
    /// Arguments of this program that show more.
    pub look: String,
    /// Why.
    #[source]
    pub source: StepError,
}

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// A program is not there.
    #[error("there is no {}; build it: cargo build", path.display())]
    NoProgram {
        /// Where it should be.
        path: PathBuf,
    },
    /// The topology cannot be run.
    #[error(transparent)]
    Topology(#[from] TopologyError),
    /// The manifests cannot be played.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The lab did not come up.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// A command in a node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The host side did not come up.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The Kubernetes cluster did not come up.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// The control plane's folder cannot be kept or removed.
    #[error("cannot use {}", path.display())]
    Folder {
        /// The folder or the link to it.
        path: PathBuf,
        /// What the kernel says.
        #[source]
        source: io::Error,
    },
    /// A state was not reached.
    #[error("{waited}; at last: {last}")]
    NotReached {
        /// What was waited for.
        waited: TimedOut,
        /// What was there instead.
        last: String,
    },
    /// The router ended.
    #[error("perouter on {node} ended with {status}; its last words: {words}")]
    RouterEnded {
        /// The node.
        node: String,
        /// How it ended.
        status: String,
        /// End of its log.
        words: String,
    },
    /// A process cannot be followed.
    #[error("cannot follow a process")]
    Follow(#[source] io::Error),
    /// A request should have timed out.
    #[error("http://{address}/ from {host} should time out, but curl ended with {code}: {said}")]
    NotIsolated {
        /// Where the request came from.
        host: &'static str,
        /// What it asked.
        address: &'static str,
        /// curl's exit code.
        code: String,
        /// What curl said.
        said: String,
    },
}

impl Demo {
    /// How many steps it has.
    pub fn steps(&self) -> usize {
        metallb::count(self)
    }

    /// This program as the reader can type it: from the working directory where that is possible.
    pub fn own_program_shown(&self) -> String {
        let here = std::env::current_dir().unwrap_or_default();
        let program = self.own_program.strip_prefix(here).unwrap_or(&self.own_program);
        program.display().to_string()
    }

    /// The command that takes the lab away, as the reader can type it.
    pub fn down_shown(&self) -> String {
        let name = self.name.as_ref().map_or_else(String::new, |name| format!(" --name {name}"));
        format!("{} demo down{name}", self.own_program_shown())
    }

    /// Shows the demo. A lab that an earlier one left is taken away first; on an error the lab stays for a look.
    pub fn run(&self, console: &mut Console) -> Result<(), Box<DemoError>> {
        metallb::show(self, console)
    }
}

/// Takes the demo's lab away, and what its control plane left.
pub fn down(name: &LabName) -> Result<Destroyed, StepError> {
    let link = kubernetes::link(&state::folder(name));
    let folder = std::fs::read_link(&link);
    let gone = lab::destroy(name)?;
    match folder {
        Ok(path) => std::fs::remove_dir_all(&path).map_err(|source| StepError::Folder { path, source })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(StepError::Folder { path: link, source }),
    }
    Ok(gone)
}
