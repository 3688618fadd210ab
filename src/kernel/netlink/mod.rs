//! Netlink: sockets of a network namespace, requests as messages, dumps and events as values. Knows no objects.

pub mod dump;
pub mod events;
pub mod netfilter;
pub mod request;
pub mod seen;
pub mod socket;
