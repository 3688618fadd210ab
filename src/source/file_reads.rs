//! Reads of files that may never end: a hung mount, a device. In: paths and what to read of each. Out: the values, or that a read
//! takes too long. Such a read is left to its thread, and its path is not read again before it returns. It must not know
//! what files contain.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A read that takes longer hangs. Local files take microseconds.
const LIMIT: Duration = Duration::from_secs(2);
/// Threads that wait for reads that hang, at most.
const MAX_HUNG: usize = 16;

/// Why there is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("reading it takes longer than {} s", LIMIT.as_secs())]
pub(crate) struct ReadHangs;

/// What reads, and the reads that did not return in time.
#[derive(Debug, Default)]
pub(crate) struct FileReads {
    /// Waits for the next reads: some are every two seconds, and to start a thread takes longer than they do.
    reader: Option<Reader>,
    hung: BTreeMap<PathBuf, JoinHandle<()>>,
}

/// A thread that reads, until this is dropped.
#[derive(Debug)]
struct Reader {
    work: mpsc::Sender<Box<dyn FnOnce() + Send>>,
    thread: JoinHandle<()>,
}

impl Reader {
    fn start() -> io::Result<Self> {
        let (work, received) = mpsc::channel::<Box<dyn FnOnce() + Send>>();
        let run = move || received.into_iter().for_each(|work| work());
        Ok(Self { work, thread: thread::Builder::new().name("read".to_owned()).spawn(run)? })
    }
}

impl FileReads {
    /// The value of `read` for each path, in their order. Blocks for the time that the reads take, at most [`LIMIT`] for each
    /// that hangs.
    pub(crate) fn read_all<T: Send + 'static>(
        &mut self,
        paths: impl IntoIterator<Item = PathBuf>,
        read: impl Fn(&Path) -> T + Send + Sync + 'static,
    ) -> Vec<(PathBuf, Result<T, ReadHangs>)> {
        self.read_all_within(LIMIT, paths, read)
    }

    /// The same for one path.
    pub(crate) fn read_one<T: Send + 'static>(
        &mut self,
        path: &Path,
        read: impl Fn(&Path) -> T + Send + Sync + 'static,
    ) -> Result<T, ReadHangs> {
        self.read_all([path.to_owned()], read).pop().map_or(Err(ReadHangs), |(_, value)| value)
    }

    fn read_all_within<T: Send + 'static>(
        &mut self,
        limit: Duration,
        paths: impl IntoIterator<Item = PathBuf>,
        read: impl Fn(&Path) -> T + Send + Sync + 'static,
    ) -> Vec<(PathBuf, Result<T, ReadHangs>)> {
        self.hung.retain(|_, thread| !thread.is_finished());
        let read = Arc::new(read);
        let mut values = Vec::new();
        let mut pending: VecDeque<PathBuf> = paths.into_iter().collect();
        while !pending.is_empty() && self.hung.len() < MAX_HUNG {
            let (hung, readable): (VecDeque<_>, VecDeque<_>) =
                pending.into_iter().partition(|path| self.hung.contains_key(path));
            values.extend(hung.into_iter().map(|path| (path, Err(ReadHangs))));
            pending = readable;
            let received = self.begin(pending.iter().cloned().collect(), Arc::clone(&read));
            // One thread for all, until one of them hangs.
            while let Some(path) = pending.pop_front() {
                let Ok(value) = received.recv_timeout(limit) else {
                    values.push((path.clone(), Err(ReadHangs)));
                    self.hung.extend(self.reader.take().map(|reader| (path, reader.thread)));
                    break;
                };
                values.push((path, Ok(value)));
            }
        }
        values.extend(pending.into_iter().map(|path| (path, Err(ReadHangs))));
        values.sort_by(|(a, _), (b, _)| a.cmp(b));
        values
    }

    /// Begins reads. Without a thread nothing is received.
    fn begin<T: Send + 'static>(
        &mut self,
        paths: Vec<PathBuf>,
        read: Arc<impl Fn(&Path) -> T + Send + Sync + 'static>,
    ) -> mpsc::Receiver<T> {
        let (sender, received) = mpsc::channel();
        let work = move || {
            // Nobody receives any more where a read took too long.
            let _ = paths.iter().try_for_each(|path| sender.send(read(path)));
        };
        // A panic ends the thread.
        let is_running = |reader: &Reader| !reader.thread.is_finished();
        let reader = self.reader.take().filter(is_running).or_else(|| Reader::start().ok());
        // Work that is not taken is dropped, and its sender with it.
        self.reader = reader.filter(|reader| reader.work.send(Box::new(work)).is_ok());
        received
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const SHORT: Duration = Duration::from_millis(50);

    fn paths(names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn a_read_that_hangs_costs_itself_only_and_is_not_begun_again() {
        let (release, begun) = (Arc::new(Barrier::new(2)), Arc::new(AtomicUsize::new(0)));
        let mut reads = FileReads::default();
        let read = {
            let (release, begun) = (Arc::clone(&release), Arc::clone(&begun));
            move |path: &Path| {
                if path.ends_with("hangs") {
                    begun.fetch_add(1, Ordering::Relaxed);
                    release.wait();
                }
                path.as_os_str().len()
            }
        };
        let wanted = [("a", Ok(1)), ("hangs", Err(ReadHangs)), ("zz", Ok(2))];
        for _ in 0..3 {
            let values = reads.read_all_within(SHORT, paths(&["a", "hangs", "zz"]), read.clone());
            assert_eq!(values, wanted.map(|(path, value)| (PathBuf::from(path), value)));
        }
        assert_eq!(begun.load(Ordering::Relaxed), 1);
        release.wait();
        while !reads.hung.values().all(JoinHandle::is_finished) {
            thread::yield_now();
        }
        assert_eq!(reads.read_all(paths(&["hangs"]), |_| 7), [(PathBuf::from("hangs"), Ok(7))]);
    }

    #[test]
    fn the_threads_that_hang_are_limited() {
        let mut reads = FileReads::default();
        let names: Vec<PathBuf> = (0..MAX_HUNG + 5).map(|number| format!("{number:02}").into()).collect();
        let values = reads.read_all_within(Duration::from_millis(1), names, |_| thread::sleep(Duration::from_secs(2)));
        assert_eq!((values.len(), reads.hung.len()), (MAX_HUNG + 5, MAX_HUNG));
        assert!(values.iter().all(|(_, value)| value.is_err()));
    }
}
