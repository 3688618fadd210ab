//! Keeps the neighbor entries of L2 segments in one namespace, by the rules of [`super::neighbors`]. In: the ifindexes of their
//! bridges, and neighbor and FDB messages. Out: changes of neighbor entries, and for a moment routes to workloads that have moved
//! here. Sends nothing while nothing changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use nix::libc::RTMGRP_NEIGH;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::known_workloads::KnownWorkloads;
use super::neighbors::{NeighborChange, SegmentEntries};
use super::netlink::error::NetlinkError;
use super::netlink::segment_neighbor::{NeighborReport, report};
use super::netlink::socket::{Route, Socket};
use super::netlink::workload_route::WorkloadRoute;
use crate::types::{MacAddr, TableId};

/// What a namespace knows, also while no keeper runs.
pub type SharedWorkloads = Arc<Mutex<KnownWorkloads>>;

/// Pause after an error of a socket.
const RETRY: Duration = Duration::from_secs(1);
/// How long a workload that has moved here has a route of its own: the node that it left withdraws its route within 0.2 s, and later
/// where it is busy.
const ROUTED: Duration = Duration::from_secs(3);

/// Keeps the entries of a namespace until dropped, and removes its routes then. The namespace lives as long.
#[derive(Debug)]
pub struct NeighborKeeper {
    bridges: BTreeMap<u32, String>,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl NeighborKeeper {
    /// Starts with what the kernel has now, and takes note of what it has. Needs the tokio runtime.
    pub fn start(netns: &File, bridges: BTreeMap<u32, String>, known: SharedWorkloads) -> Result<Self, NetlinkError> {
        // Before the first read: no message is lost.
        let events = Socket::subscribe(netns, RTMGRP_NEIGH.unsigned_abs())?;
        let socket = Socket::open(netns)?;
        let netns = netns.try_clone().map_err(NetlinkError::Io)?;
        let (subnets, routed) = (BTreeMap::new(), VecDeque::new());
        let keeper = Keeper { netns, socket, bridges: bridges.clone(), known, subnets, routed };
        let stop = CancellationToken::new();
        let task = tokio::spawn(keep(keeper, events, stop.clone()));
        Ok(Self { bridges, task, stop: stop.drop_guard() })
    }

    /// Whether it works, for these bridges.
    pub fn is_of(&self, bridges: &BTreeMap<u32, String>) -> bool {
        self.bridges == *bridges && !self.task.is_finished()
    }

    /// Stops and waits until its routes are removed and its sockets are closed.
    pub async fn close(self) {
        drop(self.stop);
        let _ended = self.task.await;
    }
}

/// What is kept of the segments of a namespace.
#[derive(Debug, Default)]
pub struct KeptSegments {
    /// Their workloads.
    pub known: SharedWorkloads,
    /// Of those whose bridges exist.
    pub keeper: Option<NeighborKeeper>,
}

impl KeptSegments {
    /// Stops and waits until all is closed.
    pub async fn close(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.close().await;
        }
    }

    /// Knows the workloads of these bridges from now on, and of no others. Those of bridges that are not `present` have no entry.
    pub fn set_bridges(&self, names: &BTreeSet<String>, present: &BTreeSet<String>) {
        let (mut known, now) = (self.known.lock().unwrap_or_else(PoisonError::into_inner), Instant::now());
        known.set_bridges(names);
        for name in names - present {
            known.read(&name, &[], now);
        }
    }

    /// The workloads behind a bridge, with those that were a moment ago.
    pub fn workloads(&self, bridge: &str) -> BTreeMap<IpAddr, MacAddr> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).of(bridge, Instant::now())
    }
}

async fn keep(mut keeper: Keeper, events: Socket<Route>, stop: CancellationToken) {
    // What is cut off is a request, of which the kernel has done all or nothing.
    let _ = stop.run_until_cancelled(keeper.run(&events)).await;
    keeper.end().await;
}

async fn pause(error: &NetlinkError) {
    tracing::debug!(error = error as &dyn std::error::Error, "neighbors of a segment are read again");
    tokio::time::sleep(RETRY).await;
}

/// What changes entries and routes.
struct Keeper {
    netns: File,
    socket: Socket<Route>,
    /// By ifindex.
    bridges: BTreeMap<u32, String>,
    known: SharedWorkloads,
    /// Those of the bridges that had a route, as they were last read.
    subnets: BTreeMap<u32, Vec<(IpNet, TableId)>>,
    /// The routes, and until when.
    routed: VecDeque<(Instant, WorkloadRoute)>,
}

