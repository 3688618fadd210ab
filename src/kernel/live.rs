//! The kernel of this node behind the port [`Kernel`]. In: a run directory with the router namespace, and the host's
//! namespace. Out: observed state and applied ops, by the modules that know how. Decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt, TryStreamExt};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::Mutex;

use super::error::{KernelError, NetlinkError, OpError, RecordError};
use super::model::{KernelState, Netns};
use super::mounts::Mounts;
use super::namespace::{Place, Site, kept};
use super::netlink::events::{Changes, Interest, Interesting};
use super::netlink::request;
use super::netlink::seen::SeenLink;
use super::nic_record::{Known, Record};
use super::observe::{self, Views};
use super::op::KernelOp;
use super::tcp::{self, TcpCounts};
use super::{Batch, Kernel, NodeFacts, Outcome, Step, netns};
use crate::runtime::Runtime;
use crate::types::{IfName, VrfName};

/// The kernel of this node.
#[derive(Debug)]
pub struct NetlinkKernel {
    pub(crate) runtime: Runtime,
    pub(crate) host: Arc<Site>,
    pub(crate) router: Arc<Site>,
    vrfs: Mutex<BTreeMap<VrfName, Arc<Site>>>,
    mounts: Mounts,
    pub(crate) changes: Changes,
    interesting: Arc<RwLock<Interesting>>,
    /// Held while NICs move: the record is one file.
    pub(crate) moving: Mutex<()>,
    /// When namespaces were last read for their age, and the first of those whose turn it is next.
    turn: std::sync::Mutex<(Option<Instant>, usize)>,
    record: std::sync::Mutex<Known>,
    last: std::sync::Mutex<Option<Observed>>,
}

/// An observation and what it was made of.
#[derive(Debug)]
struct Observed {
    views: Views,
    nics: BTreeSet<IfName>,
    record: Arc<Record>,
    state: Arc<KernelState>,
}

impl Observed {
    fn is_of(&self, views: &Views, nics: &BTreeSet<IfName>, record: &Arc<Record>) -> bool {
        // Of the same namespaces the same value was read: an `Arc` is equal to itself without a look at what it holds.
        self.views == *views && self.nics == *nics && self.record == *record
    }
}

/// Namespaces read at the same time.
const READERS: usize = 16;
/// Namespaces of IP-VRFs that are read for their age alone in one observation: there may be hundreds, and each takes up to
/// a millisecond.
const AGED: usize = 8;
/// So long after such an observation the next one is.
const NEXT_AGED: Duration = Duration::from_secs(20);

impl NetlinkKernel {
    /// Opens the router namespace of `runtime`, which must exist, sets its `lo` up, and shows zebra the namespaces of
    /// IP-VRFs that are there already. `host`: the namespace of the node, see [`netns::open_host`].
    pub async fn open(runtime: Runtime, host: File) -> Result<Self, KernelError> {
        let changes = Changes::default();
        let interesting = Arc::new(RwLock::new(Interesting::default()));
        let open = |netns: Netns, place, interest| {
            Site::open(netns.clone(), place, interest, changes.clone())
                .map(Arc::new)
                .map_err(|source| KernelError::Open { netns, source })
        };
        let host = open(Netns::Host, Place::Open(Arc::new(host)), Interest::Ours(interesting.clone()))?;
        let file = netns::open(runtime.router_netns())
            .map_err(|error| KernelError::Open { netns: Netns::Router, source: error.into() })?;
        let router = open(Netns::Router, Place::Open(Arc::new(file)), Interest::All)?;
        for vrf in netns::list_vrfs(&runtime).map_err(KernelError::List)?.keys() {
            netns::show_vrf(&runtime, vrf).map_err(KernelError::List)?;
        }
        let (vrfs, moving) = (Mutex::default(), Mutex::default());
        let turn = std::sync::Mutex::default();
        let (last, record) = (std::sync::Mutex::default(), std::sync::Mutex::default());
        let mounts = Mounts::watch();
        let kernel = Self { runtime, host, router, vrfs, mounts, changes, interesting, moving, turn, record, last };
        let failed = |source| KernelError::Open { netns: Netns::Router, source };
        kernel.lo_up(&kernel.router).await.map_err(failed)?;
        Ok(kernel)
    }

