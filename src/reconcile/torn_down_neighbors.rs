//! The neighbors of this node's workloads on a bridge that was torn down, for the one that replaces it. Changes nothing.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::types::MacAddr;

/// What was noted longer ago is not restored: a workload may have moved.
const RESTORABLE: Duration = Duration::from_secs(60);

/// The neighbors of one segment.
#[derive(Debug)]
pub(super) struct TornDownNeighbors {
    /// Their addresses.
    pub entries: BTreeSet<(IpAddr, MacAddr)>,
    /// When the last ones were noted.
    at: Instant,
}

impl Default for TornDownNeighbors {
    fn default() -> Self {
        Self { entries: BTreeSet::new(), at: Instant::now() }
    }
}

impl TornDownNeighbors {
    /// Adds neighbors of a bridge that is torn down now.
    pub fn note(&mut self, found: impl IntoIterator<Item = (IpAddr, MacAddr)>) {
        let before = self.entries.len();
        self.entries.extend(found);
        if self.entries.len() > before {
            self.at = Instant::now();
        }
    }

    /// Whether they are too old to be restored.
    pub fn is_old(&self) -> bool {
        self.at.elapsed() > RESTORABLE
    }
}
