//! The ports that links of others are of the managed bridges of L2 segments on the host: such a bridge is not deleted, and one that
//! is recreated gets them back. In: observations. Out: [`HostPorts`]. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{OwnedName, Role};
use crate::types::Vni;

/// A link of others in the host's namespace. It has not been replaced by another one of its name as long as its ifindex is the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// Its name.
    pub name: String,
    /// Its ifindex.
    pub index: u32,
}

/// The ports of others of each managed bridge; none of a bridge without one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostPorts(BTreeMap<Vni, BTreeSet<HostPort>>);

impl HostPorts {
    /// Adds ports to a bridge. A link of another role has none.
    pub fn attach(&mut self, bridge: &OwnedName, ports: impl IntoIterator<Item = HostPort>) {
        if let Some(vni) = vni_of(bridge) {
            self.0.entry(vni).or_default().extend(ports);
        }
    }

    /// Removes those of a bridge, and returns them.
    pub fn remove(&mut self, bridge: &OwnedName) -> Option<BTreeSet<HostPort>> {
        self.0.remove(&vni_of(bridge)?)
    }

    /// Those of a bridge; `None` without one.
    pub fn of(&self, bridge: &OwnedName) -> Option<&BTreeSet<HostPort>> {
        self.0.get(&vni_of(bridge)?)
    }

    /// The names of those of each bridge.
    pub fn names(&self) -> BTreeMap<Vni, BTreeSet<String>> {
        let names = |ports: &BTreeSet<HostPort>| ports.iter().map(|port| port.name.clone()).collect();
        self.0.iter().map(|(vni, ports)| (*vni, names(ports))).collect()
    }

    /// Those of each bridge.
    pub fn iter(&self) -> impl Iterator<Item = (Vni, &BTreeSet<HostPort>)> {
        self.0.iter().map(|(vni, ports)| (*vni, ports))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keeps those of the bridges that `keeps` selects.
    pub fn retain(&mut self, keeps: impl Fn(Vni) -> bool) {
        self.0.retain(|vni, _| keeps(*vni));
    }
}

fn vni_of(bridge: &OwnedName) -> Option<Vni> {
    if let OwnedName::Vni(Role::HostBridge, vni) = bridge { Some(*vni) } else { None }
}

/// The names of ports, as a list.
pub fn names<'a>(ports: impl IntoIterator<Item = &'a HostPort>) -> String {
    ports.into_iter().map(|port| port.name.as_str()).collect::<Vec<_>>().join(", ")
}
