use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, MutexGuard};

use super::*;

use nix::errno::Errno;
use rstest::rstest;

use crate::frr::client::fake::FakeRouting;
use crate::frr::client::fake_frr::{FakeFrr, RoutingCall};
use crate::frr::client::port::RoutingError;
use crate::frr::show::interface::Interface;
use crate::frr::show::mac::LocalNeighbors;
use crate::frr::show::vrf_binding::Unbound;
use crate::kernel::fake::FakeKernel;
use crate::kernel::model::{HostPort, HostPorts, KernelState, LinkKey, Netns};
use crate::kernel::{KernelOp, NicFacts};
use crate::kind::Spec;
use crate::names::{OwnedName, Role};
use crate::plan::last_accepted::LastAccepted;
use crate::runtime::Daemon;
use crate::scope::Scope;
use crate::snapshot::{Kind, NodeIdentity, Object, ObjectRef, Snapshot};
use crate::types::{MacAddr, Vni, VrfMode, VrfName};

/// A reconciler over both fakes.
struct ReconcilerBench {
    kernel: Arc<FakeKernel>,
    reconciler: Reconciler<Arc<FakeKernel>, FakeFrr>,
}

impl ReconcilerBench {
    fn new() -> Self {
        let nic = NicFacts::unused("toswitch".parse().unwrap(), 1500);
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
        // With a policy of its own.
        let to_host = serde_json::json!({"allowedPrefixes": [{"prefix": "10.0.0.0/8"}, {"prefix": "172.16.0.0/12"}]});
        serde_json::json!({"asn": asn, "vni": vni, "hostasn": 64515, "localcidr": {"ipv4": local}, "toHost": to_host})
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
async fn an_address_of_one_family_that_fails_does_not_take_the_other_along() {
    let mut bench = ReconcilerBench::new();
    let mut objects = Arc::unwrap_or_clone(snapshot(&BOTH));
    for object in objects.objects.values_mut() {
        if let Spec::L3VNI(spec) = &mut object.spec {
            let net = format!("2001:db8:{}::/64", spec.vni);
            Arc::make_mut(spec).localcidr.as_mut().unwrap().ipv6 = Some(net);
        }
    }
    let objects = Arc::new(objects);
    bench.kernel.fail("address add 2001:db8:100:", Errno::EACCES);
    let report = bench.reconciler.pass(&objects).await.unwrap();
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&vrf("red")]);
    let missing = |state: &KernelState| -> Vec<String> {
        crate::kernel::diff(&report.plan.kernel, state).iter().map(|step| step.op.to_string()).collect()
    };
    let expected =
        ["host: address add 2001:db8:100::2/64 dev host-100", "vrf:red: address add 2001:db8:100::1/64 dev pe-100"];
    assert_eq!(missing(&bench.kernel.state()), expected);
    bench.kernel.heal();
    // FRR has all of it already.
    let report = bench.reconciler.pass(&objects).await.unwrap();
    assert_eq!((report.failures.len(), report.kernel_ops, report.frr_lines), (0, 2, 0));
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

/// No rebuild gives a bgpd another VRF, and other VRFs would wait for it.
#[tokio::test(start_paused = true)]
async fn a_vrf_that_is_gone_in_bgpd_is_a_failure_at_once_and_no_reason_to_rebuild() {
    let mut bench = ReconcilerBench::new();
    bench.frr().unbound.insert("red".parse().unwrap(), Unbound::OtherId { bgpd: 5, zebra: 9 });
    let report = bench.pass(&BOTH).await;
    let texts: Vec<_> = report.failures[&vrf("red")].iter().map(|failure| remedy::text(failure)).collect();
    let expected = "the BGP instance of VRF red is not bound to it: bgpd has the VRF with id 5, zebra with id 9";
    assert_eq!((texts, report.failures.len()), (vec![expected.to_owned()], 1));
    assert_eq!(report.rebuilt, BTreeSet::new());
    assert!(report.duration < verify::UP_LIMIT, "{:?}", report.duration);
}

#[tokio::test(start_paused = true)]
async fn an_ip_vrf_without_an_instance_that_bgpd_lists_is_rebuilt() {
    let mut bench = ReconcilerBench::new();
    bench.frr().unbound.insert("red".parse().unwrap(), Unbound::NoInstance);
    let report = bench.pass(&BOTH).await;
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&vrf("red")]);
    assert_eq!(report.rebuilt.iter().map(VrfName::as_str).collect::<Vec<_>>(), ["red"]);
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
    assert!(zebra.contains("ip nht resolve-via-default") && zebra.contains("ipv6 nht resolve-via-default"), "{zebra}");
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
    let of = |lists: &str| policies.iter().filter(|line| line.contains(&format!("ip prefix-list {lists}"))).count();
    // Of the underlay: its host, its subnet together with red's, and the removal of red's.
    assert_eq!((policies.len(), of("pe-vrf-blue"), of("pe-underlay")), (5, 2, 3), "{policies:?}");

    bench.kernel.heal();
    assert!(bench.pass(&BOTH).await.failures.is_empty());
    assert!(!bench.frr().sent.iter().any(|(_, line)| policies.contains(line)), "{:?}", bench.frr().sent);

    let three = [BOTH[0], BOTH[1], ("green", 300, 12)];
    bench.pass(&BOTH).await;
    bench.frr().sent.clear();
    let report = bench.pass(&three).await;
    let sent: Vec<String> = bench.frr().sent.drain(..).map(|(_, line)| line).collect();
    let lists = |name: &str| sent.iter().filter(|line| line.starts_with(&format!("ip prefix-list {name}"))).count();
    assert_eq!((lists("pe-vrf-green"), lists("pe-vrf"), lists("pe-underlay")), (2, 2, 2), "{sent:?}");
    assert_eq!(report.frr_lines, sent.len());
}

