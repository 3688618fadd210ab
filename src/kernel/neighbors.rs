//! Which neighbor entries of an L2 segment the kernel has to keep, and which it has to report once more. In: the entries of the
//! segment's bridge, and the MAC addresses that the bridge learns on its ports. Out: [`NeighborChange`]s. Sends nothing. Pure.
//!
//! zebra makes MAC/IP routes of the neighbor entries that the kernel reports to it, and reads them from it only when it finds the
//! VXLAN device (FRR 8.4 not even then, in a namespace other than its own). So:
//! * An entry of a workload of this node is kept (`NTF_EXT_MANAGED`): the kernel itself verifies it before it ages, also where the
//!   workload is silent and nobody sends to it. One that does not answer is removed, which ends that.
//! * The kernel does not let a workload change an entry that zebra has installed for another node (`NUD_NOARP`). Where the bridge
//!   learns the MAC address of one on a port of this node, the workload has moved here, and so have the addresses it had.
//! * What zebra does not list is reported once more.
//! * A bridge that is replaced takes its entries along. The kernel is sent those of workloads of this node for the new one, and
//!   probes each of them at once: its reply has the bridge learn its MAC address. So does a bridge whose port is replaced: what it
//!   had learned on it is lost, and with it the MAC/IP routes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::types::MacAddr;

/// IP addresses, each with its MAC address.
pub type NeighborSet = BTreeSet<(IpAddr, MacAddr)>;

/// A neighbor entry of a bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its address.
    pub address: IpAddr,
    /// Its MAC address; none where it was never known.
    pub mac: Option<MacAddr>,
    /// Whose it is.
    pub standing: EntryStanding,
}

/// Whose a neighbor entry is, and what it is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryStanding {
    /// A workload behind this node's ports, or one not received from for long. `state`: as the kernel numbers it.
    Local {
        /// `NUD_*`
        state: u16,
        /// The kernel keeps it by itself.
        managed: bool,
    },
    /// A workload that did not answer.
    Failed {
        /// The kernel keeps probing it.
        managed: bool,
    },
    /// zebra has installed it for a workload of another node.
    Remote,
    /// Not resolved yet, or set by the administrator.
    Other,
}

/// What the kernel is sent about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighborChange {
    /// Keep it from now on, in the state that it has.
    Keep(IpAddr, MacAddr, u16),
    /// Report it once more. It is kept.
    Repeat(IpAddr, MacAddr),
    /// It is a workload of this node now.
    Adopt(IpAddr, MacAddr),
    /// It was a workload of this node on a bridge that this one replaces: find out whether it is there.
    Restore(IpAddr, MacAddr),
    /// The same where the bridge is the former one, and a port of it or its VXLAN device is replaced.
    Probe(IpAddr, MacAddr),
    /// Remove it.
    Forget(IpAddr),
}

impl NeighborChange {
    /// Whether it is still due for an entry as it is now.
    pub fn is_due(self, now: Option<&Entry>) -> bool {
        let is_local = |mac| {
            now.is_some_and(|entry| matches!(entry.standing, EntryStanding::Local { .. }) && entry.mac == Some(mac))
        };
        match self {
            Self::Keep(_, mac, _) | Self::Repeat(_, mac) | Self::Probe(_, mac) => is_local(mac),
            // One that zebra has just removed is known all the same.
            Self::Adopt(_, mac) => {
                now.is_none_or(|entry| entry.standing == EntryStanding::Remote && entry.mac == Some(mac))
            }
            Self::Restore(..) => now.is_none(),
            Self::Forget(_) => now.is_some_and(|entry| matches!(entry.standing, EntryStanding::Failed { .. })),
        }
    }

    /// The address of the entry.
    pub fn address(self) -> IpAddr {
        match self {
            Self::Keep(address, ..)
            | Self::Repeat(address, _)
            | Self::Adopt(address, _)
            | Self::Restore(address, _)
            | Self::Probe(address, _)
            | Self::Forget(address) => address,
        }
    }
}

/// What was reported of one segment.
#[derive(Debug, Default)]
pub struct SegmentEntries {
    /// The entries of zebra.
    remote: BTreeMap<IpAddr, MacAddr>,
    /// The same by MAC address.
    addresses: BTreeMap<MacAddr, BTreeSet<IpAddr>>,
}