    pub(crate) async fn lo_up(&self, site: &Site) -> Result<(), NetlinkError> {
        let up = request::link("lo").up().build();
        site.socket().await?.change(RouteNetlinkMessage::NewLink(up), 0).await
    }

    /// The namespace, opened if it is not yet, or if it is another one by now.
    pub(crate) async fn site(&self, netns: &Netns) -> Result<Arc<Site>, NetlinkError> {
        let vrf = match netns {
            Netns::Host => return Ok(self.host.clone()),
            Netns::Router => return Ok(self.router.clone()),
            Netns::Vrf(vrf) => vrf,
        };
        let inode = netns::inode(&self.runtime.vrf_netns(vrf)).ok().flatten();
        self.vrf_site(vrf, inode).await
    }

    /// The namespace of an IP-VRF, which has this inode now.
    async fn vrf_site(&self, vrf: &VrfName, inode: Option<u64>) -> Result<Arc<Site>, NetlinkError> {
        let mut vrfs = self.vrfs.lock().await;
        if let Some(site) = vrfs.get(vrf)
            && Some(site.inode()) == inode
        {
            return Ok(site.clone());
        }
        let place = Place::At(self.runtime.vrf_netns(vrf));
        let site = Site::open(Netns::Vrf(vrf.clone()), place, Interest::All, self.changes.clone())?;
        let site = Arc::new(site);
        vrfs.insert(vrf.clone(), site.clone());
        Ok(site)
    }

    /// Forgets the namespace of an IP-VRF, so that nothing of us keeps it alive.
    pub(crate) async fn forget(&self, vrf: &VrfName) {
        let site = self.vrfs.lock().await.remove(vrf);
        // It may be there still.
        self.mounts.mark();
        if let Some(site) = site.and_then(Arc::into_inner) {
            site.close().await;
        }
    }

    fn record(&self) -> Result<Arc<Record>, RecordError> {
        let mut known = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        Record::read_after(&self.runtime.nics(), &mut known)
    }

    /// Whether namespaces may hold nftables tables of ours.
    fn tables(&self) -> bool {
        self.runtime.port_tables().exists()
    }

    /// The namespaces of IP-VRFs that there are.
    async fn vrf_sites(&self) -> Result<Vec<Arc<Site>>, KernelError> {
        if self.mounts.take_change() {
            let listed = self.list_sites().await;
            // What could not be looked at is looked at again.
            listed.inspect_err(|_| self.mounts.mark())?;
        }
        Ok(self.vrfs.lock().await.values().cloned().collect())
    }

    async fn list_sites(&self) -> Result<(), KernelError> {
        let listed = netns::list_vrfs(&self.runtime).map_err(KernelError::List)?;
        self.vrfs.lock().await.retain(|vrf, _| listed.contains_key(vrf));
        for (vrf, inode) in listed {
            let failed = |source| KernelError::Open { netns: Netns::Vrf(vrf.clone()), source };
            self.vrf_site(&vrf, Some(inode)).await.map_err(failed)?;
        }
        Ok(())
    }

    pub(crate) async fn views(&self) -> Result<Views, KernelError> {
        let tables = self.tables();
        let vrfs = self.vrf_sites().await?;
        let (count, first) = (vrfs.len(), self.next_turn());
        let turn = |index| first.is_some_and(|first| has_turn(index, count, first));
        let vrfs = vrfs.into_iter().enumerate().map(|(index, site)| (site, turn(index)));
        let (mut views, mut due) = (Views::new(), Vec::new());
        // There may be hundreds, and seldom more than a few of them changed.
        for (site, turn) in [(self.host.clone(), true), (self.router.clone(), true)].into_iter().chain(vrfs) {
            match site.known(turn) {
                Some(seen) => drop(views.insert(site.netns().clone(), seen)),
                None => due.push((site, turn)),
            }
        }
        let read = |(site, turn): (Arc<Site>, bool)| async move {
            let seen = site.read(tables, turn).await?;
            if matches!(site.netns(), Netns::Vrf(_)) {
                site.rest().await;
            }
            Ok::<_, KernelError>((site.netns().clone(), seen))
        };
        let read: Views = stream::iter(due.into_iter().map(read)).buffer_unordered(READERS).try_collect().await?;
        views.extend(read);
        Ok(views)
    }

