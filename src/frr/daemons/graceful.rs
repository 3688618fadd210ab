//! The graceful restart of bgpd beside a zebra that stays. In: the paths of the router and its release. Out: whether bgpd is
//! started for one, and where its connections to zebra lead. Sends no configuration: who configures bgpd starts its sessions.
//!
//! bgpd is given a link in the place of zebra's socket. It leads to zebra until bgpd is connected, then to [`super::label_manager`].

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::zebra_reconnect::is_connected;
use crate::frr::client::vty::{Vty, VtyError};
use crate::frr::release::Release;
use crate::frr::show::restart::{SHOW_ROUTER, is_in_progress};
use crate::runtime::{Daemon, Runtime};

/// bgpd connects to zebra at once, and to a label manager after a second.
const CONNECTED: Duration = Duration::from_millis(700);
const POLL: Duration = Duration::from_millis(10);
/// Time limit of a vty exchange.
const LIMIT: Duration = Duration::from_secs(1);
/// bgpd takes part in a graceful restart.
pub(super) const ARGUMENT: &str = "-K";

/// Whether a bgpd that is started now restarts gracefully: FRR waits for the End-of-RIB of its peers then before it advertises
/// anything, and without a session with graceful restart it would wait for ever.
pub(super) fn is_wanted(runtime: &Runtime, release: Release) -> bool {
    release.restarts_gracefully() && runtime.graceful_restart().exists()
}

/// Leads bgpd to zebra.
pub(super) fn lead_to_zebra(runtime: &Runtime) -> io::Result<()> {
    lead(runtime, runtime.zserv_socket().as_os_str())
}

/// Leads bgpd to no socket.
pub(super) fn lead_nowhere(runtime: &Runtime) -> io::Result<()> {
    lead(runtime, OsStr::new("/nonexistent"))
}

/// Leads bgpd to the label manager of this process, when it is connected to zebra.
pub(super) async fn lead_to_label_manager(runtime: &Runtime) -> io::Result<()> {
    let deadline = Instant::now() + CONNECTED;
    while !is_connected(runtime, Daemon::Bgpd).await {
        if Instant::now() > deadline {
            tracing::warn!("bgpd is not connected to zebra: if it crashes, packets are lost");
            return Ok(());
        }
        sleep(POLL).await;
    }
    lead(runtime, runtime.label_manager().as_os_str())
}

fn lead(runtime: &Runtime, target: &OsStr) -> io::Result<()> {
    let link = runtime.bgpd_zserv();
    let new = link.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    symlink(target, &new)?;
    fs::rename(new, link)
}

/// Whether a bgpd was started for a graceful restart.
pub(super) fn restarts(arguments: &[Vec<u8>]) -> bool {
    arguments.iter().any(|argument| argument == ARGUMENT.as_bytes())
}

/// Whether a bgpd waits for the end of a graceful restart that is not wanted any more.
pub(super) async fn waits_in_vain(runtime: Runtime, release: Release, arguments: Vec<Vec<u8>>) -> bool {
    restarts(&arguments)
        && !is_wanted(&runtime, release)
        && is_restarting(&runtime).await.is_ok_and(|restarting| restarting)
}

async fn is_restarting(runtime: &Runtime) -> Result<bool, VtyError> {
    let mut bgpd = Vty::connect(&runtime.vty_socket(Daemon::Bgpd), LIMIT).await?;
    Ok(is_in_progress(&bgpd.run(SHOW_ROUTER, LIMIT).await?.text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frr::release::{FRR_10_3, FRR_10_7};

    #[test]
    fn it_needs_the_release_and_the_configuration() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), "/run/netns/none");
        let wanted = || [FRR_10_3, FRR_10_7].map(|release| is_wanted(&runtime, release));
        assert_eq!(wanted(), [false, false]);
        fs::write(runtime.graceful_restart(), "").unwrap();
        assert_eq!(wanted(), [false, true]);
    }

    #[test]
    fn the_link_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(dir.path(), "/run/netns/none");
        for target in ["/one", "/two"] {
            lead(&runtime, OsStr::new(target)).unwrap();
            assert_eq!(fs::read_link(runtime.bgpd_zserv()).unwrap(), std::path::Path::new(target));
        }
    }
}
