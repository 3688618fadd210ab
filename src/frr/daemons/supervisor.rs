//! The supervisor of one router's daemons: starts or adopts them, watches them, and restarts those that exit. In: paths, the
//! VRF mode and FRR's programs. Out: running daemons, events, and FRR's log lines as events of `tracing`.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{pending, select_all};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::error::DaemonError;
use super::installation::Installation;
use super::launch::{Launch, mode_of};
use super::log::Logs;
use super::order::restarted_with;
use super::process::{Incarnation, Process};
use super::readiness::replies;
use super::zebra_reconnect::{self, ReconnectError, Reconnecting, VrfIds, is_connected};
use crate::frr::release::FrrVersion;
use crate::runtime::{Daemon, Runtime};
use crate::types::VrfMode;

/// A daemon that does not reply on its vty socket for so long hangs.
const REPLY_TIMEOUT: Duration = Duration::from_secs(3);
/// A daemon that has not exited so long after SIGTERM is killed.
const STOP_GRACE: Duration = Duration::from_secs(3);
const LOG_INTERVAL: Duration = Duration::from_millis(500);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(10);
/// A daemon that ran for so long is restarted without delay.
const STABLE: Duration = Duration::from_secs(60);

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

#[derive(Debug)]
struct RunningDaemon {
    process: Process,
    adopted: bool,
    since: Instant,
}

/// When a daemon that exited is restarted.
#[derive(Debug)]
struct Retry {
    at: Instant,
    delay: Duration,
}

/// The daemons of one router.
#[derive(Debug)]
pub struct Daemons {
    launch: Launch,
    version: FrrVersion,
    running: BTreeMap<Daemon, RunningDaemon>,
    retries: BTreeMap<Daemon, Retry>,
    /// The VRFs of a bgpd that runs without zebra, until there is a new zebra.
    bgpd_without_zebra: Option<VrfIds>,
    logs: Logs,
}

impl Daemons {
    /// Examines the installation and changes nothing.
    pub async fn new(runtime: Runtime, mode: VrfMode, frr_dir: impl Into<PathBuf>) -> Result<Self, DaemonError> {
        let frr_dir = frr_dir.into();
        let Installation { version, release } = Installation::read(&frr_dir).await?;
        let logs = Logs::at_end(&runtime, release.daemons);
        let launch = Launch { runtime, mode, frr_dir, release };
        Ok(Self { launch, version, running: BTreeMap::new(), retries: BTreeMap::new(), bgpd_without_zebra: None, logs })
    }

    /// FRR's version.
    pub fn version(&self) -> &FrrVersion {
        &self.version
    }

