//! The port through which a reconcile pass observes and configures FRR. [`super::vty_routing::VtyRouting`] is the real one,
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
use crate::frr::show::bfd::BfdPeer;
use crate::frr::show::interface::Interface;
use crate::frr::show::mac::LocalNeighbors;
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::route::ReceivedRoute;
use crate::frr::show::running_config::RunningConfig;
use crate::frr::show::session::{SessionCounters, SessionKey, SessionState};
use crate::frr::show::vni::{LocalCounts, VniState};
use crate::frr::show::vrf::VrfState;
use crate::printable::{masked, printable};
use crate::runtime::Daemon;
use crate::types::{IfName, MacAddr, Vni, VrfName};

/// Why FRR could not be read or configured.
#[derive(Debug, Error)]
pub enum RoutingError {
    /// The exchange with a daemon failed; the next one opens a new connection.
    #[error("{daemon}")]
    Vty {
        /// The daemon.
        daemon: Daemon,
        /// Cause.
        #[source]
        source: VtyError,
    },
    /// A daemon rejects a command that the following ones depend on.
    #[error("{daemon} rejects `{command}`: {text}")]
    Mode {
        /// The daemon.
        daemon: Daemon,
        /// The command.
        command: &'static str,
        /// FRR's message.
        text: String,
    },
    /// The output of a daemon cannot be read.
    #[error("{daemon}")]
    Unreadable {
        /// The daemon.
        daemon: Daemon,
        /// Cause.
        #[source]
        source: ShowError,
    },
    /// `show version` of a daemon has no version in it.
    #[error("{daemon} prints no version")]
    Version {
        /// The daemon.
        daemon: Daemon,
    },
    /// FRR is too old.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedRelease),
    /// A VRF did not get into the wanted state.
    #[error("VRF {vrf} is not {wanted} in zebra after {} s", limit.as_secs_f64())]
    Vrf {
        /// The VRF.
        vrf: VrfName,
        /// The wanted state.
        wanted: Presence,
        /// The time limit.
        limit: Duration,
    },
    /// zebra did not get links of a VRF.
    #[error("zebra has no {} in VRF {vrf} after {} s", names(links), limit.as_secs_f64())]
    Links {
        /// The VRF.
        vrf: VrfName,
        /// The links that are missing.
        links: BTreeSet<IfName>,
        /// The time limit.
        limit: Duration,
    },
}

fn names(links: &BTreeSet<IfName>) -> String {
    links.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The state of a VRF in zebra that is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// zebra has its device or namespace.
    Active,
    /// zebra has neither any more.
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

/// A line that FRR rejected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedCommand {
    /// The daemon.
    pub daemon: Daemon,
    /// The line, with its stanza.
    pub command: VtyCommand,
    /// The status of the reply.
    pub status: ReplyStatus,
    /// FRR's message.
    pub text: String,
}

impl fmt::Display for RejectedCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rejects `{}`", self.daemon, self.command.line)?;
        for header in &self.command.context {
            write!(f, ", {header}")?;
        }
        let words = match self.status {
            ReplyStatus::Unknown => "unknown command",
            ReplyStatus::Incomplete => "incomplete command",
            _ => "rejected",
        };
        // FRR repeats an unknown command.
        match self.text.trim().trim_start_matches('%').trim() {
            text if text.is_empty() || self.status == ReplyStatus::Unknown => write!(f, ": {words}"),
            text => write!(f, ": {}", printable(&masked(text))),
        }
    }
}

