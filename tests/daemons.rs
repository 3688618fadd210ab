//! FRR's daemons under supervision, with real FRR on the real kernel. Needs root and FRR.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test file")]

#[path = "frr/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use perouter::frr::daemons::{self, DaemonError, DaemonEvent, Daemons, FRR_DIR, Incarnation, ready};
use perouter::kernel::netns;
use perouter::runtime::{Daemon, Runtime};
use perouter::types::{VrfMode, VrfName};
use rstest::rstest;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use scratch::is_root;

/// The run directory, namespaces and FRR of one test, removed at the end.
struct ScratchRouter(Runtime);

impl ScratchRouter {
    fn new(test: &str) -> Self {
        Self(scratch::runtime(test))
    }

    async fn daemons(&self) -> Daemons {
        Daemons::new(self.0.clone(), VrfMode::Netns, FRR_DIR).await.unwrap()
    }

    async fn supervise(&self) -> Supervisor {
        let mut daemons = self.daemons().await;
        daemons.ensure().await.unwrap();
        let all = daemons.daemons().to_vec();
        let (events, receiver) = mpsc::channel(16);
        let stop = CancellationToken::new();
        let task = tokio::spawn(daemons.supervise(events, stop.clone()));
        Supervisor { all, receiver, stop, task }
    }

    /// Runs commands on a daemon's vty and returns the text of the last.
    fn vty(&self, daemon: Daemon, commands: &[&str]) -> String {
        let mut socket = UnixStream::connect(self.0.vty_socket(daemon)).unwrap();
        let mut text = String::new();
        for command in commands {
            socket.write_all(command.as_bytes()).unwrap();
            socket.write_all(b"\0").unwrap();
            let mut reply = Vec::new();
            while reply.len() < 4 || reply[reply.len() - 4..reply.len() - 1] != [0, 0, 0] {
                let mut buffer = [0; 4096];
                let length = socket.read(&mut buffer).unwrap();
                assert_ne!(length, 0, "{daemon} closed its vty");
                reply.extend_from_slice(&buffer[..length]);
            }
            text = String::from_utf8_lossy(&reply[..reply.len() - 4]).into_owned();
        }
        text
    }

    /// Waits until zebra's output of `command` contains `text`; returns the milliseconds.
    async fn await_in_zebra(&self, command: &str, text: &str) -> u128 {
        self.await_zebra(command, |reply| reply.contains(text)).await
    }

    async fn await_zebra(&self, command: &str, wanted: impl Fn(&str) -> bool) -> u128 {
        let begin = Instant::now();
        while !wanted(&self.vty(Daemon::Zebra, &[command])) {
            assert!(begin.elapsed() < Duration::from_secs(5), "{}", self.vty(Daemon::Zebra, &[command]));
            sleep(Duration::from_millis(1)).await;
        }
        begin.elapsed().as_millis()
    }

    fn pid(&self, daemon: Daemon) -> u32 {
        scratch::pids(&self.0)[&daemon]
    }
}

impl Drop for ScratchRouter {
    fn drop(&mut self) {
        let runtime = self.0.clone();
        let stop = || {
            let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            tokio.block_on(scratch::remove(&runtime));
        };
        thread::scope(|scope| scope.spawn(stop).join().unwrap());
    }
}

struct Supervisor {
    all: Vec<Daemon>,
    receiver: mpsc::Receiver<DaemonEvent>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Supervisor {
    async fn event(&mut self) -> DaemonEvent {
        timeout(Duration::from_secs(5), self.receiver.recv()).await.unwrap().unwrap()
    }

    /// Waits until all daemons are up; returns for each its incarnation and whether it was adopted.
    async fn all_up(&mut self) -> BTreeMap<Daemon, (Incarnation, bool)> {
        let mut up = BTreeMap::new();
        while up.len() < self.all.len() {
            match self.event().await {
                DaemonEvent::Up { daemon, incarnation, adopted } => up.insert(daemon, (incarnation, adopted)),
                DaemonEvent::Down { daemon } => up.remove(&daemon),
            };
        }
        up
    }

    async fn end(mut self) {
        self.stop.cancel();
        (&mut self.task).await.unwrap();
    }
}

/// The supervisor of a failed test must not restart the daemons.
impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

fn sigkill(incarnation: Incarnation) {
    kill(Pid::from_raw(incarnation.pid.try_into().unwrap()), Signal::SIGKILL).unwrap();
}

/// Whether it runs: a zombie that init has not reaped yet does not.
fn is_running(incarnation: Incarnation) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", incarnation.pid)).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, fields)| !fields.starts_with('Z'))
}

