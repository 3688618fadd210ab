//! All network namespaces of a router: the host's, its own and those of IP-VRFs. In: a run directory. Out: [`Namespace`]s, each
//! opened once and reopened where it was replaced. Reads and changes no contents.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;

use super::error::KernelError;
use super::model::Netns;
use super::mounts::MountWatch;
use super::namespace::Namespace;
use super::netlink::error::NetlinkError;
use super::netlink::events::{ChangeSignal, EventFilter, WatchedLinks};
use super::netlink::request;
use super::netns;
use super::op::KernelOp;
use super::setting_watch::SettingWatch;
use crate::runtime::Runtime;
use crate::types::{IfName, VrfName};

/// Settings of links that are read in one poll, two microseconds each: those of 33 IP-VRFs. With more each has its turn, where
/// inotify has not reported the write before.
const LINK_FILES: usize = 200;

/// The namespaces of a router.
#[derive(Debug)]
pub struct Namespaces {
    /// The paths.
    pub runtime: Runtime,
    /// The namespace of the node.
    pub host: Arc<Namespace>,
    /// The router namespace.
    pub router: Arc<Namespace>,
    /// Held while NICs move: their record is one file.
    pub nic_moves: Mutex<()>,
    vrfs: Mutex<BTreeMap<VrfName, Arc<Namespace>>>,
    mounts: MountWatch,
    changes: ChangeSignal,
    settings: Arc<SettingWatch>,
    /// The first of the IP-VRFs whose settings are polled next.
    next_polled: AtomicUsize,
    /// The links of the host whose changes count.
    watched: Arc<RwLock<WatchedLinks>>,
}

/// IP-VRFs whose settings are polled at once, where inotify reports most changes of them: there may be hundreds.
const POLLED_AT_ONCE: usize = 16;

impl Namespaces {
    /// Opens the router namespace of `runtime`, which must exist, sets its `lo` up, and makes the existing namespaces of
    /// IP-VRFs visible to zebra. `host`: the namespace of the node, of which the changes of `watched` links count.
    pub async fn open(
        runtime: Runtime,
        host: File,
        watched: Arc<RwLock<WatchedLinks>>,
        changes: ChangeSignal,
    ) -> Result<Self, KernelError> {
        let settings = SettingWatch::start();
        let open = |netns: Netns, file, filter| {
            Namespace::open(netns.clone(), file, filter, changes.clone(), settings.clone())
                .map(Arc::new)
                .map_err(|source| KernelError::Open { netns, source })
        };
        let host = open(Netns::Host, host, EventFilter::Host(watched.clone()))?;
        let failed = |source| KernelError::Open { netns: Netns::Router, source };
        let file = netns::open(runtime.router_netns()).map_err(|error| failed(error.into()))?;
        let router = open(Netns::Router, file, EventFilter::All)?;
        for vrf in netns::list_vrfs(&runtime).map_err(KernelError::List)?.keys() {
            netns::expose_vrf(&runtime, vrf).map_err(KernelError::List)?;
        }
        router.change(request::set_up("lo", true)).await.map_err(failed)?;
        let (vrfs, nic_moves, mounts) = (Mutex::default(), Mutex::default(), MountWatch::start());
        let next_polled = AtomicUsize::new(0);
        Ok(Self { runtime, host, router, nic_moves, vrfs, mounts, changes, settings, next_polled, watched })
    }

    /// The appearance of this link of the host counts from now on.
    pub fn await_on_host(&self, name: &IfName) {
        self.watched.write().unwrap_or_else(PoisonError::into_inner).awaited.insert(name.to_string());
    }

    /// It has been found.
    pub fn found_on_host(&self, name: &IfName) {
        self.watched.write().unwrap_or_else(PoisonError::into_inner).awaited.remove(name.as_str());
    }

    /// A namespace, opened if it is not yet, or if it was replaced.
    pub async fn get(&self, netns: &Netns) -> Result<Arc<Namespace>, NetlinkError> {
        let vrf = match netns {
            Netns::Host => return Ok(self.host.clone()),
            Netns::Router => return Ok(self.router.clone()),
            Netns::Vrf(vrf) => vrf,
        };
        let inode = netns::inode(&self.runtime.vrf_netns(vrf)).ok().flatten();
        self.vrf(vrf, inode).await
    }

