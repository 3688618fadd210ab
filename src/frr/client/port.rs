//! The port through which a pass sees and changes FRR. [`super::vty_routing::VtyRouting`] is the real one,
//! [`super::fake::FakeRouting`] one in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::vty::{ReplyStatus, VtyError};
use crate::frr::config::batch::CommandBatch;
use crate::frr::config::command::VtyCommand;
use crate::frr::release::{FrrVersion, Release, UnsupportedRelease};
use crate::frr::show::ShowError;
use crate::frr::show::running_config::RunningConfig;
use crate::frr::show::session::{SessionCounters, SessionKey, SessionState};
use crate::frr::show::vni::VniState;
use crate::frr::show::vrf::VrfState;
use crate::runtime::Daemon;
use crate::types::{IfName, Vni, VrfName};

/// Why FRR could not be asked or told.
#[derive(Debug, Error)]
pub enum RoutingError {
    /// The conversation with a daemon failed; the next one connects anew.
    #[error("{daemon}")]
    Vty {
        /// The daemon.
        daemon: Daemon,
        /// Cause.
        #[source]
        source: VtyError,
    },
    /// A daemon does not take a command that opens the way for others.
    #[error("{daemon} does not take `{command}`: {text}")]
    Mode {
        /// The daemon.
        daemon: Daemon,
        /// The command.
        command: &'static str,
        /// FRR's words.
        text: String,
    },
    /// A daemon printed something unreadable.
    #[error("{daemon}")]
    Unreadable {
        /// The daemon.
        daemon: Daemon,
        /// Cause.
        #[source]
        source: ShowError,
    },
    /// A daemon is not FRR as we know it.
    #[error("{daemon} does not tell its version")]
    Version {
        /// The daemon.
        daemon: Daemon,
    },
    /// FRR is too old.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedRelease),
    /// A VRF did not become what was waited for.
    #[error("zebra does not show VRF {vrf} as {wanted} within {limit:?}")]
    Vrf {
        /// The VRF.
        vrf: VrfName,
        /// What was waited for.
        wanted: Presence,
        /// The time given.
        limit: Duration,
    },
    /// Links of a VRF did not show up.
    #[error("zebra does not show {} in VRF {vrf} within {limit:?}", names(links))]
    Links {
        /// The VRF.
        vrf: VrfName,
        /// The links that are missing.
        links: BTreeSet<IfName>,
        /// The time given.
        limit: Duration,
    },
}

fn names(links: &BTreeSet<IfName>) -> String {
    links.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// What to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// zebra has its device or namespace.
    Active,
    /// zebra has it no more.
    Gone,
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Gone => "gone",
        })
    }
}

/// A line that FRR did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedCommand {
    /// The daemon.
    pub daemon: Daemon,
    /// The line, with its stanza.
    pub command: VtyCommand,
    /// How it was refused.
    pub status: ReplyStatus,
    /// FRR's words.
    pub text: String,
}

impl fmt::Display for RejectedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not take `{}`", self.daemon, self.command.line)?;
        for header in &self.command.context {
            write!(f, ", {header}")?;
        }
        let words = match self.status {
            ReplyStatus::Unknown => "unknown command",
            ReplyStatus::Incomplete => "incomplete command",
            _ => "refused",
        };
        // FRR repeats an unknown command, which may hold a password.
        match self.text.trim().trim_start_matches('%').trim() {
            text if text.is_empty() || self.status == ReplyStatus::Unknown => write!(f, ": {words}"),
            text => write!(f, ": {text}"),
        }
    }
}

/// FRR as a pass needs it.
pub trait Routing: Send + 'static {
    /// The release.
    fn version(&mut self) -> impl Future<Output = Result<FrrVersion, RoutingError>> + Send;

    /// The release that this version is treated as.
    fn release(&mut self) -> impl Future<Output = Result<Release, RoutingError>> + Send {
        async { Ok(Release::of(&self.version().await?)?) }
    }

    /// The running configuration of all daemons; the same value again as long as they print the same.
    fn running(&mut self) -> impl Future<Output = Result<Arc<RunningConfig>, RoutingError>> + Send;

    /// Sends a batch. Lines that FRR does not take come back; those after them were sent all the same.
    fn apply(
        &mut self,
        batch: &CommandBatch,
    ) -> impl Future<Output = Result<Vec<RejectedCommand>, RoutingError>> + Send;

    /// Sends a batch on a connection of its own, so that other conversations go on meanwhile.
    fn apply_concurrently(
        &mut self,
        batch: CommandBatch,
    ) -> impl Future<Output = Result<Vec<RejectedCommand>, RoutingError>> + Send + use<Self>;

    /// There is nothing to tell for now: the time to end what somebody who died began, and to make ready for the next change
    /// beside so many IP-VRFs.
    fn idle(&mut self, _ip_vrfs: usize) -> impl Future<Output = Result<(), RoutingError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The VRFs that zebra knows.
    fn vrfs(&mut self) -> impl Future<Output = Result<BTreeMap<VrfName, VrfState>, RoutingError>> + Send;

    /// Waits until zebra has, or has no more, the device or namespace of a VRF.
    fn wait_vrf(
        &mut self,
        vrf: &VrfName,
        wanted: Presence,
        limit: Duration,
    ) -> impl Future<Output = Result<(), RoutingError>> + Send;

    /// Waits until zebra has these links in a VRF.
    fn wait_links(
        &mut self,
        vrf: &VrfName,
        links: &BTreeSet<IfName>,
        limit: Duration,
    ) -> impl Future<Output = Result<(), RoutingError>> + Send;

    /// L3VNIs as zebra and bgpd see them.
    fn vnis(&mut self) -> impl Future<Output = Result<BTreeMap<Vni, VniState>, RoutingError>> + Send;

    /// These L3VNIs at least: a question that does not take the longer the more there are.
    fn vnis_of(
        &mut self,
        _wanted: &BTreeSet<Vni>,
    ) -> impl Future<Output = Result<BTreeMap<Vni, VniState>, RoutingError>> + Send {
        self.vnis()
    }

    /// BGP sessions of all VRFs.
    fn sessions(&mut self) -> impl Future<Output = Result<Vec<SessionState>, RoutingError>> + Send;

    /// Those that are not established: a question that may be asked often.
    fn down_sessions(
        &mut self,
    ) -> impl Future<Output = Result<Arc<BTreeMap<SessionKey, SessionCounters>>, RoutingError>> + Send;
}
