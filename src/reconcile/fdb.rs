//! Whether the FDBs of VXLAN devices have the router MACs that zebra has installed: zebra does not install again what others have
//! flushed, and every packet to the fabric is dropped. In: the plan and the two ports. Out: IP-VRFs. Repairs nothing.

use std::collections::BTreeSet;

use super::reconciler::Reconciler;
use crate::frr::client::port::Routing;
use crate::kernel::Kernel;
use crate::kernel::model::{LinkKey, LinkKind};
use crate::plan::Plan;
use crate::scope::Scope;
use crate::types::{Vni, VrfName};

impl<K: Kernel, R: Routing> Reconciler<K, R> {
    /// The IP-VRFs whose FDB lacks entries, of those whose turn it is and of those that did not work. One that cannot be read is
    /// none of them.
    pub(super) async fn incomplete_fdbs(&mut self, plan: &Plan) -> BTreeSet<VrfName> {
        let devices = devices(plan);
        let mut turn: BTreeSet<VrfName> = self.down_vnis.vrfs().cloned().collect();
        turn.extend(self.fdb_turn.take(devices.iter()).map(|(vrf, ..)| (*vrf).clone()));
        let mut incomplete = BTreeSet::new();
        for (vrf, vni, device) in devices.into_iter().filter(|(vrf, ..)| turn.contains(*vrf)) {
            if self.is_incomplete(vni, device).await {
                incomplete.insert(vrf.clone());
            }
        }
        incomplete
    }

    /// The same of one IP-VRF.
    pub(super) async fn is_fdb_incomplete(&mut self, plan: &Plan, vrf: &VrfName) -> bool {
        match devices(plan).into_iter().find(|(found, ..)| *found == vrf) {
            Some((_, vni, device)) => self.is_incomplete(vni, device).await,
            None => false,
        }
    }

    async fn is_incomplete(&mut self, vni: Vni, device: &LinkKey) -> bool {
        let Ok(wanted) = self.routing.router_macs(vni).await else { return false };
        if wanted.is_empty() {
            return false;
        }
        self.kernel.fdb(device).await.is_ok_and(|found| !wanted.is_subset(&found))
    }
}

/// The VXLAN devices of the L3VNIs.
fn devices(plan: &Plan) -> Vec<(&VrfName, Vni, &LinkKey)> {
    let expected = plan.l3vnis();
    let links = plan.kernel.links.iter().filter(|(_, link)| matches!(link.kind, LinkKind::Vxlan { .. }));
    links
        .filter_map(|(key, link)| match &link.scope {
            Scope::Vrf(vrf) => Some((vrf, *expected.get(vrf)?, key)),
            _ => None,
        })
        .collect()
}
