//! Commands for one daemon that are sent in one conversation, and when. Pure data.

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
    /// zebra forgets the VNI.
    NoVni,
    /// bgpd drops the instance.
    NoInstance,
    /// BFD profiles, before a neighbor names one.
    Profiles,
    /// bgpd makes the instance of an IP-VRF in an AS of its own: where it hears of the VNI first, it makes one in the AS
    /// of the default instance by itself, and takes no other.
    Claim,
    /// zebra learns the VNI.
    Vrf,
    /// Prefix lists and route maps, before a neighbor names one.
    Policies,
    /// The BGP instance.
    Instance,
    /// Policies and profiles that nothing uses any more.
    Leftovers,
    /// Sessions that have to start anew.
    Clear,
    /// zebra forgets the VRF.
    NoVrf,
}

/// Commands for one daemon, to be sent in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandBatch {
    /// When.
    pub stage: BatchStage,
    /// Which daemon.
    pub daemon: Daemon,
    /// In which mode.
    pub mode: CommandMode,
    /// FRR refuses these for a while ("Please unconfigure l3vni first" until bgpd has heard of `no vni`): try again.
    pub retry: bool,
    /// The commands, in order.
    pub commands: Vec<VtyCommand>,
}

/// Makes one batch of all that goes to one daemon at one stage, in order of stages. FRR checks all policies of a daemon
/// at the end of each batch that changes one, so the time for N scopes one by one grows with the square of N.
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
    let retry = stage == BatchStage::NoInstance;
    (!commands.is_empty()).then_some(CommandBatch { stage, daemon, mode: CommandMode::Configure, retry, commands })
}
