//! FRR 10.7, measured on 10.7.1 (Debian 14); 10.6 is treated alike. Pure data.

use super::facts::Release;
use super::frr_10_3::FRR_10_3;

/// FRR 10.6 and later.
pub const FRR_10_7: Release = Release {
    name: "10.7",
    measured: (10, 7),
    // The first with IPv6 VTEPs.
    since: (10, 6),
    // frr#19778. A host that connects by itself does so within seconds; what waits for it is every advertisement of the node.
    selection_deferral: Some(15),
    // frr#19492: a Type-5 route is found by its path, and withdrawn only with that path.
    keeps_replaced_type5: true,
    // frr#19721
    ipv6_vtep: Ok(()),
    ..FRR_10_3
};
