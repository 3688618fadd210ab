//! Everything that differs between releases of FRR: one file for each release, and the choice among them by version. In:
//! the output of `show version` or `zebra --version`. Out: a [`Release`] as plain data, for planning, rendering, the daemons
//! and the vty client alike. What releases print alike but for a key is read in either form by [`super::show`]. Pure.

mod facts;
mod frr_10_3;
mod frr_10_7;
mod frr_8_4;
mod frr_9_1;

use std::fmt;

use thiserror::Error;

pub use self::facts::{Defaults, Release};
pub use self::frr_8_4::FRR_8_4;
pub use self::frr_9_1::FRR_9_1;
pub use self::frr_10_3::FRR_10_3;
pub use self::frr_10_7::FRR_10_7;

/// The known releases, oldest first.
pub const RELEASES: [Release; 4] = [FRR_8_4, FRR_9_1, FRR_10_3, FRR_10_7];

/// A version of FRR.
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
        let Release { name, measured: (major, minor), .. } = FRR_10_7;
        Self { major, minor, text: name.to_owned() }
    }
}

impl fmt::Display for FrrVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// FRR is older than every known release.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("FRR {version} is not supported: install FRR {} or later", FRR_8_4.name)]
pub struct UnsupportedRelease {
    /// The version.
    pub version: FrrVersion,
}

impl Release {
    /// The release as which a version is treated: the newest known one that is not newer.
    ///
    /// # Errors
    /// If the version is older than all of them.
    pub fn of(version: &FrrVersion) -> Result<Self, UnsupportedRelease> {
        let known = RELEASES.into_iter().rev().find(|release| release.since <= (version.major, version.minor));
        known.ok_or_else(|| UnsupportedRelease { version: version.clone() })
    }

    /// Why `version`, which is treated as this release, may behave differently; `None` for the version that was measured.
    pub fn warning(self, version: &FrrVersion) -> Option<String> {
        let mut measured = RELEASES.map(|release| release.name).to_vec();
        measured.dedup();
        let measured = measured.join(", ");
        ((version.major, version.minor) != self.measured).then(|| {
            format!(
                "perouter was not measured with FRR {version}, which it treats as {}: use one of {measured}, or expect \
                 differences",
                self.name
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Daemon;
    use rstest::rstest;

    #[rstest]
    #[case("FRRouting 8.4.4 (vm) on Linux(6.18.44).\nCopyright", Some((8, 4)), false)]
    #[case("FRRouting 10.3-dev (x) on Linux", Some((10, 3)), true)]
    #[case("FRRouting 10.7.1 (x) on Linux", Some((10, 7)), true)]
    #[case("FRRouting 9.1.1~dev_git (x)", Some((9, 1)), false)]
    #[case("Quagga", None, false)]
    fn the_version_selects_the_release(#[case] text: &str, #[case] number: Option<(u32, u32)>, #[case] mgmtd: bool) {
        let version = FrrVersion::parse(text);
        assert_eq!(version.as_ref().map(|v| (v.major, v.minor)), number);
        assert_eq!(version.is_some_and(|v| Release::of(&v).unwrap().daemons.contains(&Daemon::Mgmtd)), mgmtd);
    }

    #[rstest]
    #[case::measured("8.4.4", "8.4", false)]
    #[case("8.5.6", "8.4", true)]
    #[case("9.1", "8.4", true)]
    #[case("10.0.1", "10.3", true)]
    #[case::measured("10.3", "10.3", false)]
    #[case("10.5.4", "10.3", true)]
    #[case("10.6.1", "10.7", true)]
    #[case::measured("10.7.1", "10.7", false)]
    #[case("10.8-dev", "10.7", true)]
    #[case("11.0", "10.7", true)]
    fn a_version_is_treated_as_the_nearest_known_one_at_or_below(
        #[case] text: &str,
        #[case] name: &str,
        #[case] is_warned_of: bool,
    ) {
        let version = FrrVersion::parse(&format!("zebra version {text}")).unwrap();
        let release = Release::of(&version).unwrap();
        let expected = is_warned_of.then(|| {
            format!(
                "perouter was not measured with FRR {text}, which it treats as {name}: use one of 8.4, 10.3, 10.7, or expect \
                 differences"
            )
        });
        assert_eq!((release.name, release.warning(&version)), (name, expected));
    }

    #[test]
    fn a_version_before_the_first_release_is_an_error() {
        let version = FrrVersion::parse("zebra version 8.3.1").unwrap();
        let error = Release::of(&version).unwrap_err().to_string();
        assert_eq!(error, "FRR 8.3.1 is not supported: install FRR 8.4 or later");
    }

    #[rstest]
    #[case(FRR_8_4)]
    #[case(FRR_10_3)]
    #[case(FRR_10_7)]
    fn next_hops_resolve_by_the_default_route_where_that_is_no_default(#[case] release: Release) {
        let lines = ["ip nht resolve-via-default", "ipv6 nht resolve-via-default"];
        let is_set = lines.map(|line| release.zebra_settings.contains(&line));
        assert_eq!(is_set, [release == FRR_8_4; 2]);
    }

    #[test]
    fn frr_9_has_another_default_from_9_1() {
        let lines = |text: &str| Release::of(&FrrVersion::parse(text).unwrap()).unwrap().zebra_settings.len();
        assert_eq!(["zebra version 9.0.2", "zebra version 9.1"].map(lines), [5, 3]);
    }

    #[rstest]
    #[case(FRR_8_4)]
    #[case(FRR_10_3)]
    #[case(FRR_10_7)]
    fn a_daemon_prints_what_it_is_sent_as_its_owners(#[case] release: Release) {
        for daemon in release.daemons.iter().copied().filter(|daemon| *daemon != Daemon::Mgmtd) {
            assert_eq!(release.owner(release.configured_by(daemon)), daemon);
        }
    }

    #[rstest]
    #[case(FRR_8_4)]
    #[case(FRR_10_3)]
    #[case(FRR_10_7)]
    fn every_daemon_starts_after_what_it_needs(#[case] release: Release) {
        for (index, daemon) in release.daemons.iter().enumerate() {
            let needed = release.needs(*daemon);
            assert!(needed.is_none_or(|needed| release.daemons[..index].contains(&needed)), "{daemon}");
        }
    }
}
