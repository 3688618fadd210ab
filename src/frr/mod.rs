//! FRR's configuration and how it is applied.
//!
//! Pure: [`model`] (typed) → [`render`] (FRR's canonical text) → [`tree`] (comparable) → [`diff`] (command lines).
//! Effects: [`port`] (what a pass needs of FRR) by [`vty_routing`] over [`vty`], or [`fake`] in memory; `daemons`
//! (processes).

mod changes;
pub mod command;
mod communities;
pub mod daemons;
pub mod dialect;
pub mod diff;
pub mod fake;
pub mod inspect;
mod joint;
mod lenient;
pub mod line;
pub mod model;
pub mod observe;
mod policies;
pub mod policy_names;
pub mod port;
pub mod reader;
pub mod render;
pub mod restarts;
pub mod rules;
mod summary;
pub mod tree;
mod view;
pub mod vty;
pub mod vty_routing;
