//! Network namespaces on the real kernel. Needs root.

#![allow(clippy::unwrap_used, reason = "a test file")]

#[path = "frr/scratch.rs"]
mod scratch;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use perouter::kernel::netns::{self, Creation};
use perouter::runtime::Runtime;
use perouter::types::VrfName;

use scratch::is_root;

/// The run directory and namespaces of one test, removed at the end.
struct ScratchRuntime(Runtime);

impl ScratchRuntime {
    fn new(test: &str) -> Self {
        Self(scratch::runtime(test))
    }
}

impl Drop for ScratchRuntime {
    fn drop(&mut self) {
        let _ = netns::remove(self.0.router_netns());
        let _ = netns::unshare_dir(&self.0.vrf_netns_dir());
        let _ = fs::remove_dir_all(self.0.dir());
    }
}

fn inode(path: &Path) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn interfaces(file: &File) -> String {
    netns::in_netns(file, || fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap()
}

#[test]
fn a_router_namespace_is_created_once_and_visible_to_ip_netns() {
    if !is_root() {
        return;
    }
    let scratch = ScratchRuntime::new("ns-router");
    let path = scratch.0.router_netns();
    assert_eq!(netns::create(path).unwrap(), Creation::Created);
    let created = inode(path);
    assert_eq!(netns::create(path).unwrap(), Creation::Adopted);
    assert_eq!(inode(path), created);
    let name = scratch.0.router_netns_name().to_str().unwrap();
    let list = Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).lines().any(|l| l.split(' ').next() == Some(name)));
    let exec = Command::new("ip").args(["netns", "exec", name, "cat", "/proc/net/dev"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&exec.stdout), interfaces(&netns::open(path).unwrap()));
    assert_ne!(created, inode(Path::new("/proc/self/ns/net")), "the process changed its namespace");
    netns::remove(path).unwrap();
    assert!(!path.exists());
    netns::remove(path).unwrap();
}

#[test]
fn a_file_without_a_namespace_mount_is_completed() {
    if !is_root() {
        return;
    }
    let scratch = ScratchRuntime::new("ns-file");
    let path = scratch.0.router_netns();
    netns::share(path.parent().unwrap()).unwrap();
    fs::write(path, "").unwrap();
    assert!(!netns::is_netns(path).unwrap());
    assert!(matches!(netns::open(path), Err(netns::NetnsError::NotNetns(_))));
    assert_eq!(netns::create(path).unwrap(), Creation::Created);
    assert!(netns::is_netns(path).unwrap());
}

#[test]
fn sysctls_are_read_and_written_in_the_given_namespace() {
    if !is_root() {
        return;
    }
    let scratch = ScratchRuntime::new("ns-sysctl");
    netns::create(scratch.0.router_netns()).unwrap();
    let router = netns::open(scratch.0.router_netns()).unwrap();
    let host = netns::open_host().unwrap();
    let key = "net/ipv4/conf/default/arp_ignore";
    let before = netns::read_sysctl(&host, key).unwrap();
    netns::write_sysctl(&router, key, "7").unwrap();
    assert_eq!(netns::read_sysctl(&router, key).unwrap().as_deref(), Some("7"));
    assert_eq!(netns::read_sysctl(&host, key).unwrap(), before);
    assert_eq!(netns::read_sysctl(&router, "net/ipv4/no_such_setting").unwrap(), None);
}

#[test]
fn namespaces_of_ip_vrfs_are_listed_shown_to_zebra_and_removed() {
    if !is_root() {
        return;
    }
    let scratch = ScratchRuntime::new("ns-vrf");
    let [blue, red]: [VrfName; 2] = ["blue", "red"].map(|n| n.parse().unwrap());
    let listed = || netns::list_vrfs(&scratch.0).unwrap().into_keys().collect::<Vec<_>>();
    assert_eq!(listed(), []);
    for vrf in [&red, &blue] {
        assert_eq!(netns::create_vrf(&scratch.0, vrf).unwrap(), Creation::Created);
    }
    assert_eq!(listed(), [blue.clone(), red.clone()]);
    assert!(!scratch.0.zebra_netns(&red).exists());
    netns::expose_vrf(&scratch.0, &red).unwrap();
    netns::expose_vrf(&scratch.0, &red).unwrap();
    assert!(netns::is_netns(&scratch.0.zebra_netns(&red)).unwrap());
    netns::remove_vrf(&scratch.0, &red).unwrap();
    netns::remove_vrf(&scratch.0, &red).unwrap();
    assert!(scratch.0.zebra_netns(&red).symlink_metadata().is_err());
    assert_eq!(listed(), [blue]);
    netns::unshare_dir(&scratch.0.vrf_netns_dir()).unwrap();
    assert!(!scratch.0.vrf_netns_dir().exists());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(scratch.0.dir().to_str().unwrap()), "{mounts}");
}

#[test]
fn a_panic_in_a_namespace_is_returned_as_an_error() {
    if !is_root() {
        return;
    }
    let host = netns::open_host().unwrap();
    let result: Result<(), _> = netns::in_netns(&host, || panic!("inside"));
    assert!(matches!(result, Err(netns::NetnsError::Panicked)));
}

#[test]
fn support_of_vrf_devices_is_detected_like_by_ip() {
    if !is_root() {
        return;
    }
    let script = "ip link add probe type vrf table 7";
    let added = Command::new("unshare").args(["-n", "sh", "-c", script]).output().unwrap();
    assert_eq!(perouter::kernel::vrf_device::supported().unwrap(), added.status.success());
}
