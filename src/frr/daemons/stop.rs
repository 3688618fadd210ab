//! Stops the daemons of a router for good. In: its paths. Out: no daemon, and none of their files.

use std::fs;
use std::io;
use std::time::Duration;

use super::error::DaemonError;
use super::process::Process;
use crate::runtime::{Daemon, Runtime};

/// A daemon that has not exited so long after SIGTERM is killed.
const STOP_GRACE: Duration = Duration::from_secs(3);

/// Stops every daemon of the router and removes its sockets, pid files and logs. No supervisor may run any more: it would
/// restart them.
pub async fn stop_all(runtime: &Runtime) -> Result<(), DaemonError> {
    // bgpd before zebra, so that its peers are notified.
    for daemon in Daemon::ALL.into_iter().rev() {
        if let Some(process) = Process::find(runtime, daemon)? {
            process.terminate(STOP_GRACE).await?;
            tracing::info!(%daemon, pid = process.incarnation.pid, "daemon stopped");
        }
    }
    for path in [runtime.frr_dir(), runtime.log_dir()] {
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(DaemonError::Remove { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}
