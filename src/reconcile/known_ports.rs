//! The ports of others of managed bridges, as they were observed last: who deletes such a bridge takes them along, and they are known
//! to nobody else. In: observations and plans. Out: the ports that a bridge gets which is recreated. Changes nothing. Pure.

use std::borrow::Cow;

use crate::kernel::model::{HostPorts, KernelState, Link, LinkKey, Netns};
use crate::names::{OwnedName, Role};
use crate::types::Vni;

/// The ports that were observed last.
#[derive(Debug, Default)]
pub(super) struct KnownPorts(HostPorts);

impl KnownPorts {
    /// What is wanted, with the ports of the bridges that are recreated. They are those of the last observation in which there was
    /// the bridge.
    pub(super) fn wanted<'a>(&mut self, wanted: &'a KernelState, observed: &KernelState) -> Cow<'a, KernelState> {
        self.observe(wanted, observed);
        let mut again = self.0.clone();
        again.retain(|vni| {
            let key = bridge(vni);
            let is_same = |wanted: &Link| observed.links.get(&key).is_some_and(|link| link.kind == wanted.kind);
            wanted.links.get(&key).is_some_and(|link| !is_same(link))
        });
        if again.is_empty() {
            return Cow::Borrowed(wanted);
        }
        Cow::Owned(KernelState { host_ports: again, ..wanted.clone() })
    }

    /// Those of a bridge that is neither there nor wanted are forgotten.
    fn observe(&mut self, wanted: &KernelState, observed: &KernelState) {
        self.0.retain(|vni| {
            let key = bridge(vni);
            !observed.links.contains_key(&key) && wanted.links.contains_key(&key)
        });
        for (vni, ports) in observed.host_ports.iter() {
            self.0.attach(&bridge(vni).name, ports.iter().cloned());
        }
    }
}

/// The ports of the bridges that are not wanted, and stay for them.
pub(super) fn kept(observed: &KernelState, wanted: &KernelState) -> HostPorts {
    let mut ports = observed.host_ports.clone();
    ports.retain(|vni| !wanted.links.contains_key(&bridge(vni)));
    ports
}

fn bridge(vni: Vni) -> LinkKey {
    LinkKey { netns: Netns::Host, name: OwnedName::Vni(Role::HostBridge, vni) }
}
