//! Why Open vSwitch could not be read or changed. The variants carry facts; the remedies are known above.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use crate::types::IfName;

/// Why Open vSwitch could not be read or changed.
#[derive(Debug, Error)]
pub enum OvsError {
    /// The same error again.
    #[error(transparent)]
    Shared(Arc<OvsError>),
    /// Nothing accepts connections at the socket.
    #[error("the database of Open vSwitch is not reachable at {path}")]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory of the socket was deleted on the node, and a mount shows it on.
    #[error("the directory {path} of the database of Open vSwitch was deleted on the node")]
    DeletedDirectory {
        /// The directory.
        path: PathBuf,
        /// Why the socket in it cannot be opened.
        source: io::Error,
    },
    /// The connection failed.
    #[error("the connection to the database of Open vSwitch failed")]
    Connection(#[source] io::Error),
    /// The connection was closed.
    #[error("the database of Open vSwitch has closed the connection")]
    Closed,
    /// An answer is overdue.
    #[error("the database of Open vSwitch does not answer")]
    NoAnswer,
    /// A message is no JSON.
    #[error("the database of Open vSwitch sent no JSON")]
    Json(#[from] serde_json::Error),
    /// A message has another shape than RFC 7047 says.
    #[error("the database of Open vSwitch sent an unexpected {0}")]
    Unexpected(&'static str),
    /// A transaction was rejected.
    #[error("the database of Open vSwitch rejected the transaction: {error}: {details}")]
    Rejected {
        /// The `error` of section 4.1.3.
        error: String,
        /// Its `details`.
        details: String,
    },
    /// There is no bridge of this name.
    #[error("Open vSwitch has no bridge {0}")]
    NoBridge(IfName),
    /// Somebody else has made a bridge of this name.
    #[error("Open vSwitch has a bridge {0} that is not from perouter")]
    ForeignBridge(IfName),
    /// Somebody else has made a port of this name.
    #[error("Open vSwitch has a port {port} in bridge {bridge} that is not from perouter")]
    ForeignPort {
        /// The port.
        port: IfName,
        /// The bridge that has it.
        bridge: String,
    },
    /// A port of ours is in another bridge, from which it could not be removed.
    #[error("Open vSwitch still has the port {port} of perouter in bridge {bridge}")]
    PortElsewhere {
        /// The port.
        port: IfName,
        /// The bridge that has it.
        bridge: String,
    },
    /// The database has the change, and the switch does not apply it.
    #[error("ovs-vswitchd does not apply the change")]
    NotApplied,
    /// The switch has applied the change and failed at the port.
    #[error("ovs-vswitchd cannot attach {port}: {}", reason.as_deref().unwrap_or("it gives no reason"))]
    NotAttached {
        /// The port.
        port: IfName,
        /// Why, in the words of ovs-vswitchd.
        reason: Option<String>,
    },
}

impl OvsError {
    /// Whether the socket is there and this process may not open it.
    pub fn is_denied(&self) -> bool {
        matches!(self, Self::Unreachable { source, .. } if source.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Whether there is no database to use, which is so for every change.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Shared(error) => error.is_absent(),
            Self::Unreachable { .. }
            | Self::DeletedDirectory { .. }
            | Self::Connection(_)
            | Self::Closed
            | Self::NoAnswer
            | Self::Json(_) => true,
            Self::Unexpected(_)
            | Self::Rejected { .. }
            | Self::NoBridge(_)
            | Self::ForeignBridge(_)
            | Self::ForeignPort { .. }
            | Self::PortElsewhere { .. }
            | Self::NotApplied
            | Self::NotAttached { .. } => false,
        }
    }

    /// Whether another attempt may succeed without an event at the socket: nobody listens on it, or the server hangs.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => source.kind() == io::ErrorKind::ConnectionRefused,
            Self::NoAnswer => true,
            _ => false,
        }
    }
}