fn shell(script: &str) -> String {
    let output = Command::new("sh").args(["-ec", script]).output().unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn daemons_start_and_reply_until_stop_all_removes_them() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("start");
    let begin = Instant::now();
    let mut supervisor = router.supervise().await;
    eprintln!("all daemons reply after {} ms", begin.elapsed().as_millis());
    assert!(ready(&router.0, &supervisor.all).await);
    let up = supervisor.all_up().await;
    assert!(up.values().all(|(_, adopted)| !adopted));
    let inode = |path: &Path| fs::metadata(path).unwrap().ino();
    for (incarnation, _) in up.values() {
        let pid = incarnation.pid;
        assert_eq!(inode(&PathBuf::from(format!("/proc/{pid}/ns/net"))), inode(router.0.router_netns()));
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
        let [soft, hard] = [0, 1].map(|field| files.split_whitespace().nth(field).unwrap().parse::<u64>().unwrap());
        // Without CAP_SYS_RESOURCE the limit cannot be raised above the hard limit.
        assert!(soft >= hard.min(65536), "{files}");
    }
    supervisor.end().await;
    assert!(ready(&router.0, &up.keys().copied().collect::<Vec<_>>()).await, "the daemons exited with the supervisor");

    let red: VrfName = "red".parse().unwrap();
    netns::create_vrf(&router.0, &red).unwrap();
    daemons::stop_all(&router.0).await.unwrap();
    netns::remove_all(&router.0).unwrap();
    for (incarnation, _) in up.values() {
        assert!(!is_running(*incarnation));
    }
    let remaining: Vec<_> = fs::read_dir(router.0.dir()).unwrap().collect();
    assert!(remaining.is_empty(), "{remaining:?}");
    assert!(!router.0.router_netns().exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(router.0.dir().to_str().unwrap()), "{mounts}");
    daemons::stop_all(&router.0).await.unwrap();
}

