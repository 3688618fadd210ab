use super::*;

use std::sync::Mutex;

use crate::diagnose::finding::{Area, FindingKind, FindingSeverity};
use crate::frr::client::fake::FakeRouting;
use crate::frr::client::fake_frr::{FakeFrr, RoutingCall};
use crate::frr::show::vrf_binding::Unbound;
use crate::kernel::NicFacts;
use crate::kernel::fake::FakeKernel;
use crate::kernel::model::KernelState;
use crate::kind::Spec;
use crate::plan::last_accepted::LastAccepted;
use crate::runtime::Daemon;
use crate::snapshot::{Kind, NodeIdentity, Object, ObjectRef};
use crate::status::model::ObjectState;

fn snapshot() -> Snapshot {
    let object = |kind, name: &str, spec| {
        (ObjectRef::new(kind, "default", name), Object::new(Spec::from_json(kind, spec).unwrap()))
    };
    let underlay = serde_json::json!({"asn": 64514, "vtepcidr": "100.65.0.0/24", "nics": ["toswitch"]});
    let red = serde_json::json!({"asn": 64514, "vni": 100, "hostasn": 64515, "localcidr": {"ipv4": "192.169.10.0/24"}});
    Snapshot {
        node: NodeIdentity { name: "n".into(), index: 0, labels: BTreeMap::new() },
        objects: [object(Kind::Underlay, "u", underlay), object(Kind::L3VNI, "red", red)].into(),
        ..Snapshot::default()
    }
}

fn without_l3vnis() -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.objects.retain(|object, _| object.kind != Kind::L3VNI);
    snapshot
}

fn session(phase: &str) -> SessionState {
    SessionState {
        vrf: Some("red".parse().unwrap()),
        peer: "192.169.10.2".into(),
        remote_as: None,
        phase: phase.to_owned().into(),
        since: None,
        established: 1,
        messages: 0,
        prefixes: BTreeMap::new(),
    }
}

/// The name of a call that only reads.
fn query(call: &RoutingCall) -> Option<&'static str> {
    match call {
        RoutingCall::Running => Some("running"),
        RoutingCall::Vrfs => Some("vrfs"),
        RoutingCall::Vnis => Some("vnis"),
        RoutingCall::Sessions => Some("sessions"),
        RoutingCall::DownSessions => Some("down"),
        RoutingCall::LocalNeighbors(_) => Some("neighbors"),
        RoutingCall::Apply(_)
        | RoutingCall::ApplyConcurrently(_)
        | RoutingCall::WaitVrf(..)
        | RoutingCall::WaitLinks(..)
        | RoutingCall::WaitRouterMacs(_) => None,
    }
}

