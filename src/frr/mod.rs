//! FRR's configuration and how it is applied: [`model`] (typed), `render` (FRR's canonical text), `diff` (command lines),
//! and the effects: `vty` (sockets), `observe`, `daemons` (processes).

pub mod command;
pub mod daemons;
pub mod diff;
pub mod line;
pub mod model;
pub mod policy_names;
pub mod render;
pub mod rules;
pub mod tree;
mod view;
pub mod vty;
