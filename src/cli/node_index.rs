//! The index of the node, as long as its router exists: VTEP, router id and session addresses are derived from it, so that
//! another one changes all of them. In: the run directory, snapshots. Out: a file with the index, and a check of the command
//! line against it.

use std::fs;
use std::path::Path;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::atomic_file;
use crate::runtime::Runtime;
use crate::snapshot::Snapshot;

const MODE: u32 = 0o644;

/// The index by which the router of this node was configured; `None` where there is no router.
pub fn recorded(runtime: &Runtime) -> Option<u32> {
    read(&runtime.node_index())
}

/// Rejects another index than that of the router which this node has, unless that is wanted.
pub fn check(runtime: &Runtime, wanted: Option<u32>, may_change: bool) -> anyhow::Result<()> {
    match (recorded(runtime), wanted) {
        (Some(index), Some(wanted)) if index != wanted && !may_change => anyhow::bail!(
            "the router of this node has index {index}, and with index {wanted} its VTEP, its router id and all session \
             addresses change: keep index {index}, or add --change-node-index"
        ),
        _ => Ok(()),
    }
}

/// Records the index of each snapshot, until the source stops.
pub fn record(runtime: &Runtime, mut snapshots: watch::Receiver<Snapshot>) -> JoinHandle<()> {
    let path = runtime.node_index();
    tokio::spawn(async move {
        loop {
            let index = snapshots.borrow_and_update().node.index;
            if read(&path) != Some(index)
                && let Err(error) = atomic_file::replace(&path, MODE, format!("{index}\n").as_bytes())
            {
                tracing::error!(error = &error as &dyn std::error::Error, "index of this node not recorded");
            }
            if snapshots.changed().await.is_err() {
                return;
            }
        }
    })
}

/// None where there is no router. A file that cannot be read is written again.
fn read(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn another_index_than_that_of_the_router_needs_the_flag() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), dir.path().join("netns"));
        assert!(check(&runtime, Some(3), false).is_ok(), "no router");
        let mut snapshot = Snapshot::default();
        snapshot.node.index = 3;
        let (sender, snapshots) = watch::channel(snapshot);
        let recording = record(&runtime, snapshots);
        while check(&runtime, Some(4), false).is_ok() {
            tokio::task::yield_now().await;
        }
        assert!(check(&runtime, Some(3), false).is_ok() && check(&runtime, None, false).is_ok());
        assert!(check(&runtime, Some(4), true).is_ok());
        sender.send_modify(|snapshot| snapshot.node.index = 4);
        while check(&runtime, Some(4), false).is_err() {
            tokio::task::yield_now().await;
        }
        drop(sender);
        recording.await.unwrap();
    }
}
