//! The real [`Routing`]: FRR's daemons over their vty sockets. In: batches and `show` commands. Out: rejected lines and typed
//! values. Connections are kept open; a broken one is dropped and opened again by the next call.

mod exchange;
mod neighbors;
mod session_start;
mod vni_reads;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use self::exchange::{BULK, BatchExchange, POLL, RETRY_FOR, collects, enclosing};
use self::session_start::{Exchange, SessionStart};
use self::vni_reads::unreadable;
use super::bulk_commit::{BulkConnection, end_abandoned_collection};
use super::port::{Presence, RejectedCommand, Routing, RoutingError};
use super::vty::{Vty, VtyError};
use crate::frr::config::batch::{BatchStage, CommandBatch, CommandMode};
use crate::frr::config::command::VtyCommand;
use crate::frr::release::{FrrVersion, Release};
use crate::frr::show::bfd::BfdPeer;
use crate::frr::show::interface::Interface;
use crate::frr::show::mac::LocalNeighbors;
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::route::ReceivedRoute;
use crate::frr::show::running_config::{DaemonOutput, RunningConfig, RunningConfigReader};
use crate::frr::show::session::{self, SessionCounters, SessionKey, SessionState};
use crate::frr::show::vni::{self, LocalCounts, VniState};
use crate::frr::show::vrf::{self, VrfState};
use crate::memo::Memo;
use crate::runtime::Daemon;
use crate::types::{IfName, MacAddr, Vni, VrfMode, VrfName};

/// bgpd holds a changed route for 50 ms in an IP-VRF and for 50 ms in the default instance.
const ADVERTISED: Duration = Duration::from_millis(150);
/// From so many IP-VRFs on, a commit takes bgpd so long that a [`BulkConnection`] pays.
const MANY: usize = 50;

/// FRR over the sockets `<directory>/<daemon>.vty`.
#[derive(Debug)]
pub struct VtyRouting {
    directory: PathBuf,
    limit: Duration,
    open: BTreeMap<Daemon, Vty>,
    /// To bgpd, for batches of policies.
    bulk: BulkConnection,
    /// No other client has left a collection at the bgpd to which the connection is open.
    is_clean: bool,
    /// Of the bgpd to which the connection is open.
    session_start: SessionStart,
    /// Of a copy for one batch: the sessions of bgpd wait.
    of_held: bool,
    /// The release of the zebra to which the connection is open.
    release: Option<Release>,
    /// Connections opened so far: one more for each daemon that was restarted.
    opened: u64,
    /// Those that did not answer.
    silent: BTreeMap<Daemon, Arc<VtyError>>,
    reader: RunningConfigReader,
    /// The sessions that are down, by the output about them.
    down: Memo<String, Arc<BTreeMap<SessionKey, SessionCounters>>>,
}

impl VtyRouting {
    /// `limit` is the longest that one exchange with a daemon may take.
    pub fn new(directory: impl Into<PathBuf>, limit: Duration) -> Self {
        Self {
            directory: directory.into(),
            limit,
            open: BTreeMap::new(),
            bulk: BulkConnection::default(),
            is_clean: false,
            session_start: SessionStart::Unknown,
            of_held: false,
            release: None,
            opened: 0,
            silent: BTreeMap::new(),
            reader: RunningConfigReader::default(),
            down: Memo::default(),
        }
    }

    /// The VRF mode in which zebra runs; `None` if this release does not print it.
    ///
    /// # Errors
    /// If zebra does not reply.
    pub async fn mode(&mut self) -> Result<Option<VrfMode>, RoutingError> {
        Ok(vrf::mode(&self.show(Daemon::Zebra, vrf::SHOW_ZEBRA).await?))
    }

