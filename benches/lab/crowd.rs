//! Many workloads of one segment, behind one port of its bridge on the host: each has a MAC and an IP address, asks for the gateway
//! once, and answers whoever asks for it. In: the node, the bridge, addresses. Out: ARP frames.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use perouter_lab::node::Node;

use crate::segment::Segment;
use crate::testbed::Moment;

/// The port in the bridge, and the end of the workloads.
const PORT: &str = "crowd";
const END: &str = "crowd0";
/// Frames sent at once: a bridge port holds more.
const BURST: usize = 64;
const BURST_PAUSE: Duration = Duration::from_millis(1);
const BROADCAST: [u8; 6] = [0xff; 6];
const ARP_TYPE: [u8; 2] = [0x08, 0x06];
/// Ethernet, IPv4, and the lengths of their addresses.
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u8 = 1;
const REPLY: u8 = 2;

/// The workloads; dropped, they answer no more.
pub struct Crowd {
    node: Node,
    segment: Segment,
    socket: Arc<OwnedFd>,
    link: LinkAddr,
    stop: Arc<AtomicBool>,
    answering: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Attaches them to the bridge of a segment. They are silent.
    pub fn attach(node: &Node, segment: Segment) -> anyhow::Result<Self> {
        let bridge = segment.host_bridge();
        node.check(&["ip", "link", "add", PORT, "type", "veth", "peer", "name", END])?;
        // The kernel sets a link up before it sets `addrgenmode` of the same message, and a link-local address would be one more route.
        node.check(&["ip", "link", "set", END, "addrgenmode", "none"])?;
        node.check(&["ip", "link", "set", END, "up"])?;
        node.check(&["ip", "link", "set", PORT, "addrgenmode", "none", "master", &bridge])?;
        node.check(&["ip", "link", "set", PORT, "up"])?;
        let (socket, link) = node.within_netns(open)??;
        let (socket, stop) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
        let answering = {
            let (socket, stop) = (Arc::clone(&socket), Arc::clone(&stop));
            std::thread::spawn(move || answer(&socket, &link, segment, &stop))
        };
        Ok(Self { node: node.clone(), segment, socket, link, stop, answering: Some(answering) })
    }

    /// So many of them ask for the gateway, once each. Returns when they began.
    pub fn speak(&self, workloads: usize) -> anyhow::Result<Moment> {
        let start = Moment::now();
        for workload in 1..=workloads {
            let address = address(self.segment, workload);
            let frame = arp(REQUEST, (mac(address), address), ([0; 6], self.segment.gateway()), BROADCAST);
            while let Err(error) = sendto(self.socket.as_raw_fd(), &frame, &self.link, MsgFlags::empty()) {
                if error != Errno::ENOBUFS {
                    bail!("send a frame: {error}");
                }
                std::thread::sleep(BURST_PAUSE);
            }
            if workload % BURST == 0 {
                std::thread::sleep(BURST_PAUSE);
            }
        }
        Ok(start)
    }

    /// Removes them; those that are kept are gone for the kernel when they do not answer.
    pub fn detach(self) -> anyhow::Result<()> {
        self.node.check(&["ip", "link", "delete", PORT])?;
        Ok(())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(answering) = self.answering.take() {
            let _panicked = answering.join();
        }
    }
}

fn open() -> anyhow::Result<(OwnedFd, LinkAddr)> {
    let mut links = nix::ifaddrs::getifaddrs()?.filter(|address| address.interface_name == END);
    let link = links.find_map(|address| address.address?.as_link_addr().copied()).context(END)?;
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)?;
    bind(socket.as_raw_fd(), &link)?;
    setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20))?;
    setsockopt(&socket, sockopt::SndBuf, &(8 << 20))?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(50))?;
    Ok((socket, link))
}

/// Answers ARP requests until it is stopped or its link is gone.
fn answer(socket: &OwnedFd, link: &LinkAddr, segment: Segment, stop: &AtomicBool) {
    let mut buffer = [0; 128];
    while !stop.load(Ordering::Relaxed) {
        match recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => {
                if let Some(reply) = reply(&buffer[..length], segment) {
                    // One that is lost is asked for again.
                    let _lost = sendto(socket.as_raw_fd(), &reply, link, MsgFlags::empty());
                }
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(_) => return,
        }
    }
}

/// What the workload that a frame asks for answers.
fn reply(frame: &[u8], segment: Segment) -> Option<Vec<u8>> {
    let arp = frame.get(14..42).filter(|_| frame[12..14] == ARP_TYPE)?;
    let (sender, target) = (arp[8..14].try_into().ok()?, octets(&arp[24..28])?);
    let asker = octets(&arp[14..18])?;
    // What they send themselves is seen, too.
    let is_asked = arp[..8] == [&ARP_HEAD[..], &[0, REQUEST]].concat() && asker == segment.gateway();
    is_asked.then(|| self::arp(REPLY, (mac(target), target), (sender, asker), sender))
}

fn octets(bytes: &[u8]) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))
}

/// The address of a workload, counted from 1: those after the gateway.
fn address(segment: Segment, workload: usize) -> Ipv4Addr {
    let offset = u32::try_from(workload).unwrap_or(u32::MAX);
    Ipv4Addr::from_bits(segment.gateway().to_bits().saturating_add(offset))
}

/// The MAC address of the workload with an address.
fn mac(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    [0x0a, 0x58, a, b, c, d]
}

/// An ARP frame (RFC 826) `to` a MAC address.
fn arp(operation: u8, sender: ([u8; 6], Ipv4Addr), target: ([u8; 6], Ipv4Addr), to: [u8; 6]) -> Vec<u8> {
    let ((sender_mac, sender_ip), (target_mac, target_ip)) = (sender, target);
    let mut frame = [&to[..], &sender_mac, &ARP_TYPE, &ARP_HEAD, &[0, operation]].concat();
    frame.extend([&sender_mac[..], &sender_ip.octets(), &target_mac, &target_ip.octets()].concat());
    frame
}
