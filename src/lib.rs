//! perouter: an EVPN provider-edge router for Kubernetes nodes.
//!
//! ```text
//! source ─ Snapshot ─▶ plan (pure) ─ Plan ─▶ diff (pure) ─ Steps ─▶ apply (effects) ─ Report ─▶ status
//!   directory, kube     validate, ipam,       kernel, frr            netlink, vty              conditions
//! ```
//! Data flows one way. Modules left of `apply` have no effects; netlink is used in `kernel` only, processes are
//! started in `frr::daemons` only. `docs/architecture.md` is the map of the code.

pub mod atomic_file;
pub mod cli;
pub mod control;
pub mod diagnose;
pub mod frr;
pub mod kernel;
pub mod kind;
pub mod memo;
pub mod names;
pub mod plan;
pub mod printable;
pub mod reconcile;
pub mod runtime;
pub mod scope;
pub mod snapshot;
pub mod source;
pub mod status;
pub mod timing;
pub mod types;
pub mod ui;
pub mod untrusted_file;
mod write_watch;

#[cfg(test)]
mod golden_tests;
