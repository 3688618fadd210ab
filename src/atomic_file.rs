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
    file.write_all(contents).and_then(|()| sync(file.as_file(), file.path())).map_err(failed("write", file.path()))?;
    file.persist(path).map_err(|error| failed("replace", path)(error.error))?;
    sync_dir(dir)
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
    sync_dir(parent)
}

fn sync_dir(dir: &Path) -> Result<(), ReplaceError> {
    File::open(dir).and_then(|open| sync(&open, dir)).map_err(failed("sync", dir))
}

/// Waits until the contents of the file, or the names in the directory, at `path` are on disk.
#[cfg_attr(not(test), expect(unused_variables, reason = "tests record it"))]
fn sync(file: &File, path: &Path) -> io::Result<()> {
    let result = file.sync_all();
    #[cfg(test)]
    tests::record(path, &result);
    result
}

#[cfg(test)]
pub(crate) mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    /// A file or directory that was synced, and what its directory had then: the contents of each file, the new one as
    /// `NAME.new`; of each directory nothing.
    pub(crate) type Synced = (String, BTreeMap<String, String>);

    thread_local! {
        static SYNCED: RefCell<Vec<Synced>> = const { RefCell::new(Vec::new()) };
    }

    pub(super) fn record(path: &Path, result: &io::Result<()>) {
        assert!(result.is_ok(), "{result:?}");
        let dir = if path.is_dir() { path } else { path.parent().unwrap() };
        let name = |path: &Path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let new = name.strip_suffix(".new").and_then(|name| name.rsplit_once('.'));
            new.map_or(name.to_owned(), |(name, _)| format!("{name}.new"))
        };
        let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let text = |path: &Path| if path.is_file() { fs::read_to_string(path).unwrap() } else { String::new() };
        let found = entries.map(|path| (name(&path), text(&path))).collect();
        SYNCED.with_borrow_mut(|synced| synced.push((name(path), found)));
    }

    /// What this thread syncs while `run` runs, in order.
    pub(crate) fn synced(run: impl FnOnce()) -> Vec<Synced> {
        SYNCED.take();
        run();
        SYNCED.take()
    }

    /// That `path` is replaced durably by `run`: its contents are synced under another name before it has them, and then its
    /// directory.
    pub(crate) fn assert_replaced_durably(path: &Path, run: impl FnOnce()) {
        let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
        let (file, dir, before) = (name(path), name(path.parent().unwrap()), fs::read_to_string(path).ok());
        let synced = synced(run);
        let [.., (first, with_new), (second, replaced)] = synced.as_slice() else { panic!("synced: {synced:?}") };
        let new = format!("{file}.new");
        assert_eq!((first, second), (&new, &dir));
        let after = fs::read_to_string(path).unwrap();
        assert_eq!((with_new.get(&new), with_new.get(&file)), (Some(&after), before.as_ref()));
        assert_eq!((replaced.get(&new), replaced.get(&file)), (None, Some(&after)));
    }

    #[test]
    fn contents_are_on_disk_before_they_have_the_name_and_then_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let (root, path) = (dir.path().file_name().unwrap().to_str().unwrap(), dir.path().join("sub/of/state.json"));
        let event = |name: &str, found: &[(&str, &str)]| {
            (name.to_owned(), found.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
        };
        let first = synced(|| replace(&path, 0o600, b"one").unwrap());
        let wanted: [Synced; 4] = [
            event(root, &[("sub", "")]),
            event("sub", &[("of", "")]),
            event("state.json.new", &[("state.json.new", "one")]),
            event("of", &[("state.json", "one")]),
        ];
        assert_eq!(first, wanted);
        let second = synced(|| replace(&path, 0o600, b"two").unwrap());
        let wanted: [Synced; 2] = [
            event("state.json.new", &[("state.json", "one"), ("state.json.new", "two")]),
            event("of", &[("state.json", "two")]),
        ];
        assert_eq!(second, wanted);
        assert_replaced_durably(&path, || replace(&path, 0o600, b"three").unwrap());
    }

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