/// FRR as a reconcile pass needs it.
pub trait Routing: Send + 'static {
    /// The version.
    fn version(&mut self) -> impl Future<Output = Result<FrrVersion, RoutingError>> + Send;

    /// The release that this version is treated as.
    fn release(&mut self) -> impl Future<Output = Result<Release, RoutingError>> + Send {
        async { Ok(Release::of(&self.version().await?)?) }
    }

    /// The running configuration of all daemons that answer; the same value again as long as they print the same. Fails
    /// without zebra, on which all else depends.
    fn running(&mut self) -> impl Future<Output = Result<Arc<RunningConfig>, RoutingError>> + Send;

    /// The daemons that did not answer when the running configuration was read last, and why not.
    fn silent(&self) -> BTreeMap<Daemon, Arc<VtyError>> {
        BTreeMap::new()
    }

    /// Another number after each daemon that was restarted or became unreachable, as far as exchanges with them showed it.
    fn generation(&self) -> u64 {
        0
    }

    /// Sends a batch. Returns the lines that FRR rejects; those after them are sent all the same.
    fn apply(
        &mut self,
        batch: &CommandBatch,
    ) -> impl Future<Output = Result<Vec<RejectedCommand>, RoutingError>> + Send;

    /// Sends a batch on a connection of its own, concurrently with other exchanges.
    fn apply_concurrently(
        &mut self,
        batch: CommandBatch,
    ) -> impl Future<Output = Result<Vec<RejectedCommand>, RoutingError>> + Send + use<Self>;

    /// All is sent: starts the sessions of a bgpd that waits for that, as in a graceful restart.
    fn start_sessions(&mut self) -> impl Future<Output = Result<(), RoutingError>> + Send {
        std::future::ready(Ok(()))
    }

    /// There is nothing to send for now: the time to clean up after a client that crashed, and to prepare for the next change
    /// at this number of IP-VRFs.
    fn idle(&mut self, _ip_vrfs: usize) -> impl Future<Output = Result<(), RoutingError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The VRFs in zebra.
    fn vrfs(&mut self) -> impl Future<Output = Result<BTreeMap<VrfName, VrfState>, RoutingError>> + Send;

    /// Waits until zebra has, or no longer has, the device or namespace of a VRF.
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

    /// Waits until bgpd has these router MACs and has advertised them, at most for `limit`. Without any, until it has
    /// advertised what it has.
    fn wait_router_macs(
        &mut self,
        _wanted: &BTreeMap<Vni, MacAddr>,
        _limit: Duration,
    ) -> impl Future<Output = Result<(), RoutingError>> + Send {
        std::future::ready(Ok(()))
    }

    /// The VNIs of both types as zebra and bgpd have them.
    fn vnis(&mut self) -> impl Future<Output = Result<BTreeMap<Vni, VniState>, RoutingError>> + Send;

    /// These VNIs at least, at a cost that does not grow with the number of all.
    fn vnis_of(
        &mut self,
        _wanted: &BTreeSet<Vni>,
    ) -> impl Future<Output = Result<BTreeMap<Vni, VniState>, RoutingError>> + Send {
        self.vnis()
    }

    /// The router MACs that zebra has of remote VTEPs for an L3VNI, and that the FDB of its VXLAN device must have.
    fn router_macs(&mut self, _vni: Vni) -> impl Future<Output = Result<BTreeSet<MacAddr>, RoutingError>> + Send {
        std::future::ready(Ok(BTreeSet::new()))
    }

    /// The neighbors of an L2VNI that zebra has as those of this node; `None` for a VNI that it does not have.
    fn local_neighbors(
        &mut self,
        _vni: Vni,
    ) -> impl Future<Output = Result<Option<LocalNeighbors>, RoutingError>> + Send {
        std::future::ready(Ok(None))
    }

    /// How many MAC addresses and neighbors of an L2VNI zebra has as those of this node, at a cost that grows with all of them.
    fn local_counts(&mut self, _vni: Vni) -> impl Future<Output = Result<LocalCounts, RoutingError>> + Send {
        std::future::ready(Ok(LocalCounts::default()))
    }

    /// BGP sessions of all VRFs.
    fn sessions(&mut self) -> impl Future<Output = Result<Vec<SessionState>, RoutingError>> + Send;

    /// The routes of a host session that are filtered; none of a session that is not established, or with the fabric.
    fn filtered(
        &mut self,
        _session: &SessionState,
    ) -> impl Future<Output = Result<Vec<ReceivedRoute>, RoutingError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// Details of sessions with the fabric, and of those of `wanted` in IP-VRFs.
    fn neighbors(
        &mut self,
        _wanted: &BTreeSet<SessionKey>,
    ) -> impl Future<Output = Result<BTreeMap<SessionKey, SessionReset>, RoutingError>> + Send {
        std::future::ready(Ok(BTreeMap::new()))
    }

    /// BFD sessions of all VRFs.
    fn bfd_peers(&mut self) -> impl Future<Output = Result<Vec<BfdPeer>, RoutingError>> + Send {
        std::future::ready(Ok(Vec::new()))
    }

    /// The links of the default VRF as zebra has them.
    fn default_links(&mut self) -> impl Future<Output = Result<BTreeMap<String, Interface>, RoutingError>> + Send {
        std::future::ready(Ok(BTreeMap::new()))
    }

    /// Those that are not established: a question that may be asked often.
    fn down_sessions(
        &mut self,
    ) -> impl Future<Output = Result<Arc<BTreeMap<SessionKey, SessionCounters>>, RoutingError>> + Send;
}
