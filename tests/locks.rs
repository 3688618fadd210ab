//! What a command that is rejected changes: nothing. The program with real FRR, in a router of its own on this machine. Needs
//! root and FRR.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test file")]

#[path = "frr/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::mount::MsFlags;
use perouter::runtime::{Daemon, Runtime};
use tempfile::TempDir;

use scratch::is_root;

/// A router without objects.
struct Router {
    runtime: Runtime,
    config: TempDir,
    running: Vec<Child>,
}

impl Router {
    fn new(test: &str) -> Self {
        Self { runtime: scratch::runtime(test), config: TempDir::new().unwrap(), running: vec![] }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_perouter"));
        let subcommand = words.first().unwrap();
        command.args(words).arg("--run-dir").arg(self.runtime.dir());
        command.args(["--netns".as_ref(), self.runtime.router_netns()]);
        if *subcommand != "cleanup" {
            command.args(["--vrf-mode", "netns"]);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).env("PEROUTER_LOG", "info");
        command
    }

    /// A subcommand that must exit by itself.
    fn output(&self, words: &[&str]) -> Output {
        self.command(words).output().unwrap()
    }

    fn config(&self) -> &str {
        self.config.path().to_str().unwrap()
    }

    fn start(&mut self, words: &[&str]) {
        let mut command = self.command(words);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.running.push(command.spawn().unwrap());
    }

    fn run(&mut self, index: &str) {
        let config = self.config().to_owned();
        self.start(&["run", "--config-dir", &config, "--node-index", index]);
    }

    fn pids(&self) -> BTreeMap<Daemon, u32> {
        scratch::pids(&self.runtime)
    }

    fn await_index(&self, index: &str) {
        until("the index", || fs::read_to_string(self.runtime.node_index()).is_ok_and(|text| text.trim() == index));
    }

    /// All that a rejected command could change: processes, and files with their contents.
    fn state(&self) -> (BTreeMap<Daemon, u32>, BTreeMap<PathBuf, Vec<u8>>) {
        let mut files = BTreeMap::new();
        collect(self.runtime.dir(), &mut files);
        (self.pids(), files)
    }

    fn stop(&mut self) {
        for mut child in self.running.drain(..) {
            let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
            child.wait().unwrap();
        }
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        let cleanup = self.output(&["cleanup"]);
        if !std::thread::panicking() {
            assert!(cleanup.status.success(), "{}", text(&cleanup));
        }
    }
}

/// Files of perouter but for the status: those of FRR change by themselves.
fn collect(dir: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let is_of_frr = ["frr", "log"].iter().any(|name| path.ends_with(name));
        if path.is_dir() && !is_of_frr {
            collect(&path, files);
        } else if path.is_file() && !path.ends_with("status.json") {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[track_caller]
fn until(what: &str, mut probe: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !probe() {
        assert!(Instant::now() < deadline, "{what}");
        sleep(Duration::from_millis(20));
    }
}

#[track_caller]
fn assert_rejected(output: &Output, message: &str) {
    assert!(!output.status.success() && text(output).contains(message), "{}", text(output));
}

#[test]
fn rejected_commands_beside_a_running_router_change_nothing() {
    if !is_root() {
        return;
    }
    let mut router = Router::new("second");
    router.run("0");
    router.await_index("0");
    until("a status", || router.runtime.status().exists());
    let before = router.state();
    assert_eq!(before.0.len(), 4 + usize::from(before.0.contains_key(&Daemon::Mgmtd)));
    let config = router.config().to_owned();
    let process = format!("process {} is the router in", router.running[0].id());
    let run = ["run", "--config-dir", &config, "--node-index", "0"];
    assert_rejected(&router.output(&run), &process);
    let other_netns = format!("{}-other", router.runtime.router_netns().display());
    assert_rejected(
        &router.output(&[&run[..], &["--netns", &other_netns]].concat()[..]),
        "cannot be used multiple times",
    );
    let mut elsewhere = Command::new(env!("CARGO_BIN_EXE_perouter"));
    elsewhere.args(run).args(["--vrf-mode", "vrf", "--netns", &other_netns, "--run-dir"]).arg(router.runtime.dir());
    assert!(!elsewhere.output().unwrap().status.success());
    assert!(!Path::new(&other_netns).exists());
    assert_rejected(&router.output(&["router"]), &process);
    let controller = ["controller", "--config-dir", &config, "--node-index", "0"];
    assert_rejected(&router.output(&controller), "is the controller in");
    assert_rejected(&router.output(&["cleanup"]), &process);
    assert_eq!(router.state(), before);
    router.stop();
    assert_eq!(router.pids(), before.0, "FRR stays");
}

#[test]
fn a_run_that_lacks_index_or_directory_starts_nothing() {
    if !is_root() {
        return;
    }
    let router = Router::new("lacks");
    let config = router.config().to_owned();
    assert_rejected(&router.output(&["run", "--config-dir", &config]), "no node index: set --node-index");
    let missing = format!("{config}/missing");
    assert_rejected(&router.output(&["run", "--config-dir", &missing, "--node-index", "0"]), &missing);
    assert_rejected(&router.output(&["controller", "--config-dir", &missing, "--node-index", "0"]), &missing);
    assert!(!router.runtime.dir().exists() && !router.runtime.router_netns().exists());
}

#[test]
fn another_index_than_that_of_the_router_needs_a_flag() {
    if !is_root() {
        return;
    }
    let mut router = Router::new("index");
    router.run("3");
    router.await_index("3");
    router.stop();
    let before = router.state();
    let config = router.config().to_owned();
    let other = ["run", "--config-dir", &config, "--node-index", "4"];
    assert_rejected(&router.output(&other), "the router of this node has index 3");
    assert_eq!(router.state(), before);
    router.start(&[&other[..], &["--change-node-index"]].concat());
    router.await_index("4");
    router.stop();
    assert_eq!(router.pids(), before.0);
}

/// As in a Pod: a volume in a root that may be read-only.
#[test]
fn cleanup_empties_a_run_directory_that_is_a_mount() {
    if !is_root() {
        return;
    }
    let tmpfs = |dir: &Path, flags| {
        nix::mount::mount(None::<&str>, dir, Some("tmpfs"), flags, Some("mode=755")).unwrap();
    };
    for root_flags in [MsFlags::empty(), MsFlags::MS_RDONLY] {
        let root = TempDir::new().unwrap();
        tmpfs(root.path(), MsFlags::empty());
        let dir = root.path().join("run");
        fs::create_dir(&dir).unwrap();
        tmpfs(&dir, MsFlags::empty());
        tmpfs(root.path(), MsFlags::MS_REMOUNT | root_flags);
        let mut router = Router::new("mount");
        router.runtime = Runtime::new(&dir, router.runtime.router_netns());
        router.run("0");
        until("a status", || router.runtime.status().exists());
        router.stop();
        let cleanup = router.output(&["cleanup"]);
        let left: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect();
        drop(router);
        nix::mount::umount(&dir).unwrap();
        nix::mount::umount(root.path()).unwrap();
        assert!(cleanup.status.success(), "{root_flags:?}: {}", text(&cleanup));
        assert_eq!(left, Vec::<PathBuf>::new());
    }
}
