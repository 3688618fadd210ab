//! FRR's daemons: started or adopted, watched, started again. In: the paths of a router and its VRF mode. Out: running
//! daemons and events that tell which life of which daemon they are. The daemons outlive us: nothing here ends them but
//! [`stop_all`], and what must be consistent among them. Sends them no configuration.

mod answers;
mod installation;
mod launch;
mod log;
mod order;
mod process;
mod rejoin;
mod survival;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{pending, select_all};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinError;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use self::answers::answers;
pub use self::answers::ready;
pub use self::installation::{Installation, InstallationError};
pub use self::launch::LaunchError;
use self::launch::{Launch, mode_of};
use self::log::Logs;
use self::order::restarted_with;
use self::process::Process;
pub use self::process::{Incarnation, ProcessError};
use self::survival::VrfIds;
use crate::frr::release::FrrVersion;
use crate::runtime::Daemon;
use crate::runtime::Runtime;
use crate::types::VrfMode;

/// Where FRR's packages put the daemons.
pub const FRR_DIR: &str = "/usr/lib/frr";

/// How long a daemon may take to answer on its vty socket before it counts as hanging.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a daemon may take to end.
const STOP_GRACE: Duration = Duration::from_secs(3);
const LOG_INTERVAL: Duration = Duration::from_millis(500);
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LAST_DELAY: Duration = Duration::from_secs(10);
/// A daemon that lived that long starts again at once.
const STABLE: Duration = Duration::from_secs(60);

/// Why the daemons do not run as wanted.
#[derive(Debug, Error)]
pub enum DaemonError {
    /// FRR is missing or broken.
    #[error(transparent)]
    Installation(#[from] InstallationError),
    /// The mode cannot change under a running zebra.
    #[error(
        "zebra (process {pid}) runs in {running} mode and {wanted} mode is asked for: run `perouter cleanup` first"
    )]
    OtherMode {
        /// The running zebra.
        pid: u32,
        /// Its mode.
        running: VrfMode,
        /// The mode asked for.
        wanted: VrfMode,
    },
    /// A daemon did not start.
    #[error("start {daemon}")]
    Launch {
        /// Which.
        daemon: Daemon,
        /// Why not.
        source: LaunchError,
    },
    /// The directories or the router namespace.
    #[error("prepare the router")]
    Prepare(#[source] LaunchError),
    /// A daemon said that it is ready and is not there or does not answer.
    #[error("{0} started and does not answer on its vty socket")]
    Silent(Daemon),
    /// A process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file that should go.
    #[error("remove {path}")]
    Remove {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The runtime is shutting down.
    #[error("start a daemon while ending")]
    Ending(#[from] JoinError),
}

/// What became of a daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonEvent {
    /// It runs. One that was not adopted has no configuration.
    Up {
        /// Which.
        daemon: Daemon,
        /// Which life of it.
        incarnation: Incarnation,
        /// It ran before we did.
        adopted: bool,
    },
    /// It ended.
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

/// When a daemon that is down is started again.
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
    /// The VRFs of a bgpd that outlives its zebra, until there is a new one.
    outlives: Option<VrfIds>,
    logs: Logs,
}

impl Daemons {
    /// Looks at the installation and touches nothing.
    pub async fn new(runtime: Runtime, mode: VrfMode, frr_dir: impl Into<PathBuf>) -> Result<Self, DaemonError> {
        let frr_dir = frr_dir.into();
        let Installation { version, release } = Installation::read(&frr_dir).await?;
        let logs = Logs::at_end(&runtime, release.daemons);
        let launch = Launch { runtime, mode, frr_dir, release };
        Ok(Self { launch, version, running: BTreeMap::new(), retries: BTreeMap::new(), outlives: None, logs })
    }

    /// FRR's version.
    pub fn version(&self) -> &FrrVersion {
        &self.version
    }

    /// The daemons that are started, in order; their sockets tell whether the router is [`ready`].
    pub fn daemons(&self) -> &'static [Daemon] {
        self.launch.release.daemons
    }

    /// Starts or adopts every daemon, and makes the router namespace if need be.
    pub async fn ensure(&mut self) -> Result<(), DaemonError> {
        self.launch.prepare().map_err(DaemonError::Prepare)?;
        for daemon in self.daemons() {
            if !self.running.contains_key(daemon) {
                self.bring_up(*daemon).await?;
            }
        }
        Ok(())
    }

    /// Keeps the daemons running until `stop`, which leaves them running. Tells first of those that already run.
    pub async fn supervise(mut self, events: mpsc::Sender<DaemonEvent>, stop: CancellationToken) {
        for daemon in self.daemons() {
            match self.running.get(daemon) {
                Some(running) => tell(&events, up(*daemon, running)).await,
                None => self.retry(*daemon, Duration::ZERO),
            }
        }
        let mut joining = self.rejoin().await;
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
                daemon = first_death(&self.running) => {
                    if matches!(daemon, Daemon::Zebra | Daemon::Bgpd) {
                        joining = pending().boxed();
                    }
                    self.bury(daemon, &events).await;
                }
                () = start => {
                    self.start_due(&events).await;
                    if self.running.contains_key(&Daemon::Zebra)
                        && let Some(ids) = self.outlives.take()
                    {
                        joining = self.join(ids);
                    }
                }
                joined = &mut joining => {
                    joining = pending().boxed();
                    self.joined(joined).await;
                }
                _ = log_tick.tick() => self.logs.forward(),
            }
        }
        self.logs.forward();
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

    /// A daemon that already runs as it should. One that does not is ended.
    async fn adopt(&self, daemon: Daemon) -> Result<Option<Process>, DaemonError> {
        let Some(process) = Process::find(&self.launch.runtime, daemon)? else { return Ok(None) };
        let running = mode_of(&process.arguments);
        if daemon == Daemon::Zebra && running != self.launch.mode {
            let pid = process.incarnation.pid;
            return Err(DaemonError::OtherMode { pid, running, wanted: self.launch.mode });
        }
        let router = fs::metadata(self.launch.runtime.router_netns()).ok().map(|m| m.ino());
        let in_router = process.netns() == router;
        // Older than the zebra that it should talk to: what it told the last one, it may never tell again.
        let in_order = self.launch.release.needs(daemon).and_then(|n| self.running.get(&n)).is_none_or(|needed| {
            daemon == Daemon::Zebra || needed.process.incarnation.start_time <= process.incarnation.start_time
        });
        let in_order = in_order || survival::has_joined(&self.launch.runtime, daemon).await;
        if in_router && in_order && self.answers_in_time(daemon).await {
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
            Some(process) if self.answers_in_time(daemon).await => Ok(process),
            Some(process) => {
                process.kill().await?;
                Err(DaemonError::Silent(daemon))
            }
            None => Err(DaemonError::Silent(daemon)),
        }
    }

    async fn answers_in_time(&self, daemon: Daemon) -> bool {
        let answer = async {
            while !answers(&self.launch.runtime, daemon).await {
                sleep(Duration::from_millis(10)).await;
            }
        };
        timeout(ANSWER_TIMEOUT, answer).await.is_ok()
    }

    /// A daemon has ended, and those that are [`restarted_with`] end with it.
    async fn bury(&mut self, daemon: Daemon, events: &mpsc::Sender<DaemonEvent>) {
        let Some(dead) = self.running.remove(&daemon) else { return };
        match daemon {
            Daemon::Zebra => self.outlives = self.survive().await,
            Daemon::Bgpd => self.outlives = None,
            Daemon::Mgmtd | Daemon::Bfdd | Daemon::Staticd => {}
        }
        let mut ending = Vec::new();
        for other in restarted_with(daemon, self.outlives.is_some()) {
            if let Some(running) = self.running.remove(other) {
                // At once, before zebra has acted on the end of bgpd.
                ending.push((*other, running.process.kill().await));
            }
        }
        let delay = match self.retries.remove(&daemon) {
            Some(retry) if dead.since.elapsed() < STABLE => next_delay(retry.delay),
            _ => Duration::ZERO,
        };
        self.retry(daemon, delay);
        tracing::warn!(%daemon, pid = dead.process.incarnation.pid, "daemon has ended");
        tell(events, DaemonEvent::Down { daemon }).await;
        for (daemon, ended) in ending {
            if let Err(error) = ended {
                tracing::error!(%daemon, error = &error as &dyn std::error::Error, "daemon cannot be ended");
            }
            self.retry(daemon, Duration::ZERO);
            tell(events, DaemonEvent::Down { daemon }).await;
        }
    }

    fn retry(&mut self, daemon: Daemon, delay: Duration) {
        self.retries.insert(daemon, Retry { at: Instant::now() + delay, delay });
    }

    /// When the next daemon that is down and has what it needs is to be started.
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
                    tell(events, up(daemon, running)).await;
                }
            }
            Err(error) => {
                let delay = next_delay(self.retries.get(&daemon).map_or(Duration::ZERO, |retry| retry.delay));
                let error = &error as &dyn std::error::Error;
                tracing::error!(%daemon, error, retry_ms = delay.as_millis(), "daemon does not start");
                self.retry(daemon, delay);
            }
        }
    }
}

