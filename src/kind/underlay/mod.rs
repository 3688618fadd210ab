//! `Underlay`.

mod spec;

pub use spec::*;
