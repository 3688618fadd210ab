//! What tests with FRR or namespaces on this machine share: whether they can run, and names of their own.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use perouter::frr::daemons;
use perouter::kernel::netns;
use perouter::runtime::{Daemon, Runtime};

/// False without root: then the test is left out, which is an error with `CI=true`.
pub fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("left out: FRR in namespaces needs root");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test as root");
    }
    root
}

/// The run directory and the router namespace of one test.
pub fn runtime(test: &str) -> Runtime {
    let name = format!("pscr-{test}-{}", std::process::id());
    Runtime::new(PathBuf::from("/run").join(&name), PathBuf::from("/run/netns").join(&name))
}

/// The process ids in the pid files of FRR's daemons.
pub fn pids(runtime: &Runtime) -> BTreeMap<Daemon, u32> {
    let pid = |daemon| Some((daemon, fs::read_to_string(runtime.pid_file(daemon)).ok()?.trim().parse().ok()?));
    Daemon::ALL.into_iter().filter_map(pid).collect()
}

/// Stops FRR and removes all that the test has left.
pub async fn remove(runtime: &Runtime) {
    daemons::stop_all(runtime).await.unwrap();
    netns::remove_all(runtime).unwrap();
    fs::remove_dir_all(runtime.dir()).unwrap();
}