    /// The namespace of an IP-VRF, which has this inode now.
    async fn vrf(&self, vrf: &VrfName, inode: Option<u64>) -> Result<Arc<Namespace>, NetlinkError> {
        let mut vrfs = self.vrfs.lock().await;
        if let Some(namespace) = vrfs.get(vrf)
            && Some(namespace.inode()) == inode
        {
            return Ok(namespace.clone());
        }
        let file = netns::open(&self.runtime.vrf_netns(vrf))?;
        let (changes, settings) = (self.changes.clone(), self.settings.clone());
        let namespace = Namespace::open(Netns::Vrf(vrf.clone()), file, EventFilter::All, changes, settings)?;
        let namespace = Arc::new(namespace);
        vrfs.insert(vrf.clone(), namespace.clone());
        Ok(namespace)
    }

    /// Closes the namespace of an IP-VRF, so that nothing of us keeps it alive.
    pub async fn close(&self, vrf: &VrfName) {
        let namespace = self.vrfs.lock().await.remove(vrf);
        // It may still exist.
        self.mounts.mark_changed();
        if let Some(namespace) = namespace.and_then(Arc::into_inner) {
            namespace.close().await;
        }
    }

    /// The existing namespaces of IP-VRFs.
    pub async fn vrfs(&self) -> Result<Vec<Arc<Namespace>>, KernelError> {
        if self.mounts.take_change() {
            let listed = self.list().await;
            // What could not be listed is listed again.
            listed.inspect_err(|_| self.mounts.mark_changed())?;
        }
        Ok(self.vrfs.lock().await.values().cloned().collect())
    }

    /// One that is open and not listed was unbound by others (what we remove is closed before). It is bound again: as long as
    /// FRR has it, its links are in the way of those of a new one.
    async fn list(&self) -> Result<(), KernelError> {
        let mut listed = netns::list_vrfs(&self.runtime).map_err(KernelError::List)?;
        for (vrf, namespace) in self.vrfs.lock().await.iter().filter(|(vrf, _)| !listed.contains_key(*vrf)) {
            let path = self.runtime.vrf_netns(vrf);
            namespace.restore(&path).map_err(KernelError::List)?;
            tracing::warn!(path = %path.display(), "the namespace of an IP-VRF was unbound, and is bound again");
        }
        listed.extend(netns::list_vrfs(&self.runtime).map_err(KernelError::List)?);
        self.vrfs.lock().await.retain(|vrf, _| listed.contains_key(vrf));
        for (vrf, inode) in listed {
            let failed = |source| KernelError::Open { netns: Netns::Vrf(vrf.clone()), source };
            self.vrf(&vrf, Some(inode)).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Marks what was read of all namespaces that the op may have changed as stale: the messages about it come later.
    pub async fn mark_stale(&self, op: &KernelOp) {
        self.host.mark_stale();
        self.router.mark_stale();
        if let Some(vrf) = op.vrf()
            && !matches!(op, KernelOp::DeleteNetns(_))
            && let Ok(namespace) = self.get(&Netns::Vrf(vrf.clone())).await
        {
            namespace.mark_stale();
        }
    }

    /// Waits until a setting on which isolation rests was written in a namespace of ours, perhaps by ourselves.
    pub async fn setting_written(&self) {
        self.settings.written().await;
    }

    /// Whether a setting on which isolation rests changed in a namespace of ours since it was read.
    ///
    /// `all`: not only of the router, of those whose turn it is and of those that are not watched.
    pub async fn poll_settings(&self, all: bool) -> bool {
        let vrfs = self.vrfs.lock().await;
        let first = self.next_polled.fetch_add(POLLED_AT_ONCE, Ordering::Relaxed) % vrfs.len().max(1);
        let has_turn = |index: usize| (index + vrfs.len() - first) % vrfs.len() < POLLED_AT_ONCE;
        let is_selected = |index: usize, vrf: &Namespace| all || has_turn(index) || !vrf.is_watched();
        let of_vrfs = vrfs.values().enumerate().map(|(index, vrf)| (is_selected(index, vrf), vrf));
        let selected = || [(true, &self.host), (true, &self.router)].into_iter().chain(of_vrfs.clone());
        let files = selected().map(|(_, namespace)| namespace.link_files()).sum::<usize>().max(LINK_FILES);
        let share = |namespace: &Namespace| {
            if all { usize::MAX } else { (namespace.link_files() * LINK_FILES).div_ceil(files) }
        };
        // All of them: each marks itself as stale.
        selected().filter(|(own, namespace)| namespace.poll_settings(*own, share(namespace))).count() > 0
    }

    /// Closes the sockets that changes opened; watching goes on.
    pub async fn rest(&self) {
        for namespace in self.vrfs.lock().await.values() {
            namespace.rest().await;
        }
    }
}
