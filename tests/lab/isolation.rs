//! VRF isolation: between VRFs, and between VRFs and the underlay.

use std::time::Duration;

use perouter_lab::node::Node;

use super::fabric::{fetch, ping, reachable};
use super::fixture::{BLUE, Fixture, RED, SETTLE, until, until_true};
use super::kernel_state::in_router;

/// A capture of the packets on the router's NIC.
struct Capture {
    node: Node,
    process: perouter_lab::node::Background,
}

const FILE: &str = "/run/capture.pcap";

impl Capture {
    fn start(node: &Node) -> Self {
        let log = node.log_folder().join("tcpdump.log");
        let command = ["tcpdump", "-n", "-U", "--immediate-mode", "-Z", "root", "-i", "toswitch", "-w", FILE];
        let process = node.spawn(&[&in_router()[..], &command].concat(), &log).unwrap();
        until_true("tcpdump", || std::fs::read_to_string(&log).unwrap().contains("listening on"));
        Self { node: node.clone(), process }
    }

    fn count(&self, filter: &str) -> usize {
        let lines = self.node.check(&["tcpdump", "-n", "-r", FILE, filter]).unwrap();
        lines.lines().count()
    }

    fn stop(&mut self) {
        self.process.terminate(Duration::from_secs(10)).unwrap();
    }
}

#[test]
fn red_and_blue_are_isolated_and_no_packet_leaves_unencapsulated() {
    let Some(mut fixture) = Fixture::start("isolation", &[0]) else { return };
    let node = fixture.router().node.clone();
    let (red, blue) = (fixture.node("hostA_red"), fixture.node("hostA_blue"));
    for (host, address) in [(red, RED), (blue, BLUE)] {
        until(&format!("the page of {address}"), SETTLE, || fetch(host, address, 3).ok());
    }
    let mut capture = Capture::start(&node);
    let of_red = [RED, "192.169.10.1", "192.169.10.2", "192.168.20.2", "192.168.20.1", "192.169.20.2"];
    let of_blue = [BLUE, "192.169.11.1", "192.169.11.2", "192.168.21.2", "192.168.21.1", "192.169.21.2"];
    for (host, own, other) in [(red, of_red, of_blue), (blue, of_blue, of_red)] {
        // The service, the host's end of its session (the router's is not advertised to the fabric), a host on the
        // other leaf.
        for address in [own[0], own[2], own[5]] {
            until(&format!("{address} at {}", host.name()), SETTLE, || (ping(host, address) > 0).then_some(()));
        }
        assert_eq!(reachable(host, &other), Vec::<&str>::new(), "reachable from {}", host.name());
        assert!(fetch(host, other[0], 2).is_err(), "{} reaches {}", host.name(), other[0]);
    }
    // The router's main table has routes to every VTEP; a VRF must not fall back to it.
    for via in ["192.169.10.1", "192.169.11.1"] {
        let underlay = ["100.64.0.1", "100.64.0.2", "100.65.0.1", "192.168.11.2"];
        for address in underlay {
            node.check(&["ip", "route", "replace", address, "via", via]).unwrap();
        }
        assert_eq!(reachable(&node, &underlay), Vec::<&str>::new(), "reachable from the node through {via}");
    }
    until_true("VXLAN packets in the capture", || capture.count("udp port 4789") > 20);
    capture.stop();
    // The filter matches the outer header, not what is inside VXLAN.
    let unencapsulated = "net 172.30.0.0/24 or net 192.169.10.0/24 or net 192.169.11.0/24 or net 192.168.20.0/23 \
                 or net 192.169.20.0/23 or icmp";
    assert_eq!(capture.count(unencapsulated), 0, "packets of a VRF outside of VXLAN");
}
