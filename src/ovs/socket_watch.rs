//! Waits until a socket may have appeared. In: its path, of which not even the directory has to exist. Out: a moment at which a
//! connection is worth an attempt. Connects to nothing.

use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use inotify::{EventStream, Inotify, WatchMask};

/// Reports what appears in the nearest directory that exists above a socket.
#[derive(Debug)]
pub struct SocketWatch(Option<EventStream<[u8; 4096]>>);

impl SocketWatch {
    /// Begins to watch. Must be called before the attempt that it follows.
    pub fn start(socket: &Path) -> Self {
        let watch = |directory: &Path| {
            let inotify = Inotify::init().ok()?;
            let mask = WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
            inotify.watches().add(directory, mask | WatchMask::ONLYDIR).ok()?;
            inotify.into_event_stream([0; 4096]).ok()
        };
        Self(socket.ancestors().skip(1).find_map(watch))
    }

    /// Waits for something to appear, or to be gone with the directory. Returns whether that was before the limit.
    pub async fn changed(&mut self, limit: Duration) -> bool {
        let next = async {
            match &mut self.0 {
                Some(events) => events.next().await.is_some(),
                None => std::future::pending().await,
            }
        };
        tokio::time::timeout(limit, next).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_reported_with_the_directories_above_it() {
        let root = tempfile::tempdir().unwrap();
        let socket = root.path().join("a/b/db.sock");
        let (soon, never) = (Duration::from_secs(10), Duration::from_millis(50));
        let mut watch = SocketWatch::start(&socket);
        assert!(!watch.changed(never).await);
        std::fs::create_dir(root.path().join("a")).unwrap();
        assert!(watch.changed(soon).await);
        let mut watch = SocketWatch::start(&socket);
        std::fs::create_dir(root.path().join("a/b")).unwrap();
        assert!(watch.changed(soon).await);
        let mut watch = SocketWatch::start(&socket);
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(watch.changed(soon).await);
    }
}
