//! Frames as bytes, also such that no host sends. In: addresses and payloads. Out: frames. Sends nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub type Mac = [u8; 6];

pub const ICMP: u8 = 1;
pub const IPIP: u8 = 4;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const IPV6_IN_IP: u8 = 41;
pub const GRE: u8 = 47;
pub const ICMPV6: u8 = 58;

const IPV4_TYPE: u16 = 0x0800;
const ARP_TYPE: u16 = 0x0806;
const IPV6_TYPE: u16 = 0x86dd;

/// RFC 7348.
pub const VXLAN_PORT: u16 = 4789;

/// An Ethernet frame.
pub fn frame(to: Mac, from: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes(), payload].concat()
}

/// An IP packet in an Ethernet frame; multicast and broadcast have their own MAC address.
pub fn ip_frame(router: Mac, from: Mac, to: IpAddr, packet: &[u8]) -> Vec<u8> {
    let (mac, kind) = match to {
        IpAddr::V4(ip) if ip.is_broadcast() || ip.octets()[3] == 255 => ([0xff; 6], IPV4_TYPE),
        IpAddr::V4(ip) if ip.is_multicast() => {
            let [_, b, c, d] = ip.octets();
            ([0x01, 0, 0x5e, b & 0x7f, c, d], IPV4_TYPE)
        }
        IpAddr::V6(ip) if ip.is_multicast() => {
            let [.., a, b, c, d] = ip.octets();
            ([0x33, 0x33, a, b, c, d], IPV6_TYPE)
        }
        IpAddr::V4(_) => (router, IPV4_TYPE),
        IpAddr::V6(_) => (router, IPV6_TYPE),
    };
    frame(mac, from, kind, packet)
}

/// The frame with an 802.1Q tag.
pub fn tagged(frame: &[u8], vlan: u16) -> Vec<u8> {
    let (addresses, rest) = frame.split_at(12);
    [addresses, &0x8100u16.to_be_bytes(), &vlan.to_be_bytes(), rest].concat()
}

fn checksum(parts: &[&[u8]]) -> [u8; 2] {
    let bytes = parts.concat();
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// What an IPv4 header has besides addresses and protocol.
#[derive(Clone, Copy, Default)]
pub struct Ipv4Extra<'a> {
    /// Flags and fragment offset.
    pub fragment: u16,
    /// Options, a multiple of four bytes.
    pub options: &'a [u8],
}

/// An IPv4 packet.
pub fn ipv4(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, extra: Ipv4Extra<'_>, payload: &[u8]) -> Vec<u8> {
    let header = 20 + extra.options.len();
    let length = u16::try_from(header + payload.len()).unwrap();
    let mut bytes = vec![0x40 | u8::try_from(header / 4).unwrap(), 0];
    bytes.extend(length.to_be_bytes());
    bytes.extend([0x12, 0x34]);
    bytes.extend(extra.fragment.to_be_bytes());
    bytes.extend([64, protocol, 0, 0]);
    bytes.extend(from.octets());
    bytes.extend(to.octets());
    bytes.extend(extra.options);
    let sum = checksum(&[&bytes]);
    bytes[10..12].copy_from_slice(&sum);
    bytes.extend(payload);
    bytes
}

/// An IPv6 packet; neighbor discovery requires a hop limit of 255.
pub fn ipv6(from: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap();
    [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[next, 255], &from.octets(), &to.octets(), payload].concat()
}

fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => [from.octets(), to.octets()].concat(),
        (IpAddr::V6(from), IpAddr::V6(to)) => [from.octets(), to.octets()].concat(),
        _ => panic!("one family"),
    };
    bytes.extend([0, protocol]);
    bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
    bytes
}

/// A packet of either family, with the checksum at `at` of its payload over the pseudo header.
fn summed(from: IpAddr, to: IpAddr, protocol: u8, at: usize, mut payload: Vec<u8>) -> Vec<u8> {
    let sum = checksum(&[&pseudo(from, to, protocol, payload.len()), &payload]);
    payload[at..at + 2].copy_from_slice(&sum);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ipv4(from, to, protocol, Ipv4Extra::default(), &payload),
        (IpAddr::V6(from), IpAddr::V6(to)) => ipv6(from, to, protocol, &payload),
        _ => panic!("one family"),
    }
}

/// A UDP datagram.
pub fn udp(from: IpAddr, to: IpAddr, ports: [u16; 2], payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap();
    let [source, destination] = ports.map(u16::to_be_bytes);
    let datagram = [&source[..], &destination, &length.to_be_bytes(), &[0, 0], payload].concat();
    summed(from, to, UDP, 6, datagram)
}

/// A TCP SYN with data.
pub fn syn(from: IpAddr, to: IpAddr, port: u16, payload: &[u8]) -> Vec<u8> {
    let header = [0xc3, 0x50, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0];
    let mut segment = [&header[..], payload].concat();
    segment[2..4].copy_from_slice(&port.to_be_bytes());
    summed(from, to, TCP, 16, segment)
}

/// An ICMP message of either family: type, code, and all that follows the checksum.
pub fn icmp(from: IpAddr, to: IpAddr, kind: [u8; 2], rest: &[u8]) -> Vec<u8> {
    let mut message = [&kind[..], &[0, 0], rest].concat();
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let sum = checksum(&[&message]);
            message[2..4].copy_from_slice(&sum);
            ipv4(from, to, ICMP, Ipv4Extra::default(), &message)
        }
        _ => summed(from, to, ICMPV6, 2, message),
    }
}

/// An echo request.
pub fn echo_request(from: IpAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let kind = if from.is_ipv4() { [8, 0] } else { [128, 0] };
    icmp(from, to, kind, &[&[0x70, 0x65, 0, 1][..], payload].concat())
}

/// VXLAN header and inner frame: the payload of UDP.
pub fn vxlan(vni: u32, inner: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = vni.to_be_bytes();
    [&[0x08, 0, 0, 0, a, b, c, 0][..], inner].concat()
}

/// An ARP request or reply with data after it, as padding has.
pub fn arp(operation: u8, from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr), padding: &[u8]) -> Vec<u8> {
    let head = [0, 1, 8, 0, 6, 4, 0, operation];
    let body = [&head[..], &from.0, &from.1.octets(), &to.0, &to.1.octets(), padding].concat();
    frame(if operation == 1 { [0xff; 6] } else { to.0 }, from.0, ARP_TYPE, &body)
}

/// The VNI of an encapsulated frame, or of one that an ICMP error quotes.
pub fn vni_of(frame: &[u8]) -> Option<u32> {
    if frame.get(12..14)? != IPV4_TYPE.to_be_bytes() {
        return None;
    }
    let packet = frame.get(14..)?;
    // Destination unreachable, time exceeded, parameter problem.
    let is_error = *packet.get(9)? == ICMP && matches!(packet.get(20)?, 3 | 11 | 12);
    let packet = if is_error { packet.get(28..)? } else { packet };
    let is_udp = *packet.first()? == 0x45 && *packet.get(9)? == UDP;
    if !is_udp || packet.get(22..24)? != VXLAN_PORT.to_be_bytes() {
        return None;
    }
    let vni = packet.get(32..35)?;
    Some(u32::from_be_bytes([0, vni[0], vni[1], vni[2]]))
}
