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
use crate::runtime::Runtime;
use crate::types::{IfName, VrfName};
use crate::write_watch::WriteWatch;

/// Settings of links that are read in one poll, about two microseconds each: those of 33 IP-VRFs. With more each has its turn,
/// where inotify has not reported the write before.
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
    settings: Arc<WriteWatch>,
    /// The first of the IP-VRFs whose settings are polled next.
    next_polled: AtomicUsize,
    /// The first of those whose links are polled next.
    next_links: AtomicUsize,
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
        let settings = WriteWatch::start();
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
        let (next_polled, next_links) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Self { runtime, host, router, nic_moves, vrfs, mounts, changes, settings, next_polled, next_links, watched })
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
        let fixed = [&self.host, &self.router];
        let files = |namespaces: &mut dyn Iterator<Item = &Arc<Namespace>>| -> usize {
            namespaces.map(|namespace| namespace.link_files()).sum()
        };
        let (of_fixed, of_vrfs) = (files(&mut fixed.into_iter()), files(&mut vrfs.values()));
        let share = |files: usize| (files * LINK_FILES).div_ceil((of_fixed + of_vrfs).max(LINK_FILES));
        let at_once = (share(of_vrfs) * vrfs.len()).checked_div(of_vrfs).unwrap_or_default();
        let (has_turn, have_turn) =
            (turn(&self.next_polled, POLLED_AT_ONCE, vrfs.len()), turn(&self.next_links, at_once, vrfs.len()));
        let of_fixed = fixed.into_iter().map(|namespace| (namespace, true, share(namespace.link_files())));
        let of_vrfs = vrfs.values().enumerate().map(|(index, vrf)| {
            let links = if have_turn(index) { usize::MAX } else { 0 };
            (vrf, has_turn(index) || !vrf.is_watched(), links)
        });
        let polled = of_fixed.chain(of_vrfs).filter(|(namespace, own, links)| {
            namespace.poll_settings(all || *own, if all { usize::MAX } else { *links })
        });
        // All of them: each marks itself as stale.
        polled.count() > 0
    }

    /// Closes the sockets that changes opened; watching goes on.
    pub async fn rest(&self) {
        for namespace in self.vrfs.lock().await.values() {
            namespace.rest().await;
        }
    }
}

/// Whether an index below `count` is one of the next `at_once`, which are counted on.
fn turn(next: &AtomicUsize, at_once: usize, count: usize) -> impl Fn(usize) -> bool + use<> {
    let first = next.fetch_add(at_once, Ordering::Relaxed) % count.max(1);
    move |index| (index + count - first) % count < at_once
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_have_their_turn_and_no_more_at_once() {
        for (count, at_once) in [(0, 16), (1, 16), (16, 16), (17, 16), (400, 33), (3, 0)] {
            let next = AtomicUsize::new(0);
            let mut polled = vec![0; count];
            for _ in 0..count.div_ceil(at_once.max(1)) {
                let has_turn = turn(&next, at_once, count);
                let now: Vec<usize> = (0..count).filter(|index| has_turn(*index)).collect();
                assert_eq!(now.len(), at_once.min(count));
                for index in now {
                    polled[index] += 1;
                }
            }
            assert!(polled.into_iter().all(|times| times > 0 || at_once == 0), "{at_once} of {count}");
        }
    }
}
