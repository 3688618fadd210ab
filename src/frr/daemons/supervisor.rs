//! The supervisor of one router's daemons: starts or adopts them, watches them, and restarts those that exit or hang. In: paths,
//! the VRF mode and FRR's programs. Out: running daemons, events, and FRR's log lines as events of `tracing`. A daemon that does
//! not start delays no other but those that need it.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use futures::future::{BoxFuture, join_all, pending};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::error::DaemonError;
use super::graceful;
use super::installation::Installation;
use super::label_manager::LabelManager;
use super::launch::Launch;
use super::log::Logs;
use super::order::restarted_with;
use super::other_release;
use super::process::Incarnation;
use super::readiness::EchoConnection;
use super::restart_end;
use super::running::{DaemonEvent, RunningDaemon, first_exit, report};
use super::stale_vrfs::{self, StaleVrfs};
use super::start::{Start, Started, Starting};
use super::watchdog::{Verdict, Watchdog};
use super::zebra_reconnect::{self, ReconnectError, Reconnecting, VrfIds};
use crate::frr::release::FrrVersion;
use crate::runtime::{Daemon, Runtime};
use crate::types::VrfMode;

/// Whether the daemons reply is asked this often.
const PROBE_INTERVAL: Duration = Duration::from_secs(2);

/// Which daemons reply, and which wait for a graceful restart that is not wanted any more.
type Probes = BoxFuture<'static, Vec<(Daemon, Incarnation, bool, bool)>>;

/// The daemons of one router.
#[derive(Debug)]
pub struct Daemons {
    launch: Launch,
    version: FrrVersion,
    running: BTreeMap<Daemon, RunningDaemon>,
    /// Those that are being adopted or started.
    starting: BTreeSet<Daemon>,
    /// When those that do not run are started.
    due: BTreeMap<Daemon, Instant>,
    backoffs: BTreeMap<Daemon, Backoff>,
    /// The VRFs of a bgpd that is not connected to the present zebra yet, or waits for a new one.
    disconnected: Option<VrfIds>,
    watchdog: Watchdog,
    logs: Logs,
    /// Of bgpd, where the release restarts gracefully.
    label_manager: Option<LabelManager>,
}

impl Daemons {
    /// Examines the installation and changes nothing.
    pub async fn new(runtime: Runtime, mode: VrfMode, frr_dir: impl Into<PathBuf>) -> Result<Self, DaemonError> {
        let frr_dir = frr_dir.into();
        let Installation { version, release } = Installation::read(&frr_dir).await?;
        let logs = Logs::at_end(&runtime, release.daemons);
        let launch = Launch { runtime, apart: None, mode, frr_dir, release };
        Ok(Self {
            launch,
            version,
            running: BTreeMap::new(),
            starting: BTreeSet::new(),
            due: BTreeMap::new(),
            backoffs: BTreeMap::new(),
            disconnected: None,
            watchdog: Watchdog::default(),
            logs,
            label_manager: None,
        })
    }

    /// FRR's version.
    pub fn version(&self) -> &FrrVersion {
        &self.version
    }

