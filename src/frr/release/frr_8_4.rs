//! FRR 8.4, measured on 8.4.4 (Debian 12); up to 9.0 is treated alike. Pure data.

use super::facts::{Defaults, Release};
use crate::runtime::Daemon;

/// FRR 8.4 to 9.0.
pub const FRR_8_4: Release = Release {
    name: "8.4",
    measured: (8, 4),
    since: (8, 4),
    daemons: &[Daemon::Zebra, Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd],
    without_config_file: &[],
    state_dir: None,
    netns_argument: "-n",
    netns_daemons: &[Daemon::Zebra],
    netns_stays: false,
    zebra_config: Daemon::Zebra,
    static_routes: Daemon::Staticd,
    line_by_line: None,
    zebra_settings: &[
        // Without these two zebra loses the router MAC of a remote VTEP when a route changes, and with it the traffic
        // (frr#12391, frr#14108). With them it takes one message at a time and processes it at once, so that the deletion of
        // the old route comes before the addition of the new one, in the order in which bgpd sent them.
        "zebra work-queue 0",
        "zebra zapi-packets 1",
        // When a NIC loses its carrier the kernel removes its nexthop from their groups, and zebra does not add it back
        // (frr#12239, fixed in 9.0 by frr#13413). Matters in `vrf` mode.
        "no zebra nexthop kernel enable",
        // In the default VRF alone: next hops of Type-5 routes, VTEPs, resolve by a default route of the leaf too. The default
        // since 9.1.
        "ip nht resolve-via-default",
        "ipv6 nht resolve-via-default",
    ],
    defaults: DEFAULTS,
    communities: COMMUNITIES,
    // FRR pull request 15222, in 10.0.
    advertises_suppressed: true,
    keeps_replaced_type5: false,
    vrf_asn_in_path: false,
    discards_attributes: false,
    matches_type5: false,
    // frr#9749
    selection_deferral: None,
    // zebra follows the pointer to the lower device, which it does not know, as the link comes up.
    macvlan_nics: Err(
        "zebra of FRR before 10.0 crashes when such a NIC regains its carrier (frr#15370): use FRR 10, or a physical, virtual \
         function, VLAN or veth interface",
    ),
    // Takes 0.0.0.0 for such a VTEP and advertises it as the next hop.
    ipv6_vtep: Err(
        "IPv6 VTEPs are not supported by this FRR: it has EVPN over them from 10.6 (frr#5885); install FRR 10.6 or later, or \
         use an IPv4 pool, which sessions over IPv6 carry as well",
    ),
};

/// Defaults that later releases share.
pub(super) const DEFAULTS: Defaults = Defaults {
    port: 179,
    ebgp_ttl: 1,
    restart_time: 120,
    stale_path_time: 360,
    bfd_multiplier: 3,
    bfd_interval: 300,
    bfd_minimum_ttl: 254,
};

/// Names that later releases share (`community_str`).
pub(super) const COMMUNITIES: &[(u32, &str)] = &[
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
