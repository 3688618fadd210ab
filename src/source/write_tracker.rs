//! Which files are in the middle of being written. In: what happened to a path, and when. Out: whether to believe what
//! it holds. Pure: the caller has the clock.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A file that lost content in place is believed after this long without a further write.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Happening {
    /// Bytes were written in place; the writer has it open.
    Written,
    /// The writer closed it.
    Closed,
    /// It came or went as a whole: renamed, linked, removed.
    Replaced,
}

/// How far to believe the content of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The writer has not closed it: half of it may be there.
    BeingWritten,
    /// Closed, but so recently that the writer may come back.
    Recent,
    /// All of it.
    Settled,
}

#[derive(Debug, Clone, Copy)]
struct Write {
    last: Instant,
    open: bool,
}

/// The writes of the last moments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Writes {
    known: BTreeMap<PathBuf, Write>,
    doubted: bool,
}

impl Writes {
    /// Takes note of a happening.
    pub(crate) fn note(&mut self, path: &Path, happening: Happening, now: Instant) {
        match happening {
            Happening::Written => {
                self.known.insert(path.to_owned(), Write { last: now, open: true });
            }
            Happening::Closed => {
                if let Some(write) = self.known.get_mut(path) {
                    *write = Write { last: now, open: false };
                }
            }
            Happening::Replaced => {
                self.known.remove(path);
            }
        }
    }

    /// There may be writes that nobody told of.
    pub(crate) fn doubt(&mut self) {
        self.doubted = true;
    }

    /// Whether everything is to be read.
    pub(crate) fn doubted(&self) -> bool {
        self.doubted
    }

    /// Forgets what has settled, after a read.
    pub(crate) fn forget_settled(&mut self, now: Instant) {
        self.doubted = false;
        self.known.retain(|_, write| now < write.last + SETTLE);
    }

    /// How far to believe `path`.
    pub(crate) fn trust(&self, path: &Path, now: Instant) -> Trust {
        match self.known.get(path) {
            Some(write) if now >= write.last + SETTLE => Trust::Settled,
            Some(Write { open: true, .. }) => Trust::BeingWritten,
            Some(_) => Trust::Recent,
            None => Trust::Settled,
        }
    }

    /// When the first of the unsettled files settles.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.known.values().map(|write| write.last + SETTLE).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::untouched(&[], 0, Trust::Settled)]
    #[case::open(&[(0, Happening::Written)], 499, Trust::BeingWritten)]
    #[case::left_open(&[(0, Happening::Written)], 500, Trust::Settled)]
    #[case::closed(&[(0, Happening::Written), (10, Happening::Closed)], 20, Trust::Recent)]
    #[case::settled(&[(0, Happening::Written), (10, Happening::Closed)], 510, Trust::Settled)]
    #[case::renamed(&[(0, Happening::Written), (10, Happening::Replaced)], 20, Trust::Settled)]
    #[case::created_empty(&[(10, Happening::Closed)], 20, Trust::Settled)]
    fn a_file_is_believed(#[case] happenings: &[(u64, Happening)], #[case] at: u64, #[case] wanted: Trust) {
        let (start, path) = (Instant::now(), Path::new("/f"));
        let mut writes = Writes::default();
        for (ms, happening) in happenings {
            writes.note(path, *happening, start + Duration::from_millis(*ms));
        }
        let now = start + Duration::from_millis(at);
        assert_eq!(writes.trust(path, now), wanted);
        writes.forget_settled(now);
        assert_eq!(writes.trust(path, now), wanted);
    }
}
