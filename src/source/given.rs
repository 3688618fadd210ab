//! Files that somebody names once, for validation. In: paths of files and directories. Out: their texts, and the [`Snapshot`] of texts.
//! It must not watch anything.

use std::collections::BTreeMap;
use std::fs;
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
                FileRead::Gone | FileRead::Unchanged => return Err(SourceError::MissingFile { path: path.to_owned() }),
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

/// The snapshot of these files. Passwords are those of `passwords`, or in files below `secrets`.
///
/// # Errors
/// If a schema cannot be used.
pub fn snapshot(
    given: &Given,
    secrets: &Path,
    passwords: &BTreeMap<SecretKey, Secret>,
    node: &NodeIdentity,
) -> Result<Snapshot, SourceError> {
    let directory = Directory { dir: PathBuf::new(), secrets: secrets.to_owned() };
    let mut reader = DirectoryReader::new(directory, node.clone())?;
    let mut snapshot = reader.read_texts(&given.files);
    for (key, secret) in &mut snapshot.secrets {
        if let Some(password) = passwords.get(key) {
            *secret = Ok(password.clone());
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
        let error = given.add(&at("none.yaml")).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("{} does not exist, or is neither a file nor a directory", at("none.yaml").display())
        );
    }
}
