//! The router of one node. In: the node and its objects. Out: processes started and stopped, status, state of FRR.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use perouter::frr::client::port::Routing;
use perouter::frr::client::vty_routing::VtyRouting;
use perouter::frr::release::{FrrVersion, Release};
use perouter::frr::show::running_config::RunningConfig;
use perouter::frr::show::session::{SessionPhase, SessionState};
use perouter::frr::show::vni::VniState;
use perouter::frr::show::vrf::VrfState;
use perouter::runtime::Daemon;
use perouter::snapshot::Kind;
use perouter::status::NodeStatus;
use perouter::status::model::{ObjectState, Resource};
use perouter::status::publish;
use perouter::types::{Vni, VrfMode, VrfName};
use perouter_lab::metallb::Labels;
use perouter_lab::node::{Background, CommandOutput, Node};

use super::fixture::{SETTLE, until};

/// The command that lists BFD sessions, for [`bfd_up`].
pub const BFD_PEERS: &str = "show bfd peers json";

/// How many BFD sessions are up in the output of [`BFD_PEERS`].
pub fn bfd_up(peers: &str) -> usize {
    let peers: Vec<serde_json::Value> = serde_json::from_str(peers).unwrap_or_default();
    peers.iter().filter(|peer| peer["status"] == "up").count()
}

/// Where `perouter run` serves its metrics.
pub const METRICS_ADDRESS: &str = "127.0.0.1:9476";
const PEROUTER: &str = env!("CARGO_BIN_EXE_perouter");
/// Tests look for what a pass did, and so does who reads the log of one that failed.
const EACH_STEP: &str = "info,kube_runtime=error,perouter::reconcile=debug";
const VTY_LIMIT: Duration = Duration::from_secs(30);

/// The router of a node.
pub struct Router {
    pub node: Node,
    pub index: u32,
    config: PathBuf,
    labels: Labels,
    /// Seconds between checks of routes; `None`: as `perouter` has it.
    pub check_interval: Option<u32>,
    process: Option<Background>,
}

impl Router {
    pub fn new(node: &Node, index: u32, config: &Path) -> Self {
        let (config, labels) = (config.to_owned(), Labels::new());
        Self { node: node.clone(), index, config, labels, check_interval: None, process: None }
    }

    /// With labels of its node.
    pub fn labeled(mut self, labels: &Labels) -> Self {
        self.labels.clone_from(labels);
        self
    }

    pub fn vtep(&self) -> String {
        format!("100.65.0.{}", self.index + 1)
    }

    pub fn log(&self) -> PathBuf {
        self.node.log_folder().join("perouter.log")
    }

    /// Starts `perouter run`.
    pub fn start(&mut self) {
        self.process = Some(self.spawn("run", true));
    }

    /// Starts `perouter` with a subcommand, with or without the options that name the objects.
    pub fn spawn(&self, subcommand: &str, with_objects: bool) -> Background {
        let mut words = vec!["env".to_owned(), format!("PEROUTER_LOG={EACH_STEP}")];
        words.extend((subcommand == "run").then(|| format!("PEROUTER_HTTP_ADDRESS={METRICS_ADDRESS}")));
        words.extend(self.check_interval.map(|seconds| format!("PEROUTER_CHECK_INTERVAL={seconds}")));
        words.extend(self.command(subcommand, with_objects));
        self.node.spawn(&words, &self.log()).unwrap()
    }

    /// The command line of a subcommand, with or without the options that name the objects.
    pub fn command(&self, subcommand: &str, with_objects: bool) -> Vec<String> {
        let mut words = vec![PEROUTER.to_owned(), subcommand.to_owned()];
        if with_objects {
            words.extend(self.objects());
        }
        words
    }

    fn objects(&self) -> Vec<String> {
        let config = self.config.to_string_lossy().into_owned();
        let name = self.node.name().to_string();
        let mut words = vec![
            "--config-dir".into(),
            config,
            "--node-name".into(),
            name,
            "--node-index".into(),
            self.index.to_string(),
        ];
        words.extend(self.labels.iter().flat_map(|(key, value)| ["--node-label".into(), format!("{key}={value}")]));
        words
    }

    /// Stops the process with SIGTERM.
    pub fn terminate(&mut self) {
        let status = self.process.take().unwrap().terminate(SETTLE).unwrap();
        assert!(status.is_some_and(|status| status.success()), "perouter exited with {status:?}");
    }

