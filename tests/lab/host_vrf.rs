//! The host's BGP speaker in a VRF of the host: by the host's own hand, and as `hostSession.vrf` asks for it.

use perouter::status::model::ObjectState;
use perouter_lab::node::Node;
use serde_json::Value;

use super::fabric::{CURL_TIMED_OUT, fetch};
use super::fixture::{BLUE, Fixture, RED, SETTLE, Setup, until, until_true};

const DEVICE: &str = "hostvrf";
const FIELD: &str = "  hostSession:\n    vrf: hostvrf\n";
const ADDRESSES: [&str; 2] = ["192.169.10.2", "2001:db8:10::2"];

/// A VRF device in the namespace of a node; false where the kernel has none.
fn make(node: &Node, name: &str, table: &str) -> bool {
    let made = node.run(&["ip", "link", "add", name, "type", "vrf", "table", table]).unwrap();
    if !made.success() {
        return false;
    }
    node.check(&["ip", "link", "set", name, "up"]).unwrap();
    node.check(&["ip", "route", "add", "unreachable", "default", "metric", "4278198272", "table", table]).unwrap();
    true
}

/// Master and global addresses of a link.
fn shown(node: &Node, link: &str) -> Option<(String, Vec<String>)> {
    let output = node.run(&["ip", "-j", "address", "show", "dev", link]).unwrap();
    let links: Vec<Value> = serde_json::from_str(&output.stdout).unwrap_or_default();
    let link = links.first()?;
    let of = link["addr_info"].as_array()?.iter().filter(|address| address["scope"] == "global");
    let addresses = of.filter_map(|address| address["local"].as_str().map(str::to_owned)).collect();
    Some((link["master"].as_str().unwrap_or_default().to_owned(), addresses))
}

#[track_caller]
fn await_master(fixture: &Fixture, link: &str, master: &str) {
    let wanted = (master.to_owned(), ADDRESSES.map(str::to_owned).to_vec());
    until_true(&format!("{link} in `{master}` with its addresses"), || {
        shown(fixture.hosts[0].node(), link).as_ref() == Some(&wanted)
    });
}

/// How often the session in the device was established.
fn established(fixture: &Fixture) -> u64 {
    fixture.routers[0].await_session("red", "192.169.10.2").established
}

#[track_caller]
fn assert_served(fixture: &Fixture) {
    fixture.await_type5(&format!("{RED}/32"), 100);
    for host in ["hostA_red", "hostB_red"] {
        until(&format!("http://{RED}/ at {host}"), SETTLE, || fetch(fixture.node(host), RED, 3).ok());
    }
    assert_eq!(fetch(fixture.node("hostA_blue"), RED, 2), Err(CURL_TIMED_OUT), "blue reaches red");
}

/// The example, but for the field, which comes later.
fn setup() -> Setup {
    let v4 = "ipv4: 192.169.10.0/24";
    Setup::of_example("host-vrf").replacing("red.yaml", FIELD, "").replacing(
        "red.yaml",
        v4,
        &format!("{v4}\n    ipv6: 2001:db8:10::/64"),
    )
}

#[test]
fn the_host_peers_in_a_vrf_of_its_own() {
    let Some(mut fixture) = Fixture::deploy("host-vrf", &[0], &setup()) else { return };
    let node = fixture.hosts[0].node().clone();
    if !make(&node, DEVICE, "1100") {
        println!("left out: this kernel has no VRF devices; the guest of hack/vm has");
        return;
    }
    // Sockets of the service are not bound to the device.
    node.check(&["sysctl", "-qw", "net.ipv4.tcp_l3mdev_accept=1"]).unwrap();
    node.check(&["ip", "address", "add", &format!("{RED}/32"), "dev", DEVICE]).unwrap();
    fixture.router().start();
    fixture.router().await_ready(&[100, 200]);

    // By the host's own hand: perouter neither takes it out nor lets the addresses go that the kernel drops with it.
    node.check(&["ip", "link", "set", "host-100", "master", DEVICE]).unwrap();
    await_master(&fixture, "host-100", DEVICE);
    fixture.start_hosts();
    fixture.router().await_session("red", "192.169.10.2");
    assert_served(&fixture);
    until(&format!("http://{BLUE}/ at hostA_blue"), SETTLE, || fetch(fixture.node("hostA_blue"), BLUE, 3).ok());
    let plan = fixture.router().plan();
    assert!(plan.success() && !plan.stdout.contains("host-100"), "{}{}", plan.stdout, plan.stderr);
    fixture.router().terminate();
    fixture.router().start();
    fixture.router().await_ready(&[100, 200]);
    await_master(&fixture, "host-100", DEVICE);

    // As the object asks for it: what is there is taken over, without a flap.
    let before = established(&fixture);
    fixture.edit("red.yaml", "hostasn: 64515\n", &format!("hostasn: 64515\n{FIELD}"));
    until_true("the note that it is ours", || {
        node.check(&["ip", "-d", "link", "show", "dev", "host-100"]).unwrap().contains(&format!("put into {DEVICE}"))
    });
    assert_eq!(established(&fixture), before);
    assert_served(&fixture);
    // Taken out by somebody, and made anew: it comes back.
    node.check(&["ip", "link", "set", "host-100", "nomaster"]).unwrap();
    await_master(&fixture, "host-100", DEVICE);
    fixture.edit("red.yaml", "vni: 100", "vni: 101");
    await_master(&fixture, "host-101", DEVICE);
    fixture.router().await_session("red", "192.169.10.2");
    fixture.await_type5(&format!("{RED}/32"), 101);
    fixture.edit("red.yaml", "vni: 101", "vni: 100");
    await_master(&fixture, "host-100", DEVICE);
    assert_served(&fixture);

    // A device that is not there is a failure of this object alone, which ends when it comes.
    fixture.edit("red.yaml", DEVICE, "later");
    let failed = fixture.router().await_l3vni("red", ObjectState::Failed);
    assert!(failed.message.contains("ip link add later type vrf") && failed.message.contains("spec.hostSession.vrf"));
    fixture.router().await_l3vni("blue", ObjectState::Ready);
    node.check(&["ip", "link", "add", "later", "type", "bridge"]).unwrap();
    let wrong = || fixture.routers[0].await_l3vni("red", ObjectState::Failed).message;
    until_true("the word that it is another kind", || wrong().contains("later is no VRF device"));
    node.check(&["ip", "link", "del", "later"]).unwrap();
    assert!(make(&node, "later", "1101"));
    await_master(&fixture, "host-100", "later");
    fixture.edit("red.yaml", "later", DEVICE);
    await_master(&fixture, "host-100", DEVICE);
    assert_served(&fixture);

    // Without the field the host end leaves the device.
    fixture.edit("red.yaml", FIELD, "");
    await_master(&fixture, "host-100", "");
    fixture.router().await_ready(&[100, 200]);
}
