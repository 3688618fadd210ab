//! Why the daemons of a router do not run.

use std::io;
use std::path::PathBuf;

use thiserror::Error;
use tokio::task::JoinError;

use super::installation::InstallationError;
use super::launch::LaunchError;
use super::process::ProcessError;
use crate::runtime::Daemon;
use crate::types::VrfMode;

/// Why the daemons do not run as requested.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// FRR is missing or broken.
    #[error(transparent)]
    Installation(#[from] InstallationError),
    /// The mode cannot change under a running zebra.
    #[error(
        "zebra (process {pid}) runs in {running} mode, but {wanted} mode is requested: run `perouter cleanup` first"
    )]
    OtherMode {
        /// The running zebra.
        pid: u32,
        /// Its mode.
        running: VrfMode,
        /// The requested mode.
        wanted: VrfMode,
    },
    /// The router exists in another namespace.
    #[error(
        "zebra (process {pid}) runs in another network namespace than {path}: if {path} was replaced, remove it (`ip netns \
         del`) and start again, else use the --netns of that router, or run `perouter cleanup` with it first"
    )]
    OtherNetns {
        /// The running zebra.
        pid: u32,
        /// The path of the router namespace.
        path: PathBuf,
    },
    /// It cannot be said whether the daemon is one of this router.
    #[error(
        "read the network namespace of {daemon} (process {pid}), to adopt it: give perouter the capability CAP_SYS_PTRACE"
    )]
    UnreadableNetns {
        /// Which.
        daemon: Daemon,
        /// Its process.
        pid: u32,
        /// Why not.
        source: io::Error,
    },
    /// A daemon did not start.
    #[error("start {daemon}")]
    Launch {
        /// Which.
        daemon: Daemon,
        /// Why not.
        source: LaunchError,
    },
    /// The directories or the router namespace.
    #[error("prepare the router")]
    Prepare(#[source] LaunchError),
    /// A daemon reported that it is ready, but does not run or does not reply.
    #[error("{0} started, but does not reply on its vty socket")]
    Silent(Daemon),
    /// It exited at once.
    #[error("{0} started and exited")]
    Exited(Daemon),
    /// A process could not be examined or signalled.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// The directory of FRR's files.
    #[error("remove {path}")]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The tokio runtime is shutting down.
    #[error("start a daemon during shutdown")]
    Shutdown(#[from] JoinError),
}

impl DaemonError {
    /// Whether it is of one daemon, which is started again later, and no reason not to run the others.
    pub(crate) fn is_of_one_daemon(&self) -> bool {
        matches!(self, Self::Launch { .. } | Self::Silent(_) | Self::Exited(_))
    }
}
