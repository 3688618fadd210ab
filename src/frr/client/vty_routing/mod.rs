//! The real [`Routing`]: FRR's daemons over their vty sockets. In: batches and questions. Out: refusals and typed
//! answers. Connections are kept open; a broken one is dropped and made anew by the next call.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::bulk_commit::{BulkConnection, COMMIT, CONFIGURE, END, GATHER, end_what_others_began};
use super::port::{Presence, RejectedCommand, Routing, RoutingError};
use super::vty::{Reply, ReplyStatus, Vty, VtyError};
use crate::frr::config::batch::{BatchStage, CommandBatch, CommandMode};
use crate::frr::config::command::{Intent, VtyCommand};
use crate::frr::release::{FrrVersion, Release};
use crate::frr::show::ShowError;
use crate::frr::show::running_config::{DaemonOutput, RunningConfig, RunningConfigReader};
use crate::frr::show::session::{self, SessionCounters, SessionKey, SessionState};
use crate::frr::show::vni::{self, VniState};
use crate::frr::show::vrf::{self, VrfState};
use crate::frr::stanza::rules;
use crate::runtime::Daemon;
use crate::types::{IfName, Vni, VrfMode, VrfName};

/// Time between two looks while waiting. zebra takes 1 to 11 ms to see a new namespace.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// bgpd refuses to drop an instance until it has heard from zebra that the VNI is gone: a few milliseconds. mgmtd is
/// locked for about as long.
const RETRY_FOR: Duration = Duration::from_secs(5);

/// So many lines take bgpd longer one by one than it holds back sessions.
const BULK: usize = 200;
/// Up to so many L3VNIs are asked for one by one.
const FEW: usize = 8;
/// From so many IP-VRFs on a commit takes bgpd long.
const MANY: usize = 50;

/// FRR over the sockets `<directory>/<daemon>.vty`.
#[derive(Debug)]
pub struct VtyRouting {
    directory: PathBuf,
    limit: Duration,
    open: BTreeMap<Daemon, Vty>,
    /// To bgpd.
    bulk: BulkConnection,
    /// What others began at the bgpd whose connection is open is ended.
    is_alone: bool,
    /// That of the zebra whose connection is open.
    release: Option<Release>,
    reader: RunningConfigReader,
    /// What was last said of sessions that are down, and what was read of it.
    down: Option<(String, Arc<BTreeMap<SessionKey, SessionCounters>>)>,
}

impl VtyRouting {
    /// `limit` is the longest that one exchange with a daemon may take.
    pub fn new(directory: impl Into<PathBuf>, limit: Duration) -> Self {
        Self {
            directory: directory.into(),
            limit,
            open: BTreeMap::new(),
            bulk: BulkConnection::default(),
            is_alone: false,
            release: None,
            reader: RunningConfigReader::default(),
            down: None,
        }
    }

    /// The VRF mode that zebra runs in; `None` where this release does not tell it.
    ///
    /// # Errors
    /// Where zebra does not answer.
    pub async fn mode(&mut self) -> Result<Option<VrfMode>, RoutingError> {
        Ok(vrf::mode(&self.show(Daemon::Zebra, vrf::SHOW_ZEBRA).await?))
    }

    /// The daemons whose socket is there.
    fn daemons(&self) -> Vec<Daemon> {
        let has_socket = |daemon: &Daemon| self.socket(*daemon).exists();
        Daemon::ALL.into_iter().filter(has_socket).collect()
    }

    /// The connection to a daemon, made anew where there is none. Taken out until a conversation is through: one that fails,
    /// or whose future is dropped, leaves replies behind.
    async fn take(&mut self, daemon: Daemon) -> Result<Vty, VtyError> {
        if let Some(vty) = self.open.remove(&daemon) {
            return Ok(vty);
        }
        match daemon {
            Daemon::Zebra => self.release = None,
            // Made with a bgpd that may be gone.
            Daemon::Bgpd => {
                self.bulk.take();
                self.is_alone = false;
            }
            _ => {}
        }
        Vty::connect(&self.socket(daemon), self.limit).await
    }

    fn socket(&self, daemon: Daemon) -> PathBuf {
        self.directory.join(format!("{daemon}.vty"))
    }

    async fn try_show(&mut self, daemon: Daemon, question: &str) -> Result<String, VtyError> {
        let mut vty = self.take(daemon).await?;
        let reply = vty.run(question, self.limit).await?;
        self.open.insert(daemon, vty);
        Ok(reply.text)
    }

