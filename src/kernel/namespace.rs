//! A network namespace that we work in: its sockets, its watch and what was last read of it. In: a place. Out: what it
//! holds, read anew only after a change. Changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::route::RouteType;
use tokio::sync::Mutex;

use super::error::{KernelError, NetlinkError};
use super::model::{Netns, Sysctl};
use super::netlink::dump::Reader;
use super::netlink::events::{Changes, Interest, Watch};
use super::netlink::request;
use super::netlink::seen::{Seen, SeenAddress, SeenLink, is_local_last, unreachable_tables};
use super::netlink::socket::Socket;
use super::netns::{self, NetnsError};
use super::nftables;
use crate::types::Family;

/// What is older is read anew even without a change: settings change without a message, and routes are not watched.
const MAX_AGE: Duration = Duration::from_secs(30);

/// A namespace that we work in.
#[derive(Debug)]
pub struct Site {
    netns: Netns,
    place: Place,
    inode: u64,
    changes: Changes,
    watch: Watch,
    // From the first table of ours on.
    tables: Mutex<Option<Watch>>,
    // Opened at the first use and closed after the next observation, as an open socket costs memory and a descriptor,
    // and there may be hundreds of namespaces.
    socket: Mutex<Option<Arc<Socket>>>,
    // Taken out for a read, and put back when it was read to the end. Closed as the other.
    reader: Mutex<Option<Reader>>,
    seen: std::sync::Mutex<Option<(Instant, Arc<Seen>)>>,
    // Of no message: they are read after we changed something, and for their age.
    sysctls: std::sync::Mutex<Option<(Instant, BTreeMap<Sysctl, u32>)>>,
}

/// How to get at the namespace.
#[derive(Debug)]
pub enum Place {
    /// It is held open.
    Open(Arc<File>),
    /// It is opened when needed.
    At(PathBuf),
}

impl Place {
    fn open(&self) -> Result<Arc<File>, NetnsError> {
        match self {
            Self::Open(file) => Ok(file.clone()),
            Self::At(path) => netns::open(path).map(Arc::new),
        }
    }
}

impl Site {
    /// Starts to watch the namespace.
    pub fn open(netns: Netns, place: Place, interest: Interest, changes: Changes) -> Result<Self, NetlinkError> {
        let file = place.open()?;
        let inode = file.metadata().map_err(NetlinkError::Socket)?.ino();
        let watch = Watch::start(&file, interest, changes.clone())?;
        Ok(Self {
            netns,
            place,
            inode,
            changes,
            watch,
            tables: Mutex::new(None),
            socket: Mutex::new(None),
            reader: Mutex::new(None),
            seen: std::sync::Mutex::new(None),
            sysctls: std::sync::Mutex::new(None),
        })
    }

    /// Which one it is.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Tells a namespace from a later one at the same path.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The namespace itself.
    pub fn file(&self) -> Result<Arc<File>, NetlinkError> {
        Ok(self.place.open()?)
    }

    /// Its socket.
    pub async fn socket(&self) -> Result<Arc<Socket>, NetlinkError> {
        let mut socket = self.socket.lock().await;
        if let Some(socket) = &*socket {
            return Ok(socket.clone());
        }
        let opened = Arc::new(Socket::open(&*self.file()?)?);
        *socket = Some(opened.clone());
        Ok(opened)
    }

    /// Closes its sockets until the next use.
    pub async fn rest(&self) {
        self.socket.lock().await.take();
        self.reader.lock().await.take();
    }

    /// Notes that it was changed.
    pub fn mark(&self) {
        self.known_sysctls().take();
        self.watch.mark();
    }

    fn known_sysctls(&self) -> MutexGuard<'_, Option<(Instant, BTreeMap<Sysctl, u32>)>> {
        self.sysctls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all that keeps the namespace alive.
    pub async fn close(self) {
        if let Some(socket) = self.socket.into_inner().and_then(Arc::into_inner) {
            socket.close().await;
        }
        self.watch.close().await;
        if let Some(watch) = self.tables.into_inner() {
            watch.close().await;
        }
    }

    fn seen(&self) -> MutexGuard<'_, Option<(Instant, Arc<Seen>)>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it held when it was last read, if nothing was heard of a change since.
    ///
    /// `turn`: it is its turn to be read anew for its age.
    pub fn known(&self, turn: bool) -> Option<Arc<Seen>> {
        let seen = self.seen();
        let (at, seen) = seen.as_ref()?;
        (!self.watch.is_marked() && (!turn || at.elapsed() < MAX_AGE)).then(|| seen.clone())
    }

