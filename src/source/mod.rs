//! Where objects come from. In: the files of a directory and those of its secrets, an API server, or both. Out:
//! [`Snapshot`]s that any source of the same objects would give, defaults and CEL included. A bad document is a `Rejection` and hurts nothing
//! else. This module knows neither `plan` nor kernel nor FRR.
//!
//! [`Snapshot`]: crate::snapshot::Snapshot

pub mod dir;
mod document;
pub mod kube;
pub mod merge;
mod messages;
pub mod schema;
mod secret;
mod watch;
mod write_tracker;
pub mod yaml;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use dir::{Directory, read};
pub use schema::{Schemas, Violation};
pub use watch::watch;

/// Why a source cannot start or go on.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The directory is not there.
    #[error("directory {} does not exist: create it or name another one", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// The path is not a directory.
    #[error("{} is not a directory: name the directory that holds the YAML files", dir.display())]
    NotADirectory {
        /// The path.
        dir: PathBuf,
    },
    /// The directory cannot be listed.
    #[error("directory {} cannot be read", dir.display())]
    List {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The kernel does not let us watch.
    #[error("directory {} cannot be watched", dir.display())]
    Watch {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        source: notify::Error,
    },
    /// The schema of a kind is unusable.
    #[error(transparent)]
    Schema(#[from] schema::SchemaError),
    /// The reading task ended early.
    #[error("the task that reads {} failed", dir.display())]
    Task {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        source: tokio::task::JoinError,
    },
}
