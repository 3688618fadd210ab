//! Files that are replaced as a whole. In: a path, a mode and bytes. Out: a file that a reader, and a crash of the process or
//! of the node, finds either old or new and never in between. Knows nothing of contents.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::Builder;
use thiserror::Error;

/// Why a file could not be replaced.
#[derive(Debug, Error)]
#[error("{action} {path}")]
pub struct ReplaceError {
    /// The step that failed.
    action: &'static str,
    /// The file or directory of that step.
    path: PathBuf,
    source: io::Error,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ReplaceError {
    move |source| ReplaceError { action, path: path.to_owned(), source }
}

/// Replaces the file at `path`, and creates its directory (mode 0755) if need be. `mode`: the permissions of the new file,
/// less the umask. When this returns, file and name are on disk: the contents are synced before the rename, the directory
/// after it.
pub fn replace(path: &Path, mode: u32, contents: &[u8]) -> Result<(), ReplaceError> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir(dir)?;
    let mut prefix = path.file_name().unwrap_or_default().to_owned();
    prefix.push(".");
    // A new file each time: the mode applies only when a file is created. It is removed on failure.
    let mut file = Builder::new()
        .prefix(&prefix)
        .suffix(".new")
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(dir)
        .map_err(failed("create a file in", dir))?;
    file.write_all(contents).and_then(|()| file.as_file().sync_all()).map_err(failed("write", file.path()))?;
    file.persist(path).map_err(|error| failed("replace", path)(error.error))?;
    sync(dir)
}

/// Creates a directory, and those above it, durably.
fn create_dir(dir: &Path) -> Result<(), ReplaceError> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dir(parent)?;
    match DirBuilder::new().mode(0o755).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("create", dir)(error)),
        _ => {}
    }
    sync(parent)
}

fn sync(dir: &Path) -> Result<(), ReplaceError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed("sync", dir))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/of/state.json");
        replace(&path, 0o600, b"one").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        replace(&path, 0o600, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path().join("sub/of")).unwrap().count(), 1);
    }

    #[test]
    fn what_cannot_be_replaced_is_named_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        fs::create_dir(&path).unwrap();
        let error = replace(&path, 0o600, b"one").unwrap_err();
        assert_eq!(error.to_string(), format!("replace {}", path.display()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
