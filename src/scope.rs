//! What a part of the router belongs to: the unit that is built, edited, fails and is removed on its own. Pure data.

use std::fmt;

use crate::types::VrfName;

/// What a piece of configuration belongs to. Everything of one IP-VRF is built, edited and removed on its own.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// The default instance and what it needs.
    Underlay,
    /// One IP-VRF.
    Vrf(VrfName),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Underlay => f.write_str("underlay"),
            Self::Vrf(name) => write!(f, "vrf {name}"),
        }
    }
}
