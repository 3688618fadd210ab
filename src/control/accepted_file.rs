//! The last accepted versions of objects on disk, so that a mistake in an object takes nothing down when the controller restarts
//! with it. In and out: [`LastAccepted`]. The file is in the run directory: after a reboot there is nothing to keep.

use std::fs;
use std::io;
use std::path::Path;

use thiserror::Error;

use crate::atomic_file::{self, ReplaceError};
use crate::plan::last_accepted::LastAccepted;

/// Why the file could not be written.
#[derive(Debug, Error)]
pub enum AcceptedFileError {
    /// An object has no JSON form.
    #[error("the accepted objects have no JSON form")]
    Json(#[from] serde_json::Error),
    /// The file could not be replaced.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
}

/// Reads the file. Without one, or with one that another version wrote, nothing was accepted.
pub fn read(path: &Path) -> LastAccepted {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return LastAccepted::default(),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the last accepted objects are not known");
            return LastAccepted::default();
        }
    };
    LastAccepted::from_json(&text).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "the last accepted objects are not known");
        LastAccepted::default()
    })
}

/// Replaces the file.
///
/// # Errors
/// Where it cannot be replaced.
pub fn write(path: &Path, accepted: &LastAccepted) -> Result<(), AcceptedFileError> {
    Ok(atomic_file::replace(path, 0o600, &accepted.to_json()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atomic_file::tests::assert_replaced_durably;
    use crate::plan::last_accepted::plan_with_last_accepted;
    use crate::plan::tests::{facts, l3vni, snapshot};

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("accepted.json");
        assert_eq!(read(&path), LastAccepted::default());
        let mut accepted = LastAccepted::default();
        plan_with_last_accepted(&snapshot(vec![l3vni("red", 100, "192.169.10.0/24")]), &facts(), &mut accepted);
        assert_ne!(accepted, LastAccepted::default());
        assert_replaced_durably(&path, || write(&path, &accepted).unwrap());
        assert_eq!(read(&path), accepted);
        fs::write(&path, "{").unwrap();
        assert_eq!(read(&path), LastAccepted::default());
    }
}
