//! Nothing of a lab remains once it is destroyed.

use super::{PAIR, can_run, crate_file, deploy, topology, unused_name};
use perouter_lab::{Lab, LabError, LabName, Node, Topology, lab, read_topology, wait};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A process by its id and start time: ids are reused.
type Process = (String, String);

/// Everything on the machine that has the lab's name, and its remaining processes.
fn traces(name: &LabName, members: &BTreeSet<Process>) -> Vec<String> {
    let name = name.as_str();
    let mut traces = Vec::new();
    let mut lines_with_name = |what: &str, text: String| {
        let found = text.lines().filter(|line| line.contains(name));
        traces.extend(found.map(|line| format!("{what}: {line}")));
    };
    lines_with_name("mount", fs::read_to_string("/proc/self/mountinfo").unwrap());
    let list = Command::new("ip").args(["netns", "list"]).output().unwrap();
    lines_with_name("namespace", String::from_utf8(list.stdout).unwrap());
    for folder in ["/run", "/run/clab", "/run/netns", "/etc/netns", "/var/tmp", "/tmp", "/"] {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let paths: Vec<_> = entries.map(|entry| entry.path().display().to_string()).collect();
        lines_with_name("file", paths.join("\n"));
    }
    for process in processes() {
        if members.contains(&process) || cmdline(&process).contains(name) {
            traces.push(format!("process {}: {}", process.0, cmdline(&process)));
        }
    }
    traces
}

fn processes() -> BTreeSet<Process> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let numbers = names.filter(|name| name.parse::<u32>().is_ok());
    numbers.filter_map(|number| Some((number.clone(), start_time(&number)?))).collect()
}

/// Field 22 of /proc/PID/stat.
fn start_time(number: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(19).map(ToOwned::to_owned)
}

fn cmdline((number, _): &Process) -> String {
    fs::read_to_string(format!("/proc/{number}/cmdline")).unwrap_or_default().replace('\0', " ")
}

/// All processes in a namespace of this lab.
fn members(lab: &Lab) -> BTreeSet<Process> {
    let link = |number: &str, kind: &str| fs::read_link(format!("/proc/{number}/ns/{kind}")).ok();
    let kinds = ["net", "mnt", "pid", "uts", "ipc"];
    let own = |node: &Node| kinds.map(|kind| link(&node.pid().to_string(), kind).unwrap());
    let spaces: BTreeSet<_> = lab.nodes().iter().flat_map(own).collect();
    assert_eq!(spaces.len(), kinds.len() * lab.nodes().len(), "a node shares a namespace");
    let is_member = |(number, _): &Process| {
        kinds.iter().any(|kind| link(number, kind).is_some_and(|space| spaces.contains(&space)))
    };
    processes().into_iter().filter(is_member).collect()
}

/// Waits until nothing remains; the kernel frees namespaces and mounts asynchronously.
fn assert_no_traces(name: &LabName, members: &BTreeSet<Process>) {
    let left = || Some(traces(name, members)).filter(Vec::is_empty);
    let waited = wait::until("no traces", Duration::from_secs(2), Duration::from_millis(20), left);
    assert!(waited.is_ok(), "{:#?}", traces(name, members));
}

fn demo_topology(name: LabName) -> Topology {
    let mut topology = read_topology(&crate_file("../metallb.clab.yml")).unwrap();
    topology.lab = name;
    topology
}

#[test]
fn destroy_removes_everything() {
    if !can_run() {
        return;
    }
    let topology = demo_topology(unused_name());
    let name = topology.lab.clone();
    let lab = Lab::deploy(&topology).unwrap();
    // Also processes that a test started: one in the background, and one with its own namespace inside the node.
    let node = lab.node("pe-kind-worker").unwrap();
    let mut child = node.spawn(&["sleep", "1000"], &node.log_folder().join("sleep.log")).unwrap();
    node.check(&["sh", "-c", "ip netns add inner && ip netns exec inner sleep 1000 >/dev/null 2>&1 &"]).unwrap();
    let members = members(&lab);
    // Process 1 of each node and its sleep; three daemons on four routers; the two sleeps.
    assert!(members.len() >= 20 + 12 + 2, "{members:?}");

    let destroyed = lab.destroy().unwrap();
    assert_eq!((destroyed.nodes, destroyed.namespaces), (10, 10));
    assert_eq!(child.exit_status().unwrap().map(|status| status.code()), Some(None), "terminated by a signal");
    assert_no_traces(&name, &members);
    assert!(!Path::new("/leaf-vrf.sh").exists(), "a bind target was created on the machine");

    let again = lab::destroy(&name).unwrap();
    assert_eq!((again.nodes, again.namespaces), (0, 0));
}

