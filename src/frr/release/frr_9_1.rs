//! FRR 9.1, not measured: as 8.4 but for a default that it does not print. Pure data.

use super::facts::Release;
use super::frr_8_4::FRR_8_4;

/// FRR 9.1 and later ones of FRR 9.
pub const FRR_9_1: Release = Release {
    since: (9, 1),
    // Next hops resolve by the default route (FRR commit 62196fbd19).
    zebra_settings: &["zebra work-queue 0", "zebra zapi-packets 1", "no zebra nexthop kernel enable"],
    ..FRR_8_4
};