fn texts(report: &Report) -> BTreeMap<String, Vec<String>> {
    let text = |failures: &Vec<execute::Failure>| failures.iter().map(ToString::to_string).collect();
    report.failures.iter().map(|(scope, failures)| (scope.to_string(), text(failures))).collect()
}

/// A snapshot whose red has a static route, so that it has a part in staticd.
fn with_static_route() -> Arc<Snapshot> {
    let mut all = Arc::unwrap_or_clone(snapshot(&BOTH));
    let red = serde_json::json!({
        "asn": 64514, "vni": 100, "hostasn": 64515, "localcidr": {"ipv4": "192.169.10.0/24"},
        "hostSession": {"multihop": {"ttl": 4}, "sourceAddress": {"ipv4": "10.9.0.0/24"}}
    });
    let red = Object::new(Spec::from_json(Kind::L3VNI, red).unwrap());
    all.objects.insert(ObjectRef::new(Kind::L3VNI, "default", "red"), red);
    Arc::new(all)
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_answer_stops_only_what_is_configured_in_it() {
    let mut bench = ReconcilerBench::new();
    bench.frr().silent.insert(Daemon::Staticd);
    let report = bench.reconciler.pass(&with_static_route()).await.unwrap();
    assert_eq!(texts(&report), BTreeMap::from([("vrf red".into(), vec!["staticd does not answer".into()])]));
    let config = bench.frr().config().config.to_string();
    assert!(config.contains("vni 100") && config.contains("router bgp 64514 vrf blue"), "{config}");
    assert!(!config.contains("ip route"), "{config}");
    let live = bench.reconciler.live().await.unwrap();
    assert_eq!((live.silent, live.vnis.len()), ([Daemon::Staticd].into(), 2));

    bench.frr().silent.clear();
    let report = bench.reconciler.pass(&with_static_route()).await.unwrap();
    assert_eq!((texts(&report), report.kernel_ops), (BTreeMap::new(), 0));
    assert!(bench.frr().config().config.to_string().contains("ip route"));
    assert!(bench.reconciler.live().await.unwrap().silent.is_empty());
}

#[tokio::test(start_paused = true)]
async fn without_bgpd_the_kernel_is_repaired_and_no_ip_vrf_is_built_or_torn_down() {
    let (red, both) = ([BOTH[0]], BOTH);
    let mut bench = ReconcilerBench::new();
    bench.pass(&red).await;
    let before = bench.kernel.state();
    bench.kernel.tamper(|state| state.loopback.clear());
    bench.frr().silent.insert(Daemon::Bgpd);
    let report = bench.pass(&both).await;
    let silent = || vec!["bgpd does not answer".to_owned()];
    let all = ["underlay", "vrf blue", "vrf red"].map(|scope| (scope.to_owned(), silent()));
    assert_eq!(texts(&report), BTreeMap::from(all));
    assert_eq!(bench.kernel.state(), before, "repaired, and nothing else");
    bench.pass(&[]).await;
    assert_eq!(bench.kernel.state(), before, "not torn down either");
    let live = bench.reconciler.live().await.unwrap();
    assert_eq!((live.silent, live.sessions.len()), ([Daemon::Bgpd].into(), 0));

    bench.frr().silent.clear();
    bench.frr().restart(Daemon::Bgpd);
    assert!(bench.pass(&both).await.failures.is_empty());
    assert!(bench.frr().config().config.to_string().contains("router bgp 64514 vrf blue"));
}

#[tokio::test(start_paused = true)]
async fn without_zebra_a_pass_does_not_start() {
    let mut bench = ReconcilerBench::new();
    bench.frr().silent.insert(Daemon::Zebra);
    let error = bench.reconciler.pass(&snapshot(&BOTH)).await.unwrap_err();
    assert!(matches!(error, PassError::Routing(RoutingError::Vty { daemon: Daemon::Zebra, .. })), "{error:?}");
}

/// The pass that waits for L3VNIs would wait in vain, and then rebuild all of them.
#[tokio::test(start_paused = true)]
async fn a_bgpd_that_restarts_while_a_pass_waits_is_configured_by_that_pass() {
    for restarts in [1, 2] {
        let mut bench = ReconcilerBench::new();
        bench.frr().missing_vnis = [100, 200].map(|vni| (vni.try_into().unwrap(), 50)).into();
        let (frr, reads) = (bench.reconciler.routing.clone(), AtomicUsize::new(0));
        bench.reconciler.routing = frr.clone().on_call(move |call| {
            if *call == RoutingCall::Vnis && reads.fetch_add(1, Ordering::Relaxed) == 10 * restarts {
                frr.routing().restart(Daemon::Bgpd);
            }
        });
        let report = bench.pass(&BOTH).await;
        assert_eq!((texts(&report), report.rebuilt), (BTreeMap::new(), BTreeSet::new()));
        assert!(report.duration < verify::UP_LIMIT, "{:?}", report.duration);
        assert!(bench.frr().config().config.to_string().contains("router bgp 64514 vrf red"));
        assert_eq!(bench.pass(&BOTH).await.frr_lines, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_l3vni_that_goes_down_later_is_rebuilt_by_a_pass_that_has_nothing_else_to_do() {
    let mut bench = ReconcilerBench::new();
    bench.pass(&BOTH).await;
    assert_eq!(bench.pass(&BOTH).await.kernel_ops, 0);
    bench.frr().missing_vnis.insert(100.try_into().unwrap(), 3);
    bench.reconciler.live().await.unwrap();
    let due = bench.reconciler.next_rebuild().unwrap();
    assert!(bench.pass(&BOTH).await.rebuilt.is_empty(), "not yet");
    tokio::time::sleep_until(due).await;
    let report = bench.pass(&BOTH).await;
    assert_eq!(report.rebuilt.iter().map(VrfName::as_str).collect::<Vec<_>>(), ["red"]);
    assert_eq!((texts(&report), report.kernel_ops > 0), (BTreeMap::new(), true));
    bench.reconciler.live().await.unwrap();
    assert_eq!(bench.reconciler.next_rebuild(), None);
    assert_eq!(bench.pass(&BOTH).await.kernel_ops, 0);
}

#[tokio::test(start_paused = true)]
async fn an_l3vni_that_came_up_by_itself_is_not_rebuilt() {
    let mut bench = ReconcilerBench::new();
    bench.pass(&BOTH).await;
    bench.frr().missing_vnis.insert(100.try_into().unwrap(), 1);
    bench.reconciler.live().await.unwrap();
    tokio::time::sleep_until(bench.reconciler.next_rebuild().unwrap()).await;
    let report = bench.pass(&BOTH).await;
    assert_eq!((report.kernel_ops, report.rebuilt), (0, BTreeSet::new()));
}

#[tokio::test(start_paused = true)]
async fn an_l3vni_that_stays_down_is_a_failure_of_every_pass() {
    let mut bench = ReconcilerBench::new();
    bench.frr().missing_vnis.insert(100.try_into().unwrap(), usize::MAX);
    for _ in 0..3 {
        let report = bench.pass(&BOTH).await;
        let wanted = vec!["FRR did not bring the L3VNI of VRF red up".to_owned()];
        assert_eq!(texts(&report), BTreeMap::from([("vrf red".to_owned(), wanted)]));
        bench.reconciler.live().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn an_ip_vrf_whose_fdb_was_flushed_is_rebuilt() {
    let mut bench = ReconcilerBench::new();
    bench.pass(&BOTH).await;
    let (vni, macs) = (Vni::try_from(100).unwrap(), BTreeSet::from([MacAddr([2, 0, 0, 0, 0, 9])]));
    let is_vxlan = |key: &&LinkKey| key.to_string() == "vrf:red/vni100";
    let device = bench.kernel.state().links.keys().find(is_vxlan).unwrap().clone();
    bench.frr().router_macs.insert(vni, macs.clone());
    bench.kernel.set_fdb(device.clone(), macs.clone());
    bench.reconciler.live().await.unwrap();
    assert_eq!(bench.reconciler.next_rebuild(), None);
    bench.kernel.set_fdb(device.clone(), BTreeSet::new());
    bench.reconciler.live().await.unwrap();
    tokio::time::sleep_until(bench.reconciler.next_rebuild().unwrap()).await;
    let report = bench.pass(&BOTH).await;
    assert_eq!(report.rebuilt.iter().map(VrfName::as_str).collect::<Vec<_>>(), ["red"]);
    bench.kernel.set_fdb(device, macs);
    bench.reconciler.live().await.unwrap();
    assert_eq!(bench.reconciler.next_rebuild(), None);
}

/// Red with the segment 110 in it, and what else its spec has.
fn with_segment(more: &serde_json::Value) -> Arc<Snapshot> {
    let mut snapshot = Arc::unwrap_or_clone(snapshot(&BOTH));
    let mut spec = serde_json::json!({
        "vni": 110,
        "routingDomain": {"type": "L3VNI", "l3vni": {"name": "red"}},
        "gatewayIPs": ["10.110.0.1/24"],
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let object = Object::new(Spec::from_json(Kind::L2VNI, spec).unwrap());
    snapshot.objects.insert(ObjectRef::new(Kind::L2VNI, "default", "layer2"), object);
    Arc::new(snapshot)
}

fn segment() -> Scope {
    Scope::Segment(Vni::try_from(110).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_segment_is_in_service_or_its_object_fails() {
    let mut bench = ReconcilerBench::new();
    let snapshot = with_segment(&serde_json::json!({}));
    bench.frr().missing_vnis.insert(Vni::try_from(110).unwrap(), usize::MAX);
    let report = bench.reconciler.pass(&snapshot).await.unwrap();
    let texts: Vec<_> =
        report.failures.iter().map(|(scope, failures)| (scope.clone(), remedy::text(&failures[0]))).collect();
    assert_eq!(texts, [(segment(), "VNI 110: zebra does not list the L2VNI".to_owned())]);
    assert!(report.rebuilt.is_empty(), "red is left alone: {:?}", report.rebuilt);
    bench.frr().missing_vnis.clear();
    let again = bench.reconciler.pass(&snapshot).await.unwrap();
    assert_eq!((again.kernel_ops, again.frr_lines, again.failures.len()), (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_fails_takes_nothing_along() {
    let mut bench = ReconcilerBench::new();
    bench.kernel.fail("link add br-pe-110", Errno::EEXIST);
    let snapshot = with_segment(&serde_json::json!({}));
    let report = bench.reconciler.pass(&snapshot).await.unwrap();
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&segment()]);
    let state = bench.kernel.state();
    assert!(state.links.values().filter(|link| !link.segment).all(|link| link.up), "red and blue are in place");
    bench.kernel.heal();
    assert!(bench.reconciler.pass(&snapshot).await.unwrap().failures.is_empty());
    // The other way round: without its IP-VRF there is no segment.
    let mut bench = ReconcilerBench::new();
    bench.kernel.fail("netns add red", Errno::EPERM);
    let report = bench.reconciler.pass(&snapshot).await.unwrap();
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&vrf("red"), &segment()]);
    assert!(!bench.kernel.state().links.values().any(|link| link.segment));
}

#[tokio::test(start_paused = true)]
async fn a_bridge_of_the_host_that_is_missing_costs_its_port_alone() {
    let bridge = serde_json::json!({"lifecycle": "External", "name": "pods"});
    let snapshot = with_segment(&serde_json::json!({"hostMaster": {"type": "LinuxBridge", "linuxBridge": bridge}}));
    let mut bench = ReconcilerBench::new();
    bench.kernel.fail("host-110 master pods", Errno::ENODEV);
    let report = bench.reconciler.pass(&snapshot).await.unwrap();
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&segment()]);
    let state = bench.kernel.state();
    let links: Vec<_> = state.links.values().filter(|link| link.segment).collect();
    assert!(links.len() == 4 && links.iter().all(|link| link.up), "{links:?}");
    bench.kernel.heal();
    let again = bench.reconciler.pass(&snapshot).await.unwrap();
    assert_eq!((again.kernel_ops, again.failures.len()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_kernel_keeps_the_neighbors_of_segments_and_zebra_has_them_all() {
    let mut bench = ReconcilerBench::new();
    let plain = snapshot(&BOTH);
    let with_segment = with_segment(
        &serde_json::json!({"hostMaster": {"type": "LinuxBridge", "linuxBridge": {"lifecycle": "Managed"}}}),
    );
    bench.reconciler.pass(&with_segment).await.unwrap();
    let keeping = bench.kernel.keeping_neighbors();
    assert_eq!(keeping.iter().map(ToString::to_string).collect::<Vec<_>>(), ["vrf:red/br-pe-110"]);
    let (address, mac) = ("10.110.0.11".parse().unwrap(), MacAddr([10, 88, 0, 0, 0, 17]));
    bench.kernel.set_neighbors(keeping.first().unwrap().clone(), [(address, mac)].into());
    bench.reconciler.pass(&with_segment).await.unwrap();
    assert_eq!(bench.kernel.take_repeated(), [address], "zebra does not have it");
    let mut of_zebra = LocalNeighbors { all: [(address, mac)].into(), unlearned: [mac].into() };
    bench.frr().neighbors.insert(Vni::try_from(110).unwrap(), of_zebra.clone());
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    bench.reconciler.pass(&with_segment).await.unwrap();
    assert_eq!(bench.kernel.take_repeated(), [] as [std::net::IpAddr; 0]);
    assert_eq!(bench.kernel.take_learned_again(), [mac], "zebra has ignored what the bridge has learned");
    of_zebra.unlearned.clear();
    bench.frr().neighbors.insert(Vni::try_from(110).unwrap(), of_zebra);
    tokio::time::advance(std::time::Duration::from_secs(10)).await;
    bench.reconciler.pass(&with_segment).await.unwrap();
    assert_eq!((bench.kernel.take_repeated(), bench.kernel.take_learned_again()), (vec![], vec![]));
    bench.reconciler.pass(&plain).await.unwrap();
    assert_eq!(bench.kernel.keeping_neighbors(), BTreeSet::new());
}

#[tokio::test(start_paused = true)]
async fn addresses_of_nics_that_zebra_lacks_are_reported_a_few_times() {
    let mut bench = ReconcilerBench::new();
    let plan = bench.reconciler.pass(&snapshot(&BOTH)).await.unwrap().plan;
    let address: std::net::IpAddr = "192.168.11.3".parse().unwrap();
    bench.kernel.set_nic_addresses("toswitch".parse().unwrap(), [address].into());
    let zebra = |has_carrier, addresses: &[&str]| {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let nic = Interface { is_admin_up: true, has_carrier, addresses, ..Interface::default() };
        BTreeMap::from([("toswitch".to_owned(), nic)])
    };
    for _ in 0..10 {
        bench.reconciler.repeat_addresses(&plan, &zebra(true, &[])).await;
    }
    assert_eq!(bench.kernel.take_repeated(), [address; 5]);
    for nics in [zebra(true, &["192.168.11.3/24"]), zebra(false, &[]), BTreeMap::new()] {
        bench.reconciler.repeat_addresses(&plan, &nics).await;
    }
    assert_eq!(bench.kernel.take_repeated(), [] as [std::net::IpAddr; 0]);
    bench.reconciler.repeat_addresses(&plan, &zebra(true, &["192.0.2.9/24"])).await;
    assert_eq!(bench.kernel.take_repeated(), [address], "zebra has changed");
}

#[tokio::test(start_paused = true)]
async fn a_silent_workload_is_known_on_the_bridge_that_replaces_its_own() {
    let mut bench = ReconcilerBench::new();
    let managed = serde_json::json!({"type": "LinuxBridge", "linuxBridge": {"lifecycle": "Managed"}});
    let within = |l3vni: &str| {
        let domain = serde_json::json!({"type": "L3VNI", "l3vni": {"name": l3vni}});
        with_segment(&serde_json::json!({"hostMaster": managed, "routingDomain": domain}))
    };
    bench.reconciler.pass(&within("red")).await.unwrap();
    let entries = BTreeSet::from([("10.110.0.11".parse().unwrap(), MacAddr([10, 88, 0, 0, 0, 17]))]);
    bench
        .frr()
        .neighbors
        .insert(Vni::try_from(110).unwrap(), LocalNeighbors { all: entries.clone(), ..LocalNeighbors::default() });
    let bridge = |bench: &ReconcilerBench| bench.kernel.keeping_neighbors().pop_first().unwrap();
    // zebra, which was restarted, does not have all that the kernel has.
    let bridge_in_red = bridge(&bench);
    let of_kernel = ("10.110.0.12".parse().unwrap(), MacAddr([10, 88, 0, 0, 0, 18]));
    bench.kernel.set_neighbors(bridge_in_red.clone(), [of_kernel].into());
    let entries: BTreeSet<_> = entries.into_iter().chain([of_kernel]).collect();
    // The links of the new one cannot be created at first.
    bench.kernel.fail("link add br-pe-110", Errno::EPERM);
    bench.reconciler.pass(&within("blue")).await.unwrap();
    assert_eq!(bench.kernel.neighbors(&bridge(&bench)), BTreeSet::new());
    bench.kernel.heal();
    bench.reconciler.pass(&within("blue")).await.unwrap();
    assert_eq!(bridge(&bench).to_string(), "vrf:blue/br-pe-110");
    assert_eq!(bench.kernel.neighbors(&bridge(&bench)), entries);
    // One that was removed has the same Pods when it comes back, and later it may have others.
    for (away, expected) in [(59, &entries), (61, &BTreeSet::new())] {
        bench.reconciler.pass(&snapshot(&BOTH)).await.unwrap();
        bench.kernel.set_neighbors(bridge_in_red.clone(), BTreeSet::new());
        tokio::time::advance(std::time::Duration::from_secs(away)).await;
        bench.reconciler.pass(&within("red")).await.unwrap();
        assert_eq!(bridge(&bench).to_string(), "vrf:red/br-pe-110");
        assert_eq!(bench.kernel.neighbors(&bridge(&bench)), *expected, "{away} s");
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_gateway_has_neighbors_that_are_kept() {
    let mut bench = ReconcilerBench::new();
    bench.reconciler.pass(&with_segment(&serde_json::json!({"gatewayIPs": []}))).await.unwrap();
    assert!(bench.kernel.state().links.values().any(|link| link.segment));
    assert_eq!(bench.kernel.keeping_neighbors(), BTreeSet::new());
}

#[rstest]
#[case(VrfMode::Netns, "vrf:red: sysctl net.ipv4.conf.all")]
#[case(VrfMode::Vrf, "link add red")]
#[tokio::test(start_paused = true)]
async fn a_segment_is_not_built_in_an_ip_vrf_that_failed(#[case] mode: VrfMode, #[case] op: &str) {
    let mut bench = ReconcilerBench::new();
    bench.reconciler.mode = mode;
    bench.kernel.fail(op, Errno::EPERM);
    let snapshot = with_segment(&serde_json::json!({}));
    let report = bench.reconciler.pass(&snapshot).await.unwrap();
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&vrf("red"), &segment()]);
    assert!(!bench.kernel.state().links.values().any(|link| link.segment));
    bench.kernel.heal();
    assert!(bench.reconciler.pass(&snapshot).await.unwrap().failures.is_empty());
    assert_eq!(bench.kernel.state().links.values().filter(|link| link.segment).count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_segment_that_cannot_be_read_fails_and_is_no_restart() {
    let mut bench = ReconcilerBench::new();
    bench.pass(&BOTH).await;
    let frr = bench.reconciler.routing.clone();
    // Without gateways it has no line in FRR.
    bench.reconciler.routing = frr.clone().on_call(move |call| {
        if *call == RoutingCall::Vnis {
            frr.routing().silent.insert(Daemon::Bgpd);
        }
    });
    let report = bench.reconciler.pass(&with_segment(&serde_json::json!({"gatewayIPs": []}))).await.unwrap();
    assert_eq!(report.failures.keys().collect::<Vec<_>>(), [&segment()]);
    assert!(matches!(*report.failures[&segment()], [execute::Failure::Routing(_)]), "{:?}", report.failures);
}

#[tokio::test(start_paused = true)]
async fn a_zebra_that_does_not_list_neighbors_is_waited_for_once_in_a_pass() {
    let mut bench = ReconcilerBench::new();
    let mut snapshot = Arc::unwrap_or_clone(with_segment(&serde_json::json!({})));
    let more = with_segment(&serde_json::json!({"vni": 120, "gatewayIPs": ["10.120.0.1/24"]}));
    let object = more.objects[&ObjectRef::new(Kind::L2VNI, "default", "layer2")].clone();
    snapshot.objects.insert(ObjectRef::new(Kind::L2VNI, "default", "other"), object);
    let (frr, queries) = (bench.reconciler.routing.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&queries);
    bench.reconciler.routing = frr.clone().on_call(move |call| {
        if matches!(call, RoutingCall::LocalNeighbors(_)) {
            count.fetch_add(1, Ordering::Relaxed);
            frr.routing().silent.insert(Daemon::Zebra);
        }
    });
    let report = bench.reconciler.pass(&Arc::new(snapshot)).await.unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(bench.kernel.keeping_neighbors().len(), 2);
    assert_eq!(queries.load(Ordering::Relaxed), 1);
}

fn managed() -> Arc<Snapshot> {
    with_segment(&serde_json::json!({"hostMaster": {"type": "LinuxBridge", "linuxBridge": {"lifecycle": "Managed"}}}))
}

fn host_bridge() -> LinkKey {
    LinkKey { netns: Netns::Host, name: OwnedName::Vni(Role::HostBridge, Vni::try_from(110).unwrap()) }
}

/// Somebody deletes the managed bridge, with all that are ports of it.
fn delete_host_bridge(bench: &ReconcilerBench) {
    bench.kernel.tamper(|state| state.apply(&KernelOp::DeleteLink { key: host_bridge(), with: None }).unwrap());
}

fn port(index: u32) -> HostPort {
    HostPort { name: format!("veth{index}"), index }
}

fn attached(bench: &ReconcilerBench) -> Vec<KernelOp> {
    bench.kernel.take_applied().into_iter().filter(|op| matches!(op, KernelOp::AttachPorts { .. })).collect()
}

#[tokio::test(start_paused = true)]
async fn a_managed_bridge_that_somebody_deletes_gets_its_ports_back() {
    let mut bench = ReconcilerBench::new();
    bench.reconciler.pass(&managed()).await.unwrap();
    bench.kernel.tamper(|state| state.host_ports.attach(&host_bridge().name, [port(7), port(8)]));
    bench.reconciler.pass(&managed()).await.unwrap();
    // One has left it since.
    bench.kernel.tamper(|state| {
        state.host_ports = HostPorts::default();
        state.host_ports.attach(&host_bridge().name, [port(8)]);
    });
    bench.reconciler.pass(&managed()).await.unwrap();
    assert_eq!(attached(&bench), []);
    delete_host_bridge(&bench);
    bench.kernel.fail("link add br-hs-110", Errno::EPERM);
    bench.reconciler.pass(&managed()).await.unwrap();
    assert_eq!(attached(&bench), []);
    bench.kernel.heal();
    bench.reconciler.pass(&managed()).await.unwrap();
    assert_eq!(attached(&bench), [KernelOp::AttachPorts { bridge: host_bridge(), ports: [port(8)].into() }]);
    let again = bench.reconciler.pass(&managed()).await.unwrap();
    assert_eq!((again.kernel_ops, again.failures.len(), again.left_alone.kept_ports.is_empty()), (0, 0, true));
}

#[tokio::test(start_paused = true)]
async fn a_managed_bridge_without_its_segment_is_kept_and_reported_while_it_has_ports_of_others() {
    let mut bench = ReconcilerBench::new();
    bench.reconciler.pass(&managed()).await.unwrap();
    bench.kernel.tamper(|state| state.host_ports.attach(&host_bridge().name, [port(7)]));
    for _ in 0..2 {
        let kept = bench.pass(&BOTH).await.left_alone.kept_ports;
        assert_eq!(kept.iter().collect::<Vec<_>>(), [(Vni::try_from(110).unwrap(), &[port(7)].into())]);
    }
    assert_eq!(bench.pass(&BOTH).await.kernel_ops, 0);
    let segments = |bench: &ReconcilerBench| {
        let state = bench.kernel.state();
        state.links.iter().filter(|(_, link)| link.segment).map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(segments(&bench), [host_bridge()]);
    // Somebody deletes it: its ports are known no more.
    delete_host_bridge(&bench);
    assert!(bench.pass(&BOTH).await.left_alone.kept_ports.is_empty());
    bench.reconciler.pass(&managed()).await.unwrap();
    assert_eq!(attached(&bench), []);
    assert_eq!(segments(&bench).len(), 5);
}

#[tokio::test(start_paused = true)]
async fn silent_workloads_are_probed_after_somebody_deleted_a_link_of_their_segment() {
    let mut bench = ReconcilerBench::new();
    bench.reconciler.pass(&managed()).await.unwrap();
    let bridge = bench.kernel.keeping_neighbors().pop_first().unwrap();
    let entries = BTreeSet::from([("10.110.0.11".parse().unwrap(), MacAddr([10, 88, 0, 0, 0, 17]))]);
    bench.kernel.set_neighbors(bridge.clone(), entries.clone());
    bench.reconciler.pass(&managed()).await.unwrap();
    assert_eq!(bench.kernel.take_restored(), [], "nothing was repaired");
    for role in [Role::Bridge, Role::PeVeth, Role::HostVeth, Role::Vxlan] {
        let netns = if role == Role::HostVeth { Netns::Host } else { bridge.netns.clone() };
        let key = LinkKey { netns, name: OwnedName::Vni(role, Vni::try_from(110).unwrap()) };
        bench.kernel.tamper(|state| state.apply(&KernelOp::DeleteLink { key, with: None }).unwrap());
        let report = bench.reconciler.pass(&managed()).await.unwrap();
        assert!(report.failures.is_empty() && report.kernel_ops > 0, "{role:?}: {:?}", report.failures);
        let restored = bench.kernel.take_restored();
        assert_eq!(restored, [(bridge.clone(), entries.clone())], "{role:?}");
    }
    bench.kernel.tamper(|state| state.links.get_mut(&bridge).unwrap().up = false);
    bench.reconciler.pass(&managed()).await.unwrap();
    assert_eq!(bench.kernel.take_restored(), [(bridge, entries)]);
}
