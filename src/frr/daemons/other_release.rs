//! The daemons of another FRR than the installed one, after perouter was replaced together with FRR. In: the version of the
//! installed FRR. Out: no daemon of another version or user. The kernel keeps forwarding; who starts the daemons starts new
//! ones.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use futures::future::join_all;

use super::error::DaemonError;
use super::launch::frr_owner;
use super::process::Process;
use crate::frr::client::vty::Vty;
use crate::frr::release::FrrVersion;
use crate::runtime::{Daemon, Runtime};

/// Time limit of a vty exchange.
const LIMIT: Duration = Duration::from_secs(1);
/// zebra is the first: it would remove bgpd's routes when bgpd exits.
const ORDER: [Daemon; 5] = [Daemon::Zebra, Daemon::Bgpd, Daemon::Bfdd, Daemon::Staticd, Daemon::Mgmtd];

/// Kills all daemons if one of them is of another version, since daemons of two versions do not understand each other, or if
/// their directory belongs to the user of another image, and removes their directory. A daemon that does not reply is no
/// reason.
///
/// # Errors
/// If a process cannot be examined or killed, or a directory not be removed.
pub(super) async fn remove(runtime: &Runtime, installed: &FrrVersion) -> Result<(), DaemonError> {
    let user = frr_owner().map_err(DaemonError::Prepare)?.user;
    // Its parent belongs to root, so nobody else has put it there.
    let is_of_other_user = fs::symlink_metadata(runtime.frr_dir()).is_ok_and(|found| ![user, 0].contains(&found.uid()));
    let mut running = Vec::new();
    for daemon in ORDER {
        running.extend(Process::find(runtime, daemon)?.map(|process| (daemon, process)));
    }
    let versions = join_all(running.iter().map(|(daemon, _)| version(runtime, *daemon))).await;
    let other = versions.into_iter().flatten().find(|version| version != installed);
    if other.is_none() && !is_of_other_user {
        return Ok(());
    }
    let found = other.map(tracing::field::display);
    tracing::warn!(running = found, %installed, is_of_other_user, "FRR was replaced: all daemons are started again");
    for (_, process) in running {
        process.kill().await?;
    }
    for path in [runtime.frr_dir(), runtime.first_client().dir().to_owned()] {
        match fs::remove_dir_all(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(DaemonError::Remove { path, source });
            }
            _ => {}
        }
    }
    Ok(())
}

async fn version(runtime: &Runtime, daemon: Daemon) -> Option<FrrVersion> {
    let mut vty = Vty::connect(&runtime.vty_socket(daemon), LIMIT).await.ok()?;
    FrrVersion::parse(&vty.run("show version", LIMIT).await.ok()?.text)
}