/// Ends every daemon of the router and removes its sockets, pid files and logs. A supervisor must have ended before: it
/// would start them again.
pub async fn stop_all(runtime: &Runtime) -> Result<(), DaemonError> {
    // bgpd before zebra, so that its peers are told.
    for daemon in Daemon::ALL.into_iter().rev() {
        if let Some(process) = Process::find(runtime, daemon)? {
            process.terminate(STOP_GRACE).await?;
            tracing::info!(%daemon, pid = process.incarnation.pid, "daemon is stopped");
        }
    }
    let path = runtime.frr_dir();
    match fs::remove_dir_all(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(DaemonError::Remove { path, source }),
        _ => Ok(()),
    }
}

fn next_delay(delay: Duration) -> Duration {
    (delay * 2).clamp(FIRST_DELAY, LAST_DELAY)
}

async fn first_death(running: &BTreeMap<Daemon, RunningDaemon>) -> Daemon {
    if running.is_empty() {
        return pending().await;
    }
    let deaths = running.iter().map(|(daemon, r)| async move { r.process.exited().map(|()| *daemon).await }.boxed());
    select_all(deaths).await.0
}

fn up(daemon: Daemon, running: &RunningDaemon) -> DaemonEvent {
    DaemonEvent::Up { daemon, incarnation: running.process.incarnation, adopted: running.adopted }
}

async fn tell(events: &mpsc::Sender<DaemonEvent>, event: DaemonEvent) {
    // Nobody listens while we end, and the daemons are watched all the same.
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
