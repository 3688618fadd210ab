//! The reconciler of one node: what it keeps between passes, and its queries. In: the two ports. Out: answers of kernel and
//! FRR. What a pass does is in [`super::pass`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;
use thiserror::Error;
use tokio::time::Instant;

use super::cache::{Compared, PlanInput, Settled, Wanted};
use super::down_vnis::DownVnis;
use super::known_ports::KnownPorts;
use super::neighbor_turns::NeighborTurns;
use super::nic_addresses::{NicAddresses, RepeatedAddresses};
use super::stale_open_sent::StaleOpenSent;
use super::torn_down_neighbors::TornDownNeighbors;
use super::turn::Turn;
use crate::frr::client::port::{Routing, RoutingError};
use crate::frr::release::{FrrVersion, Release};
use crate::frr::show::bfd::BfdPeer;
use crate::frr::show::interface::Interface;
use crate::frr::show::live::Live;
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::route::ReceivedRoute;
use crate::frr::show::session::{SessionCounters, SessionKey, SessionState};
use crate::frr::show::vni::LocalCounts;
use crate::frr::stanza::text::RenderError;
use crate::kernel::model::Netns;
use crate::kernel::tcp::TcpCounts;
use crate::kernel::{Kernel, KernelError};
use crate::memo::Memo;
use crate::plan::Plan;
use crate::plan::last_accepted::LastAccepted;
use crate::runtime::Daemon;
use crate::types::{IfName, Vni, VrfMode};

