//! The neighbors of the L2 segments of a namespace. In: the names of their bridges. Out: entries that are kept, repeated, restored, and
//! what was known of those of a bridge that is gone. Decides on no bridge.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Namespace;
use crate::kernel::neighbor_keeper::NeighborKeeper;
use crate::kernel::neighbors::{self, Entry, EntryStanding, NeighborChange, NeighborSet};
use crate::kernel::netlink::error::NetlinkError;
use crate::types::MacAddr;

impl Namespace {
    /// Keeps the neighbor entries of these links of ours, and those of no others. A link that does not exist has none.
    pub async fn keep_neighbors(&self, names: &BTreeSet<String>) -> Result<(), NetlinkError> {
        let mut kept = self.segments.lock().await;
        let mut bridges = BTreeMap::new();
        if let Some(known) = self.known(false) {
            let wanted = known.links.iter().filter(|(_, link)| link.owned.is_some() && names.contains(&link.name));
            bridges.extend(wanted.map(|(index, link)| (*index, link.name.clone())));
        } else {
            for name in names {
                bridges.extend(self.find_owned(name).await?.map(|index| (index, name.clone())));
            }
        }
        if names.is_empty() {
            if let Some(mut segments) = kept.take() {
                segments.close().await;
            }
            return Ok(());
        }
        let segments = kept.get_or_insert_default();
        let present = bridges.values().cloned().collect();
        segments.set_bridges(names, &present);
        if segments.keeper.as_ref().is_some_and(|keeper| keeper.is_of(&bridges)) {
            return Ok(());
        }
        // Its routes are removed before another one reads which there are.
        segments.close().await;
        if !bridges.is_empty() {
            segments.keeper = Some(NeighborKeeper::start(&self.file, bridges, segments.known.clone())?);
        }
        Ok(())
    }

    /// Has the kernel report the neighbor entries of this link of ours once more that are of workloads of this node and not `known`. Returns
    /// how many.
    pub async fn repeat_neighbors(&self, name: &str, known: &NeighborSet) -> Result<usize, NetlinkError> {
        let Some(index) = self.find_owned(name).await? else { return Ok(0) };
        let mut socket = self.socket().await?;
        let mut repeated = 0;
        for change in neighbors::unknown(&socket.neighbors(index).await?, known) {
            repeated += usize::from(socket.change_neighbor(index, change).await?);
        }
        Ok(repeated)
    }

    /// Has this bridge of ours learn these MAC addresses of workloads of this node again, and the kernel report them: it forgets them, and the
    /// kernel probes their neighbors, whose replies it learns from. Returns how many neighbors.
    pub async fn learn_again(&self, name: &str, macs: &BTreeSet<MacAddr>) -> Result<usize, NetlinkError> {
        let Some(index) = self.find_owned(name).await? else { return Ok(0) };
        let mut socket = self.socket().await?;
        for learned in socket.learned(index).await?.into_iter().filter(|learned| macs.contains(&learned.mac)) {
            socket.forget_learned(learned).await?;
        }
        let mut probed = 0;
        for entry in socket.neighbors(index).await? {
            if let (EntryStanding::Local { .. }, Some(mac)) =
                (entry.standing, entry.mac.filter(|mac| macs.contains(mac)))
            {
                probed += usize::from(socket.change_neighbor(index, NeighborChange::Probe(entry.address, mac)).await?);
            }
        }
        Ok(probed)
    }

    /// The addresses with a neighbor entry on each of these bridges of ours whose MAC address is in the FDB of its VXLAN device of ours,
    /// IPv4-mapped ones as IPv4; none where a device does not exist.
    pub async fn forwarded_vteps<K: Ord>(
        &self,
        links: BTreeMap<K, [String; 2]>,
    ) -> Result<BTreeMap<K, BTreeSet<IpAddr>>, NetlinkError> {
        let fdbs = self.socket().await?.fdbs().await?;
        let mut found = BTreeMap::new();
        for (key, [bridge, vxlan]) in links {
            let macs = self.find_owned(&vxlan).await?.and_then(|index| fdbs.get(&index));
            let entries = match self.find_owned(&bridge).await? {
                Some(index) => self.socket().await?.neighbors(index).await?,
                None => vec![],
            };
            let is_complete = |entry: &Entry| {
                !matches!(entry.standing, EntryStanding::Failed { .. })
                    && entry.mac.is_some_and(|mac| macs.is_some_and(|macs| macs.contains(&mac)))
            };
            let vteps = entries.into_iter().filter(is_complete).map(|entry| entry.address.to_canonical());
            found.insert(key, vteps.collect());
        }
        Ok(found)
    }

    /// The neighbors of workloads of this node behind this link of ours, with those that were behind it a moment ago and are in no entry,
    /// as those of a link that others have deleted.
    pub async fn local_neighbors(&self, name: &str) -> Result<NeighborSet, NetlinkError> {
        let mut known =
            self.segments.lock().await.as_ref().map(|segments| segments.workloads(name)).unwrap_or_default();
        let Some(index) = self.find_owned(name).await? else { return Ok(known.into_iter().collect()) };
        let mut socket = self.socket().await?;
        let learned = socket.learned(index).await?.into_iter().map(|learned| learned.mac).collect();
        let entries = socket.neighbors(index).await?;
        let listed: BTreeSet<IpAddr> = entries.iter().map(|entry| entry.address).collect();
        known.retain(|address, _| !listed.contains(address));
        Ok(neighbors::local_neighbors(&entries, &learned).chain(known).collect())
    }

    /// Has the kernel find out whether these workloads are behind this link of ours, at once. Returns how many; `None` without such a
    /// link.
    pub async fn restore_neighbors(&self, name: &str, entries: &NeighborSet) -> Result<Option<usize>, NetlinkError> {
        let Some(index) = self.find_owned(name).await? else { return Ok(None) };
        let mut socket = self.socket().await?;
        let (mut restored, mut failed) = (0, None);
        for (address, mac) in entries {
            for change in [NeighborChange::Probe(*address, *mac), NeighborChange::Restore(*address, *mac)] {
                match socket.change_neighbor(index, change).await {
                    Ok(was_due) => restored += usize::from(was_due),
                    Err(error) => failed = Some(error),
                }
            }
        }
        failed.map_or(Ok(Some(restored)), Err)
    }
}
