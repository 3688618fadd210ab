//! A connection on which bgpd commits all northbound lines of a conversation together: prefix lists and route maps. A commit
//! copies and checks all such lines that bgpd has, 8 ms at 400 IP-VRFs.
//!
//! FRR gathers lines on a connection that said [`GATHER`], until somebody says [`COMMIT`] or the conversation ends. With
//! the first, bgpd also begins to hold back new sessions, with the second it ends that a second later, whoever says it. So
//! one connection says the first and another the second, when there is nothing else to tell; the one goes on to gather.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::vty::{Vty, VtyError};

/// Opens the configuration mode.
pub const CONFIGURE: &str = "configure terminal";
/// Between these two FRR gathers the lines of its northbound (prefix lists, route maps, BFD profiles, VNIs) and commits
/// them together.
pub const GATHER: &str = "XFRR_start_configuration";
/// The end of [`GATHER`].
pub const COMMIT: &str = "XFRR_end_configuration";
/// Ends the configuration mode, and commits what was gathered.
pub const END: &str = "end";

/// Ends what another conversation began and left: bgpd would hold back new sessions for ten minutes.
///
/// # Errors
/// Where bgpd does not answer.
pub async fn end_what_others_began(vty: &mut Vty, limit: Duration) -> Result<(), VtyError> {
    vty.run_all(&[CONFIGURE, COMMIT, END], limit).await.map(drop)
}

/// The connection, where there is one. Taken out for a conversation.
#[derive(Debug, Clone, Default)]
pub struct BulkConnection(Arc<Mutex<Option<Vty>>>);

impl BulkConnection {
    fn slot(&self) -> MutexGuard<'_, Option<Vty>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection out.
    pub fn take(&self) -> Option<Vty> {
        self.slot().take()
    }

    /// Puts it back after a conversation.
    pub fn put(&self, vty: Vty) {
        *self.slot() = Some(vty);
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.slot().is_some()
    }

    /// Makes one. For a second bgpd holds back sessions that are new.
    ///
    /// # Errors
    /// Where bgpd does not answer.
    pub async fn make(&self, socket: &Path, limit: Duration) -> Result<(), VtyError> {
        let mut other = Vty::connect(socket, limit).await?;
        let mut gathers = Vty::connect(socket, limit).await?;
        gathers.run_all(&[CONFIGURE, GATHER, END], limit).await?;
        end_what_others_began(&mut other, limit).await?;
        self.put(gathers);
        Ok(())
    }
}
