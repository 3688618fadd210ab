use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard};

use super::*;

use nix::errno::Errno;

use crate::frr::client::fake::FakeRouting;
use crate::frr::client::fake_frr::FakeFrr;
use crate::kernel::fake::FakeKernel;
use crate::kernel::model::{KernelState, Netns};
use crate::kernel::{KernelOp, NicFacts};
use crate::kind::Spec;
use crate::plan::last_accepted::LastAccepted;
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::snapshot::{Kind, NodeIdentity, Object, ObjectRef, Snapshot};
use crate::types::{VrfMode, VrfName};

/// A reconciler over both fakes.
struct ReconcilerBench {
    kernel: Arc<FakeKernel>,
    reconciler: Reconciler<Arc<FakeKernel>, FakeFrr>,
}

impl ReconcilerBench {
    fn new() -> Self {
        let nic = NicFacts { mtu: 1500, netns: Netns::Host, addresses: BTreeSet::new() };
        let kernel = Arc::new(FakeKernel::new(KernelState::default(), [("toswitch".parse().unwrap(), nic)].into()));
        let frr = FakeFrr::new(FakeRouting::default(), Arc::clone(&kernel));
        let reconciler = Reconciler::new(Arc::clone(&kernel), frr, VrfMode::Netns, LastAccepted::default());
        Self { kernel, reconciler }
    }

    fn frr(&self) -> MutexGuard<'_, FakeRouting> {
        self.reconciler.routing.routing()
    }

    async fn pass(&mut self, l3vnis: &[(&str, u32, u8)]) -> Report {
        self.reconciler.pass(&snapshot(l3vnis)).await.unwrap()
    }
}

pub(super) fn snapshot(l3vnis: &[(&str, u32, u8)]) -> Arc<Snapshot> {
    snapshot_in_as(64514, l3vnis)
}

/// An Underlay in an AS, and L3VNIs in that AS: name, VNI, third byte of the subnet.
pub(super) fn snapshot_in_as(asn: u32, l3vnis: &[(&str, u32, u8)]) -> Arc<Snapshot> {
    let object = |kind, name: &str, spec| {
        (ObjectRef::new(kind, "default", name), Object::new(Spec::from_json(kind, spec).unwrap()))
    };
    let underlay = serde_json::json!({"asn": asn, "vtepcidr": "100.65.0.0/24", "nics": ["toswitch"]});
    let spec = |vni: u32, net: u8| {
        let local = format!("192.169.{net}.0/24");
        serde_json::json!({"asn": asn, "vni": vni, "hostasn": 64515, "localcidr": {"ipv4": local}})
    };
    let l3vnis = l3vnis.iter().map(|(name, vni, net)| object(Kind::L3VNI, name, spec(*vni, *net)));
    Arc::new(Snapshot {
        node: NodeIdentity { name: "n".into(), index: 0, labels: BTreeMap::new() },
        objects: l3vnis.chain([object(Kind::Underlay, "u", underlay)]).collect(),
        ..Snapshot::default()
    })
}

fn vrf(name: &str) -> Scope {
    Scope::Vrf(name.parse().unwrap())
}

const BOTH: [(&str, u32, u8); 2] = [("red", 100, 10), ("blue", 200, 11)];

