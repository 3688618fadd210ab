//! What the supervisor does about a bgpd that outlives zebra. In: the daemons that run. Out: what bgpd goes on with, and its
//! end where it cannot.

use futures::FutureExt;
use futures::future::pending;

use super::Daemons;
use super::survival::{self, Joining, SurvivalError, VrfIds};
use crate::runtime::Daemon;
use crate::types::VrfMode;

impl Daemons {
    /// Whether bgpd goes on without zebra, and with which VRFs.
    pub(crate) async fn survive(&self) -> Option<VrfIds> {
        if !self.running.contains_key(&Daemon::Bgpd) {
            return None;
        }
        let ids = match survival::vrf_ids(&self.launch.runtime).await {
            Ok(ids) if self.launch.mode == VrfMode::Netns => {
                survival::arrange(&self.launch.runtime.zebra_netns_dir(), &ids).map(|()| ids)
            }
            other => other,
        };
        let ids = ids.inspect_err(|error| {
            tracing::warn!(error = error as &dyn std::error::Error, "bgpd cannot outlive zebra");
        });
        // Without an instance there is nothing to keep.
        ids.ok().filter(|ids| !ids.is_empty())
    }

    /// Connects what outlived zebra to the new one.
    pub(crate) fn join(&self, ids: VrfIds) -> Joining {
        survival::join(self.launch.runtime.clone(), ids).boxed()
    }

    /// A bgpd that was adopted may have outlived its zebra a moment ago.
    pub(crate) async fn rejoin(&self) -> Joining {
        let start = |daemon| self.running.get(&daemon).map(|running| running.process.incarnation.start_time);
        match survival::vrf_ids(&self.launch.runtime).await {
            Ok(ids) if start(Daemon::Bgpd) < start(Daemon::Zebra) => self.join(ids),
            _ => pending().boxed(),
        }
    }

    /// Ends a bgpd that cannot go on with the new zebra, with the daemons that depend on it.
    pub(crate) async fn joined(&self, result: Result<(), SurvivalError>) {
        let Err(error) = result else { return tracing::info!("bgpd has outlived zebra") };
        tracing::error!(error = &error as &dyn std::error::Error, "bgpd cannot go on with the new zebra");
        if let Some(bgpd) = self.running.get(&Daemon::Bgpd)
            && let Err(error) = bgpd.process.kill().await
        {
            tracing::error!(error = &error as &dyn std::error::Error, "bgpd cannot be ended");
        }
    }
}
