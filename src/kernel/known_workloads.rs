//! The workloads of this node behind the bridges of L2 segments, as their neighbor entries were last reported. In: reports. Out: those
//! that were known until a moment ago: the entries of a bridge go with it, whoever deletes it, and with what it is set down. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use super::neighbors::{Entry, EntryStanding, is_advertised};
use crate::types::MacAddr;

/// One whose entry is gone for longer may be anywhere.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Of a segment, those that are gone included. The kernel itself has 1024 neighbor entries of all of them by default.
const LIMIT: usize = 4096;

/// The workloads behind each bridge, by its name.
#[derive(Debug, Default)]
pub struct KnownWorkloads(BTreeMap<String, BTreeMap<IpAddr, RememberedWorkload>>);

#[derive(Debug, Clone, Copy)]
struct RememberedWorkload {
    mac: MacAddr,
    /// Since when there is no entry of it.
    gone: Option<Instant>,
}

impl RememberedWorkload {
    fn is_remembered(&self, now: Instant) -> bool {
        self.gone.is_none_or(|gone| now.duration_since(gone) < REMEMBERED)
    }
}

impl KnownWorkloads {
    /// Those of these bridges are known from now on, whether they exist or not, and those of others are forgotten.
    pub fn set_bridges(&mut self, bridges: &BTreeSet<String>) {
        self.0.retain(|bridge, _| bridges.contains(bridge));
        for bridge in bridges.iter().filter(|bridge| !self.0.contains_key(*bridge)).cloned().collect::<Vec<_>>() {
            self.0.insert(bridge, BTreeMap::new());
        }
    }

    /// An entry was created or changed.
    pub fn reported(&mut self, bridge: &str, entry: &Entry, now: Instant) {
        let Some(of_bridge) = self.0.get_mut(bridge) else { return };
        match (entry.standing, entry.mac) {
            (EntryStanding::Local { .. }, Some(mac)) if is_advertised(entry.address) => {
                if !of_bridge.contains_key(&entry.address) {
                    of_bridge.retain(|_, workload| workload.is_remembered(now));
                    if of_bridge.len() >= LIMIT {
                        of_bridge.retain(|_, workload| workload.gone.is_none());
                    }
                }
                if of_bridge.len() < LIMIT || of_bridge.contains_key(&entry.address) {
                    of_bridge.insert(entry.address, RememberedWorkload { mac, gone: None });
                }
            }
            // It is gone, or behind another node.
            (EntryStanding::Failed { .. } | EntryStanding::Remote, _) => drop(of_bridge.remove(&entry.address)),
            _ => {}
        }
    }

    /// An entry was removed.
    pub fn removed(&mut self, bridge: &str, address: IpAddr, now: Instant) {
        let workload = self.0.get_mut(bridge).and_then(|of_bridge| of_bridge.get_mut(&address));
        if let Some(workload) = workload {
            workload.gone.get_or_insert(now);
        }
    }

    /// All entries of a bridge were read: the others are gone.
    pub fn read(&mut self, bridge: &str, entries: &[Entry], now: Instant) {
        let listed: BTreeSet<IpAddr> = entries.iter().map(|entry| entry.address).collect();
        let Some(of_bridge) = self.0.get_mut(bridge) else { return };
        for (_, workload) in of_bridge.iter_mut().filter(|(address, _)| !listed.contains(address)) {
            workload.gone.get_or_insert(now);
        }
    }

    /// Those behind a bridge, whether there still are entries of them or not.
    pub fn of(&self, bridge: &str, now: Instant) -> BTreeMap<IpAddr, MacAddr> {
        let of_bridge = self.0.get(bridge).into_iter().flatten();
        let known = of_bridge.filter(|(_, workload)| workload.is_remembered(now));
        known.map(|(address, workload)| (*address, workload.mac)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BRIDGE: &str = "br-pe-110";
    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);

    fn of_bridge() -> KnownWorkloads {
        let mut known = KnownWorkloads::default();
        known.set_bridges(&[BRIDGE.to_owned()].into());
        known
    }

    fn entry(number: u32, standing: EntryStanding) -> Entry {
        Entry { address: address(number), mac: Some(MAC), standing }
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0a6e_0000 + number))
    }

    fn local() -> EntryStanding {
        EntryStanding::Local { state: 2, managed: true }
    }

    fn numbers(known: &KnownWorkloads, now: Instant) -> Vec<u32> {
        let of = known.of(BRIDGE, now);
        (0..10).filter(|number| of.contains_key(&address(*number))).collect()
    }

    #[test]
    fn what_goes_with_its_bridge_is_known_for_a_minute_and_what_leaves_it_is_not() {
        let (mut known, now) = (of_bridge(), Instant::now());
        for number in 1..=4 {
            known.reported(BRIDGE, &entry(number, local()), now);
        }
        known.reported(BRIDGE, &Entry { address: "fe80::1".parse().unwrap(), ..entry(1, local()) }, now);
        known.reported(BRIDGE, &entry(2, EntryStanding::Failed { managed: true }), now);
        known.removed(BRIDGE, address(2), now);
        known.reported(BRIDGE, &entry(3, EntryStanding::Remote), now);
        assert_eq!(known.of(BRIDGE, now), [(address(1), MAC), (address(4), MAC)].into());
        known.removed(BRIDGE, address(1), now);
        // Its bridge is made again, and has one of them so far.
        known.read(BRIDGE, &[], now);
        known.reported(BRIDGE, &entry(4, local()), now + REMEMBERED / 2);
        assert_eq!(numbers(&known, now + REMEMBERED / 2), [1, 4]);
        assert_eq!(numbers(&known, now + REMEMBERED), [4]);
        known.reported(BRIDGE, &entry(5, local()), now + REMEMBERED);
        assert_eq!(known.0[BRIDGE].len(), 2, "forgotten");
        known.set_bridges(&["br-pe-120".to_owned()].into());
        known.reported(BRIDGE, &entry(5, local()), now);
        assert_eq!(numbers(&known, now), [0; 0]);
    }

    #[test]
    fn there_is_a_limit_to_which_those_that_are_gone_count_least() {
        let (mut known, now) = (of_bridge(), Instant::now());
        let limit = u32::try_from(LIMIT).unwrap();
        for number in 0..limit {
            known.reported(BRIDGE, &entry(number, local()), now);
        }
        known.reported(BRIDGE, &entry(limit, local()), now);
        assert!(!known.of(BRIDGE, now).contains_key(&address(limit)));
        known.removed(BRIDGE, address(7), now);
        known.reported(BRIDGE, &entry(limit, local()), now);
        let of = known.of(BRIDGE, now);
        assert!(of.len() == LIMIT && of.contains_key(&address(limit)) && !of.contains_key(&address(7)));
    }
}
