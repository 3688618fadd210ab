//! Communities as FRR prints them. In: communities. Out: the words of a line. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::Community;

/// FRR sorts communities by value and prints the well-known ones by name.
pub fn in_words(communities: &BTreeSet<Community>) -> String {
    let by_value: BTreeMap<u32, &str> = communities.iter().map(|c| canonical(c.as_str())).collect();
    by_value.into_values().collect::<Vec<_>>().join(" ")
}

/// Names of well-known communities in FRR 8.4 (`community_str`).
const WELL_KNOWN: [(u32, &str); 15] = [
    (0x0000_0000, "internet"),
    (0xffff_0000, "graceful-shutdown"),
    (0xffff_0001, "accept-own"),
    (0xffff_0002, "route-filter-translated-v4"),
    (0xffff_0003, "route-filter-v4"),
    (0xffff_0004, "route-filter-translated-v6"),
    (0xffff_0005, "route-filter-v6"),
    (0xffff_0006, "llgr-stale"),
    (0xffff_0007, "no-llgr"),
    (0xffff_0008, "accept-own-nexthop"),
    (0xffff_029a, "blackhole"),
    (0xffff_ff01, "no-export"),
    (0xffff_ff02, "no-advertise"),
    (0xffff_ff03, "local-AS"),
    (0xffff_ff04, "no-peer"),
];

fn canonical(raw: &str) -> (u32, &str) {
    let known = || WELL_KNOWN.iter();
    if let Some(named) = known().find(|(_, name)| *name == raw) {
        return *named;
    }
    let (high, low) = raw.split_once(':').unwrap_or(("0", raw));
    let half = |text: &str| text.parse::<u32>().unwrap_or_default();
    let value = half(high) << 16 | half(low);
    known().find(|(number, _)| *number == value).copied().unwrap_or((value, raw))
}
