//! Which files are in the middle of being written. In: the events of a path, and when they happened. Out: whether its content
//! is complete. It must not read a clock or a file: the caller does. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file that lost content while it was written in place counts as complete after this long without another write.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);

/// An event of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileEvent {
    /// Bytes were written in place; the writer has it open.
    Written,
    /// The writer closed it.
    Closed,
    /// It appeared or disappeared as a whole: renamed, linked, removed.
    Replaced,
}

/// How complete the content of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteState {
    /// The writer has not closed it: the content may be partial.
    BeingWritten,
    /// Closed so recently that the writer may open it again.
    Recent,
    /// Complete.
    Settled,
}

#[derive(Debug, Clone, Copy)]
struct LastWrite {
    at: Instant,
    open: bool,
}

/// The writes of the last moments.
#[derive(Debug, Clone, Default)]
pub(crate) struct WriteTracker {
    writes: BTreeMap<PathBuf, LastWrite>,
    full_read: bool,
}

impl WriteTracker {
    /// Records an event.
    pub(crate) fn record(&mut self, path: &Path, event: FileEvent, now: Instant) {
        match event {
            FileEvent::Written => {
                self.writes.insert(path.to_owned(), LastWrite { at: now, open: true });
            }
            FileEvent::Closed => {
                if let Some(write) = self.writes.get_mut(path) {
                    *write = LastWrite { at: now, open: false };
                }
            }
            FileEvent::Replaced => {
                self.writes.remove(path);
            }
        }
    }

    /// Has the next read open every file, since events may have been lost.
    pub(crate) fn request_full_read(&mut self) {
        self.full_read = true;
    }

    /// Whether every file is to be read, also unchanged ones.
    pub(crate) fn full_read_requested(&self) -> bool {
        self.full_read
    }

    /// Drops what a read has settled: writes that are complete, and the request for a full read.
    pub(crate) fn finish_read(&mut self, now: Instant) {
        self.full_read = false;
        self.writes.retain(|_, write| now < write.at + SETTLE);
    }

    /// How complete the content of `path` is.
    pub(crate) fn state(&self, path: &Path, now: Instant) -> WriteState {
        match self.writes.get(path) {
            Some(write) if now >= write.at + SETTLE => WriteState::Settled,
            Some(LastWrite { open: true, .. }) => WriteState::BeingWritten,
            Some(_) => WriteState::Recent,
            None => WriteState::Settled,
        }
    }

    /// When the next file settles.
    pub(crate) fn next_settled(&self) -> Option<Instant> {
        self.writes.values().map(|write| write.at + SETTLE).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::untouched(&[], 0, WriteState::Settled)]
    #[case::open(&[(0, FileEvent::Written)], 499, WriteState::BeingWritten)]
    #[case::left_open(&[(0, FileEvent::Written)], 500, WriteState::Settled)]
    #[case::closed(&[(0, FileEvent::Written), (10, FileEvent::Closed)], 20, WriteState::Recent)]
    #[case::settled(&[(0, FileEvent::Written), (10, FileEvent::Closed)], 510, WriteState::Settled)]
    #[case::renamed(&[(0, FileEvent::Written), (10, FileEvent::Replaced)], 20, WriteState::Settled)]
    #[case::created_empty(&[(10, FileEvent::Closed)], 20, WriteState::Settled)]
    fn a_file_settles_after_its_last_write(
        #[case] events: &[(u64, FileEvent)],
        #[case] at: u64,
        #[case] wanted: WriteState,
    ) {
        let (start, path) = (Instant::now(), Path::new("/f"));
        let mut writes = WriteTracker::default();
        for (ms, event) in events {
            writes.record(path, *event, start + Duration::from_millis(*ms));
        }
        let now = start + Duration::from_millis(at);
        assert_eq!(writes.state(path, now), wanted);
        writes.finish_read(now);
        assert_eq!(writes.state(path, now), wanted);
    }
}
