//! The limit of the kernel's neighbor tables, which all namespaces of a machine share: a session has an entry at both of
//! its ends, and beyond the limit packets are dropped. In: how many entries are needed. Out: a limit with room for them,
//! until it is dropped.

use std::fs;

use anyhow::Context;

const DIRECTORY: &str = "/proc/sys/net/ipv4/neigh/default";
/// From the greatest down: each must not be above the one before.
const THRESHOLDS: [&str; 3] = ["gc_thresh3", "gc_thresh2", "gc_thresh1"];

/// What the limits were.
#[must_use]
pub struct Limits(Vec<(&'static str, String)>);

impl Limits {
    /// Raises those that are lower.
    pub fn raise(needed: usize) -> anyhow::Result<Self> {
        let mut before = Vec::new();
        for (threshold, room) in THRESHOLDS.into_iter().zip([8, 4, 2]) {
            let path = format!("{DIRECTORY}/{threshold}");
            // Only the first namespace of the machine shows them.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            if text.trim().parse().is_ok_and(|limit: usize| limit < needed * room) {
                fs::write(&path, (needed * room).to_string()).with_context(|| path.clone())?;
                before.push((threshold, text));
            }
        }
        Ok(Self(before))
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        for (threshold, text) in self.0.iter().rev() {
            if let Err(error) = fs::write(format!("{DIRECTORY}/{threshold}"), text) {
                eprintln!("{threshold} is not what it was: {error}");
            }
        }
    }
}