    /// The daemons that run, in the order in which they start.
    pub fn daemons(&self) -> &'static [Daemon] {
        self.launch.release.daemons
    }

    /// Starts or adopts every daemon, and creates the router namespace if necessary.
    pub async fn ensure(&mut self) -> Result<(), DaemonError> {
        self.launch.prepare().map_err(DaemonError::Prepare)?;
        for daemon in self.daemons() {
            if !self.running.contains_key(daemon) {
                self.bring_up(*daemon).await?;
            }
        }
        Ok(())
    }

    /// Keeps the daemons running until `stop`, which leaves them running. The first events are those of the daemons that run
    /// already.
    pub async fn supervise(mut self, events: mpsc::Sender<DaemonEvent>, stop: CancellationToken) {
        for daemon in self.daemons() {
            match self.running.get(daemon) {
                Some(running) => report(&events, up(*daemon, running)).await,
                None => self.retry(*daemon, Duration::ZERO),
            }
        }
        let mut reconnecting = self.resume_reconnecting().await;
        let mut log_tick = interval(LOG_INTERVAL);
        log_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let next_start = self.next_start();
            let start = async {
                match next_start {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                daemon = first_exit(&self.running) => {
                    if matches!(daemon, Daemon::Zebra | Daemon::Bgpd) {
                        reconnecting = pending().boxed();
                    }
                    self.handle_exit(daemon, &events).await;
                }
                () = start => {
                    self.start_due(&events).await;
                    if self.running.contains_key(&Daemon::Zebra)
                        && let Some(ids) = self.bgpd_without_zebra.take()
                    {
                        reconnecting = zebra_reconnect::reconnect(self.launch.runtime.clone(), ids);
                    }
                }
                result = &mut reconnecting => {
                    reconnecting = pending().boxed();
                    self.reconnected(result).await;
                }
                _ = log_tick.tick() => self.forward_logs().await,
            }
        }
        self.forward_logs().await;
    }

    /// On a thread for that: a file system may be slow.
    async fn forward_logs(&mut self) {
        let mut logs = std::mem::take(&mut self.logs);
        let forwarded = tokio::task::spawn_blocking(move || {
            logs.forward();
            logs
        });
        self.logs = forwarded.await.unwrap_or_default();
    }

    /// Adopts a daemon or starts it.
    async fn bring_up(&mut self, daemon: Daemon) -> Result<(), DaemonError> {
        let (process, adopted) = match self.adopt(daemon).await? {
            Some(process) => (process, true),
            None => (self.start(daemon).await?, false),
        };
        let Incarnation { pid, .. } = process.incarnation;
        tracing::info!(%daemon, pid, adopted, "daemon is up");
        self.running.insert(daemon, RunningDaemon { process, adopted, since: Instant::now() });
        Ok(())
    }

    /// A daemon that already runs as it should. One that does not is killed.
    async fn adopt(&self, daemon: Daemon) -> Result<Option<Process>, DaemonError> {
        let Some(process) = Process::find(&self.launch.runtime, daemon)? else { return Ok(None) };
        let running = mode_of(&process.arguments);
        if daemon == Daemon::Zebra && running != self.launch.mode {
            let pid = process.incarnation.pid;
            return Err(DaemonError::OtherMode { pid, running, wanted: self.launch.mode });
        }
        let router = fs::metadata(self.launch.runtime.router_netns()).ok().map(|m| m.ino());
        let in_router = process.netns() == router;
        // Older than the zebra that it should be connected to: what it sent to the last one, it may never send again.
        let in_order = self.launch.release.needs(daemon).and_then(|n| self.running.get(&n)).is_none_or(|needed| {
            daemon == Daemon::Zebra || needed.process.incarnation.start_time <= process.incarnation.start_time
        });
        let in_order = in_order || is_connected(&self.launch.runtime, daemon).await;
        if in_router && in_order && self.replies_in_time(daemon).await {
            return Ok(Some(process));
        }
        tracing::warn!(%daemon, pid = process.incarnation.pid, in_router, in_order, "daemon cannot be adopted");
        process.kill().await?;
        Ok(None)
    }

    async fn start(&self, daemon: Daemon) -> Result<Process, DaemonError> {
        if daemon == Daemon::Zebra {
            let needs_zebra = |d: &Daemon| self.launch.release.needs(*d) == Some(Daemon::Zebra);
            let unknown = |d: &Daemon| needs_zebra(d) && !self.running.contains_key(d);
            for dependant in Daemon::ALL.into_iter().filter(unknown) {
                if let Some(process) = Process::find(&self.launch.runtime, dependant)? {
                    process.kill().await?;
                }
            }
        }
        let launch = self.launch.clone();
        let started = tokio::task::spawn_blocking(move || launch.start(daemon)).await?;
        started.map_err(|source| DaemonError::Launch { daemon, source })?;
        match Process::find(&self.launch.runtime, daemon)? {
            Some(process) if self.replies_in_time(daemon).await => Ok(process),
            Some(process) => {
                process.kill().await?;
                Err(DaemonError::Silent(daemon))
            }
            None => Err(DaemonError::Silent(daemon)),
        }
    }

    async fn replies_in_time(&self, daemon: Daemon) -> bool {
        let reply = async {
            while !replies(&self.launch.runtime, daemon).await {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(REPLY_TIMEOUT, reply).await.is_ok()
    }

    /// A daemon has exited: kills those that are [`restarted_with`] it, and schedules their restart.
    async fn handle_exit(&mut self, daemon: Daemon, events: &mpsc::Sender<DaemonEvent>) {
        let Some(exited) = self.running.remove(&daemon) else { return };
        match daemon {
            Daemon::Zebra => self.bgpd_without_zebra = self.keep_bgpd().await,
            Daemon::Bgpd => self.bgpd_without_zebra = None,
            Daemon::Mgmtd | Daemon::Bfdd | Daemon::Staticd => {}
        }
        let mut killed = Vec::new();
        for other in restarted_with(daemon, self.bgpd_without_zebra.is_some()) {
            if let Some(running) = self.running.remove(other) {
                // At once, before zebra acts on the exit of bgpd.
                killed.push((*other, running.process.kill().await));
            }
        }
        let delay = match self.retries.remove(&daemon) {
            Some(retry) if exited.since.elapsed() < STABLE => next_delay(retry.delay),
            _ => Duration::ZERO,
        };
        self.retry(daemon, delay);
        tracing::warn!(%daemon, pid = exited.process.incarnation.pid, "daemon exited");
        report(events, DaemonEvent::Down { daemon }).await;
        for (daemon, result) in killed {
            if let Err(error) = result {
                tracing::error!(%daemon, error = &error as &dyn Error, "daemon cannot be killed");
            }
            self.retry(daemon, Duration::ZERO);
            report(events, DaemonEvent::Down { daemon }).await;
        }
    }

    /// Whether bgpd can run without zebra until there is a new one, and with which VRFs.
    async fn keep_bgpd(&self) -> Option<VrfIds> {
        if !self.running.contains_key(&Daemon::Bgpd) {
            return None;
        }
        let ids = zebra_reconnect::keep_bgpd(&self.launch.runtime, self.launch.mode).await;
        let ids = ids.inspect_err(|error| {
            tracing::warn!(error = error as &dyn Error, "bgpd has to be restarted with zebra");
        });
        // Without an instance there is nothing to keep.
        ids.ok().filter(|ids| !ids.is_empty())
    }

    /// A bgpd that was adopted may be about to reconnect to a zebra that was restarted a moment ago.
    async fn resume_reconnecting(&self) -> Reconnecting {
        let start = |daemon| self.running.get(&daemon).map(|running| running.process.incarnation.start_time);
        match zebra_reconnect::vrf_ids(&self.launch.runtime).await {
            Ok(ids) if start(Daemon::Bgpd) < start(Daemon::Zebra) => {
                zebra_reconnect::reconnect(self.launch.runtime.clone(), ids)
            }
            _ => pending().boxed(),
        }
    }

    /// Kills a bgpd that cannot work with the new zebra, and those that are restarted with it.
    async fn reconnected(&self, result: Result<(), ReconnectError>) {
        let Err(error) = result else { return tracing::info!("bgpd is connected to the new zebra") };
        tracing::error!(error = &error as &dyn Error, "bgpd cannot work with the new zebra");
        if let Some(bgpd) = self.running.get(&Daemon::Bgpd)
            && let Err(error) = bgpd.process.kill().await
        {
            tracing::error!(error = &error as &dyn Error, "bgpd cannot be killed");
        }
    }

    fn retry(&mut self, daemon: Daemon, delay: Duration) {
        self.retries.insert(daemon, Retry { at: Instant::now() + delay, delay });
    }

    /// When the next daemon that is down, and whose dependency runs, is to be started.
    fn next_start(&self) -> Option<Instant> {
        self.startable().filter_map(|daemon| Some(self.retries.get(&daemon)?.at)).min()
    }

    fn startable(&self) -> impl Iterator<Item = Daemon> {
        self.daemons().iter().copied().filter(|daemon| {
            let needed = self.launch.release.needs(*daemon);
            !self.running.contains_key(daemon) && needed.is_none_or(|needed| self.running.contains_key(&needed))
        })
    }

    async fn start_due(&mut self, events: &mpsc::Sender<DaemonEvent>) {
        let now = Instant::now();
        let due = |daemon: &Daemon| self.retries.get(daemon).is_some_and(|retry| retry.at <= now);
        let Some(daemon) = self.startable().find(due) else { return };
        match self.bring_up(daemon).await {
            Ok(()) => {
                if let Some(running) = self.running.get(&daemon) {
                    report(events, up(daemon, running)).await;
                }
            }
            Err(error) => {
                let delay = next_delay(self.retries.get(&daemon).map_or(Duration::ZERO, |retry| retry.delay));
                let error = &error as &dyn Error;
                tracing::error!(%daemon, error, retry_ms = delay.as_millis(), "daemon does not start");
                self.retry(daemon, delay);
            }
        }
    }
}

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

fn next_delay(delay: Duration) -> Duration {
    (delay * 2).clamp(FIRST_DELAY, LAST_DELAY)
}

async fn first_exit(running: &BTreeMap<Daemon, RunningDaemon>) -> Daemon {
    if running.is_empty() {
        return pending().await;
    }
    let exits = running.iter().map(|(daemon, r)| async move { r.process.exited().map(|()| *daemon).await }.boxed());
    select_all(exits).await.0
}

fn up(daemon: Daemon, running: &RunningDaemon) -> DaemonEvent {
    DaemonEvent::Up { daemon, incarnation: running.process.incarnation, adopted: running.adopted }
}

async fn report(events: &mpsc::Sender<DaemonEvent>, event: DaemonEvent) {
    // During shutdown nobody receives events; the daemons are watched all the same.
    let _ = events.send(event).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_grows_to_ten_seconds() {
        let delays: Vec<_> = std::iter::successors(Some(FIRST_DELAY), |d| Some(next_delay(*d))).take(9).collect();
        let millis: Vec<_> = delays.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000]);
    }
}
