//! Runs containerlab topologies as network namespaces with real FRR, without Docker.
//!
//! ```text
//! file ─ topology ─▶ Topology ─ lab ─▶ Lab ─▶ Node: run, check, spawn, within_netns
//!        yaml, words   │ image          │ holder: process 1 of each node's namespaces
//!                      │                │ rootfs: its root     wiring: links     frr: daemons
//!                      └ graph          └ state: /run/clab     inspect: tables
//! cluster: a cluster node's own BGP from `MetalLB`'s manifests (metallb), and web servers (web)
//! speaker: BIRD or GoBGP there
//! evpn: Type-5 routes of a node          demo: the whole, step by step
//! ```
//!
//! ```no_run
//! use perouter_lab::{Lab, LabName, read_topology};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut topology = read_topology("clab/metallb.clab.yml".as_ref())?;
//! topology.lab = LabName::new("mine").ok_or("no name")?;
//! let lab = Lab::deploy(&topology)?.destroyed_on_drop();
//! let said = lab.node("leafA")?.check(&["vtysh", "-c", "show evpn vni"])?;
//! # Ok(())
//! # }
//! ```
//!
//! All of it needs root; [`LabError::NotRoot`] says so.

pub mod cluster;
pub mod demo;
pub mod evpn;
pub mod frr;
pub mod graph;
pub mod holder;
pub mod image;
pub mod inspect;
pub mod kubernetes;
pub mod lab;
pub mod metallb;
pub mod namespace;
pub mod node;
pub mod rootfs;
pub mod speaker;
pub mod state;
pub mod topology;
pub mod wait;
pub mod web;
pub mod wiring;
pub mod words;
pub mod yaml;

pub use cluster::HostSide;
pub use lab::{Lab, LabError, ScopedLab};
pub use node::{Background, Node, NodeError, Output};
pub use topology::{LabName, NodeName, Topology, parse_topology, read_topology};
