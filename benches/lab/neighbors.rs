//! The limits of the kernel's neighbor table, which all namespaces of a machine share: a session has an entry at both
//! ends, and above the limit packets are dropped. In: the number of entries. Out: [`Limits`] that are sufficient,
//! restored when it is dropped.

use std::fs;

use anyhow::Context;

const DIRECTORY: &str = "/proc/sys/net/ipv4/neigh/default";
/// In descending order: each must not be above the previous one.
const THRESHOLDS: [&str; 3] = ["gc_thresh3", "gc_thresh2", "gc_thresh1"];

/// The previous values of limits that were raised.
#[must_use]
pub struct Limits(Vec<(&'static str, String)>);

impl Limits {
    /// Raises limits that are too low.
    pub fn raise(needed: usize) -> anyhow::Result<Self> {
        let mut before = Vec::new();
        for (threshold, factor) in THRESHOLDS.into_iter().zip([8, 4, 2]) {
            let path = format!("{DIRECTORY}/{threshold}");
            // They exist only in the initial namespace of the machine.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            if text.trim().parse().is_ok_and(|limit: usize| limit < needed * factor) {
                fs::write(&path, (needed * factor).to_string()).with_context(|| path.clone())?;
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
                eprintln!("{threshold} could not be restored: {error}");
            }
        }
    }
}
