//! Watches namespaces for changes of links and addresses, and ours for changes of rules and nftables tables. In: multicast
//! netlink messages. Out: a mark that what was read of the namespace is stale, and a signal that a reconcile pass is due;
//! several changes give one signal. Reads no state: the next observation finds out what changed.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use nix::libc::{RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR, RTMGRP_LINK};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::contents::{ObservedKind, ObservedLink};
use super::error::NetlinkError;
use super::netfilter::Netfilter;
use super::socket::{NetlinkFamily, Route, Socket};

/// The signal of all namespaces of a node.
#[derive(Debug, Clone, Default)]
pub struct ChangeSignal(Arc<Notify>);

impl ChangeSignal {
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
pub enum EventFilter {
    /// All: the namespace is ours.
    All,
    /// Those of links with our mark or in this set: the namespace is the host's, where much else changes.
    Host(Arc<RwLock<WatchedLinks>>),
}

/// Links of the host whose changes count.
#[derive(Debug, Default)]
pub struct WatchedLinks {
    /// Underlay NICs.
    pub names: BTreeSet<String>,
    /// Bridges that are missing.
    pub awaited: BTreeSet<String>,
    /// Ifindexes of our links and of NICs: address messages have no name.
    pub indexes: BTreeSet<u32>,
    /// Ifindexes of managed bridges, of which links of others are ports.
    pub bridges: BTreeSet<u32>,
}

/// Watches one namespace until dropped. The namespace lives as long.
#[derive(Debug)]
pub struct Watch {
    stale: Arc<AtomicBool>,
    stale_settings: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

/// `RTNLGRP_IPV4_RULE` and `RTNLGRP_IPV6_RULE` of `linux/rtnetlink.h`, as `RTMGRP_*` has the others.
const RULES: u32 = 1 << 7 | 1 << 18;

/// `RTNLGRP_IPV4_NETCONF` and `RTNLGRP_IPV6_NETCONF`: forwarding and `rp_filter`, of a device or of all.
const SETTINGS: u32 = 1 << 23 | 1 << 24;

/// `RTM_NEWNETCONF`
const NEW_SETTING: u16 = 80;

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`
const TABLES: u32 = 1 << 6;

/// Pause after an error of the socket.
const RETRY: Duration = Duration::from_secs(1);

impl Watch {
    /// Starts to watch `netns`. Needs the tokio runtime.
    pub fn start(netns: &File, filter: EventFilter, changes: ChangeSignal) -> Result<Self, NetlinkError> {
        let mut groups = (RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR).unsigned_abs();
        if matches!(filter, EventFilter::All) {
            groups |= RULES | SETTINGS;
        }
        let socket = Socket::<Route>::subscribe(netns, groups)?;
        // What was read before the watch began is stale.
        let [stale, stale_settings] = [(); 2].map(|()| Arc::new(AtomicBool::new(true)));
        let mark = Mark { stale: stale.clone(), stale_settings: stale_settings.clone(), changes };
        let task = match filter {
            EventFilter::All => tokio::spawn(watch_all(socket, mark)),
            EventFilter::Host(links) => tokio::spawn(watch_host(socket, links, mark)),
        };
        Ok(Self { stale, stale_settings, task })
    }

    /// Watches the nftables tables of the same namespace: their changes mark the same as stale.
    pub fn also_tables(&self, netns: &File, changes: ChangeSignal) -> Result<Self, NetlinkError> {
        let socket = Socket::<Netfilter>::subscribe(netns, TABLES)?;
        let [stale, stale_settings] = [&self.stale, &self.stale_settings].map(Arc::clone);
        let mark = Mark { stale: stale.clone(), stale_settings: stale_settings.clone(), changes };
        Ok(Self { stale, stale_settings, task: tokio::spawn(watch_all(socket, mark)) })
    }

    /// Marks what was read as stale, without a signal.
    pub fn mark_stale(&self) {
        self.stale.store(true, Ordering::SeqCst);
    }

    /// Whether what was read is stale.
    pub fn is_stale(&self) -> bool {
        self.stale.load(Ordering::SeqCst)
    }

    /// Whether settings changed since the last call.
    pub fn take_stale_settings(&self) -> bool {
        self.stale_settings.swap(false, Ordering::SeqCst)
    }

    /// Removes the mark; a change from now on sets it again.
    pub fn clear_stale(&self) {
        self.stale.store(false, Ordering::SeqCst);
    }

    /// Stops the watch and waits until its socket is closed.
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

/// What a change sets.
struct Mark {
    stale: Arc<AtomicBool>,
    stale_settings: Arc<AtomicBool>,
    changes: ChangeSignal,
}

impl Mark {
    fn set(&self) {
        self.stale.store(true, Ordering::SeqCst);
        self.changes.signal();
    }
}

async fn watch_all<F: NetlinkFamily>(socket: Socket<F>, mark: Mark) {
    loop {
        let received = socket.changed().await;
        // A lost message may have been one about settings.
        if !matches!(received, Ok(kind) if kind != NEW_SETTING) {
            mark.stale_settings.store(true, Ordering::SeqCst);
        }
        mark.set();
        pause_after(received).await;
    }
}

async fn watch_host(socket: Socket<Route>, links: Arc<RwLock<WatchedLinks>>, mark: Mark) {
    loop {
        let received = socket.event().await;
        let counts = match &received {
            Ok(Some(message)) => links.read().unwrap_or_else(PoisonError::into_inner).counts(message),
            // Not decoded, or lost: any of it may count.
            Ok(None) | Err(_) => true,
        };
        if counts {
            mark.set();
        } else if matches!(received, Ok(Some(RouteNetlinkMessage::NewAddress(_) | RouteNetlinkMessage::DelAddress(_))))
        {
            // The next pass compares the networks of the host with those of objects; by itself this is no reason for one.
            mark.stale.store(true, Ordering::SeqCst);
        }
        pause_after(received).await;
    }
}

/// Lost messages are no reason to wait.
async fn pause_after<T>(received: Result<T, NetlinkError>) {
    if !matches!(received, Ok(_) | Err(NetlinkError::Overrun)) {
        tokio::time::sleep(RETRY).await;
    }
}

impl WatchedLinks {
    fn counts(&self, message: &RouteNetlinkMessage) -> bool {
        match message {
            RouteNetlinkMessage::NewLink(link) | RouteNetlinkMessage::DelLink(link) => {
                let observed = ObservedLink::new(link);
                // A VRF device may be the one that a host end waits for. A link that was renamed or lost our mark is known by
                // its ifindex.
                matches!(observed.kind, ObservedKind::Vrf(_))
                    || observed.owned.is_some()
                    || self.names.iter().chain(&self.awaited).any(|name| observed.has_name(name))
                    || self.indexes.contains(&link.header.index)
                    // It becomes a port, or was one (the message of the family of bridges).
                    || observed.master.is_some_and(|master| self.bridges.contains(&master))
                    // What is stacked on a NIC decides whether it is taken.
                    || self.indexes.iter().any(|nic| observed.is_stacked_on(*nic))
            }
            RouteNetlinkMessage::NewAddress(address) | RouteNetlinkMessage::DelAddress(address) => {
                self.indexes.contains(&address.header.index)
            }
            _ => false,
        }
    }
}