/// FRR's programs with one that is replaced.
fn frr_with(daemon: Daemon, script: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(FRR_DIR).unwrap() {
        let path = entry.unwrap().path();
        std::os::unix::fs::symlink(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    let program = dir.path().join(daemon.name());
    fs::remove_file(&program).unwrap();
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

/// The loop of the supervisor starts the others, restarts them at once, and keeps trying with growing pauses.
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_in_a_crash_loop_delays_no_other() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("loop");
    let dir = frr_with(Daemon::Staticd, "#!/bin/sh\necho started >>$0.starts\necho broken >&2\nexit 3\n");
    let mut daemons = Daemons::new(router.0.clone(), VrfMode::Netns, dir.path()).await.unwrap();
    let begin = Instant::now();
    daemons.ensure().await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    let answering: Vec<_> = daemons.daemons().iter().copied().filter(|daemon| *daemon != Daemon::Staticd).collect();
    assert!(ready(&router.0, &answering).await);
    let (events, receiver) = mpsc::channel(16);
    let stop = CancellationToken::new();
    let task = tokio::spawn(daemons.supervise(events, stop.clone()));
    let mut supervisor = Supervisor { all: answering, receiver, stop, task };
    let before = supervisor.all_up().await;
    for _ in 0..3 {
        let begin = Instant::now();
        kill(Pid::from_raw(router.pid(Daemon::Bgpd).try_into().unwrap()), Signal::SIGKILL).unwrap();
        while supervisor.event().await != (DaemonEvent::Down { daemon: Daemon::Bgpd }) {}
        while !matches!(supervisor.event().await, DaemonEvent::Up { daemon: Daemon::Bgpd, .. }) {}
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        eprintln!("bgpd is up beside a crash loop after {} ms", begin.elapsed().as_millis());
    }
    assert_ne!(router.pid(Daemon::Bgpd), before[&Daemon::Bgpd].0.pid);
    let starts = fs::read_to_string(dir.path().join("staticd.starts")).unwrap().lines().count();
    assert!((4..=14).contains(&starts), "{starts} starts");
    supervisor.end().await;
}

/// Each time the daemons are back at once: back-off is for those that do not start.
#[tokio::test(flavor = "multi_thread")]
async fn all_daemons_killed_at_once_are_up_in_three_seconds() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("all");
    let mut supervisor = router.supervise().await;
    let mut before = supervisor.all_up().await;
    for _ in 0..3 {
        let begin = Instant::now();
        for (incarnation, _) in before.values() {
            sigkill(*incarnation);
        }
        for _ in 0..before.len() {
            assert!(matches!(supervisor.event().await, DaemonEvent::Down { .. }));
        }
        before = supervisor.all_up().await;
        eprintln!("all daemons are up again after {} ms", begin.elapsed().as_millis());
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
        assert!(ready(&router.0, &supervisor.all).await);
    }
    supervisor.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bgpd_killed_while_zebra_restarts_is_up_in_four_seconds() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("both");
    let mut supervisor = router.supervise().await;
    supervisor.all_up().await;
    for delay in [0, 50, 100, 200, 400] {
        router.vty(Daemon::Bgpd, &["enable", "conf t", "router bgp 1"]);
        let [zebra, bgpd] = [Daemon::Zebra, Daemon::Bgpd].map(|daemon| router.pid(daemon));
        let begin = Instant::now();
        kill(Pid::from_raw(zebra.try_into().unwrap()), Signal::SIGKILL).unwrap();
        sleep(Duration::from_millis(delay)).await;
        kill(Pid::from_raw(bgpd.try_into().unwrap()), Signal::SIGKILL).unwrap();
        let is_new = |daemon, pid: &str| {
            let text = fs::read_to_string(router.0.pid_file(daemon)).unwrap_or_default();
            !text.trim().is_empty() && text.trim() != pid
        };
        let (zebra, bgpd) = (zebra.to_string(), bgpd.to_string());
        while !is_new(Daemon::Zebra, &zebra) || !is_new(Daemon::Bgpd, &bgpd) || !ready(&router.0, &supervisor.all).await
        {
            assert!(begin.elapsed() < Duration::from_secs(4), "{delay} ms");
            sleep(Duration::from_millis(10)).await;
            while supervisor.receiver.try_recv().is_ok() {}
        }
        eprintln!("zebra, and bgpd {delay} ms later: up again after {} ms", begin.elapsed().as_millis());
    }
    supervisor.end().await;
}

/// zebra crashes at different moments of the ten seconds in which bgpd of FRR 8 connects to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bgpd_that_connects_to_zebra_survives_another_crash_of_zebra() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("again");
    let mut supervisor = router.supervise().await;
    let before = supervisor.all_up().await;
    let red: VrfName = "red".parse().unwrap();
    netns::create_vrf(&router.0, &red).unwrap();
    netns::expose_vrf(&router.0, &red).unwrap();
    router.await_in_zebra("show vrf", "vrf red id").await;
    router.vty(Daemon::Bgpd, &["enable", "conf t", "router bgp 1", "exit", "router bgp 1 vrf red"]);
    let is_connected = || {
        UnixStream::connect(router.0.vty_socket(Daemon::Zebra)).is_ok()
            && router.vty(Daemon::Zebra, &["enable", "show zebra client summary"]).contains("\nbgp ")
    };
    for delay in [0, 30, 100, 300, 1000, 3000, 6000, 9500, 10_000, 10_200] {
        let zebra = router.pid(Daemon::Zebra);
        kill(Pid::from_raw(zebra.try_into().unwrap()), Signal::SIGKILL).unwrap();
        let is_new = |text: String| text.trim().parse::<u32>().is_ok_and(|pid| pid != zebra);
        while !fs::read_to_string(router.0.pid_file(Daemon::Zebra)).is_ok_and(is_new) {
            sleep(Duration::from_millis(5)).await;
            while supervisor.receiver.try_recv().is_ok() {}
        }
        sleep(Duration::from_millis(delay)).await;
        while supervisor.receiver.try_recv().is_ok() {}
        assert_eq!(router.pid(Daemon::Bgpd), before[&Daemon::Bgpd].0.pid, "{delay} ms");
    }
    let begin = Instant::now();
    while !ready(&router.0, &supervisor.all).await || !is_connected() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(100)).await;
        while supervisor.receiver.try_recv().is_ok() {}
    }
    assert!(is_running(before[&Daemon::Bgpd].0));
    supervisor.end().await;
}