#[tokio::test(start_paused = true)]
async fn the_second_pass_has_nothing_to_do() {
    let mut bench = ReconcilerBench::new();
    let first = bench.pass(&BOTH).await;
    assert!(first.failures.is_empty(), "{:?}", first.failures);
    assert!(first.kernel_ops > 0 && first.frr_lines > 0);
    let second = bench.pass(&BOTH).await;
    assert_eq!((second.kernel_ops, second.frr_lines), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn the_default_instance_is_configured_before_the_first_vxlan_device() {
    let mut bench = ReconcilerBench::new();
    bench.frr().rejects.insert("router bgp 64514".into(), "% no".into());
    let report = bench.pass(&BOTH).await;
    assert!(report.failures.contains_key(&Scope::Underlay));
    let made = bench.kernel.take_applied();
    assert!(made.iter().all(|op| !op.to_string().contains("vxlan")), "frr#22851: {made:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failure_belongs_to_its_vrf_and_heals() {
    let mut bench = ReconcilerBench::new();
    bench.kernel.fail("link add vni100", Errno::EEXIST);
    let report = bench.pass(&BOTH).await;
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&vrf("red")]);
    let state = bench.kernel.state();
    assert!(state.links.keys().any(|key| key.to_string() == "vrf:blue/vni200"));
    bench.kernel.heal();
    assert!(bench.pass(&BOTH).await.failures.is_empty());
    assert_eq!(bench.pass(&BOTH).await.kernel_ops, 0);
}

#[tokio::test(start_paused = true)]
async fn a_rejected_line_is_reported_and_stops_only_its_vrf() {
    let mut bench = ReconcilerBench::new();
    bench.frr().rejects.insert("neighbor 192.169.10.2 remote-as".into(), "% no such thing".into());
    let report = bench.pass(&BOTH).await;
    let texts: Vec<_> = report.failures[&vrf("red")].iter().map(ToString::to_string).collect();
    assert!(
        texts[0].contains("neighbor 192.169.10.2 remote-as 64515") && texts[0].contains("no such thing"),
        "{texts:?}"
    );
    assert!(!report.failures.contains_key(&vrf("blue")));
}

#[tokio::test(start_paused = true)]
async fn a_vni_that_frr_does_not_bring_up_is_rebuilt() {
    let mut bench = ReconcilerBench::new();
    bench.frr().missing_vnis.insert(100.try_into().unwrap(), 200);
    let report = bench.pass(&BOTH).await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(report.rebuilt.iter().map(VrfName::as_str).collect::<Vec<_>>(), ["red"]);
    assert_eq!(bench.pass(&BOTH).await.kernel_ops, 0);
}

#[tokio::test(start_paused = true)]
async fn a_vni_that_never_comes_up_is_a_failure_after_all_rebuilds() {
    let mut bench = ReconcilerBench::new();
    bench.frr().missing_vnis.insert(100.try_into().unwrap(), usize::MAX);
    let report = bench.pass(&BOTH).await;
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&vrf("red")]);
}

#[tokio::test(start_paused = true)]
async fn frr_that_lost_its_configuration_gets_all_of_it_again() {
    let mut bench = ReconcilerBench::new();
    let first = bench.pass(&BOTH).await;
    bench.frr().daemons.clear();
    let second = bench.pass(&BOTH).await;
    assert_eq!((second.kernel_ops, second.frr_lines), (0, first.frr_lines));
}

/// As bgpd of FRR 8, which connects to a new zebra after 10 s.
#[tokio::test(start_paused = true)]
async fn nothing_is_rebuilt_while_bgpd_reconnects_to_a_new_zebra() {
    let mut bench = ReconcilerBench::new();
    bench.pass(&BOTH).await;
    bench.frr().daemons.remove(&Daemon::Zebra);
    bench.frr().stale_vnis = [100, 200].map(|vni| (vni.try_into().unwrap(), 500)).into();
    let report = bench.pass(&BOTH).await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!((report.kernel_ops, report.rebuilt), (0, BTreeSet::new()));
    assert!(report.duration > verify::UP_LIMIT, "{:?}", report.duration);
}

#[tokio::test(start_paused = true)]
async fn drift_of_the_kernel_is_repaired() {
    let mut bench = ReconcilerBench::new();
    bench.pass(&BOTH).await;
    let before = bench.kernel.state();
    bench.kernel.tamper(|state| state.loopback.clear());
    let report = bench.pass(&BOTH).await;
    assert_eq!((report.kernel_ops, report.frr_lines), (1, 0));
    assert_eq!(bench.kernel.state(), before);
}

