//! The objects of a directory. In: its YAML and JSON files, those of the secrets, and what is known of writes in progress. Out:
//! a [`Snapshot`]. An object that becomes invalid stays in force as it was: an API server would have rejected the change. It
//! must not write or watch files: watching is in `watch`.

mod file_content;
mod file_read;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use self::file_content::{FileContent, conflict, is_blank, shown, unreadable};
use super::SourceError;
use super::document::{self, Notation, ReadLimits};
use super::file_reads::FileReads;
use super::schema::Schemas;
use super::secret;
use super::write_tracker::{WriteState, WriteTracker};
use super::yaml;
use crate::kind::{SecretKey, Spec};
use crate::snapshot::{Location, NodeIdentity, Object, ObjectRef, Snapshot};

pub(crate) use self::file_read::{FileRead, list};

/// A directory of objects and the one of its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// The directory of the YAML files.
    pub dir: PathBuf,
    /// The directory of the secrets: one directory for each Secret, and in it one file for each key.
    pub secrets: PathBuf,
}

impl Directory {
    /// `dir` with its secrets in `secrets` below it.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self { secrets: dir.join("secrets"), dir }
    }

    /// The same directories as absolute paths, which is how the kernel's events name them.
    pub(crate) fn absolute(&self) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { dir: absolute(&self.dir), secrets: absolute(&self.secrets) }
    }
}

/// Reads a directory once.
pub fn read(dir: &Path, secrets: &Path, node: &NodeIdentity) -> Result<Snapshot, SourceError> {
    let directory = Directory { dir: dir.to_owned(), secrets: secrets.to_owned() };
    DirectoryReader::new(directory, node.clone())?.read(&WriteTracker::default(), Instant::now())
}

/// Reads a directory repeatedly, and remembers the last valid version of each object.
#[derive(Debug)]
pub(crate) struct DirectoryReader {
    directory: Directory,
    absolute: Directory,
    node: NodeIdentity,
    schemas: Schemas,
    reads: FileReads,
    files: BTreeMap<PathBuf, Arc<FileContent>>,
    generations: BTreeMap<ObjectRef, (Spec, i64)>,
    last: Option<Snapshot>,
}