    /// The connection to a daemon; opened if there is none. Taken out until an exchange is complete: one that fails, or whose
    /// future is dropped, leaves replies behind.
    async fn take(&mut self, daemon: Daemon) -> Result<Vty, VtyError> {
        if let Some(vty) = self.open.remove(&daemon) {
            return Ok(vty);
        }
        self.opened += 1;
        match daemon {
            Daemon::Zebra => self.release = None,
            // Opened to a bgpd that may have exited.
            Daemon::Bgpd => {
                self.bulk.take();
                self.is_clean = false;
                self.session_start = SessionStart::Unknown;
            }
            _ => {}
        }
        Vty::connect(&self.socket(daemon), self.limit).await
    }

    fn socket(&self, daemon: Daemon) -> PathBuf {
        self.directory.join(format!("{daemon}.vty"))
    }

    async fn try_show(&mut self, daemon: Daemon, command: &str) -> Result<String, VtyError> {
        let mut vty = self.take(daemon).await?;
        let reply = vty.run(command, self.limit).await?;
        self.open.insert(daemon, vty);
        Ok(reply.text)
    }

    /// The output of a daemon for a `show` command.
    ///
    /// # Errors
    /// If it does not reply.
    pub async fn show(&mut self, daemon: Daemon, command: &str) -> Result<String, RoutingError> {
        let was_open = self.open.contains_key(&daemon);
        match self.try_show(daemon, command).await {
            // The daemon closed the connection in the meantime.
            Err(VtyError::Io { .. } | VtyError::Closed { .. }) if was_open => self.try_show(daemon, command).await,
            result => result,
        }
        .map_err(|source| RoutingError::Vty { daemon, source })
    }

    /// The release of the zebra to which the connection is open. Read again from every new zebra: a router may be upgraded
    /// while the controller stays. No cache: to read it for a batch would open a connection to a zebra that was restarted and
    /// has lost what the batch was made for.
    async fn known_release(&mut self) -> Result<Release, RoutingError> {
        if let Some(release) = self.release {
            return Ok(release);
        }
        let release = self.release().await?;
        self.release = Some(release);
        Ok(release)
    }

    /// Asks a bgpd of which it is not known whether its sessions wait.
    async fn read_session_start(&mut self, release: Release) -> Result<(), RoutingError> {
        // To ask opens the connection, and an answer is of what the connection is open to.
        if release.restarts_gracefully() && self.session_start == SessionStart::Unknown {
            self.session_start = session_start::read(self).await?;
        }
        Ok(())
    }

    fn is_held(&self) -> bool {
        self.of_held || self.session_start == SessionStart::Held
    }

    /// Sends commands to one daemon. Fails on a connection that the daemon has closed: a daemon that was restarted has lost its
    /// configuration.
    async fn send(
        &mut self,
        batch: &CommandBatch,
        commands: &[VtyCommand],
    ) -> Result<Vec<RejectedCommand>, RoutingError> {
        let release = self.known_release().await?;
        let daemon = release.configured_by(batch.daemon);
        let collected = batch.mode == CommandMode::Configure && collects(release, daemon, batch.stage, commands.len());
        let is_held = daemon == Daemon::Bgpd && self.is_held();
        let exchange = BatchExchange {
            daemon,
            enclosing: enclosing(batch.mode, collected, is_held),
            collected,
            line_by_line: release.line_by_line == Some(daemon),
            limit: self.limit,
        };
        let mut vty = self.take(daemon).await.map_err(|source| RoutingError::Vty { daemon, source })?;
        let rejected = exchange.run(&mut vty, commands).await?;
        self.open.insert(daemon, vty);
        Ok(rejected)
    }
}

impl Exchange for VtyRouting {
    async fn ask(&mut self, daemon: Daemon, command: &str) -> Result<String, RoutingError> {
        self.show(daemon, command).await
    }

    async fn send_to_bgpd(&mut self, lines: &[&str]) -> Result<(), RoutingError> {
        let lost = |source| RoutingError::Vty { daemon: Daemon::Bgpd, source };
        let mut vty = self.take(Daemon::Bgpd).await.map_err(lost)?;
        vty.run_all(lines, self.limit).await.map_err(lost)?;
        self.open.insert(Daemon::Bgpd, vty);
        Ok(())
    }
}

