//! One change of Open vSwitch of the host as plain data, which prints like the `ovs-vsctl` command line that does the same. Pure.

use std::fmt;

use super::Stage;
use crate::kernel::ovs_state::{bridge_name, port_name};
use crate::types::{IfName, Vni};

/// One change of Open vSwitch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OvsOp {
    /// Makes our bridge, or sets the MTU of its own interface.
    SetBridge {
        /// Whose bridge.
        vni: Vni,
        /// Bytes.
        mtu: u32,
    },
    /// Removes our bridge with all its ports.
    DeleteBridge(Vni),
    /// Adds the host end to a bridge, and waits until it is in the switch.
    AddPort {
        /// Whose host end.
        vni: Vni,
        /// The bridge.
        bridge: IfName,
    },
    /// Removes the host end from a bridge.
    DeletePort {
        /// Whose host end.
        vni: Vni,
        /// The bridge.
        bridge: IfName,
    },
}

impl OvsOp {
    /// The VNI that it is about.
    pub fn vni(&self) -> Vni {
        match self {
            Self::SetBridge { vni, .. }
            | Self::DeleteBridge(vni)
            | Self::AddPort { vni, .. }
            | Self::DeletePort { vni, .. } => *vni,
        }
    }

    /// The part of a pass in which it runs.
    pub fn stage(&self) -> Stage {
        match self {
            Self::DeleteBridge(_) | Self::DeletePort { .. } => Stage::Release,
            Self::SetBridge { .. } | Self::AddPort { .. } => Stage::Build,
        }
    }
}

impl fmt::Display for OvsOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetBridge { vni, mtu } => {
                let name = bridge_name(*vni);
                write!(f, "host: ovs-vsctl --may-exist add-br {name} -- set interface {name} mtu_request={mtu}")
            }
            Self::DeleteBridge(vni) => write!(f, "host: ovs-vsctl del-br {}", bridge_name(*vni)),
            Self::AddPort { vni, bridge } => {
                write!(f, "host: ovs-vsctl --may-exist add-port {bridge} {}", port_name(*vni))
            }
            Self::DeletePort { vni, bridge } => write!(f, "host: ovs-vsctl del-port {bridge} {}", port_name(*vni)),
        }
    }
}
