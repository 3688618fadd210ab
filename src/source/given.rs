//! Files that somebody names once, for validation. In: paths of files and directories. Out: their texts, and the [`Snapshot`] of texts.
//! It must not watch anything.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::SourceError;
use super::dir::{Directory, DirectoryReader, FileRead, list};
use crate::kind::SecretKey;
use crate::snapshot::{NodeIdentity, Snapshot};
use crate::types::Secret;

/// Files with their texts.
#[derive(Debug, Default)]
pub struct Given {
    /// By path; of one that cannot be read, why not.
    pub files: BTreeMap<PathBuf, Result<String, String>>,
    /// Files of directories that are neither YAML nor JSON by their name.
    pub skipped: Vec<PathBuf>,
}

impl Given {
    /// Adds a file, or the files of a directory. The directory of its secrets is no part of it.
    ///
    /// # Errors
    /// If there is nothing of that name.
    pub fn add(&mut self, path: &Path) -> Result<(), SourceError> {
        if !path.is_dir() {
            let text = match FileRead::of(path, None) {
                FileRead::Text(_, text) => Ok(text),
                FileRead::Failed(error) => Err(error),
                FileRead::Gone | FileRead::Unchanged => {
                    let path = path.to_owned();
                    return Err(match what_is(&path) {
                        Some(what) => SourceError::NoFile { path, what },
                        None => SourceError::MissingFile { path },
                    });
                }
            };
            self.files.insert(path.to_owned(), text);
            return Ok(());
        }
        let of_objects = list(path)?;
        for file in &of_objects {
            match FileRead::of(file, None) {
                FileRead::Text(_, text) => drop(self.files.insert(file.clone(), Ok(text))),
                FileRead::Failed(error) => drop(self.files.insert(file.clone(), Err(error))),
                FileRead::Gone | FileRead::Unchanged => {}
            }
        }
        let entries = fs::read_dir(path).map_err(|source| SourceError::List { dir: path.to_owned(), source })?;
        let others = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_dir()));
        let others = others.map(|entry| entry.path()).filter(|path| !of_objects.contains(path));
        self.skipped.extend(others.filter(|path| !is_hidden(path)));
        self.skipped.sort();
        Ok(())
    }
}

/// `ConfigMap` internals and editors' files.
fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."))
}

/// What is at a path that is neither a file nor a directory.
fn what_is(path: &Path) -> Option<&'static str> {
    let kind = fs::metadata(path).ok()?.file_type();
    Some(match () {
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_char_device() => "a character device",
        () if kind.is_block_device() => "a block device",
        () if kind.is_socket() => "a socket",
        () => "no regular file",
    })
}

/// The snapshot of these files. Passwords are those of `passwords`, each with why it cannot be used where that is so, or in files
/// below `secrets`.
///
/// # Errors
/// If a schema cannot be used.
pub fn snapshot(
    given: &Given,
    secrets: &Path,
    passwords: &BTreeMap<SecretKey, Result<Secret, String>>,
    node: &NodeIdentity,
) -> Result<Snapshot, SourceError> {
    let directory = Directory { dir: PathBuf::new(), secrets: secrets.to_owned() };
    let mut reader = DirectoryReader::new(directory, node.clone())?;
    let mut snapshot = reader.read_texts(&given.files);
    for (key, secret) in &mut snapshot.secrets {
        match passwords.get(key) {
            Some(Err(_)) if secret.is_ok() => {}
            Some(password) => secret.clone_from(password),
            None => {}
        }
    }
    Ok(snapshot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_a_directory_and_named_ones_are_read_and_others_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["a.yaml", "b.txt", ".c.yaml", "README.md"] {
            fs::write(at(name), "x").unwrap();
        }
        fs::create_dir(at("secrets")).unwrap();
        let mut given = Given::default();
        given.add(dir.path()).unwrap();
        given.add(&at("b.txt")).unwrap();
        let files: Vec<&PathBuf> = given.files.keys().collect();
        assert_eq!(files, [&at("a.yaml"), &at("b.txt")]);
        assert_eq!(given.skipped, [at("README.md"), at("b.txt")]);
        let error = |given: &mut Given, path: &Path| given.add(path).unwrap_err().to_string();
        let none = at("none.yaml");
        assert_eq!(error(&mut given, &none), format!("{} does not exist: name a file or a directory", none.display()));
        let device = "/dev/null is a character device: name a file, or write to standard input and name `-`";
        assert_eq!(error(&mut given, Path::new("/dev/null")), device);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let fifo = error(&mut given, &at("fifo"));
        assert!(fifo.contains("fifo is a FIFO: name a file, or write to standard input"), "{fifo}");
    }
}