impl DirectoryReader {
    pub(crate) fn new(directory: Directory, node: NodeIdentity) -> Result<Self, SourceError> {
        Ok(Self {
            absolute: directory.absolute(),
            directory,
            node,
            schemas: Schemas::new()?,
            reads: FileReads::default(),
            files: BTreeMap::new(),
            generations: BTreeMap::new(),
            last: None,
        })
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Reads the files that changed, or all of them where `writes` requests it. A file that is being written contributes what
    /// it did before.
    pub(crate) fn read(&mut self, writes: &WriteTracker, now: Instant) -> Result<Snapshot, SourceError> {
        let dir = self.directory.dir.clone();
        let paths = self.reads.read_one(&dir, list).map_err(|_| SourceError::Hangs { dir })??;
        let mut files = BTreeMap::new();
        let (mut to_read, mut known) = (BTreeMap::new(), BTreeMap::new());
        for path in paths {
            let before = self.files.get(&path);
            match writes.state(&self.absolute.dir.join(path.file_name().unwrap_or_default()), now) {
                WriteState::BeingWritten => files.extend(before.cloned().map(|file| (path, file))),
                state => {
                    let stamp = before.and_then(|before| before.stamp);
                    let may_be_unchanged = state == WriteState::Settled && !writes.full_read_requested();
                    known.extend(stamp.filter(|_| may_be_unchanged).map(|stamp| (path.clone(), stamp)));
                    to_read.insert(path, state);
                }
            }
        }
        let read = move |path: &Path| FileRead::of(path, known.get(path));
        for (path, read) in self.reads.read_all(to_read.keys().cloned(), read) {
            let before = self.files.get(&path);
            let state = to_read.get(&path).copied().unwrap_or(WriteState::Settled);
            let read = read.unwrap_or_else(|error| FileRead::Failed(error.to_string()));
            files.extend(self.file_content(&path, before, state, read).map(|file| (path, file)));
        }
        self.files = files;
        let mut snapshot = self.assemble();
        self.read_secrets(&mut snapshot, writes, now);
        self.last = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// The snapshot of texts in the place of files, each with why it cannot be read where that is so.
    pub(crate) fn read_texts(&mut self, files: &BTreeMap<PathBuf, Result<String, String>>) -> Snapshot {
        for (path, text) in files {
            let read = match text {
                Ok(text) => FileRead::Text(None, text.clone()),
                Err(error) => FileRead::Failed(error.clone()),
            };
            let content = self.file_content(path, None, WriteState::Settled, read);
            self.files.extend(content.map(|content| (path.clone(), content)));
        }
        let mut snapshot = self.assemble();
        self.read_secrets(&mut snapshot, &WriteTracker::default(), Instant::now());
        snapshot
    }

    /// The last snapshot with a rejection that says why the directory cannot be read.
    pub(crate) fn last_with_error(&self, error: &SourceError) -> Option<Snapshot> {
        let mut snapshot = self.last.clone()?;
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        let message = format!("its last content stays in force, as {error}{cause}");
        snapshot.rejected.insert(0, unreadable(None, message));
        Some(snapshot)
    }

    /// What a file contributes now; `None` if it is gone, or new and perhaps incomplete.
    fn file_content(
        &self,
        path: &Path,
        before: Option<&Arc<FileContent>>,
        state: WriteState,
        read: FileRead,
    ) -> Option<Arc<FileContent>> {
        let shown = shown(path);
        let (stamp, text) = match read {
            FileRead::Unchanged => return before.cloned(),
            FileRead::Gone => return None,
            FileRead::Text(stamp, text) => (stamp.filter(|_| state == WriteState::Settled), text),
            FileRead::Failed(error) => {
                let at = Location { file: shown, line: 1 };
                let message = format!("the file cannot be read: {error}");
                let has_objects = before.is_some_and(|before| !before.objects.is_empty());
                let message =
                    if has_objects { format!("its last content stays in force, as {message}") } else { message };
                let before = before.map(|before| (**before).clone()).unwrap_or_default();
                return Some(Arc::new(FileContent {
                    rejected: vec![unreadable(Some(at), message)],
                    stamp: None,
                    ..before
                }));
            }
        };
        if let Some(before) = before.filter(|before| !before.objects.is_empty())
            && state == WriteState::Settled
            && is_blank(&text)
        {
            return Some(Arc::new(before.emptied(&shown, stamp)));
        }
        let notation = Notation::of(path, &text);
        let mut file = FileContent { stamp, ..FileContent::default() };
        let mut left = ReadLimits::of_file(text.len());
        for (offset, part) in yaml::split_documents(&text) {
            if left.are_used_up() {
                file.add(&document::not_read(), part, &shown, offset);
                break;
            }
            let parsed = file.parsed.get(part).or_else(|| before?.parsed.get(part)).cloned();
            let (documents, used) = parsed.filter(|(_, used)| left.use_again(*used)).unwrap_or_else(|| {
                let before = left;
                (document::read(part, notation, &self.schemas, &mut left).into(), left.used_of(before))
            });
            for document in &*documents {
                file.add(document, part, &shown, offset);
            }
            // What was rejected for want of the rest may be valid next time.
            if !left.are_exceeded() {
                file.parsed.insert(part.to_owned(), (documents, used));
            }
        }
        file.limit_rejections(&shown);
        match before {
            Some(before) if state == WriteState::Recent && file.may_lack_objects_of(before) => {
                return Some(Arc::clone(before));
            }
            None if state == WriteState::Recent && !file.unidentified.is_empty() => return None,
            Some(before) => file.retain_invalid(before),
            None => {}
        }
        Some(Arc::new(file))
    }

    /// Combines the files. The first file to name an object defines it, and one that was emptied only what no other does.
    fn assemble(&mut self) -> Snapshot {
        let mut snapshot = Snapshot { node: self.node.clone(), ..Snapshot::default() };
        let mut definitions: BTreeMap<&ObjectRef, (&Path, u64)> = BTreeMap::new();
        let mut generations = BTreeMap::new();
        let (emptied, written): (Vec<_>, Vec<_>) = self.files.iter().partition(|(_, file)| file.is_emptied);
        for (path, file) in written.into_iter().chain(emptied) {
            snapshot.rejected.extend(file.rejected.iter().cloned());
            for (key, found) in &file.objects {
                let location = Location { file: shown(path), line: found.line };
                match definitions.entry(key) {
                    Entry::Occupied(_) if file.is_emptied => {}
                    Entry::Occupied(first) => {
                        let (file, line) = first.get();
                        snapshot.rejected.push(conflict(key, location, &format!("{}:{line}", shown(file))));
                    }
                    Entry::Vacant(vacant) => {
                        vacant.insert((path, found.line));
                        let generation = match self.generations.get(key) {
                            Some((spec, generation)) => generation + i64::from(*spec != found.spec),
                            None => 1,
                        };
                        generations.insert(key.clone(), (found.spec.clone(), generation));
                        let (spec, location) = (found.spec.clone(), Some(location));
                        let object = Object { generation, created: None, location, spec };
                        snapshot.objects.insert(key.clone(), object);
                    }
                }
            }
        }
        self.generations = generations;
        snapshot.rejected.sort_by(|a, b| (&a.location, a).cmp(&(&b.location, b)));
        snapshot
    }

    fn read_secrets(&mut self, snapshot: &mut Snapshot, writes: &WriteTracker, now: Instant) {
        let keys: Vec<SecretKey> = snapshot.secret_keys().collect();
        let path = |key: &SecretKey| secret::path(&self.directory.secrets, key);
        let state = |key: &SecretKey| writes.state(&secret::path(&self.absolute.secrets, key), now);
        let being_written = |key: &SecretKey| state(key) == WriteState::BeingWritten;
        let before = |key: &SecretKey| self.last.as_ref().and_then(|last| last.secrets.get(key)).cloned();
        // Objects of several namespaces may name one file.
        let to_read: BTreeSet<PathBuf> =
            keys.iter().filter(|key| !being_written(key) || before(key).is_none()).map(path).collect();
        let read = |path: &Path| secret::read(path).map_err(|error| error.to_string());
        let read: BTreeMap<PathBuf, _> = self.reads.read_all(to_read, read).into_iter().collect();
        for key in keys {
            let path = secret::path(&self.directory.secrets, &key);
            let before = self.last.as_ref().and_then(|last| last.secrets.get(&key)).cloned();
            let found = match read.get(&path) {
                Some(Ok(found)) => found.clone(),
                Some(Err(error)) => Err(format!("{} cannot be read: {error}", path.display())),
                None => before.clone().unwrap_or_else(|| Err(format!("{} is being written", path.display()))),
            };
            let recent = writes.state(&secret::path(&self.absolute.secrets, &key), now) == WriteState::Recent;
            let secret = match before {
                Some(Ok(before)) if recent => found.or(Ok(before)),
                _ => found,
            };
            snapshot.secrets.insert(key, secret);
        }
    }
}

#[cfg(test)]
mod tests;
