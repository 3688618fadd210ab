//! Keeps a directory's snapshot current. In: a directory and the changes that the kernel tells. Out: a new snapshot on
//! the channel, if and only if it differs. Never ends because of what users write; the first list alone may fail.
//!
//! The watch stands before the list, so that no change falls between. A slow tick finds what inotify cannot tell: the
//! directory replaced as a whole, and the targets of links.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{Event, EventKind, INotifyWatcher, RecursiveMode, Watcher};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::SourceError;
use super::dir::{Directory, Reader};
use super::settle::{Happening, Writes};
use crate::snapshot::{NodeIdentity, Snapshot};

/// Changes that come within this time of each other make one snapshot.
const COALESCE: Duration = Duration::from_millis(50);
/// A burst that does not end is cut after this time.
const LONGEST_BURST: Duration = Duration::from_millis(500);
/// How often the identity of the watched directories is compared.
const TICK: Duration = Duration::from_secs(2);
/// Everything is read again after so many ticks.
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
    eyes.look(reader.directory());
    let mut writes = Writes::default();
    let first;
    (reader, first) = read(reader, &writes).await?;
    sender.send_replace(first?);
    let mut ticks = 0;
    loop {
        let settled = writes.next();
        tokio::select! {
            () = shutdown.cancelled() => return Ok(()),
            Some(event) = events.recv() => {
                if !note(&mut writes, event, Instant::now()) {
                    continue;
                }
                burst(&mut events, &mut writes).await;
            }
            () = until(settled) => {}
            () = sleep(TICK) => {
                ticks += 1;
                let moved = eyes.look(reader.directory());
                if !moved && ticks % RESYNC_TICKS != 0 {
                    continue;
                }
            }
        }
        eyes.look(reader.directory());
        let next;
        (reader, next) = read(reader, &writes).await?;
        writes.forget_settled(Instant::now());
        publish(&sender, &reader, next);
    }
}

/// Reading blocks: it has its own thread, and the reader goes there and back.
async fn read(mut reader: Reader, writes: &Writes) -> Result<(Reader, Result<Snapshot, SourceError>), SourceError> {
    let dir = reader.directory().dir.clone();
    let writes = writes.clone();
    let task = tokio::task::spawn_blocking(move || {
        let snapshot = reader.read(&writes, Instant::now());
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
async fn burst(events: &mut mpsc::UnboundedReceiver<Event>, writes: &mut Writes) {
    let end = Instant::now() + LONGEST_BURST;
    let mut quiet = Instant::now() + COALESCE;
    while let Some(left) = quiet.min(end).checked_duration_since(Instant::now()) {
        match timeout(left, events.recv()).await {
            Ok(Some(event)) => {
                if note(writes, event, Instant::now()) {
                    quiet = Instant::now() + COALESCE;
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}

/// Takes note of an event; `false` for one that changes nothing, such as our own reading.
fn note(writes: &mut Writes, event: Event, now: Instant) -> bool {
    let happening = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Some(Happening::Closed),
        EventKind::Access(_) => return false,
        EventKind::Modify(ModifyKind::Data(_)) => Some(Happening::Written),
        EventKind::Modify(ModifyKind::Name(_)) | EventKind::Remove(_) => Some(Happening::Replaced),
        // Permissions, and files that are born: empty ones that are then written, or whole ones (links).
        EventKind::Modify(_)
        | EventKind::Create(CreateKind::Any | CreateKind::File | CreateKind::Folder | CreateKind::Other) => None,
        EventKind::Any | EventKind::Other => None,
    };
    if let Some(happening) = happening {
        for path in &event.paths {
            writes.note(path, happening, now);
        }
    }
    true
}

/// The inotify watches, and which directories they are on.
struct Eyes {
    watcher: INotifyWatcher,
    on: [Option<(u64, u64)>; 2],
}

impl Eyes {
    fn new(directory: &Directory, tell: mpsc::UnboundedSender<Event>) -> Result<Self, SourceError> {
        let handler = move |event: notify::Result<Event>| {
            // An error of the queue is an overflow: an event without a path makes us read everything.
            let event = event.unwrap_or_else(|_| Event::new(EventKind::Any));
            // The receiver is gone at shutdown only.
            let _ = tell.send(event);
        };
        let watcher = INotifyWatcher::new(handler, notify::Config::default())
            .map_err(|source| SourceError::Watch { dir: directory.dir.clone(), source })?;
        Ok(Self { watcher, on: [None, None] })
    }

    /// Puts the watches on the directories as they are now; `true` if one of them is another than before.
    fn look(&mut self, directory: &Directory) -> bool {
        let wanted = [(&directory.dir, RecursiveMode::NonRecursive), (&directory.secrets, RecursiveMode::Recursive)];
        let mut moved = false;
        for (on, (path, mode)) in self.on.iter_mut().zip(wanted) {
            let is = identity(path);
            if *on == is {
                continue;
            }
            moved = true;
            if on.is_some() {
                // It fails where the kernel dropped the watch with the directory.
                let _ = self.watcher.unwatch(path);
            }
            // Not to be watched now: the next tick tries again.
            *on = is.filter(|_| self.watcher.watch(path, mode).is_ok());
        }
        moved
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().filter(fs::Metadata::is_dir).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests;