#[rstest]
#[case::stopped("stopped")]
#[case::without_socket("socket")]
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_does_not_answer_for_ten_seconds_is_restarted(#[case] fault: &str) {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new(fault);
    let mut supervisor = router.supervise().await;
    let before = supervisor.all_up().await;
    let bfdd = before[&Daemon::Bfdd].0;
    let begin = Instant::now();
    if fault == "stopped" {
        kill(Pid::from_raw(bfdd.pid.try_into().unwrap()), Signal::SIGSTOP).unwrap();
    } else {
        fs::remove_file(router.0.vty_socket(Daemon::Bfdd)).unwrap();
    }
    let event = timeout(Duration::from_secs(20), supervisor.receiver.recv()).await.unwrap();
    assert_eq!(event, Some(DaemonEvent::Down { daemon: Daemon::Bfdd }));
    eprintln!("bfdd is killed after {:?}", begin.elapsed());
    assert!(begin.elapsed() > Duration::from_secs(9));
    let DaemonEvent::Up { daemon, incarnation, .. } = supervisor.event().await else { panic!() };
    assert_eq!((daemon, incarnation == bfdd), (Daemon::Bfdd, false));
    assert!(ready(&router.0, &supervisor.all).await);
    supervisor.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_namespace_that_was_unbound_is_bound_again() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("netns");
    let inode = || fs::metadata(router.0.router_netns()).map(|metadata| metadata.ino()).ok();
    let mut supervisor = router.supervise().await;
    let before = (supervisor.all_up().await, inode());
    let name = router.0.router_netns_name().to_str().unwrap();
    let begin = Instant::now();
    // `ip netns del` unmounts, then deletes the file: perouter may have bound the namespace again in between.
    shell(&format!("umount -l /run/netns/{name}"));
    while inode() != before.1 {
        assert!(begin.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(20)).await;
    }
    eprintln!("the namespace is bound again after {} ms", begin.elapsed().as_millis());
    supervisor.end().await;
    // While nobody watches: it is bound again by the next start, and what ran is adopted.
    shell(&format!("ip netns del {name}"));
    let mut second = router.supervise().await;
    let after: BTreeMap<_, _> =
        second.all_up().await.into_iter().map(|(daemon, (run, _))| (daemon, (run, false))).collect();
    assert_eq!((after, inode()), before);
    second.end().await;
    // A namespace of somebody else of that name: nothing is changed.
    shell(&format!("ip netns del {name}; ip netns add {name}"));
    let error = router.daemons().await.ensure().await.unwrap_err();
    assert!(matches!(error, DaemonError::OtherNetns { .. }), "{error:?}");
    assert!(before.0.values().all(|(incarnation, _)| is_running(*incarnation)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_pid_file_is_lost_is_adopted() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("pidfile");
    let mut first = router.supervise().await;
    let before = first.all_up().await;
    first.end().await;
    fs::remove_file(router.0.pid_file(Daemon::Bgpd)).unwrap();
    fs::write(router.0.pid_file(Daemon::Zebra), "1\n").unwrap();
    let mut second = router.supervise().await;
    for (daemon, (incarnation, adopted)) in second.all_up().await {
        assert_eq!((incarnation, adopted), (before[&daemon].0, true), "{daemon}");
    }
    second.end().await;
}

/// The links inside cannot be reached, and are in the way of new ones until FRR lets go of them.
#[tokio::test(flavor = "multi_thread")]
async fn frr_is_restarted_where_the_namespace_of_an_ip_vrf_was_lost_while_nobody_watched() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("lostvrf");
    let mut first = router.supervise().await;
    let before = first.all_up().await;
    let red: VrfName = "red".parse().unwrap();
    netns::create_vrf(&router.0, &red).unwrap();
    netns::expose_vrf(&router.0, &red).unwrap();
    router.await_in_zebra("show vrf", "vrf red id").await;
    let path = router.0.vrf_netns(&red).display().to_string();
    shell(&format!(
        "nsenter --net={path} ip link add canary type veth peer name pdmn-canary netns {}",
        std::process::id()
    ));
    let canary = || Command::new("ip").args(["link", "show", "pdmn-canary"]).output().unwrap().status.success();
    assert!(canary());
    first.end().await;
    shell(&format!("umount -l {path}"));
    let mut second = router.supervise().await;
    for (daemon, (incarnation, _)) in second.all_up().await {
        assert_ne!(incarnation, before[&daemon].0, "{daemon}");
    }
    let begin = Instant::now();
    while canary() {
        assert!(begin.elapsed() < Duration::from_secs(10), "something still references the namespace");
        sleep(Duration::from_millis(50)).await;
    }
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_bfdd_is_restarted_alone() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("bfdd");
    let mut supervisor = router.supervise().await;
    let before = supervisor.all_up().await;
    let begin = Instant::now();
    sigkill(before[&Daemon::Bfdd].0);
    assert_eq!(supervisor.event().await, DaemonEvent::Down { daemon: Daemon::Bfdd });
    let DaemonEvent::Up { daemon, incarnation, adopted } = supervisor.event().await else { unreachable!() };
    eprintln!("bfdd is up again after {} ms", begin.elapsed().as_millis());
    assert_eq!((daemon, adopted), (Daemon::Bfdd, false));
    assert_ne!(incarnation, before[&Daemon::Bfdd].0);
    assert!(ready(&router.0, &supervisor.all).await);
    for daemon in [Daemon::Zebra, Daemon::Bgpd, Daemon::Staticd] {
        assert_eq!(router.pid(daemon), before[&daemon].0.pid);
    }
    supervisor.end().await;
}

/// The peer's 300 routes stay in the kernel of the restarting side. The peer, by FRR's default a graceful restart
/// helper, keeps the other side's routes only with graceful restart (RFC 4724).
#[rstest]
#[case("gr", true)]
#[case("nogr", false)]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_bgpd_is_restarted_and_no_route_is_removed(#[case] name: &str, #[case] graceful_restart: bool) {
    if !is_root() {
        return;
    }
    let (restarting, peer) = (ScratchRouter::new(name), ScratchRouter::new(&format!("{name}-peer")));
    let mut supervisor = restarting.supervise().await;
    let before = supervisor.all_up().await;
    let peer_supervisor = peer.supervise().await;
    let path = |router: &ScratchRouter| router.0.router_netns().display().to_string();
    let (local, remote) = (path(&restarting), path(&peer));
    shell(&format!(
        "nsenter --net={local} ip link add ea type veth peer name eb netns {}
         nsenter --net={local} ip addr add 10.1.0.1/24 dev ea; nsenter --net={local} ip link set ea up
         nsenter --net={remote} ip addr add 10.1.0.2/24 dev eb; nsenter --net={remote} ip link set eb up",
        peer.0.router_netns_name().to_str().unwrap()
    ));
    let bgp = |router: &ScratchRouter, asn: u32, address: &str, networks: u8| {
        let fixed = [
            format!("router bgp {asn}"),
            "no bgp ebgp-requires-policy".into(),
            "no bgp network import-check".into(),
            format!("neighbor {address} remote-as external"),
            format!("neighbor {address} timers connect 1"),
        ];
        let restart = ["bgp graceful-restart", "bgp graceful-restart preserve-fw-state"].map(String::from);
        let restart = restart.into_iter().filter(|_| asn == 1 && graceful_restart);
        let family = "address-family ipv4 unicast".to_owned();
        let networks = (0..networks).flat_map(|i| [1, 2].map(|j| format!("network 99.{asn}.{i}.{j}/32")));
        let lines = ["enable".to_owned(), "conf t".to_owned()].into_iter().chain(fixed).chain(restart);
        let lines: Vec<_> = lines.chain([family]).chain(networks).collect();
        router.vty(Daemon::Bgpd, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    };
    bgp(&restarting, 1, "10.1.0.2", 1);
    bgp(&peer, 2, "10.1.0.1", 150);
    let routes = |path: &str| shell(&format!("nsenter --net={path} ip route show proto bgp")).lines().count();
    let exchanged = || (routes(&local), routes(&remote)) == (300, 2);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !exchanged() {
        assert!(Instant::now() < deadline, "{} {}", routes(&local), routes(&remote));
        sleep(Duration::from_millis(50)).await;
    }
    let monitors: Vec<_> =
        [&local, &remote].into_iter().take(1 + usize::from(graceful_restart)).map(|p| monitor(p)).collect();
    sleep(Duration::from_millis(200)).await;

    let begin = Instant::now();
    sigkill(before[&Daemon::Bgpd].0);
    assert_eq!(supervisor.event().await, DaemonEvent::Down { daemon: Daemon::Bgpd });
    supervisor.all_up().await;
    eprintln!("bgpd and its dependants are up again after {} ms", begin.elapsed().as_millis());
    bgp(&restarting, 1, "10.1.0.2", 1);
    while !restarting.vty(Daemon::Bgpd, &["show bgp summary json"]).contains("\"pfxRcd\":300") {
        assert!(begin.elapsed() < Duration::from_secs(5));
        sleep(Duration::from_millis(20)).await;
    }
    eprintln!("bgpd has its routes after {} ms", begin.elapsed().as_millis());
    sleep(Duration::from_secs(3)).await;
    assert!(exchanged());
    for monitor in monitors {
        assert_eq!(deletions(monitor), Vec::<String>::new());
    }
    supervisor.end().await;
    peer_supervisor.end().await;
}

/// Monitors the routes of a namespace.
fn monitor(netns: &str) -> Child {
    let mut command = Command::new("nsenter");
    command.args([&format!("--net={netns}"), "ip", "monitor", "route"]);
    command.stdout(Stdio::piped()).spawn().unwrap()
}

fn deletions(mut monitor: Child) -> Vec<String> {
    monitor.kill().unwrap();
    let output = String::from_utf8(monitor.wait_with_output().unwrap().stdout).unwrap();
    output.lines().filter(|line| line.starts_with("Deleted")).map(ToOwned::to_owned).collect()
}

/// Routes in the default VRF and in an IP-VRF stay in the kernel, also when they are configured again: `ip monitor`
/// shows no deletion.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_zebra_is_restarted_with_its_dependants_and_no_route_is_removed() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("zebra");
    let mut supervisor = router.supervise().await;
    let before = supervisor.all_up().await;
    let red: VrfName = "red".parse().unwrap();
    netns::create_vrf(&router.0, &red).unwrap();
    netns::expose_vrf(&router.0, &red).unwrap();
    router.await_in_zebra("show vrf", "vrf red id").await;
    let namespaces = [router.0.router_netns().to_owned(), router.0.vrf_netns(&red)].map(|p| p.display().to_string());
    for path in &namespaces {
        shell(&format!(
            "nsenter --net={path} sh -ec 'ip link set lo up; ip link add v0 type veth peer name v1; \
             ip addr add 10.9.0.1/24 dev v0; ip link set v0 up; ip link set v1 up'"
        ));
    }
    router.await_in_zebra("show ip route vrf red", "10.9.0.0/24").await;
    let configure = || {
        let lines = ["enable", "conf t", "ip route 99.0.0.0/24 10.9.0.2", "vrf red", "ip route 99.0.0.0/24 10.9.0.2"];
        router.vty(Daemon::Staticd, &lines);
    };
    configure();
    router.await_in_zebra("show ip route vrf all", "VRF red:").await;
    let installed = || namespaces.iter().all(|p| shell(&format!("nsenter --net={p} ip route")).contains("99.0.0.0/24"));
    let deadline = Instant::now() + Duration::from_secs(5);
    while !installed() {
        assert!(Instant::now() < deadline, "{}", router.vty(Daemon::Zebra, &["show ip route vrf all"]));
        sleep(Duration::from_millis(20)).await;
    }
    let monitors = namespaces.clone().map(|path| monitor(&path));
    sleep(Duration::from_millis(200)).await;

    let begin = Instant::now();
    sigkill(before[&Daemon::Zebra].0);
    assert_eq!(supervisor.event().await, DaemonEvent::Down { daemon: Daemon::Zebra });
    let after = supervisor.all_up().await;
    eprintln!("zebra and its dependants are up again after {} ms", begin.elapsed().as_millis());
    assert!(begin.elapsed() < Duration::from_secs(5));
    for (daemon, (incarnation, adopted)) in &after {
        assert!(!adopted && *incarnation != before[daemon].0, "{daemon}");
    }
    configure();
    router.await_in_zebra("show ip route vrf red", "S>* 99.0.0.0/24").await;
    sleep(Duration::from_secs(2)).await;
    assert!(installed());
    for monitor in monitors {
        assert_eq!(deletions(monitor), Vec::<String>::new());
    }
    supervisor.end().await;
}

