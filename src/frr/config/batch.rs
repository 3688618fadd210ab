//! Commands for one daemon that are sent in one exchange, and when. Pure.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::command::{LineChange, VtyCommand, lay_out};
use crate::runtime::Daemon;
use crate::scope::Scope;

/// The mode in which commands are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandMode {
    /// After `configure terminal`.
    Configure,
    /// At the top, such as `clear`.
    Exec,
}

/// When a batch is sent. Batches of several scopes may be sent stage by stage, see [`merge`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BatchStage {
    /// The VNI is removed from zebra.
    NoVni,
    /// The instance is removed from bgpd.
    NoInstance,
    /// BFD profiles, before a neighbor names one.
    Profiles,
    /// The instance of an IP-VRF in an AS of its own is created in bgpd. If bgpd receives the VNI from zebra first, it creates
    /// an instance in the AS of the default instance by itself, and accepts no other.
    Claim,
    /// The VNI is configured in zebra.
    Vrf,
    /// Prefix lists and route maps, before a neighbor names one.
    Policies,
    /// The BGP instance.
    Instance,
    /// Policies and profiles that are not used any more are removed.
    Leftovers,
    /// Sessions are reset.
    Clear,
    /// The VRF is removed from zebra.
    NoVrf,
}

/// Commands for one daemon, sent in one exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandBatch {
    /// When.
    pub stage: BatchStage,
    /// Which daemon.
    pub daemon: Daemon,
    /// In which mode.
    pub mode: CommandMode,
    /// FRR rejects these for a while ("Please unconfigure l3vni first", until bgpd has received the removal of the VNI from
    /// zebra; "Only inactive VRFs can be deleted", until staticd has received that of the device): repeat them.
    pub retry: bool,
    /// The commands, in order.
    pub commands: Vec<VtyCommand>,
}

/// Merges what is sent to one daemon at one stage into one batch, in the order of stages. FRR checks all policies of a daemon
/// at the end of each batch that changes one, so that the time for N scopes one by one grows with the square of N.
pub fn merge(batches: impl IntoIterator<Item = CommandBatch>) -> Vec<CommandBatch> {
    let mut merged: BTreeMap<(BatchStage, Daemon), CommandBatch> = BTreeMap::new();
    for batch in batches {
        match merged.entry((batch.stage, batch.daemon)) {
            Entry::Vacant(entry) => {
                entry.insert(batch);
            }
            Entry::Occupied(mut entry) => entry.get_mut().commands.extend(batch.commands),
        }
    }
    merged.into_values().collect()
}

/// A batch of these changes; `None` without a change.
pub(crate) fn batch(
    stage: BatchStage,
    daemon: Daemon,
    scope: &Scope,
    changes: Vec<LineChange>,
) -> Option<CommandBatch> {
    let commands = lay_out(scope, changes);
    let retry = matches!(stage, BatchStage::NoInstance | BatchStage::NoVrf);
    (!commands.is_empty()).then_some(CommandBatch { stage, daemon, mode: CommandMode::Configure, retry, commands })
}
