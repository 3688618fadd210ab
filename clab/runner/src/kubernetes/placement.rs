//! Where a control plane runs.
//!
//! In: a node of a lab, or nothing. Out: [`Placement`]. It must not start anything.

use std::net::IpAddr;

use crate::node::Node;

/// Where the processes of a control plane run.
#[derive(Debug, Clone)]
pub enum Placement {
    /// On this machine, reachable on its loopback only.
    Machine,
    /// In a node of a lab, at an address of that node.
    Node {
        /// The node.
        node: Node,
        /// Address of the API server.
        address: IpAddr,
    },
}
