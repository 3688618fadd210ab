//! A daemon that runs, and what is said of it. In: processes. Out: events for whoever receives them.

use futures::FutureExt;
use futures::future::{pending, select_all};
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::process::{Incarnation, Process};
use super::readiness::EchoConnection;
use crate::runtime::Daemon;

/// A change of a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonEvent {
    /// It runs. Unless it was adopted it has no configuration.
    Up {
        /// Which.
        daemon: Daemon,
        /// Its incarnation.
        incarnation: Incarnation,
        /// It was running before this process.
        adopted: bool,
    },
    /// It exited.
    Down {
        /// Which.
        daemon: Daemon,
    },
}

/// A daemon that runs.
#[derive(Debug)]
pub(crate) struct RunningDaemon {
    /// The process.
    pub process: Process,
    /// It was running before this process.
    pub adopted: bool,
    /// Since when this process knows it.
    pub since: Instant,
    /// The connection on which it is polled for whether it replies.
    pub echo: EchoConnection,
}

impl RunningDaemon {
    /// The event that it runs.
    pub fn up(&self, daemon: Daemon) -> DaemonEvent {
        DaemonEvent::Up { daemon, incarnation: self.process.incarnation, adopted: self.adopted }
    }
}

/// The daemon that exits next.
pub(crate) async fn first_exit(running: &BTreeMap<Daemon, RunningDaemon>) -> Daemon {
    if running.is_empty() {
        return pending().await;
    }
    let exits = running.iter().map(|(daemon, r)| async move { r.process.exited().map(|()| *daemon).await }.boxed());
    select_all(exits).await.0
}

/// Reports an event.
pub(crate) async fn report(events: &mpsc::Sender<DaemonEvent>, event: DaemonEvent) {
    // During shutdown nobody receives events; the daemons are watched all the same.
    let _ = events.send(event).await;
}
