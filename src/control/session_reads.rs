//! What is read about single sessions besides FRR's summary: TCP counters of the kernel, and routes that are filtered. Of
//! hundreds of sessions only some are read each time. In: sessions and the plan. Out: causes and counts. Changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnose::SessionCause;
use crate::diagnose::filtered::{FilteredCount, FilteredCounts};
use crate::diagnose::tcp_diagnosis::TcpDiagnosis;
use crate::frr::client::port::Routing;
use crate::frr::show::session::{SessionKey, SessionState};
use crate::kernel::Kernel;
use crate::kernel::model::Netns;
use crate::plan::Plan;
use crate::reconcile::Reconciler;
use crate::types::VrfMode;

/// What is kept between reads.
#[derive(Debug, Default)]
pub(super) struct SessionReads {
    tcp: TcpDiagnosis,
    filtered: FilteredCounts,
}

impl SessionReads {
    /// What only the TCP counters of the kernel show of sessions.
    pub(super) async fn tcp_causes<K: Kernel, R: Routing>(
        &mut self,
        reconciler: &mut Reconciler<K, R>,
        mode: VrfMode,
        plan: &Plan,
        sessions: &[SessionState],
    ) -> Vec<SessionCause> {
        let md5_sessions = md5_sessions(plan);
        let netns = |vrf: &Option<_>| match (vrf, mode) {
            (Some(vrf), VrfMode::Netns) => Netns::Vrf(Clone::clone(vrf)),
            _ => Netns::Router,
        };
        let vrfs = self.tcp.vrfs_to_read(sessions, &md5_sessions);
        let found = reconciler.tcp_counts(&vrfs.iter().map(netns).collect()).await.unwrap_or_else(|error| {
            tracing::debug!(error = &error as &dyn std::error::Error, "no TCP counters");
            BTreeMap::new()
        });
        let counts = vrfs.into_iter().filter_map(|vrf| found.get(&netns(&vrf)).map(|counts| (vrf, *counts)));
        self.tcp.causes(sessions, &md5_sessions, &counts.collect(), mode, std::time::Instant::now())
    }

    /// The plan has changed: the policies of some sessions may filter other routes.
    pub(super) fn planned(&mut self, before: &Plan, after: &Plan) {
        let is_same_underlay = before.frr.underlay == after.frr.underlay;
        self.filtered.forget(|vrf| !is_same_underlay || before.frr.vrfs.get(vrf) != after.frr.vrfs.get(vrf));
    }

    /// How many routes the host sessions of the plan filter.
    pub(super) async fn filtered<K: Kernel, R: Routing>(
        &mut self,
        reconciler: &mut Reconciler<K, R>,
        plan: &Plan,
        sessions: &[SessionState],
    ) -> Vec<FilteredCount> {
        let next_hops = |session: &SessionState| {
            let vrf = plan.frr.vrfs.get(session.vrf.as_ref()?)?;
            let host = vrf.sessions.values().find(|host| host.address.to_string() == session.peer)?;
            Some(&host.next_hops)
        };
        for session in self.filtered.to_read(sessions.iter().filter(|session| next_hops(session).is_some())) {
            match (reconciler.filtered(session).await, next_hops(session)) {
                (Ok(routes), Some(own)) => self.filtered.note(session, own, &routes),
                (Ok(_), None) => {}
                // Removed since the sessions were read.
                (Err(error), _) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "filtered routes not read");
                }
            }
        }
        self.filtered.counts()
    }
}

/// The sessions with a password.
fn md5_sessions(plan: &Plan) -> BTreeSet<SessionKey> {
    let underlay = plan.frr.underlay.iter().flat_map(|underlay| &underlay.neighbors);
    let fabric = underlay.filter(|(_, neighbor)| neighbor.password.is_some()).map(|(peer, _)| (None, peer.to_string()));
    let hosts = plan.frr.vrfs.iter().flat_map(|(vrf, ip_vrf)| {
        let with_password = ip_vrf.sessions.values().filter(|session| session.neighbor.password.is_some());
        with_password.map(|session| (Some(vrf.clone()), session.address.to_string()))
    });
    fabric.chain(hosts).collect()
}
