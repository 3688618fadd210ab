//! The settings that the kernel has for each link below `/proc/sys/net`, as (directory, name) out of a closed list. In: names.
//! Out: settings and their paths. A record of a NIC is a file: what it says must not become a path by itself. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::types::IfName;

/// Below `/proc/sys/net`: directories with a directory for each link.
const DIRECTORIES: [(&str, &[&str]); 4] =
    [("ipv4/conf", &IPV4), ("ipv6/conf", &IPV6), ("ipv4/neigh", &NEIGHBOR), ("ipv6/neigh", &NEIGHBOR)];

/// `Documentation/networking/ip-sysctl.rst`, `net/ipv4/devinet.c`.
const IPV4: [&str; 33] = [
    "accept_local",
    "accept_redirects",
    "accept_source_route",
    "arp_accept",
    "arp_announce",
    "arp_evict_nocarrier",
    "arp_filter",
    "arp_ignore",
    "arp_notify",
    "bc_forwarding",
    "bootp_relay",
    "disable_policy",
    "disable_xfrm",
    "drop_gratuitous_arp",
    "drop_unicast_in_l2_multicast",
    "force_igmp_version",
    "forwarding",
    "igmpv2_unsolicited_report_interval",
    "igmpv3_unsolicited_report_interval",
    "ignore_routes_with_linkdown",
    "log_martians",
    "mc_forwarding",
    "medium_id",
    "promote_secondaries",
    "proxy_arp",
    "proxy_arp_pvlan",
    "route_localnet",
    "rp_filter",
    "secure_redirects",
    "send_redirects",
    "shared_media",
    "src_valid_mark",
    "tag",
];

/// `net/ipv6/addrconf.c`.
const IPV6: [&str; 63] = [
    "accept_dad",
    "accept_ra",
    "accept_ra_defrtr",
    "accept_ra_from_local",
    "accept_ra_min_hop_limit",
    "accept_ra_min_lft",
    "accept_ra_mtu",
    "accept_ra_pinfo",
    "accept_ra_rt_info_max_plen",
    "accept_ra_rt_info_min_plen",
    "accept_ra_rtr_pref",
    "accept_redirects",
    "accept_source_route",
    "accept_untracked_na",
    "addr_gen_mode",
    "autoconf",
    "dad_transmits",
    "disable_ipv6",
    "disable_policy",
    "drop_unicast_in_l2_multicast",
    "drop_unsolicited_na",
    "enhanced_dad",
    "force_forwarding",
    "force_mld_version",
    "force_tllao",
    "forwarding",
    "hop_limit",
    "ignore_routes_with_linkdown",
    "ioam6_enabled",
    "ioam6_id",
    "ioam6_id_wide",
    "keep_addr_on_down",
    "max_addresses",
    "max_desync_factor",
    "mc_forwarding",
    "mldv1_unsolicited_report_interval",
    "mldv2_unsolicited_report_interval",
    "mtu",
    "ndisc_evict_nocarrier",
    "ndisc_notify",
    "ndisc_tclass",
    "optimistic_dad",
    "proxy_ndp",
    "ra_defrtr_metric",
    "ra_honor_pio_life",
    "ra_honor_pio_pflag",
    "regen_max_retry",
    "regen_min_advance",
    "router_probe_interval",
    "router_solicitation_delay",
    "router_solicitation_interval",
    "router_solicitation_max_interval",
    "router_solicitations",
    "rpl_seg_enabled",
    "seg6_enabled",
    "seg6_require_hmac",
    "stable_secret",
    "suppress_frag_ndisc",
    "temp_prefered_lft",
    "temp_valid_lft",
    "use_oif_addrs_only",
    "use_optimistic",
    "use_tempaddr",
];

/// `net/core/neighbour.c`.
const NEIGHBOR: [&str; 17] = [
    "anycast_delay",
    "app_solicit",
    "base_reachable_time",
    "base_reachable_time_ms",
    "delay_first_probe_time",
    "gc_stale_time",
    "interval_probe_time_ms",
    "locktime",
    "mcast_resolicit",
    "mcast_solicit",
    "proxy_delay",
    "proxy_qlen",
    "retrans_time",
    "retrans_time_ms",
    "ucast_solicit",
    "unres_qlen",
    "unres_qlen_bytes",
];

