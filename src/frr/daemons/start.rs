//! Adopts one daemon or starts it. In: how the daemons of the router are started, and which run already. Out: a process that
//! replies. Decides neither when a daemon is started nor what an exit means for others.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{sleep, timeout};

use super::error::DaemonError;
use super::first_client;
use super::graceful;
use super::launch::{Launch, mode_of};
use super::process::{Incarnation, Process};
use super::readiness::replies;
use super::zebra_reconnect::is_connected;
use crate::kernel::{evpn_entries, netns};
use crate::runtime::Daemon;

/// A daemon that does not reply on its vty socket for so long after its start hangs.
const REPLY_TIMEOUT: Duration = Duration::from_secs(3);

/// A daemon that was adopted or started.
#[derive(Debug)]
pub(crate) struct Started {
    /// Which.
    pub daemon: Daemon,
    /// The daemon that it needs, as it was at the begin.
    pub needed: Option<Incarnation>,
    /// Its process, and whether it was adopted.
    pub result: Result<(Process, bool), DaemonError>,
}

/// A start that is in progress.
pub(crate) type Starting = BoxFuture<'static, Started>;

/// What a start depends on.
#[derive(Debug, Clone)]
pub(crate) struct Start {
    /// How.
    pub launch: Launch,
    /// Which.
    pub daemon: Daemon,
    /// The daemon that it needs.
    pub needed: Option<Incarnation>,
    /// The daemons that run.
    pub running: BTreeSet<Daemon>,
}

impl Start {
    /// Adopts the daemon or starts it.
    pub async fn run(self) -> Started {
        let result = match self.adopt().await {
            Ok(Some(process)) => Ok((process, true)),
            Ok(None) => self.start().await.map(|process| (process, false)),
            Err(error) => Err(error),
        };
        if self.daemon == Daemon::Bgpd && result.is_ok() {
            self.launch.bgpd_is_connected().await;
        }
        Started { daemon: self.daemon, needed: self.needed, result }
    }

    /// A daemon that already runs as it should. One that does not is killed.
    async fn adopt(&self) -> Result<Option<Process>, DaemonError> {
        let (daemon, runtime) = (self.daemon, &self.launch.runtime);
        let Some(process) = Process::find(runtime, daemon)? else { return Ok(None) };
        let Incarnation { pid, start_time } = process.incarnation;
        let router = fs::metadata(runtime.router_netns()).ok().map(|m| m.ino());
        let unreadable = |source| DaemonError::UnreadableNetns { daemon, pid, source };
        let in_router = process.netns().map_err(unreadable)? == router;
        let mut in_order = true;
        if daemon == Daemon::Zebra {
            let running = mode_of(&process.arguments);
            if running != self.launch.mode {
                return Err(DaemonError::OtherMode { pid, running, wanted: self.launch.mode });
            }
            if !in_router {
                return Err(DaemonError::OtherNetns { pid, path: runtime.router_netns().to_owned() });
            }
            in_order = self.has_all_namespaces()?;
        } else if let Some(needed) = self.needed
            && needed.start_time > start_time
        {
            // Older than the zebra that it should be connected to: what it sent to the last one, it may never send again.
            in_order = is_connected(runtime, daemon).await;
        }
        if in_router && in_order && self.replies_in_time(&process).await.is_ok() {
            return Ok(Some(process));
        }
        tracing::warn!(%daemon, pid, in_router, in_order, "daemon cannot be adopted");
        process.kill().await?;
        Ok(None)
    }

    /// Whether each namespace that zebra has found is there. One that was unbound while nobody watched is alive as long as zebra
    /// and bgpd are, and cannot be reached: its links are in the way of those that are created again.
    fn has_all_namespaces(&self) -> Result<bool, DaemonError> {
        let dir = self.launch.runtime.zebra_netns_dir();
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if !netns::is_netns(&entry.path()).map_err(|error| DaemonError::Prepare(error.into()))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn start(&self) -> Result<Process, DaemonError> {
        let daemon = self.daemon;
        if daemon == Daemon::Zebra {
            let needs_zebra = |d: &Daemon| self.launch.release.needs(*d) == Some(Daemon::Zebra);
            let unknown = |d: &Daemon| needs_zebra(d) && !self.running.contains(d);
            for dependant in Daemon::ALL.into_iter().filter(unknown) {
                if let Some(process) = Process::find(&self.launch.runtime, dependant)? {
                    process.kill().await?;
                }
            }
            self.keep_entries().await;
        }
        let launch = self.launch.clone();
        let started = tokio::task::spawn_blocking(move || launch.start(daemon)).await?;
        started.map_err(|source| DaemonError::Launch { daemon, source })?;
        let process = Process::find(&self.launch.runtime, daemon)?.ok_or(DaemonError::Exited(daemon))?;
        if let Err(error) = self.replies_in_time(&process).await {
            process.kill().await?;
            return Err(error);
        }
        if daemon == Daemon::Zebra {
            self.announce_restart().await;
        }
        Ok(process)
    }

    /// To a new zebra to which no bgpd is connected.
    async fn announce_restart(&self) {
        if self.running.contains(&Daemon::Bgpd) || !graceful::is_wanted(&self.launch.runtime, self.launch.release) {
            return;
        }
        if let Err(error) = first_client::connect_and_exit(&self.launch).await {
            tracing::warn!(error = &error as &dyn Error, "the new zebra may remove entries of remote VTEPs");
        }
    }

    /// Before a zebra that would remove what the last one has installed for EVPN.
    async fn keep_entries(&self) {
        if !graceful::is_wanted(&self.launch.runtime, self.launch.release) {
            return;
        }
        match evpn_entries::keep(&self.launch.runtime).await {
            Ok(count) => tracing::info!(count, "entries of remote VTEPs are kept for the new zebra"),
            Err(error) => {
                tracing::warn!(error = &error as &dyn Error, "the new zebra may remove entries of remote VTEPs");
            }
        }
    }

    async fn replies_in_time(&self, process: &Process) -> Result<(), DaemonError> {
        let reply = async {
            while !replies(&self.launch.runtime, self.daemon).await {
                sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            replied = timeout(REPLY_TIMEOUT, reply) => replied.map_err(|_| DaemonError::Silent(self.daemon)),
            () = process.exited() => Err(DaemonError::Exited(self.daemon)),
        }
    }
}
