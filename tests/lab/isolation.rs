//! VRF isolation: between VRFs, and between VRFs and the underlay.

use std::time::Duration;

use perouter_lab::node::Node;

use super::capture::{Captures, MARK};
use super::fabric::{fetch, ping, reachable};
use super::fixture::{BLUE, Fixture, RED, SETTLE, Setup, until, until_true};
use super::kernel_state::{in_router, in_vrf};
use super::packet::{VXLAN_PORT, echo_request, ip_frame, vxlan};

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
fn red_and_blue_are_isolated_with_forged_sources_too_and_no_packet_leaves_unencapsulated() {
    let setup = Setup::example().with_leaf_b();
    let Some(mut fixture) = Fixture::start_with("isolation", &[0], &setup) else { return };
    forged_sources(&mut fixture);
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

/// Sends requests with red's VNI and this source to the host's address in red. Returns how many of them the host receives,
/// and how many packets it sends into blue.
fn forged(fixture: &Fixture, source: &str, requests: usize) -> [usize; 2] {
    let node = fixture.hosts[0].node();
    let mut captures = Captures::default();
    captures.add(&node.netns(), "host");
    let host = "192.169.10.2".parse().unwrap();
    let packet = echo_request(source.parse().unwrap(), host, &[&MARK[..], b"f"].concat());
    let frame = vxlan(100, &ip_frame([0x02, 0, 100, 65, 0, 1], [0x02, 0, 0, 0, 0, 9], host, &packet));
    let leaf = fixture.node("leafkind");
    let socket = leaf.within_netns(|| std::net::UdpSocket::bind("192.168.11.2:0")).unwrap().unwrap();
    for _ in 0..requests {
        socket.send_to(&frame, ("100.65.0.1", VXLAN_PORT)).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_secs(1));
    let seen = captures.take();
    let at = |link: &str| seen.iter().filter(|(place, _)| place.interface == link).map(|(_, (count, _))| *count).sum();
    [at("host-100"), at("host-200")]
}

/// The host answers a packet by its own routing table: a packet of red with a source of blue is not answered into blue.
fn forged_sources(fixture: &mut Fixture) {
    fixture.router().await_ready(&[100, 200]);
    let sources = ["192.169.11.1", "192.168.21.2", "192.168.11.2", "203.0.113.9"];
    for source in sources {
        let [received, into_blue] = forged(fixture, source, 100);
        println!("source {source}: {received} of 100 requests at the host, {into_blue} packets into blue");
        assert_eq!([received, into_blue], [0, 0], "{source}");
    }
    // A source of red: requests and replies.
    assert_eq!(forged(fixture, "192.168.20.2", 100), [200, 0]);
    // Without the filter.
    fixture.router().kill();
    let node = fixture.router().node.clone();
    for link in ["br-pe-100", "red"] {
        let setting = format!("net.ipv4.conf.{link}.rp_filter=0");
        // Only `vrf` mode has a VRF device.
        node.run(&in_vrf(&node, "red", &["sysctl", "-qw", &setting])).unwrap();
    }
    assert_eq!(forged(fixture, "192.169.11.1", 100), [100, 100], "the captures do not detect it");
    // perouter sets it again.
    fixture.router().remove_status();
    fixture.router().start();
    fixture.router().await_ready(&[100, 200]);
    assert_eq!(forged(fixture, "192.169.11.1", 100), [0, 0]);
}
