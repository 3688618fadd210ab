//! The metrics of routers, served as a controller serves them. In: a state. Out: an address to scrape. The status is made up; all
//! that renders and serves it is real.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use perouter::frr::client::restarts::{self, DaemonWatch};
use perouter::frr::release::FRR_10_7;
use perouter::frr::show::bfd::BfdPeer;
use perouter::frr::show::interface::Interface;
use perouter::frr::show::neighbor::{Negotiation, SessionReset};
use perouter::plan::{NodeFacts, plan};
use perouter::runtime::{Daemon, Runtime};
use perouter::snapshot::NodeIdentity;
use perouter::source::Directory;
use perouter::source::health::SourceHealth;
use perouter::status::NodeStatus;
use perouter::status::http::{self, Endpoints, Readiness};
use perouter::status::metrics::{Metrics, Observed, Surroundings};
use perouter::status::model::PassSummary;
use perouter::timing::Timing;
use perouter::types::VrfMode;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What a router is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// All of it works.
    Good,
    /// FRR works, the leaf does not offer L2VPN EVPN, and FRR lacks the session of a VRF.
    WithoutEvpn,
    /// Everything else is broken.
    Broken,
}

const OBJECTS: &str = "
apiVersion: openpe.openperouter.github.io/v1alpha1
kind: Underlay
metadata: {name: underlay, namespace: openperouter-system}
spec:
  asn: 64514
  vtepcidr: 100.65.0.0/24
  nics: [toswitch]
  neighbors: [{address: 192.168.11.2, asn: 64512}]
---
apiVersion: openpe.openperouter.github.io/v1alpha1
kind: L3VNI
metadata: {name: red, namespace: openperouter-system}
spec: {asn: 64514, vni: 100, vrf: red, localcidr: {ipv4: 192.169.10.0/24}, hostasn: 64515, fromHost: {maxPrefixes: 100}}
---
apiVersion: openpe.openperouter.github.io/v1alpha1
kind: L3VNI
metadata: {name: blue, namespace: openperouter-system}
spec: {asn: 64514, vni: 200, vrf: blue, localcidr: {ipv4: 192.169.11.0/24}, hostasn: 64515}
";

const STATUS: &str = "
node: n
index: 0
vrfMode: vrf
frrVersion: 10.7.1
observedTime: 1
ready: true
resources:
- {kind: L3VNI, namespace: a, name: red, state: Ready, reason: Applied, message: ''}
vnis:
  100: {vrf: red, up: true, routerMac: '02:00:00:00:00:01', svi: br, inBgp: true, rd: '1:1', import: [], export: []}
  200: {vrf: blue, up: true, routerMac: '02:00:00:00:00:01', svi: br, inBgp: true, rd: '1:2', import: [], export: []}
  110: {type: L2, vrf: red, up: true, routerMac: null, svi: br, inBgp: true, rd: '1:3', import: [], export: [],
        macs: 5, neighbors: 4, local: {macs: 2, neighbors: 2}, remoteVteps: [100.65.0.2]}
sessions:
- {vrf: null, peer: 192.168.11.2, remoteAs: 64512, state: Established, since: 1, established: 1, prefixes: {l2VpnEvpn: {received: 7, sent: 3}}}
- {vrf: red, peer: 192.169.10.2, remoteAs: 64515, state: Established, since: 1, established: 1, prefixes: {ipv4Unicast: {received: 50, sent: 9}}}
- {vrf: blue, peer: 192.169.11.2, remoteAs: 64515, state: Established, since: 1, established: 1, prefixes: {ipv4Unicast: {received: 5, sent: 9}}}
foreignLines: []
lastChange: {kernelOps: 0, frrLines: 0, rebuilt: [], durationMs: 0}
";

/// A router that is scraped.
pub struct Router {
    pub address: SocketAddr,
    status: NodeStatus,
    statuses: watch::Sender<Option<NodeStatus>>,
    runtime: Runtime,
    listeners: BTreeMap<Daemon, UnixListener>,
    watch: DaemonWatch,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
}

