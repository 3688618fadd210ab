//! The kernel of this node behind the port [`Kernel`]. In: a run directory with the router namespace, and the host's
//! namespace. Out: observed state and applied ops, by the modules below. Decides only which namespaces are read again for
//! their age.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};

use super::error::{KernelError, OpError};
use super::model::{HostNetwork, KernelState, LinkKey, Netns, ObservedNics};
use super::namespace::Namespace;
use super::namespaces::Namespaces;
use super::neighbors::NeighborSet;
use super::netlink::contents::ObservedLink;
use super::netlink::events::{ChangeSignal, WatchedLinks};
use super::nic_record::{Record, RecordCache, RecordError};
use super::observe::{self, NodeContents};
use super::op::KernelOp;
use super::ovs_state::OvsState;
use super::port::{Kernel, Outcome};
use super::settling::Settling;
use super::step::Step;
use super::tcp::{self, TcpCounts};
use super::{apply, file_limit, foreign, host_nics, lanes, nftables, nic, ovs_ports, teardown};
use crate::memo::Memo;
use crate::ovs::{OvsClient, OvsError};
use crate::runtime::Runtime;
use crate::types::{IfName, MacAddr};

/// The kernel of this node.
#[derive(Debug)]
pub struct NetlinkKernel {
    namespaces: Namespaces,
    ovs: OvsClient,
    /// Addresses that the node must reach over the host's routes.
    api_servers: BTreeSet<IpAddr>,
    settling: std::sync::Mutex<Settling>,
    changes: ChangeSignal,
    watched: Arc<RwLock<WatchedLinks>>,
    /// When namespaces were last read for their age, and the first of those whose turn is next.
    turn: std::sync::Mutex<(Option<Instant>, usize)>,
    /// When settings are polled next.
    next_poll: std::sync::Mutex<Instant>,
    record: std::sync::Mutex<RecordCache>,
    has_source_filters: tokio::sync::OnceCell<bool>,
    last: std::sync::Mutex<Memo<Observation, Arc<KernelState>>>,
    /// The namespaces in which neighbor entries are kept.
    keeping_neighbors: tokio::sync::Mutex<BTreeSet<Netns>>,
}

/// What the state is derived from.
#[derive(Debug, PartialEq, Eq)]
struct Observation {
    contents: NodeContents,
    ovs: OvsState,
    nics: BTreeSet<IfName>,
    record: Arc<Record>,
}

/// Namespaces read at the same time.
const READERS: usize = 16;
/// Namespaces of IP-VRFs that are read for their age alone in one observation: there may be hundreds, and each takes up to
/// a millisecond.
const AGED: usize = 8;
/// The interval of such observations.
const NEXT_AGED: Duration = Duration::from_secs(20);

/// The kernel reports no change of these settings, and drift is repaired within a second. inotify reports most of them.
const SETTINGS_POLL: Duration = Duration::from_millis(750);

impl NetlinkKernel {
    /// Opens the router namespace of `runtime`, which must exist, sets its `lo` up, and makes the existing namespaces of
    /// IP-VRFs visible to zebra. `host`: the namespace of the node, see [`super::netns::open_host`].
    pub async fn open(runtime: Runtime, host: File) -> Result<Self, KernelError> {
        file_limit::raise();
        let changes = ChangeSignal::default();
        let watched = Arc::new(RwLock::new(WatchedLinks::default()));
        let signal = changes.clone();
        let ovs = OvsClient::start(runtime.ovs_socket().to_owned(), ovs_ports::relevant, move || signal.signal());
        let namespaces = Namespaces::open(runtime, host, watched.clone(), changes.clone()).await?;
        let (turn, record, last) =
            (std::sync::Mutex::default(), std::sync::Mutex::default(), std::sync::Mutex::default());
        let has_source_filters = tokio::sync::OnceCell::new();
        let next_poll = std::sync::Mutex::new(Instant::now() + SETTINGS_POLL);
        let (api_servers, settling) = (BTreeSet::new(), std::sync::Mutex::default());
        let keeping_neighbors = tokio::sync::Mutex::default();
        Ok(Self {
            namespaces,
            ovs,
            api_servers,
            settling,
            changes,
            watched,
            turn,
            next_poll,
            record,
            has_source_filters,
            last,
            keeping_neighbors,
        })
    }

    /// Observes which NICs the host needs to reach these addresses.
    #[must_use]
    pub fn observing_routes_to(mut self, api_servers: BTreeSet<IpAddr>) -> Self {
        self.api_servers = api_servers;
        self
    }