/// bgpd of FRR 8 reconnects to a restarted zebra after 10 s.
#[tokio::test(flavor = "multi_thread")]
async fn a_bgpd_that_survived_a_zebra_crash_is_adopted() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("survive");
    let mut first = router.supervise().await;
    let before = first.all_up().await;
    router.vty(Daemon::Bgpd, &["enable", "conf t", "router bgp 1"]);
    sigkill(before[&Daemon::Zebra].0);
    let begin = Instant::now();
    while !router.0.vty_socket(Daemon::Zebra).exists()
        || router.pid(Daemon::Zebra) == before[&Daemon::Zebra].0.pid
        || !ready(&router.0, &first.all).await
        || !router.vty(Daemon::Zebra, &["enable", "show zebra client summary"]).contains("\nbgp ")
    {
        let clients = || router.vty(Daemon::Zebra, &["enable", "show zebra client summary"]);
        assert!(begin.elapsed() < Duration::from_secs(15), "{}", clients());
        sleep(Duration::from_millis(50)).await;
    }
    eprintln!("bgpd is connected to the new zebra after {} ms", begin.elapsed().as_millis());
    first.end().await;
    let mut second = router.supervise().await;
    for (daemon, (incarnation, adopted)) in second.all_up().await {
        assert!(adopted, "{daemon}");
        assert_eq!(daemon == Daemon::Bgpd, incarnation == before[&daemon].0, "{daemon}");
    }
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_supervisor_adopts_the_daemons_and_detects_their_exit() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("adopt");
    let mut first = router.supervise().await;
    let before = first.all_up().await;
    first.end().await;
    let begin = Instant::now();
    let mut second = router.supervise().await;
    eprintln!("all daemons are adopted after {} ms", begin.elapsed().as_millis());
    let after = second.all_up().await;
    for (daemon, (incarnation, adopted)) in &after {
        assert!(adopted, "{daemon}");
        assert_eq!(*incarnation, before[daemon].0);
    }
    sigkill(after[&Daemon::Bfdd].0);
    assert_eq!(second.event().await, DaemonEvent::Down { daemon: Daemon::Bfdd });
    assert!(matches!(second.event().await, DaemonEvent::Up { daemon: Daemon::Bfdd, adopted: false, .. }));
    second.end().await;
}

