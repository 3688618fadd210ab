//! The service manager that started this process, if there is one (`sd_notify(3)`). In: that the process is ready. Out: datagrams
//! to its socket. A failure is logged and changes nothing.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

/// What waits for this process at boot, such as kubelet, waits no longer: it may be what this process waits for.
const LONGEST: Duration = Duration::from_secs(10);

/// Reports this process as ready when the returned value is notified, or after [`LONGEST`], and keeps its watchdog quiet from then
/// on. Does nothing without a service manager.
pub fn when_ready() -> Arc<Notify> {
    let ready = Arc::new(Notify::new());
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        let period = std::env::var("WATCHDOG_USEC").ok().and_then(|period| period.parse().ok());
        let ready = Arc::clone(&ready);
        tokio::spawn(async move {
            let _ = timeout(LONGEST, ready.notified()).await;
            report(&socket, "READY=1");
            while let Some(period) = period.map(Duration::from_micros) {
                tokio::time::sleep(period / 2).await;
                report(&socket, "WATCHDOG=1");
            }
        });
    }
    ready
}

fn report(socket: &OsStr, state: &str) {
    if let Err(error) = send(socket, state) {
        tracing::warn!(%error, state, "the service manager is not notified");
    }
}

/// A name that begins with `@` is one in the abstract namespace.
fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_socket_receive_the_state() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("perouter-test-{}", std::process::id());
        let abstract_socket = SocketAddr::from_abstract_name(&name).unwrap();
        let cases = [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&abstract_socket).unwrap(), format!("@{name}").into()),
        ];
        for (receiver, socket) in cases {
            send(&socket, "READY=1").unwrap();
            let mut buffer = [0; 64];
            let length = receiver.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1");
        }
        assert!(send(OsStr::new("/no/such/socket"), "READY=1").is_err());
    }
}
