use super::*;

use std::sync::{Mutex, MutexGuard};

use crate::frr::client::fake::FakeRouting;
use crate::frr::client::port::{Presence, RejectedCommand, RoutingError};
use crate::frr::config::batch::CommandBatch;
use crate::frr::release::FrrVersion;
use crate::frr::show::running_config::RunningConfig;
use crate::frr::show::vrf::VrfState;
use crate::kernel::NicFacts;
use crate::kernel::fake::FakeKernel;
use crate::kernel::model::KernelState;
use crate::kind::Spec;
use crate::plan::last_accepted::LastAccepted;
use crate::snapshot::{Kind, NodeIdentity, Object, ObjectRef};
use crate::types::{IfName, Vni, VrfName};

/// FRR that counts its queries.
#[derive(Clone)]
struct Frr {
    fake: Arc<Mutex<FakeRouting>>,
    kernel: Arc<FakeKernel>,
    asked: Arc<Mutex<BTreeMap<&'static str, usize>>>,
}

impl Frr {
    fn fake(&self) -> MutexGuard<'_, FakeRouting> {
        let mut fake = self.fake.lock().unwrap();
        fake.active = self.kernel.state().vrf_netns;
        fake
    }

    fn now(&self) -> FakeRouting {
        self.fake().clone()
    }

    fn count(&self, question: &'static str) -> FakeRouting {
        *self.asked.lock().unwrap().entry(question).or_default() += 1;
        self.now()
    }

    /// How often it was queried since the last call.
    fn asked(&self) -> BTreeMap<&'static str, usize> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Routing for Frr {
    async fn version(&mut self) -> Result<FrrVersion, RoutingError> {
        self.now().version().await
    }
    async fn running(&mut self) -> Result<Arc<RunningConfig>, RoutingError> {
        self.count("running").running().await
    }
    async fn apply(&mut self, batch: &CommandBatch) -> Result<Vec<RejectedCommand>, RoutingError> {
        let mut fake = self.now();
        let rejected = fake.apply(batch).await;
        *self.fake.lock().unwrap() = fake;
        rejected
    }
    fn apply_concurrently(
        &mut self,
        batch: CommandBatch,
    ) -> impl Future<Output = Result<Vec<RejectedCommand>, RoutingError>> + Send + use<> {
        let mut fake = self.now();
        let answer = fake.apply_concurrently(batch);
        *self.fake.lock().unwrap() = fake;
        answer
    }
    async fn vrfs(&mut self) -> Result<BTreeMap<VrfName, VrfState>, RoutingError> {
        self.count("vrfs").vrfs().await
    }
    async fn wait_vrf(&mut self, vrf: &VrfName, wanted: Presence, limit: Duration) -> Result<(), RoutingError> {
        self.now().wait_vrf(vrf, wanted, limit).await
    }
    async fn wait_links(
        &mut self,
        vrf: &VrfName,
        links: &BTreeSet<IfName>,
        limit: Duration,
    ) -> Result<(), RoutingError> {
        self.now().wait_links(vrf, links, limit).await
    }
    async fn vnis(&mut self) -> Result<BTreeMap<Vni, VniState>, RoutingError> {
        self.count("vnis").vnis().await
    }
    async fn sessions(&mut self) -> Result<Vec<SessionState>, RoutingError> {
        self.count("sessions").sessions().await
    }
    async fn down_sessions(&mut self) -> Result<Arc<BTreeMap<SessionKey, SessionCounters>>, RoutingError> {
        self.count("down").down_sessions().await
    }
}

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
        prefixes: BTreeMap::new(),
    }
}

/// A controller that runs.
struct Bench {
    frr: Frr,
    snapshots: watch::Sender<Snapshot>,
    statuses: watch::Receiver<Option<NodeStatus>>,
    refresh: Arc<Refresh>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Bench {
    fn start(fake: FakeRouting) -> Self {
        let nic = NicFacts { mtu: 1500, netns: Netns::Host, addresses: BTreeSet::new() };
        let kernel = Arc::new(FakeKernel::new(KernelState::default(), [("toswitch".parse().unwrap(), nic)].into()));
        let frr = Frr { fake: Arc::new(Mutex::new(fake)), kernel: Arc::clone(&kernel), asked: Arc::default() };
        let reconciler = Reconciler::new(kernel, frr.clone(), VrfMode::Netns, LastAccepted::default());
        let directory = tempfile::tempdir().unwrap();
        let (sender, statuses) = watch::channel(None);
        let refresh = Arc::new(Refresh::default());
        let outputs = Outputs {
            status: directory.path().join("status.json"),
            mode: VrfMode::Netns,
            statuses: sender,
            metrics: Arc::default(),
            refresh: Arc::clone(&refresh),
        };
        let (snapshots, receiver) = watch::channel(snapshot());
        let stop = CancellationToken::new();
        let running = tokio::spawn(Controller::new(reconciler, outputs).run(receiver, Arc::default(), stop.clone()));
        Self { frr, snapshots, statuses, refresh, stop, running, _directory: directory }
    }

    async fn end(self) {
        self.stop.cancel();
        self.running.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn each_snapshot_is_applied_to_the_node() {
    let bench = Bench::start(FakeRouting::default());
    let vrfs = || bench.frr.kernel.state().vrf_netns;
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
    let mut bench = Bench::start(FakeRouting::default());
    let frr = bench.frr.clone();
    let moment = Duration::from_millis(1);
    tokio::time::sleep(moment).await;
    assert!(bench.statuses.borrow_and_update().is_some(), "the first status does not wait");
    // Between two of its own refreshes.
    tokio::time::sleep(Duration::from_secs(65)).await;
    bench.statuses.mark_unchanged();
    frr.asked();
    bench.snapshots.send_replace(without_l3vnis());
    tokio::time::sleep(AFTER_CHANGE.checked_sub(moment).unwrap()).await;
    assert!(frr.kernel.state().vrf_netns.is_empty());
    assert_eq!(frr.asked().get("sessions"), None);
    tokio::time::sleep(2 * moment).await;
    assert_eq!(frr.asked().get("sessions"), Some(&1));
    assert!(bench.statuses.has_changed().unwrap());
    bench.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_router_in_which_nothing_changes_is_rarely_queried() {
    let fake = FakeRouting { sessions: vec![session("Established")], ..FakeRouting::default() };
    let mut bench = Bench::start(fake);
    let frr = bench.frr.clone();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(bench.statuses.borrow_and_update().as_ref().is_some_and(|status: &NodeStatus| status.ready));

    let asked = frr.asked();
    assert!((5..=8).contains(&asked["sessions"]), "less and less often: {asked:?}");
    // Ends between two of its own refreshes.
    tokio::time::sleep(Duration::from_secs(615)).await;
    let asked = frr.asked();
    assert!(asked["down"] >= 300 && asked["sessions"] <= 21 && asked["running"] <= 21, "{asked:?}");

    bench.refresh.ensure_fresh().await;
    assert_eq!(frr.asked().get("sessions"), Some(&1), "on request");

    frr.fake().sessions = vec![session("Active")];
    bench.statuses.mark_unchanged();
    tokio::time::timeout(SESSION_POLL + Duration::from_millis(1), bench.statuses.changed()).await.unwrap().unwrap();
    let sessions = bench.statuses.borrow_and_update().as_ref().map(|status| status.sessions.clone());
    assert_eq!(sessions, Some(vec![session("Active")]));

    tokio::time::sleep(2 * UNSETTLED).await;
    frr.asked();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!((10..=12).contains(&frr.asked()["sessions"]), "a session stays down");
    bench.end().await;
}
