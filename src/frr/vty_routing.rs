//! The real [`Routing`]: FRR's daemons over their vty sockets. In: batches and questions. Out: refusals and typed
//! answers. Connections are kept open; a broken one is dropped and made anew by the next call.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::command::Command;
use super::dialect::{Dialect, FrrVersion};
use super::diff::{Batch, Mode, Stage};
use super::model::Daemon;
use super::observe::{self, Lives, ObserveError, SessionKey, SessionState, VniState, VrfState};
use super::port::{Presence, Refusal, Routing, RoutingError, Running};
use super::reader::{Print, Reader};
use super::vty::{Reply, Status, Vty, VtyError};
use crate::types::{IfName, Vni, VrfMode, VrfName};

/// Time between two looks while waiting. zebra takes 1 to 11 ms to see a new namespace.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// bgpd refuses to drop an instance until it has heard from zebra that the VNI is gone: a few milliseconds.
const RETRY_FOR: Duration = Duration::from_secs(5);

/// FRR over the sockets `<directory>/<daemon>.vty`.
#[derive(Debug)]
pub struct VtyRouting {
    directory: PathBuf,
    limit: Duration,
    open: BTreeMap<Daemon, Vty>,
    /// That of the zebra whose connection is open.
    dialect: Option<Dialect>,
    reader: Reader,
    /// What was last said of sessions that are down, and what was read of it.
    down: Option<(String, Arc<BTreeMap<SessionKey, Lives>>)>,
}

impl VtyRouting {
    /// `limit` is the longest that one exchange with a daemon may take.
    pub fn new(directory: impl Into<PathBuf>, limit: Duration) -> Self {
        Self {
            directory: directory.into(),
            limit,
            open: BTreeMap::new(),
            dialect: None,
            reader: Reader::default(),
            down: None,
        }
    }

    /// The VRF mode that zebra runs in; `None` where this release does not tell it.
    ///
    /// # Errors
    /// Where zebra does not answer.
    pub async fn mode(&mut self) -> Result<Option<VrfMode>, RoutingError> {
        Ok(observe::mode(&self.ask(Daemon::Zebra, observe::SHOW_ZEBRA).await?))
    }

    /// The daemons whose socket is there.
    fn daemons(&self) -> Vec<Daemon> {
        let has_socket = |daemon: &Daemon| self.directory.join(format!("{daemon}.vty")).exists();
        Daemon::ALL.into_iter().filter(has_socket).collect()
    }

    /// Sends all lines to one daemon; `reconnect` if a connection that the daemon closed meanwhile may be made anew,
    /// which is right for questions only: a daemon that was restarted has lost its configuration.
    async fn exchange(&mut self, daemon: Daemon, lines: &[&str], reconnect: bool) -> Result<Vec<Reply>, RoutingError> {
        let was_open = self.open.contains_key(&daemon);
        match self.try_exchange(daemon, lines).await {
            Err(VtyError::Io { .. } | VtyError::Closed { .. }) if reconnect && was_open => {
                self.try_exchange(daemon, lines).await
            }
            result => result,
        }
        .map_err(|source| RoutingError::Vty { daemon, source })
    }

    async fn try_exchange(&mut self, daemon: Daemon, lines: &[&str]) -> Result<Vec<Reply>, VtyError> {
        // Taken out for the time being: a conversation that fails, or whose future is dropped, leaves replies behind.
        let mut vty = if let Some(vty) = self.open.remove(&daemon) {
            vty
        } else {
            if daemon == Daemon::Zebra {
                self.dialect = None;
            }
            Vty::connect(&self.directory.join(format!("{daemon}.vty")), self.limit).await?
        };
        let pipeline = self.dialect.is_none_or(|dialect| dialect.line_by_line != Some(daemon));
        let mut replies = Vec::with_capacity(lines.len());
        for lines in lines.chunks(if pipeline { lines.len().max(1) } else { 1 }) {
            replies.extend(vty.run_all(lines, self.limit).await?);
        }
        self.open.insert(daemon, vty);
        Ok(replies)
    }

    /// What a daemon says to a show command.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn ask(&mut self, daemon: Daemon, question: &str) -> Result<String, RoutingError> {
        let replies = self.exchange(daemon, &[question], true).await?;
        Ok(replies.into_iter().next().map(|reply| reply.text).unwrap_or_default())
    }

    /// How this FRR wants to be told. Asked anew of every zebra: a router may be upgraded beside a controller that stays.
    async fn dialect(&mut self) -> Result<Dialect, RoutingError> {
        if let Some(dialect) = self.dialect {
            return Ok(dialect);
        }
        let dialect = Dialect::of(&self.version().await?);
        self.dialect = Some(dialect);
        Ok(dialect)
    }

    async fn send(&mut self, batch: &Batch, commands: &[Command]) -> Result<Vec<Refusal>, RoutingError> {
        let dialect = self.dialect().await?;
        let daemon = dialect.told(batch.daemon);
        let mut lines: Vec<&str> = commands.iter().map(|command| command.line.send()).collect();
        let (before, after): (&[&str], &[&str]) = match batch.mode {
            Mode::Exec => (&[], &[]),
            Mode::Configure if gathers(dialect, daemon, batch.stage, commands.len()) => {
                (&[CONFIGURE, GATHER], &[COMMIT, "end"])
            }
            Mode::Configure => (&[CONFIGURE], &["end"]),
        };
        lines.splice(0..0, before.iter().copied());
        lines.extend(after);
        let mut replies = self.exchange(daemon, &lines, false).await?.into_iter();
        for (command, reply) in before.iter().zip(replies.by_ref()) {
            if !reply.status.is_ok() {
                return Err(RoutingError::Mode { daemon, command, text: reply.text.trim().to_owned() });
            }
        }
        let refused = |(command, reply): (&Command, Reply)| {
            let fine = reply.status.is_ok() || is_gone(&reply);
            (!fine).then(|| Refusal { daemon, command: command.clone(), status: reply.status, text: reply.text })
        };
        Ok(commands.iter().zip(replies).filter_map(refused).collect())
    }
}

