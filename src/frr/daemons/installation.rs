//! The installed FRR. In: the directory of its programs. Out: which daemons there are, and their version.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;

use super::order::ALL;
use crate::frr::model::Daemon;

/// Why the installed FRR cannot be used.
#[derive(Debug, Error)]
pub enum InstallationError {
    /// FRR or a part of it is not there.
    #[error("FRR is not installed: apt-get install frr (looked in {dir} for {missing})")]
    NotInstalled {
        /// The directory.
        dir: PathBuf,
        /// The first program that is not there.
        missing: Daemon,
    },
    /// `zebra --version`
    #[error("ask {program} for its version")]
    Version {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its answer has no version in it.
    #[error("{program} --version does not tell a version")]
    NoVersion {
        /// The program.
        program: PathBuf,
    },
}

/// FRR's version, major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrrVersion {
    /// 8 in 8.4.4
    pub major: u32,
    /// 4 in 8.4.4
    pub minor: u32,
}

/// The daemons to start. Only FRR 10 has mgmtd.
pub(super) fn installed(frr_dir: &Path) -> Result<Vec<Daemon>, InstallationError> {
    let is_there = |daemon: &Daemon| frr_dir.join(daemon.name()).is_file();
    match ALL.iter().find(|daemon| **daemon != Daemon::Mgmtd && !is_there(daemon)) {
        Some(missing) => Err(InstallationError::NotInstalled { dir: frr_dir.to_owned(), missing: *missing }),
        None => Ok(ALL.into_iter().filter(is_there).collect()),
    }
}

pub(super) async fn version(frr_dir: &Path) -> Result<FrrVersion, InstallationError> {
    let program = frr_dir.join(Daemon::Zebra.name());
    let output = tokio::process::Command::new(&program).arg("--version").stdin(Stdio::null()).output().await;
    let output = output.map_err(|source| InstallationError::Version { program: program.clone(), source })?;
    parse_version(&String::from_utf8_lossy(&output.stdout)).ok_or(InstallationError::NoVersion { program })
}

/// Of `zebra version 8.4.4` or `zebra version 10.3`.
fn parse_version(text: &str) -> Option<FrrVersion> {
    let mut numbers = text.split_once("version ")?.1.split(|c: char| !c.is_ascii_digit());
    Some(FrrVersion { major: numbers.next()?.parse().ok()?, minor: numbers.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("zebra version 8.4.4\nCopyright", Some((8, 4)))]
    #[case("zebra version 10.3\n", Some((10, 3)))]
    #[case("zebra version 10.4-dev-g1", Some((10, 4)))]
    #[case("no", None)]
    fn a_version_has_two_numbers(#[case] text: &str, #[case] want: Option<(u32, u32)>) {
        assert_eq!(parse_version(text), want.map(|(major, minor)| FrrVersion { major, minor }));
    }

    #[test]
    fn a_missing_frr_is_told_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = installed(dir.path()).unwrap_err().to_string();
        let expected =
            format!("FRR is not installed: apt-get install frr (looked in {} for zebra)", dir.path().display());
        assert_eq!(error, expected);
    }
}