#[test]
fn a_killed_deploy_is_destroyed_completely() {
    if !can_run() {
        return;
    }
    // From the first namespaces to the last command of the leaves.
    for milliseconds in [5, 20, 60, 150, 300, 600] {
        let name = unused_name();
        let mut deploy = Command::new(env!("CARGO_BIN_EXE_perouter-lab"))
            .args(["deploy", "-t", "../metallb.clab.yml", "--name", name.as_str()])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        deploy.kill().unwrap();
        deploy.wait().unwrap();
        // A node whose creator was killed meanwhile stops by itself.
        std::thread::sleep(Duration::from_millis(100));
        lab::destroy(&name).unwrap();
        assert_no_traces(&name, &BTreeSet::new());
    }
}

#[test]
fn a_command_that_fails_is_an_error_and_the_lab_is_destroyed() {
    if !can_run() {
        return;
    }
    let topology = topology(&PAIR.replace("10.0.0.2/24 dev eth1", "10.0.0.2/24 dev eth7"));
    let error = Lab::deploy(&topology).unwrap_err().to_string();
    let wanted = "node b: `ip address add 10.0.0.2/24 dev eth7` exited with 1: Cannot find device \"eth7\"";
    assert_eq!(error, wanted);
    assert_no_traces(&topology.lab, &BTreeSet::new());
}

#[test]
fn a_configuration_that_frr_rejects_is_an_error() {
    if !can_run() {
        return;
    }
    let text = "name: x\ntopology:\n  nodes:\n    r:\n      kind: linux\n      image: frrouting/frr:v8\n      binds:\n      \
                - bad/frr.conf:/etc/frr/frr.conf\n      - bad/daemons:/etc/frr/daemons\n";
    let error = Lab::deploy(&topology(text)).unwrap_err().to_string();
    assert!(error.contains("line 1: % Unknown command") && error.contains(": no such line"), "{error}");
}

#[test]
fn a_missing_bind_source_is_an_error_with_its_line() {
    if !can_run() {
        return;
    }
    let text = "name: x\ntopology:\n  nodes:\n    a:\n      kind: ext-container\n      binds:\n      - nowhere:/x\n";
    let error = Lab::deploy(&topology(text)).unwrap_err().to_string();
    let file = crate_file("tests/topologies");
    let wanted = format!(
        "{0}/inline.clab.yml:7: bind source {0}/nowhere does not exist; create it or correct the path",
        file.display()
    );
    assert_eq!(error, wanted);
}

#[test]
fn two_labs_run_side_by_side_and_a_name_is_used_once() {
    if !can_run() {
        return;
    }
    let (first, second) = (topology(PAIR), topology(PAIR));
    let lab = deploy(&first);
    let other = deploy(&second);
    for lab in [&lab, &other] {
        lab.node("a").unwrap().check(&["ping", "-c1", "-W2", "10.0.0.2"]).unwrap();
    }
    assert!(matches!(Lab::deploy(&first), Err(LabError::Exists(name)) if name == first.lab));
    drop(other);
    lab.node("a").unwrap().check(&["ping", "-c1", "-W2", "b"]).unwrap();
    let found = Lab::open(&first.lab).unwrap();
    assert_eq!(found.node("a").unwrap().pid(), lab.node("a").unwrap().pid());
    let unknown = found.node("c").unwrap_err().to_string();
    assert_eq!(unknown, format!("lab `{}` has no node `c`; it has a, b", first.lab));
}
