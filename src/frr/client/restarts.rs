//! Signals when a daemon was restarted, by whomever: it has lost its configuration then. In: paths and daemons. Out: a signal,
//! also for a daemon that stays unreachable, and for each daemon whether it runs and how often it was restarted.
//! Keeps one idle vty connection to each daemon, which closes when the daemon exits: this works across containers too, where
//! the processes of the other container are not visible.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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

/// What is known of a daemon by the connection to it.
#[derive(Debug, Default)]
pub struct WatchedDaemon {
    is_connected: AtomicBool,
    restarts: AtomicU64,
}

impl WatchedDaemon {
    /// It runs. It may hang.
    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Relaxed)
    }

    /// How often it was restarted since it is watched.
    pub fn restarts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }
}

/// The daemons that are watched.
#[derive(Debug, Default)]
pub struct WatchedDaemons(BTreeMap<Daemon, Arc<WatchedDaemon>>);

impl WatchedDaemons {
    /// Each of them.
    pub fn all(&self) -> impl Iterator<Item = (Daemon, &WatchedDaemon)> {
        self.0.iter().map(|(daemon, watched)| (*daemon, watched.as_ref()))
    }
}

/// The watch of daemons, until it is dropped.
#[derive(Debug)]
pub struct DaemonWatch {
    _following: JoinSet<()>,
    /// What is known of them.
    pub daemons: Arc<WatchedDaemons>,
}

/// Watches until the result is dropped. Returns when each daemon is connected or known to be unreachable: one that is
/// restarted from then on is signalled.
pub async fn watch(runtime: &Runtime, daemons: &[Daemon], restarted: &Arc<Notify>) -> DaemonWatch {
    let mut following = JoinSet::new();
    let mut watched = WatchedDaemons::default();
    for daemon in daemons {
        let socket = runtime.vty_socket(*daemon);
        let first = connect(&socket).await;
        let state = Arc::new(WatchedDaemon::default());
        state.is_connected.store(first.is_some(), Ordering::Relaxed);
        watched.0.insert(*daemon, Arc::clone(&state));
        following.spawn(follow(socket, first, state, Arc::clone(restarted)));
    }
    DaemonWatch { _following: following, daemons: Arc::new(watched) }
}

async fn connect(socket: &Path) -> Option<UnixStream> {
    let found = FoundSocket::find(socket).ok()?;
    UnixStream::connect(found.path()).await.ok()
}

async fn follow(socket: PathBuf, first: Option<UnixStream>, state: Arc<WatchedDaemon>, restarted: Arc<Notify>) {
    let mut connected = first;
    loop {
        let was_connected = connected.is_some();
        if let Some(mut connection) = connected.take() {
            let mut scratch = [0; 64];
            // FRR sends nothing on an idle connection.
            while connection.read(&mut scratch).await.is_ok_and(|bytes| bytes > 0) {}
        }
        state.is_connected.store(false, Ordering::Relaxed);
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
        state.is_connected.store(true, Ordering::Relaxed);
        // The first connection to a daemon that is started later is no restart.
        state.restarts.fetch_add(was_connected.into(), Ordering::Relaxed);
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
        let watch = watch(&runtime, &[Daemon::Bgpd], &restarted).await;
        let state = || watch.daemons.all().map(|(_, bgpd)| (bgpd.is_connected(), bgpd.restarts())).collect::<Vec<_>>();
        assert_eq!(state(), [(true, 0)]);
        let (connection, _) = timeout(LIMIT, first.accept()).await.unwrap().unwrap();
        assert!(timeout(Duration::from_millis(100), restarted.notified()).await.is_err());
        drop((connection, first));
        std::fs::remove_file(&socket).unwrap();
        timeout(LIMIT, restarted.notified()).await.unwrap();
        assert!(timeout(Duration::from_millis(200), restarted.notified()).await.is_err(), "once");
        assert_eq!(state(), [(false, 0)]);
        let _second = UnixListener::bind(&socket).unwrap();
        timeout(LIMIT, restarted.notified()).await.unwrap();
        assert_eq!(state(), [(true, 1)]);
    }

    #[tokio::test]
    async fn a_daemon_that_starts_later_is_signalled() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), dir.path().join("netns"));
        std::fs::create_dir(runtime.frr_dir()).unwrap();
        let restarted = Arc::new(Notify::new());
        let watch = watch(&runtime, &[Daemon::Bgpd], &restarted).await;
        let _listener = UnixListener::bind(runtime.vty_socket(Daemon::Bgpd)).unwrap();
        timeout(LIMIT, restarted.notified()).await.unwrap();
        let states: Vec<_> = watch.daemons.all().map(|(_, bgpd)| (bgpd.is_connected(), bgpd.restarts())).collect();
        assert_eq!(states, [(true, 0)], "it was not there before");
    }
}
