//! `MetalLB` with FRR-K8s, as far as one node's BGP is concerned.
//!
//! In: the manifests that a user applies to a cluster. Out: an [`Announcer`]: sessions, and what is announced and accepted
//! on each; and its FRR configuration. It must not access the machine, and a field that it does not implement is an error:
//! a lab that ignores something silently proves nothing.

mod advertise;
mod announcer;
mod error;
mod nodes;
mod read;
mod render;
mod spec;
#[cfg(test)]
mod tests;

pub use announcer::{Announcement, Announcer, PeerSession, Service, host_prefix};
pub use error::ManifestError;
pub use nodes::{Labels, NodeSelectors};
pub use read::{parse_manifests, read_manifests};
pub use render::{frr_conf, router_id};
