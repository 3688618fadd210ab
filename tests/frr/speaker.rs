//! A BGP speaker of its own (RFC 4271), for attributes that no implementation sends. It opens the connection, has no hold
//! timer, sends UPDATE messages as they are given, and keeps the path attributes of those that it receives.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// An address family: AFI and SAFI.
pub type AfiSafi = (u16, u8);

pub const IPV4_UNICAST: AfiSafi = (1, 1);
pub const IPV6_UNICAST: AfiSafi = (2, 1);
pub const L2VPN_EVPN: AfiSafi = (25, 70);

/// `ORIGIN`
pub const ORIGIN: u8 = 1;
/// `AS_PATH`
pub const AS_PATH: u8 = 2;
/// `NEXT_HOP`
pub const NEXT_HOP: u8 = 3;
/// `LOCAL_PREF`
pub const LOCAL_PREF: u8 = 5;
/// `MP_REACH_NLRI`
pub const MP_REACH: u8 = 14;
const MP_UNREACH: u8 = 15;

/// Well-known transitive.
pub const WELL_KNOWN: u8 = 0x40;
/// Optional, not transitive.
pub const OPTIONAL: u8 = 0x80;
/// Optional and transitive.
pub const TRANSITIVE: u8 = 0xc0;
const EXTENDED_LENGTH: u8 = 0x10;

const OPEN: u8 = 1;
const UPDATE: u8 = 2;
const NOTIFICATION: u8 = 3;
const KEEPALIVE: u8 = 4;

const HEADER: usize = 19;

/// A path attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub flags: u8,
    pub type_: u8,
    pub value: Vec<u8>,
}

impl Attribute {
    pub fn new(flags: u8, type_: u8, value: impl Into<Vec<u8>>) -> Self {
        Self { flags, type_, value: value.into() }
    }

    fn encode(&self) -> Vec<u8> {
        let length = u16::try_from(self.value.len()).unwrap();
        let mut bytes = vec![self.flags | EXTENDED_LENGTH, self.type_];
        bytes.extend(length.to_be_bytes());
        bytes.extend(&self.value);
        bytes
    }
}

/// A prefix as in NLRI.
pub fn nlri(prefix: ipnet::IpNet) -> Vec<u8> {
    let bytes = match prefix.addr() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let length = prefix.prefix_len();
    std::iter::once(length).chain(bytes.into_iter().take(usize::from(length).div_ceil(8))).collect()
}

/// The attribute `MP_REACH_NLRI` (RFC 4760) of one prefix.
pub fn mp_reach((afi, safi): AfiSafi, next_hop: &[u8], prefix: ipnet::IpNet) -> Attribute {
    let mut value = afi.to_be_bytes().to_vec();
    value.extend([safi, u8::try_from(next_hop.len()).unwrap()]);
    value.extend(next_hop);
    value.push(0);
    value.extend(nlri(prefix));
    Attribute::new(OPTIONAL, MP_REACH, value)
}

/// What a speaker has received.
#[derive(Debug, Default)]
struct Received {
    /// The attributes of EVPN Type-5 routes (RFC 9136 section 3.1), by prefix.
    type5: BTreeMap<ipnet::IpNet, Vec<Attribute>>,
    established: bool,
    /// NOTIFICATION, or the end of the connection.
    end: Option<String>,
}

/// A speaker with an open connection.
pub struct RawSpeaker {
    stream: TcpStream,
    received: Arc<Mutex<Received>>,
}