impl SegmentEntries {
    /// An entry was created or changed.
    pub fn reported(&mut self, entry: &Entry) -> Option<NeighborChange> {
        self.removed(entry.address);
        match (entry.standing, entry.mac) {
            (EntryStanding::Remote, Some(mac)) => {
                self.remote.insert(entry.address, mac);
                self.addresses.entry(mac).or_default().insert(entry.address);
                None
            }
            (EntryStanding::Local { state, managed: false }, Some(mac)) if is_advertised(entry.address) => {
                Some(NeighborChange::Keep(entry.address, mac, state))
            }
            (EntryStanding::Failed { managed: true }, _) => Some(NeighborChange::Forget(entry.address)),
            _ => None,
        }
    }

    /// An entry was removed.
    pub fn removed(&mut self, address: IpAddr) {
        if let Some(mac) = self.remote.remove(&address)
            && let Some(addresses) = self.addresses.get_mut(&mac)
        {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.addresses.remove(&mac);
            }
        }
    }

    /// The bridge has learned a MAC address on a port of this node.
    pub fn learned(&mut self, mac: MacAddr) -> Vec<NeighborChange> {
        let moved = self.addresses.get(&mac).cloned().unwrap_or_default();
        for address in &moved {
            self.removed(*address);
        }
        moved.into_iter().map(|address| NeighborChange::Adopt(address, mac)).collect()
    }
}

/// The entries of this node's workloads that are not `known`, to be reported once more.
pub fn unknown(entries: &[Entry], known: &NeighborSet) -> Vec<NeighborChange> {
    let no_macs = BTreeSet::new();
    let missing = local_neighbors(entries, &no_macs).filter(|entry| !known.contains(entry));
    missing.map(|(address, mac)| NeighborChange::Repeat(address, mac)).collect()
}

/// The neighbors of this node's workloads, those too that have just moved here: the bridge has `learned` their MAC address.
pub fn local_neighbors(entries: &[Entry], learned: &BTreeSet<MacAddr>) -> impl Iterator<Item = (IpAddr, MacAddr)> {
    entries.iter().filter(|entry| is_advertised(entry.address)).filter_map(|entry| match (entry.standing, entry.mac) {
        (EntryStanding::Local { .. }, Some(mac)) => Some((entry.address, mac)),
        (EntryStanding::Remote, Some(mac)) if learned.contains(&mac) => Some((entry.address, mac)),
        _ => None,
    })
}

