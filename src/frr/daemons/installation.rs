//! The installed FRR. In: the directory of its programs. Out: its version, the [`Release`] that it is treated as, and with
//! that the daemons to run.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use thiserror::Error;

use crate::frr::release::{FrrVersion, Release, UnsupportedRelease};
use crate::runtime::Daemon;

/// Why the installed FRR cannot be used.
#[derive(Debug, Error)]
pub enum InstallationError {
    /// FRR or a part of it is missing.
    #[error("FRR is not installed: apt-get install frr (looked in {dir} for {missing})")]
    NotInstalled {
        /// The directory.
        dir: PathBuf,
        /// The first program that is missing.
        missing: Daemon,
    },
    /// `zebra --version`
    #[error("read the version of {program}")]
    Version {
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its output has no version in it.
    #[error("{program} --version prints no version")]
    NoVersion {
        /// The program.
        program: PathBuf,
    },
    /// It is too old.
    #[error(transparent)]
    Unsupported(#[from] UnsupportedRelease),
}

/// FRR as it is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The version.
    pub version: FrrVersion,
    /// The release that it is treated as.
    pub release: Release,
}

impl Installation {
    /// Examines the directory of FRR's programs.
    pub async fn read(frr_dir: &Path) -> Result<Self, InstallationError> {
        let require = |daemon: Daemon| {
            let is_installed = frr_dir.join(daemon.name()).is_file();
            is_installed
                .then_some(())
                .ok_or(InstallationError::NotInstalled { dir: frr_dir.to_owned(), missing: daemon })
        };
        require(Daemon::Zebra)?;
        let version = version(frr_dir).await?;
        let release = Release::of(&version)?;
        release.daemons.iter().try_for_each(|daemon| require(*daemon))?;
        Ok(Self { version, release })
    }
}

async fn version(frr_dir: &Path) -> Result<FrrVersion, InstallationError> {
    let program = frr_dir.join(Daemon::Zebra.name());
    let output = tokio::process::Command::new(&program).arg("--version").stdin(Stdio::null()).output().await;
    let output = output.map_err(|source| InstallationError::Version { program: program.clone(), source })?;
    FrrVersion::parse(&String::from_utf8_lossy(&output.stdout)).ok_or(InstallationError::NoVersion { program })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn a_missing_frr_is_reported_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = Installation::read(dir.path()).await.unwrap_err().to_string();
        let expected =
            format!("FRR is not installed: apt-get install frr (looked in {} for zebra)", dir.path().display());
        assert_eq!(error, expected);
    }

    #[tokio::test]
    async fn every_daemon_of_the_release_is_required() {
        let dir = tempfile::tempdir().unwrap();
        for daemon in ["zebra", "bgpd", "bfdd", "staticd"] {
            let program = dir.path().join(daemon);
            fs::write(&program, "#!/bin/sh\necho zebra version 10.3\n").unwrap();
            fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
        }
        let error = Installation::read(dir.path()).await.unwrap_err();
        assert!(matches!(error, InstallationError::NotInstalled { missing: Daemon::Mgmtd, .. }), "{error}");
    }
}
