//! A network namespace that we work in: its socket, its watch and what was last read of it. In: a way to open it. Out: its
//! contents, read again only after a change, and changes sent to the kernel. Decides on no change.

mod segments;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{MappedMutexGuard, Mutex};

use crate::kernel::error::{KernelError, OpError};
use crate::kernel::model::{Netns, RouteUse, Sysctl};
use crate::kernel::neighbor_keeper::KeptSegments;
use crate::kernel::netlink::contents::{NetnsContents, ObservedLink};
use crate::kernel::netlink::error::NetlinkError;
use crate::kernel::netlink::events::{ChangeSignal, EventFilter, Watch};
use crate::kernel::netlink::request::Request;
use crate::kernel::netlink::socket::{Route, Socket};
use crate::kernel::netns::{self, NetnsError};
use crate::kernel::nftables;
use crate::kernel::polled_settings::PolledSettings;
use crate::types::{Family, MacAddr};
use crate::write_watch::WriteWatch;

/// What is older is read again even without a change: settings change without a message, and routes are not watched.
const MAX_AGE: Duration = Duration::from_secs(30);

/// Settings, and when they were read.
type KnownSysctls = (Instant, Arc<BTreeMap<Sysctl, u32>>);

/// A namespace that we work in.
#[derive(Debug)]
pub struct Namespace {
    netns: Netns,
    file: Arc<File>,
    inode: u64,
    changes: ChangeSignal,
    watch: Watch,
    // From our first table on.
    table_watch: Mutex<Option<Watch>>,
    // Opened at the first use and closed after the next observation, as an open socket costs memory and a descriptor, and there
    // may be hundreds of namespaces.
    socket: Mutex<Option<Socket<Route>>>,
    // Held during a read, so that what one task reads is not read by another.
    reading: Mutex<()>,
    contents: std::sync::Mutex<Option<(Instant, Arc<NetnsContents>)>>,
    // Most settings cause no message: they are read after we changed something, and for their age.
    sysctls: std::sync::Mutex<Option<KnownSysctls>>,
    polled: std::sync::Mutex<PolledSettings>,
    // While there are L2 segments.
    segments: Mutex<Option<Box<KeptSegments>>>,
}

impl Namespace {
    /// Starts to watch the namespace.
    pub fn open(
        netns: Netns,
        file: File,
        filter: EventFilter,
        changes: ChangeSignal,
        write_watch: Arc<WriteWatch>,
    ) -> Result<Self, NetlinkError> {
        let inode = file.metadata().map_err(NetlinkError::Open)?.ino();
        let watch = Watch::start(&file, filter, changes.clone())?;
        Ok(Self {
            netns,
            file: Arc::new(file),
            inode,
            changes,
            watch,
            table_watch: Mutex::new(None),
            socket: Mutex::new(None),
            reading: Mutex::new(()),
            contents: std::sync::Mutex::new(None),
            sysctls: std::sync::Mutex::new(None),
            polled: std::sync::Mutex::new(PolledSettings::new(write_watch)),
            segments: Mutex::new(None),
        })
    }

    /// Which one it is.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Distinguishes a namespace from a later one at the same path.
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// The namespace itself.
    pub fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Binds the namespace to `path` again, from where others have unbound it.
    pub fn restore(&self, path: &Path) -> Result<(), NetnsError> {
        netns::restore(Path::new(&format!("/proc/self/fd/{}", self.file.as_raw_fd())), path)
    }

