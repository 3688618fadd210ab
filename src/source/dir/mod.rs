//! The objects of a directory. In: its YAML and JSON files, those of the secrets, and what is known of writes in
//! progress. Out: a [`Snapshot`]. What a file loses by a mistake stays in force: an API server would have refused it.
//! Reads only; the watching is in `watch`.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use super::SourceError;
use super::document::{self, Document};
use super::schema::Schemas;
use super::secret;
use super::write_tracker::{Trust, Writes};
use super::yaml;
use crate::kind::Spec;
use crate::snapshot::{Kind, Location, NodeIdentity, Object, ObjectRef, Reason, Rejection, Snapshot};

/// A directory of objects and the one of its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directory {
    /// Where the YAML files are.
    pub dir: PathBuf,
    /// Where the secrets are, one directory for each Secret and one file for each of its keys.
    pub secrets: PathBuf,
}

impl Directory {
    /// `dir` with its secrets in `secrets` below it.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self { secrets: dir.join("secrets"), dir }
    }

    /// The same places as absolute paths, which is how the kernel's events name them.
    pub(crate) fn absolute(&self) -> Self {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        Self { dir: absolute(&self.dir), secrets: absolute(&self.secrets) }
    }
}

/// Reads a directory once.
pub fn read(dir: &Path, secrets: &Path, node: &NodeIdentity) -> Result<Snapshot, SourceError> {
    let directory = Directory { dir: dir.to_owned(), secrets: secrets.to_owned() };
    Reader::new(directory, node.clone())?.read(&Writes::default(), Instant::now())
}

/// Reads a directory again and again, and remembers what was good.
#[derive(Debug)]
pub(crate) struct Reader {
    directory: Directory,
    absolute: Directory,
    node: NodeIdentity,
    schemas: Schemas,
    files: BTreeMap<PathBuf, Arc<File>>,
    generations: BTreeMap<ObjectRef, (Spec, i64)>,
    last: Option<Snapshot>,
}

/// What a file stands for: what it says, and what it said before where it now has a mistake.
#[derive(Debug, Clone, Default)]
struct File {
    objects: BTreeMap<ObjectRef, Found>,
    /// Those of `objects` that the file no longer says.
    kept: BTreeSet<ObjectRef>,
    /// Objects that the file names with a mistake.
    wrong: BTreeSet<ObjectRef>,
    /// Parts that do not tell which object they are.
    unknown: BTreeSet<String>,
    rejected: Vec<Rejection>,
    /// The documents of each part of its text, so that only what changed is judged again.
    judged: BTreeMap<String, Arc<[Document]>>,
    /// The file on disk before it was read; `None` where what it said was not all believed.
    stamp: Option<Stamp>,
}

/// What changes with the content of a regular file: device, inode, size, and the times, in seconds and nanoseconds, of the
/// last changes of the content and of the inode.
type Stamp = (u64, u64, u64, [i64; 4]);

#[derive(Debug, Clone)]
struct Found {
    spec: Spec,
    line: u64,
}

