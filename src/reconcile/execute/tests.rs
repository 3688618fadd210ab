use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use super::super::Reconciler;
use super::super::tests::{snapshot, snapshot_in_as};
use super::*;
use crate::frr::client::fake::FakeRouting;
use crate::frr::client::fake_frr::{FakeFrr, RoutingCall};
use crate::kernel::fake::FakeKernel;
use crate::kernel::model::{HostNetwork, KernelState, LinkKey, Netns};
use crate::kernel::neighbors::NeighborSet;
use crate::kernel::tcp::TcpCounts;
use crate::kernel::{KernelOp, NicFacts, ObservedNics, Step, lanes};
use crate::plan::last_accepted::LastAccepted;
use crate::snapshot::Snapshot;
use crate::types::{IfName, MacAddr, VrfMode};
use rstest::rstest;

/// What both fakes received, in the words of `perouter plan`.
#[derive(Debug, Clone, Default)]
struct Received(Arc<Mutex<Vec<String>>>);

impl Received {
    fn add(&self, text: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(text.lines().map(str::to_owned));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[derive(Clone)]
struct RecordingKernel {
    fake: Arc<FakeKernel>,
    received: Received,
}

impl Kernel for RecordingKernel {
    async fn observe_nics(&self, nics: &BTreeSet<IfName>) -> Result<ObservedNics, KernelError> {
        self.fake.observe_nics(nics).await
    }
    async fn local_neighbors(&self, bridge: &LinkKey) -> Result<NeighborSet, KernelError> {
        self.fake.local_neighbors(bridge).await
    }
    async fn restore_neighbors(&self, bridge: &LinkKey, entries: &NeighborSet) -> Result<Option<usize>, KernelError> {
        self.fake.restore_neighbors(bridge, entries).await
    }
    async fn repeat_addresses(&self, known: &BTreeMap<IfName, BTreeSet<IpAddr>>) -> Result<usize, KernelError> {
        self.fake.repeat_addresses(known).await
    }
    async fn has_source_filters(&self) -> Result<bool, KernelError> {
        self.fake.has_source_filters().await
    }

    async fn host_networks(&self) -> Result<BTreeSet<HostNetwork>, KernelError> {
        self.fake.host_networks().await
    }
    async fn observe(&self, nics: &BTreeSet<IfName>) -> Result<Arc<KernelState>, KernelError> {
        self.fake.observe(nics).await
    }
    async fn apply(&self, op: &KernelOp) -> Result<(), KernelError> {
        self.received.add(&format!("  {op}"));
        self.fake.apply(op).await
    }
    async fn apply_all(&self, steps: &[Step]) -> Vec<Outcome> {
        lanes::apply_all(self, steps).await
    }
    async fn tcp_counts(&self, namespaces: &BTreeSet<Netns>) -> Result<BTreeMap<Netns, TcpCounts>, KernelError> {
        self.fake.tcp_counts(namespaces).await
    }
    async fn fdb(&self, device: &LinkKey) -> Result<BTreeSet<MacAddr>, KernelError> {
        self.fake.fdb(device).await
    }
    async fn keep_neighbors(&self, bridges: &BTreeSet<LinkKey>) -> Result<(), KernelError> {
        self.fake.keep_neighbors(bridges).await
    }
    async fn repeat_neighbors(&self, bridge: &LinkKey, known: &NeighborSet) -> Result<usize, KernelError> {
        self.fake.repeat_neighbors(bridge, known).await
    }
    async fn learn_again(&self, bridge: &LinkKey, macs: &BTreeSet<MacAddr>) -> Result<usize, KernelError> {
        self.fake.learn_again(bridge, macs).await
    }
    async fn changed(&self) {
        self.fake.changed().await;
    }
}

/// A call that changes FRR or waits for it, as the step that it is for.
fn step(call: &RoutingCall) -> Option<ScheduleStep> {
    Some(match call {
        RoutingCall::Apply(batch) => ScheduleStep::Frr(batch.clone()),
        RoutingCall::ApplyConcurrently(batch) => ScheduleStep::BeginPolicies(batch.clone()),
        RoutingCall::WaitVrf(vrf, presence) => ScheduleStep::AwaitVrf { vrf: vrf.clone(), presence: *presence },
        RoutingCall::WaitLinks(vrf, links) => {
            let (scope, vrf, links) = (Scope::Vrf(vrf.clone()), vrf.clone(), links.clone());
            ScheduleStep::AwaitLinks { scope, vrf, links }
        }
        RoutingCall::WaitRouterMacs(macs) => ScheduleStep::AwaitRouterMacs(macs.clone()),
        RoutingCall::Running
        | RoutingCall::Vrfs
        | RoutingCall::Vnis
        | RoutingCall::LocalNeighbors(_)
        | RoutingCall::Sessions
        | RoutingCall::DownSessions => return None,
    })
}

/// The lines of a plan that reach kernel or FRR: the rest are titles, and orders to this program alone.
fn sent(plan: &str) -> Vec<String> {
    let ours = ["kernel", "wait for the policies", "stop here unless the default BGP instance is in place"];
    let lines = plan.lines().filter(|line| !ours.contains(line) && !line.contains(" kernel operations, "));
    lines.map(str::to_owned).collect()
}

const RED: (&str, u32, u8) = ("red", 100, 10);
const BLUE: (&str, u32, u8) = ("blue", 200, 11);

#[rstest]
#[case(VrfMode::Netns)]
#[case(VrfMode::Vrf)]
#[tokio::test(start_paused = true)]
async fn kernel_and_frr_receive_what_plan_prints_in_that_order(#[case] mode: VrfMode) {
    let passes: [(&str, Arc<Snapshot>); 8] = [
        ("first", snapshot(&[RED])),
        ("one more", snapshot(&[RED, BLUE])),
        ("an edit", snapshot(&[RED, ("blue", 200, 12)])),
        ("another name and a new one", snapshot(&[("crimson", 100, 10), ("blue", 200, 12), ("green", 300, 13)])),
        ("another VNI", snapshot(&[("crimson", 101, 10), ("blue", 200, 12), ("green", 300, 13)])),
        ("another AS", snapshot_in_as(64599, &[("crimson", 101, 10), ("blue", 200, 12)])),
        ("one less", snapshot_in_as(64599, &[("blue", 200, 12)])),
        ("nothing", Arc::new(Snapshot { objects: BTreeMap::new(), ..(*snapshot(&[])).clone() })),
    ];
    let received = Received::default();
    let nic = NicFacts::unused("toswitch".parse().unwrap(), 1500);
    let fake = Arc::new(FakeKernel::new(KernelState::default(), [("toswitch".parse().unwrap(), nic)].into()));
    let kernel = RecordingKernel { fake: Arc::clone(&fake), received: received.clone() };
    let by_frr = received.clone();
    let frr = FakeFrr::new(FakeRouting::default(), fake)
        .on_call(move |call| step(call).iter().for_each(|step| by_frr.add(&step.to_string())));
    let mut reconciler = Reconciler::new(kernel.clone(), frr, mode, LastAccepted::default());
    for (name, snapshot) in passes {
        // As `perouter plan` does beside a router that runs.
        let mut beside = Reconciler::new(kernel.clone(), reconciler.routing.clone(), mode, LastAccepted::default());
        let plan = beside.preview(&snapshot).await.unwrap().schedule.to_string();
        assert_eq!(received.take(), Vec::<String>::new(), "{name}: plan changes nothing");
        let report = reconciler.pass(&snapshot).await.unwrap();
        assert!(report.failures.is_empty(), "{name}: {:?}", report.failures);
        assert_eq!(received.take().join("\n"), sent(&plan).join("\n"), "{name}");
        assert!(plan.ends_with(&format!("{} kernel operations, {} FRR lines\n", report.kernel_ops, report.frr_lines)));
        // FRR is known to run this: the policies of new IP-VRFs are sent early in the next pass.
        assert_eq!(reconciler.pass(&snapshot).await.unwrap().kernel_ops, 0, "{name}");
        assert_eq!(received.take(), Vec::<String>::new(), "{name}: nothing left");
    }
}
