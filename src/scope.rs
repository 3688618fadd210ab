//! What a part of the router belongs to: the unit that is built, edited, fails and is removed on its own. Pure data.

use std::fmt;

use crate::types::{Vni, VrfName};

/// What a link, a step or an FRR stanza belongs to. Everything of one scope is built, edited and removed on its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The default instance and what it needs.
    Underlay,
    /// One IP-VRF.
    Vrf(VrfName),
    /// An L2 segment, with or without an IP-VRF around it.
    Segment(Vni),
    /// The passthrough session of the node with its host.
    Passthrough,
    /// Raw FRR configuration of one object, by namespace/name.
    Raw(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Underlay => f.write_str("underlay"),
            Self::Vrf(name) => write!(f, "vrf {name}"),
            Self::Segment(vni) => write!(f, "segment {vni}"),
            Self::Passthrough => f.write_str("passthrough"),
            Self::Raw(object) => write!(f, "raw {object}"),
        }
    }
}