/// FRR was replaced by another version, without an exit: zebra is the first that is killed, so that no route is removed.
#[tokio::test(flavor = "multi_thread")]
async fn daemons_of_another_frr_are_restarted_and_no_route_is_removed() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("upgrade");
    let mut first = router.supervise().await;
    let before = first.all_up().await;
    first.end().await;
    let netns = router.0.router_netns().display().to_string();
    shell(&format!(
        "nsenter --net={netns} ip link add ea type veth peer name eb
         nsenter --net={netns} ip addr add 10.1.0.1/24 dev ea
         nsenter --net={netns} ip link set ea up; nsenter --net={netns} ip link set eb up"
    ));
    router.vty(Daemon::Staticd, &["enable", "configure terminal", "ip route 10.2.0.0/24 10.1.0.2"]);
    let routes = || shell(&format!("nsenter --net={netns} ip route show 10.2.0.0/24"));
    let deadline = Instant::now() + Duration::from_secs(5);
    while routes().is_empty() {
        assert!(Instant::now() < deadline, "zebra has not installed the static route");
        sleep(Duration::from_millis(20)).await;
    }
    let monitor = monitor(&netns);
    let script =
        format!("#!/bin/sh\n[ \"$1\" != --version ] || exec echo zebra version 8.4.99\nexec {FRR_DIR}/zebra \"$@\"\n");
    let dir = frr_with(Daemon::Zebra, &script);
    let mut daemons = Daemons::new(router.0.clone(), VrfMode::Netns, dir.path()).await.unwrap();
    daemons.ensure().await.unwrap();
    for (daemon, (incarnation, _)) in before {
        assert!(!is_running(incarnation), "{daemon}");
        assert_ne!(router.pid(daemon), incarnation.pid);
    }
    assert_eq!(deletions(monitor), Vec::<String>::new());
    assert_ne!(routes(), "");
}