    /// The daemons that run, in the order in which they start.
    pub fn daemons(&self) -> &'static [Daemon] {
        self.launch.release.daemons
    }

    /// Starts or adopts every daemon, and creates the router namespace if necessary. Daemons of another FRR version are
    /// restarted. A daemon that does not start is left to [`Daemons::supervise`], with those that need it.
    pub async fn ensure(&mut self) -> Result<(), DaemonError> {
        other_release::remove(&self.launch.runtime, &self.version).await?;
        self.launch.prepare().map_err(DaemonError::Prepare)?;
        self.label_manager = self.launch.start_label_manager().map_err(DaemonError::Prepare)?;
        let mut starts = FuturesUnordered::new();
        let now = Instant::now();
        self.due = self.daemons().iter().map(|daemon| (*daemon, now)).collect();
        loop {
            starts.extend(self.begin_due(now));
            let Some(started) = starts.next().await else { return Ok(()) };
            self.finish_start(started).await?;
        }
    }

    /// Keeps the daemons running until `stop`, which leaves them running. The first events are those of the daemons that run
    /// already.
    pub async fn supervise(mut self, events: mpsc::Sender<DaemonEvent>, stop: CancellationToken) {
        self.begin(&events).await;
        let (mut reconnecting, mut probes): (_, Probes) = (self.resume_reconnecting().await, pending().boxed());
        let mut starts: FuturesUnordered<Starting> = FuturesUnordered::new();
        let mut restart_end = restart_end::watch(&self.launch.runtime, &self.running);
        let mut stale_vrfs = stale_vrfs::found(self.launch.runtime.clone()).boxed();
        let logs = std::mem::take(&mut self.logs).forward_until(self.launch.runtime.clone(), stop.clone());
        let logs = tokio::spawn(logs);
        let mut probe_tick = ticks(PROBE_INTERVAL);
        loop {
            starts.extend(self.begin_due(Instant::now()));
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
                Some(started) = starts.next() => {
                    let daemon = started.daemon;
                    match (self.start_ended(started, &events).await, daemon, &self.disconnected) {
                        (true, Daemon::Zebra, Some(ids)) => reconnecting = self.reconnect(ids.clone()),
                        (true, Daemon::Bgpd, _) => restart_end = restart_end::watch(&self.launch.runtime, &self.running),
                        _ => {}
                    }
                }
                () = start => {}
                result = &mut reconnecting => {
                    reconnecting = pending().boxed();
                    self.reconnected(result).await;
                }
                replied = &mut probes => {
                    probes = pending().boxed();
                    self.judge(replied).await;
                }
                () = &mut restart_end => restart_end = pending().boxed(),
                stale = &mut stale_vrfs => {
                    stale_vrfs = stale_vrfs::found(self.launch.runtime.clone()).boxed();
                    self.restart_stale(stale).await;
                }
                _ = probe_tick.tick() => {
                    self.keep_router_netns();
                    probes = self.probe();
                }
            }
        }
        let _ = logs.await;
    }

    /// Reports the daemons that run. The others are due.
    async fn begin(&mut self, events: &mpsc::Sender<DaemonEvent>) {
        for daemon in self.daemons() {
            match self.running.get(daemon) {
                Some(running) => report(events, running.up(*daemon)).await,
                None => drop(self.due.entry(*daemon).or_insert_with(Instant::now)),
            }
        }
    }

    /// Begins the starts that are due.
    fn begin_due(&mut self, now: Instant) -> Vec<Starting> {
        let due: Vec<Daemon> =
            self.startable().filter(|daemon| self.due.get(daemon).is_some_and(|at| *at <= now)).collect();
        let begin = |daemon: Daemon| {
            self.due.remove(&daemon);
            self.starting.insert(daemon);
            let running = self.running.keys().copied().collect();
            Start { launch: self.launch.clone(), daemon, needed: self.needed(daemon), running }.run().boxed()
        };
        due.into_iter().map(begin).collect()
    }

    /// The incarnation of the daemon that this one needs.
    fn needed(&self, daemon: Daemon) -> Option<Incarnation> {
        Some(self.running.get(&self.launch.release.needs(daemon)?)?.process.incarnation)
    }

    /// Takes a daemon that was started. What it needs may have been restarted meanwhile: it is started again then. Fails where
    /// no daemon of this router can run.
    async fn finish_start(&mut self, Started { daemon, needed, result }: Started) -> Result<bool, DaemonError> {
        self.starting.remove(&daemon);
        let in_order = self.needed(daemon) == needed;
        match result {
            Ok((process, adopted)) if in_order => {
                tracing::info!(%daemon, pid = process.incarnation.pid, adopted, "daemon is up");
                let echo = EchoConnection::default();
                self.running.insert(daemon, RunningDaemon { process, adopted, since: Instant::now(), echo });
                return Ok(true);
            }
            Ok((process, _)) => {
                self.due.insert(daemon, Instant::now());
                process.kill().await?;
            }
            Err(error) if !error.is_of_one_daemon() => {
                self.pause(daemon, Duration::ZERO);
                return Err(error);
            }
            Err(_) if !in_order => drop(self.due.insert(daemon, Instant::now())),
            Err(error) => {
                let pause = self.pause(daemon, Duration::ZERO);
                let error = &error as &dyn Error;
                tracing::error!(%daemon, error, retry_ms = pause.as_millis(), "daemon does not start");
            }
        }
        Ok(false)
    }

    /// [`Daemons::finish_start`] under supervision, where every error is retried.
    async fn start_ended(&mut self, started: Started, events: &mpsc::Sender<DaemonEvent>) -> bool {
        let daemon = started.daemon;
        let is_up = self.finish_start(started).await.unwrap_or_else(|error| {
            tracing::error!(%daemon, error = &error as &dyn Error, "daemon does not start");
            false
        });
        if let Some(running) = self.running.get(&daemon).filter(|_| is_up) {
            report(events, running.up(daemon)).await;
        }
        is_up
    }

    /// A daemon has exited: kills those that are [`restarted_with`] it, and schedules their restart.
    async fn handle_exit(&mut self, daemon: Daemon, events: &mpsc::Sender<DaemonEvent>) {
        let Some(exited) = self.running.remove(&daemon) else { return };
        match daemon {
            Daemon::Zebra => self.disconnected = self.keep_bgpd().await,
            Daemon::Bgpd => self.disconnected = None,
            Daemon::Mgmtd | Daemon::Bfdd | Daemon::Staticd => {}
        }
        let mut killed = Vec::new();
        for other in restarted_with(daemon, self.disconnected.is_some()) {
            if let Some(running) = self.running.remove(other) {
                // At once, before zebra acts on the exit of bgpd.
                killed.push((*other, running.process.kill().await));
            }
        }
        let pause = self.pause(daemon, exited.since.elapsed());
        let pid = exited.process.incarnation.pid;
        tracing::warn!(%daemon, pid, restart_ms = pause.as_millis(), "daemon exited");
        report(events, DaemonEvent::Down { daemon }).await;
        for (daemon, result) in killed {
            if let Err(error) = result {
                tracing::error!(%daemon, error = &error as &dyn Error, "daemon cannot be killed");
            }
            self.due.insert(daemon, Instant::now());
            report(events, DaemonEvent::Down { daemon }).await;
        }
    }

    /// Schedules the next start of a daemon that ran for so long.
    fn pause(&mut self, daemon: Daemon, ran: Duration) -> Duration {
        let pause = self.backoffs.entry(daemon).or_default().pause(ran);
        self.due.insert(daemon, Instant::now() + pause);
        pause
    }

    /// Whether bgpd can run without zebra until there is a new one, and with which VRFs.
    async fn keep_bgpd(&self) -> Option<VrfIds> {
        if !self.running.contains_key(&Daemon::Bgpd) {
            return None;
        }
        let ids = zebra_reconnect::keep_bgpd(&self.launch.runtime, self.launch.mode, self.disconnected.as_ref()).await;
        let ids = ids.inspect_err(|error| {
            tracing::warn!(error = error as &dyn Error, "bgpd has to be restarted with zebra");
        });
        self.launch.hold_bgpd();
        // Without an instance there is nothing to keep.
        ids.ok().filter(|ids| !ids.is_empty())
    }

    fn reconnect(&self, ids: VrfIds) -> Reconnecting {
        let launch = self.launch.clone();
        zebra_reconnect::reconnect(launch.runtime.clone(), ids, move || launch.connect_bgpd())
    }

    /// A bgpd that was adopted may be about to reconnect to a zebra that was restarted a moment ago.
    async fn resume_reconnecting(&mut self) -> Reconnecting {
        let start = |daemon| self.running.get(&daemon).map(|running| running.process.incarnation.start_time);
        match zebra_reconnect::vrf_ids(&self.launch.runtime).await {
            Ok(ids) if start(Daemon::Bgpd) < start(Daemon::Zebra) => {
                self.disconnected = Some(ids.clone());
                self.reconnect(ids)
            }
            _ => pending().boxed(),
        }
    }

    /// Kills a bgpd that cannot work with the new zebra, and those that are restarted with it.
    async fn reconnected(&mut self, result: Result<(), ReconnectError>) {
        self.disconnected = None;
        let Err(error) = result else {
            self.launch.bgpd_is_connected().await;
            return tracing::info!("bgpd is connected to the new zebra");
        };
        tracing::error!(error = &error as &dyn Error, "bgpd is restarted too: its sessions return by themselves");
        self.kill(Daemon::Bgpd).await;
    }

    /// Kills a bgpd that has VRFs that are gone, unless its reconnection to zebra finds out.
    async fn restart_stale(&self, vrfs: StaleVrfs) {
        if self.disconnected.is_none() {
            let error = ReconnectError::Stale(vrfs);
            tracing::error!(error = &error as &dyn Error, "bgpd is restarted: its sessions return by themselves");
            self.kill(Daemon::Bgpd).await;
        }
    }

    /// Kills a daemon; its exit is handled as any other.
    async fn kill(&self, daemon: Daemon) {
        if let Some(running) = self.running.get(&daemon)
            && let Err(error) = running.process.kill().await
        {
            tracing::error!(%daemon, error = &error as &dyn Error, "daemon cannot be killed");
        }
    }

    /// Asks the daemons that run whether they reply.
    fn probe(&self) -> Probes {
        let probe = |(daemon, running): (&Daemon, &RunningDaemon)| {
            let (runtime, daemon, incarnation) = (self.launch.runtime.clone(), *daemon, running.process.incarnation);
            let echo = running.echo.clone();
            let (release, arguments) = (self.launch.release, running.process.arguments.clone());
            async move {
                let replied = echo.replies(&runtime, daemon).await;
                let in_vain = daemon == Daemon::Bgpd && graceful::waits_in_vain(runtime, release, arguments).await;
                (daemon, incarnation, replied, in_vain)
            }
        };
        join_all(self.running.iter().map(probe)).boxed()
    }

    /// Kills the daemons that hang.
    async fn judge(&mut self, replied: Vec<(Daemon, Incarnation, bool, bool)>) {
        for (daemon, incarnation, replied, in_vain) in replied {
            let running = self.running.get(&daemon).filter(|running| running.process.incarnation == incarnation);
            if in_vain && running.is_some() {
                tracing::warn!(%daemon, "graceful restart is not configured any more: restarting without");
                self.kill(daemon).await;
                continue;
            }
            let activity = running.filter(|_| !replied).and_then(|running| running.process.activity(daemon));
            match self.watchdog.judge(Instant::now(), daemon, incarnation, replied, activity) {
                Verdict::Fine => {}
                Verdict::Patience(reason) => tracing::warn!(%daemon, reason, "daemon does not reply"),
                Verdict::Hangs(reason) => {
                    tracing::error!(%daemon, pid = incarnation.pid, reason, "daemon does not reply, and is killed");
                    self.kill(daemon).await;
                }
            }
        }
    }

    fn keep_router_netns(&self) {
        if !self.running.is_empty()
            && let Err(error) = self.launch.keep_router_netns()
        {
            tracing::error!(error = &error as &dyn Error, "the router namespace is not bound to its path");
        }
    }

    /// When the next daemon that is down and whose dependency runs is to be started.
    fn next_start(&self) -> Option<Instant> {
        self.startable().filter_map(|daemon| self.due.get(&daemon).copied()).min()
    }

    fn startable(&self) -> impl Iterator<Item = Daemon> {
        self.daemons().iter().copied().filter(|daemon| {
            let needed = self.launch.release.needs(*daemon);
            let is_down = !self.running.contains_key(daemon) && !self.starting.contains(daemon);
            is_down && needed.is_none_or(|needed| self.running.contains_key(&needed))
        })
    }
}

fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
