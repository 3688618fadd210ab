//! Configuration as FRR prints it: lines ([`line`]), stanzas of them ([`tree`]), the commands that edit ([`diff`]) or remove
//! ([`removal`]) a scope, and the typed configuration as such a tree ([`render`]). Pure.

pub mod batch;
mod changes;
pub mod command;
pub mod diff;
pub mod line;
pub mod removal;
pub mod render;
pub mod tree;
