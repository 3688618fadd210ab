//! What a file contributes. In: its documents, and what it contributed before. Out: objects, and what is wrong with the file. It must
//! not read anything.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::file_read::FileStamp;
use crate::kind::Spec;
use crate::printable::printable;
use crate::snapshot::{Kind, Location, ObjectRef, Reason, Rejection};
use crate::source::document::{Document, DocumentError, ReadLimits};

/// Rejections of a file that are reported, at most: a small file can have 80,000.
pub(super) const MAX_REJECTIONS: usize = 500;

/// What a file contributes: its objects, and the last valid version of those that are invalid now.
#[derive(Debug, Clone, Default)]
pub(super) struct FileContent {
    pub(super) objects: BTreeMap<ObjectRef, FileObject>,
    /// Those of `objects` that are retained from an earlier content of the file.
    pub(super) retained: BTreeSet<ObjectRef>,
    /// Objects that the file names with an invalid spec.
    pub(super) invalid: BTreeSet<ObjectRef>,
    /// The text of documents that do not say which object they are.
    pub(super) unidentified: BTreeSet<String>,
    pub(super) rejected: Vec<Rejection>,
    /// The file is empty, and `objects` are those that it had.
    pub(super) is_emptied: bool,
    /// The parsed documents by their text, so that only changed ones are parsed again, and what each of them took.
    pub(super) parsed: BTreeMap<String, (Arc<[Document]>, ReadLimits)>,
    /// The file before it was read; `None` where it has to be read again even if it does not change.
    pub(super) stamp: Option<FileStamp>,
}

#[derive(Debug, Clone)]
pub(super) struct FileObject {
    pub(super) spec: Spec,
    pub(super) line: u64,
}

impl FileContent {
    /// Adds a document, whose text is `part` and begins after line `offset` of `file`.
    pub(super) fn add(&mut self, document: &Document, part: &str, file: &str, offset: u64) {
        let at = |line: u64| Location { file: file.to_owned(), line: offset + line };
        match &document.spec {
            Ok(spec) => match self.objects.entry(document.object.clone()) {
                Entry::Occupied(first) if self.rejected.len() <= MAX_REJECTIONS => {
                    let other = format!("{file}:{}", first.get().line);
                    self.rejected.push(conflict(&document.object, at(document.line), &other));
                }
                Entry::Occupied(_) => {}
                Entry::Vacant(vacant) => {
                    vacant.insert(FileObject { spec: spec.clone(), line: offset + document.line });
                }
            },
            Err(errors) => {
                if document.identified {
                    self.invalid.insert(document.object.clone());
                } else {
                    // With or without its marker it is the same document.
                    self.unidentified.insert(part.strip_prefix("---").unwrap_or(part).trim().to_owned());
                }
                let left = MAX_REJECTIONS.saturating_sub(self.rejected.len()).saturating_add(1);
                let errors = errors.iter().take(left);
                self.rejected.extend(errors.map(|error| rejection(&document.object, error, file, offset)));
            }
        }
    }

    /// Puts a note in the place of those after the first [`MAX_REJECTIONS`], which are not known.
    pub(super) fn limit_rejections(&mut self, file: &str) {
        if self.rejected.len() > MAX_REJECTIONS {
            self.rejected.truncate(MAX_REJECTIONS);
            let message =
                format!("the file has more than {MAX_REJECTIONS} mistakes: fix these first, the others are not listed");
            self.rejected.push(unreadable(Some(Location { file: file.to_owned(), line: 1 }), message));
        }
    }

    /// Whether an object of `before` is missing, or may be one of the unidentified documents.
    pub(super) fn may_lack_objects_of(&self, before: &Self) -> bool {
        !self.unidentified.is_subset(&before.unidentified)
            || before.objects.keys().any(|key| !self.objects.contains_key(key) && !self.invalid.contains(key))
    }

    /// Retains the versions in `before` of objects that are invalid now. A new unidentified document may be any of the missing
    /// objects, so all of them are retained, for as long as there is one.
    pub(super) fn retain_invalid(&mut self, before: &Self) {
        let new_unidentified = !self.unidentified.is_subset(&before.unidentified);
        for (key, found) in &before.objects {
            let may_be_unidentified =
                new_unidentified || !self.unidentified.is_empty() && before.retained.contains(key);
            if (may_be_unidentified || self.invalid.contains(key)) && !self.objects.contains_key(key) {
                self.objects.insert(key.clone(), found.clone());
                self.retained.insert(key.clone());
            }
        }
        for key in &self.retained {
            let concerns = |rejection: &&mut Rejection| {
                if self.invalid.contains(key) {
                    rejection.object == *key
                } else {
                    !self.invalid.contains(&rejection.object) && rejection.reason != Reason::Conflict
                }
            };
            if let Some(rejection) = self.rejected.iter_mut().find(concerns) {
                rejection.add_version_in_force(&format!("last valid version of {key}"));
            }
        }
    }

    /// The same objects, of a file that is empty: a command whose redirection failed leaves such a file, and whoever wants none of the
    /// objects deletes it.
    pub(super) fn emptied(&self, file: &str, stamp: Option<FileStamp>) -> Self {
        let at = Location { file: file.to_owned(), line: 1 };
        let message = "the file is empty, and the objects that it had stay in force until perouter restarts: write them again, or \
                       delete the file to remove them";
        Self { rejected: vec![unreadable(Some(at), message.to_owned())], is_emptied: true, stamp, ..self.clone() }
    }
}

/// Whether a text has nothing but comments, blanks and document markers.
pub(super) fn is_blank(text: &str) -> bool {
    let is_blank = |line: &str| line.is_empty() || line.starts_with('#') || line == "---" || line == "...";
    text.trim_start_matches('\u{feff}').lines().all(|line| is_blank(line.trim()))
}

/// `offset`: the lines before the document of the error.
fn rejection(object: &ObjectRef, error: &DocumentError, file: &str, offset: u64) -> Rejection {
    let message = match error.first {
        Some(first) => format!("{}, here and in line {}: delete one of the two", error.message, offset + first),
        None => error.message.clone(),
    };
    let location = Location { file: file.to_owned(), line: offset + error.line };
    Rejection {
        object: object.clone(),
        reason: error.reason,
        location: Some(location),
        field: printable(&error.field).into_owned(),
        message: printable(&message).into_owned(),
    }
}

/// The name of a file may have any characters.
pub(super) fn shown(path: &Path) -> String {
    printable(&path.display().to_string()).into_owned()
}

/// The rejection of a file or directory as a whole.
pub(super) fn unreadable(location: Option<Location>, message: String) -> Rejection {
    let object = ObjectRef { kind: Kind::Document, namespace: "?".to_owned(), name: "?".to_owned() };
    Rejection { object, reason: Reason::Unreadable, location, field: String::new(), message }
}

pub(super) fn conflict(key: &ObjectRef, at: Location, other: &str) -> Rejection {
    Rejection {
        object: key.clone(),
        reason: Reason::Conflict,
        location: Some(at),
        field: "metadata.name".to_owned(),
        message: format!(
            "{} is already defined at {other}, which takes precedence: rename or remove one of the two",
            key.name
        ),
    }
}
