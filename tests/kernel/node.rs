//! A node for one test, with namespaces of its own for host and router, and the operations on the kernel port that
//! tests share.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use perouter::kernel::model::{KernelState, Netns};
use perouter::kernel::{Kernel, KernelOp, NetlinkKernel, Outcome, Step, diff, netns};
use perouter::reconcile::remedy;
use perouter::runtime::Runtime;
use perouter::types::VrfMode;

use crate::generated::in_view_of;

/// Namespaces for host and router, and a run directory.
pub struct Node {
    dir: tempfile::TempDir,
    pub runtime: Runtime,
    pub host: PathBuf,
}

impl Node {
    /// `None` without root: then the test is left out, which is an error where `CI=true`.
    pub fn new() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("left out: network namespaces need root");
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test as root");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("pkrn-").tempdir_in("/run").unwrap();
        let bound = dir.path().join("netns");
        let (host, router) = (bound.join("host"), bound.join("router"));
        netns::create(&host).unwrap();
        netns::create(&router).unwrap();
        let runtime = Runtime::new(dir.path().join("state"), router).with_ovs_socket(dir.path().join("ovs/db.sock"));
        let node = Self { dir, runtime, host };
        node.host("ip link set lo up");
        Some(node)
    }

    pub async fn kernel(&self) -> NetlinkKernel {
        NetlinkKernel::open(self.runtime.clone(), File::open(&self.host).unwrap()).await.unwrap()
    }

    /// Runs a command line in the host's namespace.
    pub fn host(&self, line: &str) -> String {
        run(&self.host, line)
    }

    /// Runs a command line in the router's namespace.
    pub fn router(&self, line: &str) -> String {
        run(self.runtime.router_netns(), line)
    }

    /// Runs a command line in the namespace of the links of an IP-VRF.
    pub fn vrf(&self, vrf: &str, line: &str) -> String {
        match links_netns(vrf) {
            Netns::Vrf(vrf) => run(&self.runtime.vrf_netns(&vrf), line),
            _ => self.router(line),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = netns::unshare_dir(&self.runtime.vrf_netns_dir());
        let _ = netns::unshare_dir(&self.dir.path().join("netns"));
    }
}

/// The mode under test: `PEROUTER_VRF_MODE`, or `netns`, which every kernel has.
pub fn mode() -> VrfMode {
    match std::env::var("PEROUTER_VRF_MODE").as_deref() {
        Ok("vrf") => VrfMode::Vrf,
        Ok("netns") | Err(_) => VrfMode::Netns,
        Ok(other) => panic!("PEROUTER_VRF_MODE={other}: use vrf or netns"),
    }
}

/// Whether this kernel supports a second BGP port, and filters. If not, a message is printed and the tests use none.
pub fn has_nftables() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let words = ["--net", "nft", "add", "table", "inet", "probe"];
        let found = Command::new("unshare").args(words).output().unwrap().status.success();
        if !found {
            println!("no nftables on this kernel: second ports and filters of others are not tested");
        }
        found
    })
}

/// Whether this kernel can filter IPv6 sources. If not, a message is printed and the tests have no filters.
pub fn has_source_filters() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let script = "nft add table inet probe; nft 'add chain inet probe c { type filter hook prerouting priority 0 ; }'; \
                      nft add rule inet probe c meta nfproto ipv6 fib saddr oif 0 drop";
        let found = Command::new("unshare").args(["--net", "sh", "-ec", script]).output().unwrap().status.success();
        if !found {
            println!("no nftables with fib on this kernel: filters of IPv6 sources are not tested");
        }
        found
    })
}

/// A second BGP port if the kernel supports it.
pub fn second_port() -> Option<u16> {
    has_nftables().then_some(180)
}

/// The namespace of the links of an IP-VRF in the mode under test.
pub fn links_netns(vrf: &str) -> Netns {
    match mode() {
        VrfMode::Netns => Netns::Vrf(vrf.parse().unwrap()),
        VrfMode::Vrf => Netns::Router,
    }
}

fn run(netns: &Path, line: &str) -> String {
    let output =
        Command::new("nsenter").arg(format!("--net={}", netns.display())).args(["sh", "-c", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Time for the task that reads the kernel's messages about what others changed. It is such a message that starts a
/// reconcile pass.
const EVENTS: Duration = Duration::from_millis(20);

/// Applies the difference; returns its steps and their outcomes.
async fn apply_diff(kernel: &NetlinkKernel, wanted: &KernelState) -> (Vec<Step>, Vec<Outcome>) {
    tokio::time::sleep(EVENTS).await;
    let nics = wanted.nics.keys().cloned().collect();
    let steps = diff(wanted, &kernel.observe(&nics).await.unwrap());
    let outcomes = kernel.apply_all(&steps).await;
    (steps, outcomes)
}

/// Applies the difference and returns it. Panics if an operation fails.
pub async fn reconcile(kernel: &NetlinkKernel, wanted: &KernelState) -> Vec<KernelOp> {
    let (steps, outcomes) = apply_diff(kernel, wanted).await;
    for (step, outcome) in steps.iter().zip(&outcomes) {
        assert!(outcome.is_done(), "{step}: {}", outcome_text(outcome));
    }
    steps.into_iter().map(|step| step.op).collect()
}

/// One pass reaches the wanted state, and the next one has nothing to do.
pub async fn converge(kernel: &NetlinkKernel, wanted: &KernelState) {
    reconcile(kernel, wanted).await;
    let nics = wanted.nics.keys().cloned().collect();
    let observed = kernel.observe(&nics).await.unwrap();
    assert_eq!(diff(wanted, &observed), [], "the second pass has nothing to do");
    assert_eq!(in_view_of(wanted, Arc::unwrap_or_clone(observed)), *wanted);
}

/// Like [`converge`], but retries while the kernel still cleans up asynchronously: an unused namespace, whose VXLAN
/// devices occupy their VNIs until then.
pub async fn converge_eventually(kernel: &NetlinkKernel, wanted: &KernelState) {
    let begin = Instant::now();
    loop {
        let (_, outcomes) = apply_diff(kernel, wanted).await;
        let Some(failed) = outcomes.iter().find(|outcome| !outcome.is_done()) else { break };
        assert!(begin.elapsed() < Duration::from_secs(20), "{}", outcome_text(failed));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    converge(kernel, wanted).await;
}

pub fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Failed(error) => error_chain(error),
        other => format!("{other:?}"),
    }
}

/// The messages of an error and its sources with its remedy, as a status shows them.
pub fn error_chain(error: &(dyn std::error::Error + 'static)) -> String {
    remedy::text(error)
}
