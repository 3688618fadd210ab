//! Whether daemons reply on their vty sockets. In: paths. Out: yes or no.

use std::time::Duration;

use tokio::time::timeout;

use crate::frr::client::vty::Vty;
use crate::runtime::{Daemon, Runtime};

/// A daemon that works replies at once.
const LIMIT: Duration = Duration::from_secs(1);

/// Whether all of `daemons` reply.
pub async fn ready(runtime: &Runtime, daemons: &[Daemon]) -> bool {
    futures::future::join_all(daemons.iter().map(|daemon| replies(runtime, *daemon))).await.into_iter().all(|up| up)
}

/// Whether a daemon replies.
pub(crate) async fn replies(runtime: &Runtime, daemon: Daemon) -> bool {
    let socket = runtime.vty_socket(daemon);
    let echo = async { Vty::connect(&socket, LIMIT).await?.run("echo perouter", LIMIT).await };
    matches!(timeout(LIMIT, echo).await, Ok(Ok(reply)) if reply.text.starts_with("perouter"))
}
