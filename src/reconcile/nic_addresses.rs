//! When the kernel reports addresses of NICs once more that zebra lacks. In: what zebra has, and what was reported. Out: whether more
//! reports are futile. Reads nothing.
//!
//! zebra before FRR 9.1 reads links in one thread and addresses in another. A NIC that is renamed is a new link for it, and an address that
//! it processes first is removed with the old link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::types::IfName;

/// How often the kernel reports addresses that zebra does not add.
const ATTEMPTS: u32 = 5;

/// Addresses by NIC.
pub(super) type NicAddresses = BTreeMap<IfName, BTreeSet<IpAddr>>;

/// What zebra had when the kernel reported more, and how often that was.
#[derive(Debug, Default)]
pub(super) struct RepeatedAddresses {
    known: NicAddresses,
    attempts: u32,
}

impl RepeatedAddresses {
    /// Whether zebra has not changed for all that was reported.
    pub fn is_futile(&self, known: &NicAddresses) -> bool {
        self.attempts >= ATTEMPTS && self.known == *known
    }

    /// Takes note of how many addresses were reported.
    pub fn note(&mut self, known: NicAddresses, repeated: usize) {
        let before = if self.known == known { self.attempts } else { 0 };
        let attempts = if repeated > 0 { before + 1 } else { 0 };
        *self = Self { known, attempts };
    }
}
