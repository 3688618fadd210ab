//! Writes the status where the CLI finds it. In: a status. Out: a file that is never half written.

use std::io;
use std::path::Path;

use super::model::NodeStatus;

/// Replaces `path` in one step.
///
/// # Errors
/// The I/O error of writing or renaming.
pub fn write(path: &Path, status: &NodeStatus) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(status)?;
    let aside = path.with_extension("json.new");
    std::fs::write(&aside, text)?;
    std::fs::rename(&aside, path)
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
