//! How the lines of a batch are sent in one exchange: which are checked before the next are sent, which are collected, and
//! what is repeated. In: a connection and commands. Out: replies.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::frr::client::bulk_commit::{COLLECT, COMMIT, CONFIGURE, END};
use crate::frr::client::port::{RejectedCommand, RoutingError};
use crate::frr::client::vty::{Reply, ReplyStatus, Vty, VtyError};
use crate::frr::config::batch::{BatchStage, CommandMode};
use crate::frr::config::command::{Intent, VtyCommand};
use crate::frr::release::Release;
use crate::frr::stanza::rules;
use crate::runtime::Daemon;

/// Interval between two polls while waiting. zebra takes 1 to 11 ms to find a new namespace.
pub(super) const POLL: Duration = Duration::from_millis(2);
/// bgpd rejects the removal of an instance until zebra has reported the removal of its VNI: a few milliseconds. mgmtd is
/// locked for about as long.
pub(super) const RETRY_FOR: Duration = Duration::from_secs(5);

/// From so many lines on, bgpd takes longer to commit them one by one than it holds back sessions for a common commit.
pub(super) const BULK: usize = 200;
/// Whether a command opens a stanza of the top level. It must have been accepted before the lines in it are sent: FRR accepts
/// some of them outside of it as well, with another meaning. `vni 100` instead of `vrf red` and `vni 100` would be the L3VNI
/// of the default VRF, or of the VRF before.
fn opens_stanza(command: &VtyCommand) -> bool {
    command.context.is_empty() && command.intent != Intent::Leave && rules::opens(command.line.send())
}

/// The commands after the stanza in which these are.
fn past_stanza(commands: &[VtyCommand]) -> &[VtyCommand] {
    let end = commands.iter().position(|command| command.context.is_empty() && command.intent == Intent::Leave);
    end.map_or(&[], |end| &commands[end + 1..])
}

/// What is sent before and after the lines of a batch. The end commits what was collected as well as a commit, which starts the
/// sessions of a bgpd that holds them.
pub(super) fn enclosing(mode: CommandMode, collected: bool, is_held: bool) -> Enclosing {
    match mode {
        CommandMode::Exec => (&[], &[]),
        CommandMode::Configure if collected && is_held => (&[CONFIGURE, COLLECT], &[END]),
        CommandMode::Configure if collected => (&[CONFIGURE, COLLECT], &[COMMIT, END]),
        CommandMode::Configure => (&[CONFIGURE], &[END]),
    }
}

/// Lines before and after others.
type Enclosing = (&'static [&'static str], &'static [&'static str]);

/// How a batch is sent to a daemon.
pub(super) struct BatchExchange {
    /// To whom.
    pub daemon: Daemon,
    /// Before and after the lines of the batch.
    pub enclosing: Enclosing,
    /// The daemon checks the lines when it has all of them.
    pub collected: bool,
    /// It takes one line at a time.
    pub line_by_line: bool,
    /// Time limit of one exchange.
    pub limit: Duration,
}

impl BatchExchange {
    /// Sends the lines up to each header of a stanza and checks that, so that no line of a rejected stanza is applied elsewhere.
    pub async fn run(&self, vty: &mut Vty, commands: &[VtyCommand]) -> Result<Vec<RejectedCommand>, RoutingError> {
        let daemon = self.daemon;
        let (mut before, after) = self.enclosing;
        let (mut rejected, mut rest) = (Vec::new(), commands);
        loop {
            // Collected lines are checked when all are sent.
            let header = if self.collected { None } else { rest.iter().position(opens_stanza) };
            let (part, later) = rest.split_at(header.map_or(rest.len(), |header| header + 1));
            let mut lines = before.to_vec();
            lines.extend(part.iter().map(|command| command.line.send()));
            if later.is_empty() {
                lines.extend(after);
            }
            let replies = run_lines(vty, &lines, self.line_by_line, self.limit).await;
            let mut replies = replies.map_err(|source| RoutingError::Vty { daemon, source })?.into_iter();
            for (command, reply) in before.iter().zip(replies.by_ref()) {
                if !reply.status.is_ok() {
                    return Err(RoutingError::Mode { daemon, command, text: reply.text.trim().to_owned() });
                }
            }
            let new: Vec<RejectedCommand> =
                part.iter().zip(replies).filter_map(|(command, reply)| rejection(daemon, command, reply)).collect();
            let is_closed = new.last().is_some_and(|rejected| opens_stanza(&rejected.command));
            rejected.extend(new);
            if later.is_empty() {
                return Ok(rejected);
            }
            (before, rest) = (&[], if is_closed { past_stanza(later) } else { later });
        }
    }
}

/// The rejection of a command, if its reply is one.
fn rejection(daemon: Daemon, command: &VtyCommand, reply: Reply) -> Option<RejectedCommand> {
    let fine = reply.status.is_ok() || does_not_exist(&reply);
    let Reply { status, text } = reply;
    (!fine).then(|| RejectedCommand { daemon, command: command.clone(), status, text })
}

/// Sends lines and returns the reply to each.
async fn run_lines(vty: &mut Vty, lines: &[&str], line_by_line: bool, limit: Duration) -> Result<Vec<Reply>, VtyError> {
    if !line_by_line {
        return vty.run_all(lines, limit).await;
    }
    let mut replies = Vec::with_capacity(lines.len());
    for line in lines {
        let end = Instant::now() + RETRY_FOR;
        let mut reply = vty.run(line, limit).await?;
        while is_locked(&reply) && Instant::now() < end {
            sleep(POLL).await;
            reply = vty.run(line, limit).await?;
        }
        replies.push(reply);
    }
    Ok(replies)
}

/// Whether lines are sent between [`COLLECT`](super::super::bulk_commit::COLLECT) and `COMMIT`. bgpd holds back new sessions
/// and their routes for a second or more then, as after its start, so only what would take longer is collected there. mgmtd
/// commits each line when it has replied.
pub(super) fn collects(release: Release, daemon: Daemon, stage: BatchStage, lines: usize) -> bool {
    match daemon {
        daemon if release.line_by_line == Some(daemon) => false,
        Daemon::Bgpd => matches!(stage, BatchStage::Policies | BatchStage::Leftovers) && lines >= BULK,
        _ => true,
    }
}

/// Another client changes the configuration, or mgmtd itself, for a while after a daemon has connected to it.
fn is_locked(reply: &Reply) -> bool {
    !reply.status.is_ok() && reply.text.contains("could not lock")
}

/// `no router bgp` for an instance that does not exist.
fn does_not_exist(reply: &Reply) -> bool {
    reply.status == ReplyStatus::Rejected && reply.text.contains("Can't find BGP instance")
}
