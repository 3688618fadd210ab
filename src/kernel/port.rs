//! The port: the kernel as the reconciler sees it. In: steps. Out: observed state, and the outcome of each step. Implemented
//! over netlink in production and in memory for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use super::error::KernelError;
use super::model::{HostNetwork, KernelState, LinkKey, Netns, ObservedNics};
use super::neighbors::NeighborSet;
use super::op::KernelOp;
use super::step::Step;
use super::tcp::TcpCounts;
use crate::types::{IfName, MacAddr};

/// The outcome of a step.
#[derive(Debug)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It failed.
    Failed(KernelError),
    /// It depends on a step that failed, and was not tried.
    Skipped,
}

impl Outcome {
    /// Whether the step is done.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// The kernel as the reconciler sees it.
pub trait Kernel: Sync {
    /// Reads what a plan needs to know about `nics`.
    fn observe_nics(&self, nics: &BTreeSet<IfName>) -> impl Future<Output = Result<ObservedNics, KernelError>> + Send;

    /// Reads the networks of the host, without those of our links.
    fn host_networks(&self) -> impl Future<Output = Result<BTreeSet<HostNetwork>, KernelError>> + Send;

    /// Reads everything of ours, and in which namespaces `nics` are; the same value again as long as nothing changed. A part
    /// that cannot be read is an error, never "nothing there".
    fn observe(&self, nics: &BTreeSet<IfName>) -> impl Future<Output = Result<Arc<KernelState>, KernelError>> + Send;

    /// Applies one op.
    fn apply(&self, op: &KernelOp) -> impl Future<Output = Result<(), KernelError>> + Send;

    /// Applies the steps of a [`super::diff()`], independent ones at the same time. After a failure the rest of its VNI, and
    /// the VNI of a failed IP-VRF, is skipped; the others go on. One outcome for each step, in their order.
    fn apply_all(&self, steps: &[Step]) -> impl Future<Output = Vec<Outcome>> + Send;

    /// Reads the TCP counters of namespaces. Those that are gone are left out.
    fn tcp_counts(
        &self,
        namespaces: &BTreeSet<Netns>,
    ) -> impl Future<Output = Result<BTreeMap<Netns, TcpCounts>, KernelError>> + Send;

    /// Reads the MAC addresses in the FDB of a VXLAN device; none where there is no such device.
    fn fdb(&self, device: &LinkKey) -> impl Future<Output = Result<BTreeSet<MacAddr>, KernelError>> + Send;

    /// Keeps the neighbor entries of workloads behind these bridges ([`super::neighbors`]), and those of no other bridge. Repeated,
    /// it changes nothing. A bridge that does not exist has none.
    fn keep_neighbors(&self, bridges: &BTreeSet<LinkKey>) -> impl Future<Output = Result<(), KernelError>> + Send;

    /// Has the kernel report those that are not `known` once more. Returns how many.
    fn repeat_neighbors(
        &self,
        bridge: &LinkKey,
        known: &NeighborSet,
    ) -> impl Future<Output = Result<usize, KernelError>> + Send;

    /// Has a bridge learn these MAC addresses of workloads of this node again, which the kernel reports. Returns how many of their
    /// neighbors it probes.
    fn learn_again(
        &self,
        bridge: &LinkKey,
        macs: &BTreeSet<MacAddr>,
    ) -> impl Future<Output = Result<usize, KernelError>> + Send;

    /// The neighbors of workloads of this node behind a bridge; none where it does not exist.
    fn local_neighbors(&self, bridge: &LinkKey) -> impl Future<Output = Result<NeighborSet, KernelError>> + Send;

    /// Has the kernel find out whether these workloads, which were behind a bridge that this one replaces, are behind it. Returns of
    /// how many it had no entry; `None` where there is no such bridge.
    fn restore_neighbors(
        &self,
        bridge: &LinkKey,
        entries: &NeighborSet,
    ) -> impl Future<Output = Result<Option<usize>, KernelError>> + Send;

    /// Has the kernel report the addresses of NICs in the router namespace once more that are not `known`. Returns how many.
    fn repeat_addresses(
        &self,
        known: &BTreeMap<IfName, BTreeSet<IpAddr>>,
    ) -> impl Future<Output = Result<usize, KernelError>> + Send;

    /// Whether the kernel can filter IPv6 sources ([`super::model::SourceFilter`]).
    fn has_source_filters(&self) -> impl Future<Output = Result<bool, KernelError>> + Send;

    /// Waits until a link or address of ours or a NIC changed since the last call, whoever changed it. Several changes are
    /// one. A reconcile pass without steps causes none.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

impl<K: Kernel + Send> Kernel for Arc<K> {
    fn observe_nics(&self, nics: &BTreeSet<IfName>) -> impl Future<Output = Result<ObservedNics, KernelError>> + Send {
        (**self).observe_nics(nics)
    }

    fn host_networks(&self) -> impl Future<Output = Result<BTreeSet<HostNetwork>, KernelError>> + Send {
        (**self).host_networks()
    }

    fn observe(&self, nics: &BTreeSet<IfName>) -> impl Future<Output = Result<Arc<KernelState>, KernelError>> + Send {
        (**self).observe(nics)
    }

    fn apply(&self, op: &KernelOp) -> impl Future<Output = Result<(), KernelError>> + Send {
        (**self).apply(op)
    }

    fn apply_all(&self, steps: &[Step]) -> impl Future<Output = Vec<Outcome>> + Send {
        (**self).apply_all(steps)
    }

    fn tcp_counts(
        &self,
        namespaces: &BTreeSet<Netns>,
    ) -> impl Future<Output = Result<BTreeMap<Netns, TcpCounts>, KernelError>> + Send {
        (**self).tcp_counts(namespaces)
    }

    fn fdb(&self, device: &LinkKey) -> impl Future<Output = Result<BTreeSet<MacAddr>, KernelError>> + Send {
        (**self).fdb(device)
    }

    fn keep_neighbors(&self, bridges: &BTreeSet<LinkKey>) -> impl Future<Output = Result<(), KernelError>> + Send {
        (**self).keep_neighbors(bridges)
    }

    fn repeat_neighbors(
        &self,
        bridge: &LinkKey,
        known: &NeighborSet,
    ) -> impl Future<Output = Result<usize, KernelError>> + Send {
        (**self).repeat_neighbors(bridge, known)
    }

    fn learn_again(
        &self,
        bridge: &LinkKey,
        macs: &BTreeSet<MacAddr>,
    ) -> impl Future<Output = Result<usize, KernelError>> + Send {
        (**self).learn_again(bridge, macs)
    }

    fn local_neighbors(&self, bridge: &LinkKey) -> impl Future<Output = Result<NeighborSet, KernelError>> + Send {
        (**self).local_neighbors(bridge)
    }

    fn restore_neighbors(
        &self,
        bridge: &LinkKey,
        entries: &NeighborSet,
    ) -> impl Future<Output = Result<Option<usize>, KernelError>> + Send {
        (**self).restore_neighbors(bridge, entries)
    }

    fn repeat_addresses(
        &self,
        known: &BTreeMap<IfName, BTreeSet<IpAddr>>,
    ) -> impl Future<Output = Result<usize, KernelError>> + Send {
        (**self).repeat_addresses(known)
    }

    fn has_source_filters(&self) -> impl Future<Output = Result<bool, KernelError>> + Send {
        (**self).has_source_filters()
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        (**self).changed()
    }
}
