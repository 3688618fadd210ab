//! FRR's configuration and how it is applied.
//!
//! Pure: [`model`] (typed) → [`stanza`] (FRR's canonical text) → [`config`] (comparable trees and the lines between two of
//! them); [`release`] (what differs between FRR releases); [`show`] (what FRR prints as types). Effects: [`client`] (the
//! port that a reconcile pass uses, over FRR's vty sockets or in memory); [`daemons`] (processes).

pub mod client;
pub mod config;
pub mod daemons;
pub mod model;
pub mod release;
pub mod show;
pub mod stanza;
