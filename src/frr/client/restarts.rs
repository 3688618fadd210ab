//! Signals when a daemon was restarted, by whomever: it has lost its configuration then. In: paths and daemons. Out: a signal.
//! Keeps one idle vty connection to each daemon, which closes when the daemon exits: this works across containers too, where
//! the processes of the other container are not visible.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::runtime::{Daemon, Runtime};
use crate::untrusted_file::FoundSocket;

const RECONNECT: Duration = Duration::from_millis(50);

/// Watches until the returned set is dropped.
pub fn watch(runtime: &Runtime, daemons: &[Daemon], restarted: &Arc<Notify>) -> JoinSet<()> {
    daemons.iter().map(|daemon| follow(runtime.vty_socket(*daemon), Arc::clone(restarted))).collect()
}

async fn follow(socket: PathBuf, restarted: Arc<Notify>) {
    let mut connections = 0_u64;
    loop {
        if let Ok(found) = FoundSocket::find(&socket)
            && let Ok(mut connection) = UnixStream::connect(found.path()).await
        {
            if connections > 0 {
                restarted.notify_one();
            }
            connections += 1;
            let mut scratch = [0; 64];
            // FRR sends nothing on an idle connection.
            while connection.read(&mut scratch).await.is_ok_and(|bytes| bytes > 0) {}
        }
        tokio::time::sleep(RECONNECT).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::UnixListener;
    use tokio::time::timeout;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn only_a_restart_is_signalled() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), dir.path().join("netns"));
        std::fs::create_dir(runtime.frr_dir()).unwrap();
        let socket = runtime.vty_socket(Daemon::Bgpd);
        let restarted = Arc::new(Notify::new());
        let first = UnixListener::bind(&socket).unwrap();
        let _watch = watch(&runtime, &[Daemon::Bgpd], &restarted);
        let (connection, _) = timeout(LIMIT, first.accept()).await.unwrap().unwrap();
        assert!(timeout(Duration::from_millis(100), restarted.notified()).await.is_err());
        drop((connection, first));
        std::fs::remove_file(&socket).unwrap();
        let _second = UnixListener::bind(&socket).unwrap();
        timeout(LIMIT, restarted.notified()).await.unwrap();
    }
}