impl RawSpeaker {
    /// Connects from one address to another, in the network namespace of this thread, until it is established.
    pub fn connect(local: IpAddr, remote: IpAddr, asn: u32, families: &[AfiSafi], limit: Duration) -> Self {
        let end = Instant::now() + limit;
        loop {
            if let Some(speaker) = Self::try_connect(local, remote, asn, families) {
                return speaker;
            }
            assert!(Instant::now() < end, "{local} has no session with {remote}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn try_connect(local: IpAddr, remote: IpAddr, asn: u32, families: &[AfiSafi]) -> Option<Self> {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};
        use std::os::fd::AsRawFd;
        let family = if local.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(local, 0))).ok()?;
        connect(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(remote, 179))).ok()?;
        let mut stream = TcpStream::from(fd);
        stream.write_all(&open(asn, families)).ok()?;
        let received = Arc::new(Mutex::new(Received::default()));
        let (of_reader, mut reader) = (Arc::clone(&received), stream.try_clone().unwrap());
        std::thread::spawn(move || {
            let end = receive(&mut reader, &of_reader);
            of_reader.lock().unwrap().end = Some(end);
        });
        let speaker = Self { stream, received };
        let limit = Instant::now() + Duration::from_secs(5);
        while Instant::now() < limit && speaker.end().is_none() {
            if speaker.received.lock().unwrap().established {
                return Some(speaker);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        None
    }

    /// Why the connection is over.
    pub fn end(&self) -> Option<String> {
        self.received.lock().unwrap().end.clone()
    }

    /// Sends an UPDATE with these attributes, and IPv4 prefixes after them (RFC 4271 section 4.3).
    pub fn update(&mut self, attributes: &[Attribute], prefixes: &[ipnet::IpNet]) {
        let attributes: Vec<u8> = attributes.iter().flat_map(Attribute::encode).collect();
        let mut body = vec![0, 0];
        body.extend(u16::try_from(attributes.len()).unwrap().to_be_bytes());
        body.extend(attributes);
        body.extend(prefixes.iter().flat_map(|prefix| nlri(*prefix)));
        self.stream.write_all(&message(UPDATE, &body)).unwrap();
    }

    /// The attributes of the Type-5 route of a prefix.
    pub fn type5(&self, prefix: ipnet::IpNet) -> Option<Vec<Attribute>> {
        self.received.lock().unwrap().type5.get(&prefix).cloned()
    }
}

impl Drop for RawSpeaker {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}

fn message(type_: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend(u16::try_from(HEADER + body.len()).unwrap().to_be_bytes());
    bytes.push(type_);
    bytes.extend(body);
    bytes
}

/// OPEN without a hold time; capabilities: address families (RFC 4760), route refresh (RFC 2918), AS numbers of four octets
/// (RFC 6793).
fn open(asn: u32, families: &[AfiSafi]) -> Vec<u8> {
    let mut capabilities = vec![2, 0, 65, 4];
    capabilities.extend(asn.to_be_bytes());
    for (afi, safi) in families {
        capabilities.extend([1, 4]);
        capabilities.extend(afi.to_be_bytes());
        capabilities.extend([0, *safi]);
    }
    let length = u8::try_from(capabilities.len()).unwrap();
    let mut body = vec![4];
    body.extend(u16::try_from(asn).unwrap_or(23_456).to_be_bytes());
    body.extend([0, 0]);
    body.extend(Ipv4Addr::new(9, 9, 9, u8::try_from(asn % 200 + 1).unwrap()).octets());
    body.extend([length + 2, 2, length]);
    body.extend(capabilities);
    message(OPEN, &body)
}

/// Reads until the connection ends; returns why.
fn receive(stream: &mut TcpStream, received: &Mutex<Received>) -> String {
    loop {
        let mut header = [0; HEADER];
        if let Err(error) = stream.read_exact(&mut header) {
            return error.to_string();
        }
        let mut body = vec![0; usize::from(u16::from_be_bytes([header[16], header[17]])) - HEADER];
        if let Err(error) = stream.read_exact(&mut body) {
            return error.to_string();
        }
        match header[18] {
            OPEN => stream.write_all(&message(KEEPALIVE, &[])).unwrap_or_default(),
            KEEPALIVE => received.lock().unwrap().established = true,
            NOTIFICATION => return format!("NOTIFICATION {body:?}"),
            UPDATE => read_update(&body, &mut received.lock().unwrap()),
            _ => {}
        }
    }
}

fn read_update(body: &[u8], received: &mut Received) {
    let withdrawn = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let rest = &body[2 + withdrawn..];
    let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
    let attributes = read_attributes(&rest[2..2 + length]);
    for attribute in &attributes {
        let (header, family) = (&attribute.value, &attribute.value[..3.min(attribute.value.len())]);
        if family != [0, 25, 70] {
            continue;
        }
        match attribute.type_ {
            MP_REACH => {
                // AFI, SAFI, next hop with its length, one reserved octet.
                let routes = &header[5 + usize::from(header[3])..];
                let others: Vec<_> = attributes.iter().filter(|other| other.type_ != MP_REACH).cloned().collect();
                received.type5.extend(type5_prefixes(routes).into_iter().map(|prefix| (prefix, others.clone())));
            }
            MP_UNREACH => {
                for prefix in type5_prefixes(&header[3..]) {
                    received.type5.remove(&prefix);
                }
            }
            _ => {}
        }
    }
}

fn read_attributes(mut bytes: &[u8]) -> Vec<Attribute> {
    let mut attributes = Vec::new();
    while let [flags, type_, rest @ ..] = bytes {
        let (length, rest) = if flags & EXTENDED_LENGTH == 0 {
            (usize::from(rest[0]), &rest[1..])
        } else {
            (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..])
        };
        attributes.push(Attribute::new(flags & !EXTENDED_LENGTH, *type_, &rest[..length]));
        bytes = &rest[length..];
    }
    attributes
}

/// RFC 9136 section 3.1: RD, ESI, Ethernet tag, length, prefix, gateway, label.
fn type5_prefixes(mut bytes: &[u8]) -> Vec<ipnet::IpNet> {
    let mut found = Vec::new();
    while let [type_, length, rest @ ..] = bytes {
        let (route, after) = rest.split_at(usize::from(*length));
        if *type_ == 5 {
            let octets = &route[23..];
            let address: IpAddr = if *length == 34 {
                <[u8; 4]>::try_from(&octets[..4]).unwrap().into()
            } else {
                <[u8; 16]>::try_from(&octets[..16]).unwrap().into()
            };
            found.push(ipnet::IpNet::new(address, route[22]).unwrap());
        }
        bytes = after;
    }
    found
}
