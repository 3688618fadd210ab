//! The limits of the kernel for neighbors, which all namespaces of a machine share: a session has an entry at both
//! ends, and above the limit of the table packets are dropped. Entries that were made together are verified together, and above the
//! backlog of a CPU the requests are dropped. In: the number of entries. Out: [`Limits`] that are sufficient, restored when it is
//! dropped.

use std::fs;

use anyhow::Context;

const DIRECTORY: &str = "/proc/sys/net";
/// Each, and how many times the number of entries it is. Thresholds in descending order: each must not be above the previous one.
const LIMITS: [(&str, usize); 4] = [
    ("ipv4/neigh/default/gc_thresh3", 8),
    ("ipv4/neigh/default/gc_thresh2", 4),
    ("ipv4/neigh/default/gc_thresh1", 2),
    ("core/netdev_max_backlog", 2),
];

/// The previous values of limits that were raised.
#[must_use]
pub struct Limits(Vec<(&'static str, String)>);

impl Limits {
    /// Raises limits that are too low.
    pub fn raise(needed: usize) -> anyhow::Result<Self> {
        let mut before = Vec::new();
        for (limit, factor) in LIMITS {
            let path = format!("{DIRECTORY}/{limit}");
            // They exist only in the initial namespace of the machine.
            let Ok(text) = fs::read_to_string(&path) else { continue };
            if text.trim().parse().is_ok_and(|value: usize| value < needed * factor) {
                fs::write(&path, (needed * factor).to_string()).with_context(|| path.clone())?;
                before.push((limit, text));
            }
        }
        Ok(Self(before))
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        for (limit, text) in self.0.iter().rev() {
            if let Err(error) = fs::write(format!("{DIRECTORY}/{limit}"), text) {
                eprintln!("{limit} could not be restored: {error}");
            }
        }
    }
}
