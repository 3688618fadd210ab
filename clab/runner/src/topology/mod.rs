//! A containerlab topology.
//!
//! In: the path or the text of a `*.clab.yml`. Out: a [`Topology`] that is valid as far as the file alone can show, or a
//! [`TopologyError`] with file, line and remedy. It must not access the machine: whether bound files exist or FRR is
//! installed is checked when the lab is deployed.

mod error;
mod layers;
mod links;
mod model;
mod parse;
mod reader;
#[cfg(test)]
mod tests;

pub use error::{Problem, TopologyError};
pub use model::{
    Bind, DEFAULT_LINK_MTU, Endpoint, InterfaceName, LabName, NodeKind, NodeName, NodeSpec, Prefix, Topology, VethLink,
    Warning,
};
pub use parse::{parse_topology, read_topology};
