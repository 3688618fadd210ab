//! The connection to FRR. [`port`]: what a reconcile pass needs of FRR. [`vty_routing`]: that over the vty sockets
//! ([`vty`]). [`fake`]: that in memory, for tests and for a preview without a router. [`restarts`]: daemons that were
//! restarted.

mod bulk_commit;
pub mod fake;
mod fake_daemon;
#[cfg(test)]
pub(crate) mod fake_frr;
pub mod port;
pub mod restarts;
pub mod vty;
pub mod vty_routing;
