//! Edits of fields of an L3VNI, and back, without any effect on another L3VNI.

use std::collections::BTreeMap;

use perouter::status::model::ObjectState;

use super::fabric::type5_of;
use super::fixture::{Fixture, RED, SETTLE, until, until_true};
use super::kernel_state::{links, vrf_exists};
use super::traffic::Stream;

/// Traffic and sessions of blue and of the underlay, monitored during a change of another L3VNI.
pub struct BlueMonitor {
    stream: Stream,
    established: BTreeMap<(String, String), u64>,
}

const MONITORED: [Option<&str>; 2] = [None, Some("blue")];

impl BlueMonitor {
    pub fn start(fixture: &mut Fixture) -> Self {
        Self::start_with_vnis(fixture, &[100, 200])
    }

    /// [`BlueMonitor::start`] as soon as exactly these VNIs are up.
    pub fn start_with_vnis(fixture: &mut Fixture, vnis: &[u32]) -> Self {
        fixture.router().await_ready(vnis);
        Self { stream: fixture.stream("blue"), established: fixture.router().established(&MONITORED) }
    }

    pub fn assert_undisturbed(self, fixture: &mut Fixture) {
        assert_eq!(fixture.router().established(&MONITORED), self.established);
        self.stream.finish().assert_lossless("blue");
    }
}

pub fn red_service() -> String {
    format!("{RED}/32")
}

/// Waits until red's service replies again.
fn await_red(fixture: &Fixture) {
    fixture.stream("red").finish();
}

#[test]
fn an_edit_of_an_l3vni_affects_no_other_l3vni() {
    let Some(mut fixture) = Fixture::start("edits", &[0]) else { return };
    for edit in [edit_the_vni, edit_the_vrf, edit_localcidr, edit_hostasn] {
        let blue = BlueMonitor::start(&mut fixture);
        edit(&mut fixture);
        blue.assert_undisturbed(&mut fixture);
    }
}

fn edit_the_vni(fixture: &mut Fixture) {
    fixture.edit("red.yaml", "vni: 100", "vni: 101");
    fixture.await_type5(&red_service(), 101);
    let route = &type5_of(fixture.node("leafA"), &red_service())[0];
    assert_eq!(route.route_targets, ["64514:101"]);
    fixture.router().await_ready(&[101, 200]);
    let names: Vec<String> = links(&fixture.router().node).into_values().flatten().collect();
    let of_old_vni = |name: &&String| ["vni100", "br-pe-100", "pe-100", "host-100"].contains(&name.as_str());
    assert_eq!(names.iter().find(of_old_vni), None, "{names:?}");
    fixture.edit("red.yaml", "vni: 101", "vni: 100");
    fixture.await_type5(&red_service(), 100);
    await_red(fixture);
    fixture.router().await_ready(&[100, 200]);
}

fn edit_the_vrf(fixture: &mut Fixture) {
    fixture.edit("red.yaml", "vni: 100", "vni: 100\n  vrf: crimson");
    fixture.router().await_session("crimson", "192.169.10.2");
    fixture.router().await_ready(&[100, 200]);
    fixture.await_type5(&red_service(), 100);
    await_red(fixture);
    let node = fixture.router().node.clone();
    assert!(vrf_exists(&node, "crimson") && !vrf_exists(&node, "red"));
    fixture.edit("red.yaml", "\n  vrf: crimson", "");
    fixture.router().await_session("red", "192.169.10.2");
    fixture.router().await_ready(&[100, 200]);
    assert!(vrf_exists(&node, "red") && !vrf_exists(&node, "crimson"));
    await_red(fixture);
}

fn edit_localcidr(fixture: &mut Fixture) {
    let node = fixture.router().node.clone();
    let has_address = |address: &str| {
        let shown = node.run(&["ip", "-4", "-br", "address", "show", "host-100"]).unwrap().stdout;
        shown.split_whitespace().skip(2).eq([address])
    };
    fixture.edit("red.yaml", "192.169.10.0/24", "192.169.13.0/24");
    until_true("the new address on the host", || has_address("192.169.13.2/24"));
    fixture.await_type5_from("192.169.13.2/32", 100, &["100.65.0.1".into()]);
    fixture.await_type5_from("192.169.10.2/32", 100, &[]);
    let configure = ["configure terminal", "router bgp 64515"];
    let session = [
        "neighbor 192.169.13.1 remote-as 64514",
        "neighbor 192.169.13.1 timers connect 1",
        "address-family ipv4 unicast",
        "neighbor 192.169.13.1 activate",
        "neighbor 192.169.13.1 route-map peerred-in in",
        "neighbor 192.169.13.1 route-map peerred-out out",
    ];
    fixture.hosts[0].vtysh(&[&configure[..], &session].concat()).unwrap();
    fixture.router().await_session("red", "192.169.13.2");
    fixture.await_type5(&red_service(), 100);
    await_red(fixture);
    fixture.edit("red.yaml", "192.169.13.0/24", "192.169.10.0/24");
    until_true("the old address on the host", || has_address("192.169.10.2/24"));
    fixture.router().await_session("red", "192.169.10.2");
    fixture.await_type5(&red_service(), 100);
    await_red(fixture);
}

fn edit_hostasn(fixture: &mut Fixture) {
    fixture.edit("red.yaml", "hostasn: 64515", "hostasn: 64516");
    fixture.await_type5_from(&red_service(), 100, &[]);
    let configure = ["configure terminal", "router bgp 64515"];
    let host = &fixture.hosts[0];
    host.vtysh(&[&configure[..], &["neighbor 192.169.10.1 local-as 64516 no-prepend replace-as"]].concat()).unwrap();
    fixture.await_type5(&red_service(), 100);
    let route = &type5_of(fixture.node("leafA"), &red_service())[0];
    assert!(route.as_path.ends_with(" 64514 64516"), "{route:?}");
    await_red(fixture);
    fixture.edit("red.yaml", "hostasn: 64516", "hostasn: 64515");
    host.vtysh(&[&configure[..], &["no neighbor 192.169.10.1 local-as"]].concat()).unwrap();
    until("red with its own AS number", SETTLE, || {
        let routes = type5_of(fixture.node("leafA"), &red_service());
        routes.first()?.as_path.ends_with(" 64514 64515").then_some(())
    });
    await_red(fixture);
    let resource = fixture.router().await_l3vni("red", ObjectState::Ready);
    assert_eq!(resource.message, "");
}