/// A controller that runs.
struct ControllerBench {
    kernel: Arc<FakeKernel>,
    frr: FakeFrr,
    /// How often each query was sent to FRR.
    queries: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    snapshots: watch::Sender<Snapshot>,
    statuses: watch::Receiver<Option<NodeStatus>>,
    refresh: Arc<Refresh>,
    drift: Arc<Notify>,
    checks: watch::Sender<Vec<Finding>>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl ControllerBench {
    fn start(fake: FakeRouting) -> Self {
        Self::start_after(fake, None)
    }

    /// After a controller that wrote this status last.
    fn start_after(fake: FakeRouting, last: Option<&NodeStatus>) -> Self {
        let nic = NicFacts::unused("toswitch".parse().unwrap(), 1500);
        let kernel = Arc::new(FakeKernel::new(KernelState::default(), [("toswitch".parse().unwrap(), nic)].into()));
        let queries: Arc<Mutex<BTreeMap<&'static str, usize>>> = Arc::default();
        let counts = Arc::clone(&queries);
        let frr = FakeFrr::new(fake, Arc::clone(&kernel)).on_call(move |call| {
            if let Some(query) = query(call) {
                *counts.lock().unwrap().entry(query).or_default() += 1;
            }
        });
        let reconciler = Reconciler::new(Arc::clone(&kernel), frr.clone(), VrfMode::Netns, LastAccepted::default());
        let directory = tempfile::tempdir().unwrap();
        if let Some(last) = last {
            publish::write(&directory.path().join("status.json"), last).unwrap();
        }
        let (sender, statuses) = watch::channel(None);
        let refresh = Arc::new(Refresh::default());
        let outputs = Outputs {
            status: directory.path().join("status.json"),
            accepted: directory.path().join("accepted.json"),
            graceful_restart: directory.path().join("graceful-restart"),
            mode: VrfMode::Netns,
            statuses: sender,
            metrics: Arc::default(),
            refresh: Arc::clone(&refresh),
        };
        let (snapshots, receiver) = watch::channel(snapshot());
        let stop = CancellationToken::new();
        let drift = Arc::new(Notify::new());
        let (checks, found) = watch::channel(Vec::new());
        let running =
            tokio::spawn(Controller::new(reconciler, outputs, found).run(receiver, Arc::clone(&drift), stop.clone()));
        Self { kernel, frr, queries, snapshots, statuses, refresh, drift, checks, stop, running, _directory: directory }
    }

    /// How often FRR was queried since the last call.
    fn take_queries(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut *self.queries.lock().unwrap())
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_problem_is_older_than_the_controller() {
    let bench = ControllerBench::start(FakeRouting::default());
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut status = bench.statuses.borrow().clone().unwrap();
    bench.end().await;
    assert!(!status.findings.is_empty());
    status.findings.iter_mut().for_each(|finding| finding.since = Some(7));
    let bench = ControllerBench::start_after(FakeRouting::default(), Some(&status));
    tokio::time::sleep(Duration::from_secs(10)).await;
    let findings = bench.statuses.borrow().clone().unwrap().findings;
    bench.end().await;
    let places = |findings: &[Finding]| {
        findings.iter().map(|found| (found.kind, found.place.clone(), found.since)).collect::<Vec<_>>()
    };
    assert_eq!(places(&findings), places(&status.findings));
}

#[tokio::test(start_paused = true)]
async fn what_checks_of_routes_find_is_in_the_status_at_once_while_frr_answers() {
    let fake = FakeRouting { sessions: vec![session("Established")], ..FakeRouting::default() };
    let mut bench = ControllerBench::start(fake);
    tokio::time::sleep(Duration::from_secs(65)).await;
    let found = Finding::new(FindingSeverity::Error, Area::Evpn, FindingKind::VtepUnreachable, "no route");
    let has = |bench: &mut ControllerBench| {
        let status = bench.statuses.borrow_and_update().clone().unwrap();
        status.findings.iter().any(|finding| finding.kind == FindingKind::VtepUnreachable && finding.since.is_some())
    };
    assert!(!has(&mut bench));
    bench.checks.send_replace(vec![found]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(has(&mut bench));
    bench.frr.routing().silent.insert(Daemon::Zebra);
    tokio::time::sleep(STEADY).await;
    assert!(!has(&mut bench), "of FRR that does not answer nothing is known");
    bench.frr.routing().silent.clear();
    tokio::time::sleep(STEADY).await;
    assert!(has(&mut bench));
    bench.checks.send_replace(Vec::new());
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(!has(&mut bench));
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn each_snapshot_is_applied_to_the_node() {
    let bench = ControllerBench::start(FakeRouting::default());
    let vrfs = || bench.kernel.state().vrf_netns;
    let second = Duration::from_secs(1);
    tokio::time::sleep(second).await;
    assert_eq!(vrfs(), BTreeSet::from(["red".parse().unwrap()]));
    for objects in [without_l3vnis().objects, snapshot().objects] {
        let l3vnis = objects.keys().filter(|object| object.kind == Kind::L3VNI);
        let names = l3vnis.map(|object| object.name.parse().unwrap()).collect();
        bench.snapshots.send_modify(|snapshot| snapshot.objects = objects);
        tokio::time::sleep(second).await;
        assert_eq!(vrfs(), names);
    }
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_is_left_to_frr_before_all_is_read() {
    let mut bench = ControllerBench::start(FakeRouting::default());
    let moment = Duration::from_millis(1);
    tokio::time::sleep(moment).await;
    assert!(bench.statuses.borrow_and_update().is_some(), "the first status does not wait");
    // Between two of its own refreshes.
    tokio::time::sleep(Duration::from_secs(65)).await;
    bench.statuses.mark_unchanged();
    bench.take_queries();
    bench.snapshots.send_replace(without_l3vnis());
    tokio::time::sleep(AFTER_CHANGE.checked_sub(moment).unwrap()).await;
    assert!(bench.kernel.state().vrf_netns.is_empty());
    assert_eq!(bench.take_queries().get("sessions"), None);
    tokio::time::sleep(2 * moment).await;
    assert_eq!(bench.take_queries().get("sessions"), Some(&1));
    assert!(bench.statuses.has_changed().unwrap());
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_router_in_which_nothing_changes_is_rarely_queried() {
    let fake = FakeRouting { sessions: vec![session("Established")], ..FakeRouting::default() };
    let mut bench = ControllerBench::start(fake);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bench.statuses.borrow_and_update().as_ref().is_some_and(|status: &NodeStatus| status.ready));

    let queries = bench.take_queries();
    assert!((5..=8).contains(&queries["sessions"]), "less and less often: {queries:?}");
    // Ends between two of its own refreshes.
    tokio::time::sleep(Duration::from_secs(615)).await;
    let queries = bench.take_queries();
    assert!(queries["down"] >= 300 && queries["sessions"] <= 21 && queries["running"] <= 21, "{queries:?}");

    bench.refresh.ensure_fresh().await;
    assert_eq!(bench.take_queries().get("sessions"), Some(&1), "on request");

    bench.frr.routing().sessions = vec![session("Active")];
    bench.statuses.mark_unchanged();
    tokio::time::timeout(SESSION_POLL + Duration::from_millis(1), bench.statuses.changed()).await.unwrap().unwrap();
    let sessions = bench.statuses.borrow_and_update().as_ref().map(|status| status.sessions.clone());
    assert_eq!(sessions, Some(vec![session("Active")]));

    tokio::time::sleep(2 * UNSETTLED).await;
    bench.take_queries();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!((10..=12).contains(&bench.take_queries()["sessions"]), "a session stays down");
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_l3vni_that_goes_down_is_rebuilt_without_another_reason() {
    let fake = FakeRouting { sessions: vec![session("Established")], ..FakeRouting::default() };
    let mut bench = ControllerBench::start(fake);
    tokio::time::sleep(Duration::from_secs(300)).await;
    bench.kernel.take_applied();
    bench.frr.routing().missing_vnis.insert(100.try_into().unwrap(), 4);
    tokio::time::sleep(STEADY + Duration::from_secs(7)).await;
    let rebuilt = |status: &Option<NodeStatus>| status.as_ref().map(|status| status.last_change.rebuilt.len());
    assert_eq!(rebuilt(&bench.statuses.borrow_and_update()), Some(1));
    assert!(!bench.kernel.take_applied().is_empty());
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_is_verified_also_where_another_pass_comes_first() {
    let bench = ControllerBench::start(FakeRouting::default());
    bench.snapshots.send_replace(without_l3vnis());
    tokio::time::sleep(Duration::from_secs(65)).await;
    bench.snapshots.send_replace(snapshot());
    tokio::time::sleep(VERIFY / 5).await;
    bench.drift.notify_one();
    tokio::time::sleep(VERIFY / 5).await;
    let down = || bench.kernel.state().links.values().filter(|link| !link.up).count();
    let before = down();
    // Nothing reports it.
    bench.kernel.tamper(|state| state.links.values_mut().find(|link| link.up).unwrap().up = false);
    assert_eq!(down(), before + 1);
    tokio::time::sleep(VERIFY).await;
    assert_eq!(down(), before);
    bench.end().await;
}

/// The pass that configures an instance has verified it, and then bgpd and zebra do not agree any more.
#[tokio::test(start_paused = true)]
async fn an_l3vni_whose_vrf_is_gone_in_bgpd_is_not_ready_a_second_after_a_daemon_was_restarted() {
    let mut bench = ControllerBench::start(FakeRouting::default());
    tokio::time::sleep(Duration::from_secs(65)).await;
    let red = |bench: &mut ControllerBench| {
        let status = bench.statuses.borrow_and_update().clone().unwrap();
        let red = status.resources.into_iter().find(|resource| resource.name == "red").unwrap();
        (status.ready, red.state, red.reason, red.message)
    };
    assert_eq!(red(&mut bench), (true, ObjectState::Ready, "Applied".into(), String::new()));
    let stale = Unbound::OtherId { bgpd: 5, zebra: 9 };
    bench.frr.routing().unbound.insert("red".parse().unwrap(), stale);
    bench.drift.notify_one();
    tokio::time::sleep(AFTER_DRIFT + Duration::from_millis(1)).await;
    let message = "VNI 100, VRF red: bgpd has the VRF with id 5, zebra with id 9".to_owned();
    assert_eq!(red(&mut bench), (false, ObjectState::Failed, "NotUp".into(), message));
    bench.frr.routing().unbound.clear();
    tokio::time::sleep(UNSETTLED).await;
    assert!(red(&mut bench).0);
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_answer_is_in_the_status() {
    let mut bench = ControllerBench::start(FakeRouting { silent: [Daemon::Staticd].into(), ..FakeRouting::default() });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let silent =
        |bench: &mut ControllerBench| bench.statuses.borrow_and_update().as_ref().unwrap().silent_daemons.clone();
    assert_eq!(silent(&mut bench), ["staticd"]);
    assert!(bench.statuses.borrow().as_ref().unwrap().ready, "no object has a part in it");
    bench.frr.routing().silent.clear();
    tokio::time::sleep(IDLE + UNSETTLED).await;
    assert_eq!(silent(&mut bench), [""; 0]);
    bench.end().await;
}

#[test]
fn a_failure_is_new_once() {
    let texts = |red: &[&str], underlay: &[&str]| {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        BTreeMap::from([(Scope::Vrf("red".parse().unwrap()), owned(red)), (Scope::Underlay, owned(underlay))])
    };
    let new = |found: &BTreeMap<Scope, Vec<String>>, known: &BTreeMap<Scope, Vec<String>>| {
        new_texts(found, known).into_iter().map(|(scope, text)| format!("{scope} {text}")).collect::<Vec<_>>()
    };
    let (first, second) = (texts(&["a", "b"], &[]), texts(&["b", "c"], &["a"]));
    assert_eq!(new(&first, &BTreeMap::new()).len(), 2);
    assert_eq!(new(&first, &first), Vec::<String>::new());
    let found = new(&second, &first);
    assert!(found.len() == 2 && found.iter().any(|text| text.ends_with("red c")), "{found:?}");
}
