//! Configuration as FRR prints it: lines ([`line`]), stanzas of them ([`tree`]), and the commands that lead from one
//! configuration to another ([`diff`]). Pure.

pub mod batch;
mod changes;
pub mod command;
pub mod diff;
pub mod line;
pub mod removal;
pub mod render;
pub mod tree;
