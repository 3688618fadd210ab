//! How the lines of a batch are sent in one exchange: which are checked before the next are sent, which are collected, and
//! what is repeated. In: a connection and commands. Out: replies.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::frr::client::vty::{Reply, ReplyStatus, Vty, VtyError};
use crate::frr::config::batch::BatchStage;
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
pub(super) fn opens_stanza(command: &VtyCommand) -> bool {
    command.context.is_empty() && command.intent != Intent::Leave && rules::opens(command.line.send())
}

/// The commands after the stanza in which these are.
pub(super) fn past_stanza(commands: &[VtyCommand]) -> &[VtyCommand] {
    let end = commands.iter().position(|command| command.context.is_empty() && command.intent == Intent::Leave);
    end.map_or(&[], |end| &commands[end + 1..])
}

/// Sends lines and returns the reply to each.
pub(super) async fn run_lines(
    vty: &mut Vty,
    lines: &[&str],
    line_by_line: bool,
    limit: Duration,
) -> Result<Vec<Reply>, VtyError> {
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
pub(super) fn does_not_exist(reply: &Reply) -> bool {
    reply.status == ReplyStatus::Rejected && reply.text.contains("Can't find BGP instance")
}
