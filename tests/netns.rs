//! Network namespaces on the real kernel. Needs root.

#![allow(clippy::unwrap_used, reason = "a test file")]

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use perouter::kernel::netns::{self, Creation};
use perouter::runtime::Runtime;
use perouter::types::VrfName;

/// False without root: then the test is skipped, which is an error where `CI=true`.
fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        eprintln!("skipped: network namespaces need root");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "CI must run this test as root");
    }
    root
}

/// A runtime of this test's own, removed at the end.
struct Scratch(Runtime);

impl Scratch {
    fn new(test: &str) -> Self {
        let name = format!("pdmn-{test}-{}", std::process::id());
        Self(Runtime::new(PathBuf::from("/run").join(&name), PathBuf::from("/run/netns").join(&name)))
    }
}

impl Drop for Scratch {
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
fn a_router_namespace_is_created_once_and_listed_by_ip_netns() {
    if !root() {
        return;
    }
    let scratch = Scratch::new("ns-router");
    let path = scratch.0.router_netns();
    assert_eq!(netns::create(path).unwrap(), Creation::Created);
    let made = inode(path);
    assert_eq!(netns::create(path).unwrap(), Creation::Adopted);
    assert_eq!(inode(path), made);
    let name = scratch.0.router_netns_name().to_str().unwrap();
    let list = Command::new("ip").args(["netns", "list"]).output().unwrap();
    assert!(String::from_utf8_lossy(&list.stdout).lines().any(|l| l.split(' ').next() == Some(name)));
    let exec = Command::new("ip").args(["netns", "exec", name, "cat", "/proc/net/dev"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&exec.stdout), interfaces(&netns::open(path).unwrap()));
    assert_ne!(made, inode(Path::new("/proc/self/ns/net")), "the process does not change its namespace");
    netns::remove(path).unwrap();
    assert!(!path.exists());
    netns::remove(path).unwrap();
}

#[test]
fn the_file_of_an_interrupted_creation_is_no_namespace_and_is_used() {
    if !root() {
        return;
    }
    let scratch = Scratch::new("ns-half");
    let path = scratch.0.router_netns();
    netns::share(path.parent().unwrap()).unwrap();
    fs::write(path, "").unwrap();
    assert!(!netns::is_netns(path).unwrap());
    assert!(matches!(netns::open(path), Err(netns::NetnsError::NotNetns(_))));
    assert_eq!(netns::create(path).unwrap(), Creation::Created);
    assert!(netns::is_netns(path).unwrap());
}

#[test]
fn settings_are_those_of_the_namespace() {
    if !root() {
        return;
    }
    let scratch = Scratch::new("ns-sysctl");
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
fn namespaces_of_ip_vrfs_are_listed_exposed_and_removed() {
    if !root() {
        return;
    }
    let scratch = Scratch::new("ns-vrf");
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
fn a_panic_inside_is_an_error_outside() {
    if !root() {
        return;
    }
    let host = netns::open_host().unwrap();
    let result: Result<(), _> = netns::in_netns(&host, || panic!("inside"));
    assert!(matches!(result, Err(netns::NetnsError::Panicked)));
}

#[test]
fn vrf_devices_are_found_as_ip_finds_them() {
    if !root() {
        return;
    }
    let script = "ip link add probe type vrf table 7";
    let made = Command::new("unshare").args(["-n", "sh", "-c", script]).output().unwrap();
    assert_eq!(perouter::kernel::vrf_device::supported().unwrap(), made.status.success());
}
