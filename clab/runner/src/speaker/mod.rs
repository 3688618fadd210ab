//! A BGP speaker of a cluster node beside or instead of `MetalLB`'s: BIRD, as in Calico, or `GoBGP`, as in Cilium.
//!
//! In: a node and the sessions of the speaker. Out: its daemon in the node's own namespaces. It must not affect other
//! processes of the node.
//!
//! BIRD installs the routes that it receives in the node's kernel. `GoBGP` does not: the caller installs the routes back.

mod config;
mod daemon;
mod render;
#[cfg(test)]
mod tests;

pub use config::{Peering, Program, SpeakerConfig};
pub use daemon::{Speaker, SpeakerError};
pub use render::{bird_conf, gobgp_conf};
