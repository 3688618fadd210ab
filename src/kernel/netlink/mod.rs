//! Netlink: sockets of a network namespace, requests, dumps and events. In: values of [`super::model`]. Out: the kernel's
//! answers as values. The only place with netlink messages; knows no objects and decides nothing.
//!
//! A file uses only those before it: `error`, `attribute`, `socket`, `netfilter`, `route`, `contents`, `saved_message`, `request`, `rule`, `read`,
//! `neighbor`, `segment_neighbor`, `workload_route`, `saved`, `route_use`, `saved_link`, `events`.

mod attribute;
pub mod contents;
pub mod error;
pub mod events;
pub mod neighbor;
pub mod netfilter;
pub mod read;
pub mod request;
mod route;
pub mod route_use;
pub mod rule;
pub mod saved;
pub mod saved_link;
pub mod saved_message;
pub mod segment_neighbor;
pub mod socket;
mod static_routes;
pub mod workload_route;

pub use self::attribute::{attributes, emit_attributes};

use self::error::NetlinkError;
use nix::errno::Errno;

/// Accepts the rejection that means that the requested state exists already.
pub fn accept(existing: Errno, result: Result<(), NetlinkError>) -> Result<(), NetlinkError> {
    match result {
        Err(NetlinkError::Rejected { errno, .. }) if errno == existing => Ok(()),
        other => other,
    }
}