    /// What a daemon says to a show command.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn show(&mut self, daemon: Daemon, question: &str) -> Result<String, RoutingError> {
        let was_open = self.open.contains_key(&daemon);
        match self.try_show(daemon, question).await {
            // The daemon closed the connection meanwhile.
            Err(VtyError::Io { .. } | VtyError::Closed { .. }) if was_open => self.try_show(daemon, question).await,
            result => result,
        }
        .map_err(|source| RoutingError::Vty { daemon, source })
    }

    /// The release of the zebra to which the connection is open. Read again from every new zebra: a router may be upgraded
    /// while the controller stays.
    async fn known_release(&mut self) -> Result<Release, RoutingError> {
        if let Some(release) = self.release {
            return Ok(release);
        }
        let release = self.release().await?;
        self.release = Some(release);
        Ok(release)
    }

    /// Tells one daemon. On a connection that it closed meanwhile this fails: a daemon that was restarted has lost its
    /// configuration.
    async fn send(
        &mut self,
        batch: &CommandBatch,
        commands: &[VtyCommand],
    ) -> Result<Vec<RejectedCommand>, RoutingError> {
        let release = self.known_release().await?;
        let daemon = release.configured_by(batch.daemon);
        let gathered = batch.mode == CommandMode::Configure && gathers(release, daemon, batch.stage, commands.len());
        let (before, after): (&[&'static str], &[&str]) = match batch.mode {
            CommandMode::Exec => (&[], &[]),
            CommandMode::Configure if gathered => (&[CONFIGURE, GATHER], &[COMMIT, END]),
            CommandMode::Configure => (&[CONFIGURE], &[END]),
        };
        let lost = |source| RoutingError::Vty { daemon, source };
        let mut vty = self.take(daemon).await.map_err(lost)?;
        let line_by_line = release.line_by_line == Some(daemon);
        let mut refused = Vec::new();
        let (mut before, mut rest) = (before, commands);
        loop {
            // What is gathered is looked at when all of it is told.
            let header = if gathered { None } else { rest.iter().position(opens) };
            let (part, later) = rest.split_at(header.map_or(rest.len(), |header| header + 1));
            let mut lines = before.to_vec();
            lines.extend(part.iter().map(|command| command.line.send()));
            if later.is_empty() {
                lines.extend(after);
            }
            let mut replies = tell(&mut vty, &lines, line_by_line, self.limit).await.map_err(lost)?.into_iter();
            for (command, reply) in before.iter().zip(replies.by_ref()) {
                if !reply.status.is_ok() {
                    return Err(RoutingError::Mode { daemon, command, text: reply.text.trim().to_owned() });
                }
            }
            let refusal = |(command, reply): (&VtyCommand, Reply)| {
                let fine = reply.status.is_ok() || is_gone(&reply);
                (!fine).then(|| RejectedCommand {
                    daemon,
                    command: command.clone(),
                    status: reply.status,
                    text: reply.text,
                })
            };
            let new: Vec<RejectedCommand> = part.iter().zip(replies).filter_map(refusal).collect();
            let is_closed = new.last().is_some_and(|refusal| opens(&refusal.command));
            refused.extend(new);
            if later.is_empty() {
                break;
            }
            (before, rest) = (&[], if is_closed { past_stanza(later) } else { later });
        }
        self.open.insert(daemon, vty);
        Ok(refused)
    }
}

/// Whether a stanza of the top level begins here. It has to stand before the lines in it are told: FRR takes some of them
/// outside of it as well, and there they mean something else. `vni 100` in place of `vrf red` and `vni 100` would be the
/// L3VNI of the default VRF, or of the VRF before.
fn opens(command: &VtyCommand) -> bool {
    command.context.is_empty() && command.intent != Intent::Leave && rules::opens(command.line.send())
}

/// What comes after the stanza that these commands are in.
fn past_stanza(commands: &[VtyCommand]) -> &[VtyCommand] {
    let end = commands.iter().position(|command| command.context.is_empty() && command.intent == Intent::Leave);
    end.map_or(&[], |end| &commands[end + 1..])
}

/// Tells lines and gives the reply to each.
async fn tell(vty: &mut Vty, lines: &[&str], line_by_line: bool, limit: Duration) -> Result<Vec<Reply>, VtyError> {
    if !line_by_line {
        return vty.run_all(lines, limit).await;
    }
    let mut replies = Vec::with_capacity(lines.len());
    for line in lines {
        let end = Instant::now() + RETRY_FOR;
        let mut reply = vty.run(line, limit).await?;
        while is_locked(&reply) && Instant::now() < end {
            sleep(LOOK_EVERY).await;
            reply = vty.run(line, limit).await?;
        }
        replies.push(reply);
    }
    Ok(replies)
}

/// bgpd takes the two for a start of its own and holds back new sessions and their routes for a second or more, so there
/// only what would take longer than that is gathered. mgmtd commits each line when it has answered it.
fn gathers(release: Release, daemon: Daemon, stage: BatchStage, lines: usize) -> bool {
    match daemon {
        daemon if release.line_by_line == Some(daemon) => false,
        Daemon::Bgpd => matches!(stage, BatchStage::Policies | BatchStage::Leftovers) && lines >= BULK,
        _ => true,
    }
}

