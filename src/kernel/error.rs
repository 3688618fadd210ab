//! Why the kernel's state could not be read or changed. Each variant's text and those of its sources, joined by `: `,
//! read as one sentence.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use super::model::Netns;
use super::netns::NetnsError;
use super::op::KernelOp;
use crate::atomic_file::ReplaceError;
use crate::types::IfName;

/// Why a netlink request failed.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// The kernel said no; `text` is its extended acknowledgement, if it sent one.
    #[error("{}{}", errno_text(*.errno), .text.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Refused {
        /// The error number.
        errno: Errno,
        /// The kernel's explanation.
        text: Option<String>,
    },
    /// No answer in time.
    #[error("the kernel did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The socket is gone, or the answer ended in the middle.
    #[error("the netlink socket was closed")]
    Closed,
    /// The state changed while it was read, again and again.
    #[error("the kernel's state changed during every one of {0} reads")]
    Unsteady(usize),
    /// The answer is not what was asked for.
    #[error("the kernel's answer has no {0}")]
    Incomplete(&'static str),
    /// The kernel does not know the netlink protocol.
    #[error("the kernel has no netfilter netlink")]
    NoProtocol,
    /// Answers were lost, as the socket buffer was full.
    #[error("the netlink socket lost answers")]
    Overrun,
    /// The namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The socket could not be made.
    #[error("open a netlink socket")]
    Socket(#[source] io::Error),
}

fn errno_text(errno: Errno) -> String {
    format!("{errno:?}: {}", errno.desc())
}

/// Why kernel state could not be read or changed.
#[derive(Debug, Error)]
pub enum KernelError {
    /// An op failed.
    #[error("{op}")]
    Op {
        /// What was tried.
        op: Box<KernelOp>,
        /// Why it failed.
        source: OpError,
    },
    /// Something could not be read.
    #[error("read {what} in the {netns} network namespace")]
    Read {
        /// What.
        what: &'static str,
        /// Where.
        netns: Netns,
        /// Why.
        source: NetlinkError,
    },
    /// A namespace could not be opened or set up.
    #[error("open the {netns} network namespace")]
    Open {
        /// Which.
        netns: Netns,
        /// Why.
        source: NetlinkError,
    },
    /// The namespaces of IP-VRFs could not be listed.
    #[error("list the namespaces of IP-VRFs")]
    List(#[source] NetnsError),
    /// The record of moved NICs could not be read.
    #[error("read the record of moved NICs")]
    Record(#[from] RecordError),
}

/// Why an op failed.
#[derive(Debug, Error)]
pub enum OpError {
    /// Netlink.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// A link that the op needs is not there.
    #[error("there is no link {name} in the {netns} network namespace")]
    NoLink {
        /// The link.
        name: String,
        /// Where it should be.
        netns: Netns,
    },
    /// The VRF device of the host is not there.
    #[error(
        "the host has no VRF device {0}: create it (ip link add {0} type vrf table N), or remove spec.hostSession.vrf"
    )]
    NoHostVrf(IfName),
    /// The host has a link of this name that is no VRF device.
    #[error("{0} is no VRF device: name one of the host, or remove spec.hostSession.vrf")]
    NotHostVrf(IfName),
    /// The NIC of an Underlay is nowhere.
    #[error("NIC {0} is in neither the host's nor the router's network namespace")]
    NoNic(IfName),
    /// The kernel does not move this NIC between namespaces (`NETIF_F_NETNS_LOCAL`).
    #[error(
        "NIC {0} is bound to its network namespace: the kernel does not move bridges, bonds and the like; name a \
         physical, virtual function, VLAN, macvlan or veth interface"
    )]
    NicBound(IfName),
    /// The record of what a NIC had.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A setting of a NIC.
    #[error("keep the setting {path}")]
    Settings {
        /// Its file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A NIC without record: it was not moved by us.
    #[error("NIC {0} was not moved here by perouter and is left alone")]
    NicNotOurs(IfName),
    /// A namespace.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The kernel lacks a setting.
    #[error("this kernel has no such setting")]
    NoSetting,
    /// The kernel cannot rewrite ports.
    #[error(
        "this kernel has no nftables, which a second BGP port needs: load nf_tables (CONFIG_NF_TABLES, \
         CONFIG_NF_TABLES_INET), or have the host dial 179 and remove hostSession.listenPort"
    )]
    NoNftables(#[source] NetlinkError),
    /// The note that there may be nftables tables.
    #[error("write {path}")]
    Note {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A link kind that is only ever seen, never made.
    #[error("such a link cannot be made")]
    NoKind,
}

/// Why the record of moved NICs could not be read or written.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The file.
    #[error("{action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// It could not be replaced.
    #[error(transparent)]
    Replace(#[from] ReplaceError),
    /// Its contents.
    #[error("{path} is not a record of moved NICs of version {}", super::nic_record::VERSION)]
    Contents {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: serde_json::Error,
    },
    /// Written by another version.
    #[error("{path} has version {version}, this is {}", super::nic_record::VERSION)]
    Version {
        /// The file.
        path: PathBuf,
        /// The version there.
        version: u32,
    },
    /// An address or route in it.
    #[error("the record of NIC {0} has an address or route that cannot be read")]
    Message(IfName),
}
