//! Keeps a directory's snapshot current. In: a directory and the changes that the kernel tells. Out: a new snapshot on
//! the channel, if and only if it differs. Never ends because of what users write; the first list alone may fail.
//!
//! The watch stands before the list, so that no change falls between. A slow tick finds what inotify cannot tell: the
//! directory replaced as a whole, and the targets of links.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{Event, EventKind, INotifyWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::SourceError;
use super::dir::{Directory, Reader};
use super::write_tracker::{Happening, Writes};
use crate::snapshot::{NodeIdentity, Snapshot};

/// Changes that come within this time of each other make one snapshot.
pub(crate) const COALESCE: Duration = Duration::from_millis(10);
/// A burst that does not end is cut after this time.
const LONGEST_BURST: Duration = Duration::from_millis(500);
/// How often the identity of the watched directories is compared.
const TICK: Duration = Duration::from_secs(2);
/// Everything is read again after so many ticks, also what looks as before.
const RESYNC_TICKS: u32 = 15;

/// Sends the snapshot of `directory` and every one that differs from the last, until `shutdown`.
///
/// Fails if the directory is not there at the start. Later it may come and go: what it held stays in force.
pub async fn watch(
    directory: Directory,
    node: NodeIdentity,
    sender: watch::Sender<Snapshot>,
    shutdown: CancellationToken,
) -> Result<(), SourceError> {
    let (tell, mut events) = mpsc::unbounded_channel();
    let mut eyes = Eyes::new(&directory, tell)?;
    let mut reader = Reader::new(directory, node)?;
    eyes.look();
    let mut writes = Writes::default();
    let first;
    (reader, first) = read(reader, &writes, Instant::now()).await?;
    sender.send_replace(first?);
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0;
    loop {
        let settled = writes.next();
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(event) = events.recv() => {
                if !note(&mut writes, &mut eyes, &event) {
                    continue;
                }
                burst(&mut events, &mut writes, &mut eyes).await;
            }
            () = until(settled) => {}
            _ = tick.tick() => {
                ticks += 1;
                let moved = eyes.look();
                if !moved && ticks % RESYNC_TICKS != 0 {
                    continue;
                }
                writes.doubt();
            }
        }
        eyes.look();
        let now = Instant::now();
        let next;
        (reader, next) = read(reader, &writes, now).await?;
        writes.forget_settled(now);
        publish(&sender, &reader, next);
    }
}

/// Reading blocks: it has its own thread, and the reader goes there and back.
async fn read(
    mut reader: Reader,
    writes: &Writes,
    now: Instant,
) -> Result<(Reader, Result<Snapshot, SourceError>), SourceError> {
    let dir = reader.directory().dir.clone();
    let writes = writes.clone();
    let task = tokio::task::spawn_blocking(move || {
        let snapshot = reader.read(&writes, now);
        (reader, snapshot)
    });
    task.await.map_err(|source| SourceError::Task { dir, source })
}

fn publish(sender: &watch::Sender<Snapshot>, reader: &Reader, next: Result<Snapshot, SourceError>) {
    let next = match next {
        Ok(next) => Some(next),
        Err(error) => reader.unreadable(&error),
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

/// Takes events until none came for [`COALESCE`], at most for [`LONGEST_BURST`].
async fn burst(events: &mut mpsc::UnboundedReceiver<Event>, writes: &mut Writes, eyes: &mut Eyes) {
    let end = Instant::now() + LONGEST_BURST;
    let mut quiet = Instant::now() + COALESCE;
    while let Some(left) = quiet.min(end).checked_duration_since(Instant::now()) {
        match timeout(left, events.recv()).await {
            Ok(Some(event)) => {
                if note(writes, eyes, &event) {
                    quiet = Instant::now() + COALESCE;
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}

/// Takes note of an event; `false` for one that changes nothing, such as our own reading.
fn note(writes: &mut Writes, eyes: &mut Eyes, event: &Event) -> bool {
    let happening = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Happening::Closed),
        EventKind::Access(_) => return false,
        EventKind::Modify(ModifyKind::Data(_)) => Some(Happening::Written),
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => Some(Happening::Replaced),
        // Permissions; files that are born, empty ones that are then written or whole ones (links).
        EventKind::Modify(_) | EventKind::Create(_) => None,
        // Lost events.
        EventKind::Any | EventKind::Other => {
            writes.doubt();
            None
        }
    };
    if event.kind.is_remove() {
        event.paths.iter().for_each(|path| eyes.lost(path));
    }
    if let Some(happening) = happening {
        let now = Instant::now();
        event.paths.iter().for_each(|path| writes.note(path, happening, now));
    }
    true
}

/// The inotify watches, and which directories they are on.
struct Eyes {
    watcher: INotifyWatcher,
    watched: [Watched; 2],
}

struct Watched {
    path: PathBuf,
    mode: RecursiveMode,
    on: Option<Identity>,
}

/// Device, inode and birth: an inode number alone comes back with the next directory.
type Identity = (u64, u64, Option<SystemTime>);

impl Eyes {
    fn new(directory: &Directory, tell: mpsc::UnboundedSender<Event>) -> Result<Self, SourceError> {
        let handler = move |event: notify::Result<Event>| {
            // An error tells that events were lost: one without a path makes us read everything.
            let event = event.unwrap_or_else(|_| Event::new(EventKind::Any));
            // The receiver is gone at shutdown only.
            let _ = tell.send(event);
        };
        let watcher = INotifyWatcher::new(handler, notify::Config::default())
            .map_err(|source| SourceError::Watch { dir: directory.dir.clone(), source })?;
        let Directory { dir, secrets } = directory.absolute();
        let watched = [(dir, RecursiveMode::NonRecursive), (secrets, RecursiveMode::Recursive)];
        Ok(Self { watcher, watched: watched.map(|(path, mode)| Watched { path, mode, on: None }) })
    }

    /// Puts the watches on the directories as they are now; `true` if one of them is another than before.
    fn look(&mut self) -> bool {
        let mut moved = false;
        for watched in &mut self.watched {
            let is = identity(&watched.path);
            if watched.on == is {
                continue;
            }
            moved = true;
            // It fails where the kernel dropped the watch with the directory.
            let _ = self.watcher.unwatch(&watched.path);
            // Not to be watched now: the next tick tries again.
            watched.on = is.filter(|_| self.watcher.watch(&watched.path, watched.mode).is_ok());
        }
        moved
    }

    /// The kernel dropped the watch of `path` with the directory.
    fn lost(&mut self, path: &Path) {
        for watched in self.watched.iter_mut().filter(|watched| watched.path == path) {
            watched.on = None;
        }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    let metadata = fs::metadata(path).ok().filter(fs::Metadata::is_dir)?;
    Some((metadata.dev(), metadata.ino(), metadata.created().ok()))
}

#[cfg(test)]
mod tests;