    /// Deletes the links of the router, for its removal from this node while FRR does not run: those of one namespace together, where
    /// no link of others has their link group. The others remain for [`Kernel::apply_all`].
    pub async fn delete_router_links(&self) {
        teardown::delete_together([&self.namespaces.host, &self.namespaces.router]).await;
    }

    /// Returns every moved NIC to the host, for the removal of the router from this node. Goes on after an error.
    pub async fn return_all_nics(&self) -> Vec<KernelError> {
        nic::return_all(&self.namespaces).await
    }

    /// Moves the links of others out of the router namespace, which is to be removed.
    ///
    /// # Errors
    /// Where one cannot be moved: the namespace must not be removed.
    pub async fn move_out_foreign_links(&self) -> Result<(), OpError> {
        foreign::move_out(&self.namespaces.router, &self.namespaces.host).await
    }

    /// Why what the router has in Open vSwitch is not known, where the socket of Open vSwitch exists.
    pub async fn unknown_ovs(&self) -> Option<OvsError> {
        let has_none = matches!(self.namespaces.runtime.ovs_socket().try_exists(), Ok(false));
        if has_none { None } else { self.ovs.database().await.err() }
    }

    async fn record(&self) -> Result<Arc<Record>, KernelError> {
        match self.read_record() {
            Err(error) if error.is_broken() => {
                let last = self.record.lock().unwrap_or_else(PoisonError::into_inner).last();
                let recovered = nic::recover_record(&self.namespaces, last.map(Arc::unwrap_or_clone)).await;
                recovered.map_err(|source| KernelError::NewRecord(Box::new(source)))?;
                Ok(self.read_record()?)
            }
            record => Ok(record?),
        }
    }

    fn read_record(&self) -> Result<Arc<Record>, RecordError> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).read(&self.namespaces.runtime.nics())
    }

    /// Whether namespaces may have nftables tables of ours.
    fn may_have_tables(&self) -> bool {
        self.namespaces.runtime.port_tables().exists()
    }

    /// The contents of all namespaces: there may be hundreds, and seldom more than a few of them changed.
    async fn contents(&self) -> Result<NodeContents, KernelError> {
        let tables = self.may_have_tables();
        let vrfs = self.namespaces.vrfs().await?;
        let (count, first) = (vrfs.len(), self.next_turn());
        let turn = |index| first.is_some_and(|first| has_turn(index, count, first));
        let vrfs = vrfs.into_iter().enumerate().map(|(index, vrf)| (vrf, turn(index)));
        let always = [&self.namespaces.host, &self.namespaces.router].map(|namespace| (namespace.clone(), true));
        let (mut contents, mut stale) = (NodeContents::new(), Vec::new());
        for (namespace, turn) in always.into_iter().chain(vrfs) {
            match namespace.known(turn) {
                Some(known) => drop(contents.insert(namespace.netns().clone(), known)),
                None => stale.push((namespace, turn)),
            }
        }
        let read = |(namespace, turn): (Arc<Namespace>, bool)| async move {
            let read = namespace.read(tables, turn).await?;
            namespace.rest().await;
            Ok::<_, KernelError>((namespace.netns().clone(), read))
        };
        let read: NodeContents =
            stream::iter(stale.into_iter().map(read)).buffer_unordered(READERS).try_collect().await?;
        contents.extend(read);
        Ok(contents)
    }

    /// The first namespace whose turn it is to be read for its age; `None` where others were a moment ago.
    fn next_turn(&self) -> Option<usize> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, first) = *turn;
        if last.is_some_and(|last| last.elapsed() < NEXT_AGED) {
            return None;
        }
        *turn = (Some(Instant::now()), first.wrapping_add(AGED));
        Some(first)
    }

    /// Sets which links of the host are watched.
    fn watch_links(&self, contents: &NodeContents, nics: &BTreeSet<IfName>, record: &Record) {
        let names: BTreeSet<String> = nics.iter().chain(record.nics.keys()).map(ToString::to_string).collect();
        let is_nic = |link: &ObservedLink| names.iter().any(|name| link.has_name(name));
        let counts = |(_, link): &(&u32, &Arc<ObservedLink>)| link.owned.is_some() || is_nic(link);
        let links = contents.get(&Netns::Host).into_iter().flat_map(|host| &host.links);
        let indexes = links.filter(counts).map(|(index, _)| *index).collect();
        let bridges = contents.get(&Netns::Host).map(|host| observe::host_bridges(host)).unwrap_or_default();
        let mut watched = self.watched.write().unwrap_or_else(PoisonError::into_inner);
        (watched.names, watched.indexes, watched.bridges) = (names, indexes, bridges);
    }
}

