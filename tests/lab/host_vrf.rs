//! The host's BGP speaker in a VRF of the host: configured by the host itself, and by `hostSession.vrf`.

use perouter::status::model::ObjectState;
use perouter_lab::node::Node;
use serde_json::Value;

use super::fabric::{CURL_TIMED_OUT, fetch};
use super::fixture::{BLUE, Fixture, RED, SETTLE, Setup, until, until_true};

const DEVICE: &str = "hostvrf";
const FIELD: &str = "  hostSession:\n    vrf: hostvrf\n";
const ADDRESSES: [&str; 2] = ["192.169.10.2", "2001:db8:10::2"];

/// Creates a VRF device in the namespace of a node; false if the kernel does not support them.
fn create_vrf(node: &Node, name: &str, table: &str) -> bool {
    let added = node.run(&["ip", "link", "add", name, "type", "vrf", "table", table]).unwrap();
    if !added.success() {
        return false;
    }
    node.check(&["ip", "link", "set", name, "up"]).unwrap();
    node.check(&["ip", "route", "add", "unreachable", "default", "metric", "4278198272", "table", table]).unwrap();
    true
}

/// Master and global addresses of a link.
fn master_and_addresses(node: &Node, link: &str) -> Option<(String, Vec<String>)> {
    let output = node.run(&["ip", "-j", "address", "show", "dev", link]).unwrap();
    let links: Vec<Value> = serde_json::from_str(&output.stdout).unwrap_or_default();
    let link = links.first()?;
    let global = link["addr_info"].as_array()?.iter().filter(|address| address["scope"] == "global");
    let addresses = global.filter_map(|address| address["local"].as_str().map(str::to_owned)).collect();
    Some((link["master"].as_str().unwrap_or_default().to_owned(), addresses))
}

#[track_caller]
fn await_master(fixture: &Fixture, link: &str, master: &str) {
    let wanted = (master.to_owned(), ADDRESSES.map(str::to_owned).to_vec());
    until_true(&format!("{link} in `{master}` with its addresses"), || {
        master_and_addresses(fixture.hosts[0].node(), link).as_ref() == Some(&wanted)
    });
}

/// How often the session of red was established.
fn established(fixture: &Fixture) -> u64 {
    fixture.routers[0].await_session("red", "192.169.10.2").established
}

#[track_caller]
fn assert_red_is_served(fixture: &Fixture) {
    fixture.await_type5(&format!("{RED}/32"), 100);
    for host in ["hostA_red", "hostB_red"] {
        until(&format!("http://{RED}/ at {host}"), SETTLE, || fetch(fixture.node(host), RED, 3).ok());
    }
    assert_eq!(fetch(fixture.node("hostA_blue"), RED, 2), Err(CURL_TIMED_OUT), "blue reaches red");
}

/// The example without the field, which is added later.
fn setup() -> Setup {
    let v4 = "ipv4: 192.169.10.0/24";
    Setup::of_example("host-vrf").with_leaf_b().replacing("red.yaml", FIELD, "").replacing(
        "red.yaml",
        v4,
        &format!("{v4}\n    ipv6: 2001:db8:10::/64"),
    )
}

#[test]
fn the_host_speaker_peers_in_a_vrf_of_the_host() {
    let Some(mut fixture) = Fixture::deploy("host-vrf", &[0], &setup()) else { return };
    let node = fixture.hosts[0].node().clone();
    if !create_vrf(&node, DEVICE, "1100") {
        println!("left out: this kernel has no VRF devices; that of the guest of hack/vm does");
        return;
    }
    // The sockets of the service are not bound to the device.
    node.check(&["sysctl", "-qw", "net.ipv4.tcp_l3mdev_accept=1"]).unwrap();
    node.check(&["ip", "address", "add", &format!("{RED}/32"), "dev", DEVICE]).unwrap();
    fixture.router().start();
    fixture.router().await_ready(&[100, 200]);

    // Configured by the host: perouter leaves the link in the VRF and restores the addresses that the kernel removes on
    // the change of master.
    node.check(&["ip", "link", "set", "host-100", "master", DEVICE]).unwrap();
    await_master(&fixture, "host-100", DEVICE);
    fixture.start_hosts();
    fixture.router().await_session("red", "192.169.10.2");
    assert_red_is_served(&fixture);
    until(&format!("http://{BLUE}/ at hostA_blue"), SETTLE, || fetch(fixture.node("hostA_blue"), BLUE, 3).ok());
    let plan = fixture.router().plan();
    assert!(plan.success() && !plan.stdout.contains("host-100"), "{}{}", plan.stdout, plan.stderr);
    fixture.router().terminate();
    fixture.router().start();
    fixture.router().await_ready(&[100, 200]);
    await_master(&fixture, "host-100", DEVICE);

    // Configured by the object: the present state is adopted without a flap.
    let before = established(&fixture);
    fixture.edit("red.yaml", "hostasn: 64515\n", &format!("hostasn: 64515\n{FIELD}"));
    until_true("the alias that marks the master as set by perouter", || {
        node.check(&["ip", "-d", "link", "show", "dev", "host-100"]).unwrap().contains(&format!("put into {DEVICE}"))
    });
    assert_eq!(established(&fixture), before);
    assert_red_is_served(&fixture);
    // Removed from the VRF by somebody else, or recreated: it is put back.
    node.check(&["ip", "link", "set", "host-100", "nomaster"]).unwrap();
    await_master(&fixture, "host-100", DEVICE);
    fixture.edit("red.yaml", "vni: 100", "vni: 101");
    await_master(&fixture, "host-101", DEVICE);
    fixture.router().await_session("red", "192.169.10.2");
    fixture.await_type5(&format!("{RED}/32"), 101);
    fixture.edit("red.yaml", "vni: 101", "vni: 100");
    await_master(&fixture, "host-100", DEVICE);
    assert_red_is_served(&fixture);

    // A missing device makes only this object fail, until the device exists.
    fixture.edit("red.yaml", DEVICE, "later");
    let failed = fixture.router().await_l3vni("red", ObjectState::Failed);
    assert!(failed.message.contains("ip link add later type vrf") && failed.message.contains("spec.hostSession.vrf"));
    fixture.router().await_l3vni("blue", ObjectState::Ready);
    node.check(&["ip", "link", "add", "later", "type", "bridge"]).unwrap();
    let message = || fixture.routers[0].await_l3vni("red", ObjectState::Failed).message;
    until_true("the message that it is no VRF device", || message().contains("later is no VRF device"));
    node.check(&["ip", "link", "del", "later"]).unwrap();
    assert!(create_vrf(&node, "later", "1101"));
    await_master(&fixture, "host-100", "later");
    fixture.edit("red.yaml", "later", DEVICE);
    await_master(&fixture, "host-100", DEVICE);
    assert_red_is_served(&fixture);

    // Without the field the host end is removed from the device.
    fixture.edit("red.yaml", FIELD, "");
    await_master(&fixture, "host-100", "");
    fixture.router().await_ready(&[100, 200]);
}
