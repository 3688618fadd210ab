//! `L3VNI`.

mod spec;

pub use spec::*;
