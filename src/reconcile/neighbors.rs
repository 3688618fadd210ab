//! The neighbors of L2 segments: the kernel keeps those of this node's workloads, and zebra has them all. In: the plan and the two
//! ports. Out: changes of neighbor entries. A failure is no failure of a segment: the next pass tries again.

use std::collections::{BTreeMap, BTreeSet};

use super::reconciler::Reconciler;
use crate::frr::client::port::{Routing, RoutingError};
use crate::kernel::Kernel;
use crate::kernel::model::{IpUse, KernelState, LinkKey, LinkKind};
use crate::names::{OwnedName, Role};
use crate::scope::Scope;
use crate::types::Vni;

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// Has the kernel keep the neighbors of the segments, and report those once more that zebra does not have.
    ///
    /// `changed`: by the pass.
    pub(super) async fn keep_neighbors(&mut self, wanted: &KernelState, changed: &BTreeSet<Scope>) {
        let bridges = bridges(wanted);
        if let Err(error) = self.kernel.keep_neighbors(&bridges.values().map(|key| (*key).clone()).collect()).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the neighbors of segments are not kept yet");
        }
        let is_changed = |(vni, bridge): &(&Vni, &&LinkKey)| {
            let vrf = wanted.vrf_by_place(bridge).map(|vrf| Scope::Vrf(vrf.clone()));
            [Some(Scope::Underlay), Some(Scope::Segment(**vni)), vrf]
                .iter()
                .flatten()
                .any(|scope| changed.contains(scope))
        };
        let changed = bridges.iter().filter(is_changed).map(|(vni, _)| *vni).collect();
        let compared = self.neighbor_turns.turn(&bridges.keys().copied().collect(), self.routing.generation(), changed);
        for (vni, bridge) in bridges.iter().filter(|(vni, _)| compared.contains(vni)) {
            if let Err(error) = self.repeat_neighbors(*vni, bridge).await {
                // Each of the others would wait for the same zebra.
                tracing::debug!(%vni, error = &error as &dyn std::error::Error, "zebra does not list its neighbors");
                return;
            }
        }
    }

    async fn repeat_neighbors(&mut self, vni: Vni, bridge: &LinkKey) -> Result<(), RoutingError> {
        let Some(known) = self.routing.local_neighbors(vni).await? else {
            // What is reported to it has no effect.
            return Ok(());
        };
        match self.kernel.repeat_neighbors(bridge, &known).await {
            Ok(0) => {}
            Ok(neighbors) => tracing::info!(%vni, neighbors, "reported to zebra once more"),
            Err(error) => {
                tracing::debug!(%vni, error = &error as &dyn std::error::Error, "neighbors are not reported once more");
            }
        }
        Ok(())
    }
}

/// The bridges of the segments that are gateways: others have no neighbors.
fn bridges(state: &KernelState) -> BTreeMap<Vni, &LinkKey> {
    let of_segment = state.links.iter().filter_map(|(key, link)| match (&link.scope, &key.name, &link.kind) {
        (Scope::Segment(vni), OwnedName::Vni(Role::Bridge, _), LinkKind::Bridge) if link.ip == IpUse::Gateway => {
            Some((*vni, key))
        }
        _ => None,
    });
    of_segment.collect()
}
