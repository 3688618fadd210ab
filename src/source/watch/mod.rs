//! Keeps a directory's snapshot current. In: a directory and the kernel's events. Out: a new snapshot on the channel, if and
//! only if it differs from the last. It must not end because of what users write: only the first read may fail.
//!
//! The watch is set up before the first read, so that no change is missed between the two. A slow tick finds what inotify does
//! not report: the directory replaced as a whole, and changed targets of symlinks.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, INotifyWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::SourceError;
use super::dir::{Directory, DirectoryReader};
use super::file_reads::FileReads;
use super::health::SourceHealth;
use super::write_tracker::{FileEvent, WriteTracker};
use crate::snapshot::{NodeIdentity, Snapshot};

/// Events within this time of each other make one snapshot.
pub(crate) const COALESCE: Duration = Duration::from_millis(10);
/// A burst of events is cut off after this time.
const LONGEST_BURST: Duration = Duration::from_millis(500);
/// How often the identity of the watched directories is compared.
const TICK: Duration = Duration::from_secs(2);
/// The directory is compared with what is known of its files after this many ticks.
const COMPARE_TICKS: u32 = 15;
/// Every file is read again after this many ticks, also unchanged ones: of a write whose event was lost, size and times may be
/// as before.
const READ_TICKS: u32 = 150;
/// The directory fails as a whole: a file that cannot be read is a rejection.
const ALL_FILES: &str = "";

/// Sends the snapshot of `directory`, and every later one that differs from the last, until `shutdown`.
///
/// # Errors
/// If the directory cannot be read at the start. Later it may disappear and return: its last content stays in force.
pub async fn watch(
    directory: Directory,
    node: NodeIdentity,
    sender: watch::Sender<Snapshot>,
    health: Arc<SourceHealth>,
    shutdown: CancellationToken,
) -> Result<(), SourceError> {
    let (event_sender, mut events) = mpsc::unbounded_channel();
    let mut watches = DirectoryWatches::new(&directory, event_sender)?;
    let mut reader = DirectoryReader::new(directory, node)?;
    watches.refresh();
    let mut writes = WriteTracker::default();
    let first;
    (reader, first) = read(reader, &writes, Instant::now()).await?;
    sender.send_replace(first?);
    health.delivered(ALL_FILES);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0;
    loop {
        let settled = writes.next_settled();
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(event) = events.recv() => {
                if !record(&mut writes, &mut watches, &event) {
                    continue;
                }
                record_burst(&mut events, &mut writes, &mut watches).await;
            }
            () = until(settled) => {}
            _ = tick.tick() => {
                ticks += 1;
                let replaced = watches.refresh();
                if replaced || ticks % READ_TICKS == 0 {
                    writes.request_full_read();
                } else if ticks % COMPARE_TICKS != 0 {
                    continue;
                }
            }
        }
        watches.refresh();
        let now = Instant::now();
        let next;
        (reader, next) = read(reader, &writes, now).await?;
        writes.finish_read(now);
        match &next {
            Ok(_) => health.delivered(ALL_FILES),
            Err(_) => health.failed(ALL_FILES),
        }
        publish(&sender, &reader, next);
    }
}

/// Reads on a blocking thread, to which the reader is moved and from which it returns.
async fn read(
    mut reader: DirectoryReader,
    writes: &WriteTracker,
    now: Instant,
) -> Result<(DirectoryReader, Result<Snapshot, SourceError>), SourceError> {
    let dir = reader.directory().dir.clone();
    let writes = writes.clone();
    let task = tokio::task::spawn_blocking(move || {
        let snapshot = reader.read(&writes, now);
        (reader, snapshot)
    });
    task.await.map_err(|source| SourceError::Task { dir, source })
}

