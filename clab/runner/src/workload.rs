//! Workloads of a segment: network namespaces of a node, each with a veth end in a bridge of the host, as the CNI plugin
//! `bridge` makes them for a Pod.
//!
//! In: a node, a bridge and addresses. Out: commands and sockets in the namespace. It must not know the router.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, UdpSocket};

use nix::sched::{CloneFlags, setns};
use serde_json::Value;

use crate::namespace::{NamespaceError, on_own_thread};
use crate::node::{CommandOutput, Node, NodeError};
use crate::ping;

/// What a workload has.
#[derive(Debug, Clone, Copy, Default)]
pub struct WorkloadSpec<'a> {
    /// Name of its network namespace and of its veth end in the bridge.
    pub name: &'a str,
    /// The bridge of the host.
    pub bridge: &'a str,
    /// Its MAC address, instead of one of the kernel.
    pub mac: Option<&'a str>,
    /// `ADDRESS/LENGTH`.
    pub addresses: &'a [&'a str],
    /// Destination and gateway.
    pub routes: &'a [(&'a str, &'a str)],
    /// Announces its addresses by ARP and neighbor advertisements when it appears.
    pub announces: bool,
}

/// A workload of a node. Dropping it leaves it running.
#[derive(Debug, Clone)]
pub struct Workload {
    node: Node,
    name: String,
}

/// A socket of a workload could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// No thread for it.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// The namespace or the address is not usable.
    #[error("cannot bind {address} in {workload}")]
    Bind {
        /// Its name.
        workload: String,
        /// The address.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// MTU of a link of a node.
pub fn mtu(node: &Node, link: &str) -> Result<u64, NodeError> {
    let text = node.check(&["ip", "-j", "link", "show", link])?;
    let links: Value = serde_json::from_str(&text).unwrap_or_default();
    Ok(links[0]["mtu"].as_u64().unwrap_or_default())
}

impl Workload {
    /// Creates one and attaches it to a bridge of the node, which must exist, with the MTU of that.
    pub fn attach(node: &Node, spec: &WorkloadSpec<'_>) -> Result<Self, NodeError> {
        let WorkloadSpec { name, bridge, mac, addresses, routes, announces } = *spec;
        let mtu = mtu(node, bridge)?.to_string();
        node.check(&["ip", "netns", "add", name])?;
        let workload = Self { node: node.clone(), name: name.to_owned() };
        let mut peer = vec!["peer", "name", "eth0", "mtu", &mtu, "netns", name];
        peer.extend(mac.into_iter().flat_map(|mac| ["address", mac]));
        node.check(&[&["ip", "link", "add", name, "mtu", &mtu, "type", "veth"][..], &peer].concat())?;
        node.check(&["ip", "link", "set", name, "master", bridge, "up"])?;
        workload.check(&["ip", "link", "set", "lo", "up"])?;
        for address in addresses {
            // Duplicate address detection would delay it.
            let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            workload.check(&[&["ip", "address", "add", address, "dev", "eth0"], nodad].concat())?;
        }
        if announces {
            let settings = ["net.ipv4.conf.eth0.arp_notify=1", "net.ipv6.conf.eth0.ndisc_notify=1"];
            workload.check(&[&["sysctl", "-q", "-w"][..], &settings].concat())?;
        }
        workload.check(&["ip", "link", "set", "eth0", "up"])?;
        for (destination, gateway) in routes {
            let family = if gateway.contains(':') { "-6" } else { "-4" };
            workload.check(&["ip", family, "route", "add", destination, "via", gateway])?;
        }
        Ok(workload)
    }

    /// Removes it, its link first.
    pub fn remove(&self) -> Result<(), NodeError> {
        self.node.check(&["ip", "link", "delete", &self.name])?;
        self.node.check(&["ip", "netns", "delete", &self.name]).map(drop)
    }

    /// Its node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs a command in its network namespace; an exit code other than 0 is not an error.
    pub fn run(&self, words: &[&str]) -> Result<CommandOutput, NodeError> {
        self.node.run(&[&self.within(), words].concat())
    }

    /// Runs a command in its network namespace, whose exit code has to be 0, and returns its standard output.
    pub fn check(&self, words: &[&str]) -> Result<String, NodeError> {
        self.node.check(&[&self.within(), words].concat())
    }

    /// The replies to three pings within three seconds, with these options.
    pub fn ping(&self, options: &[&str], address: &str) -> Result<Vec<String>, NodeError> {
        ping::replies(&self.node, &self.within(), options, 3, address)
    }

    /// A UDP socket in its network namespace.
    pub fn socket(&self, address: SocketAddr) -> Result<UdpSocket, SocketError> {
        let (path, workload) = (self.node.file(format!("/run/netns/{}", self.name)), self.name.clone());
        on_own_thread(move || {
            let bind = || {
                setns(File::open(path)?, CloneFlags::CLONE_NEWNET)?;
                UdpSocket::bind(address)
            };
            bind().map_err(|source| SocketError::Bind { workload, address, source })
        })
    }

    fn within(&self) -> [&str; 4] {
        ["ip", "netns", "exec", &self.name]
    }
}