/// Each image has its own user id for FRR, and the run directory outlives the container.
#[tokio::test(flavor = "multi_thread")]
async fn the_directory_of_another_frr_user_is_replaced() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("user");
    let dir = router.0.frr_dir();
    fs::create_dir_all(&dir).unwrap();
    std::os::unix::fs::chown(&dir, Some(12345), Some(12345)).unwrap();
    fs::write(dir.join("zebra.vty"), "").unwrap();
    let mut supervisor = router.supervise().await;
    supervisor.all_up().await;
    assert_ne!(fs::metadata(&dir).unwrap().uid(), 12345);
    supervisor.end().await;
}

/// zebra was killed without a supervisor: its dependants are connected to a process that no longer exists.
#[tokio::test(flavor = "multi_thread")]
async fn dependants_of_an_earlier_zebra_are_not_adopted() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("order");
    let mut first = router.supervise().await;
    let before = first.all_up().await;
    first.end().await;
    sigkill(before[&Daemon::Zebra].0);
    let mut second = router.supervise().await;
    for (daemon, (incarnation, adopted)) in second.all_up().await {
        assert!(!adopted && incarnation != before[&daemon].0, "{daemon}");
    }
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mode_of_a_running_zebra_does_not_change() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("mode");
    let mut first = router.supervise().await;
    let before = first.all_up().await;
    first.end().await;
    let mut other = Daemons::new(router.0.clone(), VrfMode::Vrf, FRR_DIR).await.unwrap();
    let error = other.ensure().await.unwrap_err();
    assert!(matches!(error, DaemonError::OtherMode { running: VrfMode::Netns, wanted: VrfMode::Vrf, .. }));
    assert!(error.to_string().contains("perouter cleanup"), "{error}");
    assert_eq!(router.pid(Daemon::Zebra), before[&Daemon::Zebra].0.pid);
    daemons::stop_all(&router.0).await.unwrap();
    other.ensure().await.unwrap();
    assert!(router.vty(Daemon::Zebra, &["show version"]).contains("FRRouting"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_hangs_is_killed() {
    if !is_root() {
        return;
    }
    let router = ScratchRouter::new("hang");
    let mut supervisor = router.supervise().await;
    let zebra = supervisor.all_up().await[&Daemon::Zebra].0;
    supervisor.end().await;
    kill(Pid::from_raw(zebra.pid.try_into().unwrap()), Signal::SIGSTOP).unwrap();
    assert!(!ready(&router.0, &[Daemon::Zebra]).await);
    let begin = Instant::now();
    daemons::stop_all(&router.0).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(6));
    assert!(!is_running(zebra));
}

/// With `/` private, as in a container, and shared, as systemd has it.
#[rstest]
#[case("private", MsFlags::MS_PRIVATE)]
#[case("shared", MsFlags::MS_SHARED)]
fn zebra_detects_namespaces_of_perouter_immediately_and_no_others(
    #[case] name: &'static str,
    #[case] propagation: MsFlags,
) {
    if !is_root() {
        return;
    }
    // On a thread with a mount namespace of its own, which its threads and processes inherit.
    let test = move || {
        unshare(CloneFlags::CLONE_FS | CloneFlags::CLONE_NEWNS).unwrap();
        let set = |flags| mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | flags, None::<&str>).unwrap();
        set(MsFlags::MS_PRIVATE);
        set(propagation);
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio.block_on(assert_zebra_detects_namespaces(&format!("detect-{name}")));
    };
    thread::spawn(test).join().unwrap();
}

