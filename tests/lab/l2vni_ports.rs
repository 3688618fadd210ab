//! The ports of managed bridges, which are of Pods: what becomes of them where the segment goes and comes, and where somebody deletes
//! the bridge.

use std::time::{Duration, Instant};

use perouter::status::model::ObjectState;
use perouter_lab::node::Node;

use super::fabric::ping;
use super::fixture::{Fixture, NODES, SETTLE, Setup, scaled, until, until_true};
use super::kernel_state::links;
use super::l2vni::{l2vni, pod, routed, with_l2vni};
use super::router::Router;

/// From the deletion of a bridge, or of its last port, to what perouter does about it: 0.1 s were measured.
const REPAIRED: Duration = Duration::from_secs(2);
const VNIS: [u32; 3] = [100, 110, 200];

fn layer2() -> String {
    l2vni("layer2", 110, &routed("red", 110))
}

fn master(node: &Node, link: &str) -> Option<String> {
    let output = node.run(&["ip", "-j", "link", "show", "dev", link]).unwrap();
    let links: Vec<serde_json::Value> = serde_json::from_str(&output.stdout).unwrap_or_default();
    Some(links.first()?["master"].as_str()?.to_owned())
}

fn exists(node: &Node, link: &str) -> bool {
    node.run(&["ip", "link", "show", "dev", link]).unwrap().success()
}

/// The finding of a bridge that is kept, as `perouter check` prints it.
fn finding(router: &Router) -> Option<serde_json::Value> {
    let checked = router.perouter(&["check", "-o", "json"]);
    let found: serde_json::Value = serde_json::from_str(&checked.stdout).unwrap();
    let mut findings = found["findings"].as_array().unwrap_or_else(|| panic!("{found}")).iter();
    findings.find(|finding| finding["kind"] == "bridge-without-segment").cloned()
}

fn log_lines(router: &Router) -> usize {
    std::fs::read_to_string(router.log()).unwrap().lines().count()
}

#[test]
fn pods_stay_attached_where_their_segment_goes_and_comes() {
    let setup = with_l2vni(Setup::example(), "layer2.yaml", layer2());
    let Some(mut fixture) = Fixture::start_with("l2vni-ports", &[0], &setup) else { return };
    fixture.router().await_ready(&VNIS);
    let node = fixture.node(NODES[0]).clone();
    let a1 = pod(&node, "a1", 110, 11);
    a1.await_ping("10.110.0.1");
    let attached = || master(&node, "a1").as_deref() == Some("br-hs-110");

    // The segment is removed.
    fixture.remove("layer2.yaml");
    until_true("no host end", || !exists(&node, "host-110"));
    fixture.router().await_ready(&[100, 200]);
    until_true("the finding", || finding(fixture.router()).is_some());
    let found = finding(fixture.router()).unwrap();
    assert_eq!((&found["severity"], &found["where"]["link"]), (&"warning".into(), &"br-hs-110".into()));
    assert_eq!(found["evidence"], "a1");
    let text = found["remedy"].as_str().unwrap();
    assert!(text.contains("add an L2VNI with VNI 110"), "{text}");
    // The pass that has removed it is at its end.
    let lines = until("a log without a new line for a second", SETTLE, || {
        let lines = log_lines(fixture.router());
        std::thread::sleep(Duration::from_secs(1));
        (log_lines(fixture.router()) == lines).then_some(lines)
    });
    std::thread::sleep(Duration::from_secs(3));
    let quiet = fixture.router().plan();
    assert_eq!((quiet.code, log_lines(fixture.router())), (Some(0), lines), "nothing is repeated: {quiet:?}");
    assert!(attached(), "{:?}", links(&node));
    // It comes back, and the Pod is in it again.
    fixture.write("layer2.yaml", &layer2());
    fixture.router().await_ready(&VNIS);
    until_true("the silent Pod reached by the fabric", || ping(fixture.node("hostA_red"), "10.110.0.11") == 3);
    a1.await_ping("10.110.0.1");
    until_true("no finding", || finding(fixture.router()).is_none());

    // Another VNI: the Pod is moved by hand, and the bridge goes with its last port.
    fixture.write("layer2.yaml", &layer2().replace("vni: 110", "vni: 120"));
    fixture.router().await_ready(&[100, 120, 200]);
    assert!(attached());
    node.check(&["ip", "link", "set", "a1", "master", "br-hs-120"]).unwrap();
    let left = Instant::now();
    until("no bridge without a port", scaled(REPAIRED), || (!exists(&node, "br-hs-110")).then_some(()));
    println!("the bridge is gone {:?} after its last port", left.elapsed());
    a1.await_ping("10.110.0.1");
    fixture.write("layer2.yaml", &layer2());
    fixture.router().await_ready(&VNIS);
    node.check(&["ip", "link", "set", "a1", "master", "br-hs-110"]).unwrap();
    until_true("no bridge without a port", || !exists(&node, "br-hs-120"));
    a1.await_ping("10.110.0.1");

    // Open vSwitch does not run: the Linux bridge stays for the Pod.
    fixture.edit("layer2.yaml", "{type: LinuxBridge, linuxBridge: {lifecycle: Managed}}", OPEN_VSWITCH);
    fixture.router().await_l2vni("layer2", ObjectState::Failed);
    assert!(attached() && master(&node, "host-110").is_none(), "{:?}", links(&node));
    fixture.write("layer2.yaml", &layer2());
    fixture.router().await_l2vni("layer2", ObjectState::Ready);
    a1.await_ping("10.110.0.1");
}

