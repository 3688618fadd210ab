//! Kernel state of the router. Pure: [`model`] (what is wanted and what is there), [`diff()`] to [`KernelOp`]s. Effects:
//! the port [`Kernel`] that observes and applies them, over netlink in production and in memory for tests. Only this
//! module talks netlink; it knows nothing of objects, FRR or status.

mod apply;
pub mod diff;
pub mod error;
pub mod fake;
mod live;
pub mod model;
mod mounts;
mod namespace;
mod netlink;
pub mod netns;
mod nftables;
mod nic;
mod nic_record;
mod observe;
pub mod op;
mod simulate;
pub mod step;
mod sysctl;
pub mod tcp;
pub mod vrf_device;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;

use futures::stream::{self, StreamExt};
use ipnet::IpNet;

use self::model::{KernelState, Netns};
use self::tcp::TcpCounts;
use crate::types::{IfName, Vni, VrfName};

pub use self::diff::diff;
pub use self::error::{KernelError, NetlinkError, OpError};
pub use self::live::NetlinkKernel;
pub use self::op::{KernelOp, Lane, Stage, Wave};
pub use self::step::Step;

/// What a plan needs to know of a NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicFacts {
    /// MTU in bytes.
    pub mtu: u32,
    /// Host or router.
    pub netns: Netns,
    /// Its addresses, IPv6 link-local ones too.
    pub addresses: BTreeSet<IpNet>,
}

/// What a plan needs to know of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// The NICs that were asked for; one that does not exist is absent.
    pub nics: BTreeMap<IfName, NicFacts>,
}

/// What became of an op.
#[derive(Debug)]
pub enum Outcome {
    /// It is done.
    Done,
    /// It is not, and why.
    Failed(KernelError),
    /// It stands on an op that failed, and was not tried.
    Skipped,
}

impl Outcome {
    /// Whether the op is done.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

/// The kernel as the reconciler sees it.
pub trait Kernel: Sync {
    /// Reads what a plan needs to know about `nics`.
    fn facts(&self, nics: &BTreeSet<IfName>) -> impl Future<Output = Result<NodeFacts, KernelError>> + Send;

    /// Reads everything of ours, and where `nics` are; the same value again as long as nothing changed. An unreadable part
    /// is an error, never "nothing there".
    fn observe(&self, nics: &BTreeSet<IfName>) -> impl Future<Output = Result<Arc<KernelState>, KernelError>> + Send;

    /// Does one op.
    fn apply(&self, op: &KernelOp) -> impl Future<Output = Result<(), KernelError>> + Send;

    /// Does the steps of a [`diff()`], independent ones at the same time. After a failure the rest of its VNI, and the
    /// VNI of a failed IP-VRF, is skipped; the others go on. One outcome for each step, in their order.
    fn apply_all(&self, steps: &[Step]) -> impl Future<Output = Vec<Outcome>> + Send {
        async move { Batch::new(steps).run(self).await }
    }

    /// Reads what was counted of TCP in a namespace.
    fn tcp_counts(&self, netns: &Netns) -> impl Future<Output = Result<TcpCounts, KernelError>> + Send;

    /// Waits until a link or address of ours or a NIC changed since the last call, by whomever. Many changes are one. A
    /// pass that does nothing causes none.
    fn changed(&self) -> impl Future<Output = ()> + Send;
}

impl<K: Kernel + Send> Kernel for Arc<K> {
    fn facts(&self, nics: &BTreeSet<IfName>) -> impl Future<Output = Result<NodeFacts, KernelError>> + Send {
        (**self).facts(nics)
    }

    fn observe(&self, nics: &BTreeSet<IfName>) -> impl Future<Output = Result<Arc<KernelState>, KernelError>> + Send {
        (**self).observe(nics)
    }

    fn apply(&self, op: &KernelOp) -> impl Future<Output = Result<(), KernelError>> + Send {
        (**self).apply(op)
    }

    fn tcp_counts(&self, netns: &Netns) -> impl Future<Output = Result<TcpCounts, KernelError>> + Send {
        (**self).tcp_counts(netns)
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        (**self).changed()
    }
}

/// VNIs in work at the same time. The kernel does a netlink request within the `sendto` that brings it, under the one
/// RTNL lock: more would only wait for it, on the threads of the runtime.
const LANES: usize = 4;

struct Batch<'a> {
    steps: &'a [Step],
    outcomes: Vec<Outcome>,
    failed_vnis: BTreeSet<Vni>,
    failed_vrfs: BTreeSet<VrfName>,
}

impl<'a> Batch<'a> {
    fn new(steps: &'a [Step]) -> Self {
        let outcomes = steps.iter().map(|_| Outcome::Skipped).collect();
        Self { steps, outcomes, failed_vnis: BTreeSet::new(), failed_vrfs: BTreeSet::new() }
    }

    async fn run<K: Kernel + ?Sized>(mut self, kernel: &K) -> Vec<Outcome> {
        let mut waves: BTreeMap<Wave, BTreeMap<Lane, Vec<usize>>> = BTreeMap::new();
        for (index, Step { op, .. }) in self.steps.iter().enumerate() {
            waves.entry(op.wave()).or_default().entry(op.lane()).or_default().push(index);
        }
        for lanes in waves.into_values() {
            self.run_lanes(kernel, lanes.into_values().collect()).await;
        }
        self.outcomes
    }

    async fn run_lanes<K: Kernel + ?Sized>(&mut self, kernel: &K, lanes: Vec<Vec<usize>>) {
        let this = &*self;
        let work = lanes.into_iter().map(|lane| this.run_lane(kernel, lane));
        let done: Vec<Vec<(usize, Outcome)>> = stream::iter(work).buffer_unordered(LANES).collect().await;
        for (index, outcome) in done.into_iter().flatten() {
            if !outcome.is_done() {
                self.failed_vnis.extend(self.steps[index].op.vni());
                self.failed_vrfs.extend(self.steps[index].op.vrf().cloned());
            }
            self.outcomes[index] = outcome;
        }
    }

    async fn run_lane<K: Kernel + ?Sized>(&self, kernel: &K, lane: Vec<usize>) -> Vec<(usize, Outcome)> {
        let mut outcomes = Vec::with_capacity(lane.len());
        let mut broken = false;
        for index in lane {
            let op = &self.steps[index].op;
            let stands_on_failed = op.vni().is_some_and(|vni| self.failed_vnis.contains(&vni))
                || op.vrf().is_some_and(|vrf| self.failed_vrfs.contains(vrf));
            let outcome = if broken || stands_on_failed {
                Outcome::Skipped
            } else {
                match kernel.apply(op).await {
                    Ok(()) => Outcome::Done,
                    Err(error) => Outcome::Failed(error),
                }
            };
            // What belongs to the node has nothing in common but that.
            broken |= !outcome.is_done() && !is_global(&op.lane());
            outcomes.push((index, outcome));
        }
        outcomes
    }
}

fn is_global(lane: &Lane) -> bool {
    matches!(lane, Lane::Global)
}
