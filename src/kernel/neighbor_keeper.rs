//! Keeps the neighbor entries of L2 segments in one namespace, by the rules of [`super::neighbors`]. In: the ifindexes of their
//! bridges, and neighbor and FDB messages. Out: changes of neighbor entries, and for a moment routes to workloads that have moved
//! here. Sends nothing while nothing changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::net::IpAddr;
use std::time::Duration;

use nix::libc::RTMGRP_NEIGH;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::neighbors::{NeighborChange, SegmentEntries};
use super::netlink::error::NetlinkError;
use super::netlink::segment_neighbor::{NeighborReport, report};
use super::netlink::socket::{Route, Socket};

/// Pause after an error of a socket.
const RETRY: Duration = Duration::from_secs(1);
/// How long a workload that has moved here has a route of its own: the node that it left withdraws its route within 0.2 s, and later
/// where it is busy.
const ROUTED: Duration = Duration::from_secs(3);

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

async fn keep(events: Socket<Route>, socket: Socket<Route>, bridges: BTreeSet<u32>) {
    let mut keeper = Keeper { socket, routed: VecDeque::new() };
    let mut segments = None;
    loop {
        let done = match &mut segments {
            None => keeper.read(&bridges).await.map(|read| segments = Some(read)),
            Some(known) => tokio::select! {
                event = events.event() => match event {
                    Ok(message) => keeper.change(known, message.iter().filter_map(report)).await,
                    Err(error) => Err(error),
                },
                () = keeper.next_expiry() => keeper.expire().await,
            },
        };
        match done {
            Ok(()) => {}
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

/// What changes entries and routes.
struct Keeper {
    socket: Socket<Route>,
    /// The bridges and addresses that have a route, and until when.
    routed: VecDeque<(Instant, u32, IpAddr)>,
}

impl Keeper {
    /// Reads all, and changes what has to be changed.
    async fn read(&mut self, bridges: &BTreeSet<u32>) -> Result<BTreeMap<u32, SegmentEntries>, NetlinkError> {
        let mut segments: BTreeMap<u32, SegmentEntries> =
            bridges.iter().map(|bridge| (*bridge, SegmentEntries::default())).collect();
        for bridge in bridges {
            // A keeper before this one may not have come to that.
            if !self.routed.iter().any(|(_, routed, _)| routed == bridge) {
                self.socket.delete_workload_routes(*bridge, None).await?;
            }
            let entries = self.socket.neighbors(*bridge).await?.into_iter().map(NeighborReport::Entry);
            let learned = self.socket.learned(*bridge).await?.into_iter().map(NeighborReport::Learned);
            let found: Vec<_> = entries.chain(learned).map(|report| (*bridge, report)).collect();
            self.change(&mut segments, found).await?;
        }
        Ok(segments)
    }

    /// Changes what reports require.
    async fn change(
        &mut self,
        segments: &mut BTreeMap<u32, SegmentEntries>,
        reports: impl IntoIterator<Item = (u32, NeighborReport)>,
    ) -> Result<(), NetlinkError> {
        for report in reports {
            for (bridge, change) in changes(segments, report) {
                self.apply(bridge, change).await?;
            }
        }
        Ok(())
    }

    /// Makes a change. One that the kernel rejects is that of an entry or a bridge that is gone: the others are changed all the same.
    async fn apply(&mut self, bridge: u32, change: NeighborChange) -> Result<(), NetlinkError> {
        let done = match (self.socket.change_neighbor(bridge, change).await, change) {
            (Ok(true), NeighborChange::Adopt(address, _)) => {
                self.routed.push_back((Instant::now() + ROUTED, bridge, address));
                self.socket.add_workload_route(bridge, address).await
            }
            (done, _) => done.map(drop),
        };
        accept_rejected(done, &change)
    }

    /// When the first route is to be removed; never without one.
    async fn next_expiry(&self) {
        match self.routed.front() {
            Some((until, ..)) => tokio::time::sleep_until(*until).await,
            None => std::future::pending().await,
        }
    }

    /// Removes the first route, unless its workload has one for longer.
    async fn expire(&mut self) -> Result<(), NetlinkError> {
        let Some((_, bridge, address)) = self.routed.pop_front() else { return Ok(()) };
        if self.routed.iter().any(|(_, of, other)| (*of, *other) == (bridge, address)) {
            return Ok(());
        }
        let removed = self.socket.delete_workload_routes(bridge, Some(address)).await;
        accept_rejected(removed, &address)
    }
}

/// What the kernel rejects is of an entry, a route or a bridge that is gone.
fn accept_rejected(done: Result<(), NetlinkError>, what: &impl std::fmt::Debug) -> Result<(), NetlinkError> {
    match done {
        Err(error @ NetlinkError::Rejected { .. }) => {
            tracing::debug!(
                ?what,
                error = &error as &dyn std::error::Error,
                "a neighbor entry or its route is not changed"
            );
            Ok(())
        }
        done => done,
    }
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
