//! Keeps the neighbor entries of L2 segments in one namespace, by the rules of [`super::neighbors`]. In: the ifindexes of their
//! bridges, and neighbor and FDB messages. Out: changes of neighbor entries. Sends nothing while nothing changes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::time::Duration;

use nix::libc::RTMGRP_NEIGH;
use tokio::task::JoinHandle;

use super::neighbors::{NeighborChange, SegmentEntries};
use super::netlink::error::NetlinkError;
use super::netlink::segment_neighbor::{NeighborReport, report};
use super::netlink::socket::{Route, Socket};

/// Pause after an error of a socket.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the entries of a namespace until dropped. The namespace lives as long.
#[derive(Debug)]
pub struct NeighborKeeper {
    bridges: BTreeSet<u32>,
    task: JoinHandle<()>,
}

impl NeighborKeeper {
    /// Starts with what the kernel has now. Needs the tokio runtime.
    pub fn start(netns: &File, bridges: BTreeSet<u32>) -> Result<Self, NetlinkError> {
        // Before the first read: no message is lost.
        let events = Socket::subscribe(netns, RTMGRP_NEIGH.unsigned_abs())?;
        let requests = Socket::open(netns)?;
        let task = tokio::spawn(keep(events, requests, bridges.clone()));
        Ok(Self { bridges, task })
    }

    /// Whether it works, for these bridges.
    pub fn is_of(&self, bridges: &BTreeSet<u32>) -> bool {
        self.bridges == *bridges && !self.task.is_finished()
    }

    /// Stops and waits until its sockets are closed.
    pub async fn close(mut self) {
        self.task.abort();
        let _aborted = (&mut self.task).await;
    }
}

impl Drop for NeighborKeeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(events: Socket<Route>, mut socket: Socket<Route>, bridges: BTreeSet<u32>) {
    let mut segments = None;
    loop {
        let Some(known) = &mut segments else {
            match read(&mut socket, &bridges).await {
                Ok(read) => segments = Some(read),
                Err(error) => pause(&error).await,
            }
            continue;
        };
        match events.event().await {
            Ok(message) => {
                for (bridge, change) in message.iter().filter_map(report).flat_map(|found| changes(known, found)) {
                    if let Err(error) = apply(&mut socket, bridge, change).await {
                        pause(&error).await;
                        segments = None;
                        break;
                    }
                }
            }
            // Messages are lost.
            Err(NetlinkError::Overrun) => segments = None,
            Err(error) => {
                pause(&error).await;
                segments = None;
            }
        }
    }
}

async fn pause(error: &NetlinkError) {
    tracing::debug!(error = error as &dyn std::error::Error, "neighbors of a segment are read again");
    tokio::time::sleep(RETRY).await;
}

/// Reads all, and changes what has to be changed.
async fn read(
    socket: &mut Socket<Route>,
    bridges: &BTreeSet<u32>,
) -> Result<BTreeMap<u32, SegmentEntries>, NetlinkError> {
    let mut segments: BTreeMap<u32, SegmentEntries> =
        bridges.iter().map(|bridge| (*bridge, SegmentEntries::default())).collect();
    for bridge in bridges {
        let entries = socket.neighbors(*bridge).await?.into_iter().map(NeighborReport::Entry);
        let learned = socket.learned(*bridge).await?.into_iter().map(NeighborReport::Learned);
        let found: Vec<_> = entries.chain(learned).collect();
        for report in found {
            for (bridge, change) in changes(&mut segments, (*bridge, report)) {
                apply(socket, bridge, change).await?;
            }
        }
    }
    Ok(segments)
}

/// What a report about a bridge changes.
fn changes(
    segments: &mut BTreeMap<u32, SegmentEntries>,
    (bridge, report): (u32, NeighborReport),
) -> Vec<(u32, NeighborChange)> {
    let Some(segment) = segments.get_mut(&bridge) else { return Vec::new() };
    let changes = match report {
        NeighborReport::Entry(entry) => segment.reported(&entry).into_iter().collect(),
        NeighborReport::Removed(address) => {
            segment.removed(address);
            Vec::new()
        }
        NeighborReport::Learned(mac) => segment.learned(mac),
    };
    changes.into_iter().map(|change| (bridge, change)).collect()
}

/// Makes a change. One that the kernel rejects is that of an entry or a bridge that is gone: the others are changed all the same.
async fn apply(socket: &mut Socket<Route>, bridge: u32, change: NeighborChange) -> Result<(), NetlinkError> {
    match socket.change_neighbor(bridge, change).await {
        Err(error @ NetlinkError::Rejected { .. }) => {
            tracing::debug!(?change, error = &error as &dyn std::error::Error, "a neighbor entry is not changed");
            Ok(())
        }
        done => done.map(drop),
    }
}
