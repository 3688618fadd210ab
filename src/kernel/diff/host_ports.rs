//! The ports of others on managed bridges of the host. In: the wanted and the observed state. Out: which of these bridges stay although
//! they are not wanted, and the step that attaches ports again. Pure.

use super::Differ;
use crate::kernel::model::LinkKey;
use crate::kernel::op::KernelOp;

impl Differ<'_> {
    /// Whether it is a bridge that is not wanted and has ports of others: they would be left without one. It is deleted when the last
    /// of them has left it. One that is replaced gets them back.
    pub(super) fn is_kept_for_ports(&self, key: &LinkKey) -> bool {
        self.observed.host_ports.of(&key.name).is_some() && !self.wanted.links.contains_key(key)
    }

    /// A bridge that was created gets the ports back that it had.
    pub(super) fn attach_ports(&mut self, created: &LinkKey) {
        if let Some(ports) = self.wanted.host_ports.of(&created.name) {
            self.push(KernelOp::AttachPorts { bridge: created.clone(), ports: ports.clone() });
        }
    }
}