impl Keeper {
    async fn run(&mut self, events: &Socket<Route>) {
        let mut segments = None;
        loop {
            let done = match &mut segments {
                None => self.read().await.map(|read| segments = Some(read)),
                Some(known) => tokio::select! {
                    event = events.event() => match event {
                        Ok(message) => self.change(known, message.iter().filter_map(report)).await,
                        Err(error) => Err(error),
                    },
                    () = self.next_expiry() => self.expire().await,
                },
            };
            match done {
                Ok(()) => {}
                // Messages are lost.
                Err(NetlinkError::Overrun) => segments = None,
                Err(error) => {
                    pause(&error).await;
                    segments = None;
                    self.renew_socket();
                }
            }
        }
    }

    /// Opens another socket where the present one is of no use any more. Without one the next request fails, and this is repeated.
    fn renew_socket(&mut self) {
        if !self.socket.is_idle()
            && let Ok(socket) = Socket::open(&self.netns)
        {
            self.socket = socket;
        }
    }

    /// Removes all routes. Those that remain are removed by the next keeper.
    async fn end(mut self) {
        self.renew_socket();
        for (_, route) in std::mem::take(&mut self.routed) {
            if let Err(error) = self.socket.delete_workload_route(route).await {
                tracing::debug!(?route, error = &error as &dyn std::error::Error, "a route to a workload remains");
            }
        }
    }

    /// Reads all, and changes what has to be changed.
    async fn read(&mut self) -> Result<BTreeMap<u32, SegmentEntries>, NetlinkError> {
        let bridges: Vec<u32> = self.bridges.keys().copied().collect();
        let mut segments: BTreeMap<u32, SegmentEntries> =
            bridges.iter().map(|bridge| (*bridge, SegmentEntries::default())).collect();
        // A process before this one may not have come to that.
        for route in self.socket.workload_routes().await? {
            if !self.routed.iter().any(|(_, routed)| *routed == route) {
                accept_rejected(self.socket.delete_workload_route(route).await, &route)?;
            }
        }
        for bridge in bridges {
            let entries = self.socket.neighbors(bridge).await?;
            self.known().read(&self.bridges[&bridge], &entries, Instant::now());
            let entries = entries.into_iter().map(NeighborReport::Entry);
            let learned = self.socket.learned(bridge).await?.into_iter().map(NeighborReport::Learned);
            let found: Vec<_> = entries.chain(learned).map(|report| (bridge, report)).collect();
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
            self.note(&report);
            for (bridge, change) in changes(segments, report) {
                self.apply(bridge, change).await?;
            }
        }
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, KnownWorkloads> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of the workloads that a report is about.
    fn note(&self, (bridge, report): &(u32, NeighborReport)) {
        let Some(name) = self.bridges.get(bridge) else { return };
        match report {
            NeighborReport::Entry(entry) => self.known().reported(name, entry, Instant::now()),
            NeighborReport::Removed(address) => self.known().removed(name, *address, Instant::now()),
            NeighborReport::Learned(_) => {}
        }
    }

    /// Makes a change. One that the kernel rejects is that of an entry or a bridge that is gone: the others are changed all the same.
    async fn apply(&mut self, bridge: u32, change: NeighborChange) -> Result<(), NetlinkError> {
        let done = match (self.socket.change_neighbor(bridge, change).await, change) {
            (Ok(true), NeighborChange::Adopt(address, _)) => self.add_routes(bridge, address).await,
            (done, _) => done.map(drop),
        };
        accept_rejected(done, &change)
    }

    /// Routes an address to a bridge, in the table of its subnet; nowhere where the bridge has no such subnet.
    async fn add_routes(&mut self, bridge: u32, address: IpAddr) -> Result<(), NetlinkError> {
        if matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()) {
            return Ok(());
        }
        let tables = |subnets: &[(IpNet, TableId)]| -> Vec<TableId> {
            subnets.iter().filter(|(subnet, _)| subnet.contains(&address)).map(|(_, table)| *table).collect()
        };
        let mut found = self.subnets.get(&bridge).map(|subnets| tables(subnets)).unwrap_or_default();
        if found.is_empty() {
            let subnets = self.socket.connected_subnets(bridge).await?;
            found = tables(&subnets);
            self.subnets.insert(bridge, subnets);
        }
        for table in found {
            let route = WorkloadRoute { bridge, table, address };
            self.routed.push_back((Instant::now() + ROUTED, route));
            self.socket.add_workload_route(route).await?;
        }
        Ok(())
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
        let Some((_, route)) = self.routed.front().copied() else { return Ok(()) };
        if !self.routed.iter().skip(1).any(|(_, other)| *other == route) {
            accept_rejected(self.socket.delete_workload_route(route).await, &route)?;
        }
        self.routed.pop_front();
        Ok(())
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
        NeighborReport::Learned(learned) => segment.learned(learned.mac),
    };
    changes.into_iter().map(|change| (bridge, change)).collect()
}