#[tokio::test(start_paused = true)]
async fn an_empty_snapshot_removes_everything() {
    let mut bench = ReconcilerBench::new();
    bench.pass(&BOTH).await;
    let empty = Arc::new(Snapshot { objects: BTreeMap::new(), ..Arc::unwrap_or_clone(snapshot(&[])) });
    let report = bench.reconciler.pass(&empty).await.unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let left = bench.kernel.state();
    assert!(left.links.is_empty() && left.vrf_netns.is_empty() && left.loopback.is_empty());
    let applied = bench.kernel.take_applied();
    assert!(applied.contains(&KernelOp::ReturnNic("toswitch".parse().unwrap())));
    assert!(bench.frr().config().config.scopes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_kernel_changes_nothing() {
    let mut bench = ReconcilerBench::new();
    bench.pass(&BOTH).await;
    bench.kernel.fail_reads();
    assert!(matches!(bench.reconciler.pass(&snapshot(&[])).await, Err(PassError::Kernel(_))));
}

#[tokio::test(start_paused = true)]
async fn frr_8_has_the_settings_without_which_it_loses_router_macs_and_nexthops() {
    let mut bench = ReconcilerBench::new();
    bench.pass(&BOTH).await;
    let zebra = bench.frr().daemons[&Daemon::Zebra].config().to_string();
    assert!(zebra.contains("zebra work-queue 0") && zebra.contains("zebra zapi-packets 1"), "frr#12391: {zebra}");
    assert!(zebra.contains("no zebra nexthop kernel enable"), "frr#12239: {zebra}");
}

#[tokio::test(start_paused = true)]
async fn a_new_snapshot_does_not_wait_for_frr_to_print() {
    let red = [("red", 100, 10)];
    let mut bench = ReconcilerBench::new();
    bench.pass(&red).await;
    let quiet = |report: Report| report.kernel_ops == 0 && report.frr_lines == 0;
    assert!(quiet(bench.pass(&red).await));
    bench.frr().daemons.remove(&Daemon::Zebra);
    let report = bench.pass(&BOTH).await;
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let lines = |bench: &ReconcilerBench| bench.frr().config().config.to_string();
    assert!(!lines(&bench).contains("vni 100") && lines(&bench).contains("vni 200"));
    let repaired = bench.pass(&BOTH).await;
    assert!(lines(&bench).contains("vni 100"), "the next pass sees what FRR lost: {repaired:?}");
    assert!(quiet(bench.pass(&BOTH).await));

    bench.frr().daemons.remove(&Daemon::Zebra);
    bench.reconciler.invalidate_running();
    bench.pass(&red).await;
    assert!(lines(&bench).contains("vni 100"), "the running configuration was invalidated");
}

#[tokio::test(start_paused = true)]
async fn the_policies_of_a_new_vrf_are_sent_once_and_before_the_kernel_is_read() {
    let red = [("red", 100, 10)];
    let mut bench = ReconcilerBench::new();
    bench.pass(&red).await;
    bench.pass(&red).await;
    bench.frr().sent.clear();
    bench.kernel.fail_reads_of_links();
    assert!(bench.reconciler.pass(&snapshot(&BOTH)).await.is_err());
    let policies: Vec<String> = bench.frr().sent.drain(..).map(|(_, line)| line).collect();
    assert!(
        policies.len() == 2 && policies.iter().all(|line| line.starts_with("ip prefix-list pe-vrf-blue")),
        "{policies:?}"
    );

    bench.kernel.heal();
    assert!(bench.pass(&BOTH).await.failures.is_empty());
    assert!(!bench.frr().sent.iter().any(|(_, line)| policies.contains(line)), "{:?}", bench.frr().sent);

    let three = [BOTH[0], BOTH[1], ("green", 300, 12)];
    bench.pass(&BOTH).await;
    bench.frr().sent.clear();
    let report = bench.pass(&three).await;
    let sent: Vec<String> = bench.frr().sent.drain(..).map(|(_, line)| line).collect();
    assert_eq!(sent.iter().filter(|line| line.starts_with("ip prefix-list")).count(), 2, "{sent:?}");
    assert_eq!(report.frr_lines, sent.len());
}