/// Whether `index` of `count` is among the [`AGED`] from `first` on, modulo `count`.
fn has_turn(index: usize, count: usize, first: usize) -> bool {
    (index + count - first % count) % count < AGED
}

impl Kernel for NetlinkKernel {
    async fn observe_nics(&self, nics: &BTreeSet<IfName>) -> Result<ObservedNics, KernelError> {
        let tables = self.may_have_tables();
        let host = self.namespaces.host.read(tables, true).await?;
        let router = self.namespaces.router.read(tables, true).await?;
        let contents = NodeContents::from([(Netns::Host, host), (Netns::Router, router)]);
        let record = self.record().await?;
        self.watch_links(&contents, nics, &record);
        let mut found = observe::observed_nics(&contents, nics, &record);
        host_nics::add_route_use(&self.namespaces.host, &mut found, &self.api_servers).await?;
        let settled =
            self.settling.lock().unwrap_or_else(PoisonError::into_inner).mark(nics, &mut found, Instant::now());
        if let Some(settled) = settled {
            let changes = self.changes.clone();
            tokio::spawn(async move {
                tokio::time::sleep(settled).await;
                changes.signal();
            });
        }
        Ok(found)
    }

    async fn host_networks(&self) -> Result<BTreeSet<HostNetwork>, KernelError> {
        let host = self.namespaces.host.read(self.may_have_tables(), true).await?;
        Ok(observe::host_networks(&host))
    }

    async fn observe(&self, nics: &BTreeSet<IfName>) -> Result<Arc<KernelState>, KernelError> {
        let (record, nics) = (self.record().await?, nics.clone());
        // What cannot be read there is no reason not to reconcile the rest.
        let ovs = self.ovs.database().await.map(|database| ovs_ports::state(&database)).unwrap_or_default();
        let observation = Observation { contents: self.contents().await?, ovs, nics, record };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let state = last.get_or_compute(observation, |Observation { contents, ovs, nics, record }| {
            self.watch_links(contents, nics, record);
            Arc::new(KernelState { ovs: ovs.clone(), ..observe::state(contents, nics, record) })
        });
        Ok(Arc::clone(state))
    }

    async fn apply(&self, op: &KernelOp) -> Result<(), KernelError> {
        let failed = |source: OpError| KernelError::Op { op: Box::new(op.clone()), source };
        let done = apply::apply(&self.namespaces, &self.ovs, op).await.map_err(failed);
        self.namespaces.mark_stale(op).await;
        done
    }

    async fn apply_all(&self, steps: &[Step]) -> Vec<Outcome> {
        let outcomes = lanes::apply_all(self, steps).await;
        self.namespaces.rest().await;
        outcomes
    }

    async fn tcp_counts(&self, namespaces: &BTreeSet<Netns>) -> Result<BTreeMap<Netns, TcpCounts>, KernelError> {
        let (mut found, mut files) = (Vec::new(), Vec::new());
        for netns in namespaces {
            // Others were removed since the caller saw them.
            if let Ok(namespace) = self.namespaces.get(netns).await {
                found.push(netns.clone());
                files.push(namespace.file());
            }
        }
        let failed = |source| KernelError::Read { what: "TCP counters", netns: Netns::Router, source };
        let counts = tcp::read(&files).map_err(|error| failed(error.into()))?;
        Ok(found.into_iter().zip(counts).collect())
    }

    async fn fdb(&self, device: &LinkKey) -> Result<BTreeSet<MacAddr>, KernelError> {
        let failed = |source| KernelError::Read { what: "FDB", netns: device.netns.clone(), source };
        let namespace = self.namespaces.get(&device.netns).await.map_err(failed)?;
        let macs = namespace.fdb(&device.name.to_string()).await.map_err(failed);
        namespace.rest().await;
        macs
    }

