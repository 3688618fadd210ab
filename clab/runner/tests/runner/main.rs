//! Labs on the real kernel with the real FRR. They need root; without it each test prints why it is skipped, and fails if
//! `CI=true`.

#![allow(clippy::unwrap_used, clippy::panic)] // every function here serves a test

mod fabric;
mod host_side;
mod node;
mod traces;

use perouter_lab::{Lab, LabName, ScopedLab, Topology, parse_topology};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// Whether the test can run. If not, prints why; with `CI=true` it panics.
fn can_run() -> bool {
    let missing = match (nix::unistd::geteuid().is_root(), perouter_lab::frr::installed(std::path::Path::new("/"))) {
        (false, _) => "root",
        (true, false) => "FRR",
        (true, true) => return true,
    };
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "this test needs {missing}");
    eprintln!("skipped: this test needs {missing}");
    false
}

/// A name that no other lab on the machine uses.
fn unused_name() -> LabName {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    LabName::new(&format!("labtest-{}-{count}", std::process::id())).unwrap()
}

fn crate_file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A topology of this text under an unused name; relative binds start at tests/topologies.
fn topology(text: &str) -> Topology {
    let mut topology = parse_topology(&crate_file("tests/topologies/inline.clab.yml"), text).unwrap();
    topology.lab = unused_name();
    topology
}

fn deploy(topology: &Topology) -> ScopedLab {
    let deployed = Lab::deploy(topology).map_err(anyhow::Error::from);
    deployed.unwrap_or_else(|error| panic!("{error:#}")).destroyed_on_drop()
}

/// Two plain nodes with a link.
const PAIR: &str = r#"
name: pair
topology:
  nodes:
    a:
      kind: ext-container
      exec: [ip address add 10.0.0.1/24 dev eth1]
    b:
      kind: ext-container
      exec: [ip address add 10.0.0.2/24 dev eth1]
  links:
    - endpoints: ["a:eth1", "b:eth1"]
"#;
