//! An op together with what it belongs to: what a diff consists of. Pure.

use std::fmt;

use super::op::KernelOp;
use crate::scope::Scope;

/// One step of a diff. It prints as its op does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What the op is done for, and what fails if it fails.
    pub scope: Scope,
    /// The change.
    pub op: KernelOp,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.op.fmt(f)
    }
}
