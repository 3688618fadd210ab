//! Runs containerlab topologies as network namespaces with real FRR, without Docker.
//!
//! ```text
//! file ─ topology ─▶ Topology ─ lab ─▶ Lab ─▶ Node: run, check, spawn, within_netns
//!          │ image                 │ holder: process 1 of a node's namespaces
//!          └ graph                 │ rootfs: its root file system   wiring: links   frr: daemons
//!                                  └ state: /run/clab               inspect: tables
//! host_side: BGP of a cluster node by MetalLB's manifests (metallb), and its services (web)
//! speaker: BIRD or GoBGP instead of it            kubernetes: an API server, and Pods
//! workload: namespaces on a bridge of a node      ping, traffic: what reaches what, and what is lost
//! evpn: Type-5 routes of a node                   demo: all of it, step by step
//! ```
//! No module imports one that imports it, directly or through others.
//!
//! ```no_run
//! use perouter_lab::{Lab, LabName, read_topology};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut topology = read_topology("clab/metallb.clab.yml".as_ref())?;
//! topology.lab = LabName::new("mine").ok_or("not a name")?;
//! let lab = Lab::deploy(&topology)?.destroyed_on_drop();
//! let vnis = lab.node("leafA")?.check(&["vtysh", "-c", "show evpn vni"])?;
//! # Ok(())
//! # }
//! ```
//!
//! Deploying a lab needs root; without it the result is [`LabError::NotRoot`].

mod cgroups;
pub mod demo;
pub mod evpn;
pub mod frr;
pub mod graph;
pub mod holder;
pub mod host_side;
pub mod image;
pub mod inspect;
pub mod kubernetes;
pub mod lab;
pub mod metallb;
pub mod namespace;
pub mod node;
pub mod ping;
pub mod rootfs;
pub mod speaker;
pub mod state;
pub mod topology;
pub mod traffic;
pub mod wait;
pub mod web;
pub mod wiring;
pub mod workload;

pub use host_side::HostSide;
pub use lab::{Lab, LabError, ScopedLab};
pub use node::{Background, CommandOutput, Node, NodeError};
pub use topology::{LabName, NodeName, Topology, parse_topology, read_topology};
