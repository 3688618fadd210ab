//! Kernel state of the router. Pure: [`model`] (wanted and observed), [`diff()`] to [`Step`]s. Effects: the port [`Kernel`] that
//! observes and applies them, over netlink in production and in memory for tests. Only this module uses netlink; it knows
//! nothing of objects, FRR or status.
//!
//! A file uses only files of lines above its own:
//!
//! ```text
//! sysctl, ovs_state, host_ports -> model -> op -> step                     data
//! simulate -> diff, neighbors -> known_workloads                           pure
//! netns, mounts                                                            namespaces as files and threads
//! file_limit                                                               the limit of open files
//! netlink: error, attribute, socket, netfilter, contents, saved_message, request, read, segment_neighbor, saved, route_use, saved_link, events
//! nftables, tcp, vrf_device, nic_record, evpn_entries                      each on netlink or netns
//! error                                                                    composes the errors of all above
//! observe, settling, ovs_ports                                             pure: contents to state
//! neighbor_keeper                                                          on netlink
//! polled_settings -> namespace -> host_nics, host_routes, segment_ports   what the host has
//! namespaces -> nic, foreign, teardown -> apply                            changes
//! port -> lanes                                                            the trait, and the order of steps
//! live, fake                                                               its implementations
//! ```

mod apply;
pub mod diff;
pub mod error;
pub mod evpn_entries;
pub mod fake;
pub mod file_limit;
mod foreign;
pub mod forwarded_vteps;
mod host_network;
pub mod host_nics;
pub mod host_ports;
pub mod host_routes;
mod ip_use;
mod known_workloads;
pub mod lanes;
mod live;
pub mod model;
mod mounts;
mod namespace;
mod namespaces;
mod neighbor_keeper;
pub mod neighbors;
pub mod netlink;
pub mod netns;
pub mod nftables;
mod nic;
pub mod nic_record;
mod nic_setting;
pub mod observe;
pub mod op;
mod ovs_ports;
pub mod ovs_state;
mod polled_settings;
mod port;
pub mod segment_ports;
mod settling;
mod simulate;
pub mod step;
mod sysctl;
pub mod tcp;
mod teardown;
pub mod unresolved;
pub mod vrf_device;

pub use self::diff::diff;
pub use self::error::{KernelError, OpError};
pub use self::live::NetlinkKernel;
pub use self::model::{NicFacts, ObservedNics, RouteUse, StackedDevice};
pub use self::netlink::error::NetlinkError;
pub use self::op::{KernelOp, Lane, Stage, Wave};
pub use self::port::{Kernel, Outcome};
pub use self::step::Step;
