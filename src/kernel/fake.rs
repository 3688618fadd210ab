//! A kernel in memory, for tests of everything above the port. In: ops. Out: state, or a rejection as strict as the kernel's.
//! Has no effect outside itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use tokio::sync::Notify;

use super::error::{KernelError, OpError};
use super::lanes;
use super::model::{HostNetwork, KernelState, LinkKey, Netns, NicFacts, ObservedNics};
use super::neighbors::NeighborSet;
use super::netlink::error::NetlinkError;
use super::op::KernelOp;
use super::port::{Kernel, Outcome};
use super::step::Step;
use super::tcp::TcpCounts;
use crate::types::{IfName, MacAddr};

/// A kernel in memory.
#[derive(Debug, Default)]
pub struct FakeKernel {
    inner: Mutex<Inner>,
    changes: Notify,
}

const NICS: &str = "NICs";
const LINKS: &str = "links";
const TCP: &str = "TCP counters";

#[derive(Debug, Default)]
struct Inner {
    state: KernelState,
    fdb: BTreeMap<LinkKey, BTreeSet<MacAddr>>,
    neighbors: BTreeMap<LinkKey, NeighborSet>,
    keeping: BTreeSet<LinkKey>,
    nic_addresses: BTreeMap<IfName, BTreeSet<IpAddr>>,
    repeated: Vec<IpAddr>,
    learned_again: Vec<MacAddr>,
    restored: Vec<(LinkKey, NeighborSet)>,
    nics: ObservedNics,
    host_networks: BTreeSet<HostNetwork>,
    failures: Vec<(String, Errno)>,
    unreadable: BTreeSet<&'static str>,
    applied: Vec<KernelOp>,
}

impl FakeKernel {
    /// A kernel with this state and these NICs.
    pub fn new(state: KernelState, nics: ObservedNics) -> Self {
        Self { inner: Mutex::new(Inner { state, nics, ..Inner::default() }), changes: Notify::new() }
    }

    /// Rejects every op whose text contains `text`.
    pub fn fail(&self, text: &str, errno: Errno) {
        self.inner().failures.push((text.to_owned(), errno));
    }

    /// Ends all failures.
    pub fn heal(&self) {
        let mut inner = self.inner();
        inner.failures.clear();
        inner.unreadable.clear();
    }

    /// Fails every read.
    pub fn fail_reads(&self) {
        self.inner().unreadable.extend([NICS, LINKS, TCP]);
    }

    /// Fails every read of links.
    pub fn fail_reads_of_links(&self) {
        self.inner().unreadable.insert(LINKS);
    }

    /// Adds a NIC, or changes one.
    pub fn set_nic(&self, name: IfName, facts: NicFacts) {
        self.inner().nics.insert(name, facts);
        self.changes.notify_one();
    }

    /// Removes a NIC, as if it was unplugged.
    pub fn unplug_nic(&self, name: &IfName) {
        let mut inner = self.inner();
        inner.nics.remove(name);
        inner.state.nics.remove(name);
        self.changes.notify_one();
    }

    /// Sets the FDB of a VXLAN device.
    pub fn set_fdb(&self, device: LinkKey, macs: BTreeSet<MacAddr>) {
        self.inner().fdb.insert(device, macs);
    }

    /// Sets the neighbor entries of workloads behind a bridge.
    pub fn set_neighbors(&self, bridge: LinkKey, entries: NeighborSet) {
        self.inner().neighbors.insert(bridge, entries);
    }

    /// The neighbor entries of workloads behind a bridge.
    pub fn neighbors(&self, bridge: &LinkKey) -> NeighborSet {
        self.inner().neighbors.get(bridge).cloned().unwrap_or_default()
    }

    /// Gives a NIC in the router namespace these addresses.
    pub fn set_nic_addresses(&self, nic: IfName, addresses: BTreeSet<IpAddr>) {
        self.inner().nic_addresses.insert(nic, addresses);
    }

    /// The bridges whose neighbor entries are kept.
    pub fn keeping_neighbors(&self) -> BTreeSet<LinkKey> {
        self.inner().keeping.clone()
    }

    /// The neighbor entries that were reported once more since the last call.
    pub fn take_repeated(&self) -> Vec<IpAddr> {
        std::mem::take(&mut self.inner().repeated)
    }

    /// The MAC addresses that were to be learned again since the last call.
    pub fn take_learned_again(&self) -> Vec<MacAddr> {
        std::mem::take(&mut self.inner().learned_again)
    }

    /// The neighbor entries that were restored or probed since the last call, by bridge.
    pub fn take_restored(&self) -> Vec<(LinkKey, NeighborSet)> {
        std::mem::take(&mut self.inner().restored)
    }

    /// Sets the networks of the host.
    pub fn set_host_networks(&self, networks: BTreeSet<HostNetwork>) {
        self.inner().host_networks = networks;
        self.changes.notify_one();
    }

    /// The state.
    pub fn state(&self) -> KernelState {
        self.inner().state.clone()
    }

    /// Changes the state behind the reconciler's back.
    pub fn tamper(&self, change: impl FnOnce(&mut KernelState)) {
        change(&mut self.inner().state);
        self.changes.notify_one();
    }

