//! The reconciler of one node: what it keeps between passes, and its queries. In: the two ports. Out: answers of kernel and
//! FRR. What a pass does is in [`super::pass`].

use std::collections::BTreeMap;
use std::sync::Arc;

use thiserror::Error;
use tokio::time::Instant;

use super::cache::{Compared, PlanInput, Settled, Wanted};
use super::stale_open_sent::StaleOpenSent;
use crate::frr::client::port::{Routing, RoutingError};
use crate::frr::release::FrrVersion;
use crate::frr::show::live::Live;
use crate::frr::show::session::{SessionCounters, SessionKey, SessionState};
use crate::frr::stanza::text::RenderError;
use crate::kernel::model::Netns;
use crate::kernel::tcp::TcpCounts;
use crate::kernel::{Kernel, KernelError};
use crate::memo::Memo;
use crate::plan::last_accepted::LastAccepted;
use crate::types::VrfMode;

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

/// The reconciler of one node.
#[derive(Debug)]
pub struct Reconciler<K, R> {
    pub(super) kernel: K,
    pub(super) routing: R,
    pub(super) mode: VrfMode,
    pub(super) accepted: LastAccepted,
    stale_open_sent: StaleOpenSent,
    pub(super) wanted: Memo<PlanInput, Wanted>,
    pub(super) settled: Memo<Compared, Settled>,
}

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// Over the two ports.
    pub fn new(kernel: K, routing: R, mode: VrfMode, accepted: LastAccepted) -> Self {
        let stale_open_sent = StaleOpenSent::default();
        let (wanted, settled) = (Memo::default(), Memo::default());
        Self { kernel, routing, mode, accepted, stale_open_sent, wanted, settled }
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

    /// VNIs and sessions as FRR has them.
    ///
    /// # Errors
    /// Where FRR cannot be read.
    pub async fn live(&mut self) -> Result<Live, PassError> {
        Ok(Live {
            frr_version: self.routing.version().await?.to_string(),
            vnis: self.routing.vnis().await?,
            sessions: self.routing.sessions().await?,
        })
    }

    /// The TCP counters of the kernel in a namespace.
    ///
    /// # Errors
    /// Where the kernel cannot be read.
    pub async fn tcp_counts(&mut self, netns: &Netns) -> Result<TcpCounts, KernelError> {
        self.kernel.tcp_counts(netns).await
    }
}
