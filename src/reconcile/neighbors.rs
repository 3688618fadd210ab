//! The neighbors of L2 segments: the kernel keeps those of this node's workloads, and zebra has them all. In: the plan and the two
//! ports. Out: changes of neighbor entries. A failure is no failure of a segment: the next pass tries again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::reconciler::Reconciler;
use super::schedule::Schedule;
use crate::frr::client::port::{Routing, RoutingError};
use crate::kernel::Kernel;
use crate::kernel::model::{IpUse, KernelState, LinkKey, LinkKind};
use crate::names::{OwnedName, Role};
use crate::scope::Scope;
use crate::types::{MacAddr, Vni};

/// In which zebra processes that a bridge has learned a MAC address, unless it ignores that.
const LEARNS: Duration = Duration::from_millis(200);

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// Has the kernel keep the neighbors of the segments, and report those once more that zebra does not have.
    ///
    /// `changed`: by the pass.
    pub(super) async fn keep_neighbors(&mut self, wanted: &KernelState, changed: &BTreeSet<Scope>) {
        let bridges = gateway_bridges(wanted);
        if let Err(error) = self.kernel.keep_neighbors(&bridges.values().map(|key| (*key).clone()).collect()).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the neighbors of segments are not kept yet");
        }
        self.restore_neighbors(wanted, &bridges).await;
        let is_changed = |(vni, bridge): &(&Vni, &&LinkKey)| {
            let vrf = wanted.vrf_by_place(bridge).map(|vrf| Scope::Vrf(vrf.clone()));
            [Some(Scope::Underlay), Some(Scope::Segment(**vni)), vrf]
                .iter()
                .flatten()
                .any(|scope| changed.contains(scope))
        };
        let changed = bridges.iter().filter(is_changed).map(|(vni, _)| *vni).collect();
        let (all, generation) = (bridges.keys().copied().collect(), self.routing.generation());
        let compared = self.neighbor_turns.turn(Instant::now(), &all, generation, changed);
        let mut due: VecDeque<(Vni, &LinkKey)> =
            bridges.into_iter().filter(|(vni, _)| compared.contains(vni)).collect();
        while let Some((vni, bridge)) = due.front().copied() {
            if let Err(error) = self.repeat_neighbors(vni, bridge).await {
                tracing::debug!(%vni, error = &error as &dyn std::error::Error, "zebra does not list its neighbors");
                // Each of the others would wait for the same zebra.
                if matches!(error, RoutingError::Vty { .. }) {
                    break;
                }
            }
            due.pop_front();
        }
        self.neighbor_turns.missed(Instant::now(), due.into_iter().map(|(vni, _)| vni));
    }

    /// Takes note of the neighbors of this node's workloads in the segments that the schedule tears down, as the kernel and zebra have
    /// them: a workload that is silent is not known on the new bridge otherwise. The kernel has those that a new zebra does not have
    /// yet, zebra those of a bridge that somebody has deleted.
    ///
    /// The same of segments that are removed: the Pods stay on their bridge, and the segment may come back.
    ///
    /// The same of segments that get a link again which others have deleted or set down: the kernel has removed the entries of a bridge
    /// with it, and what a bridge has learned on a port. Of these zebra has nothing.
    pub(super) async fn note_neighbors(&mut self, schedule: &Schedule, observed: &KernelState, wanted: &KernelState) {
        let (present, gateways): (BTreeMap<Vni, &LinkKey>, _) = (bridges(observed).collect(), gateway_bridges(wanted));
        let torn_down = |scope: &Scope| if let Scope::Segment(vni) = scope { Some(*vni) } else { None };
        let torn_down: BTreeSet<Vni> = schedule.torn_down.iter().filter_map(torn_down).collect();
        for vni in &schedule.restored_segments() - &torn_down {
            if let Some(bridge) = gateways.get(&vni) {
                self.note_of_kernel(vni, bridge).await;
            }
        }
        let staying: BTreeSet<Vni> = bridges(wanted).map(|(vni, _)| vni).collect();
        for (vni, bridge) in present.iter().filter(|(vni, _)| !staying.contains(vni)) {
            self.note_of_kernel(*vni, bridge).await;
        }
        let mut zebra_answers = true;
        for vni in &torn_down {
            if let Some(bridge) = present.get(vni).or_else(|| gateways.get(vni)) {
                self.note_of_kernel(*vni, bridge).await;
            }
            let mut found = BTreeSet::new();
            // Each of the others would wait for the same zebra.
            if zebra_answers {
                match self.routing.local_neighbors(*vni).await {
                    Ok(entries) => found.extend(entries.into_iter().flat_map(|entries| entries.all)),
                    Err(error) => {
                        tracing::debug!(%vni, error = &error as &dyn std::error::Error, "zebra does not list its neighbors");
                        zebra_answers = false;
                    }
                }
            }
            self.torn_down_neighbors.entry(*vni).or_default().note(found);
        }
    }

    async fn note_of_kernel(&mut self, vni: Vni, bridge: &LinkKey) {
        match self.kernel.local_neighbors(bridge).await {
            Ok(entries) => self.torn_down_neighbors.entry(vni).or_default().note(entries),
            Err(error) => {
                tracing::debug!(%vni, error = &error as &dyn std::error::Error, "neighbors are not noted");
            }
        }
    }

    /// Those of a segment that is removed are kept for the one that may replace it soon: the Pods are still on its bridge. Those outside of
    /// the subnets that it has then are forgotten.
    async fn restore_neighbors(&mut self, wanted: &KernelState, bridges: &BTreeMap<Vni, &LinkKey>) {
        for (vni, mut noted) in std::mem::take(&mut self.torn_down_neighbors) {
            let Some(bridge) = bridges.get(&vni) else {
                if !noted.is_old() {
                    self.torn_down_neighbors.insert(vni, noted);
                }
                continue;
            };
            let subnets = &wanted.links[*bridge].addresses;
            noted.entries.retain(|(address, _)| subnets.iter().any(|subnet| subnet.contains(address)));
            if noted.entries.is_empty() || noted.is_old() {
                continue;
            }
            match self.kernel.restore_neighbors(bridge, &noted.entries).await {
                Ok(None) => drop(self.torn_down_neighbors.insert(vni, noted)),
                Ok(Some(0)) => {}
                Ok(Some(neighbors)) => {
                    tracing::info!(%vni, neighbors, "the kernel probes the workloads of a segment that was rebuilt or repaired");
                }
                Err(error) => {
                    tracing::debug!(%vni, error = &error as &dyn std::error::Error, "neighbors are not restored");
                    self.torn_down_neighbors.insert(vni, noted);
                }
            }
        }
    }

    async fn repeat_neighbors(&mut self, vni: Vni, bridge: &LinkKey) -> Result<(), RoutingError> {
        let Some(known) = self.routing.local_neighbors(vni).await? else {
            // What is reported to it has no effect.
            return Ok(());
        };
        match self.kernel.repeat_neighbors(bridge, &known.all).await {
            Ok(0) => {}
            Ok(neighbors) => tracing::info!(%vni, neighbors, "reported to zebra once more"),
            Err(error) => {
                tracing::debug!(%vni, error = &error as &dyn std::error::Error, "neighbors are not reported once more");
            }
        }
        if known.unlearned.is_empty() { Ok(()) } else { self.learn_again(vni, bridge, known.unlearned).await }
    }

    /// zebra ignores what a bridge learns before zebra has processed that the bridge is up (FRR 8.4).
    async fn learn_again(&mut self, vni: Vni, bridge: &LinkKey, macs: BTreeSet<MacAddr>) -> Result<(), RoutingError> {
        tokio::time::sleep(LEARNS).await;
        let still = self.routing.local_neighbors(vni).await?.unwrap_or_default().unlearned;
        let macs: BTreeSet<MacAddr> = macs.intersection(&still).copied().collect();
        if macs.is_empty() {
            return Ok(());
        }
        match self.kernel.learn_again(bridge, &macs).await {
            Ok(neighbors) => tracing::info!(%vni, macs = macs.len(), neighbors, "learned again for zebra"),
            Err(error) => {
                tracing::debug!(%vni, error = &error as &dyn std::error::Error, "MAC addresses are not learned again");
            }
        }
        Ok(())
    }
}

/// The bridges of the segments that are gateways: others have no neighbors.
fn gateway_bridges(state: &KernelState) -> BTreeMap<Vni, &LinkKey> {
    bridges(state).filter(|(_, key)| state.links[*key].ip == IpUse::Gateway).collect()
}

/// The bridges of all segments in the router.
fn bridges(state: &KernelState) -> impl Iterator<Item = (Vni, &LinkKey)> {
    state.links.iter().filter_map(|(key, link)| match (&link.scope, &key.name, &link.kind) {
        (Scope::Segment(vni), OwnedName::Vni(Role::Bridge, _), LinkKind::Bridge) => Some((*vni, key)),
        _ => None,
    })
}