    async fn keep_neighbors(&self, bridges: &BTreeSet<LinkKey>) -> Result<(), KernelError> {
        let mut wanted: BTreeMap<Netns, BTreeSet<String>> = BTreeMap::new();
        for bridge in bridges {
            wanted.entry(bridge.netns.clone()).or_default().insert(bridge.name.to_string());
        }
        let mut kept = self.keeping_neighbors.lock().await;
        for netns in kept.difference(&wanted.keys().cloned().collect()) {
            wanted.entry(netns.clone()).or_default();
        }
        let mut failure = None;
        for (netns, names) in wanted {
            let kept_here = match self.namespaces.get(&netns).await {
                Ok(namespace) => {
                    let done = namespace.keep_neighbors(&names).await;
                    namespace.rest().await;
                    done
                }
                // It is gone, and so are its entries.
                Err(_) if names.is_empty() => Ok(()),
                Err(error) => Err(error),
            };
            match kept_here {
                Ok(()) if names.is_empty() => drop(kept.remove(&netns)),
                Ok(()) => drop(kept.insert(netns)),
                // The others are kept all the same.
                Err(source) => {
                    failure.get_or_insert(KernelError::Read { what: "neighbors", netns, source });
                }
            }
        }
        failure.map_or(Ok(()), Err)
    }

    async fn repeat_neighbors(&self, bridge: &LinkKey, known: &NeighborSet) -> Result<usize, KernelError> {
        let failed = |source| KernelError::Read { what: "neighbors", netns: bridge.netns.clone(), source };
        let namespace = self.namespaces.get(&bridge.netns).await.map_err(failed)?;
        let repeated = namespace.repeat_neighbors(&bridge.name.to_string(), known).await.map_err(failed);
        namespace.rest().await;
        repeated
    }

    async fn learn_again(&self, bridge: &LinkKey, macs: &BTreeSet<MacAddr>) -> Result<usize, KernelError> {
        let failed = |source| KernelError::Read { what: "FDB", netns: bridge.netns.clone(), source };
        let namespace = self.namespaces.get(&bridge.netns).await.map_err(failed)?;
        let repeated = namespace.learn_again(&bridge.name.to_string(), macs).await.map_err(failed);
        namespace.rest().await;
        repeated
    }

    async fn local_neighbors(&self, bridge: &LinkKey) -> Result<NeighborSet, KernelError> {
        let failed = |source| KernelError::Read { what: "neighbors", netns: bridge.netns.clone(), source };
        let namespace = self.namespaces.get(&bridge.netns).await.map_err(failed)?;
        let found = namespace.local_neighbors(&bridge.name.to_string()).await.map_err(failed);
        namespace.rest().await;
        found
    }

    async fn restore_neighbors(&self, bridge: &LinkKey, entries: &NeighborSet) -> Result<Option<usize>, KernelError> {
        let failed = |source| KernelError::Read { what: "neighbors", netns: bridge.netns.clone(), source };
        let namespace = self.namespaces.get(&bridge.netns).await.map_err(failed)?;
        let restored = namespace.restore_neighbors(&bridge.name.to_string(), entries).await.map_err(failed);
        namespace.rest().await;
        restored
    }

    async fn repeat_addresses(&self, known: &BTreeMap<IfName, BTreeSet<IpAddr>>) -> Result<usize, KernelError> {
        let (mut repeated, mut failure) = (0, None);
        for (nic, known) in known {
            match self.namespaces.router.repeat_addresses(nic.as_str(), known).await {
                Ok(count) => repeated += count,
                // Those of the others are reported all the same.
                Err(source) => failure = Some(KernelError::Read { what: "addresses", netns: Netns::Router, source }),
            }
        }
        failure.map_or(Ok(repeated), Err)
    }

    async fn has_source_filters(&self) -> Result<bool, KernelError> {
        let failed = |source| KernelError::Read { what: "support of nftables", netns: Netns::Router, source };
        let probe = || async { nftables::has_source_filters(&self.namespaces.router.file()).await };
        self.has_source_filters.get_or_try_init(probe).await.copied().map_err(failed)
    }

    async fn changed(&self) {
        let next_poll = || self.next_poll.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let next = tokio::time::Instant::from_std(*next_poll());
            tokio::select! {
                () = self.changes.wait() => return,
                () = tokio::time::sleep_until(next) => {
                    *next_poll() = Instant::now() + SETTINGS_POLL;
                    if self.namespaces.poll_settings(false).await {
                        return;
                    }
                }
                () = self.namespaces.setting_written() => {
                    if self.namespaces.poll_settings(true).await {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_namespaces_have_their_turn() {
        for count in [1, AGED, AGED + 1, 400] {
            let of_round = |round: usize| (0..count).filter(move |index| has_turn(*index, count, round * AGED));
            let rounds = count.div_ceil(AGED);
            let read: BTreeSet<usize> = (0..rounds).flat_map(of_round).collect();
            assert_eq!(read.len(), count);
            assert!((0..rounds).all(|round| of_round(round).count() == AGED.min(count)));
        }
    }
}
