//! Why the kernel's state could not be read or changed: composed of the errors of the modules that do it. Each variant's text
//! and those of its sources, joined by `: `, read as one sentence. The variants carry facts of the kernel; what a user can do
//! about them, and in which field of which object, is known above.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::model::Netns;
use super::netlink::error::NetlinkError;
use super::netns::NetnsError;
use super::nic_record::RecordError;
use super::op::KernelOp;
use crate::ovs::OvsError;
use crate::types::IfName;

/// Why kernel state could not be read or changed.
#[derive(Debug, Error)]
pub enum KernelError {
    /// An op failed.
    #[error("{op}")]
    Op {
        /// The op.
        op: Box<KernelOp>,
        /// Its error.
        source: OpError,
    },
    /// Something could not be read.
    #[error("read {what} in the {netns} network namespace")]
    Read {
        /// What.
        what: &'static str,
        /// Where.
        netns: Netns,
        /// The error.
        source: NetlinkError,
    },
    /// A namespace could not be opened or set up.
    #[error("open the {netns} network namespace")]
    Open {
        /// Which.
        netns: Netns,
        /// The error.
        source: NetlinkError,
    },
    /// The namespaces of IP-VRFs could not be listed.
    #[error("list the namespaces of IP-VRFs")]
    List(#[source] NetnsError),
    /// The record of moved NICs could not be read.
    #[error("read the record of moved NICs")]
    Record(#[from] RecordError),
    /// Nor made again.
    #[error("make a new record of the moved NICs")]
    NewRecord(#[source] Box<OpError>),
}

/// Why an op failed.
#[derive(Debug, Error)]
pub enum OpError {
    /// Netlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A link that the op needs does not exist.
    #[error("there is no link {name} in the {netns} network namespace")]
    NoLink {
        /// The link.
        name: String,
        /// Where it should be.
        netns: Netns,
    },
    /// The VRF device of the host does not exist.
    #[error("the host has no VRF device {0}")]
    NoHostVrf(IfName),
    /// The host has a link of this name that is no VRF device.
    #[error("{0} is no VRF device")]
    NotHostVrf(IfName),
    /// The bridge of the host does not exist.
    #[error("the host has no bridge {0}")]
    NoHostBridge(IfName),
    /// The host has a link of this name that is no bridge.
    #[error("{0} is no Linux bridge")]
    NotHostBridge(IfName),
    /// A NIC does not exist.
    #[error("NIC {0} is in neither the host's nor the router's network namespace")]
    NoNic(IfName),
    /// The kernel does not move this NIC between namespaces (`NETIF_F_NETNS_LOCAL`).
    #[error("NIC {0} is bound to its network namespace: the kernel does not move bridges, bonds and the like")]
    NicBound(IfName),
    /// The record of what a NIC had.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A setting of a NIC.
    #[error("save or restore the setting {path}")]
    Settings {
        /// Its file.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
    /// A NIC without record: it was not moved by us.
    #[error("NIC {0} was not moved here by perouter and is left alone")]
    NicNotOurs(IfName),
    /// A link of others in a namespace that is to be removed, which the kernel does not move.
    #[error("link {name} in the {netns} network namespace is not from perouter and cannot be moved to the host")]
    ForeignLink {
        /// The link.
        name: String,
        /// The namespace, which stays.
        netns: Netns,
    },
    /// A namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel lacks a setting.
    #[error("this kernel has no such setting")]
    NoSetting,
    /// The kernel cannot rewrite ports.
    #[error("this kernel has no nftables, which a second BGP port needs")]
    NoNftables(#[source] NetlinkError),
    /// The note that there may be nftables tables.
    #[error("write {path}")]
    Note {
        /// The file.
        path: PathBuf,
        /// Its error.
        source: io::Error,
    },
    /// The name or VNI of a new link is that of a link which is not ours.
    #[error("a link of somebody else has this name or VNI")]
    LinkExists(#[source] NetlinkError),
    /// Open vSwitch.
    #[error(transparent)]
    Ovs(#[from] OvsError),
    /// A kind of link that is only observed, never created.
    #[error("such a link cannot be created")]
    NoKind,
}
