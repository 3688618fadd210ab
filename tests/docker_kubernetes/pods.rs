//! The Pods of a cluster as containers. In: images. Out: a lab whose Pods run them, and what the kernel says of their processes.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use perouter_lab::kubernetes::{ContainerImage, ContainerPod};
use perouter_lab::node::Node;

use crate::cluster_fixture::ClusterFixture;
use crate::lab::fixture::{SETTLE, Setup, until};

/// The image that `deploy/` names.
pub const DEPLOYED: &str = "perouter:dev";
/// The image of an earlier release.
pub const PREVIOUS: &str = "perouter:previous";
/// An image whose program exits at once.
pub const BROKEN: &str = "perouter:broken";
/// [`PREVIOUS`] with the FRR of Debian 13.
pub const OLDER_FRR: &str = "perouter:older-frr";
/// apt-get asks nothing about configuration files that the image does not have.
const INSTALL_OLDER_FRR: &str = "RUN apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y \
    --no-install-recommends --allow-downgrades -o Dpkg::Options::=--force-confold 'frr=10.3*' && rm -rf /var/lib/apt/lists/*";

/// A lab without perouter in which [`DEPLOYED`] is the image under test, if one is named, with these images besides.
pub fn cluster(name: &str, setup: &Setup, others: &[&str]) -> Option<ClusterFixture> {
    let Ok(image) = std::env::var("PEROUTER_IMAGE") else {
        let reason = "PEROUTER_IMAGE names no image: hack/test.sh docker builds one";
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test: {reason}");
        eprintln!("SKIPPED: {reason}");
        return None;
    };
    let export = |image: &str| ContainerImage::export(Path::new(env!("CARGO_MANIFEST_DIR")), image).unwrap();
    let mut images = BTreeMap::from([(DEPLOYED.to_owned(), export(&image))]);
    eprintln!("{}; the machine lacks {:?}", images[DEPLOYED].describe(), ContainerPod::missing_capabilities());
    let previous = std::env::var("PEROUTER_PREVIOUS_IMAGE");
    for other in others {
        let source = match (*other, &previous) {
            (PREVIOUS, Ok(previous)) => previous.clone(),
            (PREVIOUS, Err(_)) => variant(&image, other, "LABEL variant=previous"),
            (OLDER_FRR, _) => variant(previous.as_ref().unwrap_or(&image), other, INSTALL_OLDER_FRR),
            _ => variant(&image, other, "RUN printf '#!/bin/sh\\nexit 1\\n' >/usr/bin/perouter"),
        };
        images.insert((*other).to_owned(), export(&source));
    }
    ClusterFixture::without_router(name, setup, images)
}

/// Builds an image that differs by one instruction.
fn variant(image: &str, name: &str, instruction: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Dockerfile"), format!("FROM {image}\n{instruction}\n")).unwrap();
    let mut command = Command::new("docker");
    command
        .args(["build", "--quiet", "--network", "host", "--tag", name])
        .arg(folder.path())
        .env("DOCKER_BUILDKIT", "0");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    name.to_owned()
}

/// What the kernel says of a process.
#[derive(Debug, PartialEq, Eq)]
pub struct Confinement {
    pub capabilities: u64,
    pub no_new_privileges: bool,
    pub read_only_root: bool,
    /// Whether it has this namespace of its own.
    pub own: BTreeMap<&'static str, bool>,
}

/// The process of a node with this command line, by its id in the node. Children of it have the same until they start their program.
pub fn process(node: &Node, command_line: &str) -> String {
    until(&format!("a process {command_line}"), SETTLE, || {
        let pid = node.run(&["pgrep", "--oldest", "--full", &format!("^{command_line}")]).unwrap().stdout;
        (!pid.is_empty()).then(|| pid.trim().to_owned())
    })
}

/// How a process of a node is confined.
pub fn confinement(node: &Node, pid: &str) -> Confinement {
    let proc = |path: &str| node.file(format!("/proc/{pid}/{path}"));
    let status = std::fs::read_to_string(proc("status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).trim().to_owned()
    };
    let mounts = std::fs::read_to_string(proc("mounts")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    let options = root.split(' ').nth(3).unwrap();
    let namespace = |pid: &str, kind: &str| std::fs::read_link(node.file(format!("/proc/{pid}/ns/{kind}"))).unwrap();
    Confinement {
        capabilities: u64::from_str_radix(&field("CapBnd:"), 16).unwrap(),
        no_new_privileges: field("NoNewPrivs:") == "1",
        read_only_root: options.split(',').any(|option| option == "ro"),
        own: ["mnt", "net", "pid", "ipc"].map(|kind| (kind, namespace(pid, kind) != namespace("1", kind))).into(),
    }
}
