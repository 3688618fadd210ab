//! Writes to open files, and to those in open directories, as inotify reports them. In: the open files. Out: a signal that one
//! of them was written. Reads nothing.
//!
//! Of settings below `/proc/sys`: an open file keeps its directory entry, so that everybody who opens the same path in the same
//! namespace has the same inode. This holds for one mount of proc: a write from another PID namespace, with a proc of its own, is
//! not reported.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use futures::{FutureExt, StreamExt};
use inotify::{EventMask, EventStream, Inotify, WatchDescriptor, WatchMask, Watches};
use tokio::sync::Mutex;

/// An inotify instance; the default watches nothing.
#[derive(Debug, Default)]
pub struct WriteWatch {
    /// None also where the limit of instances is reached.
    instance: Option<Instance>,
}

#[derive(Debug)]
struct Instance {
    watches: Watches,
    events: Mutex<EventStream<[u8; 4096]>>,
}

/// The watch of one file, which ends when this is dropped: it keeps the inode alive.
#[derive(Debug)]
struct WatchGuard {
    watches: Watches,
    descriptor: WatchDescriptor,
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        // It fails where the kernel has ended the watch already.
        let _ = self.watches.remove(self.descriptor.clone());
    }
}

/// An open file or directory and its watch, if it has one.
#[derive(Debug)]
pub struct WatchedFile {
    /// The file.
    pub file: File,
    mark: Option<WatchGuard>,
}

impl WatchedFile {
    /// Whether writes to it are reported.
    pub fn is_watched(&self) -> bool {
        self.mark.is_some()
    }
}

impl WriteWatch {
    /// Must be called within a tokio runtime.
    pub fn start() -> Arc<Self> {
        let start = || {
            let inotify = Inotify::init()?;
            let watches = inotify.watches();
            inotify.into_event_stream([0; 4096]).map(|events| Instance { watches, events: Mutex::new(events) })
        };
        let instance = start();
        if let Err(error) = &instance {
            tracing::warn!(%error, "no inotify: what it would report is polled");
        }
        Arc::new(Self { instance: instance.ok() })
    }

    /// Watches an open file or directory, as far as inotify and its limits allow.
    pub fn watch(&self, file: File) -> WatchedFile {
        let add = |instance: &Instance| {
            let mut watches = instance.watches.clone();
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            let descriptor = watches.add(path, WatchMask::MODIFY).ok()?;
            Some(WatchGuard { watches, descriptor })
        };
        WatchedFile { mark: self.instance.as_ref().and_then(add), file }
    }

    /// Waits until a watched file was written, perhaps by ourselves. All that was written until then is one signal.
    pub async fn written(&self) {
        let Some(instance) = &self.instance else { return std::future::pending().await };
        let mut events = instance.events.lock().await;
        loop {
            let Some(event) = events.next().await else { return std::future::pending().await };
            // Not that a watch has ended.
            if event.is_ok_and(|event| event.mask.intersects(EventMask::MODIFY | EventMask::Q_OVERFLOW)) {
                break;
            }
        }
        while events.next().now_or_never().flatten().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::time::Duration;

    /// On a file of another file system: inotify is the same, and no test changes a setting of the machine.
    #[tokio::test]
    async fn a_write_is_reported_and_the_watch_ends_with_its_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let watch = WriteWatch::start();
        let watched = watch.watch(file.reopen().unwrap());
        assert!(watched.is_watched());
        let write = || file.as_file().write_all(b"1").unwrap();
        write();
        write();
        tokio::time::timeout(Duration::from_secs(10), watch.written()).await.unwrap();
        let again = tokio::time::timeout(Duration::from_millis(50), watch.written()).await;
        assert!(again.is_err(), "both writes were reported at once");
        drop(watched);
        write();
        let after = tokio::time::timeout(Duration::from_millis(50), watch.written()).await;
        assert!(after.is_err(), "nothing is reported after the end");
    }
}
