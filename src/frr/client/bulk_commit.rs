//! A connection to bgpd on which the northbound lines of one exchange, prefix lists and route maps, are committed together. In:
//! the socket. Out: the connection, taken out and put back. A commit copies and checks all northbound lines that bgpd has:
//! 8 ms at 400 IP-VRFs.
//!
//! After [`COLLECT`] FRR collects lines on that connection, until [`COMMIT`] on any connection or the end of the exchange.
//! With [`COLLECT`] bgpd also begins to hold back new sessions, and one second after [`COMMIT`] it stops that, on whichever
//! connection it was sent. So while there is nothing to send, [`COLLECT`] is sent on one connection and [`COMMIT`] on
//! another; the first continues to collect.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::vty::{Vty, VtyError};

/// Enters the configuration mode.
pub const CONFIGURE: &str = "configure terminal";
/// From here to [`COMMIT`] FRR collects northbound lines (prefix lists, route maps, BFD profiles, VNIs).
pub const COLLECT: &str = "XFRR_start_configuration";
/// Commits the lines since [`COLLECT`] together.
pub const COMMIT: &str = "XFRR_end_configuration";
/// Leaves the configuration mode, and commits what was collected.
pub const END: &str = "end";

/// Ends the collection that a client began that is gone: bgpd would hold back new sessions for ten minutes.
///
/// # Errors
/// If bgpd does not reply.
pub async fn end_abandoned_collection(vty: &mut Vty, limit: Duration) -> Result<(), VtyError> {
    vty.run_all(&[CONFIGURE, COMMIT, END], limit).await.map(drop)
}

/// The connection, if there is one. Taken out for an exchange.
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

    /// Puts it back after an exchange.
    pub fn put(&self, vty: Vty) {
        *self.slot() = Some(vty);
    }

    /// Whether there is one.
    pub fn is_open(&self) -> bool {
        self.slot().is_some()
    }

    /// Opens one. bgpd holds back new sessions for a second.
    ///
    /// # Errors
    /// If bgpd does not reply.
    pub async fn open(&self, socket: &Path, limit: Duration) -> Result<(), VtyError> {
        let mut other = Vty::connect(socket, limit).await?;
        let mut collecting = Vty::connect(socket, limit).await?;
        collecting.run_all(&[CONFIGURE, COLLECT, END], limit).await?;
        end_abandoned_collection(&mut other, limit).await?;
        self.put(collecting);
        Ok(())
    }
}