/// A pass that could not start: nothing was changed, but policies that nothing refers to yet may be there.
#[derive(Debug, Error)]
pub enum PassError {
    /// The kernel could not be read.
    #[error("observe the kernel")]
    Kernel(#[from] KernelError),
    /// FRR could not be read.
    #[error("observe FRR")]
    Routing(#[from] RoutingError),
    /// The configuration could not be rendered.
    #[error(transparent)]
    Render(#[from] RenderError),
}

impl PassError {
    /// The daemon that did not answer, if it is that.
    pub fn silent_daemon(&self) -> Option<Daemon> {
        if let Self::Routing(RoutingError::Vty { daemon, .. }) = self { Some(*daemon) } else { None }
    }
}

/// The reconciler of one node.
#[derive(Debug)]
pub struct Reconciler<K, R> {
    pub(super) kernel: K,
    pub(super) routing: R,
    pub(super) mode: VrfMode,
    pub(super) accepted: LastAccepted,
    stale_open_sent: StaleOpenSent,
    pub(super) down_vnis: DownVnis,
    /// Of the IP-VRFs whose FDBs are compared.
    pub(super) fdb_turn: Turn,
    pub(super) neighbor_turns: NeighborTurns,
    pub(super) repeated_addresses: RepeatedAddresses,
    /// The neighbors of this node's workloads on bridges that were torn down and are not there again.
    pub(super) torn_down_neighbors: BTreeMap<Vni, TornDownNeighbors>,
    pub(super) known_ports: KnownPorts,
    pub(super) wanted: Memo<PlanInput, Wanted>,
    pub(super) settled: Memo<Compared, Settled>,
}

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// Over the two ports.
    pub fn new(kernel: K, routing: R, mode: VrfMode, accepted: LastAccepted) -> Self {
        let (stale_open_sent, down_vnis) = (StaleOpenSent::default(), DownVnis::default());
        let (wanted, settled) = (Memo::default(), Memo::default());
        Self {
            kernel,
            routing,
            mode,
            accepted,
            stale_open_sent,
            down_vnis,
            fdb_turn: Turn::default(),
            neighbor_turns: NeighborTurns::default(),
            repeated_addresses: RepeatedAddresses::default(),
            torn_down_neighbors: BTreeMap::new(),
            known_ports: KnownPorts::default(),
            wanted,
            settled,
        }
    }

    /// What was accepted so far, to be handed to [`Reconciler::new`] after a restart.
    pub fn accepted(&self) -> &LastAccepted {
        &self.accepted
    }

    /// FRR may run something else than it did: the next pass reads it.
    pub fn invalidate_running(&mut self) {
        if let Some((compared, settled)) = self.settled.take() {
            self.settled.set(compared, Settled { is_current: false, ..settled });
        }
    }

    /// Closes the connections of sessions that stay in `OpenSent`.
    ///
    /// # Errors
    /// Where FRR does not answer.
    pub async fn clear_stale_open_sent(&mut self, sessions: &[SessionState]) -> Result<(), PassError> {
        for batch in self.stale_open_sent.observe(Instant::now(), sessions) {
            for rejected in self.routing.apply(&batch).await? {
                tracing::warn!(%rejected, "a session that stays in OpenSent is not cleared");
            }
            for command in &batch.commands {
                tracing::info!(scope = %command.scope, line = %command.line, "a session stays in OpenSent");
            }
        }
        Ok(())
    }

    /// The sessions that are not established, at little cost.
    ///
    /// # Errors
    /// Where FRR does not answer.
    pub async fn down_sessions(&mut self) -> Result<Arc<BTreeMap<SessionKey, SessionCounters>>, PassError> {
        Ok(self.routing.down_sessions().await?)
    }

    /// The release of the running FRR.
    ///
    /// # Errors
    /// Where FRR does not answer.
    pub async fn frr_version(&mut self) -> Result<FrrVersion, PassError> {
        Ok(self.routing.version().await?)
    }

    /// VNIs and sessions as FRR has them; none where bgpd does not answer.
    ///
    /// # Errors
    /// Where zebra does not answer or FRR cannot be read.
    pub async fn live(&mut self) -> Result<Live, PassError> {
        let version = self.routing.version().await?;
        let frr_warning = Release::of(&version).ok().and_then(|release| release.warning(&version));
        let mut silent: BTreeSet<Daemon> = self.routing.silent().into_keys().collect();
        let mut or_none = |error| match error {
            RoutingError::Vty { daemon, .. } if daemon != Daemon::Zebra => {
                silent.insert(daemon);
                Ok(())
            }
            error => Err(error),
        };
        let vnis = self.routing.vnis().await;
        let sessions = self.routing.sessions().await;
        if let (Ok(vnis), Some(plan)) = (&vnis, self.wanted.last().map(|(_, wanted)| Arc::clone(&wanted.plan))) {
            let incomplete = self.incomplete_fdbs(&plan).await;
            self.down_vnis.observe(Instant::now(), &plan.l3vnis(), vnis, &incomplete);
        }
        let vnis = vnis.or_else(|error| or_none(error).map(|()| BTreeMap::new()))?;
        let sessions = sessions.or_else(|error| or_none(error).map(|()| Vec::new()))?;
        Ok(Live { frr_version: version.to_string(), frr_warning, vnis, sessions, silent })
    }

    /// When a pass is due that rebuilds an IP-VRF whose L3VNI is down.
    pub fn next_rebuild(&self) -> Option<Instant> {
        self.down_vnis.next()
    }

    /// The routes that a host session filters.
    ///
    /// # Errors
    /// Where FRR cannot be read.
    pub async fn filtered(&mut self, session: &SessionState) -> Result<Vec<ReceivedRoute>, PassError> {
        Ok(self.routing.filtered(session).await?)
    }

    /// How many MAC addresses and neighbors of an L2VNI are of workloads of this node.
    ///
    /// # Errors
    /// Where zebra cannot be read.
    pub async fn local_counts(&mut self, vni: Vni) -> Result<LocalCounts, PassError> {
        Ok(self.routing.local_counts(vni).await?)
    }

    /// Details of sessions with the fabric, and of those of `wanted` in IP-VRFs.
    ///
    /// # Errors
    /// Where FRR cannot be read.
    pub async fn neighbors(
        &mut self,
        wanted: &BTreeSet<SessionKey>,
    ) -> Result<BTreeMap<SessionKey, SessionReset>, PassError> {
        Ok(self.routing.neighbors(wanted).await?)
    }

    /// BFD sessions of all VRFs.
    ///
    /// # Errors
    /// Where FRR cannot be read.
    pub async fn bfd_peers(&mut self) -> Result<Vec<BfdPeer>, PassError> {
        Ok(self.routing.bfd_peers().await?)
    }

    /// The NICs of the underlay as zebra has them.
    ///
    /// # Errors
    /// Where FRR cannot be read.
    pub async fn nics(&mut self) -> Result<BTreeMap<String, Interface>, PassError> {
        let mut links = self.routing.default_links().await?;
        links.retain(|name, link| link.is_nic(name));
        Ok(links)
    }

    /// Has the kernel report the addresses of the NICs of a plan once more that zebra lacks. `nics`: as [`Self::nics`] reads them.
    pub async fn repeat_addresses(&mut self, plan: &Plan, nics: &BTreeMap<String, Interface>) {
        let of_nic = |nic: &IfName| {
            let known = nics.get(nic.as_str()).filter(|known| known.is_up())?;
            Some((nic.clone(), known.addresses.iter().map(IpNet::addr).collect()))
        };
        let known: NicAddresses = plan.kernel.nics.keys().filter_map(of_nic).collect();
        if self.repeated_addresses.is_futile(&known) {
            return;
        }
        let repeated = match self.kernel.repeat_addresses(&known).await {
            Ok(0) => 0,
            Ok(addresses) => {
                tracing::info!(addresses, "zebra lacks addresses of NICs: the kernel reports them again");
                addresses
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "addresses of NICs are not reported again");
                1
            }
        };
        self.repeated_addresses.note(known, repeated);
    }

    /// The TCP counters of the kernel in namespaces, without those that are gone.
    ///
    /// # Errors
    /// Where the kernel cannot be read.
    pub async fn tcp_counts(
        &mut self,
        namespaces: &BTreeSet<Netns>,
    ) -> Result<BTreeMap<Netns, TcpCounts>, KernelError> {
        self.kernel.tcp_counts(namespaces).await
    }
}
