//! Frames with which somebody would try to leave an IP-VRF. In: an origin and the router MAC. Out: frames with a mark. Sends
//! nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::capture::MARK;
use super::packet::{
    GRE, ICMP, IPIP, IPV6_IN_IP, Ipv4Extra, Mac, UDP, VXLAN_PORT, arp, echo_request, icmp, ip_frame, ipv4, syn, tagged,
    udp, vxlan,
};

const VTEP: &str = "100.65.0.1";

/// Where frames come from, as their mark says.
pub const RED: u8 = b'r';
pub const BLUE: u8 = b'b';
pub const FABRIC: u8 = b'f';
/// Bytes of a frame's payload after the mark.
const PAYLOAD: usize = 40;

/// Addresses of the router, its hosts, the fabric, and none at all.
const TARGETS: [&str; 40] = [
    "192.169.10.1",
    "192.169.10.2",
    "192.169.10.3",
    "192.169.10.255",
    "192.169.11.1",
    "192.169.11.2",
    "192.169.11.255",
    "172.30.0.10",
    "172.30.0.16",
    "192.168.20.1",
    "192.168.20.2",
    "192.168.21.1",
    "192.168.21.2",
    "192.169.20.2",
    "192.169.21.2",
    "100.65.0.1",
    "100.65.0.2",
    "100.64.0.1",
    "192.168.11.2",
    "192.168.11.3",
    "10.0.0.1",
    "127.0.0.1",
    "169.254.1.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "224.0.0.5",
    "239.1.1.1",
    "240.0.0.1",
    "203.0.113.9",
    "2001:db8:10::1",
    "2001:db8:10::2",
    "2001:db8:11::1",
    "2001:db8:11::2",
    "2001:db8:20::2",
    "2001:db8:21::2",
    "fe80::1",
    "ff02::1",
    "ff02::2",
    "::1",
];

/// Sources, right for one of the origins or for none.
const SOURCES: [&str; 18] = [
    "192.169.10.2",
    "192.169.10.1",
    "192.168.20.2",
    "172.30.0.10",
    "192.169.11.2",
    "192.169.11.1",
    "192.168.21.2",
    "172.30.0.16",
    "100.65.0.1",
    "192.168.11.3",
    "127.0.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "2001:db8:10::2",
    "2001:db8:20::2",
    "2001:db8:11::1",
    "2001:db8:21::2",
    "fe80::2",
];

fn mark(origin: u8) -> Vec<u8> {
    let mut bytes = [&MARK[..], &[origin]].concat();
    bytes.resize(PAYLOAD, 0);
    bytes
}

fn parsed(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

/// Frames of an origin to a router MAC: each target from each source, in several protocols, and what is no unicast at all.
pub fn frames(origin: u8, router: Mac) -> Vec<Vec<u8>> {
    let host: Mac = [0x02, 0xee, 0, 0, 0, origin];
    let (targets, sources) = (parsed(&TARGETS), parsed(&SOURCES));
    let mut frames = Vec::new();
    for to in &targets {
        for from in sources.iter().filter(|from| from.is_ipv4() == to.is_ipv4()) {
            let packets = packets(origin, *from, *to);
            frames.extend(packets.iter().map(|packet| ip_frame(router, host, *to, packet)));
        }
    }
    let echo = ip_frame(router, host, targets[0], &echo_request(targets[1], targets[0], &mark(origin)));
    frames.extend([100, 200, 4094].map(|vlan| tagged(&echo, vlan)));
    for (from, to) in [("192.169.11.1", "192.169.11.2"), ("192.169.10.1", "192.169.11.1"), (VTEP, VTEP)] {
        let [from, to]: [Ipv4Addr; 2] = [from, to].map(|text| text.parse().unwrap());
        frames.push(arp(1, (host, from), ([0; 6], to), &mark(origin)));
        frames.push(arp(2, (host, from), (router, to), &mark(origin)));
    }
    frames
}

/// The packets of a frame from one address to another.
fn packets(origin: u8, from: IpAddr, to: IpAddr) -> Vec<Vec<u8>> {
    let mark = mark(origin);
    let other = ip_frame([0xff; 6], [2; 6], to, &echo_request(from, to, &mark));
    // Into the other VRF, as if from a VTEP.
    let encapsulated = |vni| udp(from, to, [50_000, VXLAN_PORT], &vxlan(vni, &other));
    let mut packets = vec![
        echo_request(from, to, &mark),
        udp(from, to, [50_000, 7], &mark),
        udp(from, to, [3784, 3784], &mark),
        udp(from, to, [53, 33_434], &mark),
        syn(from, to, 179, &mark),
        syn(from, to, 80, &mark),
    ];
    // The fabric is trusted to encapsulate.
    if origin != FABRIC {
        packets.extend([100, 200].map(encapsulated));
    }
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => packets.extend(ipv4_packets(from, to, &mark)),
        (IpAddr::V6(from), IpAddr::V6(to)) => packets.extend(ipv6_packets(from, to, &mark)),
        _ => {}
    }
    packets
}

fn ipv4_packets(from: Ipv4Addr, to: Ipv4Addr, mark: &[u8]) -> Vec<Vec<u8>> {
    let plain = |protocol, payload: &[u8]| ipv4(from, to, protocol, Ipv4Extra::default(), payload);
    let fragment = |fragment| ipv4(from, to, UDP, Ipv4Extra { fragment, options: &[] }, mark);
    let blue: Ipv4Addr = "192.169.11.1".parse().unwrap();
    let inner = echo_request(from.into(), blue.into(), mark);
    // Loose source route by an address of the other VRF (RFC 791).
    let options = [&[131, 7, 4][..], &blue.octets(), &[0]].concat();
    let routed = ipv4(from, to, ICMP, Ipv4Extra { fragment: 0, options: &options }, mark);
    // Redirect for a host to the other VRF.
    let redirect = icmp(from.into(), to.into(), [5, 1], &[&blue.octets()[..], &inner].concat());
    vec![
        plain(IPIP, &inner),
        plain(GRE, &[&[0, 0, 8, 0][..], &inner].concat()),
        plain(IPV6_IN_IP, mark),
        plain(2, mark),
        fragment(0x2000),
        fragment(0x2001),
        fragment(0x0005),
        routed,
        redirect,
    ]
}

fn ipv6_packets(from: Ipv6Addr, to: Ipv6Addr, mark: &[u8]) -> Vec<Vec<u8>> {
    let blue: Ipv6Addr = "2001:db8:11::1".parse().unwrap();
    // Neighbor discovery (RFC 4861): types 133 to 137, the mark after what they have.
    let advertised =
        [&[64, 0, 7, 8][..], &[0; 8], &[3, 4, 64, 0xc0], &[0, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0, 0]].concat();
    let router = [&advertised[..], &blue.octets(), mark].concat();
    let of_neighbor = |flags: u8| [&[flags, 0, 0, 0][..], &blue.octets(), mark].concat();
    let redirect = [&[0; 4][..], &blue.octets(), &blue.octets(), mark].concat();
    vec![
        icmp(from.into(), to.into(), [133, 0], &[&[0; 4][..], mark].concat()),
        icmp(from.into(), to.into(), [134, 0], &router),
        icmp(from.into(), to.into(), [135, 0], &of_neighbor(0)),
        icmp(from.into(), to.into(), [136, 0], &of_neighbor(0xe0)),
        icmp(from.into(), to.into(), [137, 0], &redirect),
    ]
}
