//! A label manager for bgpd, in the place of that of zebra. In: a socket. Out: bgpd's second connection, granted and idle: perouter
//! configures nothing that needs an MPLS label.
//!
//! bgpd opens it a second after its start. At zebra it would be a client with the protocol BGP and without graceful restart, at
//! whose end zebra (10.6 to 10.7, `zebra_evpn_cfg_clean_up`) removes the router MACs and the next-hop neighbors of all L3VNIs,
//! although bgpd's first connection has graceful restart. What leads bgpd here is in [`super::graceful`].

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::untrusted_file::Owner;

/// Connections at a time: one bgpd needs one.
const CONNECTIONS: usize = 8;
/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_secs(1);
/// The header of a message of zebra (`lib/zclient.h`): length of the whole, marker, version, VRF, command.
const HEADER: usize = 10;
/// Bytes of a message, at most. Those that are expected have 18 and 13.
const MAX_MESSAGE: usize = 64;
/// What follows the header of a connect request and is repeated in the reply: protocol and instance.
const CONNECT: usize = 3;

/// The label manager, until it is dropped.
#[derive(Debug)]
pub(crate) struct LabelManager(#[expect(dead_code, reason = "held")] AbortOnDropHandle<()>);

impl LabelManager {
    /// Listens at a path in a directory of root, for `owner` only.
    pub fn start(path: &Path, owner: Option<Owner>) -> io::Result<Self> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        if let Some(owner) = owner {
            chown(path, Some(owner.user), Some(owner.group))?;
        }
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        Ok(Self(AbortOnDropHandle::new(tokio::spawn(accept(listener)))))
    }
}

async fn accept(listener: UnixListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(async move {
                if let Err(error) = serve(stream).await {
                    tracing::debug!(%error, "a connection to the label manager");
                }
                drop(place);
            })),
            // Such as too many open files: bgpd tries again.
            Err(error) => {
                tracing::warn!(%error, "the label manager did not accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Grants connect requests until the connection is closed. bgpd waits for the reply and does nothing else meanwhile.
async fn serve(mut stream: UnixStream) -> io::Result<()> {
    let mut message = [0; MAX_MESSAGE];
    loop {
        let (header, rest) = message.split_at_mut(HEADER);
        match stream.read_exact(header).await {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => drop(other?),
        }
        let length = usize::from(u16::from_be_bytes([header[0], header[1]]));
        let body = length.checked_sub(HEADER).and_then(|length| rest.get_mut(..length));
        let body = body.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("{length} bytes")))?;
        stream.read_exact(body).await?;
        if body.len() == CONNECT {
            stream.write_all(&granted(header, body)).await?;
        }
    }
}

/// The reply to a connect request.
fn granted(header: &[u8], body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADER + CONNECT + 1).unwrap_or_default();
    // The result is 0.
    [&length.to_be_bytes()[..], header.get(2..).unwrap_or_default(), body, &[0]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As bgpd 10.7.1 sends them.
    const HELLO: &[u8] = &[0, 18, 254, 6, 0, 0, 0, 0, 0, 20, 9, 0, 0, 0, 0, 0, 1, 1];
    const REQUEST: &[u8] = &[0, 13, 254, 6, 0, 0, 0, 0, 0, 54, 9, 0, 0];

    #[tokio::test]
    async fn a_connection_is_granted_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lm");
        fs::write(&path, "left behind").unwrap();
        let _manager = LabelManager::start(&path, None).unwrap();
        let mut bgpd = UnixStream::connect(&path).await.unwrap();
        bgpd.write_all(&[HELLO, REQUEST].concat()).await.unwrap();
        let mut reply = [0; 14];
        bgpd.read_exact(&mut reply).await.unwrap();
        assert_eq!(reply, [0, 14, 254, 6, 0, 0, 0, 0, 0, 54, 9, 0, 0, 0]);
        let more = tokio::time::timeout(Duration::from_millis(50), bgpd.read(&mut reply)).await;
        assert!(more.is_err(), "{more:?}");
    }

    #[tokio::test]
    async fn a_message_of_another_length_ends_the_connection() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lm");
        let _manager = LabelManager::start(&path, None).unwrap();
        for length in [9_u8, 200] {
            let mut other = UnixStream::connect(&path).await.unwrap();
            other.write_all(&[0, length, 254, 6, 0, 0, 0, 0, 0, 20]).await.unwrap();
            assert_eq!(other.read(&mut [0; 1]).await.unwrap(), 0);
        }
    }
}
