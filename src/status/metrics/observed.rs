//! What was observed together with a status and is not in it. Pure data.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::frr::show::bfd::BfdPeer;
use crate::frr::show::interface::Interface;
use crate::frr::show::neighbor::SessionReset;
use crate::frr::show::session::SessionKey;
use crate::plan::Plan;

/// What was observed together with a status and is not in it.
#[derive(Debug, Default)]
pub struct Observed {
    /// The plan that is in force.
    pub plan: Arc<Plan>,
    /// Details of sessions, of those with the fabric at least.
    pub neighbors: BTreeMap<SessionKey, SessionReset>,
    /// BFD sessions.
    pub bfd: Vec<BfdPeer>,
    /// NICs of the underlay.
    pub nics: BTreeMap<String, Interface>,
}
