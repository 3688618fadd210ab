//! Watches namespaces for changes of links and addresses, and ours for changes of rules and nftables tables. In:
//! multicast netlink messages. Out: a mark on what was read of the namespace that it is old, and a signal that a pass is
//! due; many changes give one signal. Reads no state: what changed is for the next observation to see.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_sys::protocols::{NETLINK_NETFILTER, NETLINK_ROUTE};
use netlink_sys::{AsyncSocketExt, TokioSocket};
use nix::libc::{RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_LINK};
use rtnetlink::packet_route::RouteNetlinkMessage;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::seen::{SeenLink, Shape};
use super::socket;
use crate::kernel::error::NetlinkError;

/// The signal of all namespaces of a node.
#[derive(Debug, Clone, Default)]
pub struct Changes(Arc<Notify>);

impl Changes {
    /// Waits for a change since the last call.
    pub async fn wait(&self) {
        self.0.notified().await;
    }

    /// Signals a change.
    pub fn signal(&self) {
        self.0.notify_one();
    }
}

/// Which changes of a namespace count.
#[derive(Debug, Clone)]
pub enum Interest {
    /// All: the namespace is ours.
    All,
    /// Those of links with our mark or in this set: the namespace is the host's, where much else goes on.
    Ours(Arc<RwLock<Interesting>>),
}

/// Links of the host that count.
#[derive(Debug, Default)]
pub struct Interesting {
    /// Underlay NICs.
    pub names: BTreeSet<String>,
    /// Ifindexes of ours and of NICs: address messages have no name.
    pub indexes: BTreeSet<u32>,
}

/// Watches one namespace until dropped. The namespace lives as long.
#[derive(Debug)]
pub struct Watch {
    stale: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// `RTNLGRP_IPV4_RULE` and `RTNLGRP_IPV6_RULE` of `linux/rtnetlink.h`, as `RTMGRP_*` has the others.
const RULES: u32 = 1 << 7 | 1 << 18;

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`
const TABLES: u32 = 1 << 6;

/// Room for the message of one link.
const MESSAGE: usize = 32 * 1024;

impl Watch {
    /// Starts to watch `netns`. Needs the tokio runtime.
    pub fn start(netns: &File, interest: Interest, changes: Changes) -> Result<Self, NetlinkError> {
        let mut groups = (RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR).unsigned_abs();
        if matches!(interest, Interest::All) {
            groups |= RULES;
        }
        let socket = socket::open(netns, NETLINK_ROUTE, groups)?;
        // What was read before the watch began is old.
        let stale = Arc::new(AtomicBool::new(true));
        let task = tokio::spawn(watch(socket, interest, changes, stale.clone()));
        Ok(Self { stale, task })
    }

    /// Watches the nftables tables of the same namespace: their changes mark the same as old.
    pub fn also_tables(&self, netns: &File, changes: Changes) -> Result<Self, NetlinkError> {
        let socket = socket::open(netns, NETLINK_NETFILTER, TABLES)?;
        let stale = self.stale.clone();
        let task = tokio::spawn(watch(socket, Interest::All, changes, stale.clone()));
        Ok(Self { stale, task })
    }

    /// Marks what was read as old, without a signal.
    pub fn mark(&self) {
        self.stale.store(true, Ordering::SeqCst);
    }

    /// Whether what was read is old.
    pub fn is_marked(&self) -> bool {
        self.stale.load(Ordering::SeqCst)
    }

    /// Takes the mark away; a change from now on marks it anew.
    pub fn take_mark(&self) {
        self.stale.store(false, Ordering::SeqCst);
    }

    /// Ends the watch and waits until its socket is gone.
    pub async fn close(mut self) {
        self.task.abort();
        let _aborted = (&mut self.task).await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(socket: TokioSocket, interest: Interest, changes: Changes, stale: Arc<AtomicBool>) {
    // Where every message counts, its contents do not: the rest of it is cut off. Hundreds of namespaces are watched.
    let room = if matches!(interest, Interest::All) { 16 } else { MESSAGE };
    let mut buffer = Vec::with_capacity(room);
    loop {
        buffer.clear();
        let counts = match socket.recv(&mut buffer).await {
            Ok(()) => interest.counts(&buffer),
            Err(error) => {
                // ENOBUFS: messages were lost, any of which may count. Anything else is tried again without haste.
                if error.raw_os_error() != Some(nix::libc::ENOBUFS) {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                true
            }
        };
        if counts {
            stale.store(true, Ordering::SeqCst);
            changes.signal();
        }
    }
}

impl Interest {
    fn counts(&self, datagram: &[u8]) -> bool {
        let Self::Ours(interesting) = self else { return true };
        let interesting = interesting.read().unwrap_or_else(PoisonError::into_inner);
        match NetlinkMessage::<RouteNetlinkMessage>::deserialize(datagram).map(|message| message.payload) {
            Ok(NetlinkPayload::InnerMessage(message)) => interesting.counts(&message),
            // Not understood: let the observation see.
            _ => true,
        }
    }
}

impl Interesting {
    fn counts(&self, message: &RouteNetlinkMessage) -> bool {
        match message {
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
                let seen = SeenLink::new(link);
                // A link that was renamed or lost our mark is known by its ifindex.
                // A VRF device may be the one that a host end waits for.
                let vrf = matches!(seen.shape, Shape::Vrf(_));
                vrf || seen.owned.is_some()
                    || self.names.contains(&seen.name)
                    || self.indexes.contains(&link.header.index)
            }
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
                self.indexes.contains(&address.header.index)
            }
            _ => false,
        }
    }
}
