//! Writes the status where the CLI finds it. In: a status. Out: a file that is never half written.

use std::io;
use std::path::Path;

use thiserror::Error;

use super::model::NodeStatus;
use crate::atomic_file::{self, ReplaceError};
use crate::printable::printable_lines;

/// Why the status could not be written.
#[derive(Debug, Error)]
pub enum StatusFileError {
    /// The status has no JSON form.
    #[error("serialize the status")]
    Json(#[from] serde_json::Error),
    /// The file.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

/// Who may read the status: root and its group. It names peers, VRFs and prefixes of every tenant.
const MODE: u32 = 0o640;

/// Replaces the file at `path`.
pub fn write(path: &Path, status: &NodeStatus) -> Result<(), StatusFileError> {
    let text = serde_json::to_string_pretty(status)?;
    Ok(atomic_file::replace(path, MODE, printable_lines(&text).as_bytes())?)
}

/// Reads what [`write`] wrote; `None` if no reconcile pass has completed yet.
///
/// # Errors
/// The I/O error of reading, or of a file that is not a status.
pub fn read(path: &Path) -> io::Result<Option<NodeStatus>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
