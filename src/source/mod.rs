//! The sources of objects. In: the files of a directory and those of its secrets, an API server, or both. Out: [`Snapshot`]s
//! that are the same for the same objects whatever the source, with defaults applied and CEL rules checked. An invalid object is
//! a `Rejection` and must not affect any other. This module must not know `plan`, the kernel or FRR.
//!
//! [`Snapshot`]: crate::snapshot::Snapshot

pub mod dir;
pub mod document;
mod file_reads;
pub mod given;
pub mod health;
pub mod kube;
pub mod merge;
mod messages;
pub mod schema;
pub mod secret;
pub mod survey;
mod template;
mod watch;
mod write_tracker;
pub mod yaml;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use dir::{Directory, read};
pub use messages::NO_FIELD;
pub use schema::{Schemas, Violation};
pub use watch::watch;

/// Why a source cannot start or continue.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The directory does not exist.
    #[error("directory {} does not exist: create it or name another one", dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// A named file does not exist.
    #[error("{} does not exist: name a file or a directory", path.display())]
    MissingFile {
        /// The path.
        path: PathBuf,
    },
    /// A named file is a device or the like.
    #[error("{} is {what}: name a file, or write to standard input and name `-`", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// The path is not a directory.
    #[error("{} is not a directory: name the directory of the YAML files", dir.display())]
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
    /// The directory is on a file system that does not answer.
    #[error("directory {} cannot be read: its file system does not answer", dir.display())]
    Hangs {
        /// The directory.
        dir: PathBuf,
    },
    /// inotify is not available.
    #[error("directory {} cannot be watched", dir.display())]
    Watch {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        source: notify::Error,
    },
    /// The schema of a kind cannot be used.
    #[error(transparent)]
    Schema(#[from] schema::SchemaError),
    /// The reading task panicked.
    #[error("the task that reads {} failed", dir.display())]
    Task {
        /// The directory.
        dir: PathBuf,
        /// The cause.
        source: tokio::task::JoinError,
    },
}