impl Drop for Router {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Router {
    pub async fn start(state: State) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), dir.path().join("netns"));
        fs::create_dir(runtime.frr_dir()).unwrap();
        let daemons = [Daemon::Zebra, Daemon::Bgpd, Daemon::Bfdd];
        let running = daemons.into_iter().filter(|daemon| state != State::Broken || *daemon != Daemon::Bgpd);
        let listeners =
            running.map(|daemon| (daemon, UnixListener::bind(runtime.vty_socket(daemon)).unwrap())).collect();
        let watch = restarts::watch(&runtime, &daemons, &Arc::default()).await;
        let statuses = watch::Sender::new(None);
        let metrics = Arc::new(Metrics::new(statuses.subscribe()));
        let health = Arc::<SourceHealth>::default();
        let took = Duration::from_millis(20);
        if state == State::Broken {
            metrics.blind_pass();
        } else {
            health.delivered("");
            metrics.pass(&PassSummary::default(), false, &Timing::default(), took, Some(took));
        }
        let sources = vec![("kubernetes", health)];
        metrics.surrounded_by(Surroundings { daemons: Arc::clone(&watch.daemons), sources });
        let status = status(state);
        metrics.status(&status, true, observed(state, dir.path()));
        statuses.send_replace(Some(status.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let readiness: Readiness = Arc::new(|| Box::pin(async { Ok(()) }));
        let endpoints = Endpoints { readiness, metrics: Some((metrics, Arc::default())) };
        tokio::spawn(http::serve(listener, endpoints, stop.clone()));
        Self { address, status, statuses, runtime, listeners, watch, stop, _dir: dir }
    }

    /// What Prometheus gets.
    pub fn scrape(&self) -> String {
        super::server::get(self.address, "/metrics").unwrap()
    }

    /// The fabric session is established again and again, and zebra restarted.
    pub async fn flap(&mut self) {
        self.status.sessions[0].established += 8;
        self.statuses.send_replace(Some(self.status.clone()));
        for number in 1..=4 {
            self.listeners.remove(&Daemon::Zebra);
            let socket = self.runtime.vty_socket(Daemon::Zebra);
            fs::remove_file(&socket).unwrap();
            self.listeners.insert(Daemon::Zebra, UnixListener::bind(&socket).unwrap());
            let zebra = || self.watch.daemons.all().find(|(daemon, _)| *daemon == Daemon::Zebra).unwrap().1.restarts();
            while zebra() < number {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

fn status(state: State) -> NodeStatus {
    let edit = |text: &str| {
        match state {
        State::Good | State::WithoutEvpn => text.to_owned(),
        State::Broken => text
            .replace("state: Ready, reason: Applied", "state: Rejected, reason: Conflict")
            .replace("blue, up: true", "blue, up: false")
            .replace("110: {type: L2, vrf: red, up: true", "110: {type: L2, vrf: red, up: false")
            .replace("64512, state: Established", "64512, state: Active")
            .replace("received: 50", "received: 95")
            .replace("foreignLines", "filtered: [{vrf: red, peer: 192.169.10.2, routes: {prefix: 2}}]\nfindings: [{severity: error, \
                area: fabric, kind: no-underlay, where: {}, what: x, remedy: y, since: '2026-11-28T14:37:54Z'}]\nforeignLines"),
    }
    };
    let mut status: NodeStatus = serde_saphyr::from_str(&edit(STATUS)).unwrap();
    if state != State::Broken {
        status.observed_time = UNIX_EPOCH.elapsed().unwrap().as_secs();
    }
    if state == State::WithoutEvpn {
        status.sessions.pop();
    }
    status
}

fn observed(state: State, dir: &std::path::Path) -> Observed {
    fs::write(dir.join("objects.yaml"), OBJECTS).unwrap();
    let node = NodeIdentity { name: "n".into(), ..NodeIdentity::default() };
    let directory = Directory::new(dir.to_owned());
    let snapshot = perouter::source::read(&directory.dir, &directory.secrets, &node).unwrap();
    let plan = plan(&snapshot, &NodeFacts::unknown(VrfMode::Vrf, FRR_10_7));
    assert!(plan.rejected.is_empty(), "{:?}", plan.rejected);
    let sides = Negotiation { advertised: true, received: state == State::Good };
    let families = [("l2VpnEvpn".to_owned(), sides)].into();
    let details = SessionReset { families, ..SessionReset::default() };
    let is_good = state != State::Broken;
    let nic = Interface { is_admin_up: true, has_carrier: is_good, mtu: Some(9000), ..Interface::default() };
    Observed {
        plan: Arc::new(plan),
        neighbors: [((None, "192.168.11.2".to_owned()), details)].into(),
        bfd: vec![BfdPeer {
            vrf: "default".into(),
            peer: "192.168.11.2".into(),
            interface: "toswitch".into(),
            is_up: is_good,
        }],
        nics: [("toswitch".to_owned(), nic)].into(),
    }
}
