//! Frames sent and captured in network namespaces, by raw sockets. In: namespaces as files, and frames. Out: where each
//! marked frame was seen. Decides nothing: which places are right is up to the test.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use nix::errno::Errno;
use nix::libc::{MSG_DONTWAIT, RTMGRP_LINK};
use nix::net::if_::if_nameindex;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};
use perouter::kernel::netns::in_netns;

use super::packet::vni_of;

/// The start of the payload of each frame of a test; then the origin.
pub const MARK: &[u8; 11] = b"perouter-lk";

/// How often changes of the names of links are read.
const NAMES: Duration = Duration::from_millis(20);

/// Sends frames out of one interface.
pub struct Injector {
    socket: OwnedFd,
    to: LinkAddr,
}

impl Injector {
    /// `None` while the interface does not exist.
    pub fn open(netns: &Path, interface: &str) -> Option<Self> {
        let opened = in_netns(&File::open(netns).ok()?, || {
            let addresses = nix::ifaddrs::getifaddrs().unwrap();
            let mut links = addresses.filter(|address| address.interface_name == interface);
            let to = links.find_map(|address| address.address?.as_link_addr().copied())?;
            let flags = SockFlag::SOCK_CLOEXEC;
            // Without a protocol it receives nothing.
            let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None).unwrap();
            Some(Self { socket, to })
        });
        opened.unwrap()
    }

    /// Whether the kernel took the frame.
    pub fn send(&self, frame: &[u8]) -> bool {
        sendto(self.socket.as_raw_fd(), frame, &self.to, MsgFlags::empty()).is_ok()
    }
}

/// Where a frame was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The namespace, as the test calls it.
    pub netns: String,
    /// The interface.
    pub interface: String,
    /// The VNI of its VXLAN encapsulation.
    pub vni: Option<u32>,
    /// The origin in its mark.
    pub origin: u8,
}

/// How often, and the first frame.
pub type Seen = BTreeMap<Place, (usize, Vec<u8>)>;

/// Captures in several namespaces, also in those that appear later.
#[derive(Default)]
pub struct Captures {
    stop: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    threads: Vec<JoinHandle<()>>,
}

impl Captures {
    /// Captures in a namespace from now on.
    pub fn add(&mut self, netns: &Path, name: &str) {
        let thread = capture(netns, name, &self.stop, &self.seen);
        self.threads.push(thread.unwrap_or_else(|| panic!("no namespace {}", netns.display())));
    }

    /// Captures in each namespace of a directory, also in those that appear there later.
    pub fn add_all(&mut self, directory: PathBuf, name: &'static str) {
        let (stop, seen) = (Arc::clone(&self.stop), Arc::clone(&self.seen));
        self.threads.push(std::thread::spawn(move || {
            let mut known = BTreeMap::new();
            while !stop.load(Ordering::Relaxed) {
                for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                    let file = entry.file_name().to_string_lossy().into_owned();
                    let Ok(inode) = std::fs::metadata(entry.path()).map(|m| std::os::unix::fs::MetadataExt::ino(&m))
                    else {
                        continue;
                    };
                    if let std::collections::btree_map::Entry::Vacant(new) = known.entry(inode)
                        && let Some(thread) = capture(&entry.path(), &format!("{name}{file}"), &stop, &seen)
                    {
                        new.insert(thread);
                    }
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            for thread in known.into_values() {
                thread.join().unwrap();
            }
        }));
    }

    /// What was seen since the last call.
    pub fn take(&self) -> Seen {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

impl Drop for Captures {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// `None` where there is no namespace.
fn capture(netns: &Path, name: &str, stop: &Arc<AtomicBool>, seen: &Arc<Mutex<Seen>>) -> Option<JoinHandle<()>> {
    let file = File::open(netns).ok()?;
    let opened = in_netns(&file, || {
        let flags = SockFlag::SOCK_CLOEXEC;
        let names = LinkNames::new();
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).unwrap();
        setsockopt(&socket, sockopt::RcvBufForce, &(64 << 20)).unwrap();
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::milliseconds(20)).unwrap();
        (socket, names)
    });
    // Not a namespace yet, or one that is just deleted.
    let (socket, names) = opened.ok()?;
    let (name, stop, seen) = (name.to_owned(), Arc::clone(stop), Arc::clone(seen));
    Some(std::thread::spawn(move || {
        // Names are those of the namespace.
        in_netns(&file, || receive(&socket, names, &name, &stop, &seen)).unwrap();
    }))
}

/// The names of the links that a namespace has or had: a frame may be read after its link was deleted.
struct LinkNames {
    events: netlink_sys::Socket,
    names: BTreeMap<u32, String>,
    read: Instant,
}

impl LinkNames {
    /// Those of the namespace of this thread.
    fn new() -> Self {
        let mut events = netlink_sys::Socket::new(NETLINK_ROUTE).unwrap();
        events.bind(&netlink_sys::SocketAddr::new(0, RTMGRP_LINK.unsigned_abs())).unwrap();
        let mut links = Self { events, names: BTreeMap::new(), read: Instant::now() };
        links.read_all();
        links
    }

    fn read_all(&mut self) {
        let links = if_nameindex().unwrap();
        self.names.extend(links.iter().map(|link| (link.index(), link.name().to_string_lossy().into_owned())));
    }

    /// The name of the link with this index. A link has a name before it has a frame.
    fn of(&mut self, index: u32) -> String {
        if !self.names.contains_key(&index) {
            self.read_events();
        }
        self.names.get(&index).cloned().unwrap_or_else(|| format!("unknown link {index}"))
    }

    fn read_events(&mut self) {
        self.read = Instant::now();
        let mut buffer = Vec::with_capacity(64 << 10);
        loop {
            buffer.clear();
            match self.events.recv(&mut buffer, MSG_DONTWAIT) {
                Ok(_) => self.names.extend(named_link(&buffer)),
                Err(error) if error.raw_os_error() == Some(Errno::EAGAIN as i32) => return,
                // Events were lost.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => self.read_all(),
                Err(error) => panic!("events of links: {error}"),
            }
        }
    }
}

/// The index and name of a link that is new or changed.
fn named_link(event: &[u8]) -> Option<(u32, String)> {
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(LinkMessage { header, attributes, .. })) =
        NetlinkMessage::deserialize(event).unwrap().payload
    else {
        return None;
    };
    let name = attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name),
        _ => None,
    })?;
    Some((header.index, name))
}

fn receive(socket: &OwnedFd, mut names: LinkNames, netns: &str, stop: &AtomicBool, seen: &Mutex<Seen>) {
    let mut buffer = vec![0; 10_000];
    while !stop.load(Ordering::Relaxed) {
        if names.read.elapsed() > NAMES {
            names.read_events();
        }
        let Ok((length, Some(from))) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) else { continue };
        let frame = &buffer[..length];
        let Some(at) = frame.windows(MARK.len()).position(|window| window == MARK) else { continue };
        let interface = names.of(u32::try_from(from.ifindex()).unwrap());
        let origin = frame.get(at + MARK.len()).copied().unwrap_or(b'?');
        let place = Place { netns: netns.to_owned(), interface, vni: vni_of(frame), origin };
        let mut seen = seen.lock().unwrap();
        let entry = seen.entry(place).or_insert_with(|| (0, frame.to_vec()));
        entry.0 += 1;
    }
}
