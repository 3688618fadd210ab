//! Notes on accepted objects some of whose routes will be lost. In: what the kinds find. Out: data for `perouter validate` and the
//! status. A note must not reject its object. Pure data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::object::ObjectRef;

/// Which routes are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Loss {
    /// Routes between the host and the fabric.
    Fabric,
    /// Routes between hosts of different nodes, which many installations do not need.
    BetweenHosts,
    /// None, but a part of VRF isolation.
    Isolation,
    /// Routes of the node itself.
    Node,
}

/// Routes that will be lost.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// Which routes are lost.
    pub loss: Loss,
    /// The object to change.
    pub object: ObjectRef,
    /// Path of the field.
    pub field: String,
    /// Why the routes are lost, and the remedy.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.field, self.message)
    }
}