    /// Ops applied since the last call, in their order.
    pub fn take_applied(&self) -> Vec<KernelOp> {
        std::mem::take(&mut self.inner().applied)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn readable(&self, what: &'static str) -> Result<(), KernelError> {
        if !self.unreadable.contains(what) {
            return Ok(());
        }
        let source = NetlinkError::Rejected { errno: Errno::ENOBUFS, text: None };
        Err(KernelError::Read { what, netns: Netns::Router, source })
    }

    fn apply(&mut self, op: &KernelOp) -> Result<(), OpError> {
        let line = op.to_string();
        if let Some((_, errno)) = self.failures.iter().find(|(text, _)| line.contains(text.as_str())) {
            return Err(NetlinkError::Rejected { errno: *errno, text: None }.into());
        }
        if let KernelOp::MoveNic { nic, .. } | KernelOp::ReturnNic(nic) = op {
            let facts = self.nics.get_mut(nic).ok_or_else(|| OpError::NoNic(nic.clone()))?;
            facts.netns = if matches!(op, KernelOp::MoveNic { .. }) { Netns::Router } else { Netns::Host };
        }
        self.state
            .apply(op)
            .map_err(|error| NetlinkError::Rejected { errno: error.errno, text: Some(error.text.to_owned()) })?;
        self.applied.push(op.clone());
        Ok(())
    }
}

impl Kernel for FakeKernel {
    async fn observe_nics(&self, nics: &BTreeSet<IfName>) -> Result<ObservedNics, KernelError> {
        let inner = self.inner();
        inner.readable(NICS)?;
        let asked = inner.nics.iter().filter(|(name, _)| nics.contains(*name));
        Ok(asked.map(|(name, facts)| (name.clone(), facts.clone())).collect())
    }

    async fn host_networks(&self) -> Result<BTreeSet<HostNetwork>, KernelError> {
        let inner = self.inner();
        inner.readable(NICS)?;
        Ok(inner.host_networks.clone())
    }

    async fn apply_all(&self, steps: &[Step]) -> Vec<Outcome> {
        lanes::apply_all(self, steps).await
    }

    async fn observe(&self, nics: &BTreeSet<IfName>) -> Result<Arc<KernelState>, KernelError> {
        let inner = self.inner();
        inner.readable(LINKS)?;
        let mut state = inner.state.clone();
        for (name, facts) in inner.nics.iter().filter(|(name, _)| nics.contains(*name)) {
            state.nics.insert(name.clone(), facts.netns.clone());
        }
        Ok(Arc::new(state))
    }

    async fn tcp_counts(&self, namespaces: &BTreeSet<Netns>) -> Result<BTreeMap<Netns, TcpCounts>, KernelError> {
        self.inner().readable(TCP)?;
        Ok(namespaces.iter().map(|netns| (netns.clone(), TcpCounts::default())).collect())
    }

    async fn fdb(&self, device: &LinkKey) -> Result<BTreeSet<MacAddr>, KernelError> {
        Ok(self.inner().fdb.get(device).cloned().unwrap_or_default())
    }

    async fn keep_neighbors(&self, bridges: &BTreeSet<LinkKey>) -> Result<(), KernelError> {
        self.inner().keeping.clone_from(bridges);
        Ok(())
    }

    async fn repeat_neighbors(&self, bridge: &LinkKey, known: &NeighborSet) -> Result<usize, KernelError> {
        let mut inner = self.inner();
        let missing: Vec<_> =
            inner.neighbors.get(bridge).into_iter().flatten().filter(|entry| !known.contains(entry)).copied().collect();
        inner.repeated.extend(missing.iter().map(|(address, _)| *address));
        Ok(missing.len())
    }

    async fn learn_again(&self, _bridge: &LinkKey, macs: &BTreeSet<MacAddr>) -> Result<usize, KernelError> {
        self.inner().learned_again.extend(macs);
        Ok(macs.len())
    }

    async fn local_neighbors(&self, bridge: &LinkKey) -> Result<NeighborSet, KernelError> {
        Ok(self.neighbors(bridge))
    }

    async fn restore_neighbors(&self, bridge: &LinkKey, entries: &NeighborSet) -> Result<Option<usize>, KernelError> {
        if !self.state().links.contains_key(bridge) {
            return Ok(None);
        }
        let mut inner = self.inner();
        inner.neighbors.entry(bridge.clone()).or_default().extend(entries);
        inner.restored.push((bridge.clone(), entries.clone()));
        Ok(Some(entries.len()))
    }

    async fn repeat_addresses(&self, known: &BTreeMap<IfName, BTreeSet<IpAddr>>) -> Result<usize, KernelError> {
        let mut inner = self.inner();
        let of_nic = |(nic, known): (&IfName, &BTreeSet<IpAddr>)| -> BTreeSet<IpAddr> {
            inner.nic_addresses.get(nic).map_or_else(BTreeSet::new, |addresses| addresses - known)
        };
        let missing: Vec<IpAddr> = known.iter().flat_map(of_nic).collect();
        inner.repeated.extend(&missing);
        Ok(missing.len())
    }

    async fn has_source_filters(&self) -> Result<bool, KernelError> {
        Ok(true)
    }

    async fn changed(&self) {
        self.changes.notified().await;
    }

    async fn apply(&self, op: &KernelOp) -> Result<(), KernelError> {
        self.inner().apply(op).map_err(|source| KernelError::Op { op: Box::new(op.clone()), source })
    }
}
