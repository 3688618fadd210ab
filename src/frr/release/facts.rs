//! What perouter has to know of a release of FRR, as a type. The values are in the file of each release. Pure data.

use crate::runtime::Daemon;
use crate::types::VrfMode;

/// Values that FRR has by default (`frr defaults traditional`) and therefore does not print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// `neighbor X port`
    pub port: u16,
    /// `neighbor X ebgp-multihop`
    pub ebgp_ttl: u8,
    /// `bgp graceful-restart restart-time`, in seconds.
    pub restart_time: u16,
    /// `bgp graceful-restart stalepath-time`, in seconds.
    pub stale_path_time: u16,
    /// `detect-multiplier`
    pub bfd_multiplier: u8,
    /// `transmit-interval` and `receive-interval`, in milliseconds.
    pub bfd_interval: u32,
    /// `minimum-ttl`
    pub bfd_minimum_ttl: u8,
}

/// How a release of FRR is run, configured and read.
#[allow(clippy::struct_excessive_bools, reason = "each is a difference between releases")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Its name in messages.
    pub name: &'static str,
    /// The version on which all of this was measured, of any patch level.
    pub measured: (u32, u32),
    /// The first version that is treated as this release.
    pub since: (u32, u32),
    /// The daemons that run, in the order in which they start. With `mgmtd`, zebra drops `vni N` silently unless `mgmtd`
    /// runs before it.
    pub daemons: &'static [Daemon],
    /// Daemons that have no `-f FILE`.
    pub without_config_file: &'static [Daemon],
    /// A compiled-in directory in which a daemon keeps state.
    pub state_dir: Option<&'static str>,
    /// The argument for the netns VRF backend.
    pub netns_argument: &'static str,
    /// The daemons that take [`Release::netns_argument`].
    pub netns_daemons: &'static [Daemon],
    /// In `netns` mode, the namespace of a removed IP-VRF stays, empty, as long as zebra runs.
    pub netns_stays: bool,
    /// The daemon that takes and prints zebra's configuration: the L3VNI of a VRF.
    pub zebra_config: Daemon,
    /// The daemon with whose configuration the static routes of a VRF are sent and printed.
    pub static_routes: Daemon,
    /// A daemon that takes one line at a time and commits each by itself: lines sent before it has replied are lost.
    pub line_by_line: Option<Daemon>,
    /// Global settings of zebra that a working EVPN needs, and that are not the default of this release.
    pub zebra_settings: &'static [&'static str],
    /// What is not printed.
    pub defaults: Defaults,
    /// Well-known communities by value, as FRR prints them.
    pub communities: &'static [(u32, &'static str)],
    /// Type-5 routes exist for routes that `aggregate-address … summary-only` suppresses, so that they have to be filtered.
    pub advertises_suppressed: bool,
    /// A Type-5 route stays for ever when bgpd replaces the path of which it was made by another one at once: an aggregate with
    /// other options or attributes.
    pub keeps_replaced_type5: bool,
    /// The AS number of a VRF's instance is added to the AS path of its Type-5 routes where it differs from that of the
    /// default instance.
    pub vrf_asn_in_path: bool,
    /// `neighbor X path-attribute discard` exists, since 9.0.
    pub discards_attributes: bool,
    /// A route map matches the prefix of a Type-5 route: before, `match ip address prefix-list` compares the key of the EVPN
    /// route with the list.
    pub matches_type5: bool,
    /// Graceful restart covers L2VPN EVPN, and bgpd is started with `-K` for it: for how many seconds it waits for the
    /// End-of-RIB of its peers at most (RFC 4724 section 4.1). `None`: not in this release.
    pub selection_deferral: Option<u16>,
    /// Whether an underlay NIC may be a macvlan device, whose lower device is in another namespace; else why not and what to
    /// do.
    pub macvlan_nics: Result<(), &'static str>,
    /// Whether a VTEP may have an IPv6 address; else why not and what to do.
    pub ipv6_vtep: Result<(), &'static str>,
}

impl Release {
    /// Whether `mgmtd` runs.
    pub fn has_mgmtd(self) -> bool {
        self.daemons.contains(&Daemon::Mgmtd)
    }

    /// The daemon that must run before `daemon` starts.
    pub fn needs(self, daemon: Daemon) -> Option<Daemon> {
        match daemon {
            Daemon::Mgmtd => None,
            Daemon::Zebra => self.has_mgmtd().then_some(Daemon::Mgmtd),
            Daemon::Bgpd | Daemon::Bfdd | Daemon::Staticd => Some(Daemon::Zebra),
        }
    }

    /// The daemon to which lines of `daemon`'s configuration are sent.
    pub fn configured_by(self, daemon: Daemon) -> Daemon {
        if daemon == Daemon::Zebra { self.zebra_config } else { daemon }
    }

    /// The daemon whose configuration `printer` prints.
    pub fn owner(self, printer: Daemon) -> Daemon {
        if printer == self.zebra_config { Daemon::Zebra } else { printer }
    }

    /// Whether bgpd can be restarted without the loss of EVPN routes.
    pub fn restarts_gracefully(self) -> bool {
        self.selection_deferral.is_some()
    }

    /// The argument that selects the VRF mode, for the daemons that take one.
    pub fn vrf_mode_argument(self, daemon: Daemon, mode: VrfMode) -> Option<&'static str> {
        (mode == VrfMode::Netns && self.netns_daemons.contains(&daemon)).then_some(self.netns_argument)
    }
}
