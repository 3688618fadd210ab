//! Why a netlink request failed. Its text and those of its sources, joined by `: `, read as one sentence.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use thiserror::Error;

use crate::kernel::netns::NetnsError;

/// Why a netlink request failed.
#[derive(Debug, Error)]
pub enum NetlinkError {
    /// The kernel rejected it; `text` is its extended acknowledgement, if it sent one.
    #[error("{errno}{}", .text.as_ref().map(|text| format!(": {text}")).unwrap_or_default())]
    Rejected {
        /// The error number.
        errno: Errno,
        /// The kernel's explanation.
        text: Option<String>,
    },
    /// No answer in time.
    #[error("the kernel did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The state changed during each of several reads.
    #[error("the kernel's state changed during every one of {0} reads")]
    Inconsistent(usize),
    /// The answer lacks what was requested.
    #[error("the kernel's answer has no {0}")]
    Incomplete(&'static str),
    /// The kernel does not know the netlink protocol.
    #[error("the kernel has no netfilter netlink")]
    NoProtocol,
    /// Messages were lost, as the socket buffer was full.
    #[error("the netlink socket lost messages")]
    Overrun,
    /// The namespace could not be entered, or a file in it could not be read.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// The socket could not be opened.
    #[error("open a netlink socket")]
    Open(#[source] io::Error),
    /// Nothing could be sent or received.
    #[error("use a netlink socket")]
    Io(#[source] io::Error),
}

impl NetlinkError {
    /// What is to be created exists, or another link has its index.
    pub fn is_taken(&self) -> bool {
        self.already_exists() || matches!(self, Self::Rejected { errno: Errno::EBUSY, .. })
    }

    /// What is to be created exists.
    pub fn already_exists(&self) -> bool {
        matches!(self, Self::Rejected { errno: Errno::EEXIST, .. })
    }

    /// What is to be removed does not exist.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Rejected { errno: Errno::ENOENT, .. })
    }
}
