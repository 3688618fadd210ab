//! One read of a directory or file. In: its path, and what is known of the file. Out: the paths in the directory; the text of the
//! file, or that it has not changed. It must not know what the text means.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::source::SourceError;
use crate::untrusted_file::{self, Symlinks};

/// Bytes of a file, at most.
const MAX_FILE: u64 = 16 << 20;

/// What changes with the content of a regular file: device, inode, size, and the times, in seconds and nanoseconds, of the
/// last changes of the content and of the inode.
pub(crate) type FileStamp = (u64, u64, u64, [i64; 4]);

/// The files of a directory that may define objects, in the order of their names.
pub(crate) fn list(dir: &Path) -> Result<BTreeSet<PathBuf>, SourceError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => SourceError::Missing { dir: dir.to_owned() },
        io::ErrorKind::NotADirectory => SourceError::NotADirectory { dir: dir.to_owned() },
        _ => SourceError::List { dir: dir.to_owned(), source },
    };
    let mut paths = BTreeSet::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        // Hidden files are ConfigMap internals and editors' swap files; backups end in another extension (`x.yaml~`).
        let hidden = name.as_encoded_bytes().starts_with(b".") || name.as_encoded_bytes().starts_with(b"#");
        let extension = Path::new(&name).extension().and_then(|extension| extension.to_str());
        if !hidden && matches!(extension, Some("yaml" | "yml" | "json")) {
            paths.insert(entry.path());
        }
    }
    Ok(paths)
}

/// What is read of a file.
#[derive(Debug)]
pub(crate) enum FileRead {
    /// It has the stamp that is known.
    Unchanged,
    /// It does not exist, or is not a regular file.
    Gone,
    /// Its text, and the stamp that it had before it was read: a write in between is detected at the next read.
    Text(Option<FileStamp>, String),
    /// It cannot be read, and why.
    Failed(String),
}

impl FileRead {
    /// Reads the file at `path`, unless it has the stamp `known`.
    pub(crate) fn of(path: &Path, known: Option<&FileStamp>) -> Self {
        let stamp = stamp(path);
        if stamp.is_some() && stamp.as_ref() == known {
            return Self::Unchanged;
        }
        match untrusted_file::read(path, Symlinks::Follow, MAX_FILE) {
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => Self::Text(stamp, text),
                Err(_) => Self::Failed("it is not UTF-8 text".to_owned()),
            },
            Err(error) => match error.kind() {
                io::ErrorKind::InvalidInput => Self::Gone,
                // A dangling symlink is a mistake.
                io::ErrorKind::NotFound if fs::symlink_metadata(path).is_err() => Self::Gone,
                _ => Self::Failed(error.to_string()),
            },
        }
    }
}

fn stamp(path: &Path) -> Option<FileStamp> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    Some((metadata.dev(), metadata.ino(), metadata.size(), times))
}