/// No route leads to a link-local address, so that it need not be kept.
pub fn is_advertised(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_link_local(),
        IpAddr::V6(address) => !address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x11]);
    const OTHER: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x12]);
    const REACHABLE: u16 = 2;

    fn entry(address: &str, mac: impl Into<Option<MacAddr>>, standing: EntryStanding) -> Entry {
        Entry { address: address.parse().unwrap(), mac: mac.into(), standing }
    }

    fn local(managed: bool) -> EntryStanding {
        EntryStanding::Local { state: REACHABLE, managed }
    }

    #[test]
    fn an_entry_of_this_node_is_kept_once_and_one_that_does_not_answer_is_removed() {
        let address = "10.110.0.11".parse().unwrap();
        let cases = [
            (entry("10.110.0.11", MAC, local(false)), Some(NeighborChange::Keep(address, MAC, REACHABLE))),
            (entry("10.110.0.11", MAC, local(true)), None),
            (entry("10.110.0.11", MAC, EntryStanding::Failed { managed: true }), Some(NeighborChange::Forget(address))),
            (
                entry("10.110.0.11", None, EntryStanding::Failed { managed: true }),
                Some(NeighborChange::Forget(address)),
            ),
            (entry("10.110.0.11", MAC, EntryStanding::Failed { managed: false }), None),
            (entry("10.110.0.11", None, EntryStanding::Other), None),
            (entry("10.110.0.11", MAC, EntryStanding::Remote), None),
            (entry("fe80::11", MAC, local(false)), None),
            (entry("169.254.0.11", MAC, local(false)), None),
        ];
        for (entry, expected) in cases {
            assert_eq!(SegmentEntries::default().reported(&entry), expected, "{entry:?}");
        }
    }

    #[test]
    fn addresses_move_with_the_mac_address_that_the_bridge_learns_here() {
        let mut segment = SegmentEntries::default();
        for (address, mac) in [("10.110.0.11", MAC), ("fd00:110::11", MAC), ("10.110.0.12", OTHER)] {
            segment.reported(&entry(address, mac, EntryStanding::Remote));
        }
        let adopted =
            ["10.110.0.11", "fd00:110::11"].map(|address| NeighborChange::Adopt(address.parse().unwrap(), MAC));
        assert_eq!(segment.learned(MAC), adopted);
        assert_eq!(segment.learned(MAC), [], "once");
        assert_eq!(segment.learned(MacAddr([2, 0, 0, 0, 0, 0x99])), []);
    }

    #[test]
    fn an_address_that_left_the_mac_address_before_does_not_move_with_it() {
        for later in [
            Some(entry("10.110.0.11", OTHER, EntryStanding::Remote)),
            Some(entry("10.110.0.11", MAC, local(true))),
            Some(entry("10.110.0.11", MAC, EntryStanding::Other)),
            None,
        ] {
            let mut segment = SegmentEntries::default();
            segment.reported(&entry("10.110.0.11", MAC, EntryStanding::Remote));
            match later {
                Some(later) => drop(segment.reported(&later)),
                None => segment.removed("10.110.0.11".parse().unwrap()),
            }
            assert_eq!(segment.learned(MAC), [], "{later:?}");
        }
    }

    #[test]
    fn a_change_is_due_only_as_long_as_the_entry_is_what_it_was() {
        let address = "10.110.0.11".parse().unwrap();
        let of = |mac, standing| entry("10.110.0.11", mac, standing);
        let failed = EntryStanding::Failed { managed: true };
        // Of the changes: keep, repeat, adopt, restore, forget.
        let cases = [
            (Some(of(MAC, local(false))), [true, true, false, false, false]),
            (Some(of(OTHER, local(false))), [false, false, false, false, false]),
            (Some(of(MAC, EntryStanding::Remote)), [false, false, true, false, false]),
            (Some(of(OTHER, EntryStanding::Remote)), [false, false, false, false, false]),
            (Some(of(MAC, failed)), [false, false, false, false, true]),
            (Some(of(MAC, EntryStanding::Other)), [false, false, false, false, false]),
            (None, [false, false, true, true, false]),
        ];
        let changes = [
            NeighborChange::Keep(address, MAC, REACHABLE),
            NeighborChange::Repeat(address, MAC),
            NeighborChange::Adopt(address, MAC),
            NeighborChange::Restore(address, MAC),
            NeighborChange::Forget(address),
        ];
        for (now, expected) in cases {
            assert_eq!(changes.map(|change| change.is_due(now.as_ref())), expected, "{now:?}");
        }
    }

    #[test]
    fn only_what_is_not_known_of_this_node_is_repeated() {
        let entries = [
            entry("10.110.0.11", MAC, local(true)),
            entry("10.110.0.13", MAC, local(false)),
            entry("10.110.0.12", OTHER, EntryStanding::Remote),
            entry("10.110.0.14", MAC, EntryStanding::Failed { managed: true }),
            entry("fe80::11", MAC, local(false)),
        ];
        let [first, second] = ["10.110.0.11", "10.110.0.13"].map(|address| address.parse().unwrap());
        let repeat = |address| NeighborChange::Repeat(address, MAC);
        assert_eq!(unknown(&entries, &BTreeSet::new()), [repeat(first), repeat(second)]);
        assert_eq!(unknown(&entries, &[(first, OTHER), (second, MAC)].into()), [repeat(first)]);
        assert_eq!(unknown(&entries, &[(first, MAC), (second, MAC)].into()), []);
        let local_entries =
            |learned: &[MacAddr]| local_neighbors(&entries, &learned.iter().copied().collect()).collect::<Vec<_>>();
        assert_eq!(local_entries(&[MAC]), [(first, MAC), (second, MAC)]);
        let moved = "10.110.0.12".parse().unwrap();
        assert_eq!(local_entries(&[OTHER]), [(first, MAC), (second, MAC), (moved, OTHER)]);
    }
}