/// Somebody else changes the configuration; mgmtd itself does for a while, when a daemon has come to it.
fn is_locked(reply: &Reply) -> bool {
    !reply.status.is_ok() && reply.text.contains("could not lock")
}

/// `no router bgp` for an instance that is not there.
fn is_gone(reply: &Reply) -> bool {
    reply.status == ReplyStatus::Rejected && reply.text.contains("Can't find BGP instance")
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
        for daemon in self.daemons() {
            let text = self.show(daemon, "show running-config").await?;
            prints.push(DaemonOutput { daemon, owner: release.owner(daemon), text });
        }
        Ok(self.reader.read(&prints))
    }

    async fn apply(&mut self, batch: &CommandBatch) -> Result<Vec<RejectedCommand>, RoutingError> {
        let end = Instant::now() + RETRY_FOR;
        let mut refused = self.send(batch, &batch.commands).await?;
        while batch.retry && !refused.is_empty() && Instant::now() < end {
            sleep(LOOK_EVERY).await;
            let again: Vec<_> = refused.into_iter().map(|refusal| refusal.command).collect();
            refused = self.send(batch, &again).await?;
        }
        Ok(refused)
    }

    fn apply_concurrently(
        &mut self,
        batch: CommandBatch,
    ) -> impl Future<Output = Result<Vec<RejectedCommand>, RoutingError>> + Send + use<> {
        let mut beside = Self { release: self.release, ..Self::new(&self.directory, self.limit) };
        let is_small = batch.stage == BatchStage::Policies && batch.commands.len() < BULK;
        let gathers = if is_small { self.bulk.take() } else { None };
        let back = gathers.is_some().then(|| self.bulk.clone());
        beside.open.extend(gathers.map(|vty| (Daemon::Bgpd, vty)));
        async move {
            let answer = beside.apply(&batch).await;
            if let Some(bulk) = back
                && let Some(vty) = beside.open.remove(&Daemon::Bgpd)
            {
                bulk.put(vty);
            }
            answer
        }
    }

    async fn idle(&mut self, ip_vrfs: usize) -> Result<(), RoutingError> {
        let daemon = Daemon::Bgpd;
        let lost = |source| RoutingError::Vty { daemon, source };
        if ip_vrfs >= MANY && !self.bulk.is_there() {
            self.bulk.make(&self.socket(daemon), self.limit).await.map_err(lost)?;
        } else if !self.is_alone {
            let mut vty = self.take(daemon).await.map_err(lost)?;
            end_what_others_began(&mut vty, self.limit).await.map_err(lost)?;
            self.open.insert(daemon, vty);
        }
        self.is_alone = true;
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
            let there = vrf::links(&self.show(Daemon::Zebra, &vrf::show_links(vrf)).await?);
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
        let zebra = self.show(Daemon::Zebra, vni::SHOW_ZEBRA_VNI).await?;
        let bgpd = self.show(Daemon::Bgpd, vni::SHOW_BGP_VNI).await?;
        vni::vnis(&zebra, &bgpd).map_err(unreadable)
    }

    async fn vnis_of(&mut self, wanted: &BTreeSet<Vni>) -> Result<BTreeMap<Vni, VniState>, RoutingError> {
        if wanted.len() > FEW {
            return self.vnis().await;
        }
        let (mut zebra, mut bgpd) = (Vec::new(), Vec::new());
        for vni in wanted {
            zebra.push(self.show(Daemon::Zebra, &vni::show_zebra_vni(*vni)).await?);
            bgpd.push(self.show(Daemon::Bgpd, &vni::show_bgp_vni(*vni)).await?);
        }
        vni::vnis(&vni::listed(&zebra), &vni::listed(&bgpd)).map_err(unreadable)
    }

    async fn sessions(&mut self) -> Result<Vec<SessionState>, RoutingError> {
        let summary = self.show(Daemon::Bgpd, session::SHOW_SESSIONS).await?;
        session::sessions(&summary).map_err(unreadable)
    }

    async fn down_sessions(&mut self) -> Result<Arc<BTreeMap<SessionKey, SessionCounters>>, RoutingError> {
        let summary = self.show(Daemon::Bgpd, session::SHOW_DOWN_SESSIONS).await?;
        if let Some((last, down)) = &self.down
            && *last == summary
        {
            return Ok(Arc::clone(down));
        }
        let down = Arc::new(session::down_sessions(&summary).map_err(unreadable)?);
        self.down = Some((summary, Arc::clone(&down)));
        Ok(down)
    }
}

fn unreadable(source: ShowError) -> RoutingError {
    let daemon = if source.command == vni::SHOW_ZEBRA_VNI { Daemon::Zebra } else { Daemon::Bgpd };
    RoutingError::Unreadable { daemon, source }
}

#[cfg(test)]
mod tests;
