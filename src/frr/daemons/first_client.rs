//! A bgpd that connects to a new zebra before the one that stays, announces a graceful restart and exits. In: how daemons are
//! started, and a zebra without bgpd. Out: a zebra that removes nothing when the next bgpd has completed its restart.
//!
//! zebra (10.6 to 10.7, `zebra_gr.c`) takes the time of the first announcement in its life, in seconds, and removes the router MACs
//! and next-hop neighbors that are not younger when the default instance is complete: also those that bgpd has sent within that
//! second, and it never installs them again. For a client that connects later it has no such time. What is left over is removed
//! 60 s after its start, as ever.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::launch::{Launch, LaunchError};
use super::process::{Process, ProcessError};
use super::readiness::replies;
use super::zebra_reconnect::is_connected;
use crate::frr::client::vty::{Vty, VtyError};
use crate::runtime::{Daemon, Runtime};

/// Time limit of a vty exchange.
const LIMIT: Duration = Duration::from_secs(1);
/// For bgpd to be ready, and for zebra to notice that it has exited.
const PATIENCE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);
/// A session with graceful restart to an address for documentation (RFC 5737). bgpd announces the restart when the configuration
/// is complete, after the time that a change of a route map is delayed, of which less than a second is none.
const CONFIGURATION: [&str; 12] = [
    "configure terminal",
    "XFRR_start_configuration",
    "bgp route-map delay-timer 1",
    "route-map pe-first permit 1",
    "exit",
    "router bgp 65535",
    "bgp router-id 192.0.2.2",
    "bgp graceful-restart",
    "neighbor 192.0.2.1 remote-as 65535",
    "exit",
    "XFRR_end_configuration",
    "end",
];

/// Why zebra has had no first client.
#[derive(Debug, Error)]
pub(super) enum FirstClientError {
    /// It did not start.
    #[error("start a first client of zebra")]
    Launch(#[from] LaunchError),
    /// It could not be examined or killed.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A vty exchange.
    #[error(transparent)]
    Vty(#[from] VtyError),
    /// It was not ready, or zebra did not notice that it has exited.
    #[error("the first client of zebra does not {0}")]
    Late(&'static str),
    /// The tokio runtime is shutting down.
    #[error("start a daemon during shutdown")]
    Shutdown(#[from] tokio::task::JoinError),
}

/// Lets it connect and exit. No other bgpd may run.
pub(super) async fn connect_and_exit(launch: &Launch) -> Result<(), FirstClientError> {
    // Who configures bgpd must not find it.
    let apart = launch.runtime.first_client();
    let first = Launch { apart: Some(apart.clone()), ..launch.clone() };
    tokio::task::spawn_blocking(move || first.start(Daemon::Bgpd)).await??;
    let announced = announce(launch, &apart).await;
    if let Some(process) = Process::find(&apart, Daemon::Bgpd)? {
        process.kill().await?;
    }
    announced?;
    // The next one must not connect before zebra has noticed: it would find two clients of one protocol.
    let deadline = Instant::now() + PATIENCE;
    while is_connected(&launch.runtime, Daemon::Bgpd).await {
        pause(deadline, "exit").await?;
    }
    Ok(())
}

async fn announce(launch: &Launch, apart: &Runtime) -> Result<(), FirstClientError> {
    let deadline = Instant::now() + PATIENCE;
    while !replies(apart, Daemon::Bgpd).await {
        pause(deadline, "reply").await?;
    }
    while !is_connected(&launch.runtime, Daemon::Bgpd).await {
        pause(deadline, "connect").await?;
    }
    let mut bgpd = Vty::connect(&apart.vty_socket(Daemon::Bgpd), LIMIT).await?;
    bgpd.run_all(&CONFIGURATION, LIMIT).await?;
    // The announcement is an event of bgpd's loop, before the second of these.
    for _ in 0..2 {
        sleep(POLL).await;
        bgpd.run("echo perouter", LIMIT).await?;
    }
    Ok(())
}

/// Until the next look at something that is to happen before `deadline`.
async fn pause(deadline: Instant, what: &'static str) -> Result<(), FirstClientError> {
    if Instant::now() > deadline {
        return Err(FirstClientError::Late(what));
    }
    sleep(POLL).await;
    Ok(())
}