impl Routing for VtyRouting {
    async fn version(&mut self) -> Result<FrrVersion, RoutingError> {
        let daemon = Daemon::Zebra;
        let text = self.show(daemon, "show version").await?;
        FrrVersion::parse(&text).ok_or(RoutingError::Version { daemon })
    }

    async fn running(&mut self) -> Result<Arc<RunningConfig>, RoutingError> {
        let release = self.known_release().await?;
        let mut prints = Vec::new();
        self.silent.clear();
        for daemon in release.daemons {
            match self.show(*daemon, "show running-config").await {
                Ok(text) => prints.push(DaemonOutput { daemon: *daemon, owner: release.owner(*daemon), text }),
                Err(RoutingError::Vty { daemon, source }) if daemon != Daemon::Zebra => {
                    self.silent.insert(daemon, Arc::new(source));
                }
                Err(error) => return Err(error),
            }
        }
        if !self.silent.contains_key(&Daemon::Bgpd) {
            self.read_session_start(release).await?;
        }
        Ok(self.reader.read(&prints))
    }

    async fn start_sessions(&mut self) -> Result<(), RoutingError> {
        let release = self.known_release().await?;
        self.read_session_start(release).await?;
        if self.session_start == SessionStart::Held {
            self.session_start = session_start::start(self).await?;
        }
        Ok(())
    }

    fn silent(&self) -> BTreeMap<Daemon, Arc<VtyError>> {
        self.silent.clone()
    }

    fn generation(&self) -> u64 {
        self.opened
    }

    async fn apply(&mut self, batch: &CommandBatch) -> Result<Vec<RejectedCommand>, RoutingError> {
        let end = Instant::now() + RETRY_FOR;
        let mut rejected = self.send(batch, &batch.commands).await?;
        while batch.retry && !rejected.is_empty() && Instant::now() < end {
            sleep(POLL).await;
            let again: Vec<_> = rejected.into_iter().map(|rejected| rejected.command).collect();
            rejected = self.send(batch, &again).await?;
        }
        Ok(rejected)
    }

    fn apply_concurrently(
        &mut self,
        batch: CommandBatch,
    ) -> impl Future<Output = Result<Vec<RejectedCommand>, RoutingError>> + Send + use<> {
        let (release, of_held) = (self.release, self.is_held());
        let mut other = Self { of_held, release, ..Self::new(&self.directory, self.limit) };
        let is_small = batch.stage == BatchStage::Policies && batch.commands.len() < BULK;
        let collecting = if is_small { self.bulk.take() } else { None };
        let back = collecting.is_some().then(|| self.bulk.clone());
        other.open.extend(collecting.map(|vty| (Daemon::Bgpd, vty)));
        async move {
            let rejected = other.apply(&batch).await;
            if let Some(bulk) = back
                && let Some(vty) = other.open.remove(&Daemon::Bgpd)
            {
                bulk.put(vty);
            }
            rejected
        }
    }

    async fn idle(&mut self, ip_vrfs: usize) -> Result<(), RoutingError> {
        let daemon = Daemon::Bgpd;
        let lost = |source| RoutingError::Vty { daemon, source };
        if ip_vrfs >= MANY && !self.bulk.is_open() {
            self.bulk.open(&self.socket(daemon), self.limit).await.map_err(lost)?;
        } else if !self.is_clean {
            let mut vty = self.take(daemon).await.map_err(lost)?;
            end_abandoned_collection(&mut vty, self.limit).await.map_err(lost)?;
            self.open.insert(daemon, vty);
        }
        self.is_clean = true;
        Ok(())
    }

    async fn vrfs(&mut self) -> Result<BTreeMap<VrfName, VrfState>, RoutingError> {
        Ok(vrf::vrfs(&self.show(Daemon::Zebra, vrf::SHOW_VRF).await?))
    }

