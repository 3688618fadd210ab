//! The state of the running router as FRR prints it. Pure data.

use std::collections::{BTreeMap, BTreeSet};

use super::session::SessionState;
use super::vni::VniState;
use crate::runtime::Daemon;
use crate::types::Vni;

/// The state of the running router.
#[derive(Debug, Clone, Default)]
pub struct Live {
    /// FRR's version.
    pub frr_version: String,
    /// VNIs of both types.
    pub vnis: BTreeMap<Vni, VniState>,
    /// Sessions.
    pub sessions: Vec<SessionState>,
    /// Why this version may behave differently than those with which perouter was measured.
    pub frr_warning: Option<String>,
    /// The daemons that do not answer.
    pub silent: BTreeSet<Daemon>,
}

impl Live {
    /// Whether the VNIs were read: what is not among them is not in FRR then.
    pub fn has_read_vnis(&self) -> bool {
        !self.frr_version.is_empty() && !self.silent.contains(&Daemon::Bgpd)
    }
}