const OPEN_VSWITCH: &str = "{type: OVSBridge, ovsBridge: {lifecycle: Managed}}";

#[test]
fn a_managed_bridge_that_somebody_deletes_has_its_ports_again() {
    let setup = with_l2vni(Setup::example(), "layer2.yaml", layer2());
    let Some(mut fixture) = Fixture::start_with("l2vni-bridge-deleted", &[0], &setup) else { return };
    fixture.router().await_ready(&VNIS);
    let node = fixture.node(NODES[0]).clone();
    let (a1, a2) = (pod(&node, "a1", 110, 11), pod(&node, "a2", 110, 12));
    for pod in [&a1, &a2] {
        pod.await_ping("10.110.0.1");
    }
    let _echo = a2.echo(7);
    let probe = a1.probe("10.110.0.12:7".parse().unwrap(), Duration::from_millis(1));
    probe.await_replies(200);
    let deleted = Instant::now();
    node.check(&["ip", "link", "delete", "br-hs-110"]).unwrap();
    let attached = |link: &str| master(&node, link).as_deref() == Some("br-hs-110");
    until("the ports of the bridge", scaled(REPAIRED), || {
        ["a1", "a2", "host-110"].into_iter().all(attached).then_some(())
    });
    println!("the bridge has its ports {:?} after it was deleted", deleted.elapsed());
    probe.await_replies(200);
    println!("between the Pods: {}", probe.finish());
    a1.await_ping("10.110.0.1");
    let log = std::fs::read_to_string(fixture.router().log()).unwrap();
    let of_ports: Vec<&str> = log.lines().filter(|line| line.contains("its ports are attached to it")).collect();
    assert!(of_ports.len() == 1 && of_ports[0].contains("a1, a2") && of_ports[0].contains("br-hs-110"), "{of_ports:?}");

    // perouter is removed: the bridge goes, and the ports are named.
    fixture.router().terminate();
    let cleanup = fixture.router().perouter(&["cleanup"]);
    assert!(cleanup.success(), "{cleanup:?}");
    let left = "links of others that were ports of br-hs-110 and have no bridge: a1, a2";
    assert!(cleanup.stdout.contains(left), "{}", cleanup.stdout);
    assert!(!exists(&node, "br-hs-110") && exists(&node, "a1") && master(&node, "a1").is_none());
    until("no link of perouter", SETTLE, || (!exists(&node, "host-110")).then_some(()));
}
