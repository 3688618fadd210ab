//! Pods: network namespaces of a node with a veth end in a bridge of the host. In: a node, a bridge and addresses. Out: what they
//! reach. Knows nothing of the router.

use std::fs::File;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use perouter_lab::node::Node;

use super::fixture::{SETTLE, until};
use super::traffic::{Echo, Stream};

/// MTU of a link of a node.
pub fn mtu(node: &Node, link: &str) -> u64 {
    let text = node.check(&["ip", "-j", "link", "show", link]).unwrap();
    serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap()[0]["mtu"].as_u64().unwrap()
}

/// A Pod of a node, with the MTU of its bridge.
pub struct Pod {
    pub node: Node,
    pub name: String,
}

impl Pod {
    /// Creates it with `addresses` (`ADDRESS/LENGTH`) and attaches it to a bridge of the node, which must exist. `gateways`: its
    /// default routes.
    pub fn attach(node: &Node, name: &str, bridge: &str, addresses: &[&str], gateways: &[&str]) -> Self {
        until(&format!("{bridge} on {}", node.name()), SETTLE, || {
            node.run(&["ip", "link", "show", bridge]).unwrap().success().then_some(())
        });
        node.check(&["ip", "netns", "add", name]).unwrap();
        let mtu = mtu(node, bridge).to_string();
        let peer = ["peer", "name", "eth0", "mtu", &mtu, "netns", name];
        node.check(&[&["ip", "link", "add", name, "mtu", &mtu, "type", "veth"][..], &peer].concat()).unwrap();
        node.check(&["ip", "link", "set", name, "master", bridge, "up"]).unwrap();
        let pod = Self { node: node.clone(), name: name.to_owned() };
        pod.check(&["ip", "link", "set", "lo", "up"]);
        for address in addresses {
            // Duplicate address detection would delay it.
            let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
            pod.check(&[&["ip", "address", "add", address, "dev", "eth0"], nodad].concat());
        }
        pod.check(&["ip", "link", "set", "eth0", "up"]);
        for gateway in gateways {
            let family = if gateway.contains(':') { "-6" } else { "-4" };
            pod.check(&["ip", family, "route", "add", "default", "via", gateway]);
        }
        pod
    }

    /// Runs a command in its namespace, whose exit code has to be 0.
    pub fn check(&self, words: &[&str]) -> String {
        self.node.check(&[&["ip", "netns", "exec", &self.name], words].concat()).unwrap()
    }

    /// Number of replies to three pings within three seconds, with these options.
    pub fn ping_with(&self, options: &[&str], address: &str) -> usize {
        let words = ["ip", "netns", "exec", &self.name, "ping", "-n", "-c", "3", "-i", "0.2", "-w", "3"];
        let output = self.node.run(&[&words[..], options, &[address]].concat()).unwrap();
        output.stdout.lines().filter(|line| line.contains("bytes from")).count()
    }

    /// Number of replies to three pings.
    pub fn ping(&self, address: &str) -> usize {
        self.ping_with(&[], address)
    }

    /// Waits until it reaches an address.
    #[track_caller]
    pub fn await_ping(&self, address: &str) {
        until(&format!("replies of {address} to {}", self.name), SETTLE, || (self.ping(address) > 0).then_some(()));
    }

    fn socket(&self, address: SocketAddr) -> UdpSocket {
        let netns = File::open(self.node.file(format!("/run/netns/{}", self.name))).unwrap();
        let bound = std::thread::spawn(move || {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            UdpSocket::bind(address).unwrap()
        });
        bound.join().unwrap()
    }

    /// Sends every request to one of its addresses back.
    pub fn echo(&self, port: u16) -> Echo {
        Echo::on(self.socket(SocketAddr::new("0.0.0.0".parse().unwrap(), port)))
    }

    /// A probe of an address.
    pub fn probe(&self, to: SocketAddr, interval: Duration) -> Stream {
        Stream::probe_on(self.socket("0.0.0.0:0".parse().unwrap()), &self.name, to, interval)
    }
}