    async fn wait_vrf(&mut self, vrf: &VrfName, wanted: Presence, limit: Duration) -> Result<(), RoutingError> {
        let end = Instant::now() + limit;
        loop {
            let is_active = self.vrfs().await?.get(vrf) == Some(&VrfState::Active);
            if is_active == (wanted == Presence::Active) {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(RoutingError::Vrf { vrf: vrf.clone(), wanted, limit });
            }
            sleep(POLL).await;
        }
    }

    async fn wait_links(
        &mut self,
        vrf: &VrfName,
        links: &BTreeSet<IfName>,
        limit: Duration,
    ) -> Result<(), RoutingError> {
        let end = Instant::now() + limit;
        loop {
            let present = vrf::links(&self.show(Daemon::Zebra, &vrf::show_links(vrf)).await?);
            let missing: BTreeSet<IfName> = links.difference(&present).cloned().collect();
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(RoutingError::Links { vrf: vrf.clone(), links: missing, limit });
            }
            sleep(POLL).await;
        }
    }

    async fn wait_router_macs(&mut self, wanted: &BTreeMap<Vni, MacAddr>, limit: Duration) -> Result<(), RoutingError> {
        let (end, vnis) = (Instant::now() + limit, wanted.keys().copied().collect());
        let has = |found: &BTreeMap<Vni, VniState>| {
            wanted.iter().all(|(vni, mac)| found.get(vni).and_then(|state| state.advertised_mac) == Some(*mac))
        };
        while !wanted.is_empty() && !has(&self.vnis_of(&vnis).await?) && Instant::now() < end {
            sleep(POLL).await;
        }
        sleep(ADVERTISED).await;
        Ok(())
    }

    async fn vnis(&mut self) -> Result<BTreeMap<Vni, VniState>, RoutingError> {
        vni_reads::all(self).await
    }

    async fn vnis_of(&mut self, wanted: &BTreeSet<Vni>) -> Result<BTreeMap<Vni, VniState>, RoutingError> {
        vni_reads::of(self, wanted).await
    }

    async fn local_neighbors(&mut self, vni: Vni) -> Result<Option<LocalNeighbors>, RoutingError> {
        vni_reads::local_neighbors(self, vni).await
    }

    async fn local_counts(&mut self, vni: Vni) -> Result<LocalCounts, RoutingError> {
        vni_reads::local_counts(self, vni).await
    }

    async fn router_macs(&mut self, vni: Vni) -> Result<BTreeSet<MacAddr>, RoutingError> {
        Ok(vni::router_macs(&self.show(Daemon::Zebra, &vni::show_router_macs(vni)).await?))
    }

    async fn sessions(&mut self) -> Result<Vec<SessionState>, RoutingError> {
        session::sessions(&self.show(Daemon::Bgpd, session::SHOW_SESSIONS).await?).map_err(unreadable)
    }

    async fn filtered(&mut self, session: &SessionState) -> Result<Vec<ReceivedRoute>, RoutingError> {
        neighbors::filtered(self, session).await
    }

    async fn neighbors(
        &mut self,
        wanted: &BTreeSet<SessionKey>,
    ) -> Result<BTreeMap<SessionKey, SessionReset>, RoutingError> {
        neighbors::read(self, wanted).await
    }

    async fn bfd_peers(&mut self) -> Result<Vec<BfdPeer>, RoutingError> {
        neighbors::bfd_peers(self).await
    }

    async fn default_links(&mut self) -> Result<BTreeMap<String, Interface>, RoutingError> {
        neighbors::default_links(self).await
    }

    async fn down_sessions(&mut self) -> Result<Arc<BTreeMap<SessionKey, SessionCounters>>, RoutingError> {
        let summary = self.show(Daemon::Bgpd, session::SHOW_DOWN_SESSIONS).await?;
        if let Some(down) = self.down.get(&summary) {
            return Ok(Arc::clone(down));
        }
        let down = Arc::new(session::down_sessions(&summary).map_err(unreadable)?);
        self.down.set(summary, Arc::clone(&down));
        Ok(down)
    }
}

#[cfg(test)]
mod tests;