    /// The first namespace whose turn it is to be read for its age; `None` where others were a moment ago.
    fn next_turn(&self) -> Option<usize> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (last, first) = *turn;
        if last.is_some_and(|last| last.elapsed() < NEXT_AGED) {
            return None;
        }
        *turn = (Some(Instant::now()), first.wrapping_add(AGED));
        Some(first)
    }

    fn note_interesting(&self, views: &Views, nics: &BTreeSet<IfName>, record: &Record) {
        let names: BTreeSet<String> = nics.iter().chain(record.nics.keys()).map(ToString::to_string).collect();
        let ours = |(_, link): &(&u32, &SeenLink)| link.owned.is_some() || names.contains(&link.name);
        let links = views.get(&Netns::Host).into_iter().flat_map(|seen| &seen.links);
        let indexes = links.filter(ours).map(|(index, _)| *index).collect();
        *self.interesting.write().unwrap_or_else(PoisonError::into_inner) = Interesting { names, indexes };
    }

    /// Closes the sockets that work opened; watching goes on.
    async fn rest(&self) {
        for site in self.vrfs.lock().await.values() {
            site.rest().await;
        }
    }
}

/// Whether `index` of `count` is among the [`AGED`] from `first` on, around the end.
fn has_turn(index: usize, count: usize, first: usize) -> bool {
    (index + count - first % count) % count < AGED
}

impl Kernel for NetlinkKernel {
    async fn facts(&self, nics: &BTreeSet<IfName>) -> Result<NodeFacts, KernelError> {
        let tables = self.tables();
        let host = self.host.read(tables, true).await?;
        let router = self.router.read(tables, true).await?;
        let views = Views::from([(Netns::Host, host), (Netns::Router, router)]);
        self.note_interesting(&views, nics, &*self.record()?);
        Ok(observe::facts(&views, nics))
    }

    async fn observe(&self, nics: &BTreeSet<IfName>) -> Result<Arc<KernelState>, KernelError> {
        let record = self.record()?;
        let views = self.views().await?;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = last.as_ref().filter(|last| last.is_of(&views, nics, &record)) {
            return Ok(Arc::clone(&known.state));
        }
        self.note_interesting(&views, nics, &record);
        // What changed is often nothing of ours.
        let state = kept(last.as_ref().map(|last| &last.state), observe::state(&views, nics, &record));
        *last = Some(Observed { views, nics: nics.clone(), record, state: Arc::clone(&state) });
        Ok(state)
    }

    async fn apply(&self, op: &KernelOp) -> Result<(), KernelError> {
        let failed = |source: OpError| KernelError::Op { op: Box::new(op.clone()), source };
        let done = self.perform(op).await.map_err(failed);
        self.mark_changed(op).await;
        done
    }

    async fn apply_all(&self, steps: &[Step]) -> Vec<Outcome> {
        let outcomes = Batch::new(steps).run(self).await;
        self.rest().await;
        outcomes
    }

    async fn tcp_counts(&self, netns: &Netns) -> Result<TcpCounts, KernelError> {
        let failed = |source| KernelError::Read { what: "TCP counters", netns: netns.clone(), source };
        let file = self.site(netns).await.and_then(|site| site.file()).map_err(failed)?;
        tcp::read(&file).map_err(failed)
    }

    async fn changed(&self) {
        self.changes.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_namespaces_have_their_turn() {
        for count in [1, AGED, AGED + 1, 400] {
            let of_round = |round: usize| (0..count).filter(move |index| has_turn(*index, count, round * AGED));
            let rounds = count.div_ceil(AGED);
            let seen: BTreeSet<usize> = (0..rounds).flat_map(of_round).collect();
            assert_eq!(seen.len(), count);
            assert!((0..rounds).all(|round| of_round(round).count() == AGED.min(count)));
        }
    }
}
