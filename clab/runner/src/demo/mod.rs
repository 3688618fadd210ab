//! Demos, shown step by step: a `MetalLB` service of the red VNI behind an EVPN fabric, and Pods on a segment of it.
//!
//! In: paths of files and programs. Out: lines on a console, and a lab that is destroyed or kept. It must not prove anything
//! by itself: each step queries FRR or runs curl in a node.
//!
//! ```text
//! run ─▶ directory | kubernetes (installation) ─▶ checks (sessions, routes, traffic)
//!     ─▶ layer2 ─▶ segment (Pods, pings, tables), segment_move
//!        all of them use context (the lab so far), routers, settings, error
//! ```

mod checks;
mod console;
mod context;
mod directory;
mod error;
mod kubernetes;
mod layer2;
mod routers;
mod run;
mod segment;
mod segment_move;
mod settings;

pub use console::Console;
pub use error::{DemoError, StepError};
pub use run::down;
pub use settings::{Demo, Source, Subject};
