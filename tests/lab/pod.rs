//! Pods: workloads of a node on a bridge of the host. In: a node, a bridge and addresses. Out: what they reach. Knows nothing of
//! the router.

use std::net::SocketAddr;
use std::time::Duration;

use perouter_lab::node::Node;
use perouter_lab::workload::{self, Workload, WorkloadSpec};

use super::fixture::{SETTLE, until};
use super::traffic::{Echo, Stream};

/// MTU of a link of a node.
pub fn mtu(node: &Node, link: &str) -> u64 {
    workload::mtu(node, link).unwrap()
}

/// A Pod of a node, with the MTU of its bridge.
pub struct Pod {
    pub node: Node,
    pub name: String,
    workload: Workload,
}

impl Pod {
    /// Creates it with `addresses` (`ADDRESS/LENGTH`) and attaches it to a bridge of the node. `gateways`: its default routes.
    pub fn attach(node: &Node, name: &str, bridge: &str, addresses: &[&str], gateways: &[&str]) -> Self {
        let routes: Vec<_> = gateways.iter().map(|gateway| ("default", *gateway)).collect();
        Self::of(node, &WorkloadSpec { name, bridge, addresses, routes: &routes, ..WorkloadSpec::default() })
    }

    /// Creates it as soon as its bridge exists.
    pub fn of(node: &Node, spec: &WorkloadSpec<'_>) -> Self {
        until(&format!("{} on {}", spec.bridge, node.name()), SETTLE, || {
            node.run(&["ip", "link", "show", spec.bridge]).unwrap().success().then_some(())
        });
        let workload = Workload::attach(node, spec).unwrap();
        Self { node: node.clone(), name: spec.name.to_owned(), workload }
    }

    /// Removes it.
    pub fn remove(self) {
        self.workload.remove().unwrap();
    }

    /// Runs a command in its namespace, whose exit code has to be 0.
    pub fn check(&self, words: &[&str]) -> String {
        self.workload.check(words).unwrap()
    }

    /// The standard output of a command in its namespace; `None` where its exit code is not 0.
    pub fn run(&self, words: &[&str]) -> Option<String> {
        let output = self.workload.run(words).unwrap();
        output.success().then_some(output.stdout)
    }

    /// Number of replies to three pings within three seconds, with these options.
    pub fn ping_with(&self, options: &[&str], address: &str) -> usize {
        self.workload.ping(options, address).unwrap().len()
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

    /// Sends every request to one of its addresses back.
    pub fn echo(&self, port: u16) -> Echo {
        Echo::on(self.workload.socket(SocketAddr::new("0.0.0.0".parse().unwrap(), port)).unwrap())
    }

    /// A probe of an address.
    pub fn probe(&self, to: SocketAddr, interval: Duration) -> Stream {
        let socket = self.workload.socket("0.0.0.0:0".parse().unwrap()).unwrap();
        Stream::probe_on(socket, &self.name, to, interval)
    }
}
