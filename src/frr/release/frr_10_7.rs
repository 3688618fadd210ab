//! FRR 10.7, measured on 10.7.1 (Debian 14); 10.6 is treated alike. Pure data.

use super::facts::Release;
use super::frr_10_3::FRR_10_3;

/// FRR 10.6 and later.
pub const FRR_10_7: Release = Release {
    name: "10.7",
    measured: (10, 7),
    // The first with IPv6 VTEPs.
    since: (10, 6),
    // frr#19721
    ipv6_vtep: Ok(()),
    ..FRR_10_3
};
