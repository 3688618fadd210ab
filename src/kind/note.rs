//! What is accepted and yet loses routes. Pure data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::object::ObjectRef;

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Loss {
    /// Routes between the host and the fabric.
    Fabric,
    /// Routes between hosts of different nodes. Many need none.
    BetweenHosts,
}

/// Routes that will not be accepted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Note {
    /// Which routes.
    pub loss: Loss,
    /// The object that can be changed.
    pub object: ObjectRef,
    /// Path of the field.
    pub field: String,
    /// Which routes are lost and what to do.
    pub message: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.field, self.message)
    }
}