    /// What it holds.
    ///
    /// `tables`: it may hold nftables tables of ours. `turn`: as of [`Site::known`].
    pub async fn read(&self, tables: bool, turn: bool) -> Result<Arc<Seen>, KernelError> {
        let mut kept_reader = self.reader.lock().await;
        if let Some(seen) = self.known(turn) {
            return Ok(seen);
        }
        // Taken before the read: what changes during it marks it anew.
        self.watch.take_mark();
        match self.read_now(kept_reader.take(), tables).await {
            Ok((seen, reader)) => {
                *kept_reader = Some(reader);
                let mut last = self.seen();
                let seen = kept(last.as_ref().map(|(_, last)| last), seen);
                *last = Some((Instant::now(), seen.clone()));
                Ok(seen)
            }
            Err(error) => {
                self.watch.mark();
                Err(error)
            }
        }
    }

    async fn read_now(&self, reader: Option<Reader>, tables: bool) -> Result<(Seen, Reader), KernelError> {
        let failed = |what: &'static str| move |source| KernelError::Read { what, netns: self.netns.clone(), source };
        let file = self.file().map_err(failed("links"))?;
        let mut reader = reader.map_or_else(|| Reader::open(&file), Ok).map_err(failed("links"))?;
        let link = |links: &mut BTreeMap<u32, SeenLink>, message| {
            if let RouteNetlinkMessage::NewLink(message) = message {
                links.insert(message.header.index, SeenLink::new(&message));
            }
        };
        let links = reader.dump(request::get_links(), link).await.map_err(failed("links"))?;
        let address = |addresses: &mut Vec<_>, message| {
            if let RouteNetlinkMessage::NewAddress(message) = message {
                addresses.extend(SeenAddress::of(&message));
            }
        };
        let addresses = reader.dump(request::get_addresses(), address).await.map_err(failed("addresses"))?;
        let mut seen = Seen::new(links, addresses);
        if self.netns == Netns::Router {
            // The kernel goes through all routes but sends only those of that type.
            for family in [Family::Ipv4, Family::Ipv6] {
                let request = request::get_routes(family, Some(RouteType::Unreachable));
                let routes = reader.dump(request, Vec::push).await.map_err(failed("routes"))?;
                seen.unreachable.extend(unreachable_tables(family, &routes));
                let rules = match reader.dump(request::get_rules(family), Vec::push).await {
                    // A kernel without rules, or without IPv6: it has no VRF devices of that family either.
                    Err(NetlinkError::Refused { errno: Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP, .. }) => vec![],
                    rules => rules.map_err(failed("rules"))?,
                };
                seen.local_last.extend(is_local_last(&rules).then_some(family));
            }
        }
        seen.sysctls = self.sysctls(&file).map_err(failed("settings"))?;
        if tables && self.netns != Netns::Host {
            let mut watch = self.tables.lock().await;
            if watch.is_none() {
                *watch = Some(self.watch.also_tables(&file, self.changes.clone()).map_err(failed("tables"))?);
            }
            seen.listen_ports = nftables::read(&file).map_err(failed("tables"))?;
        }
        Ok((seen, reader))
    }

    fn sysctls(&self, file: &File) -> Result<BTreeMap<Sysctl, u32>, NetlinkError> {
        if let Some((at, known)) = &*self.known_sysctls()
            && at.elapsed() < MAX_AGE
        {
            return Ok(known.clone());
        }
        let now = Instant::now();
        let values: BTreeMap<_, _> =
            netns::in_netns(file, read_sysctls)?.map_err(NetlinkError::Socket)?.into_iter().collect();
        *self.known_sysctls() = Some((now, values.clone()));
        Ok(values)
    }
}

/// The last value where the new one is the same: it is known again without a look at what it holds.
pub(crate) fn kept<T: PartialEq>(last: Option<&Arc<T>>, new: T) -> Arc<T> {
    last.filter(|last| ***last == new).cloned().unwrap_or_else(|| Arc::new(new))
}

/// The settings that the kernel has, of the namespace of the calling thread.
fn read_sysctls() -> std::io::Result<Vec<(Sysctl, u32)>> {
    let mut values = Vec::new();
    for sysctl in Sysctl::ALL {
        match std::fs::read_to_string(format!("/proc/sys/{}", sysctl.path())) {
            Ok(text) => values.extend(text.trim().parse().ok().map(|value| (sysctl, value))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(values)
}
