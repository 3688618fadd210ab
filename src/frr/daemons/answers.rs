//! Whether daemons answer. In: paths. Out: yes or no.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::runtime::Daemon;
use crate::runtime::Runtime;

/// Whether all of `daemons` answer.
pub async fn ready(runtime: &Runtime, daemons: &[Daemon]) -> bool {
    futures::future::join_all(daemons.iter().map(|daemon| answers(runtime, *daemon))).await.into_iter().all(|up| up)
}

/// Whether a daemon answers on its vty socket.
pub(crate) async fn answers(runtime: &Runtime, daemon: Daemon) -> bool {
    let echo = async {
        let mut socket = UnixStream::connect(runtime.vty_socket(daemon)).await?;
        socket.write_all(b"echo perouter\0").await?;
        let mut reply = Vec::new();
        // The reply ends with three NULs and a status byte.
        while !reply.ends_with(b"\0\0\0\0") {
            if socket.read_buf(&mut reply).await? == 0 {
                return Ok(false);
            }
        }
        io::Result::Ok(reply.starts_with(b"perouter"))
    };
    matches!(timeout(Duration::from_secs(1), echo).await, Ok(Ok(true)))
}
