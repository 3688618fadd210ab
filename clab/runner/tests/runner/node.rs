//! A single node: what is private to it, and how commands run in it.

use super::{can_run, crate_file, deploy, topology};
use perouter_lab::{NodeError, wait};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

const NODE: &str = r#"
name: node
topology:
  nodes:
    a:
      kind: linux
      image: nicolaka/netshoot
      env: {COLOR: red}
      cmd: sh -c 'echo started $COLOR; exec sleep 1000'
      binds:
        - bound/file:/usr/local/share/labtest/deep/file:ro
        - bound:/var/run/bound
        - bound/file:/labtest-file
    switch:
      kind: bridge
    c:
      kind: ext-container
  links:
    - endpoints: ["a:eth1", "switch:p1"]
    - endpoints: ["c:eth1", "switch:p2"]
"#;

#[test]
fn a_node_looks_like_a_machine_of_its_own() {
    if !can_run() {
        return;
    }
    let lab = deploy(&topology(NODE));
    let (a, c) = (lab.node("a").unwrap(), lab.node("c").unwrap());
    assert_eq!(a.check(&["hostname"]).unwrap(), "a\n");
    assert_eq!(a.check(&["cat", "/etc/hostname"]).unwrap(), "a\n");
    assert_eq!(a.check(&["sh", "-c", "ls /run; ls -A /var/tmp /run/netns"]).unwrap().matches("netns").count(), 2);
    // Its own processes and interfaces, also in /proc and /sys.
    let numbers = a.check(&["sh", "-c", "cd /proc; echo [0-9]*"]).unwrap();
    assert!(numbers.starts_with("1 ") && numbers.split(' ').count() < 8, "{numbers}");
    assert_eq!(a.check(&["ls", "/sys/class/net"]).unwrap(), "eth1\nlo\n");
    // Binds: read-only is enforced, a symlink of the node is followed, nothing is created on the machine.
    assert_eq!(a.check(&["cat", "/usr/local/share/labtest/deep/file", "/labtest-file"]).unwrap(), "bound\nbound\n");
    let denied = a.run(&["sh", "-c", "echo x >/usr/local/share/labtest/deep/file"]).unwrap();
    assert!(denied.stderr.contains("Read-only file system"), "{denied:?}");
    assert_eq!(a.check(&["cat", "/run/bound/file"]).unwrap(), "bound\n");
    for path in ["/usr/local/share/labtest", "/labtest-file", "/run/bound"] {
        assert!(!Path::new(path).exists(), "{path} is on the machine");
    }
    // Files of one node are not visible in another.
    a.check(&["touch", "/run/x", "/etc/frr/x", "/x"]).unwrap();
    assert_eq!(c.run(&["ls", "/run/x", "/etc/frr/x", "/x"]).unwrap().stdout, "");
    assert!(a.file("/run/x").exists());
    // Its command runs with its environment.
    assert_eq!(std::fs::read_to_string(a.log_folder().join("cmd.log")).unwrap(), "started red\n");
    // The bridge connects its ports.
    a.check(&["ip", "address", "add", "10.0.0.1/24", "dev", "eth1"]).unwrap();
    c.check(&["ip", "address", "add", "10.0.0.2/24", "dev", "eth1"]).unwrap();
    c.check(&["ping", "-c1", "-W2", "10.0.0.1"]).unwrap();
    // The counterpart of `docker exec`.
    let netns = ["netns", "exec", a.long_name(), "ping", "-c1", "-W2", "10.0.0.2"];
    assert!(std::process::Command::new("ip").args(netns).output().unwrap().status.success());
}

#[test]
fn a_command_is_waited_for_and_its_background_processes_are_not() {
    if !can_run() {
        return;
    }
    let lab = deploy(&topology(NODE));
    let a = lab.node("a").unwrap();
    let output = a.run(&["sh", "-c", "echo out; echo err >&2; exit 7"]).unwrap();
    assert_eq!((output.code, &*output.stdout, &*output.stderr), (Some(7), "out\n", "err\n"));
    let failed = a.check(&["sh", "-c", "echo out; echo err >&2; exit 7"]).unwrap_err().to_string();
    assert_eq!(failed, "node a: `sh -c echo out; echo err >&2; exit 7` exited with 7: out\nerr");
    // A background process that keeps the outputs open does not block the caller.
    let start = Instant::now();
    assert_eq!(a.check(&["sh", "-c", "sleep 1000 & echo done"]).unwrap(), "done\n");
    assert!(start.elapsed() < Duration::from_secs(5));
    // A command that takes too long is killed with its children; the error has its output.
    let timed_out = a.run_for(Duration::from_millis(200), &["sh", "-c", "echo slow; sleep 77 & sleep 77"]).unwrap_err();
    let wanted = "node a: `sh -c echo slow; sleep 77 & sleep 77` did not exit within 200ms; output: slow";
    assert_eq!(timed_out.to_string(), wanted);
    // A killed process is listed until it has been reaped.
    let asleep = || a.run(&["pgrep", "-f", "^sleep 77"]).unwrap().stdout;
    let reaped = wait::until("`sleep` to exit", Duration::from_secs(5), Duration::from_millis(10), || {
        asleep().is_empty().then_some(())
    });
    assert!(reaped.is_ok(), "{}", asleep());
    let missing = a.run(&["no-such-program"]).unwrap_err();
    assert!(matches!(missing, NodeError::Namespace { .. }), "{missing:?}");
}

#[test]
fn a_background_process_is_logged_and_terminated() {
    if !can_run() {
        return;
    }
    let lab = deploy(&topology(NODE));
    let a = lab.node("a").unwrap();
    let log = a.log_folder().join("background.log");
    let mut process =
        a.spawn(&["sh", "-c", "trap 'echo bye; exit 3' TERM; echo hello; while :; do sleep 0.05; done"], &log).unwrap();
    let logged = |text: &str| std::fs::read_to_string(&log).is_ok_and(|log| log == text);
    perouter_lab::wait::until("hello", Duration::from_secs(5), Duration::from_millis(5), || {
        logged("hello\n").then_some(())
    })
    .unwrap();
    assert_eq!(process.exit_status().unwrap(), None);
    let status = process.terminate(Duration::from_secs(5)).unwrap();
    assert_eq!(status.and_then(|status| status.code()), Some(3));
    assert!(logged("hello\nbye\n"));
    let mut stubborn = a.spawn(&["sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"], &log).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(stubborn.terminate(Duration::from_millis(200)).unwrap(), None);
}

#[test]
fn a_socket_opened_in_a_node_belongs_to_it() {
    if !can_run() {
        return;
    }
    let lab = deploy(&topology(NODE));
    let a = lab.node("a").unwrap();
    let listener = a.within_netns(|| TcpListener::bind("127.0.0.1:4711")).unwrap().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"from outside\n").unwrap();
    });
    let words = ["bash", "-c", "cat </dev/tcp/127.0.0.1/4711"];
    assert_eq!(a.check(&words).unwrap(), "from outside\n");
    server.join().unwrap();
    let mut text = String::new();
    std::fs::File::open(crate_file("tests/topologies/bound/file")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "bound\n");
}