fn publish(sender: &watch::Sender<Snapshot>, reader: &DirectoryReader, next: Result<Snapshot, SourceError>) {
    let next = match next {
        Ok(next) => Some(next),
        Err(error) => reader.last_with_error(&error),
    };
    if let Some(next) = next {
        sender.send_if_modified(|last| {
            let differs = *last != next;
            *last = next;
            differs
        });
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Records events until none came for [`COALESCE`], for at most [`LONGEST_BURST`].
async fn record_burst(
    events: &mut mpsc::UnboundedReceiver<Event>,
    writes: &mut WriteTracker,
    watches: &mut DirectoryWatches,
) {
    let end = Instant::now() + LONGEST_BURST;
    let mut quiet = Instant::now() + COALESCE;
    while let Some(left) = quiet.min(end).checked_duration_since(Instant::now()) {
        match timeout(left, events.recv()).await {
            Ok(Some(event)) => {
                if record(writes, watches, &event) {
                    quiet = Instant::now() + COALESCE;
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}

/// Records an event; `false` for one that changes nothing, such as our own reads.
fn record(writes: &mut WriteTracker, watches: &mut DirectoryWatches, event: &Event) -> bool {
    let file_event = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(FileEvent::Closed),
        EventKind::Access(_) => return false,
        EventKind::Modify(ModifyKind::Data(_)) => Some(FileEvent::Written),
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => Some(FileEvent::Replaced),
        // Permissions; new files, which are empty and written later, or complete (links).
        EventKind::Modify(_) | EventKind::Create(_) => None,
        // Lost events.
        EventKind::Any | EventKind::Other => {
            writes.request_full_read();
            None
        }
    };
    if event.kind.is_remove() {
        event.paths.iter().for_each(|path| watches.mark_removed(path));
    }
    if let Some(file_event) = file_event {
        let now = Instant::now();
        event.paths.iter().for_each(|path| writes.record(path, file_event, now));
    }
    true
}

/// The inotify watches, and the directories that they are on.
struct DirectoryWatches {
    watcher: INotifyWatcher,
    watched: [WatchedDirectory; 2],
    reads: FileReads,
}

struct WatchedDirectory {
    path: PathBuf,
    mode: RecursiveMode,
    /// The directory that the watch is on; `None` without a watch.
    identity: Option<DirectoryIdentity>,
}

/// Device, inode and birth time: an inode number alone is reused for the next directory.
type DirectoryIdentity = (u64, u64, Option<SystemTime>);

impl DirectoryWatches {
    fn new(directory: &Directory, events: mpsc::UnboundedSender<Event>) -> Result<Self, SourceError> {
        let handler = move |event: notify::Result<Event>| {
            // An error means lost events; an event without a path requests a full read.
            let event = event.unwrap_or_else(|_| Event::new(EventKind::Any));
            // The receiver is dropped at shutdown only.
            let _ = events.send(event);
        };
        let watcher = INotifyWatcher::new(handler, notify::Config::default())
            .map_err(|source| SourceError::Watch { dir: directory.dir.clone(), source })?;
        let Directory { dir, secrets } = directory.absolute();
        let watched = [(dir, RecursiveMode::NonRecursive), (secrets, RecursiveMode::Recursive)];
        let watched = watched.map(|(path, mode)| WatchedDirectory { path, mode, identity: None });
        Ok(Self { watcher, watched, reads: FileReads::default() })
    }

    /// Puts the watches on the directories that exist now; `true` if one of them was replaced, appeared or disappeared.
    fn refresh(&mut self) -> bool {
        let mut replaced = false;
        for watched in &mut self.watched {
            // Where its file system does not answer nothing is known to have changed.
            let Ok(identity) = self.reads.read_one(&watched.path, identity) else { continue };
            if watched.identity == identity {
                continue;
            }
            replaced = true;
            // It fails where the kernel dropped the watch with the directory.
            let _ = self.watcher.unwatch(&watched.path);
            // If it cannot be watched now, the next tick tries again.
            watched.identity = identity.filter(|_| self.watcher.watch(&watched.path, watched.mode).is_ok());
        }
        replaced
    }

    /// The directory at `path` was removed, and the kernel dropped its watch.
    fn mark_removed(&mut self, path: &Path) {
        for watched in self.watched.iter_mut().filter(|watched| watched.path == path) {
            watched.identity = None;
        }
    }
}

fn identity(path: &Path) -> Option<DirectoryIdentity> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

#[cfg(test)]
mod tests;
