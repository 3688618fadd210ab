//! FRR's configuration and how it is applied: [`model`] (typed), `render` (FRR's canonical text), `diff` (command lines),
//! and the effects: `vty` (sockets), `observe`, `daemons` (processes).

pub mod daemons;
pub mod model;
