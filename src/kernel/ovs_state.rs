//! What the router has in Open vSwitch of the host. In: nothing. Out: values that are wanted and observed. Pure data.

use std::collections::BTreeMap;

use crate::names::{OwnedName, Role};
use crate::types::{IfName, Vni};

/// A bridge of ours, `br-hs-<VNI>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvsBridge {
    /// MTU of its own interface in bytes. Wanted: always there.
    pub mtu: Option<u32>,
}

/// A host end, `host-<VNI>`, as a port that we made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OvsPort {
    /// The bridge that has it.
    pub bridge: IfName,
    /// ovs-vswitchd has it in the switch. Wanted: always true.
    pub attached: bool,
}

/// What the router has in Open vSwitch. Observed: what has our mark; nothing where Open vSwitch cannot be read, so that what is
/// wanted there is tried, which fails for that reason, and nothing is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OvsState {
    /// Bridges of ours.
    pub bridges: BTreeMap<Vni, OvsBridge>,
    /// Ports of ours.
    pub ports: BTreeMap<Vni, OvsPort>,
}

/// The name of the bridge of ours.
pub fn bridge_name(vni: Vni) -> IfName {
    OwnedName::Vni(Role::HostBridge, vni).if_name()
}

/// The name of the port.
pub fn port_name(vni: Vni) -> IfName {
    OwnedName::Vni(Role::HostVeth, vni).if_name()
}
