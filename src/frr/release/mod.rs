//! What FRR releases print or take differently, as measured on 8.4.4 and 10.3. What they print alike but for a name
//! ([`super::show::vni`]) or a line that says nothing ([`super::config::tree`]) is read in either form.
//! In: the text of `show version`. Out: a [`Release`]. Pure.

use std::fmt;

use crate::runtime::Daemon;
use crate::types::VrfMode;

/// A release of FRR.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrrVersion {
    /// 8 of 8.4.4
    pub major: u32,
    /// 4 of 8.4.4
    pub minor: u32,
    /// As FRR prints it.
    pub text: String,
}

impl FrrVersion {
    /// Reads `show version` (`FRRouting 8.4.4 (host) on Linux(…).`) or `zebra --version` (`zebra version 8.4.4`).
    pub fn parse(text: &str) -> Option<Self> {
        let word = text.split_whitespace().skip_while(|word| !matches!(*word, "FRRouting" | "version")).nth(1)?;
        let mut numbers = word.split(|c: char| !c.is_ascii_digit());
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        Some(Self { major, minor, text: word.to_owned() })
    }

    /// The newest release that perouter is tested with.
    pub fn newest_known() -> Self {
        Self { major: 10, minor: 3, text: "10.3".to_owned() }
    }
}

impl fmt::Display for FrrVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Differences between releases that we heed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// `mgmtd` must run, and before zebra: without it zebra drops `vni N` silently.
    pub has_mgmtd: bool,
    /// The argument for the netns VRF backend.
    pub netns_argument: &'static str,
    /// Only zebra knows it. Else all must agree: of an interface whose configuration comes from a mgmtd that does not,
    /// zebra does not find the VRF in the name and aborts.
    pub netns_zebra_only: bool,
    /// Takes and prints zebra's configuration: the L3VNI of a VRF.
    pub zebra_config: Daemon,
    /// With whose configuration the static routes of a VRF are printed and taken.
    pub static_routes: Daemon,
    /// Takes one line at a time, each committed by itself: what is sent before it has answered a line is lost.
    pub line_by_line: Option<Daemon>,
    /// In `netns` mode, the namespace of an IP-VRF that goes stays, empty, as long as zebra runs: with a namespace that goes
    /// zebra frees the buffer for messages to the kernel that all of them share, and crashes at the next message
    /// (frr#19232, cause and fix in the pull request frr#16765).
    pub netns_stays: bool,
    /// Daemons that have no `-f FILE`.
    pub without_file: &'static [Daemon],
}

const FRR_8: Release = Release {
    has_mgmtd: false,
    netns_argument: "-n",
    netns_zebra_only: true,
    zebra_config: Daemon::Zebra,
    static_routes: Daemon::Staticd,
    line_by_line: None,
    netns_stays: false,
    without_file: &[],
};
const FRR_10: Release = Release {
    has_mgmtd: true,
    netns_argument: "-w",
    netns_zebra_only: false,
    zebra_config: Daemon::Mgmtd,
    static_routes: Daemon::Zebra,
    line_by_line: Some(Daemon::Mgmtd),
    netns_stays: true,
    without_file: &[Daemon::Mgmtd, Daemon::Staticd],
};

impl Release {
    /// The release of a release. Releases in between are taken for the older one.
    pub fn of(version: &FrrVersion) -> Self {
        if version.major >= 10 { FRR_10 } else { FRR_8 }
    }

    /// The daemons to run, in the order in which they start.
    pub fn daemons(self) -> Vec<Daemon> {
        Daemon::ALL.into_iter().filter(|daemon| self.has_mgmtd || *daemon != Daemon::Mgmtd).collect()
    }

    /// Settings of zebra without which FRR 8 loses the router MAC of a remote VTEP when a route changes, and with it the
    /// traffic (frr#12391, frr#14108): it takes one message at a time and does its work at once, so that the
    /// deletion of the old route comes before the addition of the new one, as bgpd said it. And without nexthop objects in
    /// the kernel, which `vrf` mode has: when a NIC loses its carrier the kernel takes its nexthop out of their groups, and
    /// zebra does not put it back (frr#12239, mended in 9.0 by frr#13413).
    pub fn zebra_settings(self) -> &'static [&'static str] {
        if self.has_mgmtd {
            &[]
        } else {
            &["zebra work-queue 0", "zebra zapi-packets 1", "no zebra nexthop kernel enable"]
        }
    }

    /// The daemon that is told a line of `daemon`'s configuration.
    pub fn told(self, daemon: Daemon) -> Daemon {
        if daemon == Daemon::Zebra { self.zebra_config } else { daemon }
    }

    /// Whose configuration `printer` prints.
    pub fn owner(self, printer: Daemon) -> Daemon {
        if printer == self.zebra_config { Daemon::Zebra } else { printer }
    }

    /// What a daemon is told of the VRF mode.
    pub fn mode_argument(self, daemon: Daemon, mode: VrfMode) -> Option<&'static str> {
        let told = mode == VrfMode::Netns && (daemon == Daemon::Zebra || !self.netns_zebra_only);
        told.then_some(self.netns_argument)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("FRRouting 8.4.4 (vm) on Linux(6.18.44).\nCopyright", Some((8, 4)), false)]
    #[case("FRRouting 10.3-dev (x) on Linux", Some((10, 3)), true)]
    #[case("FRRouting 9.1.1~dev_git (x)", Some((9, 1)), false)]
    #[case("Quagga", None, false)]
    fn the_version_selects_the_release(#[case] text: &str, #[case] number: Option<(u32, u32)>, #[case] mgmtd: bool) {
        let version = FrrVersion::parse(text);
        assert_eq!(version.as_ref().map(|v| (v.major, v.minor)), number);
        assert_eq!(version.is_some_and(|v| Release::of(&v).daemons().contains(&Daemon::Mgmtd)), mgmtd);
    }

    #[rstest]
    #[case(FRR_8)]
    #[case(FRR_10)]
    fn what_one_is_told_it_prints_as_the_owners(#[case] release: Release) {
        for daemon in release.daemons().into_iter().filter(|d| *d != Daemon::Mgmtd) {
            assert_eq!(release.owner(release.told(daemon)), daemon);
        }
    }
}
