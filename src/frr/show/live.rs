//! The running router as FRR shows it. Pure data.

use std::collections::BTreeMap;

use super::session::SessionState;
use super::vni::VniState;
use crate::types::Vni;

/// What is known of the running router.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// FRR's version.
    pub frr_version: String,
    /// L3VNIs.
    pub vnis: BTreeMap<Vni, VniState>,
    /// Sessions.
    pub sessions: Vec<SessionState>,
}
