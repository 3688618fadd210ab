//! FRR: its configuration, how it is applied, and what it prints.
//!
//! Pure: [`model`] (typed) → [`stanza`] (FRR's canonical text) → [`config`] (comparable trees, and the commands from one to
//! another); [`release`] (what differs between releases of FRR); [`show`] (what FRR prints, as types). Effects: [`client`]
//! (the port that a reconcile pass uses, over FRR's vty sockets or in memory); [`daemons`] (processes).

pub mod client;
pub mod config;
pub mod daemons;
pub mod model;
pub mod release;
pub mod show;
pub mod stanza;
