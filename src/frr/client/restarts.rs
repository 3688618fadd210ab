//! Signals when a daemon was restarted, by whomever: it has lost its configuration then. In: paths and daemons. Out: a signal,
//! also for a daemon that stays unreachable.
//! Keeps one idle vty connection to each daemon, which closes when the daemon exits: this works across containers too, where
//! the processes of the other container are not visible.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::runtime::{Daemon, Runtime};
use crate::untrusted_file::FoundSocket;

const RECONNECT: Duration = Duration::from_millis(50);
/// A daemon that is unreachable for so long is signalled too: it is not restarted at once.
const LOST: Duration = Duration::from_secs(1);

/// Watches until the returned set is dropped. Returns when each daemon is connected or known to be unreachable: one that is
/// restarted from then on is signalled.
pub async fn watch(runtime: &Runtime, daemons: &[Daemon], restarted: &Arc<Notify>) -> JoinSet<()> {
    let mut following = JoinSet::new();
    for daemon in daemons {
        let socket = runtime.vty_socket(*daemon);
        let first = connect(&socket).await;
        following.spawn(follow(socket, first, Arc::clone(restarted)));
    }
    following
}

async fn connect(socket: &Path) -> Option<UnixStream> {
    let found = FoundSocket::find(socket).ok()?;
    UnixStream::connect(found.path()).await.ok()
}

async fn follow(socket: PathBuf, first: Option<UnixStream>, restarted: Arc<Notify>) {
    let mut connected = first;
    loop {
        if let Some(mut connection) = connected.take() {
            let mut scratch = [0; 64];
            // FRR sends nothing on an idle connection.
            while connection.read(&mut scratch).await.is_ok_and(|bytes| bytes > 0) {}
        }
        let lost = Instant::now();
        let mut signalled = false;
        let again = loop {
            tokio::time::sleep(RECONNECT).await;
            if let Some(connection) = connect(&socket).await {
                break connection;
            }
            if !signalled && lost.elapsed() >= LOST {
                restarted.notify_one();
                signalled = true;
            }
        };
        restarted.notify_one();
        connected = Some(again);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_restart_is_signalled_and_the_loss_of_a_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), dir.path().join("netns"));
        std::fs::create_dir(runtime.frr_dir()).unwrap();
        let socket = runtime.vty_socket(Daemon::Bgpd);
        let restarted = Arc::new(Notify::new());
        let first = UnixListener::bind(&socket).unwrap();
        let _watch = watch(&runtime, &[Daemon::Bgpd], &restarted).await;
        let (connection, _) = timeout(LIMIT, first.accept()).await.unwrap().unwrap();
        assert!(timeout(Duration::from_millis(100), restarted.notified()).await.is_err());
        drop((connection, first));
        std::fs::remove_file(&socket).unwrap();
        timeout(LIMIT, restarted.notified()).await.unwrap();
        assert!(timeout(Duration::from_millis(200), restarted.notified()).await.is_err(), "once");
        let _second = UnixListener::bind(&socket).unwrap();
        timeout(LIMIT, restarted.notified()).await.unwrap();
    }

    #[tokio::test]
    async fn a_daemon_that_starts_later_is_signalled() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), dir.path().join("netns"));
        std::fs::create_dir(runtime.frr_dir()).unwrap();
        let restarted = Arc::new(Notify::new());
        let _watch = watch(&runtime, &[Daemon::Bgpd], &restarted).await;
        let _listener = UnixListener::bind(runtime.vty_socket(Daemon::Bgpd)).unwrap();
        timeout(LIMIT, restarted.notified()).await.unwrap();
    }
}