async fn assert_zebra_detects_namespaces(name: &str) {
    let router = ScratchRouter::new(name);
    let supervisor = router.supervise().await;
    let foreign = ScratchRouter::new(&format!("{name}-other"));
    fs::create_dir(foreign.0.dir()).unwrap();
    netns::create(foreign.0.router_netns()).unwrap();
    for (index, vrf) in ["red", "blue", "green"].iter().enumerate() {
        let vrf: VrfName = vrf.parse().unwrap();
        netns::create_vrf(&router.0, &vrf).unwrap();
        netns::expose_vrf(&router.0, &vrf).unwrap();
        let active = format!("vrf {vrf} id {} netns {}", index + 1, router.0.vrf_netns(&vrf).display());
        let millis = router.await_in_zebra("show vrf", &active).await;
        eprintln!("{name}: {vrf} is active after {millis} ms");
        assert!(millis < 500);
    }
    let vrfs = router.vty(Daemon::Zebra, &["show vrf"]);
    assert_eq!(vrfs.lines().filter(|line| line.starts_with("vrf ")).count(), 3, "{vrfs}");
    let blue: VrfName = "blue".parse().unwrap();
    netns::remove_vrf(&router.0, &blue).unwrap();
    router.await_zebra("show vrf", |reply| !reply.contains("vrf blue ")).await;
    assert_eq!(netns::list_vrfs(&router.0).unwrap().len(), 2);
    assert!(!router.0.vrf_netns(&blue).exists());
    supervisor.end().await;
}