impl Reader {
    pub(crate) fn new(directory: Directory, node: NodeIdentity) -> Result<Self, SourceError> {
        Ok(Self {
            absolute: directory.absolute(),
            directory,
            node,
            schemas: Schemas::new()?,
            files: BTreeMap::new(),
            generations: BTreeMap::new(),
            last: None,
        })
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Reads what changed, or everything where `writes` may not know all. A file that is being written counts as what it
    /// was.
    pub(crate) fn read(&mut self, writes: &Writes, now: Instant) -> Result<Snapshot, SourceError> {
        let names = list(&self.directory.dir)?;
        let mut files = BTreeMap::new();
        for path in names {
            let before = self.files.get(&path);
            let trust = writes.trust(&self.absolute.dir.join(path.file_name().unwrap_or_default()), now);
            let same = |before: &Arc<File>| before.stamp.is_some() && before.stamp == stamp(&path);
            let file = match (trust, before) {
                (Trust::BeingWritten, before) => before.cloned(),
                (Trust::Settled, Some(before)) if !writes.doubted() && same(before) => Some(Arc::clone(before)),
                (Trust::Recent | Trust::Settled, _) => self.file(&path, before, trust),
            };
            files.extend(file.map(|file| (path, file)));
        }
        self.files = files;
        let mut snapshot = self.assemble();
        self.read_secrets(&mut snapshot, writes, now);
        self.last = Some(snapshot.clone());
        Ok(snapshot)
    }

    /// The last snapshot with the news that the directory is not to be had.
    pub(crate) fn unreadable(&self, error: &SourceError) -> Option<Snapshot> {
        let mut snapshot = self.last.clone()?;
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
        let message = format!("{error}{cause}; what it held stays in force");
        snapshot.rejected.insert(0, nameless(None, message));
        Some(snapshot)
    }

    /// What a file stands for now; `None` if it is gone, or new and not yet whole.
    fn file(&self, path: &Path, before: Option<&Arc<File>>, trust: Trust) -> Option<Arc<File>> {
        let shown = path.display().to_string();
        // Before the content: what is written in between is found the next time.
        let stamp = stamp(path).filter(|_| trust == Trust::Settled);
        let text = match read_text(path) {
            Ok(text) => text?,
            Err(error) => {
                let at = Location { file: shown, line: 1 };
                let message = format!("the file cannot be read: {error}; what it held before stays in force");
                let before = before.map(|before| (**before).clone()).unwrap_or_default();
                return Some(Arc::new(File { rejected: vec![nameless(Some(at), message)], stamp: None, ..before }));
            }
        };
        let mut file = File { stamp, ..File::default() };
        for (offset, part) in yaml::cut(&text) {
            let known = file.judged.get(part).or_else(|| before?.judged.get(part)).cloned();
            let documents = known.unwrap_or_else(|| document::read(part, &self.schemas).into());
            for document in &*documents {
                file.take(document, part, &shown, offset);
            }
            file.judged.insert(part.to_owned(), documents);
        }
        match before {
            Some(before) if trust == Trust::Recent && file.lost(before) => return Some(Arc::clone(before)),
            None if trust == Trust::Recent && !file.unknown.is_empty() => return None,
            Some(before) => file.keep(before),
            None => {}
        }
        Some(Arc::new(file))
    }

    /// Puts the files together: the first to name an object has it.
    fn assemble(&mut self) -> Snapshot {
        let mut snapshot = Snapshot { node: self.node.clone(), ..Snapshot::default() };
        let mut owners: BTreeMap<&ObjectRef, (&Path, u64)> = BTreeMap::new();
        let mut generations = BTreeMap::new();
        for (path, file) in &self.files {
            snapshot.rejected.extend(file.rejected.iter().cloned());
            for (key, found) in &file.objects {
                match owners.entry(key) {
                    Entry::Occupied(first) => {
                        let (file, line) = first.get();
                        let other = format!("{}:{line}", file.display());
                        let at = Location { file: path.display().to_string(), line: found.line };
                        snapshot.rejected.push(conflict(key, at, &other));
                    }
                    Entry::Vacant(vacant) => {
                        vacant.insert((path, found.line));
                        let generation = match self.generations.get(key) {
                            Some((spec, generation)) => generation + i64::from(*spec != found.spec),
                            None => 1,
                        };
                        generations.insert(key.clone(), (found.spec.clone(), generation));
                        let location = Location { file: path.display().to_string(), line: found.line };
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

    fn read_secrets(&self, snapshot: &mut Snapshot, writes: &Writes, now: Instant) {
        for key in snapshot.secret_keys().collect::<Vec<_>>() {
            let path = secret::path(&self.directory.secrets, &key);
            let before = self.last.as_ref().and_then(|last| last.secrets.get(&key)).cloned();
            let trust = writes.trust(&path, now);
            let secret = match (trust, before) {
                (Trust::BeingWritten, Some(before)) => before,
                (Trust::Recent, Some(Ok(before))) => secret::read(&path).or(Ok(before)),
                _ => secret::read(&path),
            };
            snapshot.secrets.insert(key, secret);
        }
    }
}

impl File {
    fn take(&mut self, document: &Document, part: &str, file: &str, offset: u64) {
        let at = |line: u64| Location { file: file.to_owned(), line: offset + line };
        let faults = match &document.spec {
            Ok(spec) => match self.objects.entry(document.object.clone()) {
                Entry::Occupied(first) => {
                    let other = format!("{file}:{}", first.get().line);
                    return self.rejected.push(conflict(&document.object, at(document.line), &other));
                }
                Entry::Vacant(vacant) => {
                    vacant.insert(Found { spec: spec.clone(), line: offset + document.line });
                    return;
                }
            },
            Err(faults) => faults,
        };
        if document.known {
            self.wrong.insert(document.object.clone());
        } else {
            // With or without its marker it is the same document.
            self.unknown.insert(part.strip_prefix("---").unwrap_or(part).trim().to_owned());
        }
        self.rejected.extend(faults.iter().map(|fault| Rejection {
            object: document.object.clone(),
            reason: fault.reason,
            location: Some(at(fault.line)),
            field: fault.field.clone(),
            message: fault.message.clone(),
        }));
    }

    /// Whether an object of `before` is gone, or may be gone with a part that does not tell what it is.
    fn lost(&self, before: &File) -> bool {
        !self.unknown.is_subset(&before.unknown)
            || before.objects.keys().any(|key| !self.objects.contains_key(key) && !self.wrong.contains(key))
    }

    /// Keeps what `before` had of the objects that are now wrong. A part that is new and does not tell what it is may be
    /// any of the lost ones, so that all of them are kept; while it stays as it is, they are.
    fn keep(&mut self, before: &File) {
        let new_unknown = !self.unknown.is_subset(&before.unknown);
        for (key, found) in &before.objects {
            let may_be_unknown = new_unknown || !self.unknown.is_empty() && before.kept.contains(key);
            if (may_be_unknown || self.wrong.contains(key)) && !self.objects.contains_key(key) {
                self.objects.insert(key.clone(), found.clone());
                self.kept.insert(key.clone());
            }
        }
        for key in &self.kept {
            let told = |rejection: &&mut Rejection| {
                let wrong = self.wrong.contains(&rejection.object);
                if self.wrong.contains(key) {
                    rejection.object == *key
                } else {
                    !wrong && rejection.reason != Reason::Conflict
                }
            };
            if let Some(rejection) = self.rejected.iter_mut().find(told) {
                rejection.message = format!("{}; {key} stays in force as it was", rejection.message);
            }
        }
    }
}

fn nameless(location: Option<Location>, message: String) -> Rejection {
    let object = ObjectRef { kind: Kind::Document, namespace: "?".to_owned(), name: "?".to_owned() };
    Rejection { object, reason: Reason::Unreadable, location, field: String::new(), message }
}

fn conflict(key: &ObjectRef, at: Location, other: &str) -> Rejection {
    Rejection {
        object: key.clone(),
        reason: Reason::Conflict,
        location: Some(at),
        field: "metadata.name".to_owned(),
        message: format!(
            "{} is already defined at {other}, which is the one in force: rename or remove one of the two",
            key.name
        ),
    }
}

/// The files of a directory that hold objects, in the order of their names.
fn list(dir: &Path) -> Result<BTreeSet<PathBuf>, SourceError> {
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

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_file)?;
    let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()];
    Some((metadata.dev(), metadata.ino(), metadata.size(), times))
}

/// The text of a regular file; `None` if it is gone or something else.
fn read_text(path: &Path) -> Result<Option<String>, io::Error> {
    let gone = |error: io::Error| {
        let dangling = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink());
        match error.kind() {
            io::ErrorKind::NotFound if !dangling => Ok(None),
            _ => Err(error),
        }
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => fs::read_to_string(path).map(Some).or_else(gone),
        Ok(_) => Ok(None),
        Err(error) => gone(error),
    }
}

#[cfg(test)]
mod tests;