const CONFIGURE: &str = "configure terminal";
/// Between these two FRR gathers the lines of its northbound (prefix lists, route maps, BFD profiles, VNIs) and commits
/// them together. A commit copies and checks all such lines that the daemon has, so its time grows with their number:
/// 4 ms at 120 VRFs, and as much for each line that is committed alone.
const GATHER: &str = "XFRR_start_configuration";
const COMMIT: &str = "XFRR_end_configuration";

/// bgpd takes the two for a start of its own and holds back new sessions and their routes for a second or more, so there
/// only what would take longer than that is gathered. mgmtd commits each line when it has answered it.
fn gathers(dialect: Dialect, daemon: Daemon, stage: Stage, lines: usize) -> bool {
    const BULK: usize = 200;
    match daemon {
        daemon if dialect.line_by_line == Some(daemon) => false,
        Daemon::Bgpd => matches!(stage, Stage::Policies | Stage::Leftovers) && lines >= BULK,
        _ => true,
    }
}

/// `no router bgp` for an instance that is not there.
fn is_gone(reply: &Reply) -> bool {
    reply.status == Status::Refused && reply.text.contains("Can't find BGP instance")
}

impl Routing for VtyRouting {
    async fn version(&mut self) -> Result<FrrVersion, RoutingError> {
        let daemon = Daemon::Zebra;
        let text = self.ask(daemon, "show version").await?;
        FrrVersion::parse(&text).ok_or(RoutingError::Version { daemon })
    }

    async fn running(&mut self) -> Result<Arc<Running>, RoutingError> {
        let dialect = self.dialect().await?;
        let mut prints = Vec::new();
        for daemon in self.daemons() {
            let text = self.ask(daemon, "show running-config").await?;
            prints.push(Print { daemon, owner: dialect.owner(daemon), text });
        }
        Ok(self.reader.read(&prints))
    }

    async fn apply(&mut self, batch: &Batch) -> Result<Vec<Refusal>, RoutingError> {
        let end = Instant::now() + RETRY_FOR;
        let mut refused = self.send(batch, &batch.commands).await?;
        while batch.retry && !refused.is_empty() && Instant::now() < end {
            sleep(LOOK_EVERY).await;
            let again: Vec<_> = refused.into_iter().map(|refusal| refusal.command).collect();
            refused = self.send(batch, &again).await?;
        }
        Ok(refused)
    }

    fn begin(&mut self, batch: Batch) -> impl Future<Output = Result<Vec<Refusal>, RoutingError>> + Send + use<> {
        let mut beside = Self { dialect: self.dialect, ..Self::new(&self.directory, self.limit) };
        async move { beside.apply(&batch).await }
    }

    async fn vrfs(&mut self) -> Result<BTreeMap<VrfName, VrfState>, RoutingError> {
        Ok(observe::vrfs(&self.ask(Daemon::Zebra, observe::SHOW_VRF).await?))
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
            sleep(LOOK_EVERY).await;
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
            let there = observe::links(&self.ask(Daemon::Zebra, &observe::show_links(vrf)).await?);
            let missing: BTreeSet<IfName> = links.difference(&there).cloned().collect();
            if missing.is_empty() {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(RoutingError::Links { vrf: vrf.clone(), links: missing, limit });
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn vnis(&mut self) -> Result<BTreeMap<Vni, VniState>, RoutingError> {
        let zebra = self.ask(Daemon::Zebra, observe::SHOW_ZEBRA_VNI).await?;
        let bgpd = self.ask(Daemon::Bgpd, observe::SHOW_BGP_VNI).await?;
        observe::vnis(&zebra, &bgpd).map_err(unreadable)
    }

    async fn sessions(&mut self) -> Result<Vec<SessionState>, RoutingError> {
        let summary = self.ask(Daemon::Bgpd, observe::SHOW_SESSIONS).await?;
        observe::sessions(&summary).map_err(unreadable)
    }

    async fn down(&mut self) -> Result<Arc<BTreeMap<SessionKey, Lives>>, RoutingError> {
        let summary = self.ask(Daemon::Bgpd, observe::SHOW_DOWN).await?;
        if let Some((last, down)) = &self.down
            && *last == summary
        {
            return Ok(Arc::clone(down));
        }
        let down = Arc::new(observe::down(&summary).map_err(unreadable)?);
        self.down = Some((summary, Arc::clone(&down)));
        Ok(down)
    }
}

fn unreadable(source: ObserveError) -> RoutingError {
    let daemon = if source.command == observe::SHOW_ZEBRA_VNI { Daemon::Zebra } else { Daemon::Bgpd };
    RoutingError::Unreadable { daemon, source }
}
