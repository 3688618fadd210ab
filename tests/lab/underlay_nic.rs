//! The NIC of an `Underlay` under traffic: wrong names, what is in the way, and damage by hand.

use perouter::diagnose::finding::FindingKind;
use perouter::status::model::{ObjectState, Resource};
use perouter_lab::node::Node;

use super::fixture::{Fixture, NODES, Setup, until_true};
use super::kernel_state::in_router;

const ALL: [Option<&str>; 3] = [None, Some("red"), Some("blue")];

fn await_underlay(fixture: &mut Fixture, state: ObjectState) -> Resource {
    fixture.router().await_status("the state of the Underlay", |status| {
        let found = status.resources.iter().find(|r| r.name == "underlay" && r.state == state);
        found.cloned()
    })
}

fn ip(node: &Node, words: &str) {
    node.check(&std::iter::once("ip").chain(words.split(' ')).collect::<Vec<_>>()).unwrap();
}

#[test]
fn an_edit_that_cannot_be_built_leaves_the_fabric_as_it_is() {
    let Some(mut fixture) = Fixture::start("nic-edit", &[0]) else { return };
    let node = fixture.router().node.clone();
    ip(&node, "link add spare type veth peer name sparepeer");
    ip(&node, "link add spare.1 type vxlan id 1 dev spare dstport 8472");
    let established = fixture.router().established(&ALL);
    let streams = [fixture.stream("red"), fixture.stream("blue")];
    let nics = "    - toswitch\n";
    for (edited, words) in
        [("    - tooswitch\n", "no NIC tooswitch"), ("    - toswitch\n    - spare\n", "carries spare.1 (vxlan)")]
    {
        fixture.edit("underlay.yaml", nics, edited);
        let rejected = await_underlay(&mut fixture, ObjectState::Rejected);
        assert!(rejected.last_accepted_in_force && rejected.message.contains(words), "{rejected:?}");
        let plan = fixture.router().plan();
        assert!(plan.stderr.contains("spec.nics["), "{plan:?}");
        fixture.edit("underlay.yaml", edited, nics);
        await_underlay(&mut fixture, ObjectState::Ready);
    }
    assert_eq!(fixture.router().established(&ALL), established);
    for (stream, colour) in streams.into_iter().zip(["red", "blue"]) {
        stream.finish().assert_lossless(colour);
    }
}

#[test]
fn a_nic_in_use_is_taken_once_it_is_free_by_any_of_its_names() {
    let setup = Setup::example().replacing("underlay.yaml", "    - toswitch\n", "    - enp1s0f0np0\n");
    let Some(mut fixture) = Fixture::deploy("nic-use", &[0], &setup) else { return };
    let node = fixture.router().node.clone();
    ip(&node, "link property add dev toswitch altname enp1s0f0np0");
    let address = node.check(&["ip", "-o", "-4", "address", "show", "dev", "toswitch"]).unwrap();
    let address = address.split_whitespace().nth(3).unwrap().to_owned();
    ip(&node, "address flush dev toswitch");
    ip(&node, "link add flannel.1 type vxlan id 1 dev toswitch dstport 8472");
    fixture.router().start();
    let rejected = await_underlay(&mut fixture, ObjectState::Rejected);
    for words in ["carries flannel.1 (vxlan)", "no address in a subnet with neighbor 192.168.11.2", "StackedDevices"] {
        assert!(rejected.message.contains(words), "{rejected:?}");
    }
    ip(&node, "link delete flannel.1");
    // As a network manager does that comes late.
    ip(&node, &format!("address add {address} dev toswitch"));
    fixture.start_hosts();
    fixture.await_services();
    fixture.router().await_ready(&[100, 200]);
    let mtu = node.check(&["cat", "/sys/class/net/host-100/mtu"]).unwrap();
    let nic = node.check(&[&in_router()[..], &["ip", "-o", "link", "show", "dev", "toswitch"]].concat()).unwrap();
    let overlay = mtu.trim().parse::<u32>().unwrap();
    assert!(nic.contains(&format!(" mtu {} ", overlay + 50)), "{overlay}: {nic}");
    let plan = fixture.router().plan();
    assert_eq!((plan.code, plan.stdout.as_str()), (Some(0), "0 kernel operations, 0 FRR lines\n"), "{}", plan.stderr);
    let log = std::fs::read_to_string(fixture.router().log()).unwrap();
    let moves: Vec<_> = log.lines().filter(|line| line.contains("link set enp1s0f0np0 netns router")).collect();
    assert!(moves.len() == 1 && moves[0].contains(" INFO "), "a NIC that is taken is logged, once: {moves:#?}");
    fixture.router().terminate();
    assert!(fixture.router().perouter(&["cleanup"]).success());
    ip(&node, "link show toswitch");
}

#[test]
fn a_nic_that_is_damaged_in_the_router_is_repaired() {
    let Some(mut fixture) = Fixture::start("nic-damage", &[0]) else { return };
    let node = fixture.router().node.clone();
    assert_eq!(node.name().to_string(), NODES[0]);
    for script in [
        "ip address flush dev toswitch scope global",
        "ip link set toswitch down",
        // The repair may come before it is up again.
        "ip link set toswitch down; ip link set toswitch name renamed; ip link set renamed up || ip link show toswitch",
    ] {
        node.check(&[&in_router()[..], &["sh", "-c", script]].concat()).unwrap();
        let is_repaired = || {
            let shown = node.run(&[&in_router()[..], &["ip", "-o", "address", "show", "dev", "toswitch"]].concat());
            shown.is_ok_and(|shown| shown.stdout.contains("192.168.11.3/24"))
        };
        until_true(script, is_repaired);
        fixture.await_services();
        until_true("the sessions", || {
            let status = fixture.router().perouter(&["sessions"]);
            status.stdout.matches("Established").count() == 3
        });
    }
    until_true("a check without a finding about a NIC", || {
        let (output, findings) = fixture.router().checked();
        matches!(output.code, Some(0 | 1)) && findings.iter().all(|finding| finding.kind != FindingKind::LinkDown)
    });
    let log = std::fs::read_to_string(fixture.router().log()).unwrap();
    assert!(log.contains("link set toswitch up, with its name and addresses"), "the repair is reported");
}
