//! FRR 10.3, measured on 10.3 (Debian 13); 10.0 to 10.5 are treated alike. Pure data.

use super::facts::Release;
use super::frr_8_4::{COMMUNITIES, DEFAULTS, FRR_8_4};
use crate::runtime::Daemon;

/// FRR 10.0 to 10.5.
pub const FRR_10_3: Release = Release {
    name: "10.3",
    measured: (10, 3),
    since: (10, 0),
    daemons: &[Daemon::Mgmtd, Daemon::Zebra, Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd],
    without_config_file: &[Daemon::Mgmtd, Daemon::Staticd],
    // mgmtd's commits.
    state_dir: Some("/var/lib/frr"),
    netns_argument: "-w",
    // All must agree: for an interface whose configuration comes from a mgmtd without it, zebra does not find the VRF in the
    // name and aborts.
    netns_daemons: &[Daemon::Mgmtd, Daemon::Zebra, Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd],
    // When a namespace goes, zebra frees the buffer for messages to the kernel that all namespaces share, and crashes at the
    // next message (frr#19232, cause and fix in the pull request frr#16765).
    netns_stays: true,
    zebra_config: Daemon::Mgmtd,
    static_routes: Daemon::Zebra,
    line_by_line: Some(Daemon::Mgmtd),
    zebra_settings: &[],
    defaults: DEFAULTS,
    communities: COMMUNITIES,
    // Some are left behind (frr#21992).
    advertises_suppressed: true,
    keeps_replaced_type5: false,
    vrf_asn_in_path: true,
    discards_attributes: true,
    matches_type5: true,
    // frr#9749
    selection_deferral: None,
    // frr#15399, frr#15010
    macvlan_nics: Ok(()),
    // frr#19721 came with 10.6.
    ipv6_vtep: FRR_8_4.ipv6_vtep,
};
