//! The steps in Open vSwitch. In: the wanted and the observed state. Out: ports are removed before the links that they are, bridges
//! after their ports; both are added after all links of the VNI. Pure.

use super::Differ;
use crate::kernel::op::{KernelOp, OvsOp};
use crate::types::Vni;

impl Differ<'_> {
    /// Removes the ports that are not wanted, or in another bridge than wanted.
    pub(super) fn release_ovs_ports(&mut self) {
        for (vni, port) in &self.observed.ovs.ports {
            if self.wanted.ovs.ports.get(vni).is_none_or(|wanted| wanted.bridge != port.bridge) {
                self.push(KernelOp::Ovs(OvsOp::DeletePort { vni: *vni, bridge: port.bridge.clone() }));
            }
        }
    }

    /// Removes the bridges that are not wanted.
    pub(super) fn release_ovs_bridges(&mut self) {
        for vni in self.observed.ovs.bridges.keys().filter(|vni| !self.wanted.ovs.bridges.contains_key(vni)) {
            self.push(KernelOp::Ovs(OvsOp::DeleteBridge(*vni)));
        }
    }

    /// Makes the bridge of a VNI and its port.
    pub(super) fn build_ovs(&mut self, vni: Vni) {
        let wanted = &self.wanted.ovs;
        if let Some(bridge) = wanted.bridges.get(&vni)
            && let Some(mtu) = bridge.mtu
            && self.now.ovs.bridges.get(&vni) != Some(bridge)
        {
            self.push(KernelOp::Ovs(OvsOp::SetBridge { vni, mtu }));
        }
        if let Some(port) = wanted.ports.get(&vni)
            && self.now.ovs.ports.get(&vni) != Some(port)
        {
            self.push(KernelOp::Ovs(OvsOp::AddPort { vni, bridge: port.bridge.clone() }));
        }
    }
}