    /// Kills the process with SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill().unwrap();
    }

    /// Whether `perouter run` has been started and has not exited.
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.exit_status().unwrap().is_none())
    }

    /// Runs a subcommand until it exits.
    pub fn perouter(&self, words: &[&str]) -> CommandOutput {
        let words: Vec<&str> = std::iter::once(PEROUTER).chain(words.iter().copied()).collect();
        self.node.run_for(SETTLE, &words).unwrap()
    }

    /// `perouter plan` for this node.
    pub fn plan(&self) -> CommandOutput {
        self.node.run_for(SETTLE, &self.command("plan", true)).unwrap()
    }

    /// The status; `None` if there is none yet.
    pub fn status(&self) -> Option<NodeStatus> {
        publish::read(&self.node.file("/run/perouter/status.json")).unwrap()
    }

    /// Removes the status of a previous process.
    pub fn remove_status(&self) {
        std::fs::remove_file(self.node.file("/run/perouter/status.json")).unwrap();
    }

    /// Waits for a status.
    pub fn await_status<T>(&self, what: &str, probe: impl Fn(&NodeStatus) -> Option<T>) -> T {
        until(&format!("{what} in the status of {}", self.node.name()), SETTLE, || {
            self.status().and_then(|status| probe(&status))
        })
    }

    /// Waits until the router is ready and exactly these VNIs are up.
    pub fn await_ready(&self, vnis: &[u32]) {
        self.await_status(&format!("VNIs {vnis:?} and no other"), |status| {
            let up = status.vnis.iter().filter(|(_, state)| state.is_ready()).map(|(vni, _)| vni.get());
            (status.ready && up.collect::<Vec<_>>() == vnis).then_some(())
        });
    }

    /// Waits until an L3VNI has this state in the status.
    pub fn await_l3vni(&self, name: &str, state: ObjectState) -> Resource {
        self.await_status(&format!("L3VNI {name} {state:?}"), |status| {
            let mine = |r: &&Resource| r.kind == Kind::L3VNI && r.name == name && r.state == state;
            status.resources.iter().find(mine).cloned()
        })
    }

    /// Waits until an L2VNI has this state in the status.
    pub fn await_l2vni(&self, name: &str, state: ObjectState) -> Resource {
        self.await_status(&format!("L2VNI {name} {state:?}"), |status| {
            let mine = |r: &&Resource| r.kind == Kind::L2VNI && r.name == name && r.state == state;
            status.resources.iter().find(mine).cloned()
        })
    }

    fn query<T>(&self, query: impl AsyncFnOnce(&mut VtyRouting) -> T) -> T {
        let mut routing = VtyRouting::new(self.node.file("/run/perouter/frr"), VTY_LIMIT);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(query(&mut routing))
    }

    pub fn version(&self) -> FrrVersion {
        self.query(async |routing| routing.version().await.unwrap())
    }

    /// The release that its FRR is treated as.
    pub fn release(&self) -> Release {
        Release::of(&self.version()).unwrap()
    }

    /// Whether the namespace of a deleted VRF remains.
    pub fn keeps_netns(&self) -> bool {
        let mode = self.status().unwrap().vrf_mode;
        mode == VrfMode::Netns && self.release().netns_stays
    }

    pub fn vnis(&self) -> BTreeMap<Vni, VniState> {
        self.query(async |routing| routing.vnis().await.unwrap())
    }

    pub fn vrfs(&self) -> BTreeMap<VrfName, VrfState> {
        self.query(async |routing| routing.vrfs().await.unwrap())
    }

    /// The id of a VRF in FRR's daemons.
    pub fn zebra_vrf_id(&self, vrf: &str) -> Option<u64> {
        let text = self.query(async |routing| routing.show(Daemon::Zebra, "show vrf").await.unwrap());
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("vrf {vrf} id ")))?;
        line.split(' ').next()?.parse().ok()
    }

    pub fn running(&self) -> RunningConfig {
        Arc::unwrap_or_clone(self.query(async |routing| routing.running().await.unwrap()))
    }

    /// What a daemon shows; `None` while it does not answer.
    pub fn try_show(&self, daemon: Daemon, command: &str) -> Option<String> {
        self.query(async |routing| routing.show(daemon, command).await.ok())
    }

    /// The running configuration of a daemon.
    pub fn running_text(&self, daemon: Daemon) -> String {
        self.try_show(daemon, "show running-config").unwrap()
    }

    /// The present BGP sessions; none while bgpd is down.
    pub fn sessions(&self) -> Vec<SessionState> {
        self.query(async |routing| routing.sessions().await.unwrap_or_default())
    }

    /// How many BFD sessions are up.
    pub fn bfd_up(&self) -> usize {
        bfd_up(&self.query(async |routing| routing.show(Daemon::Bfdd, BFD_PEERS).await.unwrap()))
    }

    /// The sessions of these VRFs and how often each was established. Panics if one is down.
    pub fn established(&self, vrfs: &[Option<&str>]) -> BTreeMap<(String, String), u64> {
        let of = |session: &SessionState| vrfs.contains(&session.vrf.as_ref().map(VrfName::as_str));
        let sessions = self.sessions().into_iter().filter(of);
        let count = |session: SessionState| {
            let vrf = session.vrf.map_or_else(|| "default".to_owned(), |vrf| vrf.to_string());
            assert_eq!(session.phase, SessionPhase::Established, "session of {vrf} with {}", session.peer);
            ((vrf, session.peer), session.established)
        };
        sessions.map(count).collect()
    }

    /// Waits until the session of a VRF with this peer is established.
    pub fn await_session(&self, vrf: &str, peer: &str) -> SessionState {
        until(&format!("the session of {vrf} with {peer}"), SETTLE, || {
            let mine = |s: &SessionState| {
                s.vrf.as_ref().is_some_and(|v| v.as_str() == vrf)
                    && s.peer == peer
                    && s.phase == SessionPhase::Established
            };
            self.sessions().into_iter().find(mine)
        })
    }

    /// Whether the session of a VRF with this peer is established.
    pub fn is_established(&self, vrf: &str, peer: &str) -> bool {
        let mine = |s: &SessionState| s.vrf.as_ref().is_some_and(|v| v.as_str() == vrf) && s.peer == peer;
        self.sessions().iter().any(|session| mine(session) && session.phase == SessionPhase::Established)
    }

    /// Process ids of FRR's daemons.
    pub fn daemon_pids(&self) -> BTreeMap<Daemon, u32> {
        let pid = |daemon: Daemon| {
            let path = self.node.file(format!("/run/perouter/frr/{daemon}.pid"));
            Some((daemon, std::fs::read_to_string(path).ok()?.trim().parse().ok()?))
        };
        Daemon::ALL.into_iter().filter_map(pid).collect()
    }

    /// Kills a daemon of FRR with SIGKILL.
    pub fn kill_daemon(&self, daemon: Daemon) {
        let pid = self.daemon_pids()[&daemon].to_string();
        self.node.check(&["kill", "-9", &pid]).unwrap();
    }
}