/// A setting of a link, without the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NicSetting {
    directory: &'static str,
    name: &'static str,
}

/// Settings of a link and their values. In a record the key is `DIRECTORY/NAME`; a key that is not in the list is ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NicSettings(pub BTreeMap<NicSetting, String>);

impl NicSetting {
    /// All of them. No kernel has all.
    pub fn all() -> impl Iterator<Item = Self> {
        DIRECTORIES.iter().flat_map(|(directory, names)| names.iter().map(|name| Self { directory, name }))
    }

    /// The file of this setting for `nic`.
    pub fn path(self, nic: &IfName) -> PathBuf {
        Path::new("/proc/sys/net").join(self.directory).join(nic.as_str()).join(self.name)
    }

    /// The setting that a record names: `ipv4/conf/rp_filter`, or the path that earlier releases wrote,
    /// `/proc/sys/net/ipv4/conf/eth1/rp_filter`, whose link is not used.
    fn parse(text: &str) -> Option<Self> {
        let (rest, name) = text.rsplit_once('/')?;
        let directory = match rest.strip_prefix("/proc/sys/net/") {
            Some(with_link) => with_link.rsplit_once('/')?.0,
            None => rest,
        };
        Self::all().find(|setting| setting.directory == directory && setting.name == name)
    }
}

impl fmt::Display for NicSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.directory, self.name)
    }
}

impl Serialize for NicSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(setting, value)| (setting.to_string(), value)))
    }
}

impl<'de> Deserialize<'de> for NicSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Self(read.into_iter().filter_map(|(key, value)| Some((NicSetting::parse(&key)?, value))).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case::now("ipv4/conf/rp_filter", Some("/proc/sys/net/ipv4/conf/eth1/rp_filter"))]
    #[case::earlier_releases("/proc/sys/net/ipv6/neigh/eth0/locktime", Some("/proc/sys/net/ipv6/neigh/eth1/locktime"))]
    #[case::all_links("/proc/sys/net/ipv4/conf/all/rp_filter", Some("/proc/sys/net/ipv4/conf/eth1/rp_filter"))]
    #[case::above("/proc/sys/net/ipv4/conf/eth1/../../../../kernel/core_pattern", None)]
    #[case::elsewhere("/proc/sys/kernel/core_pattern", None)]
    #[case::other_path("/etc/ipv4/conf/eth1/rp_filter", None)]
    #[case::other_name("ipv4/conf/../ip_forward", None)]
    #[case::other_family("ipv4/conf/accept_ra", None)]
    #[case::nothing("", None)]
    fn a_record_names_settings_and_no_paths(#[case] key: &str, #[case] path: Option<&str>) {
        let text = serde_json::json!({ key: "1" }).to_string();
        let settings: NicSettings = serde_json::from_str(&text).unwrap();
        let nic = "eth1".parse().unwrap();
        let paths: Vec<PathBuf> = settings.0.keys().map(|setting| setting.path(&nic)).collect();
        assert_eq!(paths, path.map(PathBuf::from).into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_written_is_read() {
        let settings = NicSettings(NicSetting::all().map(|setting| (setting, setting.to_string())).collect());
        let text = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<NicSettings>(&text).unwrap(), settings);
    }

    /// A kernel that is newer than the list loses the settings that the list lacks, so the list is compared where tests run.
    #[test]
    fn the_list_has_every_setting_of_the_running_kernel() {
        let of_namespace = ["gc_interval", "gc_thresh1", "gc_thresh2", "gc_thresh3"];
        for (directory, names) in DIRECTORIES {
            // Without IPv6 there is nothing to compare.
            let Ok(found) = std::fs::read_dir(format!("/proc/sys/net/{directory}/default")) else { continue };
            for entry in found {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(names.contains(&name.as_str()) || of_namespace.contains(&name.as_str()), "{directory}/{name}");
            }
        }
    }
}
