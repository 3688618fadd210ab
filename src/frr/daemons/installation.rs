//! The installed FRR. In: the directory of its programs. Out: which daemons there are, and their version.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;

use super::order::ALL;
use crate::frr::release::FrrVersion;
use crate::runtime::Daemon;

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

/// The daemons to start. Only FRR 10 has mgmtd.
pub fn installed(frr_dir: &Path) -> Result<Vec<Daemon>, InstallationError> {
    let is_there = |daemon: &Daemon| frr_dir.join(daemon.name()).is_file();
    match ALL.iter().find(|daemon| **daemon != Daemon::Mgmtd && !is_there(daemon)) {
        Some(missing) => Err(InstallationError::NotInstalled { dir: frr_dir.to_owned(), missing: *missing }),
        None => Ok(ALL.into_iter().filter(is_there).collect()),
    }
}

/// The version of the installed zebra.
pub async fn version(frr_dir: &Path) -> Result<FrrVersion, InstallationError> {
    let program = frr_dir.join(Daemon::Zebra.name());
    let output = tokio::process::Command::new(&program).arg("--version").stdin(Stdio::null()).output().await;
    let output = output.map_err(|source| InstallationError::Version { program: program.clone(), source })?;
    FrrVersion::parse(&String::from_utf8_lossy(&output.stdout)).ok_or(InstallationError::NoVersion { program })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_frr_is_told_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = installed(dir.path()).unwrap_err().to_string();
        let expected =
            format!("FRR is not installed: apt-get install frr (looked in {} for zebra)", dir.path().display());
        assert_eq!(error, expected);
    }
}
