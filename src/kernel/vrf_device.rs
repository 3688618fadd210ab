//! Whether this kernel has VRF devices. In: nothing. Out: yes or no, found by making one in a namespace that ends with
//! the question. Leaves nothing behind.

use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use rtnetlink::{LinkVrf, new_connection};
use thiserror::Error;

use super::netns::{NetnsError, on_thread};

/// Why it could not be found out.
#[derive(Debug, Error)]
pub enum VrfDeviceError {
    /// The namespace to ask in.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The socket to ask with.
    #[error("open a netlink socket")]
    Socket(#[source] io::Error),
    /// An answer that is neither yes nor no.
    #[error("make a VRF device")]
    Netlink(#[from] rtnetlink::Error),
}

/// Makes a VRF device in a scratch namespace; the kernel loads the module for it if it has one. Blocks for some
/// milliseconds.
pub fn supported() -> Result<bool, VrfDeviceError> {
    on_thread(|| {
        unshare(CloneFlags::CLONE_NEWNET).map_err(NetnsError::Unshare)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(VrfDeviceError::Socket)?;
        runtime.block_on(async {
            let (connection, handle, _) = new_connection().map_err(VrfDeviceError::Socket)?;
            let connection = tokio::spawn(connection);
            let made = handle.link().add(LinkVrf::new("probe", 1).build()).execute().await;
            connection.abort();
            match made {
                Ok(()) => Ok(true),
                Err(rtnetlink::Error::NetlinkError(message))
                    if message.code.is_some_and(|code| -code.get() == Errno::EOPNOTSUPP as i32) =>
                {
                    Ok(false)
                }
                Err(error) => Err(error.into()),
            }
        })
    })?
}
