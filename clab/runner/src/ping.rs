//! Ping from a node or from a workload of one.
//!
//! In: who pings what. Out: its replies. It must not wait longer than its time limit.

use crate::node::{Node, NodeError};

/// The first three replies to pings, each as ping prints it. Until it has that many, ping sends more requests, and a neighbor that is
/// resolved late may reply to all of them.
///
/// `within`: words before the command, such as `ip netns exec NAME`. `options`: of ping. All of them together have this many
/// seconds.
pub fn replies(
    node: &Node,
    within: &[&str],
    options: &[&str],
    seconds: u8,
    address: &str,
) -> Result<Vec<String>, NodeError> {
    let limit = seconds.to_string();
    let words = ["ping", "-n", "-c", "3", "-i", "0.2", "-w", &limit];
    let output = node.run(&[within, &words[..], options, &[address]].concat())?;
    Ok(output.stdout.lines().filter(|line| line.contains("bytes from")).take(3).map(ToOwned::to_owned).collect())
}
