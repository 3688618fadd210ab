//! One file for each target: what it feeds its input to, and what must hold.

pub mod log;
pub mod netlink;
pub mod nftables;
pub mod pass;
pub mod running_config;
pub mod secret;
pub mod show;
pub mod state;
pub mod vty;
pub mod yaml;

mod snapshot;

/// For targets whose seeds are all files.
fn no_more_seeds() -> Vec<Vec<u8>> {
    Vec::new()
}
