//! Whether daemons reply on their vty sockets. In: paths. Out: yes or no.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::frr::client::vty::{Vty, VtyError};
use crate::runtime::{Daemon, Runtime};

/// A daemon that works replies at once.
const LIMIT: Duration = Duration::from_secs(1);

/// Whether all of `daemons` reply.
pub async fn ready(runtime: &Runtime, daemons: &[Daemon]) -> bool {
    futures::future::join_all(daemons.iter().map(|daemon| replies(runtime, *daemon))).await.into_iter().all(|up| up)
}

/// Whether a daemon replies.
pub(crate) async fn replies(runtime: &Runtime, daemon: Daemon) -> bool {
    EchoConnection::default().replies(runtime, daemon).await
}

/// The connection on which a daemon is polled. It is made with the first poll, and after one without a reply.
#[derive(Debug, Clone, Default)]
pub(crate) struct EchoConnection(Arc<Mutex<Option<Vty>>>);

impl EchoConnection {
    /// Whether the daemon replies.
    pub async fn replies(&self, runtime: &Runtime, daemon: Daemon) -> bool {
        let mut kept = self.0.lock().await;
        let connected = kept.take();
        let echo = async {
            let mut vty = match connected {
                Some(vty) => vty,
                None => Vty::connect(&runtime.vty_socket(daemon), LIMIT).await?,
            };
            let reply = vty.run("echo perouter", LIMIT).await?;
            Ok::<_, VtyError>((vty, reply))
        };
        let echoed = timeout(LIMIT, echo).await.ok().and_then(Result::ok);
        let echoed = echoed.filter(|(_, reply)| reply.text.starts_with("perouter"));
        *kept = echoed.map(|(vty, _)| vty);
        kept.is_some()
    }
}