    async fn socket(&self) -> Result<MappedMutexGuard<'_, Socket<Route>>, NetlinkError> {
        let mut slot = self.socket.lock().await;
        let socket = match slot.take().filter(Socket::is_idle) {
            Some(socket) => socket,
            None => Socket::open(&self.file)?,
        };
        Ok(tokio::sync::MutexGuard::map(slot, move |slot| slot.insert(socket)))
    }

    /// Sends a change and waits for its acknowledgement.
    pub async fn change(&self, request: Request) -> Result<(), NetlinkError> {
        self.socket().await?.change(request.message, request.flags).await
    }

    /// Reads the link with this name, with its ifindex.
    pub async fn find(&self, name: &str) -> Result<Option<(u32, ObservedLink)>, NetlinkError> {
        self.socket().await?.link(name).await
    }

    /// The ifindex of the link of ours with this name.
    async fn find_owned(&self, name: &str) -> Result<Option<u32>, NetlinkError> {
        Ok(self.find(name).await?.filter(|(_, link)| link.owned.is_some()).map(|(index, _)| index))
    }

    /// Reads the link with this ifindex.
    pub async fn find_at(&self, index: u32) -> Result<Option<ObservedLink>, NetlinkError> {
        self.socket().await?.link_at(index).await
    }

    /// Reads all links, by ifindex.
    pub async fn links(&self) -> Result<BTreeMap<u32, Arc<ObservedLink>>, NetlinkError> {
        self.socket().await?.links().await
    }

    /// Reads the MAC addresses in the FDB of the link of ours with this name; none where it does not exist.
    pub async fn fdb(&self, name: &str) -> Result<BTreeSet<MacAddr>, NetlinkError> {
        match self.find_owned(name).await? {
            Some(index) => Ok(self.socket().await?.fdbs().await?.remove(&index).unwrap_or_default()),
            None => Ok(BTreeSet::new()),
        }
    }

    /// Has the kernel report those addresses of a link once more that are not `known`. Returns how many.
    pub async fn repeat_addresses(&self, name: &str, known: &BTreeSet<IpAddr>) -> Result<usize, NetlinkError> {
        if let Some(contents) = self.known(false) {
            let links = contents.links.values().filter(|link| link.name == name);
            if !links.flat_map(|link| &link.addresses).any(|address| address.is_missing_in(known)) {
                return Ok(0);
            }
        }
        match self.find(name).await? {
            Some((index, _)) => self.socket().await?.repeat_addresses(index, known).await,
            None => Ok(0),
        }
    }

    /// What the routes over the link with this ifindex are needed for.
    pub async fn route_use(&self, index: u32, api_servers: &BTreeSet<IpAddr>) -> Result<RouteUse, NetlinkError> {
        self.socket().await?.route_use(index, api_servers).await
    }

    /// Ifindexes of the links over which an address is reached.
    pub async fn links_to(&self, address: IpAddr) -> Result<BTreeSet<u32>, NetlinkError> {
        self.socket().await?.links_to(address).await
    }

    /// The addresses that the kernel asks for in vain, each with the ifindex of its link.
    pub async fn unresolved(&self) -> Result<BTreeSet<(IpAddr, u32)>, NetlinkError> {
        self.socket().await?.unresolved().await
    }

    /// The ifindex of the link with this name, which must exist.
    pub async fn index_of(&self, name: &str) -> Result<u32, OpError> {
        match self.find(name).await? {
            Some((index, _)) => Ok(index),
            None => Err(OpError::NoLink { name: name.to_owned(), netns: self.netns.clone() }),
        }
    }

    /// Closes its socket until the next use. That of the host or the router, which are in use in each pass, stays open.
    pub async fn rest(&self) {
        if matches!(self.netns, Netns::Vrf(_)) {
            self.socket.lock().await.take();
        }
    }

    /// Marks what was read as stale.
    pub fn mark_stale(&self) {
        self.known_sysctls().take();
        self.watch.mark_stale();
    }

    /// How many settings of links can be polled.
    pub fn link_files(&self) -> usize {
        self.polled().link_files()
    }

    /// Whether inotify reports writes to all these settings, so that they are polled for other writers alone.
    pub fn is_watched(&self) -> bool {
        self.polled().is_watched()
    }

    fn polled(&self) -> MutexGuard<'_, PolledSettings> {
        self.polled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a setting on which isolation rests changed since it was read, which marks the namespace as stale. `own`: those
    /// of the namespace itself are read. Of the settings of links only the next `link_files` are.
    pub fn poll_settings(&self, own: bool, link_files: usize) -> bool {
        let mut polled = self.polled();
        let changed = own && self.known_sysctls().as_ref().is_some_and(|(_, known)| polled.differ(known))
            || self.known_contents().as_ref().is_some_and(|(_, known)| polled.links_differ(known, link_files));
        drop(polled);
        if changed {
            self.mark_stale();
        }
        changed
    }

    fn known_sysctls(&self) -> MutexGuard<'_, Option<KnownSysctls>> {
        self.sysctls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_contents(&self) -> MutexGuard<'_, Option<(Instant, Arc<NetnsContents>)>> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes all that keeps the namespace alive.
    pub async fn close(self) {
        drop((self.socket, self.file));
        self.watch.close().await;
        if let Some(watch) = self.table_watch.into_inner() {
            watch.close().await;
        }
        if let Some(mut segments) = self.segments.into_inner() {
            segments.close().await;
        }
    }

    /// Its contents as they were read last, if they are not stale.
    ///
    /// `turn`: whether they are stale for their age, too.
    pub fn known(&self, turn: bool) -> Option<Arc<NetnsContents>> {
        let contents = self.known_contents();
        let (at, contents) = contents.as_ref()?;
        (!self.watch.is_stale() && (!turn || at.elapsed() < MAX_AGE)).then(|| contents.clone())
    }

    /// Its contents.
    ///
    /// `tables`: whether it may have nftables tables of ours. `turn`: as of [`Namespace::known`].
    pub async fn read(&self, tables: bool, turn: bool) -> Result<Arc<NetnsContents>, KernelError> {
        let _alone = self.reading.lock().await;
        if let Some(contents) = self.known(turn) {
            return Ok(contents);
        }
        // Before the read: a change during it marks the contents as stale again.
        self.watch.clear_stale();
        match self.read_now(tables).await {
            Ok(contents) => {
                let contents = Arc::new(contents);
                *self.known_contents() = Some((Instant::now(), contents.clone()));
                Ok(contents)
            }
            Err(error) => {
                self.watch.mark_stale();
                Err(error)
            }
        }
    }

    async fn read_now(&self, tables: bool) -> Result<NetnsContents, KernelError> {
        let failed = |what: &'static str| move |source| KernelError::Read { what, netns: self.netns.clone(), source };
        let file = self.file();
        let mut socket = self.socket().await.map_err(failed("links"))?;
        let links = socket.links().await.map_err(failed("links"))?;
        let addresses = socket.addresses().await.map_err(failed("addresses"))?;
        let mut contents = NetnsContents::new(links, addresses);
        if self.netns == Netns::Router {
            for family in [Family::Ipv4, Family::Ipv6] {
                contents.unreachable.extend(socket.unreachable(family).await.map_err(failed("routes"))?);
                let is_last = socket.is_local_last(family).await.map_err(failed("rules"))?;
                contents.local_last.extend(is_last.then_some(family));
            }
        }
        if self.netns == Netns::Host {
            contents.static_routes = socket.static_routes().await.map_err(failed("routes"))?;
        }
        drop(socket);
        self.polled().open_links(&file, &contents.links).map_err(|error| failed("settings")(error.into()))?;
        contents.sysctls = self.sysctls(&file).map_err(failed("settings"))?;
        if tables {
            // In the host's namespace others change tables all the time.
            if self.netns != Netns::Host {
                self.watch_tables(&file).await.map_err(failed("tables"))?;
            }
            let tables = nftables::read(&file).await.map_err(failed("tables"))?;
            (contents.listen_ports, contents.source_filters) = (tables.ports, tables.sources);
        }
        Ok(contents)
    }

    async fn watch_tables(&self, file: &File) -> Result<(), NetlinkError> {
        let mut watch = self.table_watch.lock().await;
        if watch.is_none() {
            *watch = match self.watch.also_tables(file, self.changes.clone()) {
                // Where there is no netfilter there are no tables.
                Err(NetlinkError::NoProtocol) => None,
                started => Some(started?),
            };
        }
        Ok(())
    }

    fn sysctls(&self, file: &File) -> Result<Arc<BTreeMap<Sysctl, u32>>, NetlinkError> {
        let stale = self.watch.take_stale_settings();
        if let Some((at, known)) = &*self.known_sysctls()
            && at.elapsed() < MAX_AGE
            && !stale
        {
            return Ok(Arc::clone(known));
        }
        let now = Instant::now();
        let path = |sysctl: Sysctl| (sysctl, Path::new("/proc/sys").join(sysctl.path()));
        let texts = netns::read_files(file, Sysctl::ALL.map(path).into())?;
        self.polled().open(&self.netns, file)?;
        let value = |(sysctl, text): (Sysctl, String)| Some((sysctl, text.trim().parse().ok()?));
        let values: Arc<BTreeMap<_, _>> = Arc::new(texts.into_iter().filter_map(value).collect());
        *self.known_sysctls() = Some((now, Arc::clone(&values)));
        Ok(values)
    }
}
