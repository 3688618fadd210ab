//! One reconcile pass: observe, plan, schedule, execute, verify. In: a snapshot and the two ports. Out: [`Report`]. Generic
//! over the ports, so that its tests need no root. Keeps what was accepted before, and since when sessions stay in
//! `OpenSent`. The only place that decides what is torn down and rebuilt.

mod cache;
mod compare;
mod down_vnis;
mod early_policies;
pub mod execute;
mod fdb;
mod known_ports;
mod neighbor_turns;
mod neighbors;
mod nic_addresses;
mod pass;
mod reconciler;
pub mod remedy;
pub mod schedule;
pub mod session_drops;
mod silent;
mod stale_open_sent;
mod torn_down_neighbors;
mod turn;
mod verify;

pub use pass::{Preview, Report};
pub use reconciler::{PassError, Reconciler};

#[cfg(test)]
mod tests;
